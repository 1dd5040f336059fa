//! Links do what the topology says: delay as ping sees it, and both UDP and TCP get through.

use samp_model::topology::{self, NodeKind};
use samp_tests::lab::beside_the_tests;
use samp_tests::{Lab, samp_lab, topology};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// The round-trip times that ping prints, in milliseconds.
fn round_trips(ping: &str) -> Vec<f64> {
    let words = ping.lines().filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok());
    words.collect()
}

#[test]
fn five_milliseconds_one_way_are_ten_for_ping() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    let address = lab.json(&["inspect", "ar2"])["address"].as_str().expect("an address").to_owned();
    let ping = lab.exec("ar1", &["ping", "-n", "-c", "41", "-i", "0.02", &address]);
    let mut times = round_trips(&ping);
    assert_eq!(times.len(), 41, "nothing is lost:\n{ping}");
    // The first packet may have to wait for ARP.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let median = (times[19] + times[20]) / 2.0;
    assert!((median - 10.0).abs() < 0.5, "the median is {median} ms:\n{ping}");
    lab.down();
}

#[test]
fn udp_and_tcp_cross_every_link() {
    for file in ["topologies/line.yaml", "topologies/grid-small.yaml"] {
        let path = topology(file);
        let parsed = topology::load(&path).expect("the shipped topologies are valid");
        let lab = Lab::up(&path, &[]);
        let echo = beside_the_tests("samp-echo");
        let echo = echo.to_str().expect("UTF-8");
        let mut pairs: Vec<_> = parsed.links.iter().map(|link| link.ends).collect();
        for mobile_node in parsed.mobile_nodes() {
            let NodeKind::MobileNode { start, .. } = parsed.node(mobile_node).kind else { continue };
            pairs.push([mobile_node, start]);
        }
        for [client, server] in pairs {
            let [client, server] = [client, server].map(|id| parsed.node(id));
            let address = format!("{}:7000", server.address().expect("routers and servers have one"));
            let mut serving = Command::new(samp_lab())
                .args(["--lab", lab.name(), "exec", &server.name, "--", echo, "serve", &address])
                .stdout(Stdio::piped())
                .spawn()
                .expect("exec starts");
            let mut ready = String::new();
            BufReader::new(serving.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
            assert_eq!(ready, "ready\n");
            lab.exec(&client.name, &[echo, "ask", &address]);
            assert!(serving.wait().expect("its status").success(), "{} – {}", client.name, server.name);
        }
        lab.down();
    }
}
