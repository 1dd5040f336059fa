//! What must hold in every world, whatever happens in it.

use crate::faults;
use crate::trace::name;
use crate::world::{Happened, World};
use samp_model::record::RegistrationScope;
use samp_model::ring::LONGEST_LIST;
use samp_model::settings::SampSettings;
use samp_model::topology::NodeKind;
use samp_model::{Event, NodeId, Time, Topology};
use samp_protocol::Census;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// A binding that the home server has acknowledged is held by a running server until it expires.
    BindingsSurvive,
    /// Every call is answered or refused within its timers.
    CallsAreDecided,
    /// The servers form an ideal ring soon after the last fault.
    RingIsIdeal,
    /// Every mobile node can be called soon after the last fault.
    EverybodyIsReachable,
    /// Both ends of a call send their media to where the other end is.
    MediaFollows,
    /// When everybody has hung up, nobody waits for anything.
    NothingOutlivesItsTimer,
    /// No node keeps more than its work explains.
    MemoryIsBounded,
    /// No node panics.
    NoPanic,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// When, in nanoseconds of virtual time.
    pub at: Time,
    /// Who and why.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.invariant, self.at, self.detail)
    }
}

/// The longest that a call may be undecided: straight to the callee, to the anchor by timer B, and from the anchor by its
/// cache and by timer B over the ring; then a CANCEL that nobody answers. Where callees ring, one that is gone holds the
/// call until timer C.
pub(crate) fn call_limit(samp: &SampSettings) -> Duration {
    let rings = if samp.ring.is_zero() { Duration::ZERO } else { samp.ring + TIMER_C };
    2 * samp.stale_deadline + 3 * 64 * samp.t1 + rings + Duration::from_secs(1)
}

/// The longest that the servers need to form an ideal ring in fair weather: k rounds, each a stabilisation and a wait
/// for a peer that may be dead. News travel backwards along the successor lists, one member a round.
pub(crate) fn ring_limit(topology: &Topology) -> Duration {
    const ROUNDS: usize = 10;
    let chord = &topology.samp.chord;
    let longest_list = LONGEST_LIST.min(topology.sip_servers().count() * chord.virtual_nodes);
    (ROUNDS + longest_list) as u32 * (chord.stabilize_period + chord.peer_timeout)
}

/// The longest that a node needs to be reachable again on an ideal ring: a registration under way may have to time out;
/// the next refresh finds what is wrong.
pub(crate) fn registration_limit(samp: &SampSettings) -> Duration {
    64 * samp.t1 + samp.registration_lifetime / 2 + 2 * samp.anchor_timeout + Duration::from_secs(8)
}

/// The longest that a finished call leaves anything behind: a BYE straight to the peer, then by way of the anchor.
pub(crate) fn leave_limit(samp: &SampSettings) -> Duration {
    samp.anchor_timeout + 64 * samp.t1 + Duration::from_secs(5)
}

/// The longest that a proxy waits for the final response to an INVITE that rings (RFC 3261 §16.6, point 11).
pub(crate) const TIMER_C: Duration = Duration::from_secs(185);

/// Follows what happens in a world.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: usize,
    /// Until when a mobile node's binding, as last acknowledged by its home server, is to live.
    acknowledged: BTreeMap<NodeId, Time>,
    /// Servers take, or have taken, each other for dead that are not, and the ring has not come to rest since: of two
    /// writes on both sides one gives way.
    parted: bool,
    /// Who has gone away, and is not registered on purpose.
    gone: BTreeSet<NodeId>,
    /// Undecided calls: the caller, and when it last had reason to begin anew.
    undecided: BTreeMap<String, (NodeId, Time)>,
}

