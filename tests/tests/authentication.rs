//! `auth: digest` in a lab: mobile nodes and unmodified programs get in, nobody else does.

use samp_tests::Lab;
use samp_tests::lab::{beside_the_tests, topology};
use std::fs;
use std::path::PathBuf;

/// The city, with authentication and a user of one's own.
fn city(name: &str, auth: &str) -> PathBuf {
    let text = fs::read_to_string(topology("topologies/grid-small.yaml")).expect("the shipped topology");
    let path = std::env::temp_dir().join(format!("samp-{name}-{}.yaml", std::process::id()));
    let knobs = format!("samp: {{ auth: {auth}, passwords: {{ alice: wonderland1 }} }}");
    fs::write(&path, format!("{text}\n{knobs}\n")).expect("written");
    path
}

#[test]
fn ten_thousand_forged_requests_change_no_binding() {
    let file = city("forged", "digest");
    let lab = Lab::up(&file, &[]);
    lab.json(&["call", "mn1", "mn2"]);
    lab.json(&["hangup"]);
    let address =
        |node: &str| lab.json(&["inspect", node])["address"].as_str().expect("an address").to_owned();
    let bindings = || {
        let ring = lab.json(&["ring"]);
        let servers = ring.as_array().expect("a list").iter();
        servers
            .map(|place| (place["home_bindings"].clone(), place["anchor_bindings"].clone()))
            .collect::<Vec<_>>()
    };
    let before = bindings();
    let flooder = beside_the_tests("samp-flood");
    let flooder = flooder.to_str().expect("UTF-8");
    for server in ["s1", "s2"] {
        let target = format!("{}:5060", address(server));
        let told = lab.exec(server, &[flooder, "forge", &target, "5000"]);
        assert_eq!(told.trim(), "5000 0", "all refused, none accepted");
    }
    assert_eq!(bindings(), before);
    // Everybody is still where they were, moves, and is found.
    for node in (1..=8).map(|number| format!("mn{number}")) {
        lab.json(&[
            "handoff",
            &node,
            if lab.json(&["inspect", &node])["attached_to"] == "ar-3-3" { "ar-0-0" } else { "ar-3-3" },
        ]);
    }
    let call = lab.json(&["call", "mn3", "mn4"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    lab.down();
    fs::remove_file(file).expect("removed");
}

#[test]
fn an_unmodified_program_registers_with_its_password_and_not_with_another() {
    // This sipp knows MD5 only, and looks at the first challenge alone.
    let file = city("sipp", "digest_md5");
    let lab = Lab::up(&file, &[]);
    let mn1 = lab.json(&["inspect", "mn1"]);
    let (user, password) = (
        mn1["credentials"]["user"].as_str().expect("a user"),
        mn1["credentials"]["password"].as_str().expect("one"),
    );
    let server = format!("{}:5060", lab.json(&["inspect", "s1"])["address"].as_str().expect("an address"));
    for (user, password, fits) in
        [("alice", "wonderland1", true), (user, password, true), ("alice", "wrong", false)]
    {
        let scenario =
            std::env::temp_dir().join(format!("samp-{user}-{password}-{}.xml", std::process::id()));
        fs::write(&scenario, register(user, password)).expect("written");
        let sipp =
            ["sipp", "-sf", scenario.to_str().expect("UTF-8"), "-m", "1", "-nostdin", "-timeout", "20s"];
        let run = lab.run(
            &[&["exec", "s1", "--"], &sipp[..], &["-auth_uri", "samp.test", "-p", "5070", &server]].concat(),
        );
        assert_eq!(run.status.success(), fits, "{user} {password}: {run:?}");
        fs::remove_file(scenario).expect("removed");
    }
    lab.down();
    fs::remove_file(file).expect("removed");
}

/// A scenario of sipp's: REGISTER, challenge, REGISTER with credentials, 200.
fn register(user: &str, password: &str) -> String {
    let request = |cseq: u32, credentials: &str| {
        format!(
            "<send retrans=\"500\"><![CDATA[\n\
             REGISTER sip:samp.test SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             Max-Forwards: 70\n\
             From: <sip:{user}@samp.test>;tag=[call_number]\n\
             To: <sip:{user}@samp.test>\n\
             Call-ID: [call_id]\n\
             CSeq: {cseq} REGISTER\n\
             Contact: <sip:{user}@[local_ip]:[local_port]>\n\
             Expires: 600\n\
             {credentials}\
             Content-Length: 0\n\n]]></send>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?>\n<scenario name=\"register\">{}<recv response=\"401\" auth=\"true\"/>{}\
         <recv response=\"200\"/></scenario>\n",
        request(1, ""),
        request(2, &format!("[authentication username={user} password={password}]\n")),
    )
}
