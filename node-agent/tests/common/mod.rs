//! A small world for agents: a server and two mobile nodes around one router, and a supervisor's end for each.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use samp_model::agent::{AgentConfig, FromAgent, LinkAddress, LinkUp, Mobility, Role, ToAgent};
use samp_model::settings::{AddressSettings, Family, MediaSettings, SampSettings, Trigger};
use samp_model::{Event, Record};
use samp_sys::ancillary::send_fds;
use samp_sys::multicast::{MulticastRouter, Version};
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{Batch, Netlink, Route, VethEnd};
use samp_sys::sysctl;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::{self, JoinHandle};

/// The server's address, on its `lo`.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The router's address, on its `lo`.
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// The group of all SIP servers.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 75);

const TO_SERVER: u32 = 2;
const LO: u32 = 1;

/// Address of mobile node `mobile` (0 or 1) when it is on its subnet number `place` (0 or 1).
pub(crate) fn care_of(mobile: usize, place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1 + mobile as u8, place as u8, 2)
}

fn gateway(mobile: usize, place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1 + mobile as u8, place as u8, 1)
}

fn mac(index: u32) -> [u8; 6] {
    [2, 0, 0, 0, 0, index as u8]
}

/// The namespaces. The router has two subnets on each mobile node's link, so that a node can move.
pub(crate) struct World {
    pub(crate) server: Namespace,
    pub(crate) mobiles: [Namespace; 2],
    _multicast: MulticastRouter,
}

impl World {
    pub(crate) fn new() -> Self {
        let router = Namespace::create().expect("a namespace (this test needs root)");
        let server = Namespace::create().expect("a namespace");
        let mobiles = [0, 1].map(|_| Namespace::create().expect("a namespace"));
        for namespace in [&router, &server, &mobiles[0], &mobiles[1]] {
            namespace.run(configure_kernel).expect("enter a namespace");
        }

        let mut batch = Batch::default();
        batch.set_up(LO);
        batch.add_address(LO, ROUTER.into(), 32);
        add_link(&mut batch, TO_SERVER, "server", &server, "eth0");
        batch.add_route(&route(SERVER, 32, None, TO_SERVER));
        for (mobile, namespace) in mobiles.iter().enumerate() {
            let index = access(mobile);
            add_link(&mut batch, index, &format!("access{mobile}"), namespace, "radio0");
            for place in 0..2 {
                batch.add_address(index, gateway(mobile, place).into(), 24);
            }
        }
        Netlink::open_in(&router).expect("netlink").apply(batch).expect("the router");

        let mut batch = Batch::default();
        batch.set_up(LO);
        batch.set_up(2);
        batch.add_address(LO, SERVER.into(), 32);
        batch.add_route(&Route { onlink: true, ..route(Ipv4Addr::UNSPECIFIED, 0, Some(ROUTER), 2) });
        Netlink::open_in(&server).expect("netlink").apply(batch).expect("the server");

        for namespace in &mobiles {
            let mut batch = Batch::default();
            batch.set_up(LO);
            batch.set_up(2);
            Netlink::open_in(namespace).expect("netlink").apply(batch).expect("a mobile node");
        }

        // The kernel handles the carrier's coming up in the background, and drops packets until then; a look at an
        // interface makes it catch up. The agents look at their own.
        let mut netlink = Netlink::open_in(&router).expect("netlink");
        for interface in ["server", "access0", "access1"] {
            netlink.link_index(interface).expect("an answer").expect("an interface");
        }

        let multicast = MulticastRouter::open_in(&router, Version::Ipv4).expect("multicast routing");
        multicast.add_interface(0, TO_SERVER).expect("the server's interface");
        for mobile in 0..2 {
            let vif = 1 + mobile as u16;
            multicast.add_interface(vif, access(mobile)).expect("an access interface");
            for place in 0..2 {
                let source = care_of(mobile, place).into();
                multicast.add_entry(source, GROUP.into(), vif, &[0]).expect("an entry");
            }
        }
        Self { server, mobiles, _multicast: multicast }
    }
}

fn access(mobile: usize) -> u32 {
    TO_SERVER + 1 + mobile as u32
}

fn configure_kernel() {
    for (path, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv6/conf/default/disable_ipv6", "1"),
    ] {
        sysctl::write(path, value).expect(path);
    }
}

fn add_link(batch: &mut Batch, index: u32, name: &str, peer: &Namespace, peer_name: &str) {
    let near = VethEnd { name, index: Some(index), mac: Some(mac(index)), namespace: None };
    let far =
        VethEnd { name: peer_name, index: Some(2), mac: Some(mac(0x10 + index)), namespace: Some(peer) };
    batch.add_veth(near, far);
    batch.set_up(index);
}

fn route(destination: Ipv4Addr, prefix_len: u8, via: Option<Ipv4Addr>, index: u32) -> Route {
    let via = via.map(IpAddr::from);
    Route {
        destination: (destination.into(), prefix_len),
        via,
        index,
        source: None,
        onlink: false,
        mtu: None,
    }
}

