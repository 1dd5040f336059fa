//! The grammar against another implementation's, and against messages made to torture one (in the manner of RFC 4475).

mod reference;

use proptest::prelude::*;
use samp_protocol::sip::{self, Contact, Message, NameAddr, Params};

const INVITE: &str = "INVITE sip:mn2@10.1.0.3:5060;gr;x=%41?subject=a&b=c SIP/2.0\r\n\
    Via: SIP/2.0/UDP 172.16.0.2:5060;branch=z9hG4bKb;rport, SIP / 2.0 / TCP a.example ; branch = z9hG4bKa\r\n\
    v: SIP/2.0/UDP [fd53:414d::2]:5060;branch=z9hG4bK0;received=[fd53::1]\r\n\
    Max-Forwards: 0069\r\nRoute: <sip:p1;lr>, <sip:p2;lr>;x=\"a,<b>;\\\"c\"\r\n\
    From: \"One, \\\"Two\\\" <\" <sip:mn1@samp.test>;tag=f\r\nt: sip:mn2@samp.test;q=0.5\r\n\
    i: c1@[::1]\r\nCSeq: 0001\r\n  INVITE\r\nm: Mobile Node <sip:mn1@10.0.1.2:5060>;expires=60\r\n\
    Expires: 300\r\nX-Unknown  :  kept as it is\r\nl: 4\r\n\r\nv=0\nand more";

const RESPONSE: &str = "SIP/2.0 200 \r\nVia: SIP/2.0/UDP 10.0.1.2\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
    Call-ID: x\r\nCSeq: 7 REGISTER\r\nContact: *\r\nContent-Length: 0\r\n\r\n";

/// Ours, told as the other tells it: parameters of fields without quotes, their names in lower case.
fn plain(mut message: Message) -> Message {
    let headers = match &mut message {
        Message::Request(request) => &mut request.headers,
        Message::Response(response) => &mut response.headers,
    };
    let contacts = headers.contact.iter_mut().filter_map(|contact| match contact {
        Contact::All => None,
        Contact::Address(address) => Some(address),
    });
    let addresses: Vec<&mut NameAddr> =
        [&mut headers.from, &mut headers.to].into_iter().chain(&mut headers.route).chain(contacts).collect();
    addresses.into_iter().for_each(|address| unquote(&mut address.params));
    headers.via.iter_mut().for_each(|via| unquote(&mut via.params));
    message
}

