//! Where a datagram goes: what the node's table says, done to bytes. Nothing is sent or received here.

use samp_model::settings::TunnelBackend;
use samp_protocol::Input;
use samp_protocol::mobile_ip::{Datagram, Forwarding, ForwardingTable, Message, Packet};
use std::net::Ipv6Addr;

/// Headers that are taken off a datagram at most.
const MAX_DEPTH: usize = 4;

/// For the index of an interface: whichever the routes for the source address say.
const ITS_OWN_ROUTE: u32 = 0;

/// What becomes of a datagram.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once and never stored, as the input itself")]
pub(super) enum Fate {
    /// It is for this node's kernel.
    Deliver(Datagram),
    /// It leaves, by the interface with this index or whichever the routes say.
    Send(Datagram, Option<u32>),
    /// The protocol node is to hear of it.
    Tell(Input),
    /// It is none of this node's tunnels'.
    Pass,
    /// It goes no further, and why.
    Drop(&'static str),
}

/// What is known of the node.
pub(super) enum Place {
    /// A mobile node.
    Mobile {
        /// Its home address.
        home: Ipv6Addr,
        /// Its care-of addresses, and the index of each one's interface.
        care_of: Vec<(Ipv6Addr, u32)>,
    },
    /// An agent.
    Agent {
        /// Its own addresses.
        addresses: Vec<Ipv6Addr>,
    },
}

/// A node's table, and the node.
pub(super) struct Paths {
    pub(super) table: ForwardingTable,
    pub(super) place: Place,
    /// Who does the tunnels: with the kernel's, only messages of the protocol are looked at here.
    backend: TunnelBackend,
}

impl Paths {
    pub(super) fn new(place: Place, backend: TunnelBackend) -> Self {
        Self { table: ForwardingTable::default(), place, backend }
    }

    pub(super) fn apply(&mut self, change: Forwarding) {
        self.table.apply(change);
    }

    /// A message of the protocol node's.
    pub(super) fn send(&self, packet: &Packet) -> Fate {
        match Datagram::of_frame(&packet.encode()) {
            Some(datagram) => self.leave(datagram, true),
            None => Fate::Drop("too long"),
        }
    }

    /// The kernel wants this to go through a tunnel.
    pub(super) fn outbound(&self, datagram: Datagram) -> Fate {
        let (source, destination) = (datagram.source(), datagram.destination());
        if !is_routable(source) || !is_routable(destination) {
            // Of its own interface only.
            return Fate::Pass;
        }
        if self.backend == TunnelBackend::Kernel {
            return Fate::Drop("to where there is no tunnel");
        }
        match &self.place {
            Place::Mobile { home, .. } if source != *home => Fate::Drop("not from the home address"),
            Place::Mobile { .. } => {
                let keeps_to_tunnel = !datagram.takes_home_addresses();
                self.leave(datagram, keeps_to_tunnel)
            }
            Place::Agent { .. } if self.table.wrap(source, destination, true).is_empty() => {
                Fate::Drop("to an address that is not bound")
            }
            Place::Agent { .. } => self.leave(datagram, true),
        }
    }

    /// This has come from the network.
    pub(super) fn inbound(&self, mut datagram: Datagram) -> Fate {
        for depth in 0..=MAX_DEPTH {
            if !self.is_own(datagram.destination()) {
                return if depth == 0 { Fate::Pass } else { self.forward(datagram) };
            }
            if let Some(packet) = Packet::of_datagram(&datagram) {
                if self.is_about_routes(&packet) {
                    return Fate::Drop("the kernel's tunnels know no optimised routes");
                }
                return Fate::Tell(Input::Packet(packet.into()));
            }
            if self.backend == TunnelBackend::Kernel {
                return if datagram.is_mobility() { Fate::Drop("a malformed message") } else { Fate::Pass };
            }
            let Some((outer, inner)) = datagram.unwrap() else {
                return match depth {
                    _ if datagram.is_mobility() => Fate::Drop("a malformed message"),
                    0 => Fate::Pass,
                    _ => Fate::Deliver(datagram),
                };
            };
            let (source, is_agent) = (inner.source(), matches!(self.place, Place::Agent { .. }));
            if !outer.is_tunnel && (is_agent || inner.is_mobility() || !self.is_home(inner.destination())) {
                return Fate::Drop("home addresses where none belong");
            }
            if !self.table.admits(outer, source) {
                return match outer.is_tunnel {
                    true => Fate::Drop("out of a tunnel that it is not bound to"),
                    false => Fate::Tell(Input::UnknownBinding { home: source, care_of: datagram.source() }),
                };
            }
            datagram = inner;
        }
        Fate::Drop("in too many headers")
    }

    /// An agent passes on what it has taken out of a tunnel.
    fn forward(&self, datagram: Datagram) -> Fate {
        let is_on_its_way = [datagram.source(), datagram.destination()].into_iter().all(is_routable);
        match (&self.place, datagram.passed_on()) {
            (Place::Agent { .. }, Some(datagram)) if is_on_its_way => self.leave(datagram, true),
            _ => Fate::Drop("not for this node"),
        }
    }

    /// Puts around a datagram what the table says. A mobile node's leaves from where it is, or not at all.
    fn leave(&self, mut datagram: Datagram, keeps_to_tunnel: bool) -> Fate {
        if self.backend == TunnelBackend::Agent {
            for outer in self.table.wrap(datagram.source(), datagram.destination(), keeps_to_tunnel) {
                match datagram.wrap(&outer) {
                    Some(wrapped) => datagram = wrapped,
                    None => return Fate::Drop("too long"),
                }
            }
        }
        match &self.place {
            Place::Agent { .. } => Fate::Send(datagram, None),
            Place::Mobile { care_of, .. } => {
                match care_of.iter().find(|(address, _)| *address == datagram.source()) {
                    Some(&(_, interface)) => Fate::Send(datagram, Some(interface)),
                    None if self.is_tunnelled(datagram.source()) => Fate::Send(datagram, Some(ITS_OWN_ROUTE)),
                    None => Fate::Drop("from where the node is not"),
                }
            }
        }
    }

    /// Whether an address is one of this node's: of a mobile node's also the regional one, from which it tunnels.
    fn is_own(&self, address: Ipv6Addr) -> bool {
        match &self.place {
            Place::Agent { addresses } => addresses.contains(&address),
            Place::Mobile { care_of, .. } => {
                let is_care_of = care_of.iter().any(|(care_of, _)| *care_of == address);
                is_care_of || self.is_home(address) || self.table.has_tunnel_from(address)
            }
        }
    }

    /// Whether a peer asks a mobile node for what the kernel cannot do: who has no answer keeps to the tunnel.
    fn is_about_routes(&self, packet: &Packet) -> bool {
        use Message::{CareOfTestInit, HomeTestInit, Update};
        let is_about_routes =
            matches!(packet.message, HomeTestInit { .. } | CareOfTestInit { .. } | Update { .. });
        let is_mobile_node = matches!(self.place, Place::Mobile { .. });
        self.backend == TunnelBackend::Kernel && is_mobile_node && is_about_routes
    }

    /// Whether the kernel knows by which tunnel to send what is from this address of the node's.
    fn is_tunnelled(&self, source: Ipv6Addr) -> bool {
        self.backend == TunnelBackend::Kernel && self.table.has_tunnel_from(source)
    }

    fn is_home(&self, address: Ipv6Addr) -> bool {
        matches!(self.place, Place::Mobile { home, .. } if home == address)
    }
}

/// Whether routers pass it on.
pub(super) fn is_routable(address: Ipv6Addr) -> bool {
    !(address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
