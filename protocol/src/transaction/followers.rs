//! Requests that must travel exactly as another one did: ACK and CANCEL (RFC 3261 §9.1, §17.1.1.3).

use crate::sip::{Method, Request, Response};

/// The ACK to a response of 300–699 (RFC 3261 §17.1.1.3).
pub(crate) fn ack(invite: &Request, response: &Response) -> Request {
    let mut ack = in_the_steps_of(invite, Method::Ack);
    ack.headers.to = response.headers.to.clone();
    ack
}

/// The ACK or CANCEL of a request. Fields that samp-lab's servers route by come along.
pub(crate) fn in_the_steps_of(request: &Request, method: Method) -> Request {
    let mut follower = request.clone();
    follower.headers.via.truncate(1);
    follower.headers.cseq_method = method.clone();
    follower.headers.contact.clear();
    follower.headers.expires = None;
    follower.headers.max_forwards = Some(70);
    for field in ["Content-Type", "Require", "Proxy-Require"] {
        follower.headers.remove(field);
    }
    follower.method = method;
    follower.body = bytes::Bytes::new();
    follower
}
