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
    assert_asked(&devices.spare().expect("there is none"), &["create a tunnel from :: to 100::"]);
    devices
}

fn at_agent() -> Devices {
    let mut devices = Devices::new(Owner::Agent { address: AGENT, home_subnet: None }, 7);
    let ready = ["create a tunnel from :: to 100::", "add a rule against what comes from tnl0"];
    assert_asked(&devices.spare().expect("there is none"), &ready);
    devices
}

/// Sets a tunnel, and has a device ready for the next one.
fn set(devices: &mut Devices, address: Ipv6Addr, ends: Option<Ends>) -> Batch {
    let batch = devices.set(address, ends);
    drop(devices.spare());
    batch
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
        &set(&mut devices, HOME, Some([CARE_OF[0], AGENT])),
        &[
            "have interface 1000000 lead from fd00::10 to fd00::3",
            "replace preferred route ::/0 on interface 1000000 from fd00::1 for up to 1340 bytes",
        ],
    );
    assert_asked(&set(&mut devices, HOME, Some([CARE_OF[0], AGENT])), &[]);
    // The route is never away, and tnl0 keeps its ends until the next time.
    let on_to = |care_of: &str, device: &str| {
        [
            format!("have interface 100000{device} lead from {care_of} to fd00::3"),
            format!(
                "replace preferred route ::/0 on interface 100000{device} from fd00::1 for up to 1340 bytes"
            ),
        ]
    };
    assert_eq!(asked(&set(&mut devices, HOME, Some([CARE_OF[1], AGENT]))), on_to("fd00::11", "1"));
    assert_eq!(asked(&set(&mut devices, HOME, Some([CARE_OF[2], AGENT]))), on_to("fd00::12", "0"));
    assert_asked(
        &set(&mut devices, HOME, None),
        &["delete preferred route ::/0 on interface 1000000 from fd00::1 for up to 1340 bytes"],
    );
    assert_asked(&set(&mut devices, HOME, None), &[]);
}

#[test]
fn a_regional_address_is_the_kernels_as_long_as_it_has_a_tunnel() {
    let mut devices = at_mobile_node();
    let first = set(&mut devices, REGIONAL, Some([CARE_OF[0], MAP]));
    assert!(asked(&first).contains(&"add address fd00::2/128 to interface 7".to_owned()), "{first:?}");
    assert!(asked(&first).contains(&"add a rule for fd00::2".to_owned()), "{first:?}");
    drop(set(&mut devices, HOME, Some([REGIONAL, AGENT])));
    // The other device, as the home address has the next one.
    assert_asked(
        &set(&mut devices, REGIONAL, Some([CARE_OF[1], MAP])),
        &[
            "have interface 1000002 lead from fd00::11 to fd00::4",
            "replace route ::/0 on interface 1000002 for up to 1460 bytes for fd00::2",
        ],
    );
    assert_asked(
        &set(&mut devices, REGIONAL, None),
        &[
            "delete the rule for fd00::2",
            "delete route ::/0 on interface 1000002 for up to 1460 bytes for fd00::2",
            "delete address fd00::2/128 from interface 7",
        ],
    );
}

#[test]
fn an_agent_lets_out_of_a_device_only_what_is_bound_there() {
    let mut devices = at_agent();
    assert_asked(
        &set(&mut devices, HOME, Some([AGENT, CARE_OF[0]])),
        &[
            "have interface 1000000 lead from fd00::3 to fd00::10",
            "add a rule for fd00::1 from tnl0",
            "replace route fd00::1/128 on interface 1000000 from fd00::3 for up to 1460 bytes",
        ],
    );
    assert_asked(
        &set(&mut devices, HOME, Some([AGENT, CARE_OF[1]])),
        &[
            "have interface 1000001 lead from fd00::3 to fd00::11",
            "add a rule for fd00::1 from tnl1",
            "replace route fd00::1/128 on interface 1000001 from fd00::3 for up to 1460 bytes",
            "delete the rule for fd00::1 from tnl0",
        ],
    );
    assert_asked(
        &set(&mut devices, HOME, None),
        &[
            "delete route fd00::1/128 on interface 1000001 from fd00::3 for up to 1460 bytes",
            "delete the rule for fd00::1 from tnl1",
        ],
    );
    assert_eq!((devices.idle.len(), devices.used.len()), (2, 0));
}

