//! Namespaces and what is per namespace: threads, sysctls.

use samp_sys::keeper::{self, Keeper};
use samp_sys::namespace::Namespace;
use samp_sys::netlink::Netlink;
use samp_sys::sysctl;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;

#[test]
fn a_new_namespace_is_another_one_and_the_caller_stays() {
    let before = Namespace::current().unwrap();
    let created = Namespace::create().unwrap();
    assert!(Namespace::current().unwrap().is_same(&before).unwrap());
    assert!(!created.is_same(&before).unwrap());
    assert!(created.clone().is_same(&created).unwrap());
    let inside = created.run(|| Namespace::current().unwrap()).unwrap();
    assert!(inside.is_same(&created).unwrap());
    assert!(Namespace::current().unwrap().is_same(&before).unwrap());
}

#[test]
fn keepers_keep_namespaces_in_a_table_of_their_own() {
    let proc = File::open("/proc").unwrap();
    let (file, end) = UnixStream::pair().unwrap();
    let (keeper, misses) = Keeper::start(&proc, 8).unwrap();
    let many: Vec<_> = (0..keeper.count()).map(|number| keeper.open(&proc, number).unwrap()).collect();
    assert_eq!(many.len(), 8);
    for (position, one) in many.iter().enumerate() {
        assert!(many[..position].iter().all(|other| !other.is_same(one).unwrap()));
        assert!(keeper.open(&proc, position).unwrap().is_same(one).unwrap());
    }
    // It has no copy of what was open before: the other end hears the end.
    drop(file);
    end.set_nonblocking(true).unwrap();
    assert_eq!((&end).read(&mut [0]).unwrap(), 0);

    // With the handle goes the keeper.
    let path = Path::new("/proc").join(keeper.path(0));
    assert!(path.exists());
    drop((keeper, misses));
    while path.exists() {
        std::thread::yield_now();
    }
}

#[test]
fn a_limit_of_descriptors_says_how_many_namespaces_one_keeper_keeps() {
    assert_eq!([0, 33, 34, 64, 1024, 20_000].map(keeper::capacity), [1, 1, 1, 16, 496, 9984]);
}

#[test]
fn an_entered_thread_stays_inside() {
    let namespace = Namespace::create().unwrap();
    let inside = std::thread::spawn({
        let namespace = namespace.clone();
        move || {
            namespace.enter().unwrap();
            Namespace::current().unwrap()
        }
    });
    assert!(inside.join().unwrap().is_same(&namespace).unwrap());
}

#[test]
fn a_socket_stays_where_it_was_opened() {
    let namespace = Namespace::create().unwrap();
    let mut netlink = Netlink::open_in(&namespace).unwrap();
    assert_eq!(netlink.link_index("lo").unwrap(), Some(1));
    assert_eq!(netlink.link_index("eth0").unwrap(), None);
}

#[test]
#[should_panic(expected = "of the caller")]
fn a_panic_inside_goes_on_outside() {
    let _ = Namespace::create().unwrap().run(|| panic!("of the caller"));
}

#[test]
fn a_sysctl_is_set_in_one_namespace_only() {
    let [here, there] = [Namespace::create().unwrap(), Namespace::create().unwrap()];
    for (path, old, new) in [
        ("net/ipv4/ip_forward", "0", "1"),
        ("net/ipv4/ip_default_ttl", "64", "255"),
        ("net/ipv6/conf/all/disable_ipv6", "0", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "0", "1"),
    ] {
        let read = || fs::read_to_string(format!("/proc/sys/{path}")).unwrap().trim().to_owned();
        here.run(|| sysctl::write(path, old).unwrap()).unwrap();
        there.run(|| sysctl::write(path, old).unwrap()).unwrap();
        here.run(|| sysctl::write(path, new).unwrap()).unwrap();
        assert_eq!(here.run(read).unwrap(), new, "{path}");
        assert_eq!(there.run(read).unwrap(), old, "{path}");
    }
}

#[test]
fn a_sysctl_error_names_the_parameter_and_the_value() {
    let namespace = Namespace::create().unwrap();
    for (path, value) in [("net/ipv4/no_such_thing", "1"), ("net/ipv4/ip_default_ttl", "many")] {
        let error = namespace.run(|| sysctl::write(path, value)).unwrap().unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(value), "{error}");
    }
}
