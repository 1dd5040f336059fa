//! Overlay messages as SIP: the OVERLAY method, and the field by which every SIP request is routed over the ring.

use super::Peer;
use super::record::Record;
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

/// What one server asks of another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OverlayRequest {
    /// Predecessor and successor list of a member.
    Neighbours { of: Peer },
    /// The owner of a key; routed over the ring, answered by the owner.
    Find { key: OverlayId },
    /// "I precede you."
    Notify { to: Peer },
    /// A sign of life.
    Ping,
    /// Keep these records, as replica or as their new owner.
    Store(Vec<Record>),
}

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
}

impl OverlayRoute {
    /// Reads the field, if the request has a well-formed one.
    pub(crate) fn of(headers: &Headers) -> Option<Self> {
        let mut words = headers.get(ROUTE)?.split(";owner=");
        Some(Self { key: words.next()?.parse().ok()?, owner: words.next().map(str::parse).transpose().ok()? })
    }

    /// Writes the field.
    pub(crate) fn write(self, headers: &mut Headers) {
        let owner = self.owner.map_or(String::new(), |owner| format!(";owner={owner}"));
        headers.set(ROUTE, format!("{}{owner}", self.key));
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
            OverlayRoute { key: *key, owner: None }.write(&mut headers);
            "find"
        }
        OverlayRequest::Notify { to } => {
            headers.set(TO, to.to_string());
            "notify"
        }
        OverlayRequest::Ping => "ping",
        OverlayRequest::Store(records) => {
            records.iter().for_each(|record| record.write(now, &mut body));
            "store"
        }
    };
    headers.set(OPERATION, operation);
    Request { method: Method::Overlay, uri, headers, body: Bytes::from(body) }
}

/// Who asks, and what; none when it is malformed.
pub(crate) fn read_request(now: Time, request: &Request) -> Option<(Peer, OverlayRequest)> {
    let headers = &request.headers;
    let peer = |name| headers.get(name)?.parse().ok();
    let what = match headers.get(OPERATION)? {
        "neighbours" => OverlayRequest::Neighbours { of: peer(TO)? },
        "find" => OverlayRequest::Find { key: OverlayRoute::of(headers)?.key },
        "notify" => OverlayRequest::Notify { to: peer(TO)? },
        "ping" => OverlayRequest::Ping,
        "store" => OverlayRequest::Store(Record::read_all(now, std::str::from_utf8(&request.body).ok()?)?),
        _ => return None,
    };
    Some((peer(PEER)?, what))
}

/// Writes into a response which member answers, and its neighbours.
pub(crate) fn write_answer(response: &mut Response, me: Peer, neighbours: &Neighbours) {
    response.headers.set(PEER, me.to_string());
    let mut body = String::new();
    if let Some(predecessor) = neighbours.predecessor {
        body += &format!("predecessor {predecessor}\n");
    }
    for successor in &neighbours.successors {
        body += &format!("successor {successor}\n");
    }
    response.body = Bytes::from(body);
}

/// Which member answered, and its neighbours; none when it is malformed or names more than a list may hold.
pub(crate) fn read_answer(response: &Response) -> Option<(Peer, Neighbours)> {
    let peer = response.headers.get(PEER)?.parse().ok()?;
    let mut neighbours = Neighbours::default();
    for line in std::str::from_utf8(&response.body).ok()?.lines() {
        let (what, peer) = line.split_once(' ')?;
        let peer = peer.parse().ok()?;
        match what {
            "predecessor" => neighbours.predecessor = Some(peer),
            "successor" if neighbours.successors.len() < LONGEST_LIST => neighbours.successors.push(peer),
            _ => return None,
        }
    }
    Some((peer, neighbours))
}
