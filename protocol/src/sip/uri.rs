//! SIP URIs, addresses and Via values (RFC 3261 §19.1, §20.10, §20.42).

use super::equivalence::unescape;
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};

/// The default port of SIP over UDP (RFC 3261 §19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// Parameters in their order, as `;name=value` or `;name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Params(pub Vec<(String, Option<String>)>);

impl Params {
    /// The value of a parameter; `Some("")` when it is there without one. Names compare without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.as_deref().unwrap_or(""))
    }

    /// Sets a parameter, in its old place if it was there.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        match self.0.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

/// Writes texts one after the other. A message has dozens of them, and `write!` costs as much as a text itself.
pub(super) fn put(f: &mut fmt::Formatter<'_>, texts: &[&str]) -> fmt::Result {
    texts.iter().try_for_each(|text| f.write_str(text))
}

fn put_port(f: &mut fmt::Formatter<'_>, port: Option<u16>) -> fmt::Result {
    let Some(port) = port else { return Ok(()) };
    f.write_str(":")?;
    port.fmt(f)
}

impl Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| match value {
            Some(value) => put(f, &[";", name, "=", value]),
            None => put(f, &[";", name]),
        })
    }
}

/// A transport protocol of SIP (RFC 3261 §18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Unreliable; the default of `sip:` URIs (RFC 3261 §19.1.1).
    #[default]
    Udp,
    /// Reliable.
    Tcp,
}

impl Transport {
    /// Its name in a Via value.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }

    /// The transport of this name in a Via value or a `transport` parameter; UDP for those that are not known.
    pub fn from_name(name: &str) -> Self {
        if name.eq_ignore_ascii_case("TCP") { Transport::Tcp } else { Transport::Udp }
    }

    /// Length of the IP datagram with a message of so many bytes, to or from this address: with the headers of IP and UDP or
    /// TCP, all without options. Over TCP the message counts as one segment.
    pub fn datagram_length(self, address: IpAddr, message: usize) -> u32 {
        // RFC 791 §3.1, RFC 8200 §3, RFC 768, RFC 9293 §3.1.
        let ip = if address.is_ipv4() { 20 } else { 40 };
        let transport = match self {
            Transport::Udp => 8,
            Transport::Tcp => 20,
        };
        u32::try_from(ip + transport + message).unwrap_or(u32::MAX)
    }
}

/// The host of a URI or Via.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A domain name, in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
        }
    }
}

/// A `sip:` URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri {
    /// The user part, escapes kept.
    pub user: Option<String>,
    /// The host.
    pub host: Host,
    /// The port, if given.
    pub port: Option<u16>,
    /// The URI parameters.
    pub params: Params,
    /// The URI headers, behind `?`, as they came.
    pub headers: Option<String>,
}

impl Uri {
    /// `sip:user@host`, without port and parameters.
    pub fn new(user: Option<&str>, host: Host) -> Self {
        Self { user: user.map(str::to_owned), host, port: None, params: Params::default(), headers: None }
    }

    /// `sip:user@address:port`.
    pub fn at(user: Option<&str>, address: SocketAddr) -> Self {
        Self { port: Some(address.port()), ..Self::new(user, Host::Ip(address.ip())) }
    }

    /// Where to send to, when the host is an address (RFC 3263 needs no DNS then).
    pub fn socket_address(&self) -> Option<SocketAddr> {
        let Host::Ip(ip) = self.host else { return None };
        Some(SocketAddr::new(ip, self.port.unwrap_or(DEFAULT_PORT)))
    }

    /// The transport that the URI asks for (RFC 3261 §19.1.1).
    pub fn transport(&self) -> Transport {
        self.params.get("transport").map_or(Transport::Udp, Transport::from_name)
    }

    /// `sip:user@host` alone, in canonical form: how registrar and overlay name the owner of this URI (RFC 3261 §10.3,
    /// point 5).
    pub fn address_of_record(&self) -> String {
        match &self.user {
            Some(user) if user.contains('%') => format!("sip:{}@{}", unescape(user), self.host),
            Some(user) => format!("sip:{user}@{}", self.host),
            None => format!("sip:{}", self.host),
        }
    }
}

