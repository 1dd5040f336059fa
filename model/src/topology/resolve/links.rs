//! The wired links: those of the file, bound to nodes, and what holds for all.

use super::{DraftKind, DraftLink, MAX_WIRED_LINKS, Network, Resolver};
use crate::diagnostic::quote;
use crate::topology::file::WiredLink;
use crate::topology::{Link, LinkQuality, NodeId};
use crate::yaml::{span, span_of_all};
use std::collections::HashMap;
use std::ops::Range;

impl<'f> Resolver<'f> {
    pub(super) fn explicit_link(&mut self, link: &WiredLink, all_named: bool) {
        let forward = self.quality(LinkQuality::default(), link.quality());
        let backward = self.reverse(forward, link.reverse.as_deref());
        let [a, b] = &link.between.value[..] else {
            let message = format!("a link has two ends, not {}", link.between.value.len());
            self.errors.report(span_of_all(&link.between), message, |error| {
                error.hint("write `between: [ar1, ar2]`")
            });
            return;
        };
        let mut bound = true;
        for end in [a, b] {
            bound &= match self.ids.get(&end.value).map(|&id| &self.nodes[id].kind) {
                None => {
                    self.dangling(end, all_named, |_| true);
                    false
                }
                Some(DraftKind::MobileNode { .. }) => {
                    let message = format!("{} is a mobile node and has no wired links", quote(&end.value));
                    self.errors.report(span(end), message, |error| {
                        error
                            .label("a mobile node")
                            .hint("its radio link goes to the access router that its `start` names")
                    });
                    false
                }
                Some(DraftKind::Unknown) => false,
                Some(_) => true,
            };
        }
        if bound {
            self.links.push(DraftLink {
                ends: [a.value.clone(), b.value.clone()],
                quality: [forward, backward],
                named: Some([span(a), span(b)]),
            });
        }
    }

    /// The links with indexes for names. All links are checked here, as a grid's count too.
    pub(super) fn bind_links(&mut self) -> Vec<Link> {
        let mut links: Vec<Link> = Vec::new();
        let mut seen: HashMap<[usize; 2], Option<Range<usize>>> = HashMap::new();
        let mut degree: Vec<Vec<Option<Range<usize>>>> = vec![Vec::new(); self.nodes.len()];
        for DraftLink { ends: names, quality, named } in std::mem::take(&mut self.links) {
            let ends = [self.ids[&names[0]], self.ids[&names[1]]];
            let both = named.clone().map(|[a, b]| a.start..b.end);
            if let Some(both) = &both {
                if ends[0] == ends[1] {
                    let message = format!("a link from {} to itself", quote(&names[0]));
                    self.errors.report(both.clone(), message, |error| {
                        error.label("the same node twice").hint("a link is between two nodes")
                    });
                    continue;
                }
                if let Some(first) = seen.get(&sorted(ends)) {
                    let message = format!("{} and {} are already linked", quote(&names[0]), quote(&names[1]));
                    self.errors.report(both.clone(), message, |error| match first {
                        Some(first) => error
                            .label("linked again")
                            .related(first.clone(), "first linked here")
                            .hint("remove one; `reverse` sets what differs in the other direction"),
                        None => {
                            error.label(format!("linked by the {}", self.generator)).hint("remove this link")
                        }
                    });
                    continue;
                }
                if ends.iter().all(|&end| matches!(self.nodes[end].kind, DraftKind::SipServer)) {
                    let message =
                        format!("{} and {} are both SIP servers", quote(&names[0]), quote(&names[1]));
                    self.errors.report(both.clone(), message, |error| {
                        error.label("no router here").hint("a SIP server has one link, and that to a router")
                    });
                    continue;
                }
            }
            seen.insert(sorted(ends), both);
            for (side, &end) in ends.iter().enumerate() {
                let here = named.as_ref().map(|named| named[side].clone());
                self.check_degree(end, &degree[end], here.clone());
                degree[end].push(here);
            }
            links.push(Link { ends: ends.map(NodeId), quality });
        }
        // A link that was refused above may be the one that a server lacks.
        let all_bound = self.errors.is_empty();
        for (node, links) in self.nodes.iter().zip(&degree) {
            if all_bound && matches!(node.kind, DraftKind::SipServer) && links.is_empty() {
                let message = format!("the SIP server {} has no link", quote(&node.name));
                self.errors.report(node.at.clone(), message, |error| {
                    error.label("not connected").hint(format!(
                        "add it under `links:`: `- {{ between: [ar1, {}], one_way_delay: 500us }}`",
                        node.name
                    ))
                });
            }
        }
        links
    }

    /// That one more link, named `here`, is not too many for a node that already has `links`.
    fn check_degree(&mut self, node: usize, links: &[Option<Range<usize>>], here: Option<Range<usize>>) {
        let node = &self.nodes[node];
        let at = here.unwrap_or_else(|| node.at.clone());
        match node.kind {
            DraftKind::SipServer if links.len() == 1 => {
                let message = format!("the SIP server {} has more than one link", quote(&node.name));
                self.errors.report(at, message, |error| {
                    let error = error.hint("a SIP server has one link, and that to a router");
                    match &links[0] {
                        Some(first) => {
                            error.label("linked again").related(first.clone(), "first linked here")
                        }
                        None => error.label(format!("linked by the {}", self.generator)),
                    }
                });
            }
            DraftKind::Router { .. } if links.len() == MAX_WIRED_LINKS => {
                let message =
                    format!("the router {} has more than {MAX_WIRED_LINKS} links", quote(&node.name));
                self.errors.report(at, message, |error| {
                    error.label("one link too many").hint(
                        "the kernel routes multicast between at most 32 interfaces; add a router between",
                    )
                });
            }
            _ => {}
        }
    }

    /// That every router and server can reach every other.
    pub(super) fn check_connected(&mut self, links: &[Link]) -> Option<()> {
        let mut neighbours = vec![Vec::new(); self.nodes.len()];
        for Link { ends: [a, b], .. } in links {
            neighbours[a.0].push(b.0);
            neighbours[b.0].push(a.0);
        }
        let mut reached = vec![false; self.nodes.len()];
        let mut queue = vec![0];
        while let Some(id) = queue.pop() {
            if !std::mem::replace(&mut reached[id], true) {
                queue.extend(&neighbours[id]);
            }
        }
        let lost = self
            .nodes
            .iter()
            .zip(reached)
            .find(|(node, reached)| !reached && !matches!(node.kind, DraftKind::MobileNode { .. }));
        let Some((lost, _)) = lost else { return Some(()) };
        let message =
            format!("there is no path from {} to {}", quote(&self.nodes[0].name), quote(&lost.name));
        self.errors.report(lost.at.clone(), message, |error| {
            error.label("not connected to the rest").hint(match &self.network {
                Some(Network { parts, largest, .. }) if *parts > 1 => format!(
                    "the graph has {parts} parts; add `largest_component: true` beside `graphml` to keep the \
                     largest, of {largest} nodes, or links between them under `links:`"
                ),
                _ => "add a link between the two parts under `links:`".to_owned(),
            })
        });
        None
    }
}

fn sorted([a, b]: [usize; 2]) -> [usize; 2] {
    [a.min(b), a.max(b)]
}
