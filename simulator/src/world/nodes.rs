//! The nodes of a world: how each is built, and what becomes of what it says.

use super::{Actor, Client, Happened, SIP_PORT, World};
use samp_model::agent::{AgentConfig, Role};
use samp_model::random::seed_for;
use samp_model::settings::Records;
use samp_model::topology::NodeKind;
use samp_model::{Event, NodeId, Record};
use samp_protocol::mobile_ip::ForwardingTable;
use samp_protocol::{Media, MediaCommand, Output, shared_secret};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What the servers share with `auth: digest`, and home agents with `authentication: rfc4285`.
const RING_KEY: &str = "simulated";

impl World {
    /// Builds a node and lets it run.
    pub(super) fn start(&mut self, id: NodeId) {
        let node = self.topology.node(id);
        let address = node.address();
        let role = match (&node.kind, self.agents.mobility_agent(id)) {
            (NodeKind::MobileNode { .. }, _) => Role::MobileNode {
                address_of_record: self.called(id),
                interface: String::new(),
                second_interface: None,
                family: self.topology.family,
                media: self.topology.media.clone(),
                mac: [0; 6],
                identifier: 0,
                addressing: self.topology.addressing.clone(),
                trigger: samp_model::settings::Trigger::Link,
                mobility: self.agents.mobility(id),
            },
            (_, Some(agent)) => Role::MobilityAgent(agent.clone()),
            _ => Role::SipServer {
                address: SocketAddr::new(address.expect("a server has an address"), SIP_PORT),
                join: self.join_through(id),
                interface: String::new(),
            },
        };
        let start = &mut self.starts[id.0];
        let nth = id.0 as u64 + (*start << 32);
        *start += 1;
        let samp = self.topology.samp.clone();
        let authentication = self.topology.mobility.authentication;
        let secret = shared_secret(RING_KEY, &samp, authentication, &node.name, &role);
        let seed = match self.seed {
            Some(seed) => seed ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            None => seed_for(self.topology.seed, &format!("node {}", node.name)),
        };
        let plays_media = self.plays_media && matches!(node.kind, NodeKind::MobileNode { .. });
        let home = self.agents.home_address(id).map(IpAddr::V6);
        let streams = plays_media.then(|| Media::new(self.topology.media.clone(), seed));
        let streams = streams.map(|streams| if home.is_some() { streams.with_marks() } else { streams });
        let map = self.agents.mobility_agent(id).and_then(|agent| agent.map).map(IpAddr::V6);
        let client = Client::new(&self.topology, id, seed);
        if !matches!(role, Role::MobileNode { .. }) {
            let speaks_sip = matches!(role, Role::SipServer { .. });
            self.processors.start(self.now, &self.topology, id, speaks_sip);
        }
        let config = AgentConfig { name: node.name.clone(), seed, samp, secret, role };
        let node = samp_protocol::build(&config, self.now).expect("a valid address-of-record");
        self.owners.extend(address.into_iter().chain(map).map(|address| (address, id)));
        self.actors[id.0] = Some(Actor {
            node,
            address,
            home,
            table: ForwardingTable::default(),
            timeout: None,
            paused: None,
            media: BTreeMap::new(),
            streams,
            client,
        });
        self.ring_changed();
        self.flush(id);
    }

    /// The member through which a server joins: the first one for all others, and, when it is the first one that
    /// starts again, the next that runs.
    fn join_through(&self, server: NodeId) -> Option<SocketAddr> {
        let others = self.servers.iter().filter(|(id, _)| *id != server);
        let running = others.filter(|(id, _)| self.actors[id.0].is_some());
        running.map(|(_, ip)| SocketAddr::new(*ip, SIP_PORT)).next()
    }

    /// Takes from a node what it has to tell and to send, and notes when it wants to be woken.
    pub(super) fn flush(&mut self, id: NodeId) {
        let Some(actor) = self.actors[id.0].as_mut().filter(|actor| actor.paused.is_none()) else { return };
        let mut packets = Vec::new();
        while let Some(output) = actor.node.poll_event() {
            match output {
                Output::Packet(packet) => {
                    let around = actor.table.wrap(packet.source, packet.destination, true);
                    packets.push((*packet, around));
                }
                Output::Forwarding(change) => actor.table.apply(change),
                Output::Record(event) => {
                    let happened = Happened { at: self.now, node: id, event };
                    if matches!(happened.event, Event::RingChanged { .. } | Event::RingLeft { .. }) {
                        let node = self.topology.node(id).name.clone();
                        self.ring.note(&Record { at: self.now, node, event: happened.event.clone() });
                        (self.ring_changed_at, self.ideal) = (self.now, None);
                    }
                    self.trace.event(&self.topology, &happened);
                    self.happened.push(happened);
                }
                Output::Media(command) => {
                    match &command {
                        MediaCommand::Start { call, remote, .. }
                        | MediaCommand::Retarget { call, remote } => {
                            actor.media.insert(call.clone(), *remote);
                        }
                        MediaCommand::Stop { call } => drop(actor.media.remove(call)),
                    }
                    if let Some(streams) = &mut actor.streams {
                        streams.handle_command(self.now, command);
                    }
                }
                Output::Left => {}
            }
        }
        while let Some((at, event)) = actor.streams.as_mut().and_then(Media::poll_event) {
            self.happened.push(Happened { at, node: id, event });
        }
        let mut transmits = Vec::new();
        while let Some(transmit) = actor.node.poll_transmit() {
            transmits.push(transmit);
        }
        let (wanted, source) = (actor.next_timeout(), actor.address.and(actor.home).or(actor.address));
        self.set_timeout(id, wanted);
        let Some(source) = source else { return };
        let records_messages = self.topology.samp.records == Records::Messages;
        for (packet, around) in packets {
            if records_messages {
                self.happened.push(Happened { at: self.now, node: id, event: packet.sent() });
            }
            self.send_packet(id, packet, around);
        }
        // Else nobody asks for a message's length, and it is never in its wire form.
        let lengths_count = records_messages || self.network.wires.every_hop_counts();
        for transmit in transmits {
            let transmit = if lengths_count { transmit.encoded() } else { transmit };
            if records_messages && let Some(event) = transmit.sent() {
                self.happened.push(Happened { at: self.now, node: id, event });
            }
            self.transmit(id, source, transmit);
        }
    }
}