impl Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sip:")?;
        if let Some(user) = &self.user {
            put(f, &[user, "@"])?;
        }
        self.host.fmt(f)?;
        put_port(f, self.port)?;
        self.params.fmt(f)?;
        self.headers.iter().try_for_each(|headers| put(f, &["?", headers]))
    }
}

/// An address: optional display name, URI and header parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name, without quotes.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// The header parameters, such as `tag` and `expires`.
    pub params: Params,
}

impl NameAddr {
    /// The highest q.
    pub const Q_MAX: u16 = 1_000;

    /// An address of nothing but a URI.
    pub fn new(uri: Uri) -> Self {
        Self { display: None, uri, params: Params::default() }
    }

    /// The same with a parameter set.
    pub fn with(mut self, name: &str, value: Option<String>) -> Self {
        self.params.set(name, value);
        self
    }

    /// The dialog tag (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// A contact's preference, in thousandths; what is no qvalue (RFC 3261 §25.1) counts as none.
    pub fn q(&self) -> Option<u16> {
        let q: f32 = self.params.get("q")?.parse().ok()?;
        (0.0..=1.0).contains(&q).then_some((q * f32::from(Self::Q_MAX)).round() as u16)
    }
}

impl Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "\"{}\" ", display.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        f.write_str("<")?;
        self.uri.fmt(f)?;
        f.write_str(">")?;
        self.params.fmt(f)
    }
}

/// One Via value: a hop that the message passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The transport, `UDP` or `TCP`.
    pub transport: String,
    /// Who sent it.
    pub host: Host,
    /// The sender's port, if given.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params,
}

impl Via {
    /// A Via of this node, asking for `rport` (RFC 3581).
    pub fn new(sent_by: SocketAddr, branch: &str) -> Self {
        Self {
            transport: "UDP".to_owned(),
            host: Host::Ip(sent_by.ip()),
            port: Some(sent_by.port()),
            params: Params(vec![("branch".to_owned(), Some(branch.to_owned())), ("rport".to_owned(), None)]),
        }
    }

    /// The transaction's branch, or an empty text.
    pub fn branch(&self) -> &str {
        self.params.get("branch").unwrap_or("")
    }

    /// The transport over which the message was sent.
    pub fn transport(&self) -> Transport {
        Transport::from_name(&self.transport)
    }

    /// Says over which transport the message is sent.
    pub fn set_transport(&mut self, transport: Transport) {
        self.transport.clear();
        self.transport.push_str(transport.name());
    }

    /// Notes where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4).
    ///
    /// Over TCP the port is noted unasked: the way back is the connection (RFC 3261 §18.2.2).
    pub fn note_source(&mut self, source: SocketAddr) {
        let note_port = self.transport() == Transport::Tcp || self.params.get("rport").is_some();
        if note_port || self.host != Host::Ip(source.ip()) {
            self.params.set("received", Some(source.ip().to_string()));
        }
        if note_port {
            self.params.set("rport", Some(source.port().to_string()));
        }
    }

    /// Where responses go (RFC 3261 §18.2.2, RFC 3581 §4); none when sent-by is a name and nothing was noted.
    pub fn response_address(&self) -> Option<SocketAddr> {
        // Some write an IPv6 address here in brackets, which RFC 3261 §25.1 has not (RFC 5118 §4.5).
        let received = self.params.get("received").map(|text| text.trim_matches(['[', ']']));
        let ip = match received.and_then(|text| text.parse().ok()) {
            Some(ip) => ip,
            None => match self.host {
                Host::Ip(ip) => ip,
                Host::Name(_) => return None,
            },
        };
        let rport = self.params.get("rport").and_then(|text| text.parse().ok());
        Some(SocketAddr::new(ip, rport.or(self.port).unwrap_or(DEFAULT_PORT)))
    }
}

impl Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        put(f, &["SIP/2.0/", &self.transport, " "])?;
        self.host.fmt(f)?;
        put_port(f, self.port)?;
        self.params.fmt(f)
    }
}
