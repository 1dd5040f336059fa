//! Where a frame goes: the ends, and the attachment table of the air.

use crate::spec::{LineSpec, PipeSpec};
use std::collections::{BTreeSet, HashMap};

/// One direction of one link: an index into the line's directions.
pub(crate) type Direction = usize;

/// The way of a frame that came in at some end.
#[derive(Debug, PartialEq)]
pub(crate) enum Way<'a> {
    /// Over one direction.
    One(Direction),
    /// Down to each of these radios, never none; see [`Table::down`].
    Radios(&'a BTreeSet<usize>),
    /// Nowhere: the radio is detached, or not attached at that access router, or there is none such.
    Unattached,
    /// The interface is no end of this line.
    Foreign,
}

/// A specification that cannot be served.
#[derive(Debug, PartialEq)]
pub(crate) enum TableError {
    /// Two ends have this index.
    Interface(u32),
    /// Two radios have the same address.
    Address { first: usize, second: usize },
}

/// The ends and who is attached where.
///
/// Directions are numbered so: pipe `p` has `2p` (from its first end) and `2p + 1`; after all pipes, radio `r` has
/// `2r` (up) and `2r + 1` (down).
#[derive(Debug)]
pub(crate) struct Table {
    ports: HashMap<u32, Port>,
    radio_of: HashMap<[u8; 6], usize>,
    /// Index of the interface where each direction ends; none for a detached radio's way up.
    exits: Vec<Option<u32>>,
    attached_to: Vec<Option<usize>>,
    radios_at: Vec<BTreeSet<usize>>,
    access: Vec<u32>,
    first_radio: Direction,
}

#[derive(Clone, Copy, Debug)]
enum Port {
    Pipe(Direction),
    Radio(usize),
    Access(usize),
}

impl Table {
    /// All ends of `spec`, all radios detached.
    pub(crate) fn new(spec: &LineSpec) -> Result<Self, TableError> {
        let mut table = Table {
            ports: HashMap::new(),
            radio_of: HashMap::new(),
            exits: Vec::new(),
            attached_to: vec![None; spec.radios.len()],
            radios_at: vec![BTreeSet::new(); spec.access.len()],
            access: spec.access.iter().map(|access| access.index).collect(),
            first_radio: 2 * spec.pipes.len(),
        };
        for (pipe, &PipeSpec { ends: [a, b], .. }) in spec.pipes.iter().enumerate() {
            table.add_port(a, Port::Pipe(2 * pipe))?;
            table.add_port(b, Port::Pipe(2 * pipe + 1))?;
            table.exits.extend([Some(b), Some(a)]);
        }
        for (radio, spec) in spec.radios.iter().enumerate() {
            table.add_port(spec.index, Port::Radio(radio))?;
            if let Some(first) = table.radio_of.insert(spec.mac, radio) {
                return Err(TableError::Address { first, second: radio });
            }
            table.exits.extend([None, Some(spec.index)]);
        }
        for (access, spec) in spec.access.iter().enumerate() {
            table.add_port(spec.index, Port::Access(access))?;
        }
        Ok(table)
    }

