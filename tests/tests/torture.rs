//! SIP messages of unusual but valid form, and of invalid form, as RFC 4475 has them but of our own writing: what a
//! server answers, and that all it accepts survives being sent on.

use samp_model::Time;
use samp_model::settings::SampSettings;
use samp_protocol::sip::{Message, Transport, parse, refusal};
use samp_protocol::{Input, Node, SampServer};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is answered with this status.
    Answered(u16),
    /// It is understood, but needs no answer.
    Taken,
    /// It is not understood, nor is whom to tell, and so dropped by the agent.
    Dropped,
}

use Fate::{Answered, Dropped, Taken};

/// A request as everybody writes it; `|` ends a line.
const OPTIONS: &str = "OPTIONS sip:10.0.0.1 SIP/2.0|Via: SIP/2.0/UDP 10.9.9.9:5070;branch=z9hG4bK1|Max-Forwards: 70|\
    From: <sip:mn1@samp.test>;tag=a|To: <sip:10.0.0.1>|Call-ID: c1|CSeq: 7 OPTIONS|Content-Length: 0||";
const REGISTER: &str = "REGISTER sip:samp.test SIP/2.0|Via: SIP/2.0/UDP 10.9.9.9:5070;branch=z9hG4bK1|Max-Forwards: 70|\
    From: <sip:mn1@samp.test>;tag=a|To: <sip:mn1@samp.test>|Call-ID: c1|CSeq: 7 REGISTER|\
    Contact: <sip:mn1@10.9.9.9:5070>|Content-Length: 0||";

/// Name of the case, message, what is replaced in it by what, fate.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], Fate);

