//! The media of a mobile node's calls: one RTP stream each way, and what happens to them. No sockets.

mod receiver;
mod rtp;
mod sender;

use self::receiver::Receiver;
use self::rtp::{HEADER_LEN, Header};
use self::sender::{Origin, Sender};
use crate::MediaCommand;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use samp_model::settings::MediaSettings;
use samp_model::{Event, Time};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A sample of silence in G.711 µ-law.
const SILENCE: u8 = 0xff;

/// Places that packets are told to come from, one after the other.
const MARKS: u8 = 16;

/// All media of a node.
#[derive(Debug)]
pub struct Media {
    settings: MediaSettings,
    seed: u64,
    calls: BTreeMap<String, Call>,
    events: VecDeque<(Time, Event)>,
    /// Header and payload of the packet in the making.
    packet: Vec<u8>,
    strays: u64,
    /// Whether this node and its peers keep their addresses when they move, and mark their packets.
    marks: bool,
}

/// The two streams of a call.
#[derive(Debug)]
struct Call {
    remote: SocketAddr,
    /// Whether the next packet is the first one between this pair of addresses.
    is_new_pair: bool,
    sender: Sender,
    /// Packets that did not get past this node's own network stack.
    unsendable: u64,
    ssrc_receive: u32,
    receiver: Receiver,
}

impl Media {
    /// No calls yet. `seed` is the node's own.
    pub fn new(settings: MediaSettings, seed: u64) -> Self {
        let packet = vec![SILENCE; HEADER_LEN + settings.payload_bytes];
        let (calls, events) = (BTreeMap::new(), VecDeque::new());
        Self { settings, seed, calls, events, packet, strays: 0, marks: false }
    }

    /// The same at a node that keeps its address, as do all its peers (Mobile IPv6). No address tells a receiver that a
    /// packet is the first one from a new place, so the first sample of each packet does, below hearing: it is another
    /// one after each move.
    pub fn with_marks(self) -> Self {
        Self { marks: true, ..self }
    }

    /// Instant of the next packet of any call.
    pub fn next_due(&self) -> Option<Time> {
        self.calls.values().map(|call| call.sender.next_due()).min()
    }

    /// Starts, retargets or stops the streams of a call.
    pub fn handle_command(&mut self, now: Time, command: MediaCommand) {
        match command {
            MediaCommand::Start { call, remote, ssrc_send, ssrc_receive } => {
                self.start(now, call, remote, ssrc_send, ssrc_receive);
            }
            MediaCommand::Retarget { call, remote } => self.retarget(now, call, remote),
            MediaCommand::Stop { call } => self.stop(now, call),
        }
    }

    /// A datagram has come from `from` to this node's address `to`.
    pub fn handle_datagram(&mut self, now: Time, from: IpAddr, to: IpAddr, datagram: &[u8]) {
        let Some(header) = Header::read(datagram) else {
            return self.count_stray(from, "no RTP");
        };
        // Only samp-lab's nodes agree on the sources beforehand; others choose, and their first packet tells.
        let known = |call: &Call| call.ssrc_receive == header.ssrc;
        let new = |call: &Call| call.remote.ip() == from && call.receiver.received() == 0;
        let position = self.calls.values().position(known).or_else(|| self.calls.values().position(new));
        let Some((name, call)) = position.and_then(|position| self.calls.iter_mut().nth(position)) else {
            return self.count_stray(from, "unknown synchronisation source");
        };
        call.ssrc_receive = header.ssrc;
        let mark = datagram.get(HEADER_LEN).copied().filter(|_| self.marks);
        let Some(arrival) = call.receiver.handle_packet(now, &header, (from, to, mark)) else { return };
        let event = Event::MediaFirstReceived {
            call: name.clone(),
            from,
            at: to,
            silence: arrival.silence,
            lost: arrival.lost,
        };
        self.events.push_back((now, event));
    }

    /// This node has another care-of address, or the same one behind another router.
    pub fn handle_address_change(&mut self) {
        for call in self.calls.values_mut() {
            call.receiver.forget_pair();
            call.is_new_pair = true;
        }
        if let (true, Some(mark)) = (self.marks, self.packet.get_mut(HEADER_LEN)) {
            *mark = SILENCE - (SILENCE - *mark + 1) % MARKS;
        }
    }

    /// Sends each call's packet that is due.
    ///
    /// A packet that `send` refuses counts as sent, and so as lost on the way: while the node has no address,
    /// its peer hears silence.
    pub fn send_due(&mut self, now: Time, mut send: impl FnMut(&[u8], SocketAddr) -> io::Result<()>) {
        for (name, call) in &mut self.calls {
            let Some(header) = call.sender.take_due(now) else { continue };
            let Some(fixed) = self.packet.first_chunk_mut::<HEADER_LEN>() else { continue };
            header.write(fixed);
            match send(&self.packet, call.remote) {
                Ok(()) if call.is_new_pair => {
                    call.is_new_pair = false;
                    let event = Event::MediaFirstSent { call: name.clone(), to: call.remote.ip() };
                    self.events.push_back((now, event));
                }
                Ok(()) => {}
                Err(error) => {
                    call.unsendable += 1;
                    tracing::debug!(call = name, remote = %call.remote, %error, "media packet not sent");
                }
            }
        }
    }

