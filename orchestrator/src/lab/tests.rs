//! Plans applied to the kernel, in network namespaces of their own: these tests need root, and leave nothing.

use super::apply::{Network, Progress};
use super::attachment::{Air, AttachError, Ground, Handoff, Pending};
use super::multicast::Multicast;
use crate::plan::{Machine, Plan};
use samp_emulation::KernelSwitch;
use samp_model::Time;
use samp_model::control::Stage;
use samp_model::locator::Locator;
use samp_model::mobility::Agents;
use samp_model::record::HandoffNumber;
use samp_model::settings::{AttachMode, DISCOVERY_GROUP4, Dad, EmulationSettings, LinkBackend, Trigger};
use samp_model::topology::{self, NodeId, NodeKind, Topology};
use samp_model::ways::Ways;
use samp_node::RadioAddress;
use samp_sys::netlink::{Batch, CarrierWatch, Route};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const PORT: u16 = 7000;
/// How long a packet may take that should come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited for a packet that should not come; much longer than any path.
const SILENCE: Duration = Duration::from_millis(200);

/// What these tests run on: no netem, so that links are the delay line's.
const MACHINE: Machine = Machine {
    netem: false,
    bpf: true,
    cpu_quota: true,
    tunnels: false,
    ipv6: true,
    root: true,
    kernel: String::new(),
};

/// Two access routers 5 ms apart, each with a server; two mobile nodes at the first.
const TOPOLOGY: &str = "
nodes:
  ar1: { kind: access_router }
  ar2: { kind: access_router }
  s1: { kind: sip_server }
  s2: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
  mn2: { kind: mobile_node, start: ar1 }
links:
  - { between: [ar1, ar2], one_way_delay: 5ms, reverse: { one_way_delay: 8ms } }
  - { between: [ar1, s1], one_way_delay: 1ms }
  - { between: [ar2, s2], one_way_delay: 1ms }
";

fn proc() -> File {
    File::open("/proc").expect("/proc is mounted")
}

/// The implementations of the air that this machine has.
fn modes() -> Vec<AttachMode> {
    let mut modes = vec![AttachMode::Switch, AttachMode::Move];
    if KernelSwitch::is_available() {
        modes.push(AttachMode::Bpf);
    } else {
        eprintln!("this kernel has no tcx (Linux 6.6): `attach: bpf` is not tested here");
    }
    modes
}

/// In the kernel's switch a radio link takes no time.
fn radio_delay(attach: AttachMode) -> Duration {
    if attach == AttachMode::Bpf { Duration::ZERO } else { Duration::from_millis(2) }
}

/// A lab without agents: the test plays the mobile nodes.
struct Bench {
    topology: Topology,
    plan: Plan,
    network: Network,
    multicast: Multicast,
    missed: mpsc::Receiver<super::multicast::Missed>,
    air: Air,
    mobility: Agents,
}

impl Bench {
    fn new(attach: AttachMode) -> Self {
        Self::with_radio(attach, radio_delay(attach))
    }

    fn with_radio(attach: AttachMode, one_way_delay: Duration) -> Self {
        Self::with(attach, one_way_delay, |_| {})
    }

    fn with(attach: AttachMode, one_way_delay: Duration, set: impl FnOnce(&mut EmulationSettings)) -> Self {
        let mut topology = topology::parse("test.yaml", TOPOLOGY).expect("a valid topology");
        set(&mut topology.emulation);
        for node in &mut topology.nodes {
            if let NodeKind::MobileNode { radio, .. } = &mut node.kind {
                radio.up.one_way_delay = one_way_delay;
                radio.down.one_way_delay = one_way_delay;
            }
        }
        topology.emulation.links = LinkBackend::Userspace;
        topology.emulation.attach = attach;
        let plan = Plan::new(&topology, &MACHINE).unwrap();
        let mut network = Network::apply(&plan, proc(), &mut |_, _, _| Ok(())).expect("root may do this");
        let (sender, missed) = mpsc::channel(64);
        let multicast =
            Multicast::start(&plan, &network.namespaces, std::mem::take(&mut network.misses), &sender)
                .unwrap();
        let air = Air::new(&plan);
        let mobility = Agents::new(&topology);
        Self { topology, plan, network, multicast, missed, air, mobility }
    }