const CASES: &[Case] = &[
    // Valid.
    ("as everybody writes it", OPTIONS, &[], Answered(200)),
    ("a registration as everybody writes it", REGISTER, &[], Answered(200)),
    (
        "compact names",
        REGISTER,
        &[
            ("Via", "v"),
            ("From", "f"),
            ("To", "t"),
            ("Call-ID", "i"),
            ("Contact", "m"),
            ("Content-Length", "l"),
        ],
        Answered(200),
    ),
    (
        "names in any case",
        REGISTER,
        &[("Via", "vIA"), ("CSeq", "cSEQ"), ("Call-ID", "CALL-id"), ("Contact", "CONTACT")],
        Answered(200),
    ),
    ("folded lines", REGISTER, &[("From: <", "From:|  <"), (">;tag=a", ">|\t;tag=a")], Answered(200)),
    ("space before colons", REGISTER, &[("From:", "From  :"), ("CSeq: 7", "CSeq\t:    7")], Answered(200)),
    (
        "space within a Via",
        OPTIONS,
        &[("SIP/2.0/UDP 10.9.9.9:5070;branch", "SIP / 2.0 / UDP   10.9.9.9:5070 ; branch")],
        Answered(200),
    ),
    (
        "several Via values in one field",
        OPTIONS,
        &[("|Max", ", SIP/2.0/UDP 10.9.9.8;branch=z9hG4bK0|Max")],
        Answered(200),
    ),
    ("an escaped letter", REGISTER, &[("To: <sip:mn1@", "To: <sip:%6d%6E1@")], Answered(200)),
    ("an escaped zero", REGISTER, &[("Contact: <sip:mn1@", "Contact: <sip:null-%00-null@")], Answered(200)),
    (
        "an escaped at",
        REGISTER,
        &[("Contact: <sip:mn1@", "Contact: <sip:user%40example.com@")],
        Answered(200),
    ),
    (
        "a semicolon in the user part",
        REGISTER,
        &[("Contact: <sip:mn1@", "Contact: <sip:user;par=u%40example.net@")],
        Answered(200),
    ),
    ("a password", REGISTER, &[("Contact: <sip:mn1@", "Contact: <sip:mn1:secret@")], Answered(200)),
    (
        "a host in upper case",
        REGISTER,
        &[("REGISTER sip:samp.test", "REGISTER sip:SAMP.Test")],
        Answered(200),
    ),
    ("scheme in upper case", REGISTER, &[("Contact: <sip:", "Contact: <SIP:")], Answered(200)),
    (
        "an IPv6 reference",
        REGISTER,
        &[("<sip:mn1@10.9.9.9:5070>", "<sip:mn1@[fd00::9]:5070>")],
        Answered(200),
    ),
    (
        "no angle brackets",
        REGISTER,
        &[("Contact: <sip:mn1@10.9.9.9:5070>", "Contact: sip:mn1@10.9.9.9:5070;expires=90")],
        Answered(200),
    ),
    (
        "several contacts in one field",
        REGISTER,
        &[("5070>", "5070>;q=0.3, <sip:mn1@10.9.9.8>;q=1.000")],
        Answered(200),
    ),
    (
        "a display name with everything in it",
        REGISTER,
        &[("From: <", "From: \"a \\\"b\\\" , ; <sip:x@y> \\\\ \" <")],
        Answered(200),
    ),
    ("an empty display name", REGISTER, &[("From: <", "From: \"\" <")], Answered(200)),
    ("a display name of tokens", REGISTER, &[("From: <", "From: Mobile  Node 1 <")], Answered(200)),
    ("a display name in UTF-8", REGISTER, &[("From: <", "From: \"Mobiler Knoten № 1\" <")], Answered(200)),
    (
        "parameters without value",
        REGISTER,
        &[("5070>", "5070;ob;lr>;methods=\"INVITE,BYE\";audio")],
        Answered(200),
    ),
    (
        "fields that nobody knows",
        OPTIONS,
        &[("|Call-ID", "|X-1: \u{1}?|NewField: a;b=\"c,d\",, e|Call-ID")],
        Answered(200),
    ),
    ("an empty field", OPTIONS, &[("|Call-ID", "|Subject:|Organization:   |Call-ID")], Answered(200)),
    ("a date that is none", OPTIONS, &[("|Call-ID", "|Date: Fri, 32 Foo 2010|Call-ID")], Answered(200)),
    (
        "a long tag",
        OPTIONS,
        &[("tag=a", "tag=0123456789.0123456789-0123456789_0123456789!0123456789~0123456789'0123456789*")],
        Answered(200),
    ),
    (
        "a Call-ID of every word character",
        OPTIONS,
        &[("Call-ID: c1", "Call-ID: -.!%*_+`'~()<>:\\\"/[]?{}@host")],
        Answered(200),
    ),
    (
        "numbers with leading zeros",
        OPTIONS,
        &[("CSeq: 7", "CSeq: 0007"), ("Forwards: 70", "Forwards: 0070")],
        Answered(200),
    ),
    ("the highest CSeq", OPTIONS, &[("CSeq: 7", "CSeq: 2147483647")], Answered(200)),
    ("no Content-Length", OPTIONS, &[("Content-Length: 0|", "")], Answered(200)),
    ("bytes behind the end", OPTIONS, &[("||", "||INVITE sip:x SIP/2.0|")], Answered(200)),
    (
        "empty lines in front, which only a stream may have",
        OPTIONS,
        &[("OPTIONS sip:10", "||OPTIONS sip:10")],
        Dropped,
    ),
    ("no Max-Forwards", OPTIONS, &[("Max-Forwards: 70|", "")], Answered(200)),
    ("a binary body", OPTIONS, &[("Length: 0||", "Length: 4||\u{0}\u{1}\u{7f}|")], Answered(200)),
    ("a transport that is to come", OPTIONS, &[("SIP/2.0/UDP", "SIP/2.0/TLS-SCTP")], Answered(200)),
    (
        "a route through this server",
        REGISTER,
        &[("|Call-ID", "|Route: <sip:10.0.0.1;lr>|Call-ID")],
        Answered(200),
    ),
    ("a query", REGISTER, &[("Contact: <sip:mn1@10.9.9.9:5070>|", "")], Answered(200)),
    (
        "removal of what is not there",
        REGISTER,
        &[("Contact: <sip:mn1@10.9.9.9:5070>", "Contact: *|Expires: 0")],
        Answered(200),
    ),
    (
        "a method of strange letters",
        OPTIONS,
        &[
            ("OPTIONS", "!interesting-Method0123456789_*+`.%indeed'~"),
            ("sip:10.0.0.1 SIP", "sip:nobody@samp.test SIP"),
        ],
        Answered(404),
    ),
    (
        "an ACK to nothing",
        OPTIONS,
        &[("OPTIONS", "ACK"), ("sip:10.0.0.1 SIP", "sip:nobody@samp.test SIP")],
        Taken,
    ),
    (
        "a response to nothing",
        OPTIONS,
        &[("OPTIONS sip:10.0.0.1 SIP/2.0", "SIP/2.0 200 = 2**3 * 52 ü")],
        Taken,
    ),
    ("a response without reason", OPTIONS, &[("OPTIONS sip:10.0.0.1 SIP/2.0", "SIP/2.0 100 ")], Taken),
    // Valid in form, wrong in content.
    ("no hops left", OPTIONS, &[("Forwards: 70", "Forwards: 0")], Answered(483)),
    (
        "an extension that nobody has",
        REGISTER,
        &[("|Call-ID", "|Require: nothingSupportsThis|Call-ID")],
        Answered(420),
    ),
    (
        "another domain's user",
        REGISTER,
        &[("To: <sip:mn1@samp.test", "To: <sip:mn1@example.com")],
        Answered(404),
    ),
    ("no user", REGISTER, &[("To: <sip:mn1@samp.test", "To: <sip:samp.test")], Answered(404)),
    ("all contacts and a lifetime", REGISTER, &[("<sip:mn1@10.9.9.9:5070>", "*|Expires: 3")], Answered(400)),
    (
        "all contacts and one",
        REGISTER,
        &[("<sip:mn1@10.9.9.9:5070>", "*|Contact: <sip:a@b>|Expires: 0")],
        Answered(400),
    ),
    ("too brief", REGISTER, &[("5070>", "5070>;expires=1")], Answered(423)),
    // Invalid.
    ("nothing", "", &[], Dropped),
    ("a keep-alive", "||||", &[], Dropped),
    ("no Via", OPTIONS, &[("Via: SIP/2.0/UDP 10.9.9.9:5070;branch=z9hG4bK1|", "")], Dropped),
    ("no From", OPTIONS, &[("From: <sip:mn1@samp.test>;tag=a|", "")], Dropped),
    ("no To", OPTIONS, &[("To: <sip:10.0.0.1>|", "")], Dropped),
    ("no Call-ID", OPTIONS, &[("Call-ID: c1|", "")], Dropped),
    ("no CSeq", OPTIONS, &[("CSeq: 7 OPTIONS|", "")], Dropped),
    ("two of what there is one of", OPTIONS, &[("Call-ID: c1|", "Call-ID: c1|Call-ID: c2|")], Dropped),
    ("two CSeq", OPTIONS, &[("CSeq: 7 OPTIONS|", "CSeq: 7 OPTIONS|CSeq: 8 OPTIONS|")], Dropped),
    ("another method in CSeq", OPTIONS, &[("CSeq: 7 OPTIONS", "CSeq: 7 INVITE")], Answered(400)),
    ("CSeq beyond 32 bits", OPTIONS, &[("CSeq: 7", "CSeq: 36893488147419103232")], Dropped),
    ("CSeq below zero", OPTIONS, &[("CSeq: 7", "CSeq: -7")], Dropped),
    ("a lifetime of no number", REGISTER, &[("|Call-ID", "|Expires: 0.5|Call-ID")], Dropped),
    ("hops of no number", OPTIONS, &[("Forwards: 70", "Forwards: many")], Dropped),
    ("more hops than there are", OPTIONS, &[("Forwards: 70", "Forwards: 256")], Dropped),
    ("a length below zero", OPTIONS, &[("Length: 0", "Length: -999")], Dropped),
    ("more length than bytes", OPTIONS, &[("Length: 0", "Length: 9999")], Answered(400)),
    ("an open quote", OPTIONS, &[("To: <", "To: \"Mr. J. User <")], Dropped),
    ("an open bracket", OPTIONS, &[("To: <sip:10.0.0.1>", "To: <sip:10.0.0.1")], Dropped),
    (
        "brackets around the Request-URI",
        OPTIONS,
        &[("sip:10.0.0.1 SIP", "<sip:10.0.0.1> SIP")],
        Answered(400),
    ),
    ("space in the Request-URI", OPTIONS, &[("sip:10.0.0.1 SIP", "sip:10.0.0.1; lr SIP")], Answered(400)),
    ("two spaces in the start line", OPTIONS, &[("OPTIONS sip", "OPTIONS  sip")], Answered(400)),
    ("space behind the start line", OPTIONS, &[("SIP/2.0|Via", "SIP/2.0  |Via")], Dropped),
    (
        "an ACK of another version",
        OPTIONS,
        &[("OPTIONS sip:10.0.0.1 SIP/2.0", "ACK sip:10.0.0.1 SIP/7.0"), ("7 OPTIONS", "7 ACK")],
        Dropped,
    ),
    ("another version", OPTIONS, &[("SIP/2.0|Via", "SIP/7.0|Via")], Answered(505)),
    ("no version", OPTIONS, &[(" SIP/2.0|Via", "|Via")], Dropped),
    ("a line without colon", OPTIONS, &[("|Call-ID", "|nothing|Call-ID")], Dropped),
    (
        "a scheme that nobody knows",
        OPTIONS,
        &[("OPTIONS sip:", "OPTIONS nobodyKnowsThisScheme:")],
        Answered(416),
    ),
    ("a port that is too high", OPTIONS, &[("sip:10.0.0.1 SIP", "sip:10.0.0.1:65536 SIP")], Answered(400)),
    (
        "a status of four digits",
        OPTIONS,
        &[("OPTIONS sip:10.0.0.1 SIP/2.0", "SIP/2.0 4294967301 better not")],
        Dropped,
    ),
    ("a status of two digits", OPTIONS, &[("OPTIONS sip:10.0.0.1 SIP/2.0", "SIP/2.0 99 too low")], Dropped),
    ("only a start line", "OPTIONS sip:10.0.0.1 SIP/2.0|", &[], Dropped),
];

