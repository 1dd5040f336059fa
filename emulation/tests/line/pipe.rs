//! Pipes: delay, loss, rate, content.

use crate::world::*;
use samp_emulation::{DelayLine, LineSpec, PipeSpec, StartError};
use samp_model::topology::{LinkQuality, Loss};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

fn line(world: &World, quality: [LinkQuality; 2], seed: u64) -> DelayLine {
    let pipes = vec![PipeSpec { ends: [world.end(0), world.end(1)], quality }];
    DelayLine::start(&world.wire, LineSpec { pipes, seed, ..LineSpec::default() }).unwrap()
}

/// One-way delays of datagrams that are sent one after the other.
fn one_way(from: &UdpSocket, to: &UdpSocket, at: (std::net::Ipv4Addr, u16), count: usize) -> Vec<u64> {
    (0..count)
        .map(|_| {
            let sent = now();
            from.send_to(b"probe", at).unwrap();
            receive(to).unwrap().1.saturating_sub(sent)
        })
        .collect()
}

fn assert_close(measured: Duration, expected: Duration) {
    let tolerance = Duration::from_micros(500);
    assert!(
        measured + Duration::from_micros(1) >= expected && measured <= expected + tolerance,
        "{measured:?} instead of {expected:?}"
    );
}

#[test]
fn five_milliseconds_each_way_are_ten_for_an_echo() {
    let world = World::new(2);
    let _line = line(&world, [delay(5); 2], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    let echo = thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut turnaround = Vec::new();
        while let Ok((bytes, arrived)) = receive(&b) {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            turnaround.push(now().saturating_sub(arrived));
            b.send_to(&buffer[..bytes.len()], (std::net::Ipv4Addr::new(10, 0, 0, 1), PORT)).unwrap();
            if bytes == b"end" {
                break;
            }
        }
        turnaround
    });
    let mut round_trips = Vec::new();
    for n in 0..101 {
        let sent = now();
        a.send_to(if n == 100 { b"end" } else { b"echo!" }, world.at(1)).unwrap();
        round_trips.push(receive(&a).unwrap().1 - sent);
    }
    // How long the echoing thread waited for a processor is not the line's doing.
    let turnaround = echo.join().unwrap();
    let on_the_way = round_trips.iter().zip(&turnaround).map(|(all, waited)| all - waited).collect();
    assert_close(median(on_the_way), Duration::from_millis(10));
}

