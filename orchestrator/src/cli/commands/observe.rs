//! `handoff`, `call` and `transfer`: do it, wait until it is done, and show what took how long.

use super::super::{Exit, Failure, Terminal};
use super::watch;
use crate::client::Client;
use crate::experiment::{CALL_DEADLINE, RunningLab, await_handoff, handoff_deadline};
use crate::report::{CallOutcome, CallReport, Delta, Floors, Handoff, waterfall, word};
use samp_model::control::{Request, Response};
use std::time::Duration;

/// Moves a mobile node and shows the waterfall.
pub(super) fn handoff(
    terminal: &Terminal,
    client: &Client,
    mobile_node: String,
    access_router: String,
    gap: Option<Duration>,
) -> Result<Exit, Failure> {
    let status = client.status()?;
    let within = handoff_deadline(&status.topology, gap.unwrap_or(status.emulation.gap));
    let topology = status.topology_now();
    let floors = Floors::new(&topology);
    let mut watch = watch(terminal, client)?;
    let request = Request::Handoff { mobile_node: mobile_node.clone(), access_router, gap };
    let Response::Handoff { handoff: number } = client.ask(&request)? else { return Err(unexpected()) };
    let stage = &mut RunningLab { client, watch: &mut watch };
    let complete = await_handoff(stage, &floors, &mobile_node, number, within)?;
    let (handoff, missing) = match complete {
        Ok(handoff) => (handoff, None),
        Err(missing) => match Handoff::assemble(&floors, watch.history(), &mobile_node, number) {
            Some(handoff) => (handoff, Some(missing)),
            None => return Err(Failure::new(Exit::Failed, format!("the handoff has not begun: {missing}"))),
        },
    };
    terminal.show(&handoff, |handoff| waterfall(handoff, terminal.style))?;
    let Some(missing) = missing else { return Ok(Exit::Success) };
    terminal.note(format!(
        "the handoff is not complete after {} s: no {missing}; `samp-lab logs {mobile_node}` may tell why",
        within.as_secs()
    ));
    Ok(Exit::Failed)
}

/// Lets one mobile node call another and shows how the call came about.
pub(super) fn call(
    terminal: &Terminal,
    client: &Client,
    caller: String,
    callee: String,
) -> Result<Exit, Failure> {
    let topology = client.status()?.topology_now();
    let floors = Floors::new(&topology);
    let mut watch = watch(terminal, client)?;
    let callee_runs = topology.find(&callee).and_then(|callee| topology.node(callee).program.as_ref());
    let to_program = callee_runs.is_some();
    let request = Request::Call { caller: caller.clone(), callee };
    let Response::Call { call: id } = client.ask(&request)? else { return Err(unexpected()) };
    watch.wait(CALL_DEADLINE, |history| {
        history.call(&id).filter(|call| call.is_decided(to_program)).map(drop)
    })?;
    let Some(call) = watch.history().call(&id) else {
        return Err(Failure::new(Exit::Failed, format!("{caller} did not call"))
            .hint(format!("`samp-lab logs {caller}` may tell why")));
    };
    let talks = call.failed.is_none() && call.is_decided(to_program);
    let report = CallReport::assemble(&floors, watch.history(), &id, call);
    terminal.show(&report, describe)?;
    Ok(if talks { Exit::Success } else { Exit::Failed })
}

/// Moves a call to another terminal and shows the call that it has become.
pub(super) fn transfer(
    terminal: &Terminal,
    client: &Client,
    call: String,
    to: String,
) -> Result<Exit, Failure> {
    let topology = client.status()?.topology_now();
    let floors = Floors::new(&topology);
    let mut watch = watch(terminal, client)?;
    client.ask(&Request::Transfer { call: call.clone(), from: None, to: to.clone() })?;
    watch.wait(CALL_DEADLINE, |history| history.transfer_decided(&call).then_some(()))?;
    let old = watch.history().call(&call);
    let new = old.and_then(|old| old.replaced_by.as_ref());
    let Some((id, new)) = new.and_then(|id| Some((id, watch.history().call(id)?))) else {
        let status = old.and_then(|old| old.transfer_failed);
        let status = status.map_or("without an answer".to_owned(), |status| format!("with status {status}"));
        return Err(Failure::new(Exit::Failed, format!("{to} did not take the call over, {status}"))
            .hint(format!("`samp-lab logs {to}` may tell why")));
    };
    let talks = new.talks();
    terminal.show(&CallReport::assemble(&floors, watch.history(), id, new), describe)?;
    Ok(if talks { Exit::Success } else { Exit::Failed })
}

fn describe(report: &CallReport) -> String {
    let ms = |duration: Duration| format!("{:.3} ms", Delta::from(duration).as_millis());
    let end = |name: &Option<String>| name.clone().unwrap_or_else(|| "nobody".to_owned());
    let mut text = format!("call {} from {} to {}\n", report.call, end(&report.caller), end(&report.callee));
    match &report.outcome {
        CallOutcome::Established { srd, cache, path, overlay, floor } => {
            text += &format!("established after {} (Session Request Delay)\n", ms(*srd));
            text += &format!("cache: {}; servers on the path: {}\n", word(cache), path.len());
            if let Some(overlay) = overlay {
                text += &format!("inside the overlay: {}\n", ms(*overlay));
            }
            if let (Some(floor), Some(overhead)) = (floor, report.overhead()) {
                text += &format!("floor {}, overhead {:.3} ms\n", ms(*floor), overhead.as_millis());
            }
        }
        CallOutcome::Failed { srd, status } => {
            text += &format!("failed with status {status}");
            text += &srd.map_or("\n".to_owned(), |srd| format!(" after {}\n", ms(srd)));
        }
        CallOutcome::Pending => text += "no answer\n",
    }
    text
}

fn unexpected() -> Failure {
    Failure::new(Exit::Failed, "the lab gave an unexpected answer")
}