fn written(text: &str, changes: &[(&str, &str)]) -> String {
    let changed = changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to)
    });
    changed.replace('|', "\r\n")
}

fn fate(datagram: &[u8]) -> Fate {
    let from = "10.9.9.9:5070".parse().expect("an address");
    let Ok(message) = parse(datagram) else {
        let refusal = refusal(datagram, from).map(|transmit| (*transmit.message).clone());
        return match refusal {
            Some(Message::Response(response)) => Answered(response.status),
            _ => Dropped,
        };
    };
    let again = parse(&message.to_bytes());
    assert_eq!(again.ok().as_ref(), Some(&message), "it survives being sent on");
    let address = "10.0.0.1:5060".parse().expect("an address");
    let mut server = SampServer::new(address, None, SampSettings::default(), None, 1, Time::ZERO);
    let input = Input::Message { from, to: address.ip(), transport: Transport::Udp, message, bytes: 0 };
    server.handle_input(Time::ZERO, input);
    let sent = std::iter::from_fn(|| server.poll_transmit());
    let answers = sent.filter_map(|transmit| match &*transmit.message {
        Message::Response(response) => Some(response.status),
        Message::Request(_) => None,
    });
    answers.last().map_or(Taken, Answered)
}

#[test]
fn every_message_has_its_fate() {
    let wrong: Vec<_> = CASES
        .iter()
        .map(|&(name, text, changes, expected)| (name, expected, fate(written(text, changes).as_bytes())))
        .filter(|(_, expected, found)| expected != found)
        .collect();
    assert!(wrong.is_empty(), "case, expected, found: {wrong:#?}");
    assert!(CASES.len() >= 80);
}