    fn node(&self, name: &str) -> NodeId {
        self.topology.find(name).unwrap()
    }

    fn address(&self, name: &str) -> IpAddr {
        self.topology.node(self.node(name)).address().unwrap()
    }

    fn air(&mut self) -> (&mut Air, Ground<'_>) {
        let ground = Ground {
            topology: &self.topology,
            plan: &self.plan,
            network: &self.network,
            multicast: &mut self.multicast,
            mobility: &self.mobility,
        };
        (&mut self.air, ground)
    }

    fn attach(&mut self, mobile_node: &str, access_router: &str) -> Result<Handoff, AttachError> {
        let (mobile_node, access_router) = (self.node(mobile_node), self.node(access_router));
        let (air, mut ground) = self.air();
        let handoff = air.attach(&mut ground, mobile_node, access_router)?;
        ground.clean_up(&handoff);
        Ok(handoff)
    }

    fn detach(
        &mut self,
        mobile_node: &str,
        access_router: &str,
        gap: Duration,
    ) -> Result<(HandoffNumber, Time, NodeId), AttachError> {
        let (mobile_node, access_router) = (self.node(mobile_node), self.node(access_router));
        let (air, mut ground) = self.air();
        air.detach(&mut ground, mobile_node, access_router, gap)
    }

    /// Attaches a mobile node and does its agent's part; then it has a socket at its care-of address.
    fn arrive(&mut self, mobile_node: &str, access_router: &str, left: Option<IpAddr>) -> UdpSocket {
        let link = self.attach(mobile_node, access_router).unwrap().link;
        let [own] = link.addresses[..] else { panic!("one address") };
        let node = self.node(mobile_node);
        let index = self.plan.namespaces[node.0].interfaces[0].index;
        let mut batch = Batch::default();
        if let Some(left) = left {
            batch.delete_address(index, left, 32);
        }
        batch.add_address(index, own.address, 32);
        batch.add_neighbour(index, own.gateway, link.gateway_mac);
        batch.replace_route(&Route {
            destination: (Ipv4Addr::UNSPECIFIED.into(), 0),
            via: Some(own.gateway),
            index,
            source: None,
            onlink: true,
            mtu: None,
        });
        self.network.configure(node.0, batch).unwrap();
        self.socket(mobile_node, own.address)
    }

