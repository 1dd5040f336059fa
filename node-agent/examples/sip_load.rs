//! Load on a SIP server, and what it makes of it:
//!
//! ```text
//! sip_load registers SERVER LOCAL NODES SECONDS   REGISTERs as fast as the server answers, NODES over and over
//! sip_load grow      SERVER LOCAL NODES           each of NODES once, with the delays of every tenth of them
//! sip_load authenticated SERVER LOCAL NODES SECONDS   REGISTERs with credentials, for nonces that were asked for before
//! sip_load calls     SERVER LOCAL NODES SECONDS   calls to NODES that have registered, as fast as they are answered
//! sip_load paced     SERVER LOCAL NODES SECONDS RATE   RATE calls a second, and INVITE → 200
//! sip_load respond   LOCAL                        no load, but a server that does nothing: what the generator can do
//! ```
//! SERVER is an address with port, LOCAL an address; the caller has port 5060, the callees 5061. One thread that never
//! sleeps plays both ends, so a call is INVITE, 180 and 200; ACK and BYE pass the server by (it writes no Record-Route).
//! Prints one line of `name value` pairs; delays in microseconds.

use anyhow::{Context, bail};
use samp_model::settings::SampSettings;
use samp_node::RingKey;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Requests on the way at most, where the server sets the pace.
const WINDOW: usize = 64;
/// What is not answered by then is lost; SIP would send it again (RFC 3261, timer A).
const LOST: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["respond", local] => respond(local.parse()?),
        ["registers", server, local, nodes, seconds] => {
            let mut load = Load::new(server.parse()?, local.parse()?, nodes.parse()?)?;
            load.run(Kind::Register, Pace::Window, Some(Duration::from_secs(seconds.parse()?)))?.print();
            Ok(())
        }
        ["grow", server, local, nodes] => {
            let mut load = Load::new(server.parse()?, local.parse()?, nodes.parse()?)?;
            let result = load.run(Kind::Register, Pace::Window, None)?;
            for (tenth, delays) in result.delays.chunks(result.delays.len().div_ceil(10)).enumerate() {
                print!("tenth {} ", tenth + 1);
                print_delays(delays);
            }
            result.print();
            Ok(())
        }
        ["authenticated", server, local, nodes, seconds] => {
            let mut load = Load::new(server.parse()?, local.parse()?, nodes.parse()?)?;
            // Each node's first REGISTER is answered with its challenge.
            load.users = (0..load.nodes).map(User::new).collect();
            let challenged = load.run(Kind::Register, Pace::Window, None)?.refused;
            load.run(Kind::Register, Pace::Window, Some(Duration::from_secs(seconds.parse()?)))?.print();
            println!("challenged {challenged}");
            Ok(())
        }
        ["calls", server, local, nodes, seconds] => {
            let mut load = Load::new(server.parse()?, local.parse()?, nodes.parse()?)?;
            load.run(Kind::Call, Pace::Window, Some(Duration::from_secs(seconds.parse()?)))?.print();
            Ok(())
        }
        ["paced", server, local, nodes, seconds, rate] => {
            let mut load = Load::new(server.parse()?, local.parse()?, nodes.parse()?)?;
            let interval = Duration::from_secs(1) / rate.parse()?;
            load.run(Kind::Call, Pace::Every(interval), Some(Duration::from_secs(seconds.parse()?)))?.print();
            Ok(())
        }
        _ => bail!("see the first lines of {}", file!()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Register,
    Call,
}

#[derive(Clone, Copy)]
enum Pace {
    /// The next when one is answered.
    Window,
    /// One each interval, whatever comes back.
    Every(Duration),
}

/// What came of a load.
struct Outcome {
    elapsed: Duration,
    delays: Vec<Duration>,
    lost: usize,
    refused: usize,
}

impl Outcome {
    fn print(&self) {
        let rate = self.delays.len() as f64 / self.elapsed.as_secs_f64();
        let (answered, lost, refused) = (self.delays.len(), self.lost, self.refused);
        print!("rate {rate:.0} lost {lost} refused {refused} answered {answered} ");
        print_delays(&self.delays);
    }
}

fn print_delays(delays: &[Duration]) {
    let mut delays = delays.to_vec();
    delays.sort_unstable();
    let at = |quantile: f64| {
        let index = (quantile * delays.len() as f64) as usize;
        delays
            .get(index.min(delays.len().saturating_sub(1)))
            .map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e6)
    };
    println!("p50 {:.0} p99 {:.0} max {:.0}", at(0.5), at(0.99), at(1.0));
}

/// The two ends, and what is on the way.
struct Load {
    server: SocketAddr,
    local: IpAddr,
    caller: UdpSocket,
    callee: UdpSocket,
    nodes: usize,
    /// Who the nodes are, where they have to say it.
    users: Vec<User>,
    /// Distinguishes the requests of this run from those of others.
    run: u32,
    /// Requests so far; each has its number in its Call-ID.
    sent: usize,
    /// When the requests from number `answered` on were sent; none when answered.
    waiting: VecDeque<Option<Instant>>,
    answered: usize,
    open: usize,
    buffer: Vec<u8>,
    text: String,
}

