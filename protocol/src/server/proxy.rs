//! The proxy side of a SAMP server: towards the callee, and back (RFC 3261 §16).

use super::{CACHE, MINTED_FOR, PATH, SampServer, join, path_of};
use crate::cache::Learned;
use crate::overlay::wire::OverlayRoute;
use crate::sip::{Host, Method, Request, Response, Uri, status};
use crate::transaction::{ClientKey, Hop, ServerKey};
use samp_model::Time;
use std::net::SocketAddr;
use std::ops::Bound;

/// INVITEs that are looked at, whether they have ended, with each answer to one.
const LOOKS: usize = 4;

/// An INVITE for which this server, as the caller's anchor, keeps state.
#[derive(Debug)]
pub(super) struct Forwarding {
    server: ServerKey,
    /// As the caller sent it.
    original: Request,
    callee: String,
    /// The attempt under way follows the cache.
    from_cache: bool,
    /// The cache has already turned out to be wrong.
    stale: bool,
}

impl SampServer {
    /// Passes a request on towards its target.
    pub(super) fn proxy(&mut self, now: Time, mut request: Request) {
        self.pop_own_route(&mut request);
        let is_callers_anchor = matches!(request.uri.host, Host::Name(_))
            && OverlayRoute::of(&request.headers).is_none()
            && request.method == Method::Invite;
        if is_callers_anchor {
            return self.forward_invite(now, request);
        }
        match self.resolve(now, &mut request) {
            Ok(hop) => self.forward(request, hop),
            Err(code) => self.reply(&request, code),
        }
    }

    /// Follows the Request-URI as far as this server knows, and says where to send the request then.
    fn resolve(&mut self, now: Time, request: &mut Request) -> Result<Hop, u16> {
        if let Host::Name(_) = request.uri.host {
            if let Some(peer) = self.overlay_step(request)? {
                return Ok(peer.address.into());
            }
            OverlayRoute::erase(&mut request.headers);
            let anchors = self.home.targets(now, &request.uri.address_of_record());
            request.uri = anchors.first().map(|&anchor| anchor.clone()).ok_or(status::NOT_FOUND)?;
        }
        if let Some(address_of_record) = self.minted_for(&request.uri) {
            let care_of = self.anchored.targets(now, &address_of_record);
            request.uri = care_of.first().map(|&care_of| care_of.clone()).ok_or(status::NOT_FOUND)?;
        }
        Hop::of(&request.uri).ok_or(status::NOT_FOUND)
    }

    /// The address-of-record for which this server minted the URI, if it did.
    fn minted_for(&self, uri: &Uri) -> Option<String> {
        let domain = uri.params.get(MINTED_FOR)?;
        let user = uri.user.as_ref()?;
        (uri.host == Host::Ip(self.me.address.ip())).then(|| format!("sip:{user}@{domain}"))
    }

    /// The caller's anchor: first where the cache says, else over the ring.
    fn forward_invite(&mut self, now: Time, request: Request) {
        let Some(server) = self.transactions.accept(&request) else { return };
        let trying = request.response(status::TRYING, "");
        self.transactions.respond(now, &server, trying);
        let forwarding = Forwarding {
            server,
            callee: request.uri.address_of_record(),
            original: request,
            from_cache: true,
            stale: false,
        };
        match self.tier2.get(now, &forwarding.callee) {
            Some(anchor) => {
                let mut attempt = forwarding.original.clone();
                attempt.uri = Uri::at(attempt.uri.user.as_deref(), anchor);
                attempt.uri.params.set(MINTED_FOR, Some(forwarding.original.uri.host.to_string()));
                self.attempt(now, forwarding, attempt);
            }
            None => self.forward_over_ring(now, forwarding),
        }
    }

    fn forward_over_ring(&mut self, now: Time, forwarding: Forwarding) {
        let attempt = forwarding.original.clone();
        self.attempt(now, Forwarding { from_cache: false, ..forwarding }, attempt);
    }

    fn attempt(&mut self, now: Time, forwarding: Forwarding, mut request: Request) {
        let hop = match self.resolve(now, &mut request) {
            Ok(hop) => hop,
            Err(_) if forwarding.from_cache => return self.retry_over_ring(now, forwarding),
            Err(code) => return self.answer(now, &forwarding, code),
        };
        let branch = self.random.branch();
        self.prepare_forward(&mut request, &branch, hop.address);
        let deadline = forwarding.from_cache.then_some(self.settings.stale_deadline);
        let key = self.transactions.send(now, request, hop, deadline);
        self.forwardings.insert(key, forwarding);
    }

