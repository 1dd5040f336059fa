//! Zave's invariant after every step, under joins, crashes and any order of steps; and that rings become ideal.

use super::*;
use proptest::prelude::*;

impl Ring {
    fn in_ring(&self) -> impl Iterator<Item = &Member> {
        self.servers.values().flat_map(|chord| &chord.members).filter(|member| member.is_in())
    }

    /// Members that nobody's list passes over: no list names somebody before and somebody behind it one after the
    /// other.
    fn principals(&self) -> usize {
        let passes_over = |lister: &Member, member: &Member| {
            let mut from = lister.me().id;
            let mut peers = lister.successors().peers().iter();
            peers.any(|peer| member.me().id.between(std::mem::replace(&mut from, peer.id), peer.id))
        };
        let is_principal = |member: &&Member| !self.in_ring().any(|lister| passes_over(lister, member));
        self.in_ring().filter(is_principal).count()
    }

    /// The invariant: everybody has a live successor, and at least L + 1 members are principal. From it follow one
    /// ordered ring, without a second one beside, and lists without duplicates (her theorems).
    fn check(&self) -> Result<(), String> {
        for member in self.in_ring() {
            let list = member.successors().peers();
            if !list.iter().any(|peer| self.servers.contains_key(&peer.address)) {
                return Err(format!("{} has no live successor in {list:?}", member.me()));
            }
            let mut from = member.me().id;
            for peer in list {
                if !peer.id.between(from, member.me().id) {
                    return Err(format!("{}: {list:?} is out of order", member.me()));
                }
                from = peer.id;
            }
        }
        let principals = self.principals();
        if principals <= LENGTH { Err(format!("only {principals} principals")) } else { Ok(()) }
    }

    /// Crashes a server if the proof's assumption allows it: everybody keeps a live successor, and L + 1 principals
    /// are left.
    fn crash_if_allowed(&mut self, server: SocketAddr) {
        let seeds = |chord: &Chord| !chord.members[0].is_in() && chord.contacts.contains(&server);
        if self.servers.values().any(seeds) {
            return;
        }
        let crashed = self.servers.remove(&server);
        if self.check().is_ok() {
            self.crash(server);
        } else {
            self.servers.extend(crashed.map(|chord| (server, chord)));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Join(u16),
    Crash(usize),
    Tick(usize),
    Deliver(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => any::<u16>().prop_map(Move::Join),
        2 => any::<usize>().prop_map(Move::Crash),
        10 => any::<usize>().prop_map(Move::Tick),
        20 => any::<usize>().prop_map(Move::Deliver),
    ];
    prop::collection::vec(one, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_invariant_holds_after_every_step_and_the_ring_becomes_ideal(moves in moves()) {
        let mut ring = Ring::ideal(0..LENGTH as u16 + 5, settings(1));
        prop_assert_eq!(ring.check(), Ok(()));
        for step in moves {
            let servers: Vec<_> = ring.servers.keys().copied().collect();
            match step {
                Move::Join(number) => ring.join(address(number), servers[usize::from(number) % servers.len()]),
                Move::Crash(pick) => ring.crash_if_allowed(servers[pick % servers.len()]),
                Move::Tick(pick) => ring.tick(servers[pick % servers.len()]),
                Move::Deliver(pick) => ring.deliver(pick),
            }
            prop_assert_eq!(ring.check(), Ok(()), "after {:?}", step);
        }
        ring.run(2 * ring.servers.len() as u32);
        prop_assert_eq!(ring.check_ideal(), Ok(()));
    }
}

/// From one server on, all join through the first, whatever their number and that of their virtual nodes.
#[test]
fn rings_of_any_size_form() {
    for virtual_nodes in [1, 3] {
        for count in [1, 2, 3, 4, 5, 16] {
            let mut ring = Ring::ideal([0], settings(virtual_nodes));
            (1..count).for_each(|number| ring.join(address(number), address(0)));
            ring.run(10);
            assert_eq!(ring.check_ideal(), Ok(()), "{count} servers, {virtual_nodes} virtual nodes");
        }
    }
}

/// L − 1 servers side by side die at once; three periods later nobody's list names them.
#[test]
fn adjacent_crashes_heal_in_three_periods() {
    for first in 0..16 {
        let mut ring = Ring::ideal(0..16, settings(1));
        ring.run(3);
        let order = members_of(ring.servers.keys().copied(), 1);
        (first..first + LENGTH - 1).for_each(|victim| ring.crash(order[victim % 16].address));
        ring.run(3);
        assert_eq!(ring.check_ideal(), Ok(()), "from {first} on");
    }
}

/// Members that know nobody but a server which then is silent: they are no rings of their own.
#[test]
fn who_has_lost_everybody_else_has_its_siblings() {
    for alone in [0..1, 1..3, 0..3] {
        let mut ring = Ring::ideal(0..3, settings(3));
        let known = members_of([address(1)], 1)[0];
        let chord = ring.servers.get_mut(&address(0)).expect("it is there");
        for member in &mut chord.members[alone.clone()] {
            member.place(Some(known), SuccessorList::new(member.me(), LENGTH, known, &[]));
        }
        chord.bury(ring.now, known.address);
        assert!(!chord.members.iter().any(Member::is_alone), "{alone:?}");
        ring.collect(address(0));
        ring.run(2 * MEET_PERIODS);
        assert_eq!(ring.check_ideal(), Ok(()), "{alone:?}");
    }
}

/// Two halves that lost sight of each other long ago become one ring again by their look for others.
#[test]
fn parted_rings_become_one() {
    for virtual_nodes in [1, 3] {
        for count in [2, 3, 8, 16] {
            let mut ring = Ring::ideal(0..count, settings(virtual_nodes));
            ring.is_parted = true;
            ring.run(30);
            let is_whole = ring.check_ideal().is_ok();
            let sides: BTreeSet<_> = ring
                .servers
                .keys()
                .map(|&server| ring.is_cut_off(*ring.servers.keys().next().unwrap(), server))
                .collect();
            assert_eq!(is_whole, sides.len() == 1, "parted, {count} servers have noticed");
            ring.is_parted = false;
            ring.run(3 * MEET_PERIODS);
            assert_eq!(ring.check_ideal(), Ok(()), "{count} servers, {virtual_nodes} virtual nodes");
        }
    }
}
