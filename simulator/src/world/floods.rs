//! Who floods a SIP server: the requests that a lab's flooder sends, at the same times.

use super::{SIP_PORT, World};
use crate::network::Place;
use samp_model::record::FloodNumber;
use samp_model::{NodeId, Time, flood};
use samp_protocol::Flood;
use samp_protocol::sip::Response;
use std::net::SocketAddr;

/// The port of the first flood; each has its own.
const FIRST_PORT: u16 = 50_000;
/// How many ports there are for floods.
const PORTS: u16 = 10_000;

/// Whether what comes to this port is for a flood.
pub(super) fn is_of_flood(port: u16) -> bool {
    (FIRST_PORT..FIRST_PORT + PORTS).contains(&port)
}

/// A flood that goes on.
#[derive(Debug)]
pub(super) struct Flooder {
    node: NodeId,
    flood: Flood,
}

impl World {
    /// Lets a server be flooded from the place of a node; both have addresses.
    pub(crate) fn begin_flood(&mut self, number: FloodNumber, from: NodeId, to: NodeId, flood: flood::Flood) {
        let [server, own] = [to, from].map(|node| self.topology.node(node));
        let (Some(address), Some(source)) = (server.address(), own.address()) else { return };
        let port = FIRST_PORT + (number % u32::from(PORTS)) as u16;
        let [server_at, own_at] = [SocketAddr::new(address, SIP_PORT), SocketAddr::new(source, port)];
        let flood = Flood::new(number, &server.name, flood, server_at, own_at, self.now);
        self.places.entry(source).or_insert(Place { vertex: from, router: from, mobile_node: None });
        self.note_event(from, flood.began());
        self.floods.push(Flooder { node: from, flood });
    }

    /// When the next flood has something to do.
    pub(super) fn next_flood(&self) -> Option<Time> {
        self.floods.iter().filter_map(|flooder| flooder.flood.next_due()).min()
    }

    /// Lets every flood send what is due, and ends those that are over.
    pub(super) fn step_floods(&mut self) {
        let now = self.now;
        let mut floods = std::mem::take(&mut self.floods);
        for Flooder { flood, .. } in &mut floods {
            if flood.next_due().is_some_and(|due| due <= now) {
                let (own, server) = (flood.own(), flood.server());
                flood.send_due(now, |request| {
                    self.send_request(own, server, request);
                    true
                });
            }
        }
        self.floods = floods;
        self.end_floods();
    }

    /// Counts what has come for a flood, if it goes on still.
    pub(super) fn answer_flood(&mut self, to: SocketAddr, response: &Response) {
        let Some(Flooder { flood, .. }) = self.floods.iter_mut().find(|it| it.flood.own() == to) else {
            return;
        };
        let (own, server) = (flood.own(), flood.server());
        if let Some(ack) = flood.handle_response(response) {
            self.send_request(own, server, ack);
        }
        self.end_floods();
    }

    fn end_floods(&mut self) {
        for ended in self.floods.extract_if(.., |it| it.flood.next_due().is_none()).collect::<Vec<_>>() {
            self.note_event(ended.node, ended.flood.ended());
        }
    }
}
