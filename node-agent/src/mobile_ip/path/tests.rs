use super::*;
use samp_protocol::mobile_ip::{Message, Outer, Update};

const HOME: Ipv6Addr = address(1);
const REGIONAL: Ipv6Addr = address(2);
const CARE_OF: Ipv6Addr = address(3);
const AGENT: Ipv6Addr = address(4);
const MAP: Ipv6Addr = address(5);
const PEER: Ipv6Addr = address(6);
const PEER_CARE_OF: Ipv6Addr = address(7);
const RADIO: u32 = 9;

const fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
}

/// A datagram of UDP with nothing in it.
fn datagram(from: Ipv6Addr, to: Ipv6Addr) -> Datagram {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    Datagram::of_frame(&bytes).expect("a datagram")
}

fn tunnel(datagram: &Datagram, from: Ipv6Addr, to: Ipv6Addr) -> Datagram {
    datagram.wrap(&Outer { ends: [from, to], bytes: 40, is_tunnel: true }).expect("it is short")
}

/// A mobile node with a tunnel to its home agent, through one to its MAP.
fn mobile() -> Paths {
    mobile_with(TunnelBackend::Agent)
}

fn mobile_with(tunnels: TunnelBackend) -> Paths {
    let mut paths = Paths::new(Place::Mobile { home: HOME, care_of: vec![(CARE_OF, RADIO)] }, tunnels);
    paths.apply(Forwarding::From(HOME, Some([REGIONAL, AGENT])));
    paths.apply(Forwarding::From(REGIONAL, Some([CARE_OF, MAP])));
    paths
}

/// A home agent that is a MAP, too, where that mobile node is bound.
fn agent() -> Paths {
    agent_with(TunnelBackend::Agent)
}

fn agent_with(tunnels: TunnelBackend) -> Paths {
    let mut paths = Paths::new(Place::Agent { addresses: vec![AGENT, MAP] }, tunnels);
    paths.apply(Forwarding::To(HOME, Some([AGENT, REGIONAL])));
    paths.apply(Forwarding::To(REGIONAL, Some([MAP, CARE_OF])));
    paths
}

