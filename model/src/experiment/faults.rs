//! The steps that change the network, and those that crash or flood a node.

use super::Action;
use super::file::{FloodFile, LinkFile, PartitionFile, State};
use super::steps::Resolver;
use crate::control::{LinkChange, LinkId};
use crate::diagnostic::quote;
use crate::flood::{Flood, FloodRequest};
use crate::topology::{LinkQuality, Node, NodeId, NodeKind, QualityChange, QualityPart};
use crate::units::{Delay, Frequency, Interval, Percent};
use crate::yaml::{Value, Word, span, span_of_all};
use serde_yaml::Spanned;
use std::ops::Range;

impl Resolver<'_> {
    pub(super) fn link(&mut self, at: Range<usize>, file: &LinkFile) -> Option<Action> {
        // Whether the file's first end is the topology's second.
        let (link, is_reverse) = match (&file.between, &file.radio) {
            (Some(between), None) => {
                let [a, b] = self.two(between, "between: [ar1, ar2]")?;
                let [from, to] = [a, b].map(|end| self.node(end, "node", |_| true));
                let (from, to) = (from?, to?);
                let mut links = self.topology.links.iter().map(|link| link.ends);
                let Some(ends) = links.find(|ends| *ends == [from, to] || *ends == [to, from]) else {
                    let message =
                        format!("there is no wired link between {} and {}", quote(&a.value), quote(&b.value));
                    self.errors.report(span_of_all(between), message, |error| {
                        error.hint("name the two ends of one of the topology's links, or `radio: mn1`")
                    });
                    return None;
                };
                (LinkId::Wired(ends), ends != [from, to])
            }
            (None, Some(radio)) => (LinkId::Radio(self.mobile_node(radio)?), false),
            _ => {
                self.errors.report(at, "`link` takes one link", |error| {
                    error.hint("write `between: [ar1, ar2]` for a wired link, or `radio: mn1`")
                });
                return None;
            }
        };
        let there = self.quality_change(file);
        let one_way = file.one_way.as_ref().map(|value| self.errors.value(value));
        let Some(state) = &file.state else {
            let one_way = one_way.unwrap_or(Some(Word(false)))?.0;
            let mut changes = [there, if one_way { QualityChange::default() } else { there }];
            if is_reverse {
                changes.reverse();
            }
            return self.changed(at, file, link, changes);
        };
        if !file.names_no_change() || one_way.is_some() || matches!(link, LinkId::Radio(_)) {
            self.errors.report(span(state), "`state` is for a whole wired link, and alone", |error| {
                error.hint("a radio link is silenced by `loss: 100%`; another change is a step of its own")
            });
            return None;
        }
        self.errors.value(state).map(|Word(state)| {
            let change = match state {
                State::Down => LinkChange::Down,
                State::Up => LinkChange::Up,
            };
            Action::Link { link, change }
        })
    }

    pub(super) fn partition(&mut self, file: &PartitionFile) -> Option<Action> {
        let side = |resolver: &mut Self, names: &[Spanned<String>]| {
            let wired = |name| {
                resolver.node(name, "router or SIP server", |node| {
                    !matches!(node.kind, NodeKind::MobileNode { .. })
                })
            };
            // All of them are looked at.
            names.iter().map(wired).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
        };
        let nodes = side(self, &file.nodes.value);
        let from = side(self, file.from.as_deref().unwrap_or_default());
        let (nodes, from) = (nodes?, from?);
        let is_between = |[a, b]: [NodeId; 2]| {
            let crosses = |near: &NodeId, far: &NodeId| {
                nodes.contains(near) && !nodes.contains(far) && (from.is_empty() || from.contains(far))
            };
            crosses(&a, &b) || crosses(&b, &a)
        };
        if !self.topology.links.iter().any(|link| is_between(link.ends)) {
            self.errors.report(span(&file.nodes), "no link joins these nodes and the others", |error| {
                error
                    .hint("a partition takes down the links between its two sides: name a node at either end")
            });
            return None;
        }
        Some(Action::Partition { nodes, from })
    }

    pub(super) fn flood(&mut self, file: &FloodFile) -> Option<Action> {
        let is_server = |node: &Node| matches!(node.kind, NodeKind::SipServer { .. });
        let [to, from] = [
            self.node(&file.to, "SIP server", is_server),
            self.node(&file.from, "router or SIP server", |node| {
                !matches!(node.kind, NodeKind::MobileNode { .. })
            }),
        ];
        let rate = self.errors.value(&file.rate).map(Frequency::per_second);
        let lasts = self.errors.value(&file.lasts).map(Interval::get);
        let request = self.errors.value_or(file.request.as_ref(), Word(FloodRequest::default())).0;
        let (to, from, flood) = (to?, from?, Flood { request, rate: rate?, lasts: lasts? });
        if to == from {
            let message = format!("{} floods itself", quote(&file.from.value));
            self.errors.report(span(&file.from), message, |error| {
                error.hint("name the node in whose place the requests are sent, as an access router")
            });
            return None;
        }
        if let Err(problem) = flood.check() {
            self.errors.report(span(&file.lasts), problem.message, |error| error.hint(problem.hint));
            return None;
        }
        Some(Action::Flood { to, from, flood })
    }

    /// A node where something runs.
    pub(super) fn running(&mut self, name: &Spanned<String>) -> Option<NodeId> {
        self.node(name, "node where something runs", |node| {
            node.program.is_some() || !matches!(node.kind, NodeKind::Router { .. })
        })
    }

    fn quality_change(&mut self, file: &LinkFile) -> QualityChange {
        QualityChange {
            one_way_delay: self.maybe(file.one_way_delay.as_ref()).map(Delay::get),
            jitter: self.maybe(file.jitter.as_ref()),
            loss: self.maybe(file.loss.as_ref()),
            duplicate: self.maybe(file.duplicate.as_ref()).map(Percent::fraction),
            reorder: self.maybe(file.reorder.as_ref()).map(Percent::fraction),
            rate: self.maybe(file.rate.as_ref()),
            queue: self.maybe(file.queue.as_ref()).map(|queue| queue.0 as u32),
        }
    }

    fn maybe<T: Clone>(&mut self, value: Option<&Value<T>>) -> Option<T> {
        value.and_then(|value| self.errors.value(value))
    }

    /// The change, if its parts fit to what the link is by then.
    fn changed(
        &mut self,
        step: Range<usize>,
        file: &LinkFile,
        link: LinkId,
        changes: [QualityChange; 2],
    ) -> Option<Action> {
        if changes == [QualityChange::default(); 2] {
            // What is not understood was reported.
            if !file.names_no_change() {
                return None;
            }
            self.errors.report(step, "nothing changes", |error| {
                error.hint("add what does, as `one_way_delay: 20ms`, or `state: down`")
            });
            return None;
        }
        let before = self.qualities.get(&link).copied().unwrap_or_else(|| self.configured(link));
        let after = [0, 1].map(|end: usize| changes[end].applied_to(before[end]));
        for quality in after {
            if let Err((part, problem)) = quality.check() {
                let at = match part {
                    QualityPart::Jitter => file.jitter.as_ref().map(span),
                    QualityPart::Reorder => file.reorder.as_ref().map(span),
                    QualityPart::Queue => file.queue.as_ref().map(span),
                };
                let at = at.or(file.one_way_delay.as_ref().map(span)).unwrap_or(step);
                self.errors.report(at, problem.message, |error| error.hint(problem.hint));
                return None;
            }
        }
        self.qualities.insert(link, after);
        Some(Action::Link { link, change: LinkChange::Quality(Box::new(changes)) })
    }

    /// A link as the topology has it.
    fn configured(&self, link: LinkId) -> [LinkQuality; 2] {
        match link {
            LinkId::Wired(ends) => {
                let found = self.topology.links.iter().find(|link| link.ends == ends);
                found.map(|link| link.quality).unwrap_or_default()
            }
            LinkId::Radio(node) => match &self.topology.node(node).kind {
                NodeKind::MobileNode { radio, .. } => [radio.up, radio.down],
                _ => Default::default(),
            },
        }
    }
}

impl LinkFile {
    /// Whether nothing of the link's quality is mentioned.
    fn names_no_change(&self) -> bool {
        let Self { one_way_delay, jitter, loss, duplicate, reorder, rate, queue, .. } = self;
        one_way_delay.is_none()
            && jitter.is_none()
            && loss.is_none()
            && duplicate.is_none()
            && reorder.is_none()
            && rate.is_none()
            && queue.is_none()
    }
}
