//! The paper's table 1 as cost formulas: what each system's messages travel, in hops, one way.
//!
//! Numbers in brackets are the paper's references. Its yes or no leaves the systems' messages open, so each formula is a
//! model of the system's own publication, on the same elements for all: one home agent, and a server in each domain,
//! which is MAP, anchor, trigger server, proxy or gateway foreign agent. Where a system has another overlay than Chord,
//! the ways are those of this project's Chord all the same; what is compared is where messages go, not whose routing
//! tables are better. Nobody keeps replicas, and nobody caches.

use super::super::world::World;
use crate::city::Position;

/// A mobile node has moved to another access router.
pub(super) struct Move<'a> {
    pub(super) world: &'a World,
    pub(super) node: usize,
    pub(super) from: Position,
    pub(super) to: Position,
    /// Where the one correspondent node is that it has a session with.
    pub(super) peer: Position,
}

impl Move<'_> {
    fn between(&self, a: Position, b: Position) -> u32 {
        self.world.grid.distance(a, b)
    }

    /// The server of the node's domain.
    fn server(&self) -> u16 {
        self.world.grid.domain_of(self.to) as u16
    }

    /// To the server of the domain.
    fn local(&self) -> u32 {
        self.between(self.to, self.world.place_of(self.server()))
    }

    fn changes_domain(&self) -> bool {
        self.world.grid.domain_of(self.from) != self.world.grid.domain_of(self.to)
    }

    /// `distance` if the domain has changed.
    fn on_change(&self, distance: impl FnOnce() -> u32) -> u32 {
        if self.changes_domain() { distance() } else { 0 }
    }

    /// C: over the ring, from the domain's server to the owner of the node's key.
    fn ring(&self) -> u32 {
        self.world.overlay.route(self.server(), self.node).distance
    }
}

/// A node calls another.
pub(super) struct Call<'a> {
    pub(super) world: &'a World,
    pub(super) callee: usize,
    pub(super) from: Position,
    pub(super) to: Position,
}

impl Call<'_> {
    fn between(&self, a: Position, b: Position) -> u32 {
        self.world.grid.distance(a, b)
    }

    fn direct(&self) -> u32 {
        self.between(self.from, self.to)
    }

    fn agent(&self) -> Position {
        self.world.placement.home_agent
    }

    /// The servers of the caller's domain and of the callee's.
    fn servers(&self) -> [u16; 2] {
        [self.from, self.to].map(|place| self.world.grid.domain_of(place) as u16)
    }

    fn places(&self) -> [Position; 2] {
        self.servers().map(|server| self.world.place_of(server))
    }

    /// Where the owner of the callee's key is.
    fn home(&self) -> Position {
        self.world.place_of(self.world.overlay.home(self.callee))
    }

    /// The caller's own server, then C to the owner of the callee's key.
    fn to_home(&self) -> u32 {
        let [own, _] = self.servers();
        self.between(self.from, self.world.place_of(own))
            + self.world.overlay.route(own, self.callee).distance
    }

    /// By way of one place.
    fn by(&self, place: Position) -> u32 {
        self.between(self.from, place) + self.between(place, self.to)
    }

    /// From a place by way of the callee's server.
    fn down(&self, from: Position) -> u32 {
        let [_, server] = self.places();
        self.between(from, server) + self.between(server, self.to)
    }
}

/// What holds a node's location, wherever the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// One home agent, or anything else that there is one of.
    One,
    /// The owner of the node's key.
    ByKey,
    /// Nothing.
    Nowhere,
}

