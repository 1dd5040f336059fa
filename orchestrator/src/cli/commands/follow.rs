//! `logs` and `events`: what a lab says, so far or for as long as it runs.

use super::super::{Exit, Failure, Format, Terminal};
use super::labs::node_id;
use super::note_discarded;
use crate::client::Client;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use samp_model::control::LabStatus;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Prints the log of what runs at a node, floods included, or of the supervisor.
pub(super) fn logs(
    terminal: &Terminal,
    client: &Client,
    node: Option<&str>,
    follow: bool,
) -> Result<Exit, Failure> {
    let path = match node {
        Some(name) => {
            node_id(&client.status()?.topology, name)?;
            client.dir().node_log(name)
        }
        None => client.dir().supervisor_log(),
    };
    let failed = |error: io::Error| Failure::io(format_args!("read {}", path.display()), &error);
    let mut log = match (File::open(&path), node) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "nothing has run there yet; a router has a log where it gives out addresses or has flooded a server";
            return Err(Failure::new(Exit::Failed, format!("`{name}` has no log")).hint(hint.to_owned()));
        }
        (log, _) => log.map_err(failed)?,
    };
    if follow {
        return until_nobody_reads(follow_log(terminal, client, node, &path, &mut log)).map_err(failed);
    }
    let mut text = Vec::new();
    log.read_to_end(&mut text).map_err(failed)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    #[derive(Serialize)]
    struct Log<'a> {
        node: Option<&'a str>,
        lines: Vec<&'a str>,
    }
    terminal.show(&Log { node, lines: text.lines().collect() }, |_| text.clone())?;
    Ok(Exit::Success)
}

/// Prints whole lines as they are added, until the lab has ended.
fn follow_log(
    terminal: &Terminal,
    client: &Client,
    node: Option<&str>,
    path: &Path,
    log: &mut File,
) -> io::Result<()> {
    /// How soon the end of the lab is noticed, of which the file itself does not tell; in ms.
    const CHECK: u16 = 500;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
    let mut waiting = Vec::new();
    loop {
        let was_live = client.dir().is_live();
        let length = waiting.len();
        log.read_to_end(&mut waiting)?;
        let is_new = waiting.len() > length;
        if is_new {
            let end = match was_live {
                true => waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1),
                false => waiting.len(),
            };
            let lines: Vec<u8> = waiting.drain(..end).collect();
            for line in String::from_utf8_lossy(&lines).lines() {
                match terminal.format {
                    Format::Text | Format::Markdown => writeln!(io::stdout(), "{line}")?,
                    Format::Json => print_json(&serde_json::json!({ "node": node, "line": line }))?,
                }
            }
        } else if !was_live {
            return Ok(());
        } else {
            poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], CHECK)?;
            // What exactly has happened does not matter, and that nothing has is no error.
            let _ = inotify.read_events();
        }
    }
}

/// Prints the lab as it is, and then every record from the first on.
pub(super) fn events(terminal: &Terminal, client: &Client, follow: bool) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct State<'a> {
        event: &'static str,
        #[serde(flatten)]
        status: &'a LabStatus,
    }
    let failed = |error: io::Error| Failure::io("print the records", &error);
    let status = client.status()?;
    let mut records = client.records()?;
    let discarded = records.discarded();
    note_discarded(terminal, discarded);
    let mut print = || {
        print_json(&State { event: "state", status: &status })?;
        let mut rest = if follow { u64::MAX } else { status.records.saturating_sub(discarded) };
        while rest > 0 {
            let Some(record) = records.next() else { break };
            print_json(&record.map_err(io::Error::other)?)?;
            rest -= 1;
        }
        Ok(())
    };
    until_nobody_reads(print()).map_err(failed)
}

/// That the reader of standard output has gone is a good end.
fn until_nobody_reads(end: io::Result<()>) -> io::Result<Exit> {
    match end {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(Exit::Success),
    }
}

/// Prints one line.
fn print_json(data: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(data)?;
    line.push(b'\n');
    io::stdout().write_all(&line)
}
