//! The air: radios, access routers and the attachment table.

use crate::world::*;
use samp_emulation::{AccessSpec, DelayLine, LineSpec, RadioSpec, StartError};
use samp_model::Time;
use samp_model::topology::{LinkQuality, Loss};
use samp_sys::clock::monotonic_nanos;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 75);
const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 255);

/// Two access routers (nodes 0 and 1) and three mobile nodes (nodes 2 to 4), all detached.
struct Air {
    line: DelayLine,
    routers: [UdpSocket; 2],
    mobiles: [UdpSocket; 3],
    /// Last, so that the next test's world begins when this line has ended.
    world: World,
}

impl Air {
    fn new(quality: LinkQuality) -> Air {
        let world = World::new(5);
        let spec = LineSpec {
            access: [0, 1].map(|n| AccessSpec { index: world.end(n) }).to_vec(),
            radios: world.nodes[2..]
                .iter()
                .map(|node| RadioSpec { index: node.end, mac: node.mac, up: quality, down: quality })
                .collect(),
            ..LineSpec::default()
        };
        let line = DelayLine::start(&world.wire, spec).unwrap();
        let routers = [0, 1].map(|n| world.socket(n));
        let mobiles = [2, 3, 4].map(|n| world.socket(n));
        Air { line, routers, mobiles, world }
    }

    fn up(&self, mobile: usize, router: usize, text: &str) {
        self.mobiles[mobile].send_to(text.as_bytes(), self.world.at(router)).unwrap();
    }

    fn down(&self, router: usize, mobile: usize, text: &str) {
        self.routers[router].send_to(text.as_bytes(), self.world.at(2 + mobile)).unwrap();
    }

    fn assert_down(&self, router: usize, mobile: usize, text: &str) {
        self.down(router, mobile, text);
        assert_eq!(text_at(&self.mobiles[mobile]), text);
    }

    fn assert_up(&self, mobile: usize, router: usize, text: &str) {
        self.up(mobile, router, text);
        assert_eq!(text_at(&self.routers[router]), text);
    }

    fn all(&self) -> Vec<&UdpSocket> {
        self.routers.iter().chain(&self.mobiles).collect()
    }
}

fn text_at(socket: &UdpSocket) -> String {
    String::from_utf8(receive(socket).unwrap().0).unwrap()
}

#[test]
fn unicast_goes_up_and_down() {
    let air = Air::new(delay(1));
    air.line.attach(0, Some(0));
    air.line.attach(1, Some(0));
    air.line.attach(2, Some(1));
    for (radio, router) in [(0, 0), (1, 0), (2, 1)] {
        air.assert_up(radio, router, "up");
        air.assert_down(router, radio, "down");
    }
    assert_silent(&air.all(), SILENCE);
    assert_eq!(assert_complete(&air.line).delivered, 6);
}

#[test]
fn a_radio_is_reached_only_where_it_is_attached() {
    let air = Air::new(delay(1));
    air.line.attach(0, Some(0));
    air.down(1, 0, "from the wrong router");
    air.down(0, 1, "to a detached radio");
    air.up(1, 0, "from a detached radio");
    let counters = counters_when(&air.line, |counters| counters.frames_in == 3);
    assert_eq!(counters.dropped_unattached, 3);
    // To a router that cannot hear it: the frame comes out at the router that can, which is not addressed.
    air.up(0, 1, "to the wrong router");
    counters_when(&air.line, |counters| counters.delivered == 1);
    assert_silent(&air.all(), SILENCE);
    assert_complete(&air.line);
}

#[test]
fn broadcast_and_multicast_reach_every_radio_there() {
    let air = Air::new(delay(1));
    for (radio, router) in [(0, 0), (1, 1), (2, 1)] {
        air.line.attach(radio, Some(router));
        let own = air.world.at(2 + radio).0;
        air.mobiles[radio].join_multicast_v4(&GROUP, &own).unwrap();
    }
    for to in [BROADCAST, GROUP] {
        air.routers[1].send_to(b"all", (to, PORT)).unwrap();
        assert_eq!(text_at(&air.mobiles[1]), "all");
        assert_eq!(text_at(&air.mobiles[2]), "all");
    }
    assert_silent(&[&air.routers[0], &air.mobiles[0], &air.mobiles[1], &air.mobiles[2]], SILENCE);
    air.routers[0].join_multicast_v4(&GROUP, &air.world.at(0).0).unwrap();
    air.mobiles[0].send_to(b"discovery", (GROUP, PORT)).unwrap();
    assert_eq!(text_at(&air.routers[0]), "discovery");
    assert_silent(&[&air.mobiles[1], &air.mobiles[2]], SILENCE);
    assert_complete(&air.line);
}

