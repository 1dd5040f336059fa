//! What a world did, line by line: for reading a failure, and for telling whether two runs are the same.

use crate::world::Happened;
use samp_model::{NodeId, Time, Topology};
use samp_protocol::sip::Message;
use std::net::IpAddr;

/// Lines of text, or nothing at all where nobody wants to read them.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn enable(&mut self) {
        self.lines.get_or_insert_default();
    }

    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// A line of free text; it is made only if it is wanted.
    pub(crate) fn note(&mut self, at: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at} {}", line()));
        }
    }

    /// A message, at its sending or at its arrival.
    pub(crate) fn message(&mut self, at: Time, what: &str, from: IpAddr, to: IpAddr, message: &Message) {
        self.note(at, || format!("{what} {from} -> {to} {}", summary(message)));
    }

    pub(crate) fn event(&mut self, topology: &Topology, happened: &Happened) {
        self.note(happened.at, || format!("{}: {:?}", name(topology, happened.node), happened.event));
    }
}

/// A node's name.
pub(crate) fn name(topology: &Topology, node: NodeId) -> &str {
    &topology.node(node).name
}

/// Names of several nodes.
pub(crate) fn names<'a>(topology: &Topology, nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(|&node| name(topology, node)).collect::<Vec<_>>().join(" ")
}

/// Method or status, sequence number, Call-ID, branch, and what a ring message is about.
fn summary(message: &Message) -> String {
    let (start, headers) = match message {
        Message::Request(request) => (format!("{} {}", request.method.name(), request.uri), &request.headers),
        Message::Response(response) => (response.status.to_string(), &response.headers),
    };
    let (cseq, method, call) = (headers.cseq, headers.cseq_method.name(), &headers.call_id);
    let branch = headers.via.first().map_or("", |via| via.branch());
    let operation = headers.get("Overlay-Operation").unwrap_or_default();
    format!("{start} ({cseq} {method} {call} {branch} {operation})")
}