impl Watch {
    /// Takes in what has happened since.
    fn catch_up(&mut self, world: &World) {
        let lifetime = world.topology().samp.registration_lifetime;
        for Happened { at, node, event } in &world.happened()[self.seen..] {
            match event {
                Event::Registered { scope: RegistrationScope::Home, .. } => {
                    // Whole seconds travel, and the answer took its time.
                    let expires = *at + lifetime.saturating_sub(Duration::from_secs(10));
                    self.gone.remove(node);
                    if self.parted {
                        self.acknowledged.remove(node);
                    } else {
                        self.acknowledged.insert(*node, expires);
                    }
                }
                Event::AddressConfigured { .. } => {
                    let own = self.undecided.values_mut().filter(|(caller, _)| caller == node);
                    own.for_each(|(_, since)| *since = *at);
                }
                Event::CallStarted { call, .. } => {
                    self.undecided.insert(call.clone(), (*node, *at));
                }
                Event::CallEstablished { call, .. } | Event::CallFailed { call, .. } => {
                    self.undecided.remove(call);
                }
                _ => {}
            }
        }
        self.seen = world.happened().len();
        self.undecided.retain(|_, (caller, _)| world.is_running(*caller));
    }

    /// A mobile node goes away: from now on nobody need know it.
    pub(crate) fn goes_away(&mut self, world: &World, node: NodeId) {
        self.catch_up(world);
        self.acknowledged.remove(&node);
        self.gone.insert(node);
    }

    /// Who has gone away and not come back.
    pub(crate) fn gone(&self) -> impl Iterator<Item = NodeId> {
        self.gone.iter().copied()
    }

    /// What must hold at any time.
    pub(crate) fn check(&mut self, world: &mut World) -> Result<(), Violation> {
        self.catch_up(world);
        let repair = faults::repair_time(world.topology());
        let may_err =
            world.is_parted() || world.pauses_a_server() || world.loses_messages() && !world.ring_is_ideal();
        self.parted = may_err || self.parted && !world.ring_is_at_rest(repair);
        self.bindings_survive(world)?;
        self.calls_are_decided(world)
    }

    fn bindings_survive(&self, world: &World) -> Result<(), Violation> {
        // Where one server holds a binding, its crash loses it: nothing is promised.
        if world.topology().samp.chord.replicas < 2 || self.acknowledged.is_empty() {
            return Ok(());
        }
        let held: Vec<_> =
            world.topology().sip_servers().flat_map(|server| world.census(server).home).collect();
        for (&node, _) in self.acknowledged.iter().filter(|(_, expires)| **expires > world.now()) {
            let NodeKind::MobileNode { address_of_record, .. } = &world.topology().node(node).kind else {
                continue;
            };
            if !held.contains(address_of_record) {
                let who = name(world.topology(), node);
                return Err(violation(
                    world,
                    Invariant::BindingsSurvive,
                    format!("nobody holds the binding of {who}"),
                ));
            }
        }
        Ok(())
    }

    fn calls_are_decided(&self, world: &World) -> Result<(), Violation> {
        let limit = call_limit(&world.topology().samp);
        let late = self.undecided.iter().find(|(_, (_, since))| world.now() - *since > limit);
        let Some((call, (caller, since))) = late else { return Ok(()) };
        let detail = format!("{call} of {} has begun at {since}", name(world.topology(), *caller));
        Err(violation(world, Invariant::CallsAreDecided, detail))
    }

    /// Whether this call has been established, or why not.
    pub(crate) fn is_established(world: &World, id: &str) -> Result<(), String> {
        let outcome = world.happened().iter().rev().find_map(|happened| match &happened.event {
            Event::CallEstablished { call, .. } if call == id => Some(Ok(())),
            Event::CallFailed { call, status } if call == id => Some(Err(format!("refused with {status}"))),
            _ => None,
        });
        outcome.unwrap_or_else(|| Err("undecided".to_owned()))
    }

    /// Whether all calls are decided.
    pub(crate) fn is_quiet(&mut self, world: &World) -> bool {
        self.catch_up(world);
        self.undecided.is_empty()
    }
}