/// A system.
pub(super) struct System {
    pub(super) name: &'static str,
    /// What the paper says: scalable, localised mobility management, signalling apart from data.
    pub(super) paper: Option<[bool; 3]>,
    pub(super) registration: fn(&Move<'_>) -> u32,
    pub(super) first_packet: fn(&Call<'_>) -> u32,
    pub(super) every_packet: fn(&Call<'_>) -> u32,
    pub(super) home: Home,
    /// Whether the server of the domain serves the nodes that are in it.
    pub(super) has_local: bool,
    /// Whether one element besides serves everybody.
    pub(super) has_single_point: bool,
}

pub(super) const SYSTEMS: [System; 9] = [
    // [1], RFC 5944, with a foreign agent at every access router, to which a node is on the link: MN → FA → HA, and
    // CN → HA → FA → MN for all packets, as there is no route optimisation.
    System {
        name: "MIPv4 with FAs",
        paper: None,
        registration: |m| m.between(m.to, m.world.placement.home_agent),
        first_packet: |c| c.by(c.agent()),
        every_packet: |c| c.by(c.agent()),
        home: Home::One,
        has_local: false,
        has_single_point: false,
    },
    // [2], RFC 6275: BU to the home agent; CN → HA → MN, and with route optimisation directly after that. Return
    // routability, a home and a care-of test with every move, is left out.
    System {
        name: "MIPv6",
        paper: None,
        registration: |m| m.between(m.to, m.world.placement.home_agent),
        first_packet: |c| c.by(c.agent()),
        every_packet: |c| c.direct(),
        home: Home::One,
        has_local: false,
        has_single_point: false,
    },
    // [3], RFC 5380: BU to the MAP; when that changes, another one by way of it to the home agent. CN → HA → MAP → MN,
    // and with route optimisation CN → MAP → MN after that, as the correspondent node knows the regional address.
    System {
        name: "HMIPv6",
        paper: None,
        registration: |m| {
            let server = m.world.place_of(m.server());
            m.local() + m.on_change(|| m.local() + m.between(server, m.world.placement.home_agent))
        },
        first_packet: |c| c.between(c.from, c.agent()) + c.down(c.agent()),
        every_packet: |c| c.down(c.from),
        home: Home::One,
        has_local: true,
        has_single_point: false,
    },
    // The paper, with hierarchical registration and without caches: REGISTER to the anchor; when that changes, another
    // one by way of it and the ring to the home server. CN → its anchor → ring → home server → anchor → MN.
    System {
        name: "SAMP",
        paper: Some([true, true, true]),
        registration: |m| m.local() + m.on_change(|| m.local() + m.ring()),
        first_packet: |c| c.to_home() + c.down(c.home()),
        every_packet: |c| c.direct(),
        home: Home::ByKey,
        has_local: true,
        has_single_point: false,
    },
    // [9] Zhuang et al., MobiSys 2003, on i3: the private trigger is at the server of the domain, and the node updates
    // it there with every move. When it moves with the node, it is inserted over the ring, and the public trigger with
    // it. CN → ring → public trigger → MN; then CN → trigger server → MN for all data.
    System {
        name: "ROAM",
        paper: Some([true, true, false]),
        registration: |m| m.local() + m.on_change(|| m.ring()),
        first_packet: |c| c.to_home() + c.between(c.home(), c.to),
        every_packet: |c| c.down(c.from),
        home: Home::ByKey,
        has_local: true,
        has_single_point: false,
    },
    // [10] Guo et al., 2004: with every move an update over the ring, and one straight to each correspondent node, of
    // which there is one here. A lookup out over the ring and straight back, then directly.
    System {
        name: "EMIPv6",
        paper: Some([true, false, true]),
        registration: |m| m.local() + m.ring() + m.between(m.to, m.peer),
        first_packet: |c| c.to_home() + c.between(c.home(), c.from) + c.direct(),
        every_packet: |c| c.direct(),
        home: Home::ByKey,
        has_local: false,
        has_single_point: false,
    },
    // [11] Zhao et al., IPTPS 2004, on Tapestry: the node tells its proxy of every move. A new proxy publishes itself
    // towards the root of the node's identifier, as far as the old proxy's way to it, where the update stops. Packets go
    // from the sender's proxy towards the root until they meet a pointer, then to the proxy: the first and all others.
    // That a crowd which moves as one needs one update is no help here, where everybody walks alone.
    System {
        name: "Wrap",
        paper: Some([false, true, true]),
        registration: |m| {
            let old = m.world.grid.domain_of(m.from) as u16;
            m.local() + m.on_change(|| m.world.until_met(m.server(), old, m.node).0)
        },
        first_packet: by_pointer,
        every_packet: by_pointer,
        home: Home::ByKey,
        has_local: true,
        has_single_point: false,
    },
    // [12] Mao et al., INFOCOM 2005: the nearest home agent is that of the domain; when it changes, the overlay is told.
    // All packets go by way of it. A session that a server begins, and UDP, are not supported at all; the first packet
    // is one of a session of the node's own.
    System {
        name: "DHARMA",
        paper: Some([true, false, true]),
        registration: |m| m.local() + m.on_change(|| m.ring()),
        first_packet: |c| c.down(c.from),
        every_packet: |c| c.down(c.from),
        home: Home::Nowhere,
        has_local: true,
        has_single_point: false,
    },
    // [13] Lo and Chen: regional registration with a gateway foreign agent, and beyond it with the home agent, which the
    // node's number hashes to, and which stays. The name server, where the one home agent is otherwise, is asked first,
    // and answers; then ring → HA → GFA → MN. All packets: CN → HA → GFA → MN.
    System {
        name: "DNSP2P",
        paper: Some([false, true, true]),
        registration: |m| {
            let home = m.world.place_of(m.world.overlay.home(m.node));
            m.local() + m.on_change(|| m.between(m.world.place_of(m.server()), home))
        },
        first_packet: |c| 2 * c.between(c.from, c.agent()) + c.to_home() + c.down(c.home()),
        every_packet: |c| c.between(c.from, c.home()) + c.down(c.home()),
        home: Home::ByKey,
        has_local: true,
        has_single_point: true,
    },
];

/// Wrap: from the caller's proxy towards the root until a pointer is met, then to the callee's proxy.
fn by_pointer(c: &Call<'_>) -> u32 {
    let [own, proxy] = c.servers();
    let (distance, met) = c.world.until_met(own, proxy, c.callee);
    c.between(c.from, c.world.place_of(own)) + distance + c.down(c.world.place_of(met))
}