#[track_caller]
fn sent(fate: Fate) -> (Datagram, Option<u32>) {
    match fate {
        Fate::Send(datagram, interface) => (datagram, interface),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn why(fate: Fate) -> &'static str {
    match fate {
        Fate::Drop(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_kernel_sends_goes_through_all_tunnels_and_comes_out_of_them() {
    let there = datagram(HOME, PEER);
    let (wrapped, interface) = sent(mobile().outbound(there.clone()));
    assert_eq!(interface, Some(RADIO));
    assert_eq!(wrapped, tunnel(&tunnel(&there, REGIONAL, AGENT), CARE_OF, MAP));
    let (unwrapped, interface) = sent(agent().inbound(wrapped));
    assert_eq!((unwrapped, interface), (there.passed_on().expect("far enough"), None));

    let back = datagram(PEER, HOME);
    let (wrapped, _) = sent(agent().outbound(back.clone()));
    assert_eq!(wrapped, tunnel(&tunnel(&back, AGENT, REGIONAL), MAP, CARE_OF));
    match mobile().inbound(wrapped) {
        Fate::Deliver(datagram) => assert_eq!(datagram, back),
        other => panic!("{other:?}"),
    }
}

#[test]
fn optimised_routes_carry_home_addresses_and_are_believed_where_they_are_bound() {
    let mut paths = mobile();
    paths.apply(Forwarding::Direct(PEER, Some(CARE_OF)));
    paths.apply(Forwarding::Reach(PEER, Some(PEER_CARE_OF)));
    let (optimised, _) = sent(paths.outbound(datagram(HOME, PEER)));
    assert_eq!([optimised.source(), optimised.destination()], [CARE_OF, PEER_CARE_OF]);

    let mut peer =
        Paths::new(Place::Mobile { home: PEER, care_of: vec![(PEER_CARE_OF, 1)] }, TunnelBackend::Agent);
    match peer.inbound(optimised.clone()) {
        Fate::Tell(Input::UnknownBinding { home: HOME, care_of: CARE_OF }) => {}
        other => panic!("{other:?}"),
    }
    peer.apply(Forwarding::Reach(HOME, Some(CARE_OF)));
    match peer.inbound(optimised.clone()) {
        Fate::Deliver(delivered) => assert_eq!(delivered, datagram(HOME, PEER)),
        other => panic!("{other:?}"),
    }
    // Whose address is none of this node's must not use it to get anywhere.
    let mut reflector =
        Paths::new(Place::Mobile { home: HOME, care_of: vec![(PEER_CARE_OF, 1)] }, TunnelBackend::Agent);
    reflector.apply(Forwarding::Reach(HOME, Some(CARE_OF)));
    assert_eq!(why(reflector.inbound(optimised)), "home addresses where none belong");
}

#[test]
fn messages_are_the_protocol_nodes() {
    let update = Update { home_registration: true, ..Update::default() };
    let mut packet = Packet::new(REGIONAL, AGENT, Message::Update(update));
    packet.home = Some(HOME);
    let (wrapped, interface) = sent(mobile().send(&packet));
    assert_eq!((wrapped.source(), wrapped.destination(), interface), (CARE_OF, MAP, Some(RADIO)));
    match agent().inbound(wrapped) {
        Fate::Tell(Input::Packet(heard)) => assert_eq!(*heard, packet),
        other => panic!("{other:?}"),
    }
    let mut bad = packet.encode();
    *bad.last_mut().expect("a byte") ^= 1;
    let bad = Datagram::of_frame(&bad).expect("a datagram");
    assert_eq!(why(agent().inbound(bad)), "home addresses where none belong");
}

#[test]
fn nothing_leaves_from_where_the_node_is_not() {
    let mut paths = mobile();
    paths.place = Place::Mobile { home: HOME, care_of: Vec::new() };
    assert_eq!(why(paths.outbound(datagram(HOME, PEER))), "from where the node is not");
    assert_eq!(why(mobile().outbound(datagram(PEER, AGENT))), "not from the home address");
    let mut unbound = mobile();
    unbound.apply(Forwarding::From(HOME, None));
    assert_eq!(why(unbound.outbound(datagram(HOME, PEER))), "from where the node is not");
    let nobody = address(99);
    assert_eq!(why(agent().outbound(datagram(PEER, nobody))), "to an address that is not bound");
}

#[test]
fn only_what_is_bound_comes_out_of_a_tunnel() {
    let forged = tunnel(&tunnel(&datagram(HOME, PEER), REGIONAL, AGENT), PEER, MAP);
    assert_eq!(why(agent().inbound(forged)), "out of a tunnel that it is not bound to");
    let forged = tunnel(&datagram(PEER, HOME), PEER, CARE_OF);
    assert_eq!(why(mobile().inbound(forged)), "out of a tunnel that it is not bound to");
    let deep = (0..9).fold(datagram(PEER, CARE_OF), |inner, _| tunnel(&inner, MAP, CARE_OF));
    assert_eq!(why(mobile().inbound(deep)), "in too many headers");
    // A mobile node is no router, and a router does not pass on what has no way.
    let elsewhere = tunnel(&datagram(PEER, AGENT), MAP, CARE_OF);
    assert_eq!(why(mobile().inbound(elsewhere)), "not for this node");
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let to_group = tunnel(&datagram(REGIONAL, group), CARE_OF, MAP);
    assert_eq!(why(agent().inbound(to_group)), "not for this node");
    // What only passes by, and what is for the kernel alone, is left alone.
    for fate in [agent().inbound(datagram(PEER, HOME)), mobile().inbound(datagram(PEER, CARE_OF))] {
        assert!(matches!(fate, Fate::Pass), "{fate:?}");
    }
    assert!(matches!(mobile().outbound(datagram(HOME, group)), Fate::Pass));
}

#[test]
fn with_the_kernels_tunnels_only_messages_are_seen() {
    let (mobile, agent) = (mobile_with(TunnelBackend::Kernel), agent_with(TunnelBackend::Kernel));
    let update = Message::Update(Update::default());
    let mut packet = Packet::new(REGIONAL, AGENT, update);
    packet.home = Some(HOME);
    let (bare, interface) = sent(mobile.send(&packet));
    assert_eq!((bare.source(), bare.destination()), (REGIONAL, AGENT), "the kernel finds its tunnel");
    assert_eq!(interface, Some(ITS_OWN_ROUTE));
    assert!(
        matches!(agent.inbound(bare.clone()), Fate::Tell(Input::Packet(_))),
        "out of a tunnel of the kernel's"
    );
    packet.source = CARE_OF;
    assert_eq!(sent(mobile.send(&packet)).1, Some(RADIO));
    packet.destination = CARE_OF;
    let asking = Datagram::of_frame(&packet.encode()).expect("a datagram");
    assert_eq!(why(mobile.inbound(asking)), "the kernel's tunnels know no optimised routes");
    packet.source = PEER;
    assert_eq!(why(mobile.send(&packet)), "from where the node is not");
    assert!(matches!(agent.inbound(tunnel(&bare, CARE_OF, MAP)), Fate::Pass));
    for paths in [&mobile, &agent] {
        assert_eq!(why(paths.outbound(datagram(HOME, PEER))), "to where there is no tunnel");
    }
}
