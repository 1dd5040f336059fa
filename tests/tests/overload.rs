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

#[test]
fn a_flood_of_ten_times_the_capacity_leaves_the_others_registered() {
    // Four copies of each registration: the more a server has to do, the easier it is to flood.
    let file = std::env::temp_dir().join(format!("samp-flood-{}.yaml", std::process::id()));
    let grid = std::fs::read_to_string(topology("topologies/grid-small.yaml")).expect("the grid");
    std::fs::write(&file, format!("{grid}\nsamp: {{ replicas: 4 }}\n")).expect("a file");
    let lab = Lab::up(&file, &[]);
    let address = lab.json(&["inspect", "s1"])["address"].as_str().expect("an address").to_owned();
    let server = format!("{address}:5060");
    let capacity = end(start(&lab, "s1", &["capacity", &server, "3"]))[0];
    assert!(capacity > 0.0);
    let rate = (12.0 * capacity).ceil().to_string();
    let flood = start(&lab, "s1", &["flood", &server, SECONDS, &rate]);
    let routers = (0..16).map(|number| format!("ar-{}-{}", number % 4, number / 4));
    let others: Vec<_> = routers
        .chain((1..=8).map(|number| format!("mn{number}")))
        .map(|node| start(&lab, &node, &["register", &server, "6", RATE, &node.replace('-', "")]))
        .collect();
    let others: Vec<_> = others.into_iter().map(end).collect();
    let flooded = end(flood)[0];
    let (total, succeeded) =
        others.iter().fold((0.0, 0.0), |(total, succeeded), one| (total + one[0], succeeded + one[1]));
    eprintln!("capacity {capacity:.0}/s, flood {flooded:.0}/s, others {succeeded} of {total}");
    assert!(flooded >= 10.0 * capacity, "the flood was only {:.1} × the capacity", flooded / capacity);
    assert!(succeeded >= 0.99 * total, "{succeeded} of {total} registrations succeeded");
    // The lab has survived it.
    lab.json(&["call", "mn1", "mn2"]);
    lab.down();
    std::fs::remove_file(file).expect("removed");
}