/// Both ends of each call that both have: where one sends is where the other is.
pub(crate) fn media_follows(world: &World) -> Result<(), Violation> {
    let mut ends: BTreeMap<&str, Vec<(NodeId, std::net::IpAddr)>> = BTreeMap::new();
    for node in world.topology().mobile_nodes() {
        for (call, remote) in world.media(node) {
            ends.entry(call).or_default().push((node, remote.ip()));
        }
    }
    for (call, ends) in ends {
        let [(a, to_b), (b, to_a)] = ends[..] else { continue };
        for (node, remote, peer) in [(a, to_b, b), (b, to_a, a)] {
            let at = world.address(peer);
            if at != Some(remote) {
                let (node, peer) = (name(world.topology(), node), name(world.topology(), peer));
                let detail = format!("in {call} {node} sends to {remote}, but {peer} is at {at:?}");
                return Err(violation(world, Invariant::MediaFollows, detail));
            }
        }
    }
    Ok(())
}

/// Whether nobody waits for anything: what is there at each of several instants is never gone, and a leak.
pub(crate) fn what_is_left(world: &mut World) -> Result<(), Violation> {
    let mut least: BTreeMap<NodeId, Census> = BTreeMap::new();
    for _ in 0..20 {
        world.run_for(Duration::from_millis(370));
        let topology = world.topology();
        for node in topology.sip_servers().chain(topology.mobile_nodes()) {
            let mut now = world.census(node);
            // Who is alone keeps asking for others that are gone for good.
            now.unanswered -= now.asked;
            let least = least.entry(node).or_insert_with(|| now.clone());
            least.transactions = least.transactions.min(now.transactions);
            least.unanswered = least.unanswered.min(now.unanswered);
            least.asked = least.asked.min(now.asked);
            least.pending = least.pending.min(now.pending);
            least.calls = least.calls.min(now.calls);
            least.cached = least.cached.min(now.cached);
            least.records = least.records.min(now.records);
        }
    }
    let topology = world.topology();
    let samp = &topology.samp;
    let users = users(topology);
    let cache_size = topology.samp.tier1.size.max(topology.samp.tier2.size);
    let (servers, nodes) = (topology.sip_servers().count(), topology.mobile_nodes().count());
    for (&node, census) in &least {
        let Census { transactions, unanswered, asked, pending, calls, cached, records, .. } = census;
        let who = name(topology, node);
        if unanswered + pending + calls > 0 {
            let detail =
                format!("{who} keeps {unanswered} unanswered transactions, {pending} pending, {calls} calls");
            return Err(violation(world, Invariant::NothingOutlivesItsTimer, detail));
        }
        // Ring upkeep and refreshes linger for some seconds after their answer, a node's probes for timer J.
        let probes = (64 * samp.t1).div_duration_f64(samp.anchor_probe).ceil() as usize;
        if *transactions > 100 + 20 * servers + (5 + probes) * nodes || *asked > servers {
            let detail = format!("{who} keeps {transactions} transactions and {asked} questions to servers");
            return Err(violation(world, Invariant::MemoryIsBounded, detail));
        }
        // A user's bindings are one record at home or as a replica, and one at an anchor.
        if *records > 2 * users || *cached > cache_size {
            let detail =
                format!("{who} keeps {records} records of {users} users and {cached} cached locations");
            return Err(violation(world, Invariant::MemoryIsBounded, detail));
        }
    }
    Ok(())
}

/// How many addresses-of-record there are.
fn users(topology: &Topology) -> usize {
    let of = |(_, node): (NodeId, &samp_model::topology::Node)| match &node.kind {
        NodeKind::MobileNode { address_of_record, .. } => Some(address_of_record.clone()),
        _ => None,
    };
    topology.nodes().filter_map(of).collect::<BTreeSet<_>>().len()
}

pub(crate) fn violation(world: &World, invariant: Invariant, detail: String) -> Violation {
    Violation { invariant, at: world.now(), detail }
}
