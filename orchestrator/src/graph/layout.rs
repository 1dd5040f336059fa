//! Where nodes go in a picture: where the topology says, and elsewhere where links of similar length bring them.

use super::{Graph, Shape};
use samp_model::topology::NodeId;
use std::collections::HashSet;
use std::f64::consts::TAU;

/// Rounds of the force-directed layout for small graphs; large ones get fewer.
const ROUNDS: usize = 300;
/// Pairs of nodes that are looked at in all.
const WORK: usize = 200_000_000;
/// How far servers and mobile nodes are from their router, in mean lengths of a link.
const SATELLITE: f64 = 0.38;

/// A point for each node; a link between routers has a length of about one.
pub(super) fn layout(graph: &Graph<'_>) -> Vec<[f64; 2]> {
    let topology = graph.topology;
    let positions: Vec<Option<[f64; 2]>> =
        topology.nodes.iter().map(|node| node.access().and_then(|access| access.position)).collect();
    let is_router = |id: NodeId| matches!(graph.shape(id), Shape::AccessRouter | Shape::Router);
    let routers: Vec<usize> = (0..topology.nodes.len()).filter(|index| is_router(NodeId(*index))).collect();
    let links: Vec<[usize; 2]> = graph
        .links
        .iter()
        .filter(|(ends, ..)| ends.iter().all(|end| is_router(*end)))
        .map(|(ends, ..)| ends.map(|end| end.0))
        .collect();

    let scale = scale(&links, &positions);
    let fixed: Vec<Option<[f64; 2]>> = positions
        .iter()
        // On maps, up is up.
        .map(|position| position.map(|[x, y]| [x / scale, -y / scale]))
        .collect();
    let mut points = on_a_circle(&fixed, &routers);
    let free: Vec<usize> = routers.iter().copied().filter(|index| fixed[*index].is_none()).collect();
    spread(&mut points, &routers, &free, &links);
    place_satellites(graph, &mut points);
    points
}

/// What becomes one: the mean length of a link between nodes that have positions, or less where they stand so close
/// that their names would cover each other.
fn scale(links: &[[usize; 2]], positions: &[Option<[f64; 2]>]) -> f64 {
    /// What most nodes have around them at least.
    const ROOM: f64 = 0.45;
    let lengths = links.iter().filter_map(|[a, b]| Some(distance(positions[*a]?, positions[*b]?)));
    let lengths: Vec<f64> = lengths.filter(|length| *length > 0.0).collect();
    let mean = lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
    let known: Vec<[f64; 2]> = positions.iter().flatten().copied().collect();
    let nearest = |point: &[f64; 2]| {
        let others = known.iter().map(|other| distance(*point, *other)).filter(|length| *length > 0.0);
        others.reduce(f64::min)
    };
    let mut nearest: Vec<f64> = known.iter().filter_map(nearest).collect();
    nearest.sort_by(f64::total_cmp);
    match (nearest.get(nearest.len() / 2), mean) {
        (None, _) => 1.0,
        (Some(nearest), 0.0) => *nearest,
        (Some(nearest), mean) => mean.min(nearest / ROOM),
    }
}

/// Where the rounds begin: nodes without a position stand around those with one.
fn on_a_circle(fixed: &[Option<[f64; 2]>], routers: &[usize]) -> Vec<[f64; 2]> {
    let known: Vec<[f64; 2]> = fixed.iter().flatten().copied().collect();
    let count = known.len().max(1) as f64;
    let centre = [0, 1].map(|axis| known.iter().map(|point| point[axis]).sum::<f64>() / count);
    let radius = (routers.len() as f64).sqrt().max(1.0);
    let mut points: Vec<[f64; 2]> = fixed.iter().map(|point| point.unwrap_or(centre)).collect();
    for (number, &index) in routers.iter().enumerate() {
        if fixed[index].is_none() {
            let angle = TAU * number as f64 / routers.len() as f64;
            points[index] = [centre[0] + radius * angle.cos(), centre[1] + radius * angle.sin()];
        }
    }
    points
}

