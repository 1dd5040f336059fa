//! Control groups: who enters one is held to its quota, and all that is in it goes with it.

use crate::eventually;
use samp_sys::cgroup::{CpuController, remove};
use samp_sys::namespace::Namespace;
use samp_sys::process::{Place, spawn_in};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_group_holds_its_processes_to_their_quota_and_ends_with_them() {
    let root = nix::unistd::geteuid().is_root();
    let controller = match CpuController::find(root) {
        Ok(controller) => controller,
        Err(error) => return println!("no quota here: {error}"),
    };
    let name = format!("samp-sys-test-{}", std::process::id());
    let groups = controller.create(&name).unwrap();
    let ms = Duration::from_millis;
    groups.add("busy", ms(1), ms(20)).unwrap();
    groups.add("idle", ms(1), ms(1)).unwrap();
    assert_eq!(groups.add("idle", ms(1), ms(1)).unwrap_err().kind(), ErrorKind::AlreadyExists);

    let (namespace, entrance) = (Namespace::create().unwrap(), groups.entrance("busy").unwrap());
    let place = Place { network: &namespace, directory: Path::new("/"), group: Some(entrance.as_fd()) };
    let script = ["-c".into(), "(while :; do :; done) & while :; do :; done".into()];
    let child = spawn_in(place, Path::new("/bin/sh"), &script, &[]).unwrap();
    eventually("it is held back", || groups.usage("busy").unwrap().periods_throttled > 5);
    let usage = groups.usage("busy").unwrap();
    assert!(usage.periods >= usage.periods_throttled && usage.throttled > ms(20), "{usage:?}");
    assert!(usage.used > ms(1), "{usage:?}");
    assert_eq!(groups.usage("idle").unwrap().periods_throttled, 0);

    // It is in use, and nobody takes its place.
    let path = controller.path(&name);
    assert_eq!(controller.create(&name).unwrap_err().kind(), ErrorKind::ResourceBusy);
    let inside = fs::read_to_string(path.join("busy/cgroup.procs")).unwrap();
    assert_eq!(inside.lines().count(), 2, "the process and its child: {inside}");
    groups.end().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!path.exists());
    remove(&path).unwrap();

    // An empty one is replaced.
    controller.create(&name).unwrap().add("old", ms(1), ms(1)).unwrap();
    controller.create(&name).unwrap();
    assert!(!path.join("old").exists());
    remove(&path).unwrap();
}