impl Load {
    fn new(server: SocketAddr, local: IpAddr, nodes: usize) -> anyhow::Result<Self> {
        let open = |port| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((local, port))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        Ok(Self {
            server,
            local,
            caller: open(5060)?,
            callee: open(5061)?,
            nodes,
            users: Vec::new(),
            run: std::process::id(),
            sent: 0,
            waiting: VecDeque::new(),
            answered: 0,
            open: 0,
            buffer: vec![0; 65_536],
            text: String::new(),
        })
    }

    /// Loads the server for so long, or with one request a node.
    fn run(&mut self, kind: Kind, pace: Pace, time: Option<Duration>) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        let first = self.sent;
        let mut outcome = Outcome { elapsed: Duration::ZERO, delays: Vec::new(), lost: 0, refused: 0 };
        loop {
            let elapsed = begin.elapsed();
            let so_far = self.sent - first;
            let wanted = match time {
                Some(time) => elapsed < time,
                None => so_far < self.nodes,
            };
            let is_due = match pace {
                Pace::Window => self.open < WINDOW,
                Pace::Every(interval) => elapsed >= interval * so_far as u32,
            };
            if wanted && is_due {
                self.request(kind)?;
            }
            self.answer_calls()?;
            self.hear(kind, &mut outcome)?;
            self.give_up(&mut outcome);
            if !wanted && self.open == 0 {
                outcome.elapsed = time.unwrap_or_else(|| begin.elapsed());
                return Ok(outcome);
            }
        }
    }

    fn request(&mut self, kind: Kind) -> anyhow::Result<()> {
        let (number, local, run) = (self.sent, self.local, self.run);
        let node = number % self.nodes;
        let cseq = 1 + number / self.nodes;
        self.text.clear();
        match kind {
            Kind::Register => write!(
                self.text,
                "REGISTER sip:samp.test SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {local}:5060;branch=z9hG4bK{run}-{number};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:b{node}@samp.test>;tag=f{number}\r\n\
                 To: <sip:b{node}@samp.test>\r\nCall-ID: {number}@{run}.load\r\nCSeq: {cseq} REGISTER\r\n\
                 Contact: <sip:b{node}@{local}:5061>\r\nExpires: 3600\r\nUser-Agent: load\r\n\
                 {}Content-Length: 0\r\n\r\n",
                self.users.get_mut(node).and_then(User::authorization).unwrap_or_default()
            )?,
            Kind::Call => {
                let body = sdp(local);
                write!(
                    self.text,
                    "INVITE sip:b{node}@samp.test SIP/2.0\r\n\
                     Via: SIP/2.0/UDP {local}:5060;branch=z9hG4bK{run}-{number};rport\r\n\
                     Max-Forwards: 70\r\nFrom: <sip:caller@samp.test>;tag=f{number}\r\n\
                     To: <sip:b{node}@samp.test>\r\nCall-ID: {number}@{run}.load\r\nCSeq: 1 INVITE\r\n\
                     Contact: <sip:caller@{local}:5060>\r\nUser-Agent: load\r\n\
                     Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )?;
            }
        }
        let sent = Instant::now();
        self.caller.send_to(self.text.as_bytes(), self.server).context("cannot send a request")?;
        self.waiting.push_back(Some(sent));
        self.sent += 1;
        self.open += 1;
        Ok(())
    }

    /// The caller's end: final responses.
    fn hear(&mut self, kind: Kind, outcome: &mut Outcome) -> anyhow::Result<()> {
        while let Some((length, _)) = received(&self.caller, &mut self.buffer)? {
            let now = Instant::now();
            let message = &self.buffer[..length];
            let (Some(status), Some(number)) = (status(message), number(message)) else { continue };
            let slot = number.checked_sub(self.answered).and_then(|index| self.waiting.get_mut(index));
            if status < 200 {
                continue;
            }
            let Some(sent) = slot.and_then(Option::take) else { continue };
            self.open -= 1;
            if status == 200 {
                outcome.delays.push(now - sent);
            } else {
                outcome.refused += 1;
            }
            let nodes = self.nodes;
            if let Some(user) = self.users.get_mut(number % nodes).filter(|_| status == 401) {
                user.nonce = nonce(message).map(str::to_owned);
            }
            if kind == Kind::Register {
                break;
            }
        }
        Ok(())
    }

    /// Drops what is answered from the front, and counts what will not be.
    fn give_up(&mut self, outcome: &mut Outcome) {
        while let Some(sent) = self.waiting.front() {
            match sent {
                Some(sent) if sent.elapsed() < LOST => return,
                Some(_) => {
                    outcome.lost += 1;
                    self.open -= 1;
                }
                None => {}
            }
            self.waiting.pop_front();
            self.answered += 1;
        }
    }

    /// The callees' end: 180 and 200 to each INVITE.
    fn answer_calls(&mut self) -> anyhow::Result<()> {
        while let Some((length, from)) = received(&self.callee, &mut self.buffer)? {
            let Ok(invite) = std::str::from_utf8(&self.buffer[..length]) else { continue };
            if !invite.starts_with("INVITE ") {
                continue;
            }
            let body = sdp(self.local);
            for (line, body) in [("SIP/2.0 180 Ringing", ""), ("SIP/2.0 200 OK", body.as_str())] {
                self.text.clear();
                write!(self.text, "{line}\r\n")?;
                for field in invite.split("\r\n").skip(1).take_while(|field| !field.is_empty()) {
                    match field.split_once(':').map(|(name, _)| name) {
                        Some("Via" | "From" | "Call-ID" | "CSeq") => write!(self.text, "{field}\r\n")?,
                        Some("To") => write!(self.text, "{field};tag=callee\r\n")?,
                        _ => {}
                    }
                }
                write!(self.text, "Contact: <sip:callee@{}:5061>\r\n", self.local)?;
                if !body.is_empty() {
                    self.text += "Content-Type: application/sdp\r\n";
                }
                write!(self.text, "Content-Length: {}\r\n\r\n{body}", body.len())?;
                self.callee.send_to(self.text.as_bytes(), from).context("cannot send a response")?;
            }
        }
        Ok(())
    }
}

