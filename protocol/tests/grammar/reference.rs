//! The same messages by another grammar, the `sipx-sip` crate's.

use bytes::Bytes;
use samp_protocol::sip::{
    Contact, Headers, Host, Message, Method, NameAddr, Params, Request, Response, Uri, Via,
};
use sipx_sip::headers::{Address, ContactValue, Expires, From, HeaderParam, MaxForwards, Route, To};
use sipx_sip::{HeaderName, Limits, TypedHeader};

/// Reads one message from a datagram; none when it is not well-formed or its URIs are no `sip:` URIs.
pub(crate) fn parse(datagram: &[u8]) -> Option<Message> {
    match sipx_sip::parse_datagram(Bytes::copy_from_slice(datagram), &Limits::datagram()).ok()? {
        sipx_sip::Message::Request(request) => {
            let headers = headers(&request.headers)?;
            let method = Method::from_name(&text(request.method.as_bytes())?);
            (method == headers.cseq_method).then_some(())?;
            let body = request.body().clone();
            Some(Message::Request(Request { method, uri: uri(&request.uri)?, headers, body }))
        }
        sipx_sip::Message::Response(response) => Some(Message::Response(Response {
            status: response.status.code(),
            reason: text(&response.reason)?,
            headers: headers(&response.headers)?,
            body: response.body().clone(),
        })),
    }
}

fn headers(headers: &sipx_sip::Headers) -> Option<Headers> {
    let cseq = one::<sipx_sip::CSeq>(headers)??;
    let via = headers.typed_all().map(|via| self::via(&via.ok()?)).collect::<Option<Vec<_>>>()?;
    let route = headers.typed_all::<Route>().map(|route| name_addr(&route.ok()?.0)).collect::<Option<_>>()?;
    let contact = headers.typed_all().map(|contact| match contact.ok()? {
        ContactValue::Wildcard => Some(Contact::All),
        ContactValue::Address(address) => name_addr(&address).map(Contact::Address),
    });
    let other = headers.iter().filter(|header| !has_a_typed_place(header.name()));
    let other = other
        .map(|header| Some((text(header.name().canonical())?, text(&header.value())?.trim().to_owned())));
    (!via.is_empty()).then_some(())?;
    Some(Headers {
        via,
        from: name_addr(&one::<From>(headers)??.0)?,
        to: name_addr(&one::<To>(headers)??.0)?,
        call_id: text(&one::<sipx_sip::CallId>(headers)??.0)?,
        cseq: cseq.sequence,
        cseq_method: Method::from_name(&text(cseq.method.as_bytes())?),
        max_forwards: one::<MaxForwards>(headers)?.map(|hops| hops.0),
        route,
        contact: contact.collect::<Option<_>>()?,
        expires: one::<Expires>(headers)?.map(|expires| expires.0),
        other: other.collect::<Option<_>>()?,
    })
}

fn has_a_typed_place(name: &HeaderName) -> bool {
    use HeaderName::{CSeq, CallId, Contact, ContentLength, Expires, From, MaxForwards, Route, To, Via};
    matches!(name, Via | From | To | CallId | CSeq | MaxForwards | Route | Contact | Expires | ContentLength)
}

/// The field if it is there; none when it is malformed.
fn one<H: TypedHeader>(headers: &sipx_sip::Headers) -> Option<Option<H>> {
    headers.typed::<H>().transpose().ok()
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn host(host: &sipx_sip::Host) -> Option<Host> {
    Some(match host {
        sipx_sip::Host::Ip(ip) => Host::Ip(*ip),
        sipx_sip::Host::Name(name) => Host::Name(text(name.as_bytes())?.to_ascii_lowercase()),
    })
}

fn uri(uri: &sipx_sip::Uri) -> Option<Uri> {
    matches!(uri.scheme(), sipx_sip::Scheme::Sip).then_some(())?;
    let params = uri.params().into_iter().flat_map(|params| params.iter()).map(|param| {
        let value = param.value().map(text);
        Some((text(param.name())?, if let Some(value) = value { Some(value?) } else { None }))
    });
    let headers = uri.headers().filter(|headers| !headers.is_empty()).map(|headers| {
        let mut out = Vec::new();
        headers.write_to(&mut out, b'&');
        text(&out[1..])
    });
    Some(Uri {
        user: if let Some(user) = uri.user() { Some(text(user)?) } else { None },
        host: host(uri.host()?)?,
        port: uri.port(),
        params: Params(params.collect::<Option<_>>()?),
        headers: if let Some(headers) = headers { Some(headers?) } else { None },
    })
}

fn name_addr(address: &Address) -> Option<NameAddr> {
    let display = address.display_name.as_ref().map(|name| text(name));
    Some(NameAddr {
        display: if let Some(display) = display { Some(display?) } else { None },
        uri: uri(&address.uri)?,
        params: params(&address.params)?,
    })
}

fn via(via: &sipx_sip::Via) -> Option<Via> {
    Some(Via {
        transport: text(&via.transport)?,
        host: host(&via.host)?,
        port: via.port,
        params: params(&via.params)?,
    })
}

fn params(params: &[HeaderParam]) -> Option<Params> {
    let params = params.iter().map(|param| {
        let value = param.value.as_deref().map(text);
        Some((text(&param.name)?, if let Some(value) = value { Some(value?) } else { None }))
    });
    params.collect::<Option<_>>().map(Params)
}
