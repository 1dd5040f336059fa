//! Every choice that the paper leaves open, and its sizes: named, with a default and a sentence.

use crate::choice::choice;
use crate::city::{AtHotspot, Borders, Grid, Spot, Spots};
use samp_model::ring::MAX_VIRTUAL_NODES;
use samp_model::settings::{CacheSettings, ChordSettings};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Places in the table of routes, servers times members, at most.
const MAX_ROUTES: usize = 1 << 21;
/// Nodes times whom each calls, at most.
const MAX_CONTACTS: u64 = 10_000_000;

choice! {
    /// What σ is taken over.
    SigmaOver {
        /// As many slots as there are servers, for every system.
        Slots = "slots",
        /// The agents that the system has.
        Agents = "agents",
    }
}

choice! {
    /// When σ is taken.
    SigmaWhen {
        /// After the last move.
        End = "end",
        /// After every move; the mean of them.
        Mean = "mean",
    }
}

choice! {
    /// Whether something is part of a sum.
    Counted {
        /// It is.
        Yes = "yes",
        /// It is not.
        No = "no",
    }
}

choice! {
    /// How a registration reaches the home server or the home agent.
    HomeUpdate {
        /// As a message of its own, after that to anchor or MAP, and by way of it.
        Separate = "separate",
        /// It goes on from anchor or MAP.
        Carried = "carried",
    }
}

choice! {
    /// How long a cache believes an entry.
    Lifetime {
        /// As configured.
        Fixed = "fixed",
        /// As the callee's rate of movement suggests.
        Adaptive = "adaptive",
    }
}

/// Which servers a node may choose as its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// That of the domain it is in.
    Domain,
    /// Any within so many hops; the nearest where there is none.
    Hops(u32),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain => f.write_str("domain"),
            Self::Hops(hops) => write!(f, "{hops}"),
        }
    }
}

impl FromStr for Reach {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "domain" => Ok(Self::Domain),
            _ => text.parse().map(Self::Hops).map_err(|_| "write domain, or a number of hops".to_owned()),
        }
    }
}

/// A parameter as it is set.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// The value that it has unless it is set.
    pub default: String,
    /// What it decides.
    pub about: &'static str,
}

/// No parameter has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no parameter `{0}`")]
pub struct UnknownParameter(pub String);

/// Declares the parameters once: fields, defaults, and the table by which they are set and listed.
macro_rules! parameters {
    ($($name:ident: $type:ty = $default:expr, $about:literal;)+) => {
        /// What a world is made of and how it is measured.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Parameters {
            $(#[doc = $about] pub $name: $type,)+
        }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Parameters {
            /// All of them.
            pub fn list(&self) -> Vec<Parameter> {
                let default = Self::default();
                vec![$(Parameter {
                    name: stringify!($name),
                    value: self.$name.to_string(),
                    default: default.$name.to_string(),
                    about: $about,
                },)+]
            }

            /// Sets one by its name. The values are held against each other by [`check`](Self::check).
            ///
            /// # Errors
            /// No parameter has this name; inside, why the text is no value of it.
            pub fn set(&mut self, name: &str, value: &str) -> Result<Result<(), String>, UnknownParameter> {
                match name {
                    $(stringify!($name) => Ok(value
                        .parse()
                        .map(|value| self.$name = value)
                        .map_err(|error| format!("`{value}` is no value of `{name}`: {error}"))),)+
                    _ => Err(UnknownParameter(name.to_owned())),
                }
            }
        }
    };
}

parameters! {
    size: u16 = 150, "Access routers in a row and in a column of the grid, 2 to 1000.";
    domain: u16 = 15, "Access routers in a row and in a column of a domain, each of which has a SIP server, which is the MAP too.";
    nodes: u32 = 10_000, "Mobile nodes, 2 to 1,000,000, which begin anywhere; times `contacts` at most 10,000,000.";
    moves: u32 = 200, "Movements of each node, 1 to 10,000.";
    servers: Spot = Spot::Centre, "Where a server is in its domain: `centre`, `corner` or `random`.";
    home_agent: Spot = Spot::Random, "Where the home agent is in the grid: `centre`, `corner` or `random`.";
    hotspot: Spot = Spot::Random, "Where the hotspot is in the grid: `centre` (a corner of four domains, when the grid is cut evenly), `corner` or `random`.";
    borders: Borders = Borders::Choose, "What a random step out of the grid is: drawn among the neighbours that there are (`choose`), not made (`stay`), made the other way (`reflect`), or there are no borders (`torus`).";
    at_hotspot: AtHotspot = AtHotspot::Stay, "What a step towards the hotspot is at the hotspot: none (`stay`), so that nothing is registered, or a random one (`wander`).";
    sigma_over: SigmaOver = SigmaOver::Slots, "What σ, a population deviation, is taken over: as many slots as there are servers for every system, of which Mobile IPv6 uses one (`slots`), or the agents that a system has (`agents`).";
    sigma_when: SigmaWhen = SigmaWhen::End, "When σ is taken: after the last move (`end`), or after every move, as the mean of them (`mean`).";
    owner_hop: Counted = Counted::Yes, "Whether the last hop of a lookup, to the owner of the key, counts: `yes` or `no`.";
    home_update: HomeUpdate = HomeUpdate::Separate, "Whether a registration with the home server or home agent is a message of its own, so that the way to anchor or MAP counts twice (`separate`, as in RFC 5380 and samp-lab), or is passed on by it (`carried`).";
    virtual_nodes: usize = 1, "Places of each server on the ring, 1 to 256.";
    successors: usize = 4, "L, the length of the ring's successor lists, 1 to 32.";
    anchor_reach: Reach = Reach::Domain, "Which server becomes the anchor: that of the domain (`domain`), or one at random among those within so many hops, kept while it is within them (δ as a distance).";
    move_interval: u32 = 30, "Seconds between two moves of a node, 1 to 86,400: what lifetimes are held against.";
    sessions: f64 = 0.02, "Sessions that a node sets up per move, 0 to 1.";
    contacts: u32 = 2, "Nodes that a node calls, drawn once, 1 to 1000; each session is with any of them.";
    tier1_lifetime: u32 = 60, "Seconds for which a mobile node believes a care-of address.";
    tier2_lifetime: u32 = 600, "Seconds for which a server believes a callee's anchor.";
    tier1_size: usize = 64, "Entries in a mobile node's cache.";
    tier2_size: usize = 4096, "Entries in a server's cache.";
    lifetime: Lifetime = Lifetime::Fixed, "Whether these lifetimes are `fixed`, or only where those begin that follow the callee's rate of movement (`adaptive`).";
    stale_legs: Counted = Counted::Yes, "Whether the way to where a cache wrongly believed the callee counts for the first packet: `yes` or `no`.";
}

