//! The verbs: each appends one request to a batch.

use crate::namespace::Namespace;
use crate::netem::Netem;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::address::{AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

/// The number of a route's metric (linux/rtnetlink.h).
const RTAX_MTU: u32 = 2;

/// Requests to be applied in order by [`Netlink::apply`](super::Netlink::apply).
///
/// Namespaces named by a request are kept open by the batch.
#[derive(Default)]
pub struct Batch {
    /// The messages, one behind the other.
    pub(super) bytes: Vec<u8>,
    pub(super) requests: Vec<Request>,
    pub(super) namespaces: Vec<Namespace>,
}

/// One message to the kernel.
pub(super) struct Request {
    /// Where it begins in [`Batch::bytes`].
    pub(super) start: usize,
    /// What is attempted, to be read after "cannot". Thousands are never read, so they are not even written.
    pub(super) what: Box<dyn Fn() -> String + Send + Sync>,
}

/// One end of a veth pair, as it is to be born.
#[derive(Clone, Copy, Debug, Default)]
pub struct VethEnd<'a> {
    /// Interface name, at most 15 bytes.
    pub name: &'a str,
    /// Interface index; none lets the kernel choose.
    pub index: Option<u32>,
    /// MAC address; none lets the kernel choose.
    pub mac: Option<[u8; 6]>,
    /// Where the end is born; none is the namespace of the netlink socket.
    pub namespace: Option<&'a Namespace>,
}

/// A unicast route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Address and prefix length; all-zero and 0 is the default route.
    pub destination: (IpAddr, u8),
    /// Next hop; none is a destination on the link itself.
    pub via: Option<IpAddr>,
    /// Interface index.
    pub index: u32,
    /// Source address that the kernel prefers for this route.
    pub source: Option<IpAddr>,
    /// The next hop is on the link whatever its address says.
    pub onlink: bool,
    /// The longest datagram, in bytes: longer ones are refused or fragmented, as if the interface had this MTU. None
    /// leaves it to the interface.
    pub mtu: Option<u32>,
}

impl Batch {
    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Creates a veth pair with each end directly in its namespace.
    ///
    /// Linux before 6.15 looks the index of `a` up in the socket's namespace, too: there the socket must be in
    /// `a`'s own namespace or in one where that index is free.
    pub fn add_veth(&mut self, a: VethEnd<'_>, b: VethEnd<'_>) {
        let names = [a.name, b.name].map(String::from);
        let peer = self.veth_end(LinkMessageBuilder::<LinkUnspec>::new(), b).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        let message = self.veth_end(pair, a).build();
        self.push(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, move || {
            format!("create the veth pair {} / {}", names[0], names[1])
        });
    }

    /// Deletes an interface; a veth end takes its peer along.
    pub fn delete_link(&mut self, index: u32) {
        let message = LinkUnspec::new_with_index(index).build();
        self.push(RouteNetlinkMessage::DelLink(message), 0, move || format!("delete interface {index}"));
    }

    /// Sets an interface up; `lo` is index 1.
    pub fn set_up(&mut self, index: u32) {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.set_link(message, move || format!("set interface {index} up"));
    }

    /// Sets an interface down; its routes go.
    pub fn set_down(&mut self, index: u32) {
        let message = LinkUnspec::new_with_index(index).down().build();
        self.set_link(message, move || format!("set interface {index} down"));
    }

    /// Moves an interface into another namespace, where it arrives down and without addresses.
    /// `new_index` none keeps the index where it is free.
    pub fn move_link(&mut self, index: u32, to: &Namespace, new_index: Option<u32>) {
        let mut builder = LinkUnspec::new_with_index(index).setns_by_fd(self.keep(to));
        if let Some(new_index) = new_index {
            builder = builder.append_extra_attribute(LinkAttribute::NewIfIndex(new_index.cast_signed()));
        }
        self.set_link(builder.build(), move || format!("move interface {index} to another namespace"));
    }

