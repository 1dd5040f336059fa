//! What people do in a world, and the schedule of it that a seed draws.

use crate::trace::name;
use crate::world::World;
use rand::RngExt;
use samp_model::random::generator;
use samp_model::{NodeId, Topology};
use std::time::Duration;

/// Something that a mobile node's user does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Walks to another access router.
    Move {
        /// Who.
        mobile_node: NodeId,
        /// Where to.
        access_router: NodeId,
    },
    /// Calls somebody.
    Call {
        /// Who.
        caller: NodeId,
        /// Whom.
        callee: NodeId,
    },
    /// Ends all calls.
    HangUp {
        /// Who.
        mobile_node: NodeId,
    },
    /// Moves one of the calls, if there is one, to another terminal.
    Transfer {
        /// Who.
        from: NodeId,
        /// Whereto.
        to: NodeId,
    },
    /// Goes away: its servers are to forget it. It comes back when it moves.
    Deregister {
        /// Who.
        mobile_node: NodeId,
    },
}

impl Work {
    pub(crate) fn apply(self, world: &mut World) {
        match self {
            Self::Move { mobile_node, access_router } => drop(world.attach(mobile_node, access_router)),
            Self::Call { caller, callee } => drop(world.call(caller, callee)),
            Self::HangUp { mobile_node } => world.hang_up(mobile_node),
            Self::Transfer { from, to } => {
                let call = world.media(from).next().map(|(call, _)| call.to_owned());
                if let (Some(call), Some(_)) = (call, world.address(to)) {
                    world.transfer(from, &call, to);
                }
            }
            Self::Deregister { mobile_node } => world.deregister(mobile_node),
        }
    }

    pub(crate) fn describe(self, topology: &Topology) -> String {
        let name = |node| name(topology, node);
        match self {
            Self::Move { mobile_node, access_router } => {
                format!("{} moves to {}", name(mobile_node), name(access_router))
            }
            Self::Call { caller, callee } => format!("{} calls {}", name(caller), name(callee)),
            Self::HangUp { mobile_node } => format!("{} hangs up", name(mobile_node)),
            Self::Transfer { from, to } => format!("{} moves a call to {}", name(from), name(to)),
            Self::Deregister { mobile_node } => format!("{} deregisters", name(mobile_node)),
        }
    }
}

/// What is done, and when.
pub(crate) fn draw(seed: u64, topology: &Topology, until: Duration) -> Vec<(Duration, Work)> {
    let random = &mut generator(seed, "workload");
    let nodes: Vec<_> = topology.mobile_nodes().collect();
    let routers: Vec<_> = topology.access_routers().collect();
    // Between two things that happen: a busy world or a calm one.
    let pause = random.random_range(50..3_000);
    let mut work = Vec::new();
    let mut now = Duration::from_millis(random.random_range(0..8_000));
    while now < until {
        let who = random.random_range(0..nodes.len());
        let mobile_node = nodes[who];
        let other = nodes[(who + random.random_range(1..nodes.len())) % nodes.len()];
        work.push((
            now,
            match random.random_range(0..20) {
                0..8 => {
                    Work::Move { mobile_node, access_router: routers[random.random_range(0..routers.len())] }
                }
                8..14 => Work::Call { caller: mobile_node, callee: other },
                14 => Work::Transfer { from: mobile_node, to: other },
                15..19 => Work::HangUp { mobile_node },
                _ => Work::Deregister { mobile_node },
            },
        ));
        now += Duration::from_millis(random.random_range(0..2 * pause));
    }
    work
}
