//! Measures the delay line: `cargo run --release -p samp-emulation --example accuracy` (root); first as root, then in a
//! user namespace, as rootless labs have it.
//!
//! - How far one-way delays are from what is asked for, from just before `sendto` to the receiving kernel's time
//!   stamp, so waiting for a processor at the receiver does not count; the kernel's own way through two veth pairs
//!   does.
//! - What an attachment costs, and how many packets cross in a second.

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use samp_emulation::{AccessSpec, DelayLine, LineSpec, PipeSpec, RadioSpec, THREAD};
use samp_sys::netlink::{Batch, Netlink, VethEnd};
use samp_sys::process::spawn_pid1;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use world::{World, counters_when, delay, median, now, receive};

#[allow(dead_code, reason = "shared with the tests, which need more of it")]
#[path = "../tests/line/world.rs"]
mod world;

/// The argument with which this program runs itself without root.
const ROOTLESS: &str = "rootless";

fn main() {
    let is_rootless = std::env::args().nth(1).is_some_and(|word| word == ROOTLESS);
    println!("{}", if is_rootless { "\nrootless" } else { "as root" });
    println!("one-way error, 1,000 packets/s of 172 bytes for 10 s");
    println!(
        "{:>10} {:>9} {:>9} {:>9} {:>9}   of which late, p50 p99 max; of a processor",
        "delay", "p50", "p99", "max", "realtime"
    );
    for millis in [1, 5, 10, 20] {
        accuracy(millis);
    }
    println!("the same of 1,000 pipes, 10,000 packets/s in total for 5 s");
    many(1000, 10_000, 5);
    println!("rate of one pipe of 1 ms");
    throughput(1);
    println!("rate of ten pipes of 1 ms, round robin");
    throughput(10);
    attachments();
    if !is_rootless {
        run_rootless();
    }
}

/// Runs this program again in a user namespace, and waits for it.
fn run_rootless() {
    let this = std::env::current_exe().expect("this program has a path");
    let (output, errors) = (std::io::stdout(), std::io::stderr());
    let inherited = [(1, output.as_fd()), (2, errors.as_fd())];
    let child = spawn_pid1(&this, &[ROOTLESS.into()], &inherited, true).expect("user namespaces are allowed");
    waitpid(Pid::from_raw(child.pid), None).expect("it ends");
}

/// A line of so many pipes between the world's nodes.
fn pipes(world: &World, count: usize, millis: u64) -> DelayLine {
    let pipe = |pair: usize| PipeSpec {
        ends: [world.end(2 * pair), world.end(2 * pair + 1)],
        quality: [delay(millis); 2],
    };
    let pipes = (0..count).map(pipe).collect();
    DelayLine::start(&world.wire, LineSpec { pipes, ..LineSpec::default() }).expect("the line starts")
}

/// A hall with one end of each of so many pipes of 5 ms, and another with their other ends: so many packets a second in
/// turn over all of them.
fn many(count: u32, rate: u32, seconds: u32) {
    const DELAY: u64 = 5;
    let [wire, near, far] = [(); 3].map(|()| world::namespace());
    let address = |side: u8, pipe: u32| Ipv4Addr::from(0x0a80_0000 + 2 * pipe + u32::from(side));
    let mac = |side: u8, pipe: u32| [2, side, 0, 0, (pipe >> 8) as u8, pipe as u8];
    let end = |side: u8, pipe: u32| 1000 + 2 * pipe + u32::from(side);
    for (side, hall) in [(0, &near), (1, &far)] {
        let (mut links, mut addresses) = (Batch::default(), Batch::default());
        for pipe in 0..count {
            let name = format!("pipe{pipe}");
            let at_wire = format!("{side}-{pipe}");
            let index = end(side, pipe);
            links.add_veth(
                VethEnd { name: &at_wire, index: Some(index), ..VethEnd::default() },
                VethEnd {
                    name: &name,
                    index: Some(index),
                    mac: Some(mac(side, pipe)),
                    namespace: Some(hall),
                },
            );
            links.set_up(index);
            addresses.set_up(index);
            addresses.add_address(index, address(side, pipe).into(), 31);
            addresses.add_neighbour(index, address(1 - side, pipe).into(), mac(1 - side, pipe));
        }
        Netlink::open_in(&wire).expect("netlink").apply(links).expect("links are made");
        Netlink::open_in(hall).expect("netlink").apply(addresses).expect("addresses are given");
    }
    let pipe = |pipe| PipeSpec { ends: [end(0, pipe), end(1, pipe)], quality: [delay(DELAY); 2] };
    let pipes = (0..count).map(pipe).collect();
    let line = DelayLine::start(&wire, LineSpec { pipes, ..LineSpec::default() }).expect("the line starts");
    let (sender, receiver) = (world::socket_in(&near), world::socket_in(&far));
    measure(&line, DELAY, rate, rate * seconds, &sender, receiver, |packet| {
        (address(1, packet % count), world::PORT)
    });
}

/// One pipe.
fn accuracy(millis: u64) {
    let world = World::new(2);
    let line = pipes(&world, 1, millis);
    let (sender, receiver) = (world.socket(0), world.socket(1));
    measure(&line, millis, 1000, 10_000, &sender, receiver, |_| world.at(1));
}

/// Sends so many packets at this rate, and prints how far their one-way times are from the delay.
fn measure(
    line: &DelayLine,
    millis: u64,
    rate: u32,
    packets: u32,
    sender: &UdpSocket,
    receiver: UdpSocket,
    to: impl Fn(u32) -> (Ipv4Addr, u16),
) {
    let receiver = std::thread::spawn(move || {
        let one =
            || receive(&receiver).map(|(bytes, at)| at - u64::from_be_bytes(*bytes.first_chunk().unwrap()));
        (0..packets).map_while(|_| one().ok()).collect::<Vec<u64>>()
    });
    let begin = Instant::now();
    for packet in 0..packets {
        let mut payload = [0; 172];
        payload[..8].copy_from_slice(&now().to_be_bytes());
        sender.send_to(&payload, to(packet)).expect("sent");
        let next = begin + Duration::from_secs(1) * (packet + 1) / rate;
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
    let line = pipes(&world, count, 1);
    let _receivers: Vec<UdpSocket> = (0..count).map(|pair| world.socket(2 * pair + 1)).collect();
    let senders: Vec<UdpSocket> = (0..count).map(|pair| world.socket(2 * pair)).collect();
    let begin = Instant::now();
    for packet in 0..PACKETS as usize {
        let pair = packet % count;
        senders[pair].send_to(&[0; 172], world.at(2 * pair + 1)).expect("sent");
    }
    let counters = counters_when(&line, |counters| counters.in_flight == 0);
    let seconds = begin.elapsed().as_secs_f64();
    let each = processor_time() / counters.delivered.max(1) as u32;
    println!(
        "{:>10.0} packets/s, {} of the thread's time each, so {:.0} packets/s on one core: delivered {} of {PACKETS}, \
         missed {}, send errors {}",
        counters.delivered as f64 / seconds,
        micros(each),
        1.0 / each.as_secs_f64(),
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
    let line = tasks.into_iter().find(|task| read(task, "comm").trim() == THREAD).expect("the line runs");
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
