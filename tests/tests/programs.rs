//! Programs of the user's at nodes, in the place of samp-lab's own.

use samp_tests::lab::{run, stdout, unique_name};
use samp_tests::{Lab, lab};
use std::path::PathBuf;

/// A topology file that is gone when the test is over.
struct File(PathBuf);

impl File {
    /// Two access routers, samp-lab's server and mobile node, and a server and a mobile node with these programs.
    fn new(server: &str, mobile_node: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.yaml", unique_name()));
        let text = format!(
            "nodes:\n  ar1: {{ kind: access_router }}\n  ar2: {{ kind: access_router }}\n  s1: {{ kind: sip_server }}\n  \
             own: {{ kind: sip_server, program: {server} }}\n  mn1: {{ kind: mobile_node, start: ar1 }}\n  \
             mine: {{ kind: mobile_node, start: ar2, program: {mobile_node} }}\nlinks:\n  \
             - {{ between: [ar1, ar2], one_way_delay: 2ms }}\n  - {{ between: [ar1, s1], one_way_delay: 1ms }}\n  \
             - {{ between: [ar2, own], one_way_delay: 1ms }}\n"
        );
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }

    fn up(&self) -> Lab {
        Lab::up(&self.0, &["--allow-programs"])
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn they_run_where_they_belong_with_the_labs_addresses() {
    let echo = lab::beside_the_tests("samp-echo");
    let echo = echo.display();
    let file = File::new(
        &format!("[{echo}, serve, '{{host}}:7000']"),
        "[sh, -c, 'echo at {address} for {address_of_record} of {name}; pwd; exec sleep 1000']",
    );
    let lab = file.up();
    let asked = lab
        .exec("mine", &[&lab::beside_the_tests("samp-echo").display().to_string(), "ask", "172.16.0.4:7000"]);
    assert_eq!(asked, "");
    let said = stdout(lab.run(&["logs", "mine"]));
    let address = lab.json(&["inspect", "mine"])["address"].as_str().expect("an address").to_owned();
    assert!(said.contains(&format!("at {address} for sip:mine@samp.test of mine")), "{said}");
    assert!(said.contains(&format!("{}/work/mine", lab.name())), "{said}");
    // The server has served its one exchange, which is no failure.
    let mut own = lab.json(&["inspect", "own"]);
    while own["agent"] == "running" {
        own = lab.json(&["inspect", "own"]);
    }
    assert_eq!(own["agent"], "done", "{own:#}");

    let handoff = lab.json(&["handoff", "mine", "ar1"]);
    assert_eq!(handoff["missing"], serde_json::json!([]), "{handoff:#}");
    let moved = handoff["address"].as_str().expect("an address");
    assert_ne!(moved, address);
    assert!(lab.exec("mine", &["ip", "-o", "addr", "show", "radio0"]).contains(&format!("{moved}/32")));
    lab.json(&["pause", "mine"]);
    assert_eq!(lab.json(&["inspect", "mine"])["agent"], "paused");
    lab.json(&["kill", "mine"]);
    assert_eq!(lab.json(&["inspect", "mine"])["agent"], "dead");
    assert!(!lab.run(&["call", "mine", "mn1"]).status.success(), "nobody there can be told to call");
    lab.down();
}

#[test]
fn they_need_consent_and_a_file_to_run() {
    let file = File::new("[sleep, '1000']", "[no-such-program]");
    let path = file.0.to_str().expect("UTF-8");
    let name = unique_name();
    let refused = run(["up", path, "--name", &name]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("no-such-program, sleep") && said.contains("--allow-programs"), "{said}");
    let missing = run(["up", path, "--name", &name, "--allow-programs"]);
    assert_eq!(missing.status.code(), Some(4));
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("cannot run `no-such-program`"), "{said}");
}

#[test]
fn one_that_fails_at_once_fails_the_lab_and_says_why() {
    let file = File::new("[sh, -c, 'echo it is broken >&2; exit 3']", "[sleep, '1000']");
    let path = file.0.to_str().expect("UTF-8");
    let name = unique_name();
    let failed = run(["up", path, "--name", &name, "--allow-programs"]);
    // What is left is the log.
    stdout(run(["down", &name]));
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("the program of `own` ended with exit code 3: it is broken"), "{said}");
}
