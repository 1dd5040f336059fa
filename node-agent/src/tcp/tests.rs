//! TCP on loopback: who is refused, silent, slow, or wants too much.

use super::*;
use crate::runtime::start_runtime;
use samp_protocol::sip;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A node's TCP side, and where it listens.
struct Bench {
    tcp: Tcp,
    address: SocketAddr,
}

/// The peers' addresses.
const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const SOON: Duration = Duration::from_millis(20);

fn with_bench(limits: Limits, test: impl AsyncFnOnce(Bench)) {
    start_runtime().expect("a runtime").block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tcp = Tcp::serve(listener, None, limits).expect("a node's side");
        test(Bench { tcp, address }).await;
    });
}

fn text(body: usize) -> String {
    format!(
        "OPTIONS sip:samp.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:a@samp.test>;tag=1\r\nTo: <sip:samp.test>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: {body}\r\n\r\n{}",
        "x".repeat(body)
    )
}

fn message(destination: SocketAddr, body: usize) -> Transmit {
    let message = Arc::new(sip::parse(text(body).as_bytes()).expect("a message"));
    Transmit::new(destination, Transport::Tcp, message)
}

impl Bench {
    /// Connects from an address.
    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address of loopback's");
        socket.connect(self.address).await.expect("a connection")
    }

    /// Connects and says something, which the node hears.
    async fn connect_and_speak(&mut self, from: Ipv4Addr) -> TcpStream {
        let mut stream = self.connect(from).await;
        stream.write_all(text(0).as_bytes()).await.expect("said");
        let heard = self.hear().await;
        assert_eq!(heard, stream.local_addr().expect("an address"));
        stream
    }

    /// Who has sent the next message.
    async fn hear(&mut self) -> SocketAddr {
        loop {
            self.tcp.readable().await;
            match self.tcp.try_receive(&mut Vec::new()) {
                Some((_, Input::Message { from, .. })) => return from,
                Some(_) => panic!("no message"),
                None => {}
            }
        }
    }

    /// The first messages that come back as not sent.
    async fn undelivered(&mut self) -> Vec<Transmit> {
        let mut undelivered = Vec::new();
        while undelivered.is_empty() {
            self.tcp.readable().await;
            assert!(self.tcp.try_receive(&mut undelivered).is_none(), "nobody says anything");
        }
        undelivered
    }

    /// Waits until the node has closed this connection, on which it says nothing.
    async fn closed(&mut self, stream: &mut TcpStream) {
        let mut byte = [0];
        loop {
            tokio::select! {
                // Who has sent what was not read gets a reset instead of an end.
                read = stream.read(&mut byte) => return assert!(matches!(read, Ok(0) | Err(_)), "{read:?}"),
                () = self.tcp.readable() => assert!(self.tcp.try_receive(&mut Vec::new()).is_none()),
            }
        }
    }
}

#[test]
fn a_refused_connection_brings_back_what_was_to_be_sent() {
    with_bench(LIMITS, async |mut bench| {
        let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let nobody = closed.local_addr().expect("an address");
        drop(closed);
        assert!(bench.tcp.send(&message(nobody, 0)), "it is on its way");
        let [returned] = &bench.undelivered().await[..] else { panic!("one message") };
        assert_eq!(returned.destination, nobody);
        assert!(bench.tcp.connections.is_empty());
    });
}

#[test]
fn a_silent_connection_is_closed_and_one_inside_a_message_sooner() {
    for (limits, said) in [
        (Limits { idle: SOON, ..LIMITS }, ""),
        (Limits { patience: SOON, ..LIMITS }, "OPTIONS sip:samp.test SIP/2.0\r\n"),
    ] {
        with_bench(limits, async |mut bench| {
            let mut stream = bench.connect(A).await;
            stream.write_all(said.as_bytes()).await.expect("said");
            bench.closed(&mut stream).await;
        });
    }
}

#[test]
fn no_address_takes_all_connections() {
    with_bench(Limits { connections: 3, per_address: 2, ..LIMITS }, async |mut bench| {
        let (first, _second) = (bench.connect_and_speak(A).await, bench.connect_and_speak(A).await);
        let mut third = bench.connect(A).await;
        bench.closed(&mut third).await;
        let _other = bench.connect_and_speak(B).await;
        let mut fourth = bench.connect(B).await;
        bench.closed(&mut fourth).await;
        // One that ends makes room for another.
        drop(first);
        while bench.tcp.connections.len() == 3 {
            bench.tcp.readable().await;
            assert!(bench.tcp.try_receive(&mut Vec::new()).is_none());
        }
        bench.connect_and_speak(B).await;
    });
}

#[test]
fn neighbours_share_what_their_network_may_have() {
    let peer = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let network = of_network(peer("[fd00::1]:1").ip());
    assert!(
        network.contains(&peer("[fd00::ffff:0:0:1]:65535")) && !network.contains(&peer("[fd00:0:0:1::1]:1"))
    );
    let address = of_network(peer("10.0.0.1:1").ip());
    assert!(address.contains(&peer("10.0.0.1:65535")) && !address.contains(&peer("10.0.0.2:1")));
}

#[test]
fn who_does_not_read_is_left_and_holds_nothing_any_more() {
    with_bench(Limits { per_address: 1, ..LIMITS }, async |mut bench| {
        let stream = bench.connect_and_speak(A).await;
        let peer = stream.local_addr().expect("an address");
        let large = message(peer, 60_000);
        while bench.tcp.send(&large) {
            tokio::task::yield_now().await;
        }
        assert!(!bench.undelivered().await.is_empty(), "what waited comes back");
        bench.connect_and_speak(A).await;
    });
}

#[test]
fn what_waits_for_one_address_is_bounded_on_all_its_connections_together() {
    let limits = Limits { queued: 100_000, queued_per_address: 150_000, ..LIMITS };
    with_bench(limits, async |mut bench| {
        let streams = [bench.connect_and_speak(A).await, bench.connect_and_speak(A).await];
        let other = bench.connect_and_speak(B).await;
        let [first, second] = streams.each_ref().map(|stream| stream.local_addr().expect("an address"));
        // Nothing is written meanwhile: the tasks have no turn.
        assert!(bench.tcp.send(&message(first, 60_000)));
        assert!(bench.tcp.send(&message(second, 60_000)));
        assert!(!bench.tcp.send(&message(second, 60_000)), "180,000 bytes would wait");
        assert!(bench.tcp.send(&message(other.local_addr().expect("an address"), 60_000)));
    });
}
