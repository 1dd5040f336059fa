//! What handoffs and calls cost in messages.

use super::*;

/// A node sends a message of so many bytes.
fn sent(us: u64, node: &str, peer: IpAddr, call: &str, summary: &str, bytes: u32) -> Record {
    at(us, node, Event::MessageSent { peer, summary: summary.into(), call: call.into(), bytes })
}

/// The same with mn1 and mn2 for each other, and their addresses behind ar2.
fn mirrored(records: &[Record]) -> Vec<Record> {
    let text = serde_json::to_string(records).unwrap();
    let swap = |text: String, [one, other]: [&str; 2]| {
        text.replace(one, "swapped").replace(other, one).replace("swapped", other)
    };
    let text = swap(swap(text, ["mn1", "mn2"]), ["\"10.2.0.2\"", "\"10.2.0.3\""]);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn repetitions_late_answers_and_the_peers_handoff_are_told_apart() {
    let (mn1, mn2) = (care_of(1, 2), care_of(2, 2));
    let mut records = one_call();
    // mn2 moves before mn1 has its answer.
    records.extend(mirrored(&move_of_mn1(108_200)));
    records.extend(mirrored(&update_of(108_200, "c1", "mn2", mn2, 8500)));
    // A call of mn1's that begins meanwhile is none of the handoff's.
    records.extend(call(104_000, "c2", ["mn1", "mn3"], [mn1, care_of(3, 2)]));
    records.extend([
        sent(100_250, "mn1", SERVER, "r1", "REGISTER 3", 500),
        sent(103_000, "mn1", SERVER, "r1", "REGISTER 3", 500),
        sent(103_400, "sip1", mn1, "r1", "200 REGISTER 3", 400),
        sent(110_000, "sip1", mn1, "r1", "200 REGISTER 3", 400),
        sent(100_350, "mn1", mn2, "c1", "INVITE 2", 700),
        sent(104_400, "mn2", mn1, "c1", "200 INVITE 2", 600),
        sent(109_000, "mn2", mn1, "c1", "200 INVITE 2", 600),
        sent(108_600, "mn1", mn2, "c1", "ACK 2", 300),
        // It is renewed some time later.
        sent(150_000, "mn1", SERVER, "r1", "REGISTER 4", 500),
        sent(153_000, "sip1", mn1, "r1", "200 REGISTER 4", 400),
        // What mn2 begins has the same numbers.
        sent(108_450, "mn2", SERVER, "r2", "REGISTER 3", 50),
        sent(111_600, "sip1", mn2, "r2", "200 REGISTER 3", 40),
        sent(108_550, "mn2", mn1, "c1", "INVITE 2", 70),
        sent(112_200, "mn1", mn2, "c1", "200 INVITE 2", 60),
        sent(116_800, "mn2", mn1, "c1", "ACK 2", 30),
        sent(104_000, "mn1", SERVER, "c2", "INVITE 1", 7),
        sent(104_900, "sip1", care_of(3, 2), "c2", "INVITE 1", 8),
        sent(105_000, "mn3", SERVER, "c2", "200 INVITE 1", 6),
        sent(105_900, "sip1", mn1, "c2", "200 INVITE 1", 5),
        sent(106_100, "mn1", care_of(3, 2), "c2", "ACK 1", 3),
        sent(190_000, "mn1", care_of(3, 2), "c2", "BYE 2", 9),
    ]);
    let report = Report::assemble(&line(), &records);
    let of_handoffs: Vec<_> = report.handoffs.0.iter().map(|handoff| handoff.signalling).collect();
    assert_eq!(
        of_handoffs,
        [
            Some(Signalling { messages: 8, bytes: 2 * 500 + 2 * 400 + 700 + 2 * 600 + 300 }),
            Some(Signalling { messages: 5, bytes: 50 + 40 + 70 + 60 + 30 }),
        ]
    );
    let of_calls: Vec<_> = report.calls.iter().map(|call| (call.call.as_str(), call.signalling)).collect();
    let none = Signalling::default();
    let through_the_server = Signalling { messages: 5, bytes: 7 + 8 + 6 + 5 + 3 };
    assert_eq!(of_calls, [("c1", Some(none)), ("c2", Some(through_the_server))]);

    let mut text = String::new();
    write_summary(&mut text, &report.summary()).unwrap();
    assert!(text.contains("\nsignalling: each transmission"), "{text}");
}

#[test]
fn a_handoff_of_mobile_ip_is_two_messages_and_six_more_with_route_optimisation() {
    let (home, agent) = (ip(10, 9, 0, 1), SERVER);
    let (conversation, care_of_test) = (home.to_string(), care_of(1, 2).to_string());
    let message = |us, node, to, summary, bytes| sent(us, node, to, &conversation, summary, bytes);
    let mut records = one_call();
    records.extend([
        message(100_250, "mn1", agent, "BU 9", 100),
        message(104_000, "sip1", care_of(1, 2), "BAck 9 status 0", 80),
    ]);
    let cost = |records: &[Record]| Report::assemble(&line(), records).handoffs.0[0].signalling;
    assert_eq!(cost(&records), Some(Signalling { messages: 2, bytes: 180 }));
    records.extend([
        message(100_260, "mn1", care_of(2, 1), "HoTI", 10),
        sent(100_270, "mn1", care_of(2, 1), &care_of_test, "CoTI", 11),
        message(102_000, "mn2", home, "HoT", 12),
        sent(102_100, "mn2", care_of(1, 2), &care_of_test, "CoT", 13),
        // It has the number of the other one.
        message(104_500, "mn1", care_of(2, 1), "BU 9", 14),
        message(106_500, "mn2", care_of(1, 2), "BAck 9 status 0", 15),
        // A test that begins later belongs to what comes later.
        message(170_000, "mn1", care_of(2, 1), "HoTI", 10),
        message(175_000, "mn2", home, "HoT", 12),
    ]);
    assert_eq!(cost(&records), Some(Signalling { messages: 8, bytes: 180 + 10 + 11 + 12 + 13 + 14 + 15 }));
}

#[test]
fn what_is_not_recorded_or_not_complete_has_no_cost() {
    let mut topology = line();
    let mut records = one_call();
    records.push(sent(100_250, "mn1", SERVER, "r1", "REGISTER 3", 500));
    topology.samp.records = Records::Milestones;
    let report = Report::assemble(&topology, &records);
    assert_eq!((report.handoffs.0[0].signalling, report.calls[0].signalling), (None, None));
    let mut text = String::new();
    write_summary(&mut text, &report.summary()).unwrap();
    assert!(text.contains("records: milestones"), "{text}");
    // Nor one without an answer.
    records.retain(|record| !matches!(record.event, Event::Registered { .. }));
    assert_eq!(Report::assemble(&line(), &records).handoffs.0[0].signalling, None);
}