    /// The cached anchor does not have the callee any more.
    fn retry_over_ring(&mut self, now: Time, forwarding: Forwarding) {
        self.tier2.forget(&forwarding.callee);
        self.forward_over_ring(now, Forwarding { stale: true, ..forwarding });
    }

    fn answer(&mut self, now: Time, forwarding: &Forwarding, code: u16) {
        let tag = self.random.token("tag");
        let response = forwarding.original.response(code, &tag);
        self.transactions.respond(now, &forwarding.server, response);
    }

    pub(super) fn handle_forwarding_response(&mut self, now: Time, key: ClientKey, mut response: Response) {
        let Some(forwarding) = self.forwardings.remove(&key) else { return };
        match response.status {
            // The caller has had its own 100; a 100 is never forwarded (RFC 3261 §16.7, point 5).
            status::TRYING => drop(self.forwardings.insert(key, forwarding)),
            status::NOT_FOUND if forwarding.from_cache => self.retry_over_ring(now, forwarding),
            code => {
                note_path(&mut response);
                if (200..300).contains(&code) {
                    if let Some(&anchor) = path_of(&response).last() {
                        self.tier2.learn(
                            now,
                            &forwarding.callee,
                            SocketAddr::new(anchor, self.me.address.port()),
                            Learned::Found,
                        );
                    }
                    let outcome = match (forwarding.from_cache, forwarding.stale) {
                        (true, _) => "hit",
                        (false, true) => "stale",
                        (false, false) => "miss",
                    };
                    response.headers.set(CACHE, outcome);
                }
                response.headers.via.remove(0);
                self.transactions.respond(now, &forwarding.server, response);
                // A proxy passes on every 2xx, and what follows a provisional (RFC 3261 §16.7, RFC 6026 §7.3).
                if code < 300 {
                    self.forwardings.insert(key, forwarding);
                }
            }
        }
        self.forget_ended();
    }

    /// Forgets INVITEs that have ended: a few at each answer, so that no answer waits until all have been looked at.
    fn forget_ended(&mut self) {
        let behind = self.looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        let few = self.forwardings.range((behind, Bound::Unbounded)).take(LOOKS).map(|(key, _)| key.clone());
        let few: Vec<_> = few.collect();
        for key in &few {
            let server = self.forwardings.get(key).map(|forwarding| &forwarding.server);
            if server.is_some_and(|server| !self.transactions.has_server(server)) {
                self.forwardings.remove(key);
            }
        }
        // At the end it begins anew.
        self.looked_at = few.into_iter().nth(LOOKS - 1);
    }

    pub(super) fn handle_forwarding_timeout(&mut self, now: Time, key: ClientKey) {
        let Some(forwarding) = self.forwardings.remove(&key) else { return };
        if forwarding.from_cache {
            self.retry_over_ring(now, forwarding);
        } else {
            self.answer(now, &forwarding, status::REQUEST_TIMEOUT);
        }
    }

    /// CANCEL is hop by hop where there is state (RFC 3261 §16.10), and follows its INVITE elsewhere.
    pub(super) fn handle_cancel(&mut self, now: Time, request: Request) {
        let Some(invite) = self.transactions.cancelled_by(&request) else {
            return self.proxy(now, request);
        };
        if let Some(key) = self.transactions.accept(&request) {
            let tag = self.random.token("tag");
            self.transactions.respond(now, &key, request.response(status::OK, &tag));
        }
        let client = self.forwardings.iter().find(|(_, forwarding)| forwarding.server == invite);
        if let Some((key, _)) = client {
            self.transactions.cancel(now, key);
        }
    }

    /// A response that this server forwarded the request of statelessly.
    pub(super) fn pass_back(&mut self, mut response: Response) {
        let mine = response.headers.via.first().is_some_and(|via| {
            via.host == Host::Ip(self.me.address.ip()) && via.port.unwrap_or(5060) == self.me.address.port()
        });
        if !mine || response.headers.via.len() < 2 {
            return;
        }
        note_path(&mut response);
        response.headers.via.remove(0);
        self.send_response(response);
    }
}

/// The first server that a callee's answer meets sees the whole way in the Via values, and writes it down.
fn note_path(response: &mut Response) {
    if response.headers.cseq_method == Method::Invite && response.headers.get(PATH).is_none() {
        let path = join(&response.servers_passed());
        response.headers.set(PATH, path);
    }
}