/// What an agent is told first.
pub(crate) fn mobile_config(mobile: usize) -> AgentConfig {
    AgentConfig {
        name: format!("mn{mobile}"),
        seed: 7 + mobile as u64,
        samp: SampSettings::default(),
        secret: None,
        role: Role::MobileNode {
            address_of_record: format!("sip:mn{mobile}@samp.test"),
            interface: "radio0".into(),
            second_interface: None,
            family: Family::Ipv4,
            media: MediaSettings::default(),
            mac: [2, 0, 0, 0, 0, 1],
            identifier: 2,
            addressing: AddressSettings::default(),
            trigger: Trigger::Link,
            mobility: Mobility::Samp,
        },
    }
}

/// What the server's agent is told first.
pub(crate) fn server_config() -> AgentConfig {
    AgentConfig {
        name: "s1".into(),
        seed: 1,
        samp: SampSettings::default(),
        secret: None,
        role: Role::SipServer { address: (SERVER, 5060).into(), join: None, interface: "eth0".into() },
    }
}

/// Mobile node `mobile` is on its subnet number `place` now.
pub(crate) fn link_up(handoff: u32, mobile: usize, place: usize) -> ToAgent {
    ToAgent::LinkUp(LinkUp {
        handoff,
        radio: 0,
        addresses: vec![LinkAddress {
            address: care_of(mobile, place).into(),
            gateway: gateway(mobile, place).into(),
        }],
        gateway_mac: mac(access(mobile)),
        map: None,
    })
}

fn socket_pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a socket pair")
}

/// A hiring socket that brings one node.
pub(crate) fn hiring(control: OwnedFd, namespace: &Namespace) -> OwnedFd {
    let (supervisor, process) = socket_pair();
    send_fds(&supervisor, &[0], &[control.as_fd(), namespace.as_fd()]).expect("hired");
    process
}

/// An agent on a thread of its own, seen from its supervisor.
pub(crate) struct Agent {
    control: OwnedFd,
    thread: JoinHandle<anyhow::Result<()>>,
    /// The rest of the last packet, the next message last.
    heard: Vec<FromAgent>,
    /// Received and not yet asked for, oldest first.
    records: Vec<Record>,
}

impl Agent {
    /// Starts `agent` in the namespace and waits until it is ready.
    pub(crate) fn start(
        namespace: &Namespace,
        config: &AgentConfig,
        agent: impl FnOnce(OwnedFd) -> anyhow::Result<()> + Send + 'static,
    ) -> Self {
        let (control, remote) = socket_pair();
        setsockopt(&control, sockopt::ReceiveTimeout, &TimeVal::new(20, 0)).expect("a time limit");
        let hired = hiring(remote, namespace);
        let thread = thread::spawn(move || agent(hired));
        let mut agent = Self { control, thread, heard: Vec::new(), records: Vec::new() };
        agent.send_json(config);
        assert_eq!(agent.receive("ready"), FromAgent::Ready);
        agent
    }

    /// Sends a packet.
    pub(crate) fn send(&self, packet: &ToAgent) {
        self.send_json(packet);
    }

    /// Waits for a record that `wanted` takes; the others are kept for later.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(&Record) -> Option<T>) -> T {
        let mut looked_at = 0;
        loop {
            while let Some(record) = self.records.get(looked_at) {
                if let Some(found) = wanted(record) {
                    self.records.remove(looked_at);
                    return found;
                }
                looked_at += 1;
            }
            let FromAgent::Record(record) = self.receive(what) else { panic!("ready twice") };
            self.records.push(record);
        }
    }

    /// As [`wait_for`](Self::wait_for), for an event that is known in full.
    pub(crate) fn wait_for_event(&mut self, event: &Event) -> Record {
        self.wait_for(&format!("{event:?}"), |record| (record.event == *event).then(|| record.clone()))
    }

    /// Hangs up; the agent must end well.
    pub(crate) fn stop(self) {
        drop(self.control);
        self.thread.join().expect("no panic").expect("success");
    }

    fn send_json(&self, packet: &impl serde::Serialize) {
        let bytes = serde_json::to_vec(packet).expect("JSON");
        send(self.control.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).expect("send to the agent");
    }

    fn receive(&mut self, what: &str) -> FromAgent {
        if let Some(message) = self.heard.pop() {
            return message;
        }
        let mut buffer = vec![0; 64 * 1024];
        match recv(self.control.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => panic!("the agent has ended; expected {what}; there are {:#?}", self.records),
            Ok(length) => {
                let messages = serde_json::Deserializer::from_slice(&buffer[..length]).into_iter();
                self.heard = messages.collect::<Result<_, _>>().expect("JSON of the agent");
                self.heard.reverse();
                self.receive(what)
            }
            Err(errno) => panic!("{errno}; expected {what}; there are {:#?}", self.records),
        }
    }
}
