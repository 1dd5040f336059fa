//! Who a REGISTER is from (RFC 3261 §22, RFC 8760).
//!
//! Secrets are the home server's. An anchor that has no verifier for a user yet passes the REGISTER on over the ring,
//! and the home server answers whether the credentials are right, with a verifier; from then on the anchor decides
//! alone. Neither server accepts a nonce and count again, or older ones: what was used last is part of the record, is
//! copied with it, and outlives its bindings, so that a replay brings no binding back.
//!
//! ```text
//! REGISTER sip:ANCHOR          ─▶ anchor: verifier? ─yes─▶ 200, or 401 with the anchor's own challenge
//!                                            └──no──▶ ring ─▶ home: 200 with a verifier, or 401, 403
//! REGISTER sip:domain          ─▶ anchor ─▶ ring ─▶ home: 200, 401, 403
//! ```

mod nonce;
#[cfg(test)]
mod tests;
mod verifier;

use super::SampServer;
use super::registration::RegisterAt;
use crate::digest::{Algorithm, Challenge, Credentials};
use crate::keys::RingKey;
use crate::overlay::identifier_of;
use crate::overlay::record::Proof;
use crate::sip::{Request, Response, Uri, status};
use crate::transaction::{ClientKey, ServerKey};
pub(super) use nonce::NONCE_LIFETIME;
use samp_model::Time;
use samp_model::settings::Auth;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;
use verifier::Verifier;

/// The response field in which a home server gives an anchor a verifier.
const VERIFIER: &str = "SAMP-Verifier";
/// The request field that tells members of the ring from others.
const SIGNATURE: &str = "Overlay-Signature";
/// Users of whom an anchor has verifiers, at most.
const MAX_VERIFIERS: usize = 65_536;
/// REGISTERs that wait for a home server's word, at most.
const MAX_WAITING: usize = 1024;

/// What a server with `auth: digest` knows.
#[derive(Debug)]
pub(super) struct Authenticator {
    key: RingKey,
    /// What was used before this server started may have been used here.
    started: Time,
    verifiers: BTreeMap<String, Verifier>,
    waiting: BTreeMap<ClientKey, Waiting>,
}

/// A REGISTER that waits for its home server's word.
#[derive(Debug)]
struct Waiting {
    server: ServerKey,
    request: Request,
}

/// Why a REGISTER is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// 401; `stale` when the credentials were right, but for their nonce.
    Challenge { stale: bool },
    /// Any other status.
    Status(u16),
}

