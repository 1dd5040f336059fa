//! Every phase of a member with every input.

use super::super::member::Phase;
use super::*;

/// Members in the order of their identifiers; the one under test is the first.
fn peers() -> Vec<Peer> {
    members_of((0..6).map(address), 1)
}

fn told(predecessor: Option<Peer>, successors: &[Peer]) -> Neighbours {
    Neighbours { predecessor, successors: successors.to_vec() }
}

/// What a member asked, in short.
fn questions(member: &mut Member) -> Vec<Step> {
    std::iter::from_fn(|| member.poll_question()).map(|(_, step, _)| step).collect()
}

/// A member in this phase, with the fourth peer as successor and the last as predecessor where it has any.
fn member(phase: Phase) -> Member {
    let p = peers();
    let mut member = Member::new(p[0], LENGTH);
    match phase {
        Phase::Out => {}
        Phase::Finding => member.join(p[3].address),
        Phase::Copying { from, .. } => {
            member.join(p[3].address);
            member.handle_found(p[3], &told(Some(from), &[p[4]]));
        }
        Phase::In | Phase::Stabilizing(_) | Phase::Adopting(_) => {
            member.place(Some(p[5]), SuccessorList::new(p[0], LENGTH, p[3], &[p[4], p[5]]));
            if phase != Phase::In {
                member.stabilize();
            }
            if let Phase::Adopting(nearer) = phase {
                member
                    .handle_neighbours(Step::Stabilize(p[3]), &told(Some(nearer), &[p[4], p[5]]), |_| false);
            }
        }
    }
    assert_eq!(member.phase(), phase);
    questions(&mut member);
    member
}

/// What can happen to a member.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    Join,
    Found,
    FoundItself,
    FindFails,
    Copied,
    Stabilize,
    HeadAnswers,
    HeadNamesANearerOne,
    TheNearerOneAnswers,
    HeadIsDead,
    TheOthersAreDead,
}

fn feed(member: &mut Member, input: Input) {
    let p = peers();
    let live = |_| false;
    match input {
        Input::Join => member.join(p[3].address),
        Input::Found => member.handle_found(p[3], &told(Some(p[5]), &[p[4]])),
        Input::FoundItself => member.handle_found(p[0], &told(None, &[])),
        Input::FindFails => member.handle_silence(Step::Find),
        Input::Copied => member.handle_neighbours(Step::Copy(p[5]), &told(None, &[p[3], p[4]]), live),
        Input::Stabilize => member.stabilize(),
        Input::HeadAnswers => {
            member.handle_neighbours(Step::Stabilize(p[3]), &told(Some(p[0]), &[p[4], p[5]]), live);
        }
        Input::HeadNamesANearerOne => {
            member.handle_neighbours(Step::Stabilize(p[3]), &told(Some(p[1]), &[p[4], p[5]]), live);
        }
        Input::TheNearerOneAnswers => {
            member.handle_neighbours(Step::Adopt(p[1]), &told(None, &[p[3], p[4]]), live);
        }
        Input::HeadIsDead => member.forget(|peer| peer == p[3]),
        Input::TheOthersAreDead => member.forget(|peer| peer == p[1] || peer == p[5]),
    }
}

#[test]
fn every_phase_and_every_input() {
    use Input::*;
    use Phase::{Adopting, Copying, Finding, In, Out, Stabilizing};
    let p = peers();
    let copying = Copying { from: p[5], attempts: 8 };
    let (stabilizing, adopting) = (Stabilizing(p[3]), Adopting(p[1]));
    // What changes something, the phase afterwards, and what is asked then; all else changes and asks nothing.
    let table = [
        (Out, Join, Finding, Some(Step::Find)),
        (Finding, Found, copying, Some(Step::Copy(p[5]))),
        (Finding, FoundItself, Out, None),
        (Finding, FindFails, Out, None),
        (copying, Copied, stabilizing, Some(Step::Stabilize(p[3]))),
        (copying, TheOthersAreDead, Out, None),
        (In, Stabilize, stabilizing, Some(Step::Stabilize(p[3]))),
        (stabilizing, HeadAnswers, In, Some(Step::Notify)),
        (stabilizing, HeadNamesANearerOne, adopting, Some(Step::Adopt(p[1]))),
        (stabilizing, HeadIsDead, Stabilizing(p[4]), Some(Step::Stabilize(p[4]))),
        (adopting, TheNearerOneAnswers, In, Some(Step::Notify)),
        (adopting, TheOthersAreDead, In, Some(Step::Notify)),
    ];
    for phase in [Out, Finding, copying, In, stabilizing, adopting] {
        for input in [
            Join,
            Found,
            FoundItself,
            FindFails,
            Copied,
            Stabilize,
            HeadAnswers,
            HeadNamesANearerOne,
            TheNearerOneAnswers,
            HeadIsDead,
            TheOthersAreDead,
        ] {
            let row = table.iter().find(|row| (row.0, row.1) == (phase, input));
            let (after, asked) = row.map_or((phase, None), |row| (row.2, row.3));
            let mut member = member(phase);
            feed(&mut member, input);
            let questions = questions(&mut member);
            assert_eq!((member.phase(), questions), (after, Vec::from_iter(asked)), "{phase:?}, {input:?}");
        }
    }
}

