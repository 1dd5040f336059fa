//! A SIP server in a lab under a flood: the few that flood it are cut, all others are served.

use samp_tests::lab::{beside_the_tests, samp_lab};
use samp_tests::{Lab, topology};
use std::io::Read;
use std::process::{Child, Command, Stdio};

/// For how long the flood lasts, in seconds.
const SECONDS: &str = "8";
/// Registrations per second of each of the others.
const RATE: &str = "5";

/// Starts the flooder inside a node.
fn start(lab: &Lab, node: &str, args: &[&str]) -> Child {
    Command::new(samp_lab())
        .args(["--lab", lab.name(), "exec", node, "--"])
        .arg(beside_the_tests("samp-flood"))
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("samp-lab can be started")
}

/// The numbers that it prints in the end.
fn end(mut child: Child) -> Vec<f64> {
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("UTF-8");
    assert!(child.wait().expect("a child").success());
    text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}

/// How often a flood is tried that this machine is too slow for.
const ATTEMPTS: usize = 5;

/// What a server went through.
#[derive(Debug)]
struct Flood {
    /// Registrations per second that it can do.
    capacity: f64,
    /// Requests per second of the flood.
    flood: f64,
    /// Registrations of the others, and how many of them succeeded.
    others: (f64, f64),
}

/// In a lab of its own, as there may be a million records, which survives it.
fn flood() -> Flood {
    let lab = &Lab::up(topology("topologies/grid-small.yaml"), &[]);
    let address = lab.json(&["inspect", "s1"])["address"].as_str().expect("an address").to_owned();
    let server = &format!("{address}:5060");
    let capacity = end(start(lab, "s1", &["capacity", server, "3"]))[0];
    assert!(capacity > 0.0);
    let rate = (12.0 * capacity).ceil().to_string();
    let flood = start(lab, "s1", &["flood", server, SECONDS, &rate]);
    let routers = (0..16).map(|number| format!("ar-{}-{}", number % 4, number / 4));
    let user = |node: &str| node.replace('-', "");
    let others: Vec<_> = routers
        .chain((1..=8).map(|number| format!("mn{number}")))
        .map(|node| start(lab, &node, &["register", server, "6", RATE, &user(&node)]))
        .collect();
    let others: Vec<_> = others.into_iter().map(end).collect();
    let others = others.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one[0], sum.1 + one[1]));
    let flood = Flood { capacity, flood: end(flood)[0], others };
    eprintln!("{flood:.0?}");
    lab.json(&["call", "mn1", "mn2"]);
    flood
}

#[test]
fn a_flood_of_ten_times_the_capacity_leaves_the_others_registered() {
    // The flooder competes for the processors with what it floods: then it is not the flood that is wanted.
    let mut floods = (0..ATTEMPTS).map(|_| flood());
    let flood = floods.find(|it| it.flood >= 10.0 * it.capacity).expect("a flood of ten times the capacity");
    let (total, succeeded) = flood.others;
    assert!(succeeded >= 0.99 * total, "{succeeded} of {total} registrations succeeded");
}
