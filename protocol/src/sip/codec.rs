//! From bytes to typed messages: start line, header fields, body.

use super::grammar::{is_token, list, name_addr, number, trim, uri, via};
use super::lines::Lines;
use super::message::{Contact, Headers, Message, Method, Request, Response};
use super::uri::Uri;
use bytes::Bytes;

/// Header fields of one message at most.
const FIELDS_MAX: usize = 256;

/// The datagram is no SIP message that this implementation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Lines do not end as they must, or are too long or too many, or the head is no text or does not end.
    #[error("not a SIP message")]
    Framing,
    /// A field that every message has is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part is malformed, or is there twice.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// A URI is not a `sip:` URI.
    #[error("only sip: URIs are understood")]
    Scheme,
}

/// Reads one message from a datagram (RFC 3261 §7, §18.3).
///
/// # Errors
/// When it is not a well-formed message with the fields of §8.1.1, or a URI in them has another scheme than `sip`.
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    let (mut lines, rest) = Lines::split(datagram)?;
    let start = lines.next().ok_or(ParseError::Framing)??;
    let (headers, length) = headers(lines)?;
    // Without Content-Length the body is all that is left of the datagram (§18.3).
    let body = rest.get(..length.unwrap_or(rest.len())).ok_or(ParseError::Malformed("Content-Length"))?;
    let body = Bytes::copy_from_slice(body);
    if is_version(start.split(' ').next().unwrap_or("")) {
        let (status, reason) = status_line(&start).ok_or(ParseError::Malformed("status line"))?;
        return Ok(Message::Response(Response { status, reason: reason.to_owned(), headers, body }));
    }
    let (method, target) = request_line(&start).ok_or(ParseError::Malformed("request line"))?;
    let method = Method::from_name(method);
    if method != headers.cseq_method {
        return Err(ParseError::Malformed("CSeq"));
    }
    Ok(Message::Request(Request { method, uri: uri(target)?, headers, body }))
}

impl std::str::FromStr for Uri {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        uri(text)
    }
}

/// Method and Request-URI, with one space between the words.
fn request_line(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    (is_token(method) && is_version(words.next()?) && words.next().is_none()).then_some((method, target))
}

/// Status code and reason phrase, which may be empty.
fn status_line(line: &str) -> Option<(u16, &str)> {
    let mut words = line.splitn(3, ' ').skip(1);
    let (code, reason) = (words.next()?, words.next().unwrap_or(""));
    let status = number(code).filter(|status| code.len() == 3 && (100..700).contains(status))?;
    Some((status as u16, reason))
}

pub(super) fn is_version(word: &str) -> bool {
    word.eq_ignore_ascii_case("SIP/2.0")
}

/// The header fields, and what Content-Length says.
pub(super) fn headers(lines: Lines<'_>) -> Result<(Headers, Option<usize>), ParseError> {
    let (mut via, mut route, mut contact, mut other) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut from, mut to, mut call_id, mut cseq) = (None, None, None, None);
    let (mut max_forwards, mut expires, mut length) = (None, None, None);
    for (number_of_fields, line) in lines.enumerate() {
        let line = line?;
        let (name, value) = line.split_once(':').ok_or(ParseError::Malformed("header field"))?;
        let (name, value) = (name.trim_end_matches([' ', '\t']), trim(value));
        if number_of_fields == FIELDS_MAX || !is_token(name) {
            return Err(ParseError::Malformed("header field"));
        }
        match Field::named(name) {
            Field::Via => list(value, self::via, &mut via).ok_or(ParseError::Malformed("Via"))?,
            Field::Route => list(value, name_addr, &mut route).ok_or(ParseError::Malformed("Route"))?,
            Field::Contact if value == "*" => contact.push(Contact::All),
            Field::Contact => {
                let read = |text: &str| name_addr(text).map(Contact::Address);
                list(value, read, &mut contact).ok_or(ParseError::Malformed("Contact"))?;
            }
            Field::From => once(&mut from, name_addr(value), "From")?,
            Field::To => once(&mut to, name_addr(value), "To")?,
            Field::CallId => once(&mut call_id, self::call_id(value), "Call-ID")?,
            Field::CSeq => once(&mut cseq, self::cseq(value), "CSeq")?,
            Field::MaxForwards => once(&mut max_forwards, integer(value), "Max-Forwards")?,
            Field::Expires => once(&mut expires, integer(value), "Expires")?,
            Field::ContentLength => once(&mut length, integer(value), "Content-Length")?,
            Field::Other(name) => other.push((name.to_owned(), value.to_owned())),
        }
    }
    if via.is_empty() {
        return Err(ParseError::Missing("Via"));
    }
    let (cseq, cseq_method) = cseq.ok_or(ParseError::Missing("CSeq"))?;
    let headers = Headers {
        via,
        from: from.ok_or(ParseError::Missing("From"))?,
        to: to.ok_or(ParseError::Missing("To"))?,
        call_id: call_id.ok_or(ParseError::Missing("Call-ID"))?,
        cseq,
        cseq_method,
        max_forwards,
        route,
        contact,
        expires,
        other,
    };
    Ok((headers, length))
}