    fn socket(&self, name: &str, address: IpAddr) -> UdpSocket {
        let open = || UdpSocket::bind((address, PORT)).unwrap();
        let socket = self.network.namespaces.open(self.node(name).0).unwrap().run(open).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// A server's socket in the discovery group.
    fn listener(&self, name: &str) -> UdpSocket {
        let listen = || {
            let socket = UdpSocket::bind((DISCOVERY_GROUP4, PORT)).unwrap();
            // On the interface of the default route, the only one besides `lo`.
            socket.join_multicast_v4(&DISCOVERY_GROUP4, &Ipv4Addr::UNSPECIFIED).map(|()| socket)
        };
        let socket = self.network.namespaces.open(self.node(name).0).unwrap().run(listen).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Answers so many of the kernels' questions, and makes sure that there are no more.
    async fn answer_misses(&mut self, expected: usize) {
        for number in 0..expected {
            let missed = tokio::time::timeout(PATIENCE, self.missed.recv()).await;
            let missed = missed.unwrap_or_else(|_| panic!("{number} questions of {expected}"));
            self.multicast.answer(&self.plan, missed.unwrap());
        }
        let more = tokio::time::timeout(SILENCE, self.missed.recv()).await;
        assert!(more.is_err(), "one question too many: {more:?}");
    }

    /// One packet each way: delays as configured, and a little more.
    fn check_path(&self, a: &UdpSocket, b: &UdpSocket) {
        for (from, to) in [(a, b), (b, a)] {
            let (source, destination) = (from.local_addr().unwrap(), to.local_addr().unwrap());
            let (locator, mut ways) = (Locator::new(&self.topology), Ways::new(&self.topology));
            let floor = ways.least_delay(&self.topology, &locator, source.ip(), destination.ip()).unwrap();
            let sent = Instant::now();
            from.send_to(b"packet", destination).unwrap();
            let (_, whence) = to.recv_from(&mut [0; 16]).expect("the packet arrives");
            let took = sent.elapsed();
            assert_eq!(whence, source);
            assert!(took >= floor, "{source} to {destination} took {took:?}, less than {floor:?}");
            assert!(took < floor + Duration::from_millis(500), "{source} to {destination} took {took:?}");
        }
    }
}

fn hears_nothing(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let error = socket.recv_from(&mut [0; 16]).expect_err("nothing should come");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn progress_is_told_step_by_step_and_can_stop_the_work() {
    let topology = topology::parse("test.yaml", TOPOLOGY).expect("a valid topology");
    let plan = Plan::new(&topology, &MACHINE).unwrap();
    let mut told = Vec::new();
    Network::apply(&plan, proc(), &mut |stage, done, total| {
        told.push((stage, done, total));
        Ok(())
    })
    .unwrap();
    assert_eq!(told.iter().map(|(stage, ..)| stage).collect::<std::collections::BTreeSet<_>>().len(), 3);
    for stage in [Stage::Namespaces, Stage::Links, Stage::Emulation] {
        let steps: Vec<_> = told.iter().filter(|(told, ..)| *told == stage).collect();
        assert!(
            steps
                .iter()
                .enumerate()
                .all(|(step, (_, done, total))| *done == step + 1 && *total == steps.len())
        );
    }

    let stop: &mut Progress<'_> =
        &mut |_, done, _| if done < 2 { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) };
    assert!(matches!(Network::apply(&plan, proc(), stop), Err(super::apply::ApplyError::Abandoned(_))));
}

#[tokio::test]
async fn a_mobile_node_is_reached_wherever_it_is_attached() {
    for mode in modes() {
        let mut bench = Bench::new(mode);
        let s1 = bench.socket("s1", bench.address("s1"));
        let s2 = bench.socket("s2", bench.address("s2"));
        bench.check_path(&s1, &s2);

        let mn2 = bench.arrive("mn2", "ar1", None);
        let mut left = None;
        for (number, access_router) in ["ar1", "ar2", "ar1", "ar2"].into_iter().enumerate() {
            let mn1 = bench.arrive("mn1", access_router, left);
            let here = mn1.local_addr().unwrap().ip();
            assert_eq!(here, bench.topology.care_of_address(bench.node("mn1"), bench.node(access_router)));
            for peer in [&s1, &s2, &mn2] {
                bench.check_path(&mn1, peer);
            }
            // Its old address leads nowhere, and least of all to where it is now.
            if let Some(left) = left {
                s1.send_to(b"late", SocketAddr::new(left, PORT)).unwrap();
                hears_nothing(&mn1);
            }
            left = Some(here);
            let again = bench.attach("mn1", access_router).unwrap_err();
            assert!(matches!(again, AttachError::AlreadyThere { .. }), "handoff {number}: {again}");
        }
    }
}

#[tokio::test]
async fn handoffs_are_numbered_and_dated() {
    for mode in modes() {
        let mut bench = Bench::new(mode);
        let first = bench.attach("mn1", "ar1").unwrap();
        assert_eq!((first.link.handoff, first.detached), (0, None));
        let second = bench.attach("mn1", "ar2").unwrap();
        let (detached, from) = second.detached.unwrap();
        assert_eq!((second.link.handoff, from), (1, bench.node("ar1")));
        assert!(first.attached < detached && detached < second.attached);
        assert_eq!(second.attached - detached, second.cost);
        assert_eq!(bench.air.attached_to(&bench.plan, bench.node("mn1")), Some(bench.node("ar2")));

        assert!(matches!(bench.attach("s1", "ar2"), Err(AttachError::NotMobile(name)) if name == "s1"));
        assert!(matches!(bench.attach("mn1", "mn2"), Err(AttachError::NoAccess(name)) if name == "mn2"));
        assert_eq!(bench.attach("mn1", "ar1").unwrap().link.handoff, 2);
    }
}

#[tokio::test]
async fn in_a_gap_a_mobile_node_is_attached_nowhere() {
    for mode in modes() {
        let mut bench = Bench::new(mode);
        let [ar1, ar2, node] = ["ar1", "ar2", "mn1"].map(|name| bench.node(name));
        let s1 = bench.socket("s1", bench.address("s1"));
        let mn1 = bench.arrive("mn1", "ar1", None);
        let left = mn1.local_addr().unwrap();
        bench.check_path(&mn1, &s1);

        let gap = Duration::from_millis(50);
        let (number, detached, from) = bench.detach("mn1", "ar2", gap).unwrap();
        assert_eq!((number, from), (1, ar1));
        assert_eq!(bench.air.attached_to(&bench.plan, node), None);
        s1.send_to(b"down", left).unwrap();
        mn1.send_to(b"up", s1.local_addr().unwrap()).unwrap();
        hears_nothing(&mn1);
        hears_nothing(&s1);
        for access_router in ["ar1", "ar2"] {
            assert!(matches!(bench.attach("mn1", access_router), Err(AttachError::Between(_))));
            assert!(matches!(bench.detach("mn1", access_router, gap), Err(AttachError::Between(_))));
        }

        let due = bench.air.next_due().unwrap();
        assert_eq!(due, detached + gap);
        assert_eq!(bench.air.due(Time::from_nanos(due.as_nanos() - 1)), None);
        assert_eq!(bench.air.due(due), Some((node, Pending::Arrive { to: ar2 })));
        assert_eq!((bench.air.due(due), bench.air.next_due()), (None, None));
        let mn1 = bench.arrive("mn1", "ar2", Some(left.ip()));
        bench.check_path(&mn1, &s1);
        assert_eq!(bench.attach("mn1", "ar1").unwrap().link.handoff, 2);
        assert!(matches!(bench.detach("mn1", "ar1", gap), Err(AttachError::AlreadyThere { .. })));
    }
}

#[tokio::test]
async fn make_before_break_keeps_both_attachments() {
    let hold = Duration::from_secs(60);
    let two_radios = |emulation: &mut EmulationSettings| emulation.make_before_break = hold;
    for mode in modes().into_iter().filter(|mode| *mode != AttachMode::Move) {
        keep_both_attachments(Bench::with(mode, radio_delay(mode), two_radios), hold);
    }
}

fn keep_both_attachments(mut bench: Bench, hold: Duration) {
    let node = bench.node("mn1");
    let s1 = bench.socket("s1", bench.address("s1"));
    let netlink = || bench.network.open_netlink(node.0).unwrap();
    let [first, second] = [0, 1].map(|radio| bench.plan.namespaces[node.0].interfaces[radio].index);
    let mut radios =
        [RadioAddress::beside(netlink(), first, 100), RadioAddress::beside(netlink(), second, 101)];
    let link = bench.attach("mn1", "ar1").unwrap().link;
    assert_eq!(link.radio, 0);
    radios[0].configure(&link, Dad::Off).unwrap();
    let mut old = bench.socket("mn1", link.addresses[0].address);
    bench.check_path(&old, &s1);
    for (number, access_router) in (1..).zip(["ar2", "ar1", "ar2"]) {
        let handoff = bench.attach("mn1", access_router).unwrap();
        let radio = handoff.link.radio;
        assert_eq!((handoff.link.handoff, handoff.detached, radio), (number, None, number as usize % 2));
        radios[radio].configure(&handoff.link, Dad::Off).unwrap();
        radios[1 - radio].yield_default();
        let new = bench.socket("mn1", handoff.link.addresses[0].address);
        // Each has the delay of its own access router, there and back.
        bench.check_path(&new, &s1);
        bench.check_path(&old, &s1);
        assert!(matches!(bench.attach("mn1", "ar1"), Err(AttachError::Between(_))));

        let due = bench.air.next_due().unwrap();
        assert_eq!(due, handoff.attached + hold);
        assert_eq!(bench.air.due(due), Some((node, Pending::Release)));
        let (air, mut ground) = bench.air();
        let release = air.release(&ground, node).unwrap().unwrap();
        ground.leave(&release.old);
        assert_eq!((release.handoff, release.radio, release.frames_dropped), (number, 1 - radio, 0));
        radios[1 - radio].clear().unwrap();
        s1.send_to(b"late", old.local_addr().unwrap()).unwrap();
        hears_nothing(&old);
        bench.check_path(&new, &s1);
        old = new;
    }
}

/// What is heard of the carrier until it is as it should be: how often it has come.
fn carrier(watch: &mut CarrierWatch, is_up: bool) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match watch.next_change() {
            Ok(change) if change.is_up == is_up => return change.ups,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(Instant::now() < deadline, "nothing is heard of the carrier");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_carrier_goes_and_comes_with_the_attachment() {
    for mode in modes() {
        let by_carrier = |emulation: &mut EmulationSettings| emulation.trigger = Trigger::Carrier;
        let mut bench = Bench::with(mode, radio_delay(mode), by_carrier);
        let s1 = bench.socket("s1", bench.address("s1"));
        let node = bench.network.namespaces.open(bench.node("mn1").0).unwrap();
        let mut watch = node.run(CarrierWatch::open).unwrap().unwrap();
        let mn1 = bench.arrive("mn1", "ar1", None);
        let left = mn1.local_addr().unwrap().ip();
        let ups = carrier(&mut watch, true);
        bench.check_path(&mn1, &s1);
        drop(mn1);

        bench.detach("mn1", "ar2", Duration::from_secs(1)).unwrap();
        assert_eq!(carrier(&mut watch, false), ups);
        let due = bench.air.next_due().unwrap();
        bench.air.due(due).unwrap();
        let mn1 = bench.arrive("mn1", "ar2", Some(left));
        assert_eq!(carrier(&mut watch, true), ups + 1);
        bench.check_path(&mn1, &s1);

        // Without a gap it may be away for so short that only the count tells.
        let left = mn1.local_addr().unwrap().ip();
        let mn1 = bench.arrive("mn1", "ar1", Some(left));
        assert_eq!(carrier(&mut watch, true), ups + 2);
        bench.check_path(&mn1, &s1);
    }
}

#[tokio::test]
async fn frames_on_the_air_are_dropped_and_counted() {
    // In the kernel's switch nothing is ever on the air.
    for mode in [AttachMode::Switch, AttachMode::Move] {
        // Long enough for the handoff to overtake the packet.
        let mut bench = Bench::with_radio(mode, Duration::from_millis(300));
        let s1 = bench.socket("s1", bench.address("s1"));
        let mn1 = bench.arrive("mn1", "ar1", None);
        bench.check_path(&mn1, &s1);
        mn1.send_to(b"lost", s1.local_addr().unwrap()).unwrap();
        while bench.network.line.as_ref().unwrap().counters().in_flight == 0 {
            std::thread::yield_now();
        }
        let handoff = bench.attach("mn1", "ar2").unwrap();
        assert_eq!(handoff.frames_dropped, 1);
        s1.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        assert!(s1.recv_from(&mut [0; 16]).is_err(), "the packet was dropped");
    }
}

#[tokio::test]
async fn the_discovery_group_reaches_every_server_once() {
    for mode in modes() {
        let mut bench = Bench::new(mode);
        let servers = ["s1", "s2"].map(|name| bench.listener(name));
        let mut left = None;
        for access_router in ["ar1", "ar2", "ar1"] {
            let mn1 = bench.arrive("mn1", access_router, left);
            let here = mn1.local_addr().unwrap();
            left = Some(here.ip());
            mn1.set_multicast_ttl_v4(8).unwrap();
            // Every new source is asked for once; then the routers know it.
            for questions in [1, 0] {
                mn1.send_to(b"anybody", (DISCOVERY_GROUP4, PORT)).unwrap();
                bench.answer_misses(questions).await;
                for server in &servers {
                    let (_, whence) = server.recv_from(&mut [0; 16]).expect("every server hears it");
                    assert_eq!(whence, here);
                    hears_nothing(server);
                }
            }
        }
    }
}

#[tokio::test]
async fn only_attached_sources_and_the_discovery_group_are_forwarded() {
    let mut bench = Bench::new(AttachMode::Switch);
    let server = bench.listener("s1");
    let mn1 = bench.arrive("mn1", "ar1", None);
    mn1.send_to(b"elsewhere", (Ipv4Addr::new(224, 0, 1, 76), PORT)).unwrap();
    bench.answer_misses(1).await;
    hears_nothing(&server);

    // The interface goes on with its old address behind the new access router.
    bench.attach("mn1", "ar2").unwrap();
    mn1.send_to(b"stale", (DISCOVERY_GROUP4, PORT)).unwrap();
    bench.answer_misses(1).await;
    hears_nothing(&server);
}