#[test]
fn each_direction_has_its_own_delay() {
    let world = World::new(2);
    let line = line(&world, [delay(2), delay(12)], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    assert_close(median(one_way(&a, &b, world.at(1), 51)), Duration::from_millis(2));
    assert_close(median(one_way(&b, &a, world.at(0), 51)), Duration::from_millis(12));
    line.set_quality(0, [delay(7), delay(0)]);
    assert_close(median(one_way(&a, &b, world.at(1), 51)), Duration::from_millis(7));
    assert_close(median(one_way(&b, &a, world.at(0), 51)), Duration::ZERO);
    assert_complete(&line);
}

#[test]
fn everything_is_lost_at_one_hundred_percent() {
    let world = World::new(2);
    let dead = LinkQuality { loss: Loss::Random(1.0), ..LinkQuality::default() };
    let line = line(&world, [dead, delay(0)], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    for _ in 0..100 {
        a.send_to(b"gone", world.at(1)).unwrap();
    }
    counters_when(&line, |counters| counters.lost == 100);
    assert_silent(&[&b], SILENCE);
    b.send_to(b"back", world.at(0)).unwrap();
    assert_eq!(receive(&a).unwrap().0, b"back");
    assert_eq!(assert_complete(&line).delivered, 1);
}

#[test]
fn frames_are_doubled_and_overtake() {
    let world = World::new(2);
    let restless = LinkQuality { duplicate: 0.5, reorder: 0.2, ..delay(30) };
    let line = line(&world, [restless, delay(0)], 1);
    let (a, b) = (world.socket(0), world.socket(1));
    for n in 0..80u8 {
        a.send_to(&[n], world.at(1)).unwrap();
    }
    let counters = counters_when(&line, |counters| counters.frames_in == 80 && counters.in_flight == 0);
    assert!((20..60).contains(&counters.duplicated), "{counters:?}");
    assert_eq!(counters.delivered, 80 + counters.duplicated);
    let order: Vec<u8> = (0..counters.delivered).map(|_| receive(&b).unwrap().0[0]).collect();
    assert!((0..80).all(|n| order.contains(&n)));
    let overtaken = order.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(overtaken > 0, "{order:?}");
    assert_complete(&line);
}

#[test]
fn jitter_spreads_delays_and_keeps_the_order() {
    let world = World::new(2);
    let line = line(&world, [LinkQuality { jitter: "8ms".parse().unwrap(), ..delay(10) }, delay(0)], 1);
    let (a, b) = (world.socket(0), world.socket(1));
    let delays = one_way(&a, &b, world.at(1), 100);
    assert!(delays.iter().all(|&delay| delay > 1_900_000), "{delays:?}");
    let early = delays.iter().filter(|&&delay| delay < 10_000_000).count();
    assert!((20..80).contains(&early), "{early} of 100 are faster than the delay");
    for n in 0..100u8 {
        a.send_to(&[n], world.at(1)).unwrap();
    }
    let order: Vec<u8> = (0..100).map(|_| receive(&b).unwrap().0[0]).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_complete(&line);
}

#[test]
fn losses_are_the_same_for_the_same_seed() {
    let world = World::new(2);
    let lossy = LinkQuality { loss: Loss::Random(0.3), ..LinkQuality::default() };
    let (a, b) = (world.socket(0), world.socket(1));
    let survivors = |seed| {
        let line = line(&world, [lossy; 2], seed);
        let mut received = Vec::new();
        for block in 0u16..20 {
            (0..50).for_each(|n| {
                a.send_to(&(50 * block + n).to_be_bytes(), world.at(1)).unwrap();
            });
            let all = 50 * u64::from(block + 1);
            let counters = counters_when(&line, |counters| counters.delivered + counters.lost == all);
            while (received.len() as u64) < counters.delivered {
                received.push(receive(&b).unwrap().0);
            }
        }
        received
    };
    let first = survivors(1);
    assert!((640..760).contains(&first.len()), "{} of 1000", first.len());
    assert!(first.is_sorted(), "nothing is reordered");
    assert_eq!(first, survivors(1));
    assert_ne!(first, survivors(2));
}

#[test]
fn a_rate_spaces_packets() {
    let world = World::new(2);
    let slow = LinkQuality { rate: Some(1_000_000), ..delay(3) };
    let line = line(&world, [slow, delay(0)], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    for _ in 0..31 {
        a.send_to(&[0; 958], world.at(1)).unwrap();
    }
    let stamps: Vec<u64> = (0..31).map(|_| receive(&b).unwrap().1).collect();
    // 958 bytes of payload, 42 of headers: 8 ms each.
    let spread = Duration::from_nanos(stamps[30] - stamps[0]);
    assert!(spread.abs_diff(Duration::from_millis(240)) < Duration::from_millis(5), "{spread:?}");
    assert_complete(&line);
}

#[test]
fn the_queue_of_a_slow_link_overflows() {
    let world = World::new(2);
    let slow = LinkQuality { rate: Some(10_000), ..LinkQuality::default() };
    let line = line(&world, [slow, delay(0)], 0);
    let a = world.socket(0);
    for sent in 1..=1200 {
        a.send_to(&[0; 958], world.at(1)).unwrap();
        if sent % 100 == 0 {
            counters_when(&line, |counters| counters.frames_in == sent);
        }
    }
    let counters = line.counters();
    // 0.8 s a packet: some may have left meanwhile.
    assert!((180..=200).contains(&counters.dropped_queue_full), "{counters:?}");
    assert_eq!(counters.in_flight + counters.delivered, 1200 - counters.dropped_queue_full);
}

#[test]
fn large_datagrams_cross() {
    let world = World::new(2);
    let line = line(&world, [delay(1); 2], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    for len in [1, 1000, 1472, 1473, 8000, 60_000] {
        let payload: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
        a.send_to(&payload, world.at(1)).unwrap();
        assert!(receive(&b).unwrap().0 == payload, "{len} bytes");
    }
    assert_complete(&line);
}

#[test]
fn tcp_crosses_both_ways() {
    const LEN: usize = 10_000_000;
    fn content(seed: u32) -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(LEN)
        .collect()
    }
    fn exchange(mut stream: TcpStream, send: u32, expect: u32) {
        let mut reader = stream.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut received = Vec::with_capacity(LEN);
            reader.read_to_end(&mut received).unwrap();
            assert!(received == content(expect));
        });
        stream.write_all(&content(send)).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        reader.join().unwrap();
    }
    let world = World::new(2);
    let line = line(&world, [delay(5); 2], 0);
    let [a, b] = [0, 1].map(|n| &world.nodes[n].namespace);
    let listener = b.run(|| TcpListener::bind(("0.0.0.0", PORT))).unwrap().unwrap();
    let server = thread::spawn(move || exchange(listener.accept().unwrap().0, 2, 1));
    let begin = Instant::now();
    exchange(a.run(|| TcpStream::connect(world.at(1))).unwrap().unwrap(), 1, 2);
    server.join().unwrap();
    let counters = assert_complete(&line);
    assert!(counters.frames_in < 12_000, "segmentation offload works: {counters:?}");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn an_interface_may_go_away_and_come_back() {
    let mut world = World::new(2);
    let line = line(&world, [delay(1); 2], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    world.nodes[1].set_up(false);
    a.send_to(b"lost", world.at(1)).unwrap();
    counters_when(&line, |counters| counters.send_errors == 1);
    world.nodes[1].set_up(true);
    a.send_to(b"back", world.at(1)).unwrap();
    assert_eq!(receive(&b).unwrap().0, b"back");
    assert_complete(&line);
}

#[test]
fn flushing_drops_what_is_on_the_pipe() {
    let world = World::new(2);
    let line = line(&world, [delay(300), delay(200)], 0);
    let (a, b) = (world.socket(0), world.socket(1));
    a.send_to(b"there", world.at(1)).unwrap();
    b.send_to(b"back", world.at(0)).unwrap();
    counters_when(&line, |counters| counters.in_flight == 2);
    assert_eq!(line.flush(0).frames_dropped, 2);
    assert_silent(&[&a, &b], Duration::from_millis(400));
    line.set_quality(0, [delay(1); 2]);
    a.send_to(b"again", world.at(1)).unwrap();
    assert_eq!(receive(&b).unwrap().0, b"again");
    assert_eq!(assert_complete(&line).dropped_on_air, 2);
}

#[test]
fn ten_thousand_packets_a_second_over_many_pipes_arrive_in_order() {
    const PAIRS: usize = 10;
    const PACKETS: u32 = 1000;
    let world = World::new(2 * PAIRS as u8);
    let pipes = (0..PAIRS)
        .map(|pair| PipeSpec {
            ends: [world.end(2 * pair), world.end(2 * pair + 1)],
            quality: [delay(pair as u64), delay(0)],
        })
        .collect();
    let line = DelayLine::start(&world.wire, LineSpec { pipes, ..LineSpec::default() }).unwrap();
    let senders: Vec<_> = (0..PAIRS).map(|pair| world.socket(2 * pair)).collect();
    let receivers: Vec<_> = (0..PAIRS)
        .map(|pair| {
            let socket = world.socket(2 * pair + 1);
            thread::spawn(move || {
                for expected in 0..PACKETS {
                    assert_eq!(receive(&socket).unwrap().0, expected.to_be_bytes());
                }
            })
        })
        .collect();
    let begin = Instant::now();
    for packet in 0..PACKETS {
        for (pair, sender) in senders.iter().enumerate() {
            sender.send_to(&packet.to_be_bytes(), world.at(2 * pair + 1)).unwrap();
        }
        let next = begin + Duration::from_millis(u64::from(packet) + 1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    assert_eq!(assert_complete(&line).delivered, u64::from(PACKETS) * PAIRS as u64);
}

#[test]
fn an_interface_cannot_be_the_end_of_two_pipes() {
    let world = World::new(2);
    let pipe = PipeSpec { ends: [world.end(0), world.end(1)], quality: [delay(0); 2] };
    let error = DelayLine::start(&world.wire, LineSpec { pipes: vec![pipe; 2], ..LineSpec::default() });
    assert!(matches!(error.unwrap_err(), StartError::DuplicateInterface(index) if index == world.end(0)));
}
