//! How a message finds its transaction (RFC 3261 §17.1.3, §17.2.3).

use crate::sip::{Method, Request, Response, Via};

/// The magic cookie with which branches begin that are unique (RFC 3261 §8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// What the messages of one transaction have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    branch: String,
    method: Method,
    /// Who sent the request, for a server transaction.
    sent_by: Option<String>,
}

impl Name {
    /// The client transaction that sends this request; an ACK is sent by its INVITE's.
    pub(super) fn of_sent(request: &Request) -> Self {
        let branch = request.top_via().map_or("", |via| via.branch()).to_owned();
        Self { branch, method: invite_for_ack(&request.method), sent_by: None }
    }

    /// The client transaction that this response answers; none without a Via.
    pub(super) fn of_response(response: &Response) -> Option<Self> {
        let branch = response.headers.via.first()?.branch().to_owned();
        Some(Self { branch, method: response.headers.cseq_method.clone(), sent_by: None })
    }

    /// The server transaction that sends this response; none without a Via. RFC 2543's are not found.
    pub(super) fn of_answered(response: &Response) -> Option<Self> {
        let sent_by = sent_by(response.headers.via.first()?);
        Some(Self { sent_by: Some(sent_by), ..Self::of_response(response)? })
    }

    /// The server transaction that this request belongs to; an ACK belongs to its INVITE's. None without a Via.
    pub(super) fn of_received(request: &Request) -> Option<Self> {
        Self::received_as(request, invite_for_ack(&request.method))
    }

    /// The server transaction of the INVITE that this CANCEL is about (RFC 3261 §9.2).
    pub(super) fn of_cancelled(cancel: &Request) -> Option<Self> {
        Self::received_as(cancel, Method::Invite)
    }

    fn received_as(request: &Request, method: Method) -> Option<Self> {
        let (via, headers) = (request.top_via()?, &request.headers);
        let sent_by = Some(sent_by(via));
        let branch = if via.branch().starts_with(MAGIC_COOKIE) {
            via.branch().to_owned()
        } else {
            // An element of RFC 2543: what identifies its requests.
            let tag = headers.from.tag().unwrap_or("");
            format!("{} {} {tag} {}", headers.call_id, headers.cseq, request.uri)
        };
        Some(Self { branch, method, sent_by })
    }
}

fn sent_by(via: &Via) -> String {
    format!("{}:{}", via.host, via.port.unwrap_or(5060))
}

fn invite_for_ack(method: &Method) -> Method {
    if *method == Method::Ack { Method::Invite } else { method.clone() }
}
