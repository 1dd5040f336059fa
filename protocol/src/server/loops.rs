//! Loop detection and Max-Breadth (RFC 3261 §16.3 point 4 and §16.6 point 8, as RFC 5393 corrects them).
//!
//! The branch of a forwarded request ends with a hash of all that decides its way. A request that comes back with the same
//! hash loops; one that comes back with another one spirals, which a SAMP server that is both anchor and home must allow.

use crate::overlay::identifier_of;
use crate::sip::{Host, Request, Via};
use std::fmt::Write;
use std::net::SocketAddr;

/// The field that bounds how many branches of a request there may be at once.
const MAX_BREADTH: &str = "Max-Breadth";
/// Its value where a request has none (RFC 5393 §5.3.3).
const DEFAULT_BREADTH: u32 = 60;
/// Digits of a hash.
const DIGITS: usize = 16;

/// The hash of what decides a request's way: the Request-URI, the route, the way over the ring; with what tells apart
/// requests, but not a request from its ACK and CANCEL.
pub(super) fn way_of(request: &Request) -> String {
    let headers = &request.headers;
    let mut text = format!("{} {} {}", request.uri, headers.call_id, headers.cseq);
    // Writing to a string does not fail.
    let _ = headers.route.iter().try_for_each(|route| write!(text, " {route}"));
    for part in [headers.from.tag(), headers.get("Overlay-Route")] {
        text.push(' ');
        text.push_str(part.unwrap_or(""));
    }
    digits_of(&text)
}

/// A branch that is the same for all that follow a request on its way (RFC 3261 §16.11).
pub(super) fn stateless_branch(request: &Request, me: SocketAddr, way: &str) -> String {
    let incoming = request.top_via().map_or("", Via::branch);
    format!("z9hG4bK{}.{way}", digits_of(&format!("{incoming} {me}")))
}

/// Whether this server has forwarded the request before, on the very same way.
pub(super) fn is_loop(request: &Request, me: SocketAddr, way: &str) -> bool {
    let mine = |via: &&Via| via.host == Host::Ip(me.ip()) && via.port.unwrap_or(5060) == me.port();
    request.headers.via.iter().filter(mine).any(|via| via.branch().ends_with(way))
}

/// How many branches of this request there may be at once.
pub(super) fn breadth_of(request: &Request) -> u32 {
    let breadth = request.headers.get(MAX_BREADTH).and_then(|text| text.parse().ok());
    breadth.unwrap_or(DEFAULT_BREADTH)
}

/// Gives a branch its share.
pub(super) fn set_breadth(request: &mut Request, breadth: u32) {
    request.headers.set(MAX_BREADTH, breadth.to_string());
}

/// The first 64 bits of a hash.
fn digits_of(text: &str) -> String {
    let mut digits = identifier_of(text).to_string();
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Method;
    use crate::transaction::tests::request as test_request;

    #[test]
    fn a_loop_is_told_from_a_spiral() {
        let me: SocketAddr = "10.0.0.7:5060".parse().unwrap();
        let mut request = test_request(Method::Invite);
        let way = way_of(&request);
        assert!(!is_loop(&request, me, &way));
        let branch = stateless_branch(&request, me, &way);
        request.headers.via.insert(0, Via::new(me, &branch));
        assert!(is_loop(&request, me, &way_of(&request)));
        assert!(!is_loop(&request, "10.0.0.8:5060".parse().unwrap(), &way), "another server");
        request.uri.user = Some("other".to_owned());
        assert!(!is_loop(&request, me, &way_of(&request)), "a spiral");
    }

    #[test]
    fn ack_and_cancel_take_the_way_of_their_invite() {
        let me: SocketAddr = "10.0.0.7:5060".parse().unwrap();
        let [invite, ack, cancel] = [Method::Invite, Method::Ack, Method::Cancel].map(test_request);
        let branch = |request: &Request| stateless_branch(request, me, &way_of(request));
        assert_eq!(branch(&invite), branch(&ack));
        assert_eq!(branch(&invite), branch(&cancel));
    }

    #[test]
    fn breadth_is_read_and_written() {
        let mut request = test_request(Method::Invite);
        assert_eq!(breadth_of(&request), 60);
        set_breadth(&mut request, 3);
        assert_eq!(breadth_of(&request), 3);
    }
}