impl Authenticator {
    pub(super) fn new(key: RingKey, now: Time) -> Self {
        Self { key, started: now, verifiers: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// REGISTERs that wait for their home servers' word.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The part of the check that needs no secret: whose credentials for this realm they are, and whether their nonce
    /// is a good one.
    fn claimed(
        &self,
        now: Time,
        request: &Request,
        realm: &str,
    ) -> Result<(Credentials, Option<Proof>), Refusal> {
        let headers = &request.headers;
        let user = headers.to.uri.address_of_record();
        // Nobody registers for others (§10.3, point 4).
        if headers.from.uri.address_of_record() != user {
            return Err(Refusal::Status(status::FORBIDDEN));
        }
        let given = headers.other.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Authorization"));
        let credentials = given
            .filter_map(|(_, value)| Credentials::read(value))
            .find(|credentials| credentials.realm == realm)
            .ok_or(Refusal::Challenge { stale: false })?;
        if credentials.username != username(&user) {
            return Err(Refusal::Status(status::FORBIDDEN));
        }
        if !credentials.uri.parse::<Uri>().is_ok_and(|uri| uri.is_equivalent(&request.uri)) {
            return Err(Refusal::Status(status::BAD_REQUEST));
        }
        let proof = nonce::made_at(&self.key, &credentials.nonce, &user)
            .filter(|&at| nonce::is_fresh(now, at) && at >= self.started)
            .map(|at| Proof { at, count: credentials.count });
        Ok((credentials, proof))
    }

    /// Whether the request is from the user that its To names, and newer than `last`.
    fn check(
        &self,
        now: Time,
        request: &Request,
        secret: impl Fn(Algorithm) -> String,
        last: Proof,
    ) -> Result<Proof, Refusal> {
        let (credentials, proof) = self.claimed(now, request, &realm(request))?;
        let expected = credentials.expected(request.method.name(), &secret(credentials.algorithm));
        if !bool::from(expected.as_bytes().ct_eq(credentials.response.as_bytes())) {
            return Err(Refusal::Challenge { stale: false });
        }
        proof.filter(|&proof| proof > last).ok_or(Refusal::Challenge { stale: true })
    }

    fn keep(&mut self, now: Time, user: String, verifier: Verifier) {
        if self.verifiers.len() >= MAX_VERIFIERS {
            self.verifiers.retain(|_, verifier| verifier.expires_at > now);
        }
        if self.verifiers.len() < MAX_VERIFIERS {
            self.verifiers.insert(user, verifier);
        }
    }
}

impl SampServer {
    /// H(A1) of a user in a realm, which a home server knows.
    fn secret(&self, auth: &Authenticator, algorithm: Algorithm, user: &str, realm: &str) -> String {
        algorithm.secret(username(user), realm, &auth.key.password(&self.settings, user))
    }

    /// Whether a REGISTER may be applied. If not, it has been answered, or it waits for its home server's word.
    pub(super) fn authorize(&mut self, now: Time, request: &Request, at: RegisterAt) -> bool {
        let Some(auth) = &self.auth else { return true };
        let user = request.headers.to.uri.address_of_record();
        let last = self.registrar(at).proof(identifier_of(&user));
        let result = match at {
            RegisterAt::Home => {
                let realm = realm(request);
                auth.check(now, request, |algorithm| self.secret(auth, algorithm, &user, &realm), last)
            }
            RegisterAt::Anchor => match auth.verifiers.get(&user).filter(|known| known.expires_at > now) {
                Some(verifier) => auth.check(now, request, |algorithm| verifier.secret(algorithm), last),
                None => match auth.claimed(now, request, &realm(request)) {
                    Ok((_, Some(_))) => return self.ask_home(now, request),
                    // Whether all else is right is not known here.
                    Ok((_, None)) => Err(Refusal::Challenge { stale: true }),
                    Err(refusal) => Err(refusal),
                },
            },
        };
        match result {
            Ok(proof) => {
                let epoch = self.epoch;
                self.registrar_mut(at).spend(now, &user, proof, epoch);
                true
            }
            Err(refusal) => {
                let response = self.refusal(now, request, refusal);
                self.send_response(response);
                false
            }
        }
    }

    /// Has the home server check a REGISTER to this anchor, unless this server is the home server itself; then it may
    /// be applied at once.
    fn ask_home(&mut self, now: Time, request: &Request) -> bool {
        let Some(auth) = &self.auth else { return true };
        let mut asked = request.clone();
        if auth.waiting.len() >= MAX_WAITING {
            self.reply(request, status::UNAVAILABLE);
            return false;
        }
        match self.overlay_step(&mut asked) {
            Ok(Some(home)) => {
                let Some(server) = self.transactions.accept(request) else { return false };
                let branch = self.random.branch();
                self.prepare_forward(&mut asked, &branch, home.address);
                let key = self.transactions.send(now, asked, home.address, Some(8 * self.settings.t1));
                if let Some(auth) = &mut self.auth {
                    auth.waiting.insert(key, Waiting { server, request: request.clone() });
                }
                false
            }
            Ok(None) => {
                let user = request.headers.to.uri.address_of_record();
                let realm = realm(request);
                let verifier = Verifier::new(now, |algorithm| self.secret(auth, algorithm, &user, &realm));
                if let Some(auth) = &mut self.auth {
                    auth.keep(now, user, verifier);
                }
                self.authorize(now, request, RegisterAt::Anchor)
            }
            Err(code) => {
                self.reply(request, code);
                false
            }
        }
    }

    /// An anchor asks whether the user's credentials for it are right.
    pub(super) fn vouch(&mut self, now: Time, request: &Request) {
        let Some(auth) = &self.auth else { return self.reply(request, status::NOT_FOUND) };
        let user = request.headers.to.uri.address_of_record();
        let realm = realm(request);
        let secret = |algorithm| self.secret(auth, algorithm, &user, &realm);
        let response = match auth.check(now, request, secret, Proof::default()) {
            Ok(_) => {
                let mut response = request.response(status::OK, &self.stateless_tag(request));
                let verifier = Verifier::new(now, secret).seal(&auth.key, &user, &realm);
                response.headers.set(VERIFIER, verifier);
                response
            }
            Err(refusal) => self.refusal(now, request, refusal),
        };
        self.send_response(response);
    }

    /// The home server has had its word, or none came. Says whether the response was for this.
    pub(super) fn handle_vouched(&mut self, now: Time, key: &ClientKey, response: Option<&Response>) -> bool {
        let Some(auth) = &mut self.auth else { return false };
        let Some(Waiting { server, request }) = auth.waiting.remove(key) else { return false };
        let user = request.headers.to.uri.address_of_record();
        let word = response.map_or(status::UNAVAILABLE, |response| response.status);
        let sealed = response.and_then(|response| response.headers.get(VERIFIER)).unwrap_or("");
        let verifier = Verifier::open(&auth.key, now, sealed, &user, &realm(&request));
        let answer = match (word, verifier) {
            (100..=199, _) => {
                auth.waiting.insert(*key, Waiting { server, request });
                return true;
            }
            (status::OK, Some(verifier)) => {
                let last = self.anchored.proof(identifier_of(&user));
                let result = auth.check(now, &request, |algorithm| verifier.secret(algorithm), last);
                auth.keep(now, user.clone(), verifier);
                match result {
                    Ok(proof) => {
                        self.anchored.spend(now, &user, proof, self.epoch);
                        self.apply_register(now, &server, &request, RegisterAt::Anchor);
                        return true;
                    }
                    Err(refusal) => self.refusal(now, &request, refusal),
                }
            }
            (status::UNAUTHORIZED, _) => {
                let challenge = response.and_then(|response| response.headers.get("WWW-Authenticate"));
                let stale = challenge.and_then(Challenge::read).is_some_and(|challenge| challenge.stale);
                self.refusal(now, &request, Refusal::Challenge { stale })
            }
            (code @ (status::BAD_REQUEST | status::FORBIDDEN), _) => {
                self.refusal(now, &request, Refusal::Status(code))
            }
            _ => self.refusal(now, &request, Refusal::Status(status::UNAVAILABLE)),
        };
        self.transactions.respond(now, &server, answer);
        true
    }

    /// The nonce that the user of a REGISTER should use next (RFC 7616 §3.5).
    pub(super) fn authentication_info(&self, now: Time, address_of_record: &str) -> Option<String> {
        let auth = self.auth.as_ref()?;
        let next = nonce::make(&auth.key, now, address_of_record);
        Some(format!("nextnonce=\"{next}\", qop=auth"))
    }

    fn refusal(&self, now: Time, request: &Request, refusal: Refusal) -> Response {
        let code = match refusal {
            Refusal::Challenge { .. } => status::UNAUTHORIZED,
            Refusal::Status(code) => code,
        };
        let mut response = request.response(code, &self.stateless_tag(request));
        if let (Refusal::Challenge { stale }, Some(auth)) = (refusal, &self.auth) {
            let nonce = nonce::make(&auth.key, now, &request.headers.to.uri.address_of_record());
            let md5_only = self.settings.auth == Auth::DigestMd5;
            let offered = Algorithm::ALL.into_iter().filter(|one| !md5_only || *one == Algorithm::Md5);
            for algorithm in offered {
                let challenge = Challenge { realm: realm(request), nonce: nonce.clone(), algorithm, stale };
                response.headers.other.push(("WWW-Authenticate".to_owned(), challenge.to_string()));
            }
        }
        response
    }

    /// Signs what this server says to another member of the ring.
    pub(super) fn sign(&self, now: Time, request: &mut Request) {
        if let Some(auth) = &self.auth {
            let text = signed_text(request);
            let signature = nonce::make(&auth.key, now, &text);
            request.headers.set(SIGNATURE, signature);
        }
    }

    /// Whether a member of the ring has said this, and not long ago; always so with `auth: off`.
    pub(super) fn is_from_a_member(&self, now: Time, request: &Request) -> bool {
        let Some(auth) = &self.auth else { return true };
        let signature = request.headers.get(SIGNATURE).unwrap_or("");
        let made_at = nonce::made_at(&auth.key, signature, &signed_text(request));
        made_at.is_some_and(|at| nonce::is_fresh(now, at))
    }
}

/// All of an overlay message that does not change on its way.
fn signed_text(request: &Request) -> String {
    let changes =
        |name: &str| name.eq_ignore_ascii_case("Overlay-Route") || name.eq_ignore_ascii_case(SIGNATURE);
    let fields = request.headers.other.iter().filter(|(name, _)| !changes(name));
    let fields: String =
        fields.map(|(name, value)| format!("{}: {value}\n", name.to_ascii_lowercase())).collect();
    let body = String::from_utf8_lossy(&request.body);
    format!("overlay\n{}\n{fields}\n{body}", request.headers.call_id)
}

/// The realm of a registrar: the host of its URI (RFC 3261 §22.1).
fn realm(request: &Request) -> String {
    request.uri.host.to_string()
}

/// The user part of an address-of-record.
fn username(address_of_record: &str) -> &str {
    let user = address_of_record.strip_prefix("sip:").unwrap_or(address_of_record);
    user.rsplit_once('@').map_or(user, |(user, _)| user)
}
