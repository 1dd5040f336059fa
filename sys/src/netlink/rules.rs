//! Routing rules: by which table a packet finds its way, by whence it comes.

use super::batch::{Batch, Route, family, route_message};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv6Addr};

/// The table of all routes that are in no other one.
const MAIN: u8 = 254;
/// Of two rules that fit the lower one counts; the main table is far behind, and what is for this node itself before both.
const ADMITTED: u32 = 1000;
const REFUSED: u32 = 1001;

impl Batch {
    /// Lets packets from this address go by a route of their own, which is alone in routing table `table`.
    pub fn add_source_route(&mut self, source: IpAddr, table: u8, route: &Route) {
        self.replace_source_route(source, table, route);
        let what = move || format!("add a rule for {source}");
        let rule = source_rule(source, table);
        self.push(RouteNetlinkMessage::NewRule(rule), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Lets them go by another one.
    pub fn replace_source_route(&mut self, source: IpAddr, table: u8, route: &Route) {
        let route = *route;
        let mut message = route_message(&route);
        message.header.table = table;
        let what = move || format!("replace route {route} for {source}");
        self.push(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE, what);
    }

    /// Takes away what [`add_source_route`](Self::add_source_route) has added.
    pub fn delete_source_route(&mut self, source: IpAddr, table: u8, route: &Route) {
        let route = *route;
        let what = move || format!("delete the rule for {source}");
        self.push(RouteNetlinkMessage::DelRule(source_rule(source, table)), 0, what);
        let mut message = route_message(&route);
        message.header.table = table;
        let what = move || format!("delete route {route} for {source}");
        self.push(RouteNetlinkMessage::DelRoute(message), 0, what);
    }

    /// Passes on nothing that comes from an interface, but what is [admitted](Self::admit).
    pub fn refuse_all_from(&mut self, interface: &str) {
        let mut rule = rule_from(interface, REFUSED);
        rule.header.action = RuleAction::Blackhole;
        let name = interface.to_owned();
        let what = move || format!("add a rule against what comes from {name}");
        self.push(RouteNetlinkMessage::NewRule(rule), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Passes on what comes from an interface and has this source.
    pub fn admit(&mut self, source: Ipv6Addr, interface: &str) {
        let name = interface.to_owned();
        let what = move || format!("add a rule for {source} from {name}");
        let rule = admission(source, interface);
        self.push(RouteNetlinkMessage::NewRule(rule), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Passes it on no more.
    pub fn admit_no_more(&mut self, source: Ipv6Addr, interface: &str) {
        let name = interface.to_owned();
        let what = move || format!("delete the rule for {source} from {name}");
        self.push(RouteNetlinkMessage::DelRule(admission(source, interface)), 0, what);
    }
}

fn source_rule(source: IpAddr, table: u8) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(source);
    message.header.table = table;
    message.header.action = RuleAction::ToTable;
    with_source(message, source)
}

fn rule_from(interface: &str, priority: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.attributes.push(RuleAttribute::Iifname(interface.to_owned()));
    message.attributes.push(RuleAttribute::Priority(priority));
    message
}

fn admission(source: Ipv6Addr, interface: &str) -> RuleMessage {
    let mut message = rule_from(interface, ADMITTED);
    message.header.table = MAIN;
    message.header.action = RuleAction::ToTable;
    with_source(message, source.into())
}

fn with_source(mut message: RuleMessage, source: IpAddr) -> RuleMessage {
    message.header.src_len = if source.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RuleAttribute::Source(source));
    message
}
