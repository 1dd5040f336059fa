//! This server on the ring: overlay messages, and one step over the ring for any request.

use super::reconcile::batch;
use super::{Asked, SampServer};
use crate::overlay::wire::{self, MAX_KEYS, Neighbours, OverlayRequest, OverlayRoute, Told};
use crate::overlay::{Answer, NextHop, Peer, Purpose, identifier_of};
use crate::sip::{Method, Request, Response, Via, status};
use samp_model::{OverlayId, Time};
use std::net::SocketAddr;

impl SampServer {
    /// A request of another server's. Its identifier follows from its address, so that is all it can lie about, and
    /// the source of the message tells: only what has come over the ring may come from elsewhere.
    pub(super) fn handle_overlay(&mut self, now: Time, from: SocketAddr, mut request: Request) {
        if !self.is_from_a_member(now, &request) {
            return self.reply(&request, status::FORBIDDEN);
        }
        let Some((peer, what)) = wire::read_request(now, &request) else {
            return self.reply(&request, status::BAD_REQUEST);
        };
        self.seen_epoch = self.seen_epoch.max(wire::epoch_of(&request.headers));
        let is_direct = !matches!(what, OverlayRequest::Find { .. });
        if is_direct && peer.address.ip() != from.ip() {
            return self.reply(&request, status::FORBIDDEN);
        }
        let answer = match what {
            OverlayRequest::Find { key } => match self.overlay_step(&mut request) {
                Ok(None) => self.chord.home(key).map(|member| (member.me(), member.neighbours())),
                Ok(Some(peer)) => return self.forward(request, peer.address),
                Err(code) => return self.reply(&request, code),
            },
            OverlayRequest::Neighbours { of } => self.chord.neighbours(of).map(|neighbours| (of, neighbours)),
            OverlayRequest::Notify { to } => self.chord.handle_notify(now, to, peer).then(|| self.nothing()),
            OverlayRequest::Leave { to, neighbours } => {
                self.chord.handle_leave(now, to, peer, &neighbours).then(|| self.nothing())
            }
            OverlayRequest::Ping => self.chord.is_in().then(|| self.nothing()),
            OverlayRequest::Store(_)
            | OverlayRequest::Compare(_)
            | OverlayRequest::List(_)
            | OverlayRequest::Fetch(_) => return self.tell(now, &request, peer, what),
        };
        if is_direct && !self.is_leaving() {
            self.chord.hear(peer.address);
        }
        let Some((me, neighbours)) = answer else { return self.reply(&request, status::UNAVAILABLE) };
        let mut response = request.response(status::OK, &self.stateless_tag(&request));
        wire::write_answer(&mut response, me, &neighbours);
        wire::write_epoch(&mut response.headers, self.seen_epoch);
        self.send_response(response);
    }

    /// Answers a request about records.
    fn tell(&mut self, now: Time, request: &Request, peer: Peer, what: OverlayRequest) {
        let told = match what {
            OverlayRequest::Store(records) => self.store(peer.address, records),
            OverlayRequest::Compare(arcs) => {
                Told::Fingerprints(arcs.into_iter().map(|arc| self.home.fingerprint(arc)).collect())
            }
            OverlayRequest::List(arc) => Told::Versions(self.home.versions(arc).take(MAX_KEYS).collect()),
            OverlayRequest::Fetch(keys) => Told::Records(batch(&self.home, &keys).0),
            _ => return,
        };
        let mut response = request.response(status::OK, &self.stateless_tag(request));
        wire::write_told(&mut response, self.me, now, &told);
        wire::write_epoch(&mut response.headers, self.seen_epoch);
        self.send_response(response);
    }

    fn nothing(&self) -> (Peer, Neighbours) {
        (self.me, Neighbours::default())
    }

    /// Asks another server something; the answer, or the silence, comes to [`Asked`].
    pub(super) fn ask(&mut self, now: Time, to: SocketAddr, asked: Asked, what: OverlayRequest) {
        let me = match asked {
            Asked::Ring(purpose) => self.chord.asker(purpose).unwrap_or(self.me),
            _ => self.me,
        };
        let (call_id, tag) = (self.random.token("call"), self.random.token("tag"));
        let mut request = wire::request(me, to, call_id, tag, now, &what);
        wire::write_epoch(&mut request.headers, self.seen_epoch);
        request.headers.via.push(Via::new(self.me.address, &self.random.branch()));
        self.sign(now, &mut request);
        // Three retransmissions before the peer is taken for dead: at 0, 1/8, 3/8 and 7/8 of the time.
        let timeout = self.settings.chord.peer_timeout;
        let key = self.transactions.send_paced(now, request, to, timeout / 8, Some(timeout));
        self.asked.insert(key, (to, asked, what));
    }

