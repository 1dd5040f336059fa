//! Measures the delay line: `cargo run --release -p samp-emulation --example accuracy` (root).
//!
//! - How far one-way delays are from what is asked for, from just before `sendto` to the receiving kernel's time
//!   stamp, so waiting for a processor at the receiver does not count; the kernel's own way through two veth pairs
//!   does.
//! - What an attachment costs, and how many packets cross in a second.

use samp_emulation::{AccessSpec, DelayLine, LineSpec, PipeSpec, RadioSpec};
use samp_sys::netlink::{Batch, Netlink, VethEnd};
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use world::{World, counters_when, delay, median, now, receive};

#[allow(dead_code, reason = "shared with the tests, which need more of it")]
#[path = "../tests/line/world.rs"]
mod world;

fn main() {
    println!("one-way error, 1,000 packets/s of 172 bytes for 10 s");
    println!(
        "{:>10} {:>9} {:>9} {:>9} {:>9}   of which late, p50 p99",
        "delay", "p50", "p99", "max", "realtime"
    );
    for millis in [0, 1, 5, 20] {
        accuracy(millis, 0);
    }
    println!("the same among 1,000 other pipes");
    accuracy(5, 1000);
    println!("rate of one pipe of 1 ms");
    throughput(1);
    println!("rate of ten pipes of 1 ms, round robin");
    throughput(10);
    attachments();
}

/// A line of so many pipes between the world's nodes, and others that nobody uses.
fn pipes(world: &World, count: usize, others: u32, millis: u64) -> DelayLine {
    let mut pipes: Vec<_> = (0..count)
        .map(|pair| PipeSpec {
            ends: [world.end(2 * pair), world.end(2 * pair + 1)],
            quality: [delay(millis); 2],
        })
        .collect();
    let far = world::namespace();
    let mut batch = Batch::default();
    for index in 1000..1000 + 2 * others {
        let (near, name) = (format!("near{index}"), format!("far{index}"));
        batch.add_veth(
            VethEnd { name: &near, index: Some(index), ..VethEnd::default() },
            VethEnd { name: &name, namespace: Some(&far), ..VethEnd::default() },
        );
        batch.set_up(index);
    }
    Netlink::open_in(&world.wire).expect("netlink").apply(batch).expect("links are made");
    pipes.extend(
        (0..others)
            .map(|pipe| PipeSpec { ends: [1000 + 2 * pipe, 1001 + 2 * pipe], quality: [delay(millis); 2] }),
    );
    DelayLine::start(&world.wire, LineSpec { pipes, ..LineSpec::default() }).expect("the line starts")
}

fn accuracy(millis: u64, others: u32) {
    const PACKETS: u32 = 10_000;
    let world = World::new(2);
    let line = pipes(&world, 1, others, millis);
    let (sender, receiver) = (world.socket(0), world.socket(1));
    let receiver = std::thread::spawn(move || {
        let one =
            || receive(&receiver).map(|(bytes, at)| at - u64::from_be_bytes(*bytes.first_chunk().unwrap()));
        (0..PACKETS).map_while(|_| one().ok()).collect::<Vec<u64>>()
    });
    let begin = Instant::now();
    for packet in 0..PACKETS {
        let mut payload = [0; 172];
        payload[..8].copy_from_slice(&now().to_be_bytes());
        sender.send_to(&payload, world.at(1)).expect("sent");
        let next = begin + Duration::from_millis(u64::from(packet) + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let asked = millis * 1_000_000;
    let mut errors: Vec<u64> =
        receiver.join().unwrap().iter().map(|one_way| one_way.saturating_sub(asked)).collect();
    errors.sort_unstable();
    let at = |share: f64| micros(Duration::from_nanos(errors[((errors.len() - 1) as f64 * share) as usize]));
    let counters = line.counters();
    println!(
        "{:>7} ms {} {} {} {:>9}   {} {} {}; {:.1} %",
        millis,
        at(0.5),
        at(0.99),
        at(1.0),
        line.realtime(),
        micros(counters.late_p50),
        micros(counters.late_p99),
        micros(counters.late_max),
        100.0 * processor_time().as_secs_f64() / begin.elapsed().as_secs_f64(),
    );
}

/// One sender that never waits; the receiver's sockets are left to overflow.
fn throughput(count: usize) {
    const PACKETS: u64 = 300_000;
    let world = World::new(2 * count as u8);
    let line = pipes(&world, count, 0, 1);
    let _receivers: Vec<UdpSocket> = (0..count).map(|pair| world.socket(2 * pair + 1)).collect();
    let senders: Vec<UdpSocket> = (0..count).map(|pair| world.socket(2 * pair)).collect();
    let begin = Instant::now();
    for packet in 0..PACKETS as usize {
        let pair = packet % count;
        senders[pair].send_to(&[0; 172], world.at(2 * pair + 1)).expect("sent");
    }
    let counters = counters_when(&line, |counters| counters.in_flight == 0);
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{:>10.0} packets/s, {} of the thread's time each: delivered {} of {PACKETS}, missed {}, send errors {}",
        counters.delivered as f64 / seconds,
        micros(processor_time() / counters.delivered.max(1) as u32),
        counters.delivered,
        counters.missed,
        counters.send_errors,
    );
}

/// How long the delay line's thread has run on a processor.
fn processor_time() -> Duration {
    let read =
        |task: &std::fs::DirEntry, file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let line =
        tasks.into_iter().find(|task| read(task, "comm").trim() == "delay-line").expect("the line runs");
    let nanos = read(&line, "schedstat").split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn attachments() {
    const HANDOFFS: usize = 2000;
    let world = World::new(3);
    let radio = RadioSpec { index: world.end(2), mac: world.nodes[2].mac, up: delay(5), down: delay(5) };
    let access = [0, 1].map(|n| AccessSpec { index: world.end(n) }).to_vec();
    let spec = LineSpec { radios: vec![radio], access, ..LineSpec::default() };
    let line = DelayLine::start(&world.wire, spec).expect("the line starts");
    let (mut costs, mut calls) = (Vec::new(), Vec::new());
    for handoff in 0..HANDOFFS {
        std::thread::sleep(Duration::from_millis(1));
        let called = Instant::now();
        let attachment = line.attach(0, Some(handoff % 2));
        calls.push(called.elapsed().as_nanos() as u64);
        costs.push(attachment.cost.as_nanos() as u64);
    }
    println!(
        "attachment: takes effect after {}, call returns after {} (p50 of {HANDOFFS})",
        micros(median(costs)),
        micros(median(calls))
    );
}

fn micros(duration: Duration) -> String {
    format!("{:>7.1} µs", duration.as_secs_f64() * 1e6)
}