#[test]
fn an_attachment_moves_the_flow_at_once() {
    let air = Air::new(delay(1));
    let begin = Time::from_nanos(monotonic_nanos());
    for round in 0..20 {
        let router = round % 2;
        let attachment = air.line.attach(0, Some(router));
        assert!(attachment.at >= begin && attachment.at <= Time::from_nanos(monotonic_nanos()));
        assert_eq!(attachment.frames_dropped, 0);
        air.assert_up(0, router, "up");
        air.assert_down(router, 0, "down");
    }
    assert_silent(&air.all(), SILENCE);
    assert_eq!(assert_complete(&air.line).delivered, 40);
}

#[test]
fn frames_on_the_air_are_dropped_and_counted() {
    let air = Air::new(delay(200));
    air.line.attach(0, Some(0));
    air.line.attach(1, Some(0));
    (0..5).for_each(|_| air.up(0, 0, "up"));
    (0..7).for_each(|_| air.down(0, 0, "down"));
    air.up(1, 0, "of another radio");
    counters_when(&air.line, |counters| counters.in_flight == 13);
    let attachment = air.line.attach(0, Some(1));
    assert_eq!(attachment.frames_dropped, 12);
    assert_eq!(text_at(&air.routers[0]), "of another radio");
    assert_silent(&air.all(), Duration::from_millis(300));
    air.assert_up(0, 1, "new");
    air.assert_down(1, 0, "new");
    let counters = assert_complete(&air.line);
    assert_eq!((counters.dropped_on_air, counters.delivered), (12, 3));
}

#[test]
fn frames_that_were_due_arrive_in_spite_of_the_detachment() {
    let air = Air::new(delay(0));
    for _ in 0..100 {
        air.line.attach(0, Some(0));
        air.down(0, 0, "just in time");
        air.line.detach(0);
        assert_eq!(text_at(&air.mobiles[0]), "just in time");
    }
    assert_eq!(assert_complete(&air.line).dropped_on_air, 0);
}

#[test]
fn a_detached_radio_hears_nothing() {
    let air = Air::new(delay(50));
    air.line.attach(0, Some(0));
    air.down(0, 0, "on the air");
    counters_when(&air.line, |counters| counters.in_flight == 1);
    assert_eq!(air.line.detach(0).frames_dropped, 1);
    assert_eq!(air.line.detach(0).frames_dropped, 0);
    air.down(0, 0, "to nobody");
    air.routers[0].send_to(b"to all", (BROADCAST, PORT)).unwrap();
    air.up(0, 0, "to nobody");
    assert_silent(&[&air.mobiles[0], &air.mobiles[1], &air.mobiles[2], &air.routers[1]], SILENCE);
    let counters = assert_complete(&air.line);
    assert_eq!((counters.delivered, counters.dropped_unattached), (0, 3));
}

#[test]
fn attaching_where_it_is_drops_nothing() {
    let air = Air::new(delay(50));
    air.line.attach(0, Some(0));
    air.up(0, 0, "on the air");
    counters_when(&air.line, |counters| counters.in_flight == 1);
    assert_eq!(air.line.attach(0, Some(0)).frames_dropped, 0);
    assert_eq!(text_at(&air.routers[0]), "on the air");
}

#[test]
fn dropping_the_line_ends_its_thread() {
    fn lines() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread may have ended meanwhile.
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        };
        tasks.map(name).filter(|name| name.trim() == "delay-line").count()
    }
    // The kernel lists a thread for a moment after it was joined.
    fn assert_lines(expected: usize) {
        let end = Instant::now() + PATIENCE;
        while lines() != expected {
            assert!(Instant::now() < end, "{} lines instead of {expected}", lines());
            std::thread::yield_now();
        }
    }
    let air = Air::new(delay(1));
    assert_lines(1);
    air.line.attach(0, Some(0));
    air.up(0, 0, "on the air");
    let Air { line, world: _world, .. } = air;
    drop(line);
    assert_lines(0);
}

#[test]
fn two_radios_cannot_have_one_address() {
    let world = World::new(2);
    let radio = |index| RadioSpec { index, mac: [2; 6], up: delay(0), down: delay(0) };
    let spec = LineSpec { radios: vec![radio(5), radio(6)], ..LineSpec::default() };
    let error = DelayLine::start(&world.wire, spec).unwrap_err();
    assert!(matches!(error, StartError::DuplicateAddress { first: 0, second: 1 }));
}

#[test]
fn the_link_of_a_radio_changes_while_it_is_used() {
    let air = Air::new(delay(1));
    air.line.attach(1, Some(0));
    let silent = LinkQuality { loss: Loss::Random(1.0), ..delay(1) };
    air.line.set_radio_quality(1, [silent, delay(1)]);
    air.up(1, 0, "lost");
    air.assert_down(0, 1, "down");
    assert_eq!(counters_when(&air.line, |counters| counters.lost > 0).lost, 1);
    air.line.set_radio_quality(1, [delay(1); 2]);
    air.assert_up(1, 0, "up");
    assert_complete(&air.line);
}