/// A field that has a typed place in [`Headers`] or in framing, or the full name of any other.
enum Field<'a> {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    Route,
    Contact,
    Expires,
    ContentLength,
    Other(&'a str),
}

impl<'a> Field<'a> {
    fn named(name: &'a str) -> Self {
        let name = if name.len() == 1 { full_name(name) } else { name };
        let typed = [
            ("Via", Field::Via),
            ("From", Field::From),
            ("To", Field::To),
            ("Call-ID", Field::CallId),
            ("CSeq", Field::CSeq),
            ("Max-Forwards", Field::MaxForwards),
            ("Route", Field::Route),
            ("Contact", Field::Contact),
            ("Expires", Field::Expires),
            ("Content-Length", Field::ContentLength),
        ];
        let place = typed.into_iter().find(|(typed, _)| typed.eq_ignore_ascii_case(name));
        place.map_or(Field::Other(name), |(_, field)| field)
    }
}

/// The field that a compact form stands for (RFC 3261 §7.3.3 and what IANA has registered since).
fn full_name(letter: &str) -> &str {
    match letter.as_bytes()[0].to_ascii_lowercase() {
        b'a' => "Accept-Contact",
        b'b' => "Referred-By",
        b'c' => "Content-Type",
        b'd' => "Request-Disposition",
        b'e' => "Content-Encoding",
        b'f' => "From",
        b'i' => "Call-ID",
        b'j' => "Reject-Contact",
        b'k' => "Supported",
        b'l' => "Content-Length",
        b'm' => "Contact",
        b'n' => "Identity-Info",
        b'o' => "Event",
        b'r' => "Refer-To",
        b's' => "Subject",
        b't' => "To",
        b'u' => "Allow-Events",
        b'v' => "Via",
        b'x' => "Session-Expires",
        b'y' => "Identity",
        _ => letter,
    }
}

/// Takes the value of a field that may be there once (RFC 4475 §3.3.8).
fn once<T>(slot: &mut Option<T>, value: Option<T>, name: &'static str) -> Result<(), ParseError> {
    if value.is_none() || slot.is_some() {
        return Err(ParseError::Malformed(name));
    }
    *slot = value;
    Ok(())
}

fn integer<T: TryFrom<u64>>(value: &str) -> Option<T> {
    number(value)?.try_into().ok()
}

fn call_id(value: &str) -> Option<String> {
    let is_word = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then(|| value.to_owned())
}

