//! From bytes to typed messages. The grammar is the `sipx-sip` crate's; this file is all that knows it.

use super::message::{Contact, Headers, Message, Method, Request, Response};
use super::uri::{Host, NameAddr, Params, Uri, Via};
use bytes::Bytes;
use sipx_sip::headers::{Address, ContactValue, Expires, From, MaxForwards, Route, To};
use sipx_sip::{HeaderName, Limits};

/// The datagram is no SIP message that this implementation takes.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It breaks the message grammar or a size limit.
    #[error("not a SIP message")]
    Grammar(#[source] sipx_sip::error::ParseError),
    /// A field that every message has is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is malformed.
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
    let limits = Limits::datagram();
    match sipx_sip::parse_datagram(Bytes::copy_from_slice(datagram), &limits).map_err(ParseError::Grammar)? {
        sipx_sip::Message::Request(request) => {
            let headers = headers(&request.headers)?;
            let method = Method::from_name(text(request.method.as_bytes(), "method")?);
            if method != headers.cseq_method {
                return Err(ParseError::Malformed("CSeq"));
            }
            Ok(Message::Request(Request {
                method,
                uri: uri(&request.uri)?,
                headers,
                body: request.body().clone(),
            }))
        }
        sipx_sip::Message::Response(response) => Ok(Message::Response(Response {
            status: response.status.code(),
            reason: String::from_utf8_lossy(&response.reason).into_owned(),
            headers: headers(&response.headers)?,
            body: response.body().clone(),
        })),
    }
}

impl std::str::FromStr for Uri {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parsed = sipx_sip::Uri::parse(Bytes::copy_from_slice(text.as_bytes()));
        uri(&parsed.map_err(|_| ParseError::Malformed("URI"))?)
    }
}

fn headers(headers: &sipx_sip::Headers) -> Result<Headers, ParseError> {
    let cseq = one::<sipx_sip::CSeq>(headers, "CSeq")?.ok_or(ParseError::Missing("CSeq"))?;
    let call_id = one::<sipx_sip::CallId>(headers, "Call-ID")?.ok_or(ParseError::Missing("Call-ID"))?;
    let from = one::<From>(headers, "From")?.ok_or(ParseError::Missing("From"))?;
    let to = one::<To>(headers, "To")?.ok_or(ParseError::Missing("To"))?;
    let via = headers
        .typed_all::<sipx_sip::Via>()
        .map(|via| self::via(&via.map_err(|_| ParseError::Malformed("Via"))?))
        .collect::<Result<Vec<_>, _>>()?;
    if via.is_empty() {
        return Err(ParseError::Missing("Via"));
    }
    let route = headers
        .typed_all::<Route>()
        .map(|route| name_addr(&route.map_err(|_| ParseError::Malformed("Route"))?.0))
        .collect::<Result<_, _>>()?;
    let contact = headers
        .typed_all::<ContactValue>()
        .map(|contact| match contact.map_err(|_| ParseError::Malformed("Contact"))? {
            ContactValue::Wildcard => Ok(Contact::All),
            ContactValue::Address(address) => name_addr(&address).map(Contact::Address),
        })
        .collect::<Result<_, _>>()?;
    let other = headers
        .iter()
        .filter(|header| !has_a_typed_place(header.name()))
        .map(|header| {
            let name = text(header.name().canonical(), "header name")?.to_owned();
            Ok((name, String::from_utf8_lossy(&header.value()).trim().to_owned()))
        })
        .collect::<Result<_, ParseError>>()?;
    Ok(Headers {
        via,
        from: name_addr(&from.0)?,
        to: name_addr(&to.0)?,
        call_id: text(&call_id.0, "Call-ID")?.to_owned(),
        cseq: cseq.sequence,
        cseq_method: Method::from_name(text(cseq.method.as_bytes(), "CSeq")?),
        max_forwards: one::<MaxForwards>(headers, "Max-Forwards")?.map(|hops| hops.0),
        route,
        contact,
        expires: one::<Expires>(headers, "Expires")?.map(|expires| expires.0),
        other,
    })
}

fn has_a_typed_place(name: &HeaderName) -> bool {
    use HeaderName::{CSeq, CallId, Contact, ContentLength, Expires, From, MaxForwards, Route, To, Via};
    matches!(name, Via | From | To | CallId | CSeq | MaxForwards | Route | Contact | Expires | ContentLength)
}

fn one<H: sipx_sip::TypedHeader>(
    headers: &sipx_sip::Headers,
    name: &'static str,
) -> Result<Option<H>, ParseError> {
    headers.typed::<H>().transpose().map_err(|_| ParseError::Malformed(name))
}

fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, ParseError> {
    std::str::from_utf8(bytes).map_err(|_| ParseError::Malformed(what))
}

fn host(host: &sipx_sip::Host) -> Result<Host, ParseError> {
    Ok(match host {
        sipx_sip::Host::Ip(ip) => Host::Ip(*ip),
        sipx_sip::Host::Name(name) => Host::Name(text(name.as_bytes(), "host")?.to_ascii_lowercase()),
    })
}

fn uri(uri: &sipx_sip::Uri) -> Result<Uri, ParseError> {
    if !matches!(uri.scheme(), sipx_sip::Scheme::Sip) {
        return Err(ParseError::Scheme);
    }
    let params = uri.params().map_or(Ok(Params::default()), params)?;
    let headers = uri.headers().filter(|headers| !headers.is_empty()).map(|headers| {
        let mut out = Vec::new();
        headers.write_to(&mut out, b'&');
        String::from_utf8_lossy(&out).trim_start_matches('&').to_owned()
    });
    Ok(Uri {
        user: uri.user().map(|user| text(user, "URI").map(str::to_owned)).transpose()?,
        host: host(uri.host().ok_or(ParseError::Malformed("URI"))?)?,
        port: uri.port(),
        params,
        headers,
    })
}

fn params(params: &sipx_sip::Params) -> Result<Params, ParseError> {
    let pairs = params.iter().map(|param| {
        let value = param.value().map(|value| text(value, "parameter").map(str::to_owned)).transpose()?;
        Ok((text(param.name(), "parameter")?.to_owned(), value))
    });
    pairs.collect::<Result<_, ParseError>>().map(Params)
}

fn name_addr(address: &Address) -> Result<NameAddr, ParseError> {
    let params = address.params.iter().map(|param| {
        let value =
            param.value.as_deref().map(|value| text(value, "parameter").map(str::to_owned)).transpose()?;
        Ok((text(param.name.as_ref(), "parameter")?.to_owned(), value))
    });
    Ok(NameAddr {
        display: address.display_name.as_ref().map(|name| String::from_utf8_lossy(name).into_owned()),
        uri: uri(&address.uri)?,
        params: Params(params.collect::<Result<_, ParseError>>()?),
    })
}

fn via(via: &sipx_sip::Via) -> Result<Via, ParseError> {
    let params = via.params.iter().map(|param| {
        let value = param.value.as_deref().map(|value| text(value, "Via").map(str::to_owned)).transpose()?;
        Ok((text(param.name.as_ref(), "Via")?.to_owned(), value))
    });
    Ok(Via {
        transport: text(&via.transport, "Via")?.to_owned(),
        host: host(&via.host)?,
        port: via.port,
        params: Params(params.collect::<Result<_, ParseError>>()?),
    })
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
