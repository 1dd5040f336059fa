//! Answers to requests that cannot be read as a whole: their sender hears why, instead of asking again for 32 s.

use super::codec::{headers, is_version};
use super::grammar::{is_token, uri};
use super::lines::Lines;
use super::{Method, ParseError, Request, Uri, status};
use crate::node::Transmit;
use crate::overlay::identifier_of;
use bytes::Bytes;
use std::net::SocketAddr;

/// The answer to a datagram that [`parse`](super::parse) refuses, for where it came from: 505 for another version of
/// SIP (RFC 3261 §21.5.6), 416 for another scheme than `sip` (§21.4.14), else 400 (§21.4.1).
///
/// None when it is no request, or an ACK, or its header fields do not say whom to answer and how.
pub fn refusal(datagram: &[u8], from: SocketAddr) -> Option<Transmit> {
    let (mut lines, _) = Lines::split(datagram).ok()?;
    let start = lines.next()?.ok()?;
    let (mut headers, _) = headers(lines).ok()?;
    let (method, rest) = start.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    if !is_token(method) || !version.get(..4)?.eq_ignore_ascii_case("SIP/") {
        return None;
    }
    let code = match uri(target.trim()) {
        _ if !is_version(version) => status::VERSION_NOT_SUPPORTED,
        Err(ParseError::Scheme) if target.split_once(':').is_some_and(|(scheme, _)| is_token(scheme)) => {
            status::UNSUPPORTED_URI_SCHEME
        }
        _ => status::BAD_REQUEST,
    };
    headers.via.first_mut()?.note_source(from);
    let method = Method::from_name(method);
    // Without a transaction the tag must be the same each time (§8.2.7).
    let mut tag = identifier_of(&headers.call_id).to_string();
    tag.truncate(16);
    let request = Request { method, uri: Uri::at(None, from), headers, body: Bytes::new() };
    if request.method == Method::Ack { None } else { Transmit::response(request.response(code, &tag)) }
}