/// Sequence number, below 2³¹ (§8.1.1.5), and method.
fn cseq(value: &str) -> Option<(u32, Method)> {
    let (digits, method) = value.split_once([' ', '\t'])?;
    let method = trim(method);
    let sequence: u32 = integer(digits)?;
    (sequence < 1 << 31 && is_token(method)).then(|| (sequence, Method::from_name(method)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:mn2@10.1.0.3:5060;gr SIP/2.0\r\n\
        Via: SIP/2.0/UDP 172.16.0.2:5060;branch=z9hG4bKb;rport, SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bKa\r\n\
        Max-Forwards: 69\r\nFrom: \"One\" <sip:mn1@samp.test>;tag=f\r\nTo: <sip:mn2@samp.test>\r\n\
        Call-ID: c1\r\nCSeq: 1 INVITE\r\nContact: <sip:mn1@10.0.1.2:5060>\r\n\
        X-Unknown: kept as it is\r\nContent-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n";

    #[test]
    fn a_request_survives_the_round_trip() {
        let message = parse(INVITE.as_bytes()).unwrap();
        assert_eq!(parse(&message.to_bytes()).unwrap(), message);
        let Message::Request(request) = message else { panic!("a request") };
        assert_eq!(request.uri.params.get("gr"), Some(""));
        assert_eq!(request.headers.via.len(), 2);
        assert_eq!(request.headers.from.tag(), Some("f"));
        assert_eq!(request.headers.get("x-unknown"), Some("kept as it is"));
        assert_eq!(&request.body[..], b"v=0\n");
        assert_eq!(request.servers_passed(), ["172.16.0.2".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn a_response_survives_the_round_trip() {
        let Message::Request(request) = parse(INVITE.as_bytes()).unwrap() else { panic!("a request") };
        let response = Message::Response(request.response(200, "t"));
        let parsed = parse(&response.to_bytes()).unwrap();
        assert_eq!(parsed, response);
        let Message::Response(parsed) = parsed else { panic!("a response") };
        assert_eq!(parsed.headers.to.tag(), Some("t"));
    }

    #[test]
    fn what_lacks_a_mandatory_field_is_refused() {
        for field in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let without: String = INVITE
                .split_inclusive("\r\n")
                .filter(|line| !line.starts_with(&format!("{field}:")))
                .collect();
            assert!(parse(without.as_bytes()).is_err(), "accepted without {field}");
        }
        assert!(parse(b"").is_err());
        assert!(parse(INVITE.replace("1 INVITE", "1 BYE").as_bytes()).is_err());
        assert!(parse(INVITE.replace("INVITE sip:", "INVITE tel:").as_bytes()).is_err());
    }

    #[test]
    fn responses_go_where_the_request_came_from() {
        let Message::Request(mut request) = parse(INVITE.as_bytes()).unwrap() else { panic!("a request") };
        request.headers.via[0].note_source("172.16.0.9:5099".parse().unwrap());
        assert_eq!(request.headers.via[0].response_address(), Some("172.16.0.9:5099".parse().unwrap()));
        assert_eq!(request.headers.via[1].response_address(), Some("10.0.1.2:5060".parse().unwrap()));
    }

    #[test]
    fn addresses_of_ipv6_survive_in_every_place() {
        let text = INVITE
            .replace("172.16.0.2:5060", "[fd53:414d:50::2]:5060")
            .replace("mn2@10.1.0.3:5060", "mn2@[fd53:414d:50:2::3]:5060")
            .replace("10.0.1.2:5060", "[fd53:414d:50:1::2]:5060");
        let message = parse(text.as_bytes()).unwrap();
        assert_eq!(parse(&message.to_bytes()).unwrap(), message);
        let Message::Request(mut request) = message else { panic!("a request") };
        let address = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
        assert_eq!(request.uri.socket_address(), Some(address("[fd53:414d:50:2::3]:5060")));
        assert_eq!(
            request.headers.contact_address().unwrap().uri.socket_address(),
            Some(address("[fd53:414d:50:1::2]:5060"))
        );
        assert_eq!(request.servers_passed(), ["fd53:414d:50::2".parse::<std::net::IpAddr>().unwrap()]);
        // What `received` says is read back from the wire, and also when others write it in brackets.
        let source = address("[fd53:414d:50::9]:5099");
        request.headers.via[0].note_source(source);
        let bytes = Message::Request(request).to_bytes();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(";received=fd53:414d:50::9"), "{text}");
        for text in [text.clone(), text.replace("=fd53:414d:50::9", "=[fd53:414d:50::9]")] {
            let Message::Request(request) = parse(text.as_bytes()).unwrap() else { panic!("a request") };
            assert_eq!(request.headers.via[0].response_address(), Some(source));
        }
    }
}
