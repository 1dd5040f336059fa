//! The ring under joins and crashes with accurate failure detection, as in Zave's model: what must hold after every
//! step, and that the ring becomes ideal once the changes end.

use super::*;
use proptest::prelude::*;

const LENGTH: usize = 3;

/// Members that talk to each other without delay; a dead member is noticed when it is asked.
struct Ring {
    now: Time,
    members: BTreeMap<Peer, Chord>,
}

fn peer(number: u16) -> Peer {
    Peer::at(SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 5060)))
}

fn settings() -> ChordSettings {
    ChordSettings { successors: LENGTH, ..ChordSettings::default() }
}

impl Ring {
    /// A ring of these members, ideal.
    fn of(numbers: impl IntoIterator<Item = u16>) -> Self {
        let mut ring = Self { now: Time::ZERO, members: BTreeMap::new() };
        let mut numbers = numbers.into_iter();
        let first = peer(numbers.next().expect("a first member"));
        ring.members.insert(first, Chord::new(first, settings(), None, ring.now));
        for number in numbers {
            ring.join(peer(number), first);
            ring.settle();
        }
        ring
    }

    fn join(&mut self, newcomer: Peer, member: Peer) {
        let chord = Chord::new(newcomer, settings(), Some(member.address), self.now);
        self.members.entry(newcomer).or_insert(chord);
    }

    /// Delivers one request of one member, if any has one; says whether one had.
    fn deliver_one(&mut self, member: Peer) -> bool {
        let Some(ask) = self.members.get_mut(&member).and_then(Chord::poll_ask) else { return false };
        let target = Peer::at(ask.to);
        let answer = match ask.request {
            _ if !self.members.contains_key(&target) => None,
            OverlayRequest::Neighbours => Some(Answer::Neighbours(self.members[&target].neighbours())),
            OverlayRequest::Notify => {
                self.members.get_mut(&target).expect("it is there").handle_notify(self.now, member);
                Some(Answer::Noted)
            }
            OverlayRequest::Find { key } => self.find(target, key),
            OverlayRequest::Store(_) => unreachable!("the ring stores nothing"),
        };
        let chord = self.members.get_mut(&member).expect("it asked");
        match answer {
            Some(answer) => chord.handle_answer(self.now, ask.purpose, answer),
            None => chord.handle_silence(self.now, ask.purpose),
        }
        true
    }

    /// Routes a lookup as the servers do; none when it meets a dead member.
    fn find(&self, mut at: Peer, key: OverlayId) -> Option<Answer> {
        for _ in 0..2 * self.members.len() + 2 {
            let chord = self.members.get(&at)?;
            match chord.next_hop(key) {
                NextHop::Here => return Some(Answer::Found(at, chord.neighbours().successors)),
                NextHop::Owner(owner) => {
                    let successors = self.members.get(&owner)?.neighbours().successors;
                    return Some(Answer::Found(owner, successors));
                }
                NextHop::Nearer(peer) => at = peer,
                NextHop::Unknown => return None,
            }
        }
        None
    }

    /// Lets one member's due timers fire and all its requests be answered.
    fn turn(&mut self, member: Peer) {
        if let Some(chord) = self.members.get_mut(&member) {
            if let Some(due) = chord.poll_timeout() {
                self.now = self.now.max(due);
                chord.handle_timeout(self.now);
            }
            while self.deliver_one(member) {}
        }
    }

    /// Rounds of stabilisation, more than enough.
    fn settle(&mut self) {
        for _ in 0..4 * (self.members.len() + LENGTH) {
            let members: Vec<_> = self.members.keys().copied().collect();
            members.into_iter().for_each(|member| self.turn(member));
        }
    }

    /// What must hold at any moment, for every member that has joined.
    fn check(&self) -> Result<(), TestCaseError> {
        for (me, chord) in self.members.iter().filter(|(_, chord)| !chord.joining) {
            let list = &chord.successors;
            let alive = list.iter().any(|peer| self.members.contains_key(peer));
            prop_assert!(alive || self.members.len() == 1, "{me:?} has no live successor: {list:?}");
            prop_assert!(!list.contains(me), "{me:?} lists itself: {list:?}");
            // In order, clockwise, without a step back or a repetition.
            let mut from = me.id;
            for peer in list {
                prop_assert!(peer.id.between(from, me.id), "{me:?} is out of order: {list:?}");
                from = peer.id;
            }
        }
        Ok(())
    }

    fn check_ideal(&self) -> Result<(), TestCaseError> {
        let mut order: Vec<_> = self.members.keys().copied().collect();
        order.sort_by_key(|peer| peer.id);
        let count = order.len();
        for (index, me) in order.iter().enumerate() {
            let chord = &self.members[me];
            let successors: Vec<_> =
                (1..=LENGTH.min(count - 1)).map(|step| order[(index + step) % count]).collect();
            prop_assert_eq!(&chord.successors, &successors, "successors of {:?}", me);
            if count > 1 {
                prop_assert_eq!(
                    chord.predecessor,
                    Some(order[(index + count - 1) % count]),
                    "predecessor of {:?}",
                    me
                );
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(u16),
    Crash(usize),
    Turn(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => any::<u16>().prop_map(Step::Join),
        1 => any::<usize>().prop_map(Step::Crash),
        8 => any::<usize>().prop_map(Step::Turn),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_invariant_holds_after_every_step_and_the_ring_heals(steps in steps()) {
        let mut ring = Ring::of(0..8);
        ring.check_ideal()?;
        let mut crashes_in_a_row = 0;
        for step in steps {
            let members: Vec<_> = ring.members.keys().copied().collect();
            match step {
                Step::Join(number) => ring.join(peer(number), members[usize::from(number) % members.len()]),
                // Accurate detection means that the others have repaired before a whole list is dead.
                Step::Crash(pick) if members.len() > LENGTH + 1 && crashes_in_a_row < LENGTH - 1 => {
                    let victim = members[pick % members.len()];
                    // Who joins through a member that dies first has nobody else to ask.
                    let is_needed = |chord: &Chord| chord.joining && chord.seed == Some(victim.address);
                    if !ring.members.values().any(is_needed) {
                        ring.members.remove(&victim);
                        crashes_in_a_row += 1;
                    }
                }
                Step::Crash(_) => {
                    ring.settle();
                    crashes_in_a_row = 0;
                }
                Step::Turn(pick) => ring.turn(members[pick % members.len()]),
            }
            ring.check()?;
        }
        ring.settle();
        ring.check_ideal()?;
    }

    #[test]
    fn every_lookup_finds_the_owner(numbers in prop::collection::btree_set(any::<u16>(), 1..20), key in any::<[u8; 20]>()) {
        let ring = Ring::of(numbers);
        let key = OverlayId(key);
        let owner = ring.members.keys().copied().reduce(|best, peer| {
            if peer.id.in_arc(key, best.id) { peer } else { best }
        });
        for &start in ring.members.keys() {
            match ring.find(start, key) {
                Some(Answer::Found(found, _)) => {
                    let right = owner.expect("there are members");
                    prop_assert!(found == right || found.id == key, "{:?} instead of {:?}", found, right);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