impl Parameters {
    /// That the values make a world that fits in memory.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, from: u64, to: u64| {
            let is_within = (from..=to).contains(&value);
            is_within.then_some(()).ok_or_else(|| format!("`{name}` is {value}, and must be {from} to {to}"))
        };
        within("size", self.size.into(), 2, 1000)?;
        within("domain", self.domain.into(), 1, self.size.into())?;
        within("nodes", self.nodes.into(), 2, 1_000_000)?;
        within("moves", self.moves.into(), 1, 10_000)?;
        within("virtual_nodes", self.virtual_nodes as u64, 1, MAX_VIRTUAL_NODES as u64)?;
        within("successors", self.successors as u64, 1, 32)?;
        within("move_interval", self.move_interval.into(), 1, 86_400)?;
        within("contacts", self.contacts.into(), 1, 1000)?;
        within("nodes times contacts", u64::from(self.nodes) * u64::from(self.contacts), 1, MAX_CONTACTS)?;
        if !(0.0..=1.0).contains(&self.sessions) {
            return Err(format!("`sessions` is {}, and must be 0 to 1", self.sessions));
        }
        let servers = self.grid().domains();
        if servers * servers * self.virtual_nodes > MAX_ROUTES {
            return Err(format!(
                "{servers} servers with {} virtual nodes each are too many: at most {MAX_ROUTES} ways are kept",
                self.virtual_nodes
            ));
        }
        Ok(())
    }

    pub(super) fn grid(&self) -> Grid {
        let square = |side| (side, side);
        Grid::new(square(self.size), square(self.domain), self.borders == Borders::Torus)
    }

    pub(super) fn spots(&self) -> Spots {
        Spots { servers: self.servers, home_agent: self.home_agent, hotspot: self.hotspot }
    }

    pub(super) fn chord(&self) -> ChordSettings {
        ChordSettings {
            successors: self.successors,
            virtual_nodes: self.virtual_nodes,
            ..ChordSettings::default()
        }
    }

    pub(super) fn cache(&self, lifetime: u32, size: usize) -> CacheSettings {
        CacheSettings {
            enabled: true,
            lifetime: Duration::from_secs(lifetime.into()),
            adaptive: self.lifetime == Lifetime::Adaptive,
            size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_takes_its_own_default_and_names_what_it_takes() {
        let mut parameters = Parameters::default();
        for Parameter { name, value, default, about } in Parameters::default().list() {
            assert_eq!(value, default);
            assert!(about.ends_with('.'), "{name}: a sentence");
            parameters.set(name, &value).unwrap().unwrap();
            let refused = parameters.set(name, "?").unwrap().unwrap_err();
            assert!(refused.contains(name), "{refused}");
        }
        assert_eq!(parameters, Parameters::default());
        assert_eq!(parameters.check(), Ok(()));
        assert_eq!(parameters.set("sise", "1"), Err(UnknownParameter("sise".to_owned())));
        parameters.set("borders", "torus").unwrap().unwrap();
        assert_eq!(parameters.borders, Borders::Torus);
        let refused = parameters.set("borders", "none").unwrap().unwrap_err();
        assert_eq!(refused, "`none` is no value of `borders`: write choose, stay, reflect, torus");
    }

    #[test]
    fn what_does_not_make_a_world_is_refused() {
        for (name, value) in [
            ("size", "1"),
            ("size", "1001"),
            ("domain", "0"),
            ("domain", "151"),
            ("domain", "1"),
            ("nodes", "1"),
            ("moves", "0"),
            ("virtual_nodes", "257"),
            ("successors", "0"),
            ("move_interval", "0"),
            ("sessions", "1.5"),
            ("sessions", "NaN"),
            ("contacts", "0"),
            ("nodes", "1000001"),
            ("contacts", "1001"),
        ] {
            let mut parameters = Parameters::default();
            parameters.set(name, value).unwrap().unwrap();
            assert!(parameters.check().is_err(), "{name}={value}");
        }
        let crowd = Parameters { nodes: 20_000, contacts: 1000, ..Parameters::default() };
        assert!(crowd.check().is_err());
    }
}