fn unquote(params: &mut Params) {
    for (name, value) in &mut params.0 {
        name.make_ascii_lowercase();
        let Some(quoted) = value.as_deref().and_then(|value| value.strip_prefix('"')) else { continue };
        let mut characters = quoted.strip_suffix('"').expect("a closing quote").chars();
        let mut text = String::new();
        while let Some(character) = characters.next() {
            text.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
        *value = Some(text);
    }
}

/// What is taken here is taken by the other, as the same message; written, it is read again as what it was.
fn check(datagram: &[u8]) -> Result<(), TestCaseError> {
    let Ok(ours) = sip::parse(datagram) else { return Ok(()) };
    let written = ours.to_bytes();
    let again = sip::parse(&written).ok();
    prop_assert_eq!(again.as_ref(), Some(&ours), "{}", String::from_utf8_lossy(&written));
    prop_assert_eq!(Some(plain(ours)), reference::parse(datagram));
    Ok(())
}

/// The INVITE with one piece of it replaced.
fn with(old: &str, new: &str) -> String {
    assert!(INVITE.contains(old), "{old}");
    INVITE.replacen(old, new, 1)
}

#[test]
fn ordinary_messages_mean_the_same_to_both() {
    for text in [INVITE, RESPONSE] {
        assert!(sip::parse(text.as_bytes()).is_ok(), "{:?}", sip::parse(text.as_bytes()));
        check(text.as_bytes()).expect("the same");
    }
}

#[test]
fn what_is_legal_is_taken() {
    for (old, new) in [
        ("INVITE sip", "INVITE SIP"),
        ("SIP/2.0\r\nVia", "sip/2.0\r\nVia"),
        ("mn2@", "%6d~n;2?/,:secret@"),
        ("mn2@10.1.0.3:5060;gr;x=%41", "[2001:db8::1]:65535;maddr=[::1]"),
        ("\"One, \\\"Two\\\" <\" ", ""),
        ("\"One, \\\"Two\\\" <\" ", "\"\u{e9}\u{4e2d}\" "),
        ("<sip:mn1@samp.test>;tag=f", "<sip:mn1@samp.test>;tag=f;unknown;quoted=\"\\\\\""),
        ("Max-Forwards: 0069\r\n", ""),
        ("Max-Forwards: 0069", "max-forwards:\t255"),
        ("CSeq: 0001\r\n  INVITE", "cSEQ: 2147483647 INVITE"),
        ("l: 4\r\n", ""),
        ("X-Unknown  :  kept as it is", "!X%~*: "),
    ] {
        let text = with(old, new);
        assert!(sip::parse(text.as_bytes()).is_ok(), "{:?}: {text}", sip::parse(text.as_bytes()));
        check(text.as_bytes()).expect("the same");
    }
    let other = RESPONSE.replace("REGISTER", "What-Ever!").replace("200 ", "699 \u{4e2d}  text");
    assert!(sip::parse(other.as_bytes()).is_ok());
}

#[test]
fn what_is_not_legal_is_refused() {
    for (old, new) in [
        ("INVITE sip", "INVITE  sip"),
        ("INVITE sip", "INV ITE sip"),
        ("INVITE sip", "<INVITE> sip"),
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        ("SIP/2.0\r\nVia", "SIP/2.0 \r\nVia"),
        ("INVITE sip:mn2", "INVITE <sip:mn2"),
        ("mn2@", "@"),
        ("mn2@", "m%4@"),
        ("mn2@", "m\u{e9}@"),
        ("10.1.0.3:5060;gr", "10.1.0.3:65536;gr"),
        ("10.1.0.3:5060;gr", "10.1.0.3:;gr"),
        ("10.1.0.3:5060;gr", "[10.1.0.3]:5060;gr"),
        ("10.1.0.3:5060;gr", "a_b!c;gr"),
        (";gr;x=%41", ";gr;GR=1"),
        (";gr;x=%41", ";gr;;x"),
        (";gr;x=%41", ";=x"),
        ("?subject=a&b=c", "?"),
        ("?subject=a&b=c", "?a=b&&"),
        ("Via: SIP/2.0/UDP 172", "Via: SIP/3.0/UDP 172"),
        ("Via: SIP/2.0/UDP 172", "Via: SIP/2.0/UDP172"),
        ("Via: SIP/2.0/UDP 172", "Via: , SIP/2.0/UDP 172"),
        (";branch=z9hG4bKb;rport", ";branch=z9hG4bKb;;rport"),
        (";branch=z9hG4bKb;rport", ";branch=;rport"),
        ("Max-Forwards: 0069", "Max-Forwards: 256"),
        ("Max-Forwards: 0069", "Max-Forwards: -1"),
        ("Max-Forwards: 0069", "Max-Forwards: 1\r\nMax-Forwards: 1"),
        ("\"One, \\\"Two\\\" <\" ", "\"One "),
        ("\"One, \\\"Two\\\" <\" ", "One, Two "),
        ("<sip:mn1@samp.test>;tag=f", "<sip:mn1@samp.test;tag=f"),
        ("<sip:mn1@samp.test>;tag=f", "< sip:mn1@samp.test>;tag=f"),
        ("<sip:mn1@samp.test>;tag=f", "<sip:mn1@samp.test> tag=f"),
        ("<sip:mn1@samp.test>;tag=f", "<tel:1>;tag=f"),
        ("t: sip:mn2@samp.test;", "t: sip:mn2@samp.test?a=b;"),
        ("i: c1@[::1]", "i:"),
        ("i: c1@[::1]", "i: two words"),
        ("i: c1@[::1]", "i: 1\r\nCall-ID: 1"),
        ("CSeq: 0001\r\n  INVITE", "CSeq: 2147483648 INVITE"),
        ("CSeq: 0001\r\n  INVITE", "CSeq: +1 INVITE"),
        ("CSeq: 0001\r\n  INVITE", "CSeq: 1 invite"),
        ("CSeq: 0001\r\n  INVITE", "CSeq: 1"),
        ("Expires: 300", "Expires: 4294967296"),
        ("X-Unknown  :", "X Unknown  :"),
        ("X-Unknown  :", ":"),
        ("X-Unknown  :", "X-Unknown  "),
        ("l: 4", "l: 13"),
        ("l: 4", "l: -1"),
        ("l: 4", "l: 4\r\nContent-Length: 4"),
        ("m: Mobile Node <sip:mn1@10.0.1.2:5060>", "m: *, <sip:mn1@10.0.1.2:5060>"),
    ] {
        let text = with(old, new);
        assert!(sip::parse(text.as_bytes()).is_err(), "taken: {text}");
    }
    for status in ["99", "099", "700", "2000", "2xx"] {
        assert!(sip::parse(RESPONSE.replace("200", status).as_bytes()).is_err(), "{status}");
    }
}

#[test]
fn counts_are_bounded() {
    let many = |what: &str, count| with("X-Unknown  :  kept as it is\r\n", &what.repeat(count));
    assert!(sip::parse(many("X: y\r\n", 245).as_bytes()).is_ok());
    assert!(sip::parse(many("X: y\r\n", 246).as_bytes()).is_err());
    for place in [";gr", ";tag=f", ";branch=z9hG4bKb"] {
        let params = |count| (1..count).map(|number| format!(";p{number}")).collect::<String>();
        let text = |count| with(place, &params(count)).replace(";x=%41", "").replacen(";rport", "", 1);
        assert!(sip::parse(text(65).as_bytes()).is_ok(), "{place}");
        assert!(sip::parse(text(66).as_bytes()).is_err(), "{place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A few bytes of a message replaced by others that mean something in the grammar.
    #[test]
    fn what_is_taken_here_is_the_same_to_the_other(
        request in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..3usize, "[ \t\"<>@:;,=%?&\\[\\]*/.a-c0-2\\\\-]{0,2}"), 1..4),
    ) {
        let mut text = if request { INVITE } else { RESPONSE }.to_owned();
        for (place, removed, new) in changes {
            let from = place.index(text.len());
            text.replace_range(from..(from + removed).min(text.len()), &new);
        }
        check(text.as_bytes())?;
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
        let mut message = INVITE.as_bytes().to_vec();
        message.splice(at.index(message.len()).., bytes);
        check(&message)?;
    }
}