/// Fruchterman and Reingold (1991): links pull, all nodes push; only those in `free` move.
fn spread(points: &mut [[f64; 2]], routers: &[usize], free: &[usize], links: &[[usize; 2]]) {
    let pairs = (free.len() * routers.len()).max(1);
    let rounds = if free.is_empty() { 0 } else { ROUNDS.min(WORK / pairs) };
    let is_free: HashSet<usize> = free.iter().copied().collect();
    for round in 0..rounds {
        let mut forces = vec![[0.0; 2]; points.len()];
        let mut push = |index: usize, other: [f64; 2], from: [f64; 2], strength: f64, length: f64| {
            for axis in [0, 1] {
                forces[index][axis] += (from[axis] - other[axis]) / length * strength;
            }
        };
        for &index in free {
            for &other in routers.iter().filter(|other| **other != index) {
                let length = distance(points[index], points[other]).max(0.01);
                push(index, points[other], points[index], 1.0 / length, length);
            }
        }
        for &[a, b] in links {
            let length = distance(points[a], points[b]).max(0.01);
            for (index, other) in [(a, b), (b, a)] {
                if is_free.contains(&index) {
                    push(index, points[other], points[index], -length * length, length);
                }
            }
        }
        let step = 0.5 * (1.0 - round as f64 / rounds as f64) + 0.01;
        for &index in free {
            let [x, y] = forces[index];
            let strength = x.hypot(y).max(1e-9);
            let length = strength.min(step);
            points[index][0] += x / strength * length;
            points[index][1] += y / strength * length;
        }
    }
}

/// Servers and mobile nodes stand around the router that they hang on.
fn place_satellites(graph: &Graph<'_>, points: &mut [[f64; 2]]) {
    let servers = graph.links.iter().filter_map(|([a, b], ..)| {
        let is_server = |id: NodeId| graph.shape(id) == Shape::SipServer;
        match (is_server(*a), is_server(*b)) {
            (true, false) => Some((*a, *b)),
            (false, true) => Some((*b, *a)),
            _ => None,
        }
    });
    let mobile = graph.attachments.iter().filter_map(|(node, router)| Some((*node, (*router)?)));
    let mut around: Vec<Vec<usize>> = vec![Vec::new(); points.len()];
    for (satellite, router) in servers.chain(mobile) {
        around[router.0].push(satellite.0);
    }
    for (router, satellites) in around.iter().enumerate() {
        let [x, y] = points[router];
        for (number, &satellite) in satellites.iter().enumerate() {
            // Off the axes, along which a grid's links run.
            let angle = TAU * (number as f64 / satellites.len() as f64 + 0.125);
            points[satellite] = [x + SATELLITE * angle.cos(), y + SATELLITE * angle.sin()];
        }
    }
}

fn distance([x, y]: [f64; 2], [u, v]: [f64; 2]) -> f64 {
    (x - u).hypot(y - v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology;

    fn points(text: &str) -> Vec<[f64; 2]> {
        let topology = topology::parse("t.yaml", text).unwrap();
        layout(&Graph::of_topology(&topology))
    }

    #[test]
    fn nobody_stands_on_somebody_else() {
        let points = points(super::super::tests::TOPOLOGY);
        for (index, a) in points.iter().enumerate() {
            assert!(a.iter().all(|coordinate| coordinate.is_finite()));
            for b in &points[index + 1..] {
                assert!(distance(*a, *b) > 0.1, "{points:?}");
            }
        }
    }

    #[test]
    fn positions_are_kept_but_for_scale() {
        let text = super::super::tests::TOPOLOGY
            .replace("ar1: { kind: access_router }", "ar1: { kind: access_router, position: [0, 0] }")
            .replace("ar2: { kind: access_router }", "ar2: { kind: access_router, position: [0, 200] }");
        let points = points(&text);
        // Up on the map is up in the picture, where y grows downwards.
        assert_eq!((points[0], points[1]), ([0.0, 0.0], [0.0, -1.0]));
    }
}
