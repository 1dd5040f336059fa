//! This server on the ring: overlay messages, and one step over the ring for any request.

use super::SampServer;
use crate::overlay::wire::{self, OverlayRequest, OverlayRoute};
use crate::overlay::{Answer, NextHop, Peer, Purpose, identifier_of};
use crate::sip::{Method, Request, Response, Via, status};
use crate::transaction::ClientKey;
use samp_model::Time;
use std::net::SocketAddr;

impl SampServer {
    pub(super) fn handle_overlay(&mut self, now: Time, mut request: Request) {
        let Some((peer, what)) = wire::read_request(now, &request) else {
            return self.reply(&request, status::BAD_REQUEST);
        };
        match what {
            OverlayRequest::Find { .. } => match self.overlay_step(&mut request) {
                Ok(None) => {}
                Ok(Some(peer)) => return self.forward(request, peer.address),
                Err(code) => return self.reply(&request, code),
            },
            OverlayRequest::Neighbours => {}
            OverlayRequest::Notify => self.chord.handle_notify(now, peer),
            OverlayRequest::Store(records) => self.store(records),
        }
        let mut response = request.response(status::OK, &self.stateless_tag(&request));
        wire::write_answer(&mut response, self.me, &self.chord.neighbours());
        self.send_response(response);
    }

    pub(super) fn ask(&mut self, now: Time, to: SocketAddr, what: &OverlayRequest) -> ClientKey {
        let (call_id, tag) = (self.random.token("call"), self.random.token("tag"));
        let mut request = wire::request(self.me, to, call_id, tag, now, what);
        request.headers.via.push(Via::new(self.me.address, &self.random.branch()));
        // Three retransmissions before the peer is taken for dead: at 0, 1/8, 3/8 and 7/8 of the time.
        let timeout = self.settings.chord.peer_timeout;
        self.transactions.send_paced(now, request, to, timeout / 8, Some(timeout))
    }

    /// One step over the ring: the peer to send to, or none when this server is the owner.
    ///
    /// # Errors
    /// The status to answer with, as this server is not on the ring.
    pub(super) fn overlay_step(&self, request: &mut Request) -> Result<Option<Peer>, u16> {
        let route = OverlayRoute::of(&request.headers).unwrap_or_else(|| {
            // A REGISTER names its domain in the Request-URI and the node in To (RFC 3261 §10.2).
            let about =
                if request.method == Method::Register { &request.headers.to.uri } else { &request.uri };
            OverlayRoute { key: identifier_of(&about.address_of_record()), owner: None }
        });
        let (peer, owner) = match self.chord.next_hop(route.key) {
            _ if route.owner == Some(self.me.id) => return Ok(None),
            NextHop::Here => return Ok(None),
            NextHop::Unknown => return Err(status::UNAVAILABLE),
            NextHop::Owner(peer) => (peer, Some(peer.id)),
            NextHop::Nearer(peer) => (peer, None),
        };
        OverlayRoute { owner, ..route }.write(&mut request.headers);
        Ok(Some(peer))
    }
}

pub(super) fn answer_to(purpose: &Purpose, response: &Response) -> Option<Answer> {
    if response.status != status::OK {
        return None;
    }
    let (peer, neighbours) = wire::read_answer(response)?;
    Some(match purpose {
        Purpose::Join | Purpose::Finger { .. } => Answer::Found(peer, neighbours.successors),
        Purpose::Stabilize(_) | Purpose::Adopt(_) | Purpose::Probe { .. } => Answer::Neighbours(neighbours),
        Purpose::Notify(_) => Answer::Noted,
    })
}
