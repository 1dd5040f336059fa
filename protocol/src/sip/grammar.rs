//! The parts of header fields: lists, parameters, URIs, addresses and hops (RFC 3261 §25.1).
//!
//! Values are read where they stand; only what becomes part of a message is copied. What is quoted keeps its quotes.

use super::codec::ParseError;
use super::uri::{Host, NameAddr, Params, Uri, Via};
use std::net::{IpAddr, Ipv4Addr};

/// Parameters of one value at most.
const PARAMS_MAX: usize = 64;
/// Linear white space, where a head's lines are unfolded already.
const WHITE: [char; 2] = [' ', '\t'];

/// Whether this is a `token`.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Without white space at both ends.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(WHITE)
}

/// The values of a field that may have several (§7.3.1).
pub(super) fn list<T>(value: &str, mut read: impl FnMut(&str) -> Option<T>, into: &mut Vec<T>) -> Option<()> {
    let mut rest = value;
    while let Some(comma) = find(rest, b',')? {
        into.push(read(&rest[..comma])?);
        rest = &rest[comma + 1..];
    }
    into.push(read(rest)?);
    Some(())
}

/// Where the byte is, outside quoted strings and angle brackets; `None` when a quoted string does not end.
fn find(text: &str, wanted: u8) -> Option<Option<usize>> {
    let bytes = text.as_bytes();
    let (mut at, mut is_bracketed) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at += quoted(&text[at..])?.len(),
            _ if byte == wanted && !is_bracketed => return Some(Some(at)),
            _ => {
                is_bracketed = byte == b'<' || is_bracketed && byte != b'>';
                at += 1;
            }
        }
    }
    Some(None)
}

/// The quoted string at the beginning, with its quotes; none when it does not end.
fn quoted(text: &str) -> Option<&str> {
    let mut is_escaped = true;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        // The first quote begins the string, and a backslash takes the meaning of what follows.
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    Some(&text[..=end])
}

/// What a quoted string says.
fn unquoted(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted[1..quoted.len() - 1].chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// Parameters of a header field's value: `;name`, `;name=value` or `;name="quoted"`, each.
fn params(text: &str) -> Option<Params> {
    let mut params = Vec::new();
    let mut rest = trim(text);
    while !rest.is_empty() {
        rest = rest.strip_prefix(';')?.trim_start_matches(WHITE);
        let name = prefix(rest, is_token_byte)?;
        rest = rest[name.len()..].trim_start_matches(WHITE);
        let mut value = None;
        if let Some(behind) = rest.strip_prefix('=') {
            rest = behind.trim_start_matches(WHITE);
            let read = if rest.starts_with('"') { quoted(rest)? } else { prefix(rest, is_value_byte)? };
            rest = rest[read.len()..].trim_start_matches(WHITE);
            value = Some(read.to_owned());
        }
        if params.len() == PARAMS_MAX {
            return None;
        }
        params.push((name.to_owned(), value));
    }
    Some(Params(params))
}

/// A parameter's value is a token or a host, with its port.
fn is_value_byte(byte: u8) -> bool {
    is_token_byte(byte) || b"[]:/".contains(&byte)
}

/// The longest beginning of such bytes, which must not be empty.
fn prefix(text: &str, is_wanted: impl Fn(u8) -> bool) -> Option<&str> {
    let end = text.bytes().position(|byte| !is_wanted(byte)).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// A `sip:` URI, alone.
pub(super) fn uri(text: &str) -> Result<Uri, ParseError> {
    let malformed = ParseError::Malformed("URI");
    let Some((scheme, rest)) = text.split_once(':') else { return Err(malformed) };
    if !scheme.eq_ignore_ascii_case("sip") {
        return Err(ParseError::Scheme);
    }
    sip_uri(rest).ok_or(malformed)
}

fn sip_uri(text: &str) -> Option<Uri> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)) || !escapes_end(text) {
        return None;
    }
    let (user, rest) = match text.split_once('@') {
        Some((info, rest)) => (Some(info.split_once(':').map_or(info, |(user, _password)| user)), rest),
        None => (None, text),
    };
    if user.is_some_and(|user| user.is_empty() || !user.bytes().all(is_user_byte)) {
        return None;
    }
    let (rest, headers) = match rest.split_once('?') {
        Some((rest, headers)) => (rest, Some(headers)),
        None => (rest, None),
    };
    if headers.is_some_and(|headers| headers.split('&').any(|one| one.is_empty() || one.starts_with('='))) {
        return None;
    }
    let (sent_to, params) = match rest.split_once(';') {
        Some((sent_to, params)) => (sent_to, uri_params(params)?),
        None => (rest, Params::default()),
    };
    let (host, port) = host_port(sent_to)?;
    Some(Uri { user: user.map(str::to_owned), host, port, params, headers: headers.map(str::to_owned) })
}

fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&byte)
}

/// Whether two digits are behind each `%`.
fn escapes_end(text: &str) -> bool {
    text.split('%').skip(1).all(|escape| {
        escape.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The parameters of a URI, of which none may be there twice (§19.1.1).
fn uri_params(text: &str) -> Option<Params> {
    let mut params = Params::default();
    for param in text.split(';') {
        let (name, value) = match param.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (param, None),
        };
        if name.is_empty() || params.get(name).is_some() || params.0.len() == PARAMS_MAX {
            return None;
        }
        params.0.push((name.to_owned(), value));
    }
    Some(params)
}

/// `host`, `host:port`, or the same with an IPv6 address in brackets.
fn host_port(text: &str) -> Option<(Host, Option<u16>)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(port(rest.strip_prefix(':')?)?) };
        return Some((Host::Ip(IpAddr::V6(address.parse().ok()?)), port));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, digits)) => (name, Some(port(digits)?)),
        None => (text, None),
    };
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Some((Host::Ip(address.into()), port));
    }
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (!name.is_empty() && is_name(name)).then(|| (Host::Name(name.to_ascii_lowercase()), port))
}

fn port(digits: &str) -> Option<u16> {
    if digits.len() > 5 { None } else { number(digits)?.try_into().ok() }
}

/// Digits and nothing else, not even a sign.
pub(super) fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// An address: in brackets behind an optional display name, or a URI alone, whose parameters are the field's then.
pub(super) fn name_addr(text: &str) -> Option<NameAddr> {
    let text = trim(text);
    let (display, rest) = if text.starts_with('"') {
        let name = quoted(text)?;
        (Some(unquoted(name)), text[name.len()..].trim_start_matches(WHITE))
    } else {
        // Of a URI that stands alone, what is quoted in the parameters begins no address.
        let end = text.bytes().position(|byte| byte == b'<' || byte == b'"').unwrap_or(text.len());
        if text[end..].starts_with('<') {
            let name = trim(&text[..end]);
            let words_are_tokens = name.bytes().all(|byte| is_token_byte(byte) || b" \t".contains(&byte));
            if !words_are_tokens {
                return None;
            }
            ((!name.is_empty()).then(|| name.to_owned()), &text[end..])
        } else {
            return address_alone(text);
        }
    };
    let (address, behind) = rest.strip_prefix('<')?.split_once('>')?;
    Some(NameAddr { display, uri: uri(address).ok()?, params: params(behind)? })
}

/// A URI with a comma, a question mark or parameters of its own is in brackets always (§20).
fn address_alone(text: &str) -> Option<NameAddr> {
    let end = text.find(';').unwrap_or(text.len());
    let (address, behind) = text.split_at(end);
    if address.contains([',', '?']) {
        return None;
    }
    Some(NameAddr { display: None, uri: uri(trim(address)).ok()?, params: params(behind)? })
}

/// One hop.
pub(super) fn via(text: &str) -> Option<Via> {
    let end = text.find(';').unwrap_or(text.len());
    let (hop, behind) = text.split_at(end);
    let mut words = hop.splitn(3, '/').map(trim);
    let is_sip = words.next()?.eq_ignore_ascii_case("SIP") && words.next()? == "2.0";
    let (transport, sent_by) = words.next()?.split_once(WHITE)?;
    if !is_sip || !is_token(transport) {
        return None;
    }
    let (host, port) = host_port(trim(sent_by))?;
    Some(Via { transport: transport.to_owned(), host, port, params: params(behind)? })
}