    /// The next thing that happened, and when.
    pub fn poll_event(&mut self) -> Option<(Time, Event)> {
        self.events.pop_front()
    }

    fn start(&mut self, now: Time, name: String, remote: SocketAddr, ssrc_send: u32, ssrc_receive: u32) {
        if self.calls.contains_key(&name) {
            tracing::warn!(call = name, "media started twice; starting over");
            self.stop(now, name.clone());
        }
        let origin = self.draw_origin(&name);
        let call = Call {
            remote,
            is_new_pair: true,
            sender: Sender::new(now, self.settings.packet_interval, ssrc_send, origin),
            unsendable: 0,
            ssrc_receive,
            receiver: Receiver::new(now),
        };
        self.calls.insert(name.clone(), call);
        self.events.push_back((now, Event::MediaRetargeted { call: name, to: remote.ip() }));
    }

    fn retarget(&mut self, now: Time, name: String, remote: SocketAddr) {
        let Some(call) = self.calls.get_mut(&name) else {
            tracing::warn!(call = name, "no media to retarget");
            return;
        };
        if call.remote == remote {
            return;
        }
        call.remote = remote;
        call.is_new_pair = true;
        self.events.push_back((now, Event::MediaRetargeted { call: name, to: remote.ip() }));
    }

    fn stop(&mut self, now: Time, name: String) {
        let Some(call) = self.calls.remove(&name) else {
            tracing::warn!(call = name, "no media to stop");
            return;
        };
        tracing::debug!(
            call = name,
            unsendable = call.unsendable,
            skipped = call.sender.skipped(),
            duplicates = call.receiver.duplicates(),
            "media stopped"
        );
        let event = Event::MediaSummary {
            call: name,
            sent: call.sender.sent(),
            received: call.receiver.received(),
            lost: call.receiver.lost(),
            longest_silence: call.receiver.longest_silence(now),
        };
        self.events.push_back((now, event));
    }

    fn count_stray(&mut self, from: IpAddr, reason: &str) {
        self.strays += 1;
        tracing::debug!(%from, reason, strays = self.strays, "media datagram ignored");
    }

    /// The random choices of a call's stream: the same for the same node and call, whatever came before.
    fn draw_origin(&self, call: &str) -> Origin {
        let mut random = Pcg64Mcg::seed_from_u64(self.seed ^ fnv1a(call));
        Origin {
            phase: self.settings.packet_interval.mul_f64(f64::from(random.next_u32()) / 4_294_967_296.0),
            sequence: random.next_u32() as u16,
            timestamp: random.next_u32(),
        }
    }
}

