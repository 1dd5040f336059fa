//! REGISTERs from many sources at once, to measure what a SIP server bears.
//!
//! `samp-flood capacity SERVER SECONDS` keeps 32 requests under way and prints how many were answered with 200.
//! `samp-flood flood SERVER SECONDS RATE` sends RATE requests per second from 16 addresses of this host, whatever comes
//! back, and prints how many it sent. `samp-flood register SERVER SECONDS RATE USER` registers RATE users per second,
//! retransmitting as RFC 3261 §17.1.2 says, and prints how many there were and how many succeeded.
//! `samp-flood forge SERVER COUNT` sends COUNT REGISTERs for mn1 to mn8, half of them without credentials, half with made
//! up ones for a nonce of the server's, and prints how many were answered 401 and how many 200.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::process::id;
use std::thread;
use std::time::{Duration, Instant};

const UNDER_WAY: usize = 32;
const SOURCES: u8 = 16;
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u32>().map_err(|_| usage());
    let duration = |text: &str| number(text).map(|seconds| Duration::from_secs(seconds.into()));
    let server = |text: &str| text.parse::<SocketAddr>().map_err(|_| usage());
    match args[..] {
        ["capacity", to, seconds] => capacity(server(to)?, duration(seconds)?),
        ["flood", to, seconds, rate] => flood(server(to)?, duration(seconds)?, number(rate)?),
        ["register", to, seconds, rate, user] => {
            register(server(to)?, duration(seconds)?, number(rate)?, user)
        }
        ["forge", to, count] => forge(server(to)?, number(count)?),
        _ => Err(usage()),
    }
}

fn usage() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "samp-flood capacity|flood|register|forge SERVER SECONDS|COUNT [RATE [USER]]",
    )
}

/// A REGISTER of user `name`, to the server as anchor.
fn request(server: SocketAddr, own: SocketAddr, name: &str) -> String {
    format!(
        "REGISTER sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{name}-{1};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{name}@samp.test>;tag={name}\r\nTo: <sip:{name}@samp.test>\r\nCall-ID: {name}-{1}\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:{name}@{own}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n",
        server.ip(),
        id(),
    )
}

/// The user that a response with this status is for.
fn answered(response: &[u8], status: &str) -> Option<String> {
    let text = std::str::from_utf8(response).ok()?;
    let name = text.split("Call-ID: ").nth(1)?.split('-').next()?;
    text.starts_with(&format!("SIP/2.0 {status} ")).then(|| name.to_owned())
}

fn capacity(server: SocketAddr, duration: Duration) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let own = socket.local_addr()?;
    let end = Instant::now() + duration;
    let (mut sent, mut count, mut under_way, mut buffer) = (0, 0, 0, [0; 65_536]);
    while Instant::now() < end {
        while under_way < UNDER_WAY {
            socket.send_to(request(server, own, &format!("c{sent}")).as_bytes(), server)?;
            (sent, under_way) = (sent + 1, under_way + 1);
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                under_way -= 1;
                count += u32::from(answered(&buffer[..length], "200").is_some());
            }
            // What was under way is lost.
            Err(error) if error.kind() == ErrorKind::WouldBlock => under_way = 0,
            Err(error) => return Err(error),
        }
    }
    println!("{}", f64::from(count) / duration.as_secs_f64());
    Ok(())
}

