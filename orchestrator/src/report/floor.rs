//! What theory allows at best: sums of the shortest times that links can take.

use samp_model::{Topology, paths};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// The floors of one topology; remembers what it has worked out.
#[derive(Debug)]
pub struct Floors<'a> {
    topology: &'a Topology,
    known: RefCell<HashMap<(IpAddr, IpAddr), Option<Duration>>>,
}

impl<'a> Floors<'a> {
    /// Of this topology.
    pub fn new(topology: &'a Topology) -> Self {
        Self { topology, known: RefCell::default() }
    }

    /// The topology.
    pub fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// From one address to another; none when there is no such path.
    pub fn one_way(&self, from: IpAddr, to: IpAddr) -> Option<Duration> {
        *self
            .known
            .borrow_mut()
            .entry((from, to))
            .or_insert_with(|| paths::least_delay(self.topology, from, to))
    }

    /// Along these addresses, first to last, and back the same way.
    pub fn there_and_back(&self, path: &[IpAddr]) -> Option<Duration> {
        path.windows(2).map(|leg| Some(self.one_way(leg[0], leg[1])? + self.one_way(leg[1], leg[0])?)).sum()
    }
}
