//! This server on the ring: overlay messages, and one step over the ring for any request.

use super::SampServer;
use crate::overlay::wire::{self, Neighbours, OverlayRequest, OverlayRoute};
use crate::overlay::{Answer, Ask, NextHop, Peer, Purpose, identifier_of};
use crate::sip::{Method, Request, Response, Via, status};
use crate::transaction::ClientKey;
use samp_model::Time;
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
            OverlayRequest::Ping => Some(self.nothing()),
            OverlayRequest::Store(records) => {
                self.store(records);
                Some(self.nothing())
            }
        };
        if is_direct {
            self.chord.hear(peer.address);
        }
        let Some((me, neighbours)) = answer else { return self.reply(&request, status::UNAVAILABLE) };
        let mut response = request.response(status::OK, &self.stateless_tag(&request));
        wire::write_answer(&mut response, me, &neighbours);
        self.send_response(response);
    }

    fn nothing(&self) -> (Peer, Neighbours) {
        (self.me, Neighbours::default())
    }

    pub(super) fn ask_ring(&mut self, now: Time, ask: Ask) {
        let me = self.chord.asker(ask.purpose).unwrap_or(self.me);
        let key = self.ask(now, me, ask.to, &ask.request);
        self.asked.insert(key, (ask.to, ask.purpose));
    }

    pub(super) fn ask(&mut self, now: Time, me: Peer, to: SocketAddr, what: &OverlayRequest) -> ClientKey {
        let (call_id, tag) = (self.random.token("call"), self.random.token("tag"));
        let mut request = wire::request(me, to, call_id, tag, now, what);
        request.headers.via.push(Via::new(self.me.address, &self.random.branch()));
        self.sign(now, &mut request);
        // Three retransmissions before the peer is taken for dead: at 0, 1/8, 3/8 and 7/8 of the time.
        let timeout = self.settings.chord.peer_timeout;
        self.transactions.send_paced(now, request, to, timeout / 8, Some(timeout))
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
        let hop = match route.and_then(|route| route.owner) {
            Some(owner) => self.chord.next_hop_at(owner, key),
            None => self.chord.next_hop(key),
        };
        let (peer, owner) = match hop {
            NextHop::Here => return Ok(None),
            NextHop::Unknown => return Err(status::UNAVAILABLE),
            NextHop::Owner(peer) => (peer, Some(peer.id)),
            NextHop::Nearer(peer) => (peer, None),
        };
        OverlayRoute { key, owner }.write(&mut request.headers);
        Ok(Some(peer))
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
