//! Requests and responses as typed values; what samp-lab does not read travels along unread.

use super::uri::{Host, NameAddr, Uri, Via, put};
use crate::flood::is_of_flood;
use bytes::Bytes;
use std::fmt::{self, Display, Write};

/// Room for the head of most messages, in bytes.
const HEAD_LENGTH: usize = 1024;

/// The status codes that samp-lab itself gives (RFC 3261 §21).
pub mod status {
    /// Trying.
    pub const TRYING: u16 = 100;
    /// Ringing.
    pub const RINGING: u16 = 180;
    /// OK.
    pub const OK: u16 = 200;
    /// Accepted: a REFER will be followed (RFC 3515).
    pub const ACCEPTED: u16 = 202;
    /// Moved Temporarily: the contacts say where to.
    pub const MOVED_TEMPORARILY: u16 = 302;
    /// Bad Request.
    pub const BAD_REQUEST: u16 = 400;
    /// Unauthorized: credentials are wanted.
    pub const UNAUTHORIZED: u16 = 401;
    /// Forbidden.
    pub const FORBIDDEN: u16 = 403;
    /// Not Found.
    pub const NOT_FOUND: u16 = 404;
    /// Method Not Allowed.
    pub const METHOD_NOT_ALLOWED: u16 = 405;
    /// Request Timeout; also stands for "no answer".
    pub const REQUEST_TIMEOUT: u16 = 408;
    /// Unsupported URI Scheme.
    pub const UNSUPPORTED_URI_SCHEME: u16 = 416;
    /// Bad Extension: one that is required is not there.
    pub const BAD_EXTENSION: u16 = 420;
    /// Max-Breadth Exceeded (RFC 5393 §5).
    pub const MAX_BREADTH_EXCEEDED: u16 = 440;
    /// Interval Too Brief.
    pub const INTERVAL_TOO_BRIEF: u16 = 423;
    /// Temporarily Unavailable: nobody answers, or a call before the node has an anchor.
    pub const TEMPORARILY_UNAVAILABLE: u16 = 480;
    /// Call/Transaction Does Not Exist.
    pub const NO_SUCH_CALL: u16 = 481;
    /// Loop Detected; also a merged request (RFC 3261 §8.2.2.2).
    pub const LOOP_DETECTED: u16 = 482;
    /// Busy Here.
    pub const BUSY_HERE: u16 = 486;
    /// Request Terminated, after CANCEL.
    pub const REQUEST_TERMINATED: u16 = 487;
    /// Not Acceptable Here: an offer without a stream that can be taken.
    pub const NOT_ACCEPTABLE_HERE: u16 = 488;
    /// Request Pending (glare).
    pub const REQUEST_PENDING: u16 = 491;
    /// Server Internal Error.
    pub const SERVER_ERROR: u16 = 500;
    /// Not Implemented.
    pub const NOT_IMPLEMENTED: u16 = 501;
    /// Service Unavailable: a server that is not on the ring yet.
    pub const UNAVAILABLE: u16 = 503;
    /// Version Not Supported.
    pub const VERSION_NOT_SUPPORTED: u16 = 505;
    /// Too Many Hops.
    pub const TOO_MANY_HOPS: u16 = 483;

    /// The reason phrase that goes with a code.
    pub fn reason(code: u16) -> &'static str {
        match code {
            TRYING => "Trying",
            RINGING => "Ringing",
            OK => "OK",
            ACCEPTED => "Accepted",
            MOVED_TEMPORARILY => "Moved Temporarily",
            BAD_REQUEST => "Bad Request",
            UNSUPPORTED_URI_SCHEME => "Unsupported URI Scheme",
            VERSION_NOT_SUPPORTED => "Version Not Supported",
            UNAUTHORIZED => "Unauthorized",
            FORBIDDEN => "Forbidden",
            NOT_FOUND => "Not Found",
            METHOD_NOT_ALLOWED => "Method Not Allowed",
            REQUEST_TIMEOUT => "Request Timeout",
            MAX_BREADTH_EXCEEDED => "Max-Breadth Exceeded",
            BAD_EXTENSION => "Bad Extension",
            INTERVAL_TOO_BRIEF => "Interval Too Brief",
            TEMPORARILY_UNAVAILABLE => "Temporarily Unavailable",
            NO_SUCH_CALL => "Call/Transaction Does Not Exist",
            LOOP_DETECTED => "Loop Detected",
            BUSY_HERE => "Busy Here",
            REQUEST_TERMINATED => "Request Terminated",
            NOT_ACCEPTABLE_HERE => "Not Acceptable Here",
            REQUEST_PENDING => "Request Pending",
            SERVER_ERROR => "Server Internal Error",
            NOT_IMPLEMENTED => "Not Implemented",
            UNAVAILABLE => "Service Unavailable",
            TOO_MANY_HOPS => "Too Many Hops",
            _ => "Unknown",
        }
    }
}