/// The FNV-1a hash: unlike the standard library's hashers it stays the same for ever.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2));
    const C: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 3, 0, 2));

    fn start(remote: IpAddr, ssrc_send: u32, ssrc_receive: u32) -> MediaCommand {
        let remote = SocketAddr::new(remote, crate::RTP_PORT);
        MediaCommand::Start { call: "c".into(), remote, ssrc_send, ssrc_receive }
    }

    fn retarget(remote: IpAddr) -> MediaCommand {
        let remote = SocketAddr::new(remote, crate::RTP_PORT);
        MediaCommand::Retarget { call: "c".into(), remote }
    }

    fn events(media: &mut Media) -> Vec<Event> {
        std::iter::from_fn(|| media.poll_event().map(|(_, event)| event)).collect()
    }

    /// Lets `media` send until `end`; each packet with the instant it left and its destination.
    fn run(media: &mut Media, end: Time) -> Vec<(Time, SocketAddr, Vec<u8>)> {
        let mut packets = Vec::new();
        while let Some(now) = media.next_due().filter(|due| *due < end) {
            media.send_due(now, |bytes, to| {
                packets.push((now, to, bytes.to_vec()));
                Ok(())
            });
        }
        packets
    }

    #[test]
    fn two_nodes_hear_each_other_and_a_move_is_recorded_at_both_ends() {
        let mut at_a = Media::new(MediaSettings::default(), 1);
        let mut at_b = Media::new(MediaSettings::default(), 2);
        at_a.handle_command(Time::ZERO, start(B, 11, 22));
        at_b.handle_command(Time::ZERO, start(A, 22, 11));

        for (now, to, bytes) in run(&mut at_a, Time::ZERO + Duration::from_millis(100)) {
            assert_eq!((to.ip(), to.port(), bytes.len()), (B, 40_000, 12 + 160));
            at_b.handle_datagram(now, A, B, &bytes);
        }
        assert_eq!(
            events(&mut at_a),
            [
                Event::MediaRetargeted { call: "c".into(), to: B },
                Event::MediaFirstSent { call: "c".into(), to: B },
            ]
        );
        assert_eq!(
            events(&mut at_b),
            [
                Event::MediaRetargeted { call: "c".into(), to: A },
                Event::MediaFirstReceived {
                    call: "c".into(),
                    from: A,
                    at: B,
                    silence: Duration::ZERO,
                    lost: 0
                },
            ]
        );

        // B moves to C: what is still sent to its old address is lost.
        let lost = run(&mut at_a, Time::ZERO + Duration::from_millis(160)).len() as u64;
        assert_eq!(lost, 3);
        let moved = Time::ZERO + Duration::from_millis(160);
        at_b.handle_address_change();
        at_a.handle_command(moved, retarget(C));
        let packets = run(&mut at_a, Time::ZERO + Duration::from_millis(200));
        for (now, to, bytes) in &packets {
            assert_eq!(to.ip(), C);
            at_b.handle_datagram(*now, A, C, bytes);
        }
        assert_eq!(
            events(&mut at_b),
            [Event::MediaFirstReceived {
                call: "c".into(),
                from: A,
                at: C,
                silence: Duration::from_millis(80),
                lost
            }]
        );
        assert_eq!(
            events(&mut at_a),
            [
                Event::MediaRetargeted { call: "c".into(), to: C },
                Event::MediaFirstSent { call: "c".into(), to: C },
            ]
        );

        let last = packets.last().expect("packets").0;
        at_b.handle_command(last, MediaCommand::Stop { call: "c".into() });
        assert_eq!(
            events(&mut at_b),
            [Event::MediaSummary {
                call: "c".into(),
                sent: 0,
                received: 7,
                lost: 3,
                longest_silence: Duration::from_millis(80)
            }]
        );
        assert_eq!(at_b.next_due(), None);
    }

    #[test]
    fn a_refused_packet_takes_its_sequence_number_along() {
        let mut media = Media::new(MediaSettings::default(), 1);
        media.handle_command(Time::ZERO, start(B, 11, 22));
        let due = media.next_due().expect("due");
        let mut sequences = Vec::new();
        for (n, is_refused) in [(0, true), (1, true), (2, false), (3, false)] {
            media.send_due(due + n * Duration::from_millis(20), |bytes, _| {
                sequences.push(u16::from_be_bytes([bytes[2], bytes[3]]));
                if is_refused { Err(io::ErrorKind::NetworkUnreachable.into()) } else { Ok(()) }
            });
        }
        let first = sequences[0];
        assert_eq!(sequences, [0, 1, 2, 3].map(|n| first.wrapping_add(n)));
        media.poll_event();
        let sent_at = due + 2 * Duration::from_millis(20);
        assert_eq!(
            media.poll_event(),
            Some((sent_at, Event::MediaFirstSent { call: "c".into(), to: B })),
            "the first packet that did leave"
        );
        assert_eq!(media.poll_event(), None);
        media.handle_command(sent_at, MediaCommand::Stop { call: "c".into() });
        let [Event::MediaSummary { sent, .. }] = events(&mut media)[..] else { panic!("a summary") };
        assert_eq!(sent, 4);
    }

    #[test]
    fn strays_are_counted_and_nothing_else() {
        let mut media = Media::new(MediaSettings::default(), 1);
        media.handle_command(Time::ZERO, start(B, 11, 22));
        events(&mut media);
        media.handle_datagram(Time::ZERO, B, A, b"hello");
        media.handle_datagram(Time::ZERO, C, A, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23]);
        assert_eq!(media.strays, 2);
        assert_eq!(events(&mut media), []);
    }

    #[test]
    fn the_peers_first_packet_tells_a_source_that_was_not_agreed_on() {
        let mut media = Media::new(MediaSettings::default(), 1);
        media.handle_command(Time::ZERO, start(B, 11, 22));
        events(&mut media);
        media.handle_datagram(Time::ZERO, B, A, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23]);
        assert!(matches!(events(&mut media)[..], [Event::MediaFirstReceived { from: B, .. }]));
        media.handle_datagram(Time::ZERO, B, A, &[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 24]);
        assert_eq!(media.strays, 1, "and no other one after that");
    }

    #[test]
    fn commands_for_an_unknown_call_do_nothing() {
        let mut media = Media::new(MediaSettings::default(), 1);
        media.handle_command(Time::ZERO, retarget(B));
        media.handle_command(Time::ZERO, MediaCommand::Stop { call: "c".into() });
        assert_eq!(events(&mut media), []);
    }

    #[test]
    fn a_streams_first_values_depend_on_node_and_call_only() {
        let media = |seed| Media::new(MediaSettings::default(), seed);
        let origin = media(7).draw_origin("call-1");
        assert!(origin.phase < MediaSettings::default().packet_interval);
        assert_eq!(origin, media(7).draw_origin("call-1"));
        assert_ne!(origin, media(7).draw_origin("call-2"));
        assert_ne!(origin, media(8).draw_origin("call-1"));
    }
}
