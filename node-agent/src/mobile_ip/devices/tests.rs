use super::*;

const HOME: Ipv6Addr = address(1);
const REGIONAL: Ipv6Addr = address(2);
const AGENT: Ipv6Addr = address(3);
const MAP: Ipv6Addr = address(4);
const OTHER: Ipv6Addr = address(5);
const CARE_OF: [Ipv6Addr; 3] = [address(0x10), address(0x11), address(0x12)];

const fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
}

fn at_mobile_node() -> Devices {
    let mut devices = Devices::new(Owner::MobileNode { home: HOME }, 7);
    assert_eq!(asked(&devices.prepare()), ["create a tunnel from :: to 100::"]);
    devices
}

fn at_agent() -> Devices {
    let mut devices = Devices::new(Owner::Agent { address: AGENT, home_subnet: None }, 7);
    let ready = ["create a tunnel from :: to 100::", "add a rule against what comes from tnl0"];
    assert_eq!(asked(&devices.prepare()), ready);
    devices
}

/// What the kernel is asked for, in order.
fn asked(batch: &Batch) -> Vec<String> {
    let text = format!("{batch:?}");
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).expect("a list");
    inner.split(", ").filter(|request| !request.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn assert_asked(batch: &Batch, expected: &[&str]) {
    assert_eq!(asked(batch), expected);
}

#[test]
fn a_mobile_nodes_tunnel_goes_on_to_another_device_and_the_last_one_still_listens() {
    let mut devices = at_mobile_node();
    assert_asked(
        &devices.set(HOME, Some([CARE_OF[0], AGENT])),
        &[
            "have a tunnel lead from fd00::10 to fd00::3",
            "replace preferred route ::/0 on interface 1000000 from fd00::1",
            "create a tunnel from :: to 100::1",
        ],
    );
    assert_asked(&devices.set(HOME, Some([CARE_OF[0], AGENT])), &[]);
    // The route is never away, and tnl0 keeps its ends until the next time.
    let on_to = |care_of: &str, device: &str| {
        [
            format!("have a tunnel lead from {care_of} to fd00::3"),
            format!("replace preferred route ::/0 on interface 100000{device} from fd00::1"),
        ]
    };
    assert_eq!(asked(&devices.set(HOME, Some([CARE_OF[1], AGENT]))), on_to("fd00::11", "1"));
    assert_eq!(asked(&devices.set(HOME, Some([CARE_OF[2], AGENT]))), on_to("fd00::12", "0"));
    assert_asked(
        &devices.set(HOME, None),
        &["delete preferred route ::/0 on interface 1000000 from fd00::1"],
    );
    assert_asked(&devices.set(HOME, None), &[]);
}

#[test]
fn a_regional_address_is_the_kernels_as_long_as_it_has_a_tunnel() {
    let mut devices = at_mobile_node();
    let first = devices.set(REGIONAL, Some([CARE_OF[0], MAP]));
    assert!(asked(&first).contains(&"add address fd00::2/128 to interface 7".to_owned()), "{first:?}");
    assert!(asked(&first).contains(&"add a rule for fd00::2".to_owned()), "{first:?}");
    drop(devices.set(HOME, Some([REGIONAL, AGENT])));
    // The other device, as the home address has the next one.
    assert_asked(
        &devices.set(REGIONAL, Some([CARE_OF[1], MAP])),
        &["have a tunnel lead from fd00::11 to fd00::4", "add route ::/0 on interface 1000002 for fd00::2"],
    );
    assert_asked(
        &devices.set(REGIONAL, None),
        &[
            "delete the rule for fd00::2",
            "delete route ::/0 on interface 1000002 for fd00::2",
            "delete address fd00::2/128 from interface 7",
        ],
    );
}

#[test]
fn an_agent_lets_out_of_a_device_only_what_is_bound_there() {
    let mut devices = at_agent();
    assert_asked(
        &devices.set(HOME, Some([AGENT, CARE_OF[0]])),
        &[
            "have a tunnel lead from fd00::3 to fd00::10",
            "add a rule for fd00::1 from tnl0",
            "replace route fd00::1/128 on interface 1000000 from fd00::3",
            "create a tunnel from :: to 100::1",
            "add a rule against what comes from tnl1",
        ],
    );
    assert_asked(
        &devices.set(HOME, Some([AGENT, CARE_OF[1]])),
        &[
            "have a tunnel lead from fd00::3 to fd00::11",
            "add a rule for fd00::1 from tnl1",
            "replace route fd00::1/128 on interface 1000001 from fd00::3",
            "delete the rule for fd00::1 from tnl0",
        ],
    );
    assert_asked(
        &devices.set(HOME, None),
        &[
            "delete route fd00::1/128 on interface 1000001 from fd00::3",
            "delete the rule for fd00::1 from tnl1",
        ],
    );
    assert_eq!((devices.idle.len(), devices.used.len()), (2, 0));
}

#[test]
fn no_two_devices_have_the_same_ends() {
    let mut devices = at_agent();
    let ends = Some([AGENT, CARE_OF[0]]);
    drop(devices.set(HOME, ends));
    // Two addresses at one place share a device.
    let shared = devices.set(OTHER, ends);
    assert!(asked(&shared).iter().all(|request| !request.contains("lead")), "{shared:?}");
    drop(devices.set(HOME, Some([AGENT, CARE_OF[1]])));
    assert_eq!(devices.used[&[AGENT, CARE_OF[0]]], (0, 1));
    drop(devices.set(REGIONAL, Some([AGENT, CARE_OF[2]])));
    drop(devices.set(OTHER, None));
    // Who comes back gets the device that still leads there, not the one that is idle longest.
    assert_eq!(devices.idle.iter().map(|(device, _)| *device).collect::<Vec<_>>(), [3, 0]);
    let back = devices.set(HOME, ends);
    assert!(asked(&back).contains(&"add a rule for fd00::1 from tnl0".to_owned()), "{back:?}");
    let all = devices.used.keys().chain(devices.idle.iter().map(|(_, ends)| ends));
    let count = all.clone().count();
    assert_eq!(all.collect::<std::collections::BTreeSet<_>>().len(), count);
}

#[test]
fn what_the_kernel_has_refused_is_not_used_again() {
    let mut devices = at_agent();
    drop(devices.set(HOME, Some([AGENT, CARE_OF[0]])));
    devices.give_up(HOME);
    assert_asked(&devices.set(HOME, None), &[]);
    let next = devices.set(OTHER, Some([AGENT, CARE_OF[0]]));
    assert!(asked(&next).contains(&"add a rule for fd00::5 from tnl1".to_owned()), "{next:?}");
}

#[test]
fn longer_datagrams_than_all_tunnels_take_are_not_let_in() {
    let subnet = Subnet { prefix: HOME.into(), prefix_len: 128 };
    let agent = Owner::Agent { address: AGENT, home_subnet: Some(subnet) };
    assert_eq!([agent.mtu(HOME), agent.mtu(REGIONAL)], [MTU_TO_HOME, MTU_TO_REGIONAL]);
    let mobile_node = Owner::MobileNode { home: HOME };
    assert_eq!([mobile_node.mtu(HOME), mobile_node.mtu(REGIONAL)], [MTU_AT_MOBILE_NODE, MTU_TO_REGIONAL]);
}
