//! The user agent's side of digest authentication (RFC 3261 §22.2, RFC 8760): credentials, sent before anybody asks
//! whenever there is a nonce to use.
//!
//! A nonce of one server of the ring is good at all of them, so the first REGISTER to a new anchor carries credentials,
//! too; only their realm is the anchor's own.

use crate::digest::{Algorithm, Challenge, Credentials, next_nonce};
use crate::sip::{Request, Response};
use std::collections::BTreeMap;

/// Registrars whose nonces are remembered, at most.
const MAX_REALMS: usize = 16;
/// Challenges in a row that are answered: the first, and one whose nonce was used up meanwhile.
const MAX_ATTEMPTS: u32 = 2;

/// A user's name and password, and the nonces to use them with.
#[derive(Debug)]
pub(super) struct Wallet {
    username: String,
    /// Without one, no challenge is answered.
    password: Option<String>,
    realms: BTreeMap<String, Nonce>,
    /// The latest nonce of any server: the one to use where there is none yet.
    latest: Option<(String, Algorithm)>,
}

/// What to use at one registrar.
#[derive(Debug)]
struct Nonce {
    nonce: String,
    algorithm: Algorithm,
    /// How often it has been used.
    count: u32,
    /// Challenges answered since the last success.
    attempts: u32,
}

impl Wallet {
    pub(super) fn new(username: String, password: Option<String>) -> Self {
        Self { username, password, realms: BTreeMap::new(), latest: None }
    }

    /// Adds credentials to a REGISTER, if there are any yet; `cnonce` is a fresh random word.
    pub(super) fn sign(&mut self, request: &mut Request, cnonce: String) {
        let (Some(password), Some((latest, algorithm))) = (&self.password, &self.latest) else { return };
        let realm = request.uri.host.to_string();
        if !self.realms.contains_key(&realm) && self.realms.len() == MAX_REALMS {
            self.realms.pop_first();
        }
        let fresh = || Nonce { nonce: latest.clone(), algorithm: *algorithm, count: 0, attempts: 0 };
        let known = self.realms.entry(realm.clone()).or_insert_with(fresh);
        known.count += 1;
        let secret = known.algorithm.secret(&self.username, &realm, password);
        let mut credentials = Credentials {
            username: self.username.clone(),
            realm,
            nonce: known.nonce.clone(),
            uri: request.uri.to_string(),
            algorithm: known.algorithm,
            cnonce,
            count: known.count,
            response: String::new(),
        };
        credentials.response = credentials.expected(request.method.name(), &secret);
        request.headers.set("Authorization", credentials.to_string());
    }

    /// A registrar, the one with this realm, wants other credentials. Says whether it makes sense to send some.
    pub(super) fn handle_challenge(&mut self, realm: &str, response: &Response) -> bool {
        let challenges = response.headers.other.iter();
        let challenge = challenges
            .filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"))
            // The topmost that is understood (RFC 8760 §2.4).
            .find_map(|(_, value)| Challenge::read(value).filter(|challenge| challenge.realm == realm));
        let (Some(Challenge { nonce, algorithm, stale, .. }), Some(_)) = (challenge, &self.password) else {
            return false;
        };
        let known = self.realms.remove(realm);
        let attempts = known.as_ref().map_or(0, |known| known.attempts) + 1;
        let refused = known.is_some_and(|known| known.count > 0) && !stale;
        self.latest = Some((nonce.clone(), algorithm));
        self.realms.insert(realm.to_owned(), Nonce { nonce, algorithm, count: 0, attempts });
        !refused && attempts <= MAX_ATTEMPTS
    }

