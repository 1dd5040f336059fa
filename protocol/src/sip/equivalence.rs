//! When two URIs are the same (RFC 3261 §19.1.4), and the one way to write a user part.

use super::uri::{Params, Uri};

/// Parameters that, when only one of the two URIs has them, make the URIs different; all others are ignored then.
const DECISIVE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl Uri {
    /// Whether both name the same resource (RFC 3261 §19.1.4). Not transitive, as parameters of only one of the two
    /// are mostly ignored.
    pub fn is_equivalent(&self, other: &Uri) -> bool {
        self.host == other.host
            && self.port == other.port
            && self.user.as_deref().map(unescape) == other.user.as_deref().map(unescape)
            && agree(&self.params, &other.params)
            && sorted_headers(self) == sorted_headers(other)
    }
}

/// The user part with nothing escaped that need not be (RFC 3261 §10.3, point 5), hexadecimal digits in upper case.
pub(super) fn unescape(user: &str) -> String {
    let mut plain = String::with_capacity(user.len());
    let mut rest = user;
    while let Some((before, after)) = rest.split_once('%') {
        plain += before;
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(code) = code else {
            plain.push('%');
            rest = after;
            continue;
        };
        // `unreserved` and `user-unreserved` of the grammar (§25.1).
        if code.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&code) {
            plain.push(code.into());
        } else {
            plain += &format!("%{code:02X}");
        }
        rest = &after[2..];
    }
    plain + rest
}

fn agree(one: &Params, other: &Params) -> bool {
    let covers = |one: &Params, other: &Params| {
        one.0.iter().all(|(name, value)| match other.get(name) {
            Some(present) => value.as_deref().unwrap_or("").eq_ignore_ascii_case(present),
            None => !DECISIVE.iter().any(|decisive| decisive.eq_ignore_ascii_case(name)),
        })
    };
    covers(one, other) && covers(other, one)
}

/// The URI's headers in an order of their own: names without case.
fn sorted_headers(uri: &Uri) -> Vec<(String, &str)> {
    let headers = uri.headers.iter().flat_map(|headers| headers.split('&'));
    let mut headers: Vec<_> = headers
        .map(|header| header.split_once('=').unwrap_or((header, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    headers.sort_unstable();
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_section_19_1_4() {
        for (one, other, same) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
                true,
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&Subject=project%20x",
                true,
            ),
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;maddr=239.255.255.1", false),
            ("sip:biloxi.com", "sip:bob@biloxi.com", false),
        ] {
            let (left, right): (Uri, Uri) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(left.is_equivalent(&right), same, "{one} and {other}");
            assert_eq!(right.is_equivalent(&left), same, "{other} and {one}");
        }
    }

    #[test]
    fn one_address_of_record_is_written_in_one_way() {
        for (uri, name) in [
            ("sip:%61lice@Samp.Test:5060;x=y", "sip:alice@samp.test"),
            ("sip:a%20b@samp.test", "sip:a%20b@samp.test"),
            ("sip:a%c3%bc@samp.test", "sip:a%C3%BC@samp.test"),
            ("sip:+1(23)@samp.test", "sip:+1(23)@samp.test"),
        ] {
            assert_eq!(uri.parse::<Uri>().unwrap().address_of_record(), name);
        }
    }
}