/// A user who authenticates (RFC 7616 with SHA-256, as RFC 8760 wants).
struct User {
    name: String,
    /// H(A1).
    secret: String,
    nonce: Option<String>,
    count: u32,
}

impl User {
    const REALM: &str = "samp.test";

    fn new(node: usize) -> Self {
        let name = format!("b{node}");
        let user = format!("sip:{name}@{}", Self::REALM);
        let password = RingKey::new("bench").password(&SampSettings::default(), &user);
        let secret = hash(&[&name, Self::REALM, &password]);
        Self { name, secret, nonce: None, count: 0 }
    }

    /// A header field for a REGISTER, once there is a challenge.
    fn authorization(&mut self) -> Option<String> {
        let nonce = self.nonce.as_deref()?;
        self.count += 1;
        let (realm, count) = (Self::REALM, format!("{:08x}", self.count));
        let uri = format!("sip:{realm}");
        let response = hash(&[&self.secret, nonce, &count, "load", "auth", &hash(&["REGISTER", &uri])]);
        Some(format!(
            "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             algorithm=SHA-256, qop=auth, nc={count}, cnonce=\"load\", response=\"{response}\"\r\n",
            self.name
        ))
    }
}

fn hash(parts: &[&str]) -> String {
    Sha256::digest(parts.join(":")).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The nonce of a challenge by SHA-256.
fn nonce(message: &[u8]) -> Option<&str> {
    let lines = std::str::from_utf8(message).ok()?.lines();
    let challenges = lines.filter(|line| line.starts_with("WWW-Authenticate:"));
    challenges
        .filter(|line| line.contains("SHA-256"))
        .find_map(|line| line.split("nonce=\"").nth(1)?.split('"').next())
}

fn sdp(local: IpAddr) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 {local}\r\ns=-\r\nc=IN IP4 {local}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
    )
}

fn received(socket: &UdpSocket, buffer: &mut [u8]) -> anyhow::Result<Option<(usize, SocketAddr)>> {
    match socket.recv_from(buffer) {
        Ok(received) => Ok(Some(received)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // The server is not there yet, or not any more: what was sent counts as lost.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(error).context("cannot receive"),
    }
}

fn status(message: &[u8]) -> Option<u16> {
    let digits = message.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The request's number, from the Call-ID.
fn number(message: &[u8]) -> Option<usize> {
    let name = b"\r\nCall-ID: ";
    let start = message.windows(name.len()).position(|window| window == name)? + name.len();
    let digits = message[start..].split(|byte| *byte == b'@').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A server that looks at nothing: a REGISTER is its own 200, an INVITE goes to the callees' port as it is, and an
/// answer of theirs to the caller's port.
fn respond(local: IpAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((local, 5060)).context("cannot open a socket")?;
    let mut buffer = vec![0; 65_536];
    let mut answer = Vec::new();
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let message = &buffer[..length];
        if message.starts_with(b"INVITE ") {
            socket.send_to(message, (from.ip(), 5061))?;
        } else if message.starts_with(b"SIP/2.0 ") {
            socket.send_to(message, (from.ip(), 5060))?;
        } else {
            let end = message.iter().position(|byte| *byte == b'\r').context("no line")?;
            answer.clear();
            answer.extend_from_slice(b"SIP/2.0 200 OK");
            answer.extend_from_slice(&message[end..]);
            socket.send_to(&answer, from)?;
        }
    }
}