fn flood(server: SocketAddr, duration: Duration, rate: u32) -> io::Result<()> {
    let sockets = (1..=SOURCES).map(|number| UdpSocket::bind(SocketAddr::from(([127, 0, 1, number], 0))));
    let sockets = sockets.map(|socket| socket.and_then(|socket| Ok((socket.local_addr()?, socket))));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let begin = Instant::now();
    let mut sent: u32 = 0;
    while begin.elapsed() < duration {
        let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        for _ in 0..due.saturating_sub(sent) {
            let (own, socket) = &sockets[sent as usize % sockets.len()];
            let request = request(server, *own, &format!("f{sent}"));
            match socket.send_to(request.as_bytes(), server) {
                Ok(_) => sent += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    println!("{}", f64::from(sent) / begin.elapsed().as_secs_f64());
    Ok(())
}

/// A registration under way.
struct Pending {
    request: String,
    interval: Duration,
    next: Instant,
    gives_up: Instant,
}

fn register(server: SocketAddr, duration: Duration, rate: u32, user: &str) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    let own = socket.local_addr()?;
    let total = duration.as_secs() as u32 * rate;
    let begin = Instant::now();
    let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
    let (mut begun, mut succeeded, mut buffer) = (0, 0, [0; 65_536]);
    while begun < total || !pending.is_empty() {
        let now = Instant::now();
        if begun < total && now >= begin + duration * begun / total {
            let name = format!("{user}x{begun}");
            let request = request(server, own, &name);
            pending.insert(name, Pending { request, interval: T1, next: now, gives_up: now + 64 * T1 });
            begun += 1;
        }
        pending.retain(|_, one| now < one.gives_up);
        for one in pending.values_mut().filter(|one| one.next <= now) {
            // An answer may say that nobody listens; timer F decides.
            let _ = socket.send(one.request.as_bytes());
            one.next = now + one.interval;
            one.interval = (2 * one.interval).min(T2);
        }
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        while let Ok(length) = socket.recv(&mut buffer) {
            if let Some(name) = answered(&buffer[..length], "200") {
                succeeded += u32::from(pending.remove(&name).is_some());
            } else if let Some(name) = answered(&buffer[..length], "503") {
                // As Retry-After says at least; another transaction would carry another branch.
                if let Some(one) = pending.get_mut(&name) {
                    one.next = Instant::now() + Duration::from_secs(1);
                }
            }
        }
    }
    println!("{total} {succeeded}");
    Ok(())
}

fn forge(server: SocketAddr, count: u32) -> io::Result<()> {
    let told = thread::scope(|scope| {
        let sources = (0..SOURCES).map(|source| scope.spawn(move || forge_from(server, count, source)));
        let sources: Vec<_> = sources.collect();
        sources.into_iter().map(|source| source.join().expect("a source")).collect::<io::Result<Vec<_>>>()
    })?;
    let (refused, accepted): (Vec<u32>, Vec<u32>) = told.into_iter().unzip();
    println!("{} {}", refused.iter().sum::<u32>(), accepted.iter().sum::<u32>());
    Ok(())
}

/// What one of the sources does of it: how many were refused, and how many accepted.
fn forge_from(server: SocketAddr, count: u32, source: u8) -> io::Result<(u32, u32)> {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 1, 1 + source], 0)))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut refused, mut accepted, mut credentials, mut buffer) = (0, 0, String::new(), [0; 65_536]);
    // A source asks, and then guesses.
    for number in (0..count).filter(|number| number / 2 % u32::from(SOURCES) == u32::from(source)) {
        let user = format!("mn{}", 1 + number / 2 % 8);
        // At the anchor, or at home.
        let registrar = if number / 16 % 2 == 0 { server.ip().to_string() } else { "samp.test".to_owned() };
        let request = request(server, socket.local_addr()?, &user)
            .replace(&format!("REGISTER sip:{}", server.ip()), &format!("REGISTER sip:{registrar}"))
            .replace(&format!("branch=z9hG4bK{user}"), &format!("branch=z9hG4bK{number}"))
            .replace("Expires: 600\r\n", &format!("{credentials}Expires: 600\r\n"));
        socket.send_to(request.as_bytes(), server)?;
        let length = socket.recv(&mut buffer)?;
        refused += u32::from(answered(&buffer[..length], "401").is_some());
        accepted += u32::from(answered(&buffer[..length], "200").is_some());
        let text = String::from_utf8_lossy(&buffer[..length]);
        let nonce = text.split("nonce=\"").nth(1).and_then(|text| text.split('"').next()).unwrap_or("");
        credentials = if number % 2 == 1 {
            String::new()
        } else {
            format!(
                "Authorization: Digest username=\"{user}\", realm=\"{registrar}\", nonce=\"{nonce}\", \
                 uri=\"sip:{registrar}\", algorithm=SHA-256, cnonce=\"c\", nc=00000001, qop=auth, \
                 response=\"{number:064x}\"\r\n"
            )
        };
    }
    Ok((refused, accepted))
}