/// A request method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §17.1.1.3, §13.2.2.4.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §10.
    Register,
    /// RFC 3261 §11.
    Options,
    /// RFC 3311: changes a session or a Contact, also before the call is answered.
    Update,
    /// RFC 3515: asks for a call to somebody else.
    Refer,
    /// RFC 6665: tells what became of it.
    Notify,
    /// samp-lab's own: what the members of the Chord ring say to each other.
    Overlay,
    /// Any other.
    Other(String),
}

impl Method {
    /// The method of this name; case matters (RFC 3261 §7.1).
    pub fn from_name(name: &str) -> Self {
        match name {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "REGISTER" => Method::Register,
            "OPTIONS" => Method::Options,
            "UPDATE" => Method::Update,
            "REFER" => Method::Refer,
            "NOTIFY" => Method::Notify,
            "OVERLAY" => Method::Overlay,
            other => Method::Other(other.to_owned()),
        }
    }

    /// Its name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Register => "REGISTER",
            Method::Options => "OPTIONS",
            Method::Update => "UPDATE",
            Method::Refer => "REFER",
            Method::Notify => "NOTIFY",
            Method::Overlay => "OVERLAY",
            Method::Other(name) => name,
        }
    }
}

/// A Contact value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// `*`: all bindings (RFC 3261 §10.2.2).
    All,
    /// An address.
    Address(NameAddr),
}

/// The header fields of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The hops, latest first.
    pub via: Vec<Via>,
    /// Who asks.
    pub from: NameAddr,
    /// Who is asked.
    pub to: NameAddr,
    /// The dialog or registration.
    pub call_id: String,
    /// The sequence number within it.
    pub cseq: u32,
    /// The method that the sequence number belongs to.
    pub cseq_method: Method,
    /// Hops left.
    pub max_forwards: Option<u8>,
    /// Servers still to pass.
    pub route: Vec<NameAddr>,
    /// Where to reach the sender, or the bindings of a registration.
    pub contact: Vec<Contact>,
    /// Lifetime asked or granted, in seconds.
    pub expires: Option<u32>,
    /// All other fields, in order: name and value.
    pub other: Vec<(String, String)>,
}