    /// The way of a frame with this destination address that came in at this interface.
    pub(crate) fn route(&self, interface: u32, destination: [u8; 6]) -> Way<'_> {
        match self.ports.get(&interface) {
            None => Way::Foreign,
            Some(&Port::Pipe(direction)) => Way::One(direction),
            Some(&Port::Radio(radio)) if self.attached_to[radio].is_some() => Way::One(self.up(radio)),
            Some(Port::Radio(_)) => Way::Unattached,
            // The group bit (IEEE 802, §8.2): multicast and broadcast.
            Some(&Port::Access(access)) if destination[0] & 1 == 1 => match &self.radios_at[access] {
                radios if radios.is_empty() => Way::Unattached,
                radios => Way::Radios(radios),
            },
            Some(&Port::Access(access)) => match self.radio_of.get(&destination) {
                Some(&radio) if self.attached_to[radio] == Some(access) => Way::One(self.down(radio)),
                _ => Way::Unattached,
            },
        }
    }

    /// Index of the interface where a direction ends; none for a detached radio's way up.
    pub(crate) fn exit(&self, direction: Direction) -> Option<u32> {
        self.exits[direction]
    }

    /// Where a radio is attached.
    pub(crate) fn attachment(&self, radio: usize) -> Option<usize> {
        self.attached_to[radio]
    }

    /// Attaches a radio elsewhere, or nowhere.
    pub(crate) fn attach(&mut self, radio: usize, access: Option<usize>) {
        if let Some(old) = self.attached_to[radio] {
            self.radios_at[old].remove(&radio);
        }
        if let Some(new) = access {
            self.radios_at[new].insert(radio);
        }
        self.attached_to[radio] = access;
        let up = self.up(radio);
        self.exits[up] = access.map(|access| self.access[access]);
    }

    /// The direction from a radio to its access router.
    pub(crate) fn up(&self, radio: usize) -> Direction {
        self.first_radio + 2 * radio
    }

    /// The direction from an access router to a radio.
    pub(crate) fn down(&self, radio: usize) -> Direction {
        self.up(radio) + 1
    }

    fn add_port(&mut self, interface: u32, port: Port) -> Result<(), TableError> {
        match self.ports.insert(interface, port) {
            None => Ok(()),
            Some(_) => Err(TableError::Interface(interface)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{AccessSpec, RadioSpec};
    use samp_model::topology::LinkQuality;

    const QUALITY: LinkQuality = LinkQuality::IDEAL;
    const BROADCAST: [u8; 6] = [255; 6];

    fn mac(last: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, last]
    }

    fn radio(index: u32, last: u8) -> RadioSpec {
        RadioSpec { index, mac: mac(last), up: QUALITY, down: QUALITY }
    }

    fn spec() -> LineSpec {
        LineSpec {
            pipes: vec![PipeSpec { ends: [2, 3], quality: [QUALITY; 2] }],
            radios: vec![radio(10, 10), radio(11, 11), radio(12, 12)],
            access: vec![AccessSpec { index: 20 }, AccessSpec { index: 21 }],
            seed: 0,
        }
    }

    #[test]
    fn a_pipe_joins_its_ends() {
        let table = Table::new(&spec()).unwrap();
        assert_eq!(table.route(2, mac(99)), Way::One(0));
        assert_eq!(table.exit(0), Some(3));
        assert_eq!(table.route(3, BROADCAST), Way::One(1));
        assert_eq!(table.exit(1), Some(2));
        assert_eq!(table.route(1, BROADCAST), Way::Foreign);
    }

    #[test]
    fn radios_begin_detached() {
        let table = Table::new(&spec()).unwrap();
        assert_eq!(table.route(10, mac(99)), Way::Unattached);
        assert_eq!(table.route(20, mac(10)), Way::Unattached);
        assert_eq!(table.route(20, BROADCAST), Way::Unattached);
    }

    #[test]
    fn unicast_passes_only_where_the_radio_is_attached() {
        let mut table = Table::new(&spec()).unwrap();
        table.attach(0, Some(0));
        assert_eq!(table.route(20, mac(10)), Way::One(table.down(0)));
        assert_eq!(table.exit(table.down(0)), Some(10));
        assert_eq!(table.route(21, mac(10)), Way::Unattached);
        assert_eq!(table.route(20, mac(77)), Way::Unattached);
        assert_eq!(table.route(10, mac(77)), Way::One(table.up(0)));
        assert_eq!(table.exit(table.up(0)), Some(20));
    }

    #[test]
    fn a_group_address_reaches_every_radio_there() {
        let mut table = Table::new(&spec()).unwrap();
        table.attach(2, Some(1));
        table.attach(0, Some(1));
        table.attach(1, Some(0));
        let both = BTreeSet::from([0, 2]);
        assert_eq!(table.route(21, BROADCAST), Way::Radios(&both));
        assert_eq!(table.route(21, [1, 0, 0x5e, 0, 1, 75]), Way::Radios(&both));
    }

    #[test]
    fn attaching_elsewhere_leaves_nothing_behind() {
        let mut table = Table::new(&spec()).unwrap();
        table.attach(0, Some(0));
        table.attach(0, Some(1));
        assert_eq!(table.attachment(0), Some(1));
        assert_eq!(table.exit(table.up(0)), Some(21));
        assert_eq!(table.route(20, mac(10)), Way::Unattached);
        assert_eq!(table.route(20, BROADCAST), Way::Unattached);
        table.attach(0, None);
        assert_eq!(table.exit(table.up(0)), None);
        assert_eq!(table.route(21, BROADCAST), Way::Unattached);
    }

    #[test]
    fn ambiguous_ends_are_refused() {
        let mut twice = spec();
        twice.access.push(AccessSpec { index: 3 });
        assert_eq!(Table::new(&twice).unwrap_err(), TableError::Interface(3));
        let mut same = spec();
        same.radios.push(radio(13, 11));
        assert_eq!(Table::new(&same).unwrap_err(), TableError::Address { first: 1, second: 3 });
    }
}
