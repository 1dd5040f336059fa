//! RFC 3261 §10.3 rule by rule; points 1 to 5 and 8 are also tested with the server, in `registration`.

use super::*;
use crate::sip::{Message, parse};

const AOR: &str = "sip:mn1@samp.test";
const MIN_EXPIRES: u32 = 5;

fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

fn register(to: &str, call_id: &str, cseq: u32, fields: &str) -> Request {
    let fields: String = fields.split('|').map(|field| format!("{field}\r\n")).collect();
    let text = format!(
        "REGISTER sip:samp.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nFrom: <{to}>;tag=a\r\n\
         To: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{}\r\n",
        fields.trim_start_matches("\r\n")
    );
    let Message::Request(request) = parse(text.as_bytes()).expect(&text) else { panic!("a request") };
    request
}

fn listed(registrar: &Registrar, now: Time) -> String {
    let contacts = registrar.contacts(now, AOR).into_iter().map(|contact| match contact {
        Contact::All => panic!("no registrar lists *"),
        Contact::Address(address) => address.to_string().replace("sip:", ""),
    });
    contacts.collect::<Vec<_>>().join(" ")
}

/// One REGISTER of a rule: instant in seconds, Call-ID, CSeq, fields, status (0 for success), bindings afterwards.
type Step = (u64, &'static str, u32, &'static str, u16, &'static str);

#[test]
fn every_rule_of_section_10_3() {
    let rules: &[(&str, &[Step])] = &[
        (
            "6: without Contact nothing changes, and what there is is listed",
            &[
                (0, "c", 1, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (1, "c", 2, "", 0, "<a@h>;expires=8"),
            ],
        ),
        (
            "6: * needs Expires 0 and no other contact",
            &[
                (0, "c", 1, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (0, "c", 2, "Contact: *", 400, "<a@h>;expires=9"),
                (0, "c", 2, "Contact: *|Expires: 1", 400, "<a@h>;expires=9"),
                (0, "c", 2, "Contact: *|Contact: <sip:b@h>|Expires: 0", 400, "<a@h>;expires=9"),
                (0, "c", 2, "Contact: *|Expires: 0", 0, ""),
            ],
        ),
        (
            "6: * removes bindings of another Call-ID, or of the same with a lower CSeq, else none",
            &[
                (0, "c", 5, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (0, "d", 1, "Contact: <sip:b@h>|Expires: 9", 0, "<a@h>;expires=9 <b@h>;expires=9"),
                (0, "c", 5, "Contact: *|Expires: 0", 500, "<a@h>;expires=9 <b@h>;expires=9"),
                (0, "c", 6, "Contact: *|Expires: 0", 0, ""),
            ],
        ),
        (
            "7: a contact's own expires beats Expires, which beats an hour",
            &[
                (0, "c", 1, "Contact: <sip:a@h>;expires=7|Expires: 9", 0, "<a@h>;expires=7"),
                (0, "c", 2, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (0, "c", 3, "Contact: <sip:a@h>", 0, "<a@h>;expires=3600"),
            ],
        ),
        (
            "7: expires that is no number counts as an hour, and none is longer than a day",
            &[
                (0, "c", 1, "Contact: <sip:a@h>;expires=soon|Expires: 9", 0, "<a@h>;expires=3600"),
                (0, "c", 2, "Contact: <sip:a@h>|Expires: 4294967295", 0, "<a@h>;expires=86400"),
            ],
        ),
        (
            "7: too brief is refused, zero is not too brief",
            &[
                (0, "c", 1, "Contact: <sip:a@h>;expires=4", 423, ""),
                (0, "c", 1, "Contact: <sip:a@h>|Expires: 1", 423, ""),
                (0, "c", 1, "Contact: <sip:a@h>|Expires: 5", 0, "<a@h>;expires=5"),
                (0, "c", 2, "Contact: <sip:a@h>|Expires: 0", 0, ""),
            ],
        ),
        (
            "7: a binding of another Call-ID is overwritten, whatever the CSeq",
            &[
                (0, "c", 9, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (0, "d", 1, "Contact: <sip:a@h>|Expires: 8", 0, "<a@h>;expires=8"),
            ],
        ),
        (
            "7: one of the same Call-ID needs a higher CSeq, for update and removal alike",
            &[
                (0, "c", 9, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (0, "c", 9, "Contact: <sip:a@h>|Expires: 8", 500, "<a@h>;expires=9"),
                (0, "c", 8, "Contact: <sip:a@h>|Expires: 0", 500, "<a@h>;expires=9"),
                (0, "c", 10, "Contact: <sip:a@h>|Expires: 0", 0, ""),
            ],
        ),
        (
            "7: all or nothing",
            &[
                (0, "c", 1, "Contact: <sip:a@h>|Expires: 9", 0, "<a@h>;expires=9"),
                (0, "c", 1, "Contact: <sip:b@h>, <sip:a@h>;expires=0|Expires: 9", 500, "<a@h>;expires=9"),
                (0, "c", 2, "Contact: <sip:b@h>, <sip:a@h>;expires=3|Expires: 9", 423, "<a@h>;expires=9"),
                (0, "c", 2, "Contact: <sip:b@h>, <sip:a@h>;expires=0|Expires: 9", 0, "<b@h>;expires=9"),
            ],
        ),
        (
            "7: contacts compare as URIs (§19.1.4), and the later of two in one request counts",
            &[
                (0, "c", 1, "Contact: <sip:%61@H;x=1>|Expires: 9", 0, "<%61@h;x=1>;expires=9"),
                (0, "c", 2, "Contact: <sip:a@h>, <sip:a@h;y=2>|Expires: 8", 0, "<a@h;y=2>;expires=8"),
                (
                    0,
                    "c",
                    3,
                    "Contact: <sip:a@h:5060>|Expires: 8",
                    0,
                    "<a@h;y=2>;expires=8 <a@h:5060>;expires=8",
                ),
            ],
        ),
        (
            "8: all bindings are listed with what is left of their lifetime, and with q",
            &[
                (0, "c", 1, "Contact: <sip:a@h>;q=0.5|Expires: 9", 0, "<a@h>;q=0.500;expires=9"),
                (
                    2,
                    "d",
                    1,
                    "Contact: <sip:b@h>;q=1.0, <sip:c@h>;q=7|Expires: 9",
                    0,
                    "<a@h>;q=0.500;expires=7 <b@h>;q=1.000;expires=9 <c@h>;expires=9",
                ),
                (9, "d", 2, "", 0, "<b@h>;q=1.000;expires=2 <c@h>;expires=2"),
                (11, "d", 3, "", 0, ""),
            ],
        ),
        (
            "not of the RFC: eight contacts at most",
            &[(
                0,
                "c",
                1,
                "Contact: <sip:1@h>, <sip:2@h>, <sip:3@h>, <sip:4@h>, <sip:5@h>, <sip:6@h>, <sip:7@h>, <sip:8@h>, \
                 <sip:9@h>",
                403,
                "",
            )],
        ),
    ];
    for (rule, steps) in rules {
        let mut registrar = Registrar::new(MIN_EXPIRES);
        for &(seconds, call_id, cseq, fields, code, after) in *steps {
            let result = registrar.register(at(seconds), &register(AOR, call_id, cseq, fields), 1);
            assert_eq!(result.err().unwrap_or(0), code, "{rule}: {call_id} {cseq} {fields}");
            assert_eq!(listed(&registrar, at(seconds)), after, "{rule}: {call_id} {cseq} {fields}");
        }
    }
}

#[test]
fn targets_come_in_the_order_of_their_preference() {
    let mut registrar = Registrar::new(MIN_EXPIRES);
    let contacts = "Contact: <sip:a@h>;q=0.2, <sip:b@h>, <sip:c@h>;q=0.9, <sip:d@h>";
    registrar.register(at(0), &register(AOR, "c", 1, contacts), 1).unwrap();
    let targets: Vec<_> = registrar.targets(at(1), AOR).iter().map(|target| target.uri.to_string()).collect();
    assert_eq!(targets, ["sip:d@h", "sip:b@h", "sip:c@h", "sip:a@h"]);
}

#[test]
fn long_texts_are_refused() {
    let mut registrar = Registrar::new(MIN_EXPIRES);
    let long = "x".repeat(MAX_WORD);
    for request in [
        register(AOR, "c", 1, &format!("Contact: <sip:{long}@h>")),
        register(AOR, &format!("c{long}"), 1, "Contact: <sip:a@h>"),
        register(&format!("sip:{long}@samp.test"), "c", 1, "Contact: <sip:a@h>"),
    ] {
        assert_eq!(registrar.register(at(0), &request, 1), Err(status::FORBIDDEN));
    }
    assert_eq!(registrar.len(), 0);
}

#[test]
fn what_expires_is_forgotten_in_bounded_steps() {
    let mut registrar = Registrar::new(MIN_EXPIRES);
    let count = 3 * EXPIRY_BATCH;
    for number in 0..count {
        let to = format!("sip:mn{number}@samp.test");
        let expires = if number % 2 == 0 { 10 } else { 20 };
        registrar
            .register(at(0), &register(&to, "c", 1, &format!("Contact: <sip:a@h>|Expires: {expires}")), 1)
            .unwrap();
    }
    assert_eq!((registrar.len(), registrar.next_expiry()), (count, Some(at(10))));
    registrar.expire(at(10));
    assert_eq!((registrar.len(), registrar.next_expiry()), (count - EXPIRY_BATCH, Some(at(10))));
    registrar.expire(at(10));
    assert_eq!((registrar.len(), registrar.next_expiry()), (count / 2, Some(at(20))));
    // A refresh moves the record in the queue.
    registrar
        .register(at(12), &register("sip:mn1@samp.test", "c", 2, "Contact: <sip:a@h>|Expires: 99"), 1)
        .unwrap();
    (0..2).for_each(|_| registrar.expire(at(20)));
    assert_eq!((registrar.len(), registrar.next_expiry()), (1, Some(at(111))));
}

#[test]
fn a_binding_takes_less_than_a_kibibyte() {
    let resident = || -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
    };
    let mut registrar = Registrar::new(MIN_EXPIRES);
    let before = resident();
    let count = 10_000;
    for number in 0..count {
        let mut request = register(
            AOR,
            &format!("3d5f8a90b1c2d3e4-{number}@10.0.{}.{}", number / 256, number % 256),
            1,
            &format!("Contact: <sip:mn{number}@10.0.{}.{}:5060;gr=samp.test>", number / 256, number % 256),
        );
        request.headers.to.uri.user = Some(format!("mn{number}"));
        registrar.register(at(0), &request, 1).unwrap();
    }
    let each = (resident() - before) / registrar.len();
    assert!(each <= 1024, "{each} bytes");
}

#[test]
fn replicas_keep_the_newest_write_and_remember_removals() {
    let now = Time::ZERO;
    let (mut home, mut replica) = (Registrar::new(MIN_EXPIRES), Registrar::new(MIN_EXPIRES));
    let key = identifier_of(AOR);
    home.register(now, &register(AOR, "c", 1, "Contact: <sip:a@h>"), 1).unwrap();
    let old = home.record(key).cloned().unwrap();
    home.register(now, &register(AOR, "c", 2, "Contact: *|Expires: 0"), 1).unwrap();
    let new = home.record(key).cloned().unwrap();
    assert_eq!(replica.store(new.clone()), Stored::Held);
    assert_eq!(replica.store(old), Stored::Refused);
    assert_eq!(replica.store(new.clone()), Stored::Held, "again");
    assert_eq!((listed(&replica, now).as_str(), replica.len()), ("", 0));
    assert_eq!(replica.record(key), Some(&new), "a tombstone");
    replica.expire(now + Duration::from_secs(DEFAULT_EXPIRES.into()));
    assert_eq!(replica.record(key), None);
}
