//! Programs of the user's, and others that are no agents: each runs in the namespace of its node, in a directory of its own, as who runs the lab.
//!
//! The supervisor does for them what an agent does for itself: it gives a mobile node its addresses, and starts the
//! program when it has the first.

use super::agents::Death;
use super::apply::Network;
use super::process::{Ended, Process, SignalError, last_words};
use super::quotas::Quotas;
use crate::plan::{Plan, ProgramPlan, RADIOS};
use crate::runtime_dir::RuntimeDir;
use samp_model::agent::LinkUp;
use samp_model::control::{AgentState, Cause};
use samp_model::settings::Dad;
use samp_model::topology::NodeId;
use samp_node::RadioAddress;
use samp_sys::process::{Place, spawn_in};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// All programs of a lab, by node.
#[derive(Debug, Default)]
pub(super) struct Programs {
    programs: BTreeMap<NodeId, Program>,
}

#[derive(Debug)]
struct Program {
    argv: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    /// A mobile node's addresses.
    radio: Option<RadioAddress>,
    process: Option<Process>,
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("cannot start the program `{program}`")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot give it its address")]
    Address(#[source] anyhow::Error),
}

impl Programs {
    /// Starts those of the plan that have an address from the beginning.
    pub(super) fn start(
        plan: &Plan,
        network: &Network,
        quotas: &Quotas,
        dir: &RuntimeDir,
    ) -> Result<Self, ProgramError> {
        let mut programs = Self::default();
        for ProgramPlan { node, argv, .. } in &plan.programs {
            let name = &plan.namespaces[node.0].name;
            let failed = |source| ProgramError::Start { program: argv[0].clone(), source };
            let radio = plan.mobile_node(*node).map(|_| radio(network, *node)).transpose().map_err(failed)?;
            let mut program = Program {
                argv: argv.clone(),
                directory: dir.work(name),
                log: dir.node_log(name),
                radio,
                process: None,
            };
            fs::create_dir_all(&program.directory).map_err(failed)?;
            if program.radio.is_none() {
                let group = quotas.entrance(*node).map_err(failed)?;
                program.start(network, *node, group.as_ref().map(AsFd::as_fd))?;
            }
            programs.programs.insert(*node, program);
        }
        Ok(programs)
    }

    /// A mobile node is behind another access router: its addresses change, and at the first its program starts.
    ///
    /// None where an agent does all that.
    pub(super) fn link_up(
        &mut self,
        network: &Network,
        node: NodeId,
        link: &LinkUp,
    ) -> Option<Result<(), ProgramError>> {
        let program = self.programs.get_mut(&node)?;
        let configured = program.radio.as_mut()?.configure(link, Dad::Off).map_err(ProgramError::Address);
        Some(configured.and_then(|()| match program.process {
            Some(_) => Ok(()),
            None => program.start(network, node, None),
        }))
    }

    /// Whether the node has a program of the user's.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.programs.contains_key(&node)
    }

    /// The program's process at a node, if it has been started.
    pub(super) fn process(&mut self, node: NodeId) -> Option<&mut Process> {
        self.programs.get_mut(&node)?.process.as_mut()
    }

    /// Log of a node's program.
    pub(super) fn log(&self, node: NodeId) -> Option<&Path> {
        self.programs.get(&node).map(|program| program.log.as_path())
    }

    /// State and process id of a node's program.
    pub(super) fn status(&self, node: NodeId) -> Option<(AgentState, i32)> {
        let process = self.programs.get(&node)?.process.as_ref()?;
        Some((process.state, process.isolated.pid))
    }

    /// A child has ended: if it was a program, which, and how.
    pub(super) fn ended(&mut self, ended: &Ended) -> Option<Death> {
        let (node, process) = self.programs.iter_mut().find_map(|(node, program)| {
            let process = program.process.as_mut().filter(|process| process.isolated.pid == ended.pid)?;
            Some((*node, process))
        })?;
        process.state = ended.state();
        let last_words = ended.code.and_then(|_| last_words(&process.log));
        Some(Death { node, how: ended.how.clone(), last_words, cause: Cause::Other })
    }
}

impl Program {
    fn start(
        &mut self,
        network: &Network,
        node: NodeId,
        group: Option<BorrowedFd<'_>>,
    ) -> Result<(), ProgramError> {
        let failed = |source| ProgramError::Start { program: self.argv[0].clone(), source };
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let program = find_program(&self.argv[0]).map_err(failed)?;
        let arguments: Vec<OsString> = self.argv[1..].iter().map(OsString::from).collect();
        let namespace = network.namespaces.open(node.0).map_err(failed)?;
        let inherited = [(1, log.as_fd()), (2, log.as_fd())];
        let place = Place { network: &namespace, directory: &self.directory, group };
        let isolated = spawn_in(place, &program, &arguments, &inherited);
        let isolated = isolated.map_err(failed)?;
        self.process = Some(Process {
            isolated: isolated.into(),
            shared: None,
            state: AgentState::Running,
            log: self.log.clone(),
        });
        Ok(())
    }
}

/// What configures a mobile node's radio.
fn radio(network: &Network, node: NodeId) -> io::Result<RadioAddress> {
    let mut netlink = network.open_netlink(node.0)?;
    let index = netlink.link_index(RADIOS[0])?.ok_or_else(|| io::Error::other("there is no radio"))?;
    Ok(RadioAddress::new(netlink, index))
}

/// The file to execute: a name without a slash is looked for in the search path.
///
/// # Errors
/// There is no such file.
pub(crate) fn find_program(name: &str) -> io::Result<PathBuf> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| name.into()).ok_or_else(not_found);
    }
    let path = env::var_os("PATH").unwrap_or_else(|| SEARCH_PATH.into());
    let candidates = env::split_paths(&path).map(|dir| dir.join(name));
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(not_found)
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such program")
}

/// Where programs are looked for when the environment does not say.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl From<SignalError> for super::agents::TellError {
    fn from(error: SignalError) -> Self {
        match error {
            SignalError::Dead => Self::Dead,
            SignalError::Refused(error) => Self::Socket(error),
        }
    }
}
