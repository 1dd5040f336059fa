//! netem where the kernel has it, and a clean error where it has not.

use crate::{Node, connect};
use samp_sys::netem::{Netem, NetemLoss, available};
use samp_sys::netlink::{ApplyError, Batch};
use std::time::Duration;

#[test]
fn netem_works_where_it_is_available_and_is_refused_by_name_where_not() {
    let available = available().unwrap();
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 102, 1);
    let mut batch = Batch::default();
    batch.set_netem(
        102,
        &Netem { delay: Duration::from_millis(5), loss: NetemLoss::Random(0.001), ..Netem::default() },
    );
    let result = a.netlink.apply(batch);
    let listed = a.netlink.qdiscs().unwrap().contains(&(102, "netem".to_owned()));
    assert_eq!(listed, available);
    match result {
        Ok(()) => {
            assert!(available);
            // Changing it in place is the same verb, and the kernel says what it made of each.
            let everything = Netem {
                delay: Duration::from_millis(5),
                jitter: Duration::from_millis(1),
                deviations: vec![-8192, 0, 0, 8192],
                loss: NetemLoss::GilbertElliott { p: 0.01, r: 0.3, bad: 0.9, good: 0.01 },
                duplicate: 0.1,
                reorder: 0.2,
                rate: Some(1_000_000),
                limit: 50,
                seed: Some(1),
            };
            for netem in [everything.clone(), Netem { rate: None, ..everything }, Netem::default()] {
                a.configure(|batch| batch.set_netem(102, &netem));
                assert_eq!(a.netlink.netem_difference(&[(102, netem)]).unwrap(), None);
            }
            let other = Netem { delay: Duration::from_millis(1), ..Netem::default() };
            assert!(a.netlink.netem_difference(&[(102, other.clone())]).unwrap().is_some());
            assert!(a.netlink.netem_difference(&[(1, other)]).unwrap().is_some());
        }
        Err(ApplyError::Refused { what, source, .. }) => {
            assert!(!available);
            assert_eq!(what, "set netem on interface 102");
            assert_eq!(source.raw_os_error(), Some(nix::libc::ENOENT));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn qdiscs_are_listed_with_their_interfaces() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 102, 1);
    let qdiscs = a.netlink.qdiscs().unwrap();
    assert!(qdiscs.iter().any(|(index, kind)| *index == 102 && !kind.is_empty()), "{qdiscs:?}");
}
