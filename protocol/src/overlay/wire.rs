//! Overlay messages as SIP: the OVERLAY method, and the field by which every SIP request is routed over the ring.

use super::Peer;
use super::arc::Arc;
use super::fingerprint::Fingerprint;
use super::record::{Record, Version};
use crate::sip::{Headers, Method, NameAddr, Request, Response, Uri};
use bytes::Bytes;
use samp_model::ring::LONGEST_LIST;
use samp_model::{OverlayId, Time};
use std::net::SocketAddr;

const OPERATION: &str = "Overlay-Operation";
/// The member that asks, or answers.
const PEER: &str = "Overlay-Peer";
/// The member that is asked, where it matters which of a server's it is.
const TO: &str = "Overlay-To";
const ROUTE: &str = "Overlay-Route";
/// The highest ownership epoch that the sender knows of.
const EPOCH: &str = "Overlay-Epoch";

/// What one server asks of another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OverlayRequest {
    /// Predecessor and successor list of a member.
    Neighbours { of: Peer },
    /// The owner of a key; routed over the ring, answered by the owner.
    Find { key: OverlayId },
    /// "I precede you."
    Notify { to: Peer },
    /// "I leave; these are my neighbours."
    Leave { to: Peer, neighbours: Neighbours },
    /// A sign of life.
    Ping,
    /// Keep these records, as replica or as their new owner.
    Store(Vec<Record>),
    /// The fingerprints of the records on these arcs.
    Compare(Vec<Arc>),
    /// The versions of the records on this arc.
    List(Arc),
    /// The records with these keys.
    Fetch(Vec<OverlayId>),
}

/// What a server tells of its records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// To `store`: how many records were not taken, as there are newer ones or no room.
    Refused(usize),
    /// To `compare`, in the order of the arcs.
    Fingerprints(Vec<Fingerprint>),
    /// To `list`.
    Versions(Vec<(OverlayId, Version)>),
    /// To `fetch`: as many of them as fit.
    Records(Vec<Record>),
}

/// Arcs in a `compare` at most.
pub(crate) const MAX_ARCS: usize = 8;
/// Versions in the answer to a `list`, and keys in a `fetch`, at most.
pub(crate) const MAX_KEYS: usize = 16;
/// Records stop being added to a message when it has so many bytes of them: with its head it still fits a datagram
/// (RFC 3261 §18.1.1).
pub(crate) const MAX_BATCH: usize = 700;
/// Records in a message at most.
const MAX_RECORDS: usize = 64;

/// Predecessor and successor list of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Neighbours {
    pub(crate) predecessor: Option<Peer>,
    pub(crate) successors: Vec<Peer>,
}

/// How far a request has come on its way over the ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OverlayRoute {
    /// Where it is going.
    pub(crate) key: OverlayId,
    /// Set by the last hop, which knows the owner as its successor.
    pub(crate) owner: Option<OverlayId>,
    /// Set by an owner that has not been given its records yet: its successor answers from its own.
    pub(crate) is_passed_on: bool,
}

impl OverlayRoute {
    /// Reads the field, if the request has a well-formed one.
    pub(crate) fn of(headers: &Headers) -> Option<Self> {
        let mut words = headers.get(ROUTE)?.split(';');
        let mut route = Self { key: words.next()?.parse().ok()?, owner: None, is_passed_on: false };
        for word in words {
            match word.split_once('=') {
                Some(("owner", id)) => route.owner = Some(id.parse().ok()?),
                _ => route.is_passed_on |= word == "passed-on",
            }
        }
        Some(route)
    }

    /// Writes the field.
    pub(crate) fn write(self, headers: &mut Headers) {
        let owner = self.owner.map_or(String::new(), |owner| format!(";owner={owner}"));
        let passed_on = if self.is_passed_on { ";passed-on" } else { "" };
        headers.set(ROUTE, format!("{}{owner}{passed_on}", self.key));
    }

    /// Removes the field: the request leaves the overlay.
    pub(crate) fn erase(headers: &mut Headers) {
        headers.remove(ROUTE);
    }
}

/// The SIP request by which the member `me` asks this of the server at `to`; the caller adds the Via.
pub(crate) fn request(
    me: Peer,
    to: SocketAddr,
    call_id: String,
    tag: String,
    now: Time,
    what: &OverlayRequest,
) -> Request {
    let uri = Uri::at(None, to);
    let mut headers = Headers {
        via: Vec::new(),
        from: NameAddr::new(Uri::at(None, me.address)).with("tag", Some(tag)),
        to: NameAddr::new(uri.clone()),
        call_id,
        cseq: 1,
        cseq_method: Method::Overlay,
        max_forwards: Some(70),
        route: Vec::new(),
        contact: Vec::new(),
        expires: None,
        other: vec![(PEER.to_owned(), me.to_string())],
    };
    let mut body = String::new();
    let operation = match what {
        OverlayRequest::Neighbours { of } => {
            headers.set(TO, of.to_string());
            "neighbours"
        }
        OverlayRequest::Find { key } => {
            OverlayRoute { key: *key, owner: None, is_passed_on: false }.write(&mut headers);
            "find"
        }
        OverlayRequest::Notify { to } => {
            headers.set(TO, to.to_string());
            "notify"
        }
        OverlayRequest::Leave { to, neighbours } => {
            headers.set(TO, to.to_string());
            body = text_of(neighbours);
            "leave"
        }
        OverlayRequest::Ping => "ping",
        OverlayRequest::Store(records) => {
            records.iter().for_each(|record| record.write(now, &mut body));
            "store"
        }
        OverlayRequest::Compare(arcs) => {
            arcs.iter().for_each(|arc| body += &format!("{arc}\n"));
            "compare"
        }
        OverlayRequest::List(arc) => {
            body += &format!("{arc}\n");
            "list"
        }
        OverlayRequest::Fetch(keys) => {
            keys.iter().for_each(|key| body += &format!("{key}\n"));
            "fetch"
        }
    };
    headers.set(OPERATION, operation);
    Request { method: Method::Overlay, uri, headers, body: Bytes::from(body) }
}

