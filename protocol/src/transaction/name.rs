//! How a message finds its transaction (RFC 3261 §17.1.3, §17.2.3).

use crate::sip::{Method, Request, Response, Via};
use sha1::{Digest, Sha1};

/// The magic cookie with which branches begin that are unique (RFC 3261 §8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// What the messages of one transaction have in common, hashed: there may be a million at a time, and their branches
/// differ at the end only, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name([u8; 20]);

/// Which end of a transaction this element is.
#[derive(Clone, Copy)]
enum End {
    Client = 0,
    Server = 1,
}

impl Name {
    fn new(end: End, method: &Method, branch: &str, sent_by: &str) -> Self {
        let mut hash = Sha1::new_with_prefix([end as u8]);
        // With their lengths: no two lists of texts are the same bytes.
        for text in [method.name(), branch, sent_by] {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// The client transaction that sends this request; an ACK is sent by its INVITE's.
    pub(super) fn of_sent(request: &Request) -> Self {
        let branch = request.top_via().map_or("", |via| via.branch());
        Self::new(End::Client, &invite_for_ack(&request.method), branch, "")
    }

    /// The client transaction that this response answers; none without a Via.
    pub(super) fn of_response(response: &Response) -> Option<Self> {
        let via = response.headers.via.first()?;
        Some(Self::new(End::Client, &response.headers.cseq_method, via.branch(), ""))
    }

    /// The server transaction that sends this response; none without a Via. RFC 2543's are not found.
    pub(super) fn of_answered(response: &Response) -> Option<Self> {
        let via = response.headers.via.first()?;
        Some(Self::new(End::Server, &response.headers.cseq_method, via.branch(), &sent_by(via)))
    }

    /// The server transaction that this request belongs to; an ACK belongs to its INVITE's. None without a Via.
    pub(super) fn of_received(request: &Request) -> Option<Self> {
        Self::received_as(request, &invite_for_ack(&request.method))
    }

    /// The server transaction of the INVITE that this CANCEL is about (RFC 3261 §9.2).
    pub(super) fn of_cancelled(cancel: &Request) -> Option<Self> {
        Self::received_as(cancel, &Method::Invite)
    }

    fn received_as(request: &Request, method: &Method) -> Option<Self> {
        let (via, headers) = (request.top_via()?, &request.headers);
        let sent_by = sent_by(via);
        if via.branch().starts_with(MAGIC_COOKIE) {
            return Some(Self::new(End::Server, method, via.branch(), &sent_by));
        }
        // An element of RFC 2543: what identifies its requests.
        let tag = headers.from.tag().unwrap_or("");
        let branch = format!("{} {} {tag} {}", headers.call_id, headers.cseq, request.uri);
        Some(Self::new(End::Server, method, &branch, &sent_by))
    }
}

fn sent_by(via: &Via) -> String {
    format!("{}:{}", via.host, via.port.unwrap_or(5060))
}

fn invite_for_ack(method: &Method) -> Method {
    if *method == Method::Ack { Method::Invite } else { method.clone() }
}