    /// The registrar with this realm has accepted the credentials, and may want another nonce next time.
    pub(super) fn handle_success(&mut self, realm: &str, response: &Response) {
        let Some(known) = self.realms.get_mut(realm) else { return };
        known.attempts = 0;
        if let Some(next) = response.headers.get("Authentication-Info").and_then(next_nonce) {
            self.latest = Some((next.clone(), known.algorithm));
            *known = Nonce { nonce: next, algorithm: known.algorithm, count: 0, attempts: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, parse};

    fn request(registrar: &str) -> Request {
        let text = format!(
            "REGISTER sip:{registrar} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nFrom: <sip:mn1@samp.test>;tag=a\r\n\
             To: <sip:mn1@samp.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n"
        );
        let Message::Request(request) = parse(text.as_bytes()).unwrap() else { panic!("a request") };
        request
    }

    fn challenge(realm: &str, nonce: &str, stale: bool) -> Response {
        let mut response = request("samp.test").response(401, "t");
        for algorithm in Algorithm::ALL {
            let (realm, nonce) = (realm.to_owned(), nonce.to_owned());
            let challenge = Challenge { realm, nonce, algorithm, stale }.to_string();
            response.headers.other.push(("WWW-Authenticate".to_owned(), challenge));
        }
        response
    }

    /// Nonce, count and realm of what the wallet adds.
    fn signed(wallet: &mut Wallet, registrar: &str) -> Option<(String, u32, String)> {
        let mut request = request(registrar);
        wallet.sign(&mut request, "c".to_owned());
        let credentials = Credentials::read(request.headers.get("Authorization")?).expect("credentials");
        assert_eq!(credentials.algorithm, Algorithm::Sha256, "the better one");
        Some((credentials.nonce, credentials.count, credentials.realm))
    }

    fn used(nonce: &str, count: u32, realm: &str) -> Option<(String, u32, String)> {
        Some((nonce.to_owned(), count, realm.to_owned()))
    }

    #[test]
    fn credentials_go_out_unasked_once_there_is_a_nonce() {
        let mut wallet = Wallet::new("mn1".to_owned(), Some("secret".to_owned()));
        assert_eq!(signed(&mut wallet, "10.0.0.1"), None);
        assert!(wallet.handle_challenge("10.0.0.1", &challenge("10.0.0.1", "n1", false)));
        assert_eq!(signed(&mut wallet, "10.0.0.1"), used("n1", 1, "10.0.0.1"));
        assert_eq!(signed(&mut wallet, "10.0.0.1"), used("n1", 2, "10.0.0.1"));
        // A registrar that was never met gets the same nonce, with a count of its own.
        assert_eq!(signed(&mut wallet, "samp.test"), used("n1", 1, "samp.test"));
        let mut success = request("samp.test").response(200, "t");
        success.headers.set("Authentication-Info", "nextnonce=\"n2\", qop=auth");
        wallet.handle_success("samp.test", &success);
        assert_eq!(signed(&mut wallet, "samp.test"), used("n2", 1, "samp.test"));
        assert_eq!(signed(&mut wallet, "10.0.0.2"), used("n2", 1, "10.0.0.2"));
        assert_eq!(signed(&mut wallet, "10.0.0.1"), used("n1", 3, "10.0.0.1"));
    }

    #[test]
    fn wrong_credentials_are_not_sent_again_and_stale_ones_only_so_often() {
        let mut wallet = Wallet::new("mn1".to_owned(), Some("secret".to_owned()));
        assert!(!wallet.handle_challenge("10.0.0.1", &challenge("other", "n", false)), "another's realm");
        assert!(wallet.handle_challenge("r", &challenge("r", "n1", false)));
        signed(&mut wallet, "r");
        assert!(!wallet.handle_challenge("r", &challenge("r", "n2", false)), "refused");
        wallet.handle_success("r", &request("r").response(200, "t"));
        for _ in 0..MAX_ATTEMPTS {
            signed(&mut wallet, "r");
            assert!(wallet.handle_challenge("r", &challenge("r", "n3", true)));
        }
        signed(&mut wallet, "r");
        assert!(!wallet.handle_challenge("r", &challenge("r", "n4", true)), "for ever stale");
        let mut none = Wallet::new("mn1".to_owned(), None);
        assert!(!none.handle_challenge("r", &challenge("r", "n1", false)), "no password");
    }

    #[test]
    fn it_remembers_a_bounded_number_of_registrars() {
        let mut wallet = Wallet::new("mn1".to_owned(), Some("secret".to_owned()));
        assert!(wallet.handle_challenge("r", &challenge("r", "n1", false)));
        for number in 0..100 {
            signed(&mut wallet, &format!("10.0.1.{number}"));
        }
        assert!(wallet.realms.len() <= MAX_REALMS);
    }
}