/// Who asks, and what; none when it is malformed.
pub(crate) fn read_request(now: Time, request: &Request) -> Option<(Peer, OverlayRequest)> {
    let headers = &request.headers;
    let peer = |name| headers.get(name)?.parse().ok();
    let body = std::str::from_utf8(&request.body).ok()?;
    let what = match headers.get(OPERATION)? {
        "neighbours" => OverlayRequest::Neighbours { of: peer(TO)? },
        "find" => OverlayRequest::Find { key: OverlayRoute::of(headers)?.key },
        "notify" => OverlayRequest::Notify { to: peer(TO)? },
        "leave" => OverlayRequest::Leave { to: peer(TO)?, neighbours: neighbours_in(body)? },
        "ping" => OverlayRequest::Ping,
        "store" => OverlayRequest::Store(records(now, body)?),
        "compare" => OverlayRequest::Compare(lines(body, MAX_ARCS)?),
        "list" => OverlayRequest::List(body.trim_end().parse().ok()?),
        "fetch" => OverlayRequest::Fetch(lines(body, MAX_KEYS)?),
        _ => return None,
    };
    Some((peer(PEER)?, what))
}

/// Writes into a response which member answers, and its neighbours.
pub(crate) fn write_answer(response: &mut Response, me: Peer, neighbours: &Neighbours) {
    response.headers.set(PEER, me.to_string());
    response.body = Bytes::from(text_of(neighbours));
}

/// Which member answered, and its neighbours; none when it is malformed or names more than a list may hold.
pub(crate) fn read_answer(response: &Response) -> Option<(Peer, Neighbours)> {
    let peer = response.headers.get(PEER)?.parse().ok()?;
    Some((peer, neighbours_in(std::str::from_utf8(&response.body).ok()?)?))
}

fn text_of(neighbours: &Neighbours) -> String {
    let mut text = String::new();
    if let Some(predecessor) = neighbours.predecessor {
        text += &format!("predecessor {predecessor}\n");
    }
    for successor in &neighbours.successors {
        text += &format!("successor {successor}\n");
    }
    text
}

fn neighbours_in(text: &str) -> Option<Neighbours> {
    let mut neighbours = Neighbours::default();
    for line in text.lines() {
        let (what, peer) = line.split_once(' ')?;
        let peer = peer.parse().ok()?;
        match what {
            "predecessor" => neighbours.predecessor = Some(peer),
            "successor" if neighbours.successors.len() < LONGEST_LIST => neighbours.successors.push(peer),
            _ => return None,
        }
    }
    Some(neighbours)
}

/// Writes what a server tells of its records.
pub(crate) fn write_told(response: &mut Response, me: Peer, now: Time, told: &Told) {
    response.headers.set(PEER, me.to_string());
    let mut body = String::new();
    match told {
        Told::Refused(count) => body += &format!("{count}\n"),
        Told::Fingerprints(all) => all.iter().for_each(|fingerprint| body += &format!("{fingerprint}\n")),
        Told::Versions(all) => all.iter().for_each(|(key, version)| body += &format!("{key} {version}\n")),
        Told::Records(records) => records.iter().for_each(|record| record.write(now, &mut body)),
    }
    response.body = Bytes::from(body);
}

/// Reads what `to` tells in answer to `what`; none when it is malformed, or not from `to`.
pub(crate) fn read_told(
    now: Time,
    to: SocketAddr,
    what: &OverlayRequest,
    response: &Response,
) -> Option<Told> {
    let peer: Peer = response.headers.get(PEER)?.parse().ok()?;
    let body = std::str::from_utf8(&response.body).ok().filter(|_| peer.address == to)?;
    Some(match what {
        OverlayRequest::Store(_) => Told::Refused(body.trim_end().parse().ok()?),
        OverlayRequest::Compare(_) => Told::Fingerprints(lines(body, MAX_ARCS)?),
        OverlayRequest::List(_) => {
            let version = |line: &str| {
                let (key, version) = line.split_once(' ')?;
                Some((key.parse().ok()?, version.parse().ok()?))
            };
            let versions: Option<Vec<_>> = body.lines().take(MAX_KEYS).map(version).collect();
            Told::Versions(versions?)
        }
        OverlayRequest::Fetch(_) => Told::Records(records(now, body)?),
        _ => return None,
    })
}

/// Writes the highest ownership epoch that is known here.
pub(crate) fn write_epoch(headers: &mut Headers, epoch: u64) {
    headers.set(EPOCH, epoch.to_string());
}

/// The highest ownership epoch that the sender knows of.
pub(crate) fn epoch_of(headers: &Headers) -> u64 {
    headers.get(EPOCH).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// One value a line; none when one is malformed, or there are more than `most`.
fn lines<T: std::str::FromStr>(body: &str, most: usize) -> Option<Vec<T>> {
    let values: Vec<T> = body.lines().take(most + 1).map(|line| line.parse().ok()).collect::<Option<_>>()?;
    (values.len() <= most).then_some(values)
}

fn records(now: Time, body: &str) -> Option<Vec<Record>> {
    Record::read_all(now, body).filter(|records| records.len() <= MAX_RECORDS)
}
