//! What links do to packets, whoever does it: the same pings cross whatever `SAMP_TEST_LINKS` names, `auto` by default.
//!
//! Numbers of packets are random but for their seed, and bounds are five standard deviations wide or more.

use samp_tests::lab::stdout;
use samp_tests::{Lab, topology};

/// One answer to a ping.
#[derive(Debug)]
struct Reply {
    number: u32,
    round_trip_ms: f64,
    is_duplicate: bool,
}

/// Two routers, 30 ms there, and nothing on the way back. Who pings is one hop away: a queue of one's own would push back.
fn lab() -> Lab {
    let backend = std::env::var("SAMP_TEST_LINKS").unwrap_or_else(|_| "auto".to_owned());
    let lab = Lab::up(topology("topologies/line.yaml"), &["--links", &backend]);
    lab.json(&["link", "ar1--s1", "--delay", "0"]);
    set(&lab, &["--delay", "0"]);
    set(&lab, &["--delay", "30ms", "--one-way"]);
    lab
}

/// Changes the link.
#[track_caller]
fn set(lab: &Lab, options: &[&str]) {
    lab.json(&[["link", "ar1--ar2"].as_slice(), options].concat());
}

/// So many pings, so many milliseconds apart; the answers in the order in which they came.
#[track_caller]
fn ping(lab: &Lab, count: usize, interval_ms: u32) -> Vec<Reply> {
    ping_with(lab, &format!("-c {count} -i {}", f64::from(interval_ms) / 1e3))
}

#[track_caller]
fn ping_with(lab: &Lab, options: &str) -> Vec<Reply> {
    let words = format!("ping -n -W 2 {options} 172.16.0.2");
    let out = lab.exec("s1", &words.split(' ').collect::<Vec<_>>());
    let value = |line: &str, name: &str| {
        let value = line.split(name).nth(1)?.split(' ').next()?;
        value.parse::<f64>().ok()
    };
    let replies = out.lines().filter_map(|line| {
        Some(Reply {
            number: value(line, "icmp_seq=")? as u32,
            round_trip_ms: value(line, "time=")?,
            is_duplicate: line.contains("DUP"),
        })
    });
    replies.collect()
}

#[track_caller]
fn assert_about(count: usize, least: usize, most: usize) {
    assert!((least..=most).contains(&count), "{count} is not between {least} and {most}");
}

/// How many replies came before one that had been asked for earlier.
fn overtakings(replies: &[Reply]) -> usize {
    replies.windows(2).filter(|pair| pair[0].number > pair[1].number).count()
}

fn faster_than(replies: &[Reply], milliseconds: f64) -> usize {
    replies.iter().filter(|reply| reply.round_trip_ms < milliseconds).count()
}

#[test]
fn delay_and_jitter() {
    let lab = lab();
    // The first waits for neighbours' addresses, too.
    let replies = &ping(&lab, 11, 20)[1..];
    assert_eq!((replies.len(), faster_than(replies, 30.0)), (10, 0));

    set(&lab, &["--jitter", "20ms", "--one-way"]);
    let replies = ping(&lab, 120, 50);
    assert_eq!((replies.len(), faster_than(&replies, 10.0)), (120, 0));
    assert_about(faster_than(&replies, 20.0), 7, 53);
    assert_about(faster_than(&replies, 40.0), 60, 114);

    set(&lab, &["--jitter", "10ms normal", "--one-way"]);
    let replies = ping(&lab, 120, 50);
    assert_about(faster_than(&replies, 20.0), 2, 40);
    assert_about(faster_than(&replies, 40.0), 60, 119);

    // Packets closer than their jitter wait for each other: without, every other one overtakes. The kernel itself puts a few
    // out of order, when the sender goes to another processor.
    set(&lab, &["--jitter", "20ms", "--one-way"]);
    let replies = ping(&lab, 200, 2);
    assert!(replies.len() == 200 && overtakings(&replies) < 10, "{replies:?}");
    lab.down();
}

#[test]
fn losses_alone_and_in_bursts() {
    let lab = lab();
    // How many were lost, and in how many bursts.
    let lost = |loss: &str| {
        set(&lab, &["--loss", loss, "--one-way"]);
        let replies = ping(&lab, 500, 2);
        let arrived = |number| replies.iter().any(|reply| reply.number == number);
        let numbers = 1..=500;
        let starts = numbers.clone().filter(|&n| !arrived(n) && (n == 1 || arrived(n - 1)));
        (numbers.clone().filter(|&n| !arrived(n)).count(), starts.count())
    };
    assert_eq!(lost("0%"), (0, 0));
    let (alone, starts) = lost("20%");
    assert_about(alone, 55, 145);
    assert!(starts * 2 > alone, "{alone} in {starts} bursts");
    // Two sevenths of the time in the bad state, ten packets long.
    let (burst, starts) = lost("gemodel 4% 10%");
    assert_about(burst, 15, 400);
    assert!(starts * 2 < burst, "{burst} in {starts} bursts");
    lab.down();
}