#[test]
fn no_two_devices_have_the_same_ends() {
    let mut devices = at_agent();
    let ends = Some([AGENT, CARE_OF[0]]);
    drop(set(&mut devices, HOME, ends));
    // Two addresses at one place share a device.
    let shared = set(&mut devices, OTHER, ends);
    assert!(asked(&shared).iter().all(|request| !request.contains("lead")), "{shared:?}");
    drop(set(&mut devices, HOME, Some([AGENT, CARE_OF[1]])));
    assert_eq!(devices.used[&[AGENT, CARE_OF[0]]], (0, 1));
    drop(set(&mut devices, REGIONAL, Some([AGENT, CARE_OF[2]])));
    drop(set(&mut devices, OTHER, None));
    // Who comes back gets the device that still leads there, not the one that is idle longest.
    assert_eq!(devices.idle.iter().map(|(device, _)| *device).collect::<Vec<_>>(), [3, 0]);
    let back = set(&mut devices, HOME, ends);
    assert!(asked(&back).contains(&"add a rule for fd00::1 from tnl0".to_owned()), "{back:?}");
    let all = devices.used.keys().chain(devices.idle.iter().map(|(_, ends)| ends));
    let count = all.clone().count();
    assert_eq!(all.collect::<std::collections::BTreeSet<_>>().len(), count);
}

#[test]
fn what_the_kernel_has_refused_is_taken_back_whole() {
    let mut devices = at_agent();
    let [first, second] = [0, 1].map(|at| Some([AGENT, CARE_OF[at]]));
    drop(set(&mut devices, HOME, first));
    drop(set(&mut devices, HOME, second));
    assert_asked(
        &devices.give_up(HOME, first),
        &[
            "delete route fd00::1/128 on interface 1000001 from fd00::3 for up to 1460 bytes",
            "delete the rule for fd00::1 from tnl1",
            "delete route fd00::1/128 on interface 1000000 from fd00::3 for up to 1460 bytes",
            "delete the rule for fd00::1 from tnl0",
            "have interface 1000001 lead from :: to 100::1",
        ],
    );
    assert_eq!((devices.idle.len(), devices.used.len(), devices.tunnel(HOME)), (2, 0, None));
    // At the place before, of which the device still knows.
    let again = set(&mut devices, HOME, first);
    assert!(asked(&again).contains(&"add a rule for fd00::1 from tnl0".to_owned()), "{again:?}");
}

#[test]
fn a_spare_that_is_refused_is_not_counted_on() {
    let mut devices = at_agent();
    drop(devices.set(HOME, Some([AGENT, CARE_OF[0]])));
    drop(devices.spare().expect("none is idle"));
    devices.give_up_spare();
    assert_asked(&devices.set(OTHER, Some([AGENT, CARE_OF[1]])), &[]);
    assert_eq!(devices.tunnel(OTHER), None);
    let next = devices.spare().expect("none is idle");
    assert_eq!(asked(&next)[0], "create a tunnel from :: to 100::2", "another one");
}

#[test]
fn who_moves_has_a_device_even_if_there_are_no_more() {
    let mut devices = at_agent();
    devices.made = MAX_DEVICES - 1;
    drop(set(&mut devices, HOME, Some([AGENT, CARE_OF[0]])));
    assert!(devices.spare().is_none(), "one is idle");
    drop(devices.set(OTHER, Some([AGENT, CARE_OF[1]])));
    assert_eq!(devices.tunnel(OTHER), None, "the last one is not for new ones");
    for care_of in CARE_OF.iter().cycle().take(10) {
        let ends = Some([AGENT, *care_of]);
        drop(devices.set(HOME, ends));
        assert_eq!(devices.tunnel(HOME), ends);
    }
}

#[test]
fn longer_datagrams_than_all_tunnels_take_are_not_let_in() {
    let home_subnet = Some(Subnet { prefix: HOME.into(), prefix_len: 128 });
    let agent = Owner::Agent { address: AGENT, home_subnet };
    let mobile_node = Owner::MobileNode { home: HOME };
    let mtu = |owner: &Owner, address| owner.route(address, 0).mtu;
    assert_eq!([mtu(&agent, HOME), mtu(&agent, REGIONAL)], [MTU_TO_HOME, MTU_TO_REGIONAL].map(Some));
    let at_mobile_node = [mtu(&mobile_node, HOME), mtu(&mobile_node, REGIONAL)];
    assert_eq!(at_mobile_node, [MTU_AT_MOBILE_NODE, MTU_TO_REGIONAL].map(Some));
}