    /// Adds an address. IPv6 skips duplicate address detection, so it can be used at once.
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix_len: u8) {
        let mut message = address_message(index, address, prefix_len);
        if address.is_ipv6() {
            message.header.flags |= AddressHeaderFlags::Nodad;
        }
        let what = move || format!("add address {address}/{prefix_len} to interface {index}");
        self.push(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Adds an IPv6 address that the kernel first looks for on the link (RFC 4862 §5.4); an optimistic one can be used
    /// meanwhile (RFC 4429). The interface's parameters must allow for it: `accept_dad`, `optimistic_dad`.
    pub fn add_checked_address(
        &mut self,
        index: u32,
        address: Ipv6Addr,
        prefix_len: u8,
        is_optimistic: bool,
    ) {
        let mut message = address_message(index, address.into(), prefix_len);
        if is_optimistic {
            message.header.flags |= AddressHeaderFlags::Optimistic;
        }
        let what =
            move || format!("add address {address}/{prefix_len} to interface {index}, and look for it");
        self.push(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Deletes an address; routes with it as their source go as well.
    pub fn delete_address(&mut self, index: u32, address: IpAddr, prefix_len: u8) {
        let message = address_message(index, address, prefix_len);
        let what = move || format!("delete address {address}/{prefix_len} from interface {index}");
        self.push(RouteNetlinkMessage::DelAddress(message), 0, what);
    }

    /// Adds a route; one to the same destination must not exist.
    pub fn add_route(&mut self, route: &Route) {
        let route = *route;
        let message = RouteNetlinkMessage::NewRoute(route_message(&route));
        self.push(message, NLM_F_CREATE | NLM_F_EXCL, move || format!("add route {route}"));
    }

    /// Adds a route in the place of the one to the same destination, if there is one.
    pub fn replace_route(&mut self, route: &Route) {
        let route = *route;
        let message = RouteNetlinkMessage::NewRoute(route_message(&route));
        self.push(message, NLM_F_CREATE | NLM_F_REPLACE, move || format!("replace route {route}"));
    }

    /// As [`replace_route`](Self::replace_route), but beside a route that is not preferred, which it comes before.
    pub fn replace_preferred_route(&mut self, route: &Route) {
        let route = *route;
        let message = RouteNetlinkMessage::NewRoute(preferred(&route));
        let what = move || format!("replace preferred route {route}");
        self.push(message, NLM_F_CREATE | NLM_F_REPLACE, what);
    }

    /// Deletes a preferred route.
    pub fn delete_preferred_route(&mut self, route: &Route) {
        let route = *route;
        let message = RouteNetlinkMessage::DelRoute(preferred(&route));
        self.push(message, 0, move || format!("delete preferred route {route}"));
    }

    /// Deletes the route that has all of these properties.
    pub fn delete_route(&mut self, route: &Route) {
        let route = *route;
        let message = RouteNetlinkMessage::DelRoute(route_message(&route));
        self.push(message, 0, move || format!("delete route {route}"));
    }

    /// Adds or replaces a permanent neighbour entry: no ARP or neighbour discovery for this address.
    pub fn add_neighbour(&mut self, index: u32, address: IpAddr, mac: [u8; 6]) {
        let mut message = neighbour_message(index, address);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        let what = move || format!("add neighbour {address} on interface {index}");
        self.push(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE, what);
    }

    /// Deletes a neighbour entry.
    pub fn delete_neighbour(&mut self, index: u32, address: IpAddr) {
        let message = neighbour_message(index, address);
        let what = move || format!("delete neighbour {address} from interface {index}");
        self.push(RouteNetlinkMessage::DelNeighbour(message), 0, what);
    }

    /// Makes netem the root qdisc of an interface, or changes the one that is there.
    pub fn set_netem(&mut self, index: u32, netem: &Netem) {
        let message = RouteNetlinkMessage::NewQueueDiscipline(netem.message(index));
        self.push(message, NLM_F_CREATE | NLM_F_REPLACE, move || format!("set netem on interface {index}"));
    }

    fn set_link(&mut self, message: LinkMessage, what: impl Fn() -> String + Send + Sync + 'static) {
        self.push(RouteNetlinkMessage::SetLink(message), 0, what);
    }

    fn veth_end<T>(&mut self, builder: LinkMessageBuilder<T>, end: VethEnd<'_>) -> LinkMessageBuilder<T> {
        // A pair of queues for each processor costs time and memory, and nobody sends from two processors at once.
        let mut builder = builder
            .name(end.name)
            .index(end.index.unwrap_or(0))
            .append_extra_attribute(LinkAttribute::NumTxQueues(1))
            .append_extra_attribute(LinkAttribute::NumRxQueues(1));
        if let Some(mac) = end.mac {
            builder = builder.address(mac.to_vec());
        }
        if let Some(namespace) = end.namespace {
            builder = builder.setns_by_fd(self.keep(namespace));
        }
        builder
    }

    /// The namespace's descriptor number, which stays valid as long as the batch.
    fn keep(&mut self, namespace: &Namespace) -> i32 {
        self.namespaces.push(namespace.clone());
        namespace.as_fd().as_raw_fd()
    }

    pub(super) fn push(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        what: impl Fn() -> String + Send + Sync + 'static,
    ) {
        let start = append(&mut self.bytes, message, flags);
        self.requests.push(Request { start, what: Box::new(what) });
    }
}

/// Appends a message, whose sequence number is still open, and returns where it begins.
pub(super) fn append(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> usize {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
    start
}

/// What is attempted, in order.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.requests).finish()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.what)())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.destination.0, self.destination.1)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " on interface {}", self.index)?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " for up to {mtu} bytes")?;
        }
        f.write_str(if self.onlink { " onlink" } else { "" })
    }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address_message(index: u32, address: IpAddr, prefix_len: u8) -> AddressMessage {
    match address {
        IpAddr::V4(address) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix_len).build()
        }
        IpAddr::V6(address) => {
            AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix_len).build()
        }
    }
}

/// Families are not compared here: the kernel says what is wrong with a mixture.
pub(super) fn route_message(route: &Route) -> RouteMessage {
    let (destination, prefix_len) = route.destination;
    let mut builder = RouteMessageBuilder::<IpAddr>::new().output_interface(route.index);
    if route.onlink {
        builder = builder.onlink();
    }
    if route.via.is_none() && destination.is_ipv4() {
        builder = builder.scope(RouteScope::Link);
    }
    let mut message = builder.build();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = prefix_len;
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(via.into()));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    if let Some(mtu) = route.mtu {
        // Forwarding heeds an MTU that is locked, by its bit.
        let metrics = vec![RouteMetric::Lock(1 << RTAX_MTU), RouteMetric::Mtu(mtu)];
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

/// With the lowest metric.
fn preferred(route: &Route) -> RouteMessage {
    let mut message = route_message(route);
    message.attributes.push(RouteAttribute::Priority(1));
    message
}

fn neighbour_message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message
}