#[test]
fn duplicates_and_reordering() {
    let lab = lab();
    set(&lab, &["--duplicate", "30%", "--one-way"]);
    let duplicates = ping(&lab, 300, 2).iter().filter(|reply| reply.is_duplicate).count();
    assert_about(duplicates, 50, 130);

    set(&lab, &["--duplicate", "0%", "--reorder", "25%", "--one-way"]);
    let replies = ping(&lab, 300, 2);
    assert_about(faster_than(&replies, 30.0), 37, 115);
    assert!(replies.len() == 300 && overtakings(&replies) >= 10, "{replies:?}");
    lab.down();
}

#[test]
fn a_rate_spaces_packets_and_its_queue_is_bounded() {
    let lab = lab();
    // 1,250 bytes at 1 Mbit/s take 10 ms: of sixty at once ten find room.
    set(&lab, &["--rate", "1mbit", "--queue", "10", "--one-way"]);
    let replies = ping_with(&lab, "-c 60 -l 60 -i 0.002 -s 1208");
    assert_about(replies.len(), 8, 30);
    let slowest = replies.iter().map(|reply| reply.round_trip_ms).fold(0.0, f64::max);
    assert!(slowest > 90.0, "{slowest}");
    lab.down();
}

#[test]
fn a_change_loses_nothing_that_is_on_its_way() {
    let lab = lab();
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| ping(&lab, 300, 5));
        for delay in ["60ms", "20ms", "40ms", "10ms", "50ms"] {
            set(&lab, &["--delay", delay, "--one-way"]);
        }
        assert_eq!(pings.join().expect("pings").len(), 300);
    });
    let links = stdout(lab.run(&["link"]));
    assert!(links.contains("50000000"), "{links}");
    lab.down();
}

/// How far half of the pings of a lab at least are above the delays of their way, in milliseconds.
fn error_of(lab: &Lab, address: &str, configured_ms: f64) -> f64 {
    let words = format!("ping -n -c 200 -i 0.004 {address}");
    let out = lab.exec("s1", &words.split(' ').collect::<Vec<_>>());
    let times =
        out.lines().filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse::<f64>().ok());
    let mut errors: Vec<f64> = times.map(|time| time - configured_ms).collect();
    assert_eq!(errors.len(), 200, "{out}");
    errors.sort_by(f64::total_cmp);
    errors[100]
}

/// The delay line is as late as the machine is busy, but over eight links not eight times as late as over one.
#[test]
fn lateness_does_not_add_up_over_hops() {
    const HOPS: usize = 8;
    let mut text =
        "nodes:\n  s1: { kind: sip_server }\n  near: { kind: router }\n  far: { kind: router }\n".to_owned();
    let mut links = "links:\n  - { between: [s1, near], one_way_delay: 0 }
  - { between: [near, far], one_way_delay: 8ms }\n"
        .to_owned();
    for hop in 1..=HOPS {
        text += &format!("  hop{hop}: {{ kind: router }}\n");
        let before = if hop == 1 { "near".to_owned() } else { format!("hop{}", hop - 1) };
        links += &format!("  - {{ between: [{before}, hop{hop}], one_way_delay: 1ms }}\n");
    }
    let file = std::env::temp_dir().join(format!("samp-hops-{}.yaml", std::process::id()));
    std::fs::write(&file, text + &links).expect("the topology");
    let lab = Lab::up(&file, &["--links", "userspace"]);
    std::fs::remove_file(&file).expect("the file can be removed");
    let address = |node| lab.json(&["inspect", node])["address"].as_str().expect("an address").to_owned();
    let (far, last) = (address("far"), address("hop8"));
    // At the same time, so that the machine is as busy for the one as for the other.
    let [one, eight] = std::thread::scope(|scope| {
        let lab = &lab;
        let measure = |address: String| scope.spawn(move || error_of(lab, &address, 16.0));
        [far, last].map(measure).map(|pings| pings.join().expect("pings"))
    });
    assert!(eight < 4.0 * one + 1.0, "{eight} ms over {HOPS} links, {one} ms over one");
    lab.down();
}
