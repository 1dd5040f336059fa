//! What is found out about a running lab beside its loop, as it takes time: how links treat probes, and how long
//! processes have waited for a processor.

use super::control::Answer;
use super::probes::Probing;
use super::refusal::Refusal;
use super::state::Lab;
use super::tunnel_probes::TunnelProbing;
use crate::cause::{cause_of, chain};
use samp_model::control::{Cause, PROBED_AT_ONCE, ProcessWait, Request, Response};
use samp_sys::snmp;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, thread};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What a thread of its own does, and what comes of it.
pub(super) type Survey = Box<dyn FnOnce() -> Result<Response, Refusal> + Send>;

/// Begins a survey, which answers when it is done.
pub(super) fn begin(survey: Result<Survey, Refusal>, reply: oneshot::Sender<Answer>) {
    let begun = survey.and_then(|survey| {
        let (sender, receiver) = oneshot::channel();
        let work = move || drop(sender.send(survey()));
        thread::Builder::new().name("survey".into()).spawn(work).map_err(|error| refusal(&error))?;
        Ok(receiver)
    });
    // A client that does not wait for its answer misses it.
    match begun {
        Err(refusal) => drop(reply.send(refusal.into())),
        Ok(found) => drop(tokio::spawn(async move {
            if let Ok(found) = found.await {
                let _ = reply.send(found.map_or_else(Answer::from, Answer::from));
            }
        })),
    }
}

impl Lab {
    /// What a request wants to be found out; none when it wants something else.
    pub(super) fn survey(&self, request: &Request) -> Option<Result<Survey, Refusal>> {
        match *request {
            Request::Probe { first, count } if self.is_up => Some(self.probe(first, count)),
            Request::ProbeTunnels if self.is_up => Some(self.probe_tunnels()),
            Request::Waits if self.is_up => Some(Ok(self.waits())),
            _ => None,
        }
    }

    fn probe(&self, first: usize, count: usize) -> Result<Survey, Refusal> {
        if count > PROBED_AT_ONCE {
            let message = format!("{count} links are more than can be probed at once");
            return Err(Refusal { message, hint: None, cause: Cause::Other });
        }
        let turn = self.turn_to_probe()?;
        let probing = Probing::new(&self.plan, &self.links, &self.air, first, count);
        let network = self.network;
        Ok(Box::new(move || {
            let _turn = turn;
            probing.run(network).map(Response::Probed).map_err(|error| refusal(&error))
        }))
    }

    fn probe_tunnels(&self) -> Result<Survey, Refusal> {
        let turn = self.turn_to_probe()?;
        let is_attached = |node| self.air.attached_to(&self.plan, node).is_some();
        let probing = TunnelProbing::new(&self.topology, &self.mobility, is_attached);
        let network = self.network;
        Ok(Box::new(move || {
            let _turn = turn;
            probing.run(network).map(Response::TunnelsProbed).map_err(|error| refusal(&error))
        }))
    }

    fn turn_to_probe(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.probing.clone().try_acquire_owned().map_err(|_| {
            let message = "the lab is being probed already".into();
            let hint = Some("two who probe at once would measure each other: wait".into());
            Refusal { message, hint, cause: Cause::Conflict }
        })
    }

    fn waits(&self) -> Survey {
        let name = |node| self.name_of(node).to_owned();
        // Who is held to a CPU quota is to wait.
        let processes = self.agents.pids().into_iter().filter(|(_, node)| !self.plan.quotas.contains(node));
        let processes: Vec<_> = processes.map(|(pid, node)| (pid, name(node))).collect();
        Box::new(move || Ok(Response::Waits(waits(processes))))
    }
}

fn refusal(error: &(dyn Error + 'static)) -> Refusal {
    Refusal { message: format!("cannot probe: {}", chain(error)), hint: None, cause: cause_of(error) }
}

/// UDP datagrams that a process has taken from its sockets.
pub(super) fn datagrams_taken(pid: i32) -> Option<u64> {
    snmp::datagrams_taken(&proc_of(pid)?).ok()
}

/// The directory of one of the lab's processes. Where the lab could not mount its own /proc, numbers there mean the host's
/// processes.
fn proc_of(pid: i32) -> Option<PathBuf> {
    let is_own = fs::read_link("/proc/self").is_ok_and(|own| own == Path::new("1"));
    is_own.then(|| PathBuf::from(format!("/proc/{pid}")))
}

/// Of these processes and the delay line's thread.
fn waits(processes: Vec<(i32, String)>) -> Vec<ProcessWait> {
    let agents = processes.into_iter().filter_map(|(pid, name)| Some((proc_of(pid)?, name)));
    let line = delay_line().map(|thread| (thread, "the delay line".to_owned()));
    // One that has ended meanwhile waits no more.
    agents.chain(line).filter_map(|(place, name)| wait(&place, name)).collect()
}

/// Agents have one thread each. Of the three numbers, the first is the time on a processor.
fn wait(place: &Path, name: String) -> Option<ProcessWait> {
    let text = fs::read_to_string(place.join("schedstat")).ok()?;
    let mut numbers = text.split_whitespace().skip(1).map(str::parse);
    Some(ProcessWait { name, waited: numbers.next()?.ok()?, slices: numbers.next()?.ok()? })
}

fn delay_line() -> Option<PathBuf> {
    let mut threads = fs::read_dir("/proc/self/task").ok()?.flatten().map(|thread| thread.path());
    threads.find(|thread| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == samp_emulation::THREAD)
    })
}