impl Headers {
    /// The value of a field that has no typed place here; names compare without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.other.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets such a field.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.other.push((name.to_owned(), value.into()));
    }

    /// Removes such a field.
    pub fn remove(&mut self, name: &str) {
        self.other.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The first address among the Contact values.
    pub fn contact_address(&self) -> Option<&NameAddr> {
        self.contact.iter().find_map(|contact| match contact {
            Contact::Address(address) => Some(address),
            Contact::All => None,
        })
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of whom.
    pub uri: Uri,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The topmost Via; parsed requests have one.
    pub fn top_via(&self) -> Option<&Via> {
        self.headers.via.first()
    }

    /// A response to this request (RFC 3261 §8.2.6), with a To tag of the server's where there is none yet.
    pub fn response(&self, code: u16, to_tag: &str) -> Response {
        let Headers { via, from, to, call_id, cseq, cseq_method, .. } = &self.headers;
        let mut headers = Headers {
            via: via.clone(),
            from: from.clone(),
            to: to.clone(),
            call_id: call_id.clone(),
            cseq: *cseq,
            cseq_method: cseq_method.clone(),
            max_forwards: None,
            route: Vec::new(),
            contact: Vec::new(),
            expires: None,
            other: Vec::new(),
        };
        if headers.to.tag().is_none() && code != status::TRYING {
            headers.to.params.set("tag", Some(to_tag.to_owned()));
        }
        Response { status: code, reason: status::reason(code).to_owned(), headers, body: Bytes::new() }
    }

    /// Whether its wire form has more than `limit` bytes.
    pub fn is_longer_than(&self, limit: usize) -> bool {
        let mut left = Room(limit.saturating_sub(self.body.len()));
        let line = write!(left, "{} {} SIP/2.0\r\n{}", self.method.name(), self.uri, self.headers);
        line.and_then(|()| write!(left, "Content-Length: {}\r\n\r\n", self.body.len())).is_err()
            || self.body.len() > limit
    }

    /// The servers that this request passed, first to last, as its Via values tell; the last value is the sender's.
    pub fn servers_passed(&self) -> Vec<std::net::IpAddr> {
        servers_in(&self.headers.via)
    }
}

/// Bytes that may still be written.
struct Room(usize);

impl Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// The servers in a Via stack, first to last; the sender's own value, at the bottom, is left out.
fn servers_in(via: &[Via]) -> Vec<std::net::IpAddr> {
    let servers = via.split_last().map_or(&[][..], |(_, servers)| servers);
    servers
        .iter()
        .rev()
        .filter_map(|via| match via.host {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => None,
        })
        .collect()
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// As [`Request::servers_passed`], for the request that this answers.
    pub fn servers_passed(&self) -> Vec<std::net::IpAddr> {
        servers_in(&self.headers.via)
    }
}

/// A SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// The message in its wire form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let headers = self.headers();
        let body = match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        };
        let mut head = String::with_capacity(HEAD_LENGTH + body.len());
        // Writing to a string does not fail.
        let _ = write!(head, "{self}{headers}Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// Its header fields.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// What records say of it, `INVITE 1` or `200 INVITE 1`, and its Call-ID. None for what servers say about their
    /// ring all the time, and for floods.
    pub fn described(&self) -> Option<(String, String)> {
        let headers = self.headers();
        if headers.cseq_method == Method::Overlay || is_of_flood(&headers.call_id) {
            return None;
        }
        let request = format!("{} {}", headers.cseq_method.name(), headers.cseq);
        let summary = match self {
            Message::Request(_) => request,
            Message::Response(response) => format!("{} {request}", response.status),
        };
        Some((summary, headers.call_id.clone()))
    }
}

impl Display for Message {
    /// The start line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Request(request) => {
                put(f, &[request.method.name(), " "])?;
                request.uri.fmt(f)?;
                f.write_str(" SIP/2.0\r\n")
            }
            Message::Response(response) => write!(f, "SIP/2.0 {} {}\r\n", response.status, response.reason),
        }
    }
}

impl Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.via.iter().try_for_each(|via| field(f, "Via: ", via))?;
        self.max_forwards.iter().try_for_each(|hops| field(f, "Max-Forwards: ", hops))?;
        self.route.iter().try_for_each(|route| field(f, "Route: ", route))?;
        field(f, "From: ", &self.from)?;
        field(f, "To: ", &self.to)?;
        put(f, &["Call-ID: ", &self.call_id, "\r\n"])?;
        write!(f, "CSeq: {} {}\r\n", self.cseq, self.cseq_method.name())?;
        self.contact.iter().try_for_each(|contact| match contact {
            Contact::All => f.write_str("Contact: *\r\n"),
            Contact::Address(address) => field(f, "Contact: ", address),
        })?;
        self.expires.iter().try_for_each(|seconds| field(f, "Expires: ", seconds))?;
        self.other.iter().try_for_each(|(name, value)| put(f, &[name, ": ", value, "\r\n"]))
    }
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, value: &impl Display) -> fmt::Result {
    f.write_str(name)?;
    value.fmt(f)?;
    f.write_str("\r\n")
}
