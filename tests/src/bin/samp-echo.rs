//! Proves that UDP and TCP cross a link: `samp-echo serve ADDRESS` answers, `samp-echo ask ADDRESS` checks the answers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// As many bytes as a UDP datagram may carry over an Ethernet link without fragments.
const DATAGRAM: usize = 1472;
/// Enough for TCP to send segments of full size, and for the sending host to merge them.
const STREAM: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "samp-echo serve|ask ADDRESS:PORT");
    let mut args = std::env::args().skip(1);
    let (role, address) = (args.next().ok_or_else(usage)?, args.next().ok_or_else(usage)?);
    let address: SocketAddr = address.parse().map_err(|_| usage())?;
    match role.as_str() {
        "serve" => serve(address),
        "ask" => ask(address),
        _ => Err(usage()),
    }
}

/// Answers one exchange over each of the two, then ends.
fn serve(address: SocketAddr) -> io::Result<()> {
    let udp = UdpSocket::bind(address)?;
    let tcp = TcpListener::bind(address)?;
    // Whoever started this waits for the line.
    println!("ready");
    io::stdout().flush()?;
    let mut datagram = [0; DATAGRAM];
    let (len, from) = udp.recv_from(&mut datagram)?;
    udp.send_to(&datagram[..len], from)?;
    let (mut stream, _) = tcp.accept()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    stream.write_all(&bytes)
}

fn ask(address: SocketAddr) -> io::Result<()> {
    let bytes: Vec<u8> = (0..STREAM).map(|n| (n * 31 % 251) as u8).collect();
    let unspecified: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let udp = UdpSocket::bind(unspecified)?;
    udp.set_read_timeout(Some(PATIENCE))?;
    udp.send_to(&bytes[..DATAGRAM], address)?;
    let mut answer = vec![0; STREAM];
    let len = udp.recv(&mut answer)?;
    check("UDP", &answer[..len], &bytes[..DATAGRAM])?;
    let mut tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.write_all(&bytes)?;
    tcp.shutdown(Shutdown::Write)?;
    answer.clear();
    tcp.read_to_end(&mut answer)?;
    check("TCP", &answer, &bytes)
}

fn check(what: &str, answer: &[u8], sent: &[u8]) -> io::Result<()> {
    if answer == sent {
        return Ok(());
    }
    Err(io::Error::other(format!("{what}: {} bytes came back, not the {} sent", answer.len(), sent.len())))
}