    /// A server has answered a question.
    pub(super) fn handle_answer(
        &mut self,
        now: Time,
        (to, asked, what): (SocketAddr, Asked, OverlayRequest),
        response: &Response,
    ) {
        self.seen_epoch = self.seen_epoch.max(wire::epoch_of(&response.headers));
        let told = || wire::read_told(now, to, &what, response).filter(|_| response.status == status::OK);
        match asked {
            Asked::Ring(purpose) => match answer_to(to, &purpose, response) {
                Some(answer) => self.chord.handle_answer(now, to, purpose, answer),
                None => self.chord.handle_silence(now, to, purpose),
            },
            Asked::Copy(number) => self.handle_copied(now, number, to, told()),
            Asked::Reconcile => self.handle_reconciled(now, to, told()),
            Asked::Owner(arc) => {
                let found = wire::read_answer(response).filter(|_| response.status == status::OK);
                self.handle_owner(now, arc, found.map(|(owner, _)| owner));
            }
        }
    }

    /// A server has not answered a question in time.
    pub(super) fn handle_no_answer(
        &mut self,
        now: Time,
        (to, asked, _): (SocketAddr, Asked, OverlayRequest),
    ) {
        match asked {
            Asked::Ring(purpose) => self.chord.handle_silence(now, to, purpose),
            Asked::Copy(number) => self.handle_copy_silence(now, number, to),
            Asked::Reconcile => self.handle_reconciled(now, to, None),
            Asked::Owner(arc) => self.handle_owner(now, arc, None),
        }
    }

    /// One step over the ring: the peer to send to, or none when this server is the owner.
    ///
    /// # Errors
    /// The status to answer with, as this server is not on the ring.
    pub(super) fn overlay_step(&self, request: &mut Request) -> Result<Option<Peer>, u16> {
        let route = OverlayRoute::of(&request.headers);
        let key = match (&request.method, route) {
            (Method::Overlay, Some(route)) => route.key,
            // A REGISTER names its domain in the Request-URI and the node in To (RFC 3261 §10.2).
            (Method::Register, _) => identifier_of(&request.headers.to.uri.address_of_record()),
            _ => identifier_of(&request.uri.address_of_record()),
        };
        if route.is_some_and(|route| route.is_passed_on) && self.is_from_predecessor(request) {
            return Ok(None);
        }
        let hop = match route.and_then(|route| route.owner) {
            Some(owner) => self.chord.next_hop_at(owner, key),
            None => self.chord.next_hop(key),
        };
        let (peer, owner, is_passed_on) = match hop {
            NextHop::Here => match self.previous_owner(key).filter(|_| self.needs_record(request, key)) {
                Some(peer) => (peer, Some(peer.id), true),
                None => return Ok(None),
            },
            NextHop::Unknown => return Err(status::UNAVAILABLE),
            NextHop::Owner(peer) => (peer, Some(peer.id), false),
            NextHop::Nearer(peer) => (peer, None, false),
        };
        OverlayRoute { key, owner, is_passed_on }.write(&mut request.headers);
        Ok(Some(peer))
    }

    /// Whether a request cannot do without the record that belongs here: a lookup without one, and any write.
    fn needs_record(&self, request: &Request, key: OverlayId) -> bool {
        match request.method {
            Method::Overlay => false,
            Method::Register => true,
            _ => self.home.record(key).is_none(),
        }
    }

    fn is_from_predecessor(&self, request: &Request) -> bool {
        let source = request.top_via().and_then(Via::response_address);
        source.is_some_and(|source| self.chord.is_preceded_by(source.ip()))
    }
}

/// What a response to a question of the ring's says; none when it is malformed, or not from whom was asked.
pub(super) fn answer_to(to: SocketAddr, purpose: &Purpose, response: &Response) -> Option<Answer> {
    if response.status != status::OK {
        return (response.status == status::UNAVAILABLE).then_some(Answer::Refused);
    }
    let (peer, neighbours) = wire::read_answer(response)?;
    if purpose.is_routed() {
        return Some(Answer::Found(peer, neighbours));
    }
    let answer = if purpose.wants_neighbours() { Answer::Neighbours(neighbours) } else { Answer::Noted };
    (peer.address == to).then_some(answer)
}