#[test]
fn a_joining_member_goes_on_to_its_place_but_not_for_ever() {
    let p = peers();
    let mut member = member(Phase::Copying { from: p[3], attempts: 8 });
    // The successor that p3 names does not lie behind the member: that one is nearer to be its predecessor.
    member.handle_neighbours(Step::Copy(p[3]), &told(None, &[p[5]]), |_| false);
    assert_eq!(member.phase(), Phase::Copying { from: p[5], attempts: 7 });
    member.handle_neighbours(Step::Copy(p[5]), &told(None, &[p[1], p[2], p[3], p[4]]), |_| false);
    assert_eq!(member.neighbours(), told(Some(p[5]), &[p[1], p[2], p[3]]), "the whole list, L entries of it");

    // Whoever is led on and on looks its place up anew.
    let p = members_of((0..12).map(address), 1);
    let mut lost = Member::new(p[11], LENGTH);
    lost.join(p[0].address);
    lost.handle_found(p[11], &told(None, &[]));
    lost.join(p[0].address);
    lost.handle_found(p[1], &told(Some(p[0]), &[p[2]]));
    for step in 0..8 {
        assert!(matches!(lost.phase(), Phase::Copying { .. }), "step {step}");
        lost.handle_neighbours(Step::Copy(p[step]), &told(None, &[p[step + 1]]), |_| false);
    }
    assert_eq!(lost.phase(), Phase::Out);
}

#[test]
fn rectify() {
    let p = peers();
    let notified = |predecessor: Option<Peer>, by: Peer| {
        let mut member = Member::new(p[0], LENGTH);
        member.place(predecessor, SuccessorList::new(p[0], LENGTH, p[1], &[p[2]]));
        member.handle_notify(by);
        (member.predecessor(), questions(&mut member))
    };
    assert_eq!(notified(None, p[3]), (Some(p[3]), vec![]), "nobody was known");
    assert_eq!(notified(Some(p[3]), p[4]), (Some(p[4]), vec![]), "a nearer one");
    assert_eq!(notified(Some(p[3]), p[3]), (Some(p[3]), vec![]), "the same one");
    assert_eq!(
        notified(Some(p[3]), p[2]),
        (Some(p[3]), vec![Step::Probe { predecessor: p[3], candidate: p[2] }]),
        "a farther one"
    );
    assert_eq!(notified(Some(p[3]), p[0]), (Some(p[3]), vec![]), "itself");

    let probe = Step::Probe { predecessor: p[3], candidate: p[2] };
    let mut member = Member::new(p[0], LENGTH);
    member.place(Some(p[3]), SuccessorList::new(p[0], LENGTH, p[1], &[p[2]]));
    member.handle_notify(p[2]);
    member.handle_notify(p[2]);
    assert_eq!(questions(&mut member), [probe], "one probe at a time");
    member.handle_neighbours(probe, &told(None, &[]), |_| false);
    assert_eq!(member.predecessor(), Some(p[3]), "it is alive");
    member.handle_notify(p[2]);
    member.forget(|peer| peer == p[3]);
    member.handle_silence(probe);
    assert_eq!(member.predecessor(), Some(p[2]), "it is dead");
    // Whoever came in the meantime and is nearer stays.
    member.handle_notify(p[4]);
    member.handle_silence(probe);
    assert_eq!(member.predecessor(), Some(p[4]));
    // Outside of the ring nobody has a predecessor.
    let mut outside = Member::new(p[0], LENGTH);
    outside.handle_notify(p[4]);
    assert_eq!(outside.predecessor(), None);
}
