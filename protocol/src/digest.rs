//! Digest authentication for SIP (RFC 3261 §22.4, RFC 7616, RFC 8760): what user agent and server both compute.

use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt;

/// A digest algorithm, the preferred one first (RFC 8760 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Sha256,
    /// For clients from before RFC 8760.
    Md5,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// None for the session variants, too: nobody is asked for them.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The hash of these texts with colons between, as hexadecimal digits.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Md5 => hex(&Md5::digest(text)),
        }
    }

    /// H(A1): all that a verifier has to know of a password (RFC 7616 §3.4.2).
    pub(crate) fn secret(self, username: &str, realm: &str, password: &str) -> String {
        self.hash(&[username, realm, password])
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes behind hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| char::from(*digits.as_bytes().get(at)?).to_digit(16);
    let byte = |at: usize| Some((digit(at)? << 4 | digit(at + 1)?) as u8);
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A WWW-Authenticate value (RFC 7616 §3.3), with `qop="auth"`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: String,
    pub(crate) algorithm: Algorithm,
    /// The credentials were right, but for their nonce.
    pub(crate) stale: bool,
}

impl Challenge {
    /// Reads a value; none for another scheme, an unknown algorithm, or a quality of protection without `auth`.
    pub(crate) fn read(value: &str) -> Option<Self> {
        let params = Params::read(value)?;
        let mut qop = params.get("qop")?.split(',');
        Some(Self {
            realm: params.get("realm")?.to_owned(),
            nonce: params.get("nonce")?.to_owned(),
            algorithm: Algorithm::from_name(params.get("algorithm").unwrap_or("MD5"))?,
            stale: params.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
        .filter(|_| qop.any(|word| word.trim().eq_ignore_ascii_case("auth")))
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realm, nonce, algorithm, stale } = self;
        let (realm, algorithm) = (quoted(realm), algorithm.name());
        write!(f, "Digest realm={realm}, nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}")?;
        if *stale { f.write_str(", stale=true") } else { Ok(()) }
    }
}

/// An Authorization value (RFC 7616 §3.4).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) realm: String,
    pub(crate) nonce: String,
    /// The Request-URI.
    pub(crate) uri: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) cnonce: String,
    /// How often the nonce has been used, this time included.
    pub(crate) count: u32,
    pub(crate) response: String,
}

impl Credentials {
    /// Reads a value; none for another scheme or algorithm, without `qop=auth`, or when something is missing.
    pub(crate) fn read(value: &str) -> Option<Self> {
        let params = Params::read(value)?;
        let text = |name| params.get(name).map(str::to_owned);
        Some(Self {
            username: text("username")?,
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            algorithm: Algorithm::from_name(params.get("algorithm").unwrap_or("MD5"))?,
            cnonce: text("cnonce")?,
            count: params
                .get("nc")
                .filter(|count| count.len() == 8)
                .and_then(|count| u32::from_str_radix(count, 16).ok())?,
            response: text("response")?,
        })
        .filter(|_| params.get("qop").is_some_and(|qop| qop.eq_ignore_ascii_case("auth")))
    }

    /// What `response` has to be (RFC 7616 §3.4.1), given H(A1).
    pub(crate) fn expected(&self, method: &str, secret: &str) -> String {
        let Self { nonce, uri, algorithm, cnonce, count, .. } = self;
        let request = algorithm.hash(&[method, uri]);
        algorithm.hash(&[secret, nonce, &format!("{count:08x}"), cnonce, "auth", &request])
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, realm, nonce, uri, algorithm, cnonce, count, response } = self;
        let (username, realm, algorithm) = (quoted(username), quoted(realm), algorithm.name());
        write!(f, "Digest username={username}, realm={realm}, nonce=\"{nonce}\", uri=\"{uri}\", ")?;
        write!(
            f,
            "algorithm={algorithm}, cnonce=\"{cnonce}\", nc={count:08x}, qop=auth, response=\"{response}\""
        )
    }
}

/// The nonce that the server wants next time (Authentication-Info, RFC 7616 §3.5).
pub(crate) fn next_nonce(value: &str) -> Option<String> {
    Params::read_list(value)?.get("nextnonce").map(str::to_owned)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Comma-separated `name=value` and `name="value"`.
struct Params(Vec<(String, String)>);

impl Params {
    /// After the scheme `Digest`.
    fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
        if scheme.eq_ignore_ascii_case("Digest") { Self::read_list(rest) } else { None }
    }

    fn read_list(text: &str) -> Option<Self> {
        let mut params = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = after.find(',').unwrap_or(after.len());
                    (after[..end].trim_end().to_owned(), &after[end..])
                }
            };
            params.push((name.trim().to_owned(), value));
            rest = after.trim_start_matches([' ', '\t', ',']);
        }
        Some(Self(params))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The text up to the closing quote, and what comes after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 §3.9.1.
    fn example(algorithm: Algorithm) -> Credentials {
        Credentials {
            username: "Mufasa".to_owned(),
            realm: "http-auth@example.org".to_owned(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".to_owned(),
            uri: "/dir/index.html".to_owned(),
            algorithm,
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned(),
            count: 1,
            response: String::new(),
        }
    }

    #[test]
    fn the_example_of_rfc_7616() {
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let secret = algorithm.secret("Mufasa", "http-auth@example.org", "Circle of Life");
            assert_eq!(example(algorithm).expected("GET", &secret), expected);
        }
    }

    #[test]
    fn values_survive_the_round_trip() {
        let credentials = Credentials {
            username: "a \"quoted\", \\user".to_owned(),
            response: "00ff".to_owned(),
            count: u32::MAX,
            ..example(Algorithm::Sha256)
        };
        assert_eq!(Credentials::read(&credentials.to_string()), Some(credentials));
        for stale in [false, true] {
            let challenge = Challenge {
                realm: "samp.test".to_owned(),
                nonce: "1,2".to_owned(),
                algorithm: Algorithm::Md5,
                stale,
            };
            assert_eq!(Challenge::read(&challenge.to_string()), Some(challenge));
        }
        assert_eq!(next_nonce("qop=auth ,\tNextNonce=\"a=b\""), Some("a=b".to_owned()));
    }

    #[test]
    fn what_is_not_understood_is_not_taken() {
        let good = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:r\", cnonce=\"c\", nc=00000001, \
                    qop=auth, response=\"00\"";
        assert!(Credentials::read(good).is_some(), "without algorithm it is MD5");
        for (from, to) in [
            ("Digest", "Basic"),
            ("qop=auth", "qop=auth-int"),
            (", qop=auth", ""),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=0000000g"),
            ("cnonce=\"c\", ", ""),
            ("realm=\"r\"", "realm=\"r"),
            ("qop=auth", "algorithm=SHA-512-256, qop=auth"),
            ("username", "user"),
        ] {
            assert_eq!(Credentials::read(&good.replace(from, to)), None, "{to} for {from}");
        }
        assert_eq!(Challenge::read("Digest realm=\"r\", nonce=\"n\""), None, "no qop");
        assert_eq!((unhex("00fF"), unhex("0"), unhex("zz")), (Some(vec![0, 255]), None, None));
    }
}
