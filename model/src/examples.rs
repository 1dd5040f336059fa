//! The examples that come with samp-lab, within the binary, so that it can write them where there is no source tree.

/// A file of the source tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path from the root of the tree, with `/`; other files name it by that place.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// An example that works by itself, with all the files that it needs.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// Its name: that of its file, without directory and extension.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// The topology or experiment first, then what it names: another file of the example, and the schemas.
    pub files: &'static [File],
}

macro_rules! file {
    ($path:literal) => {
        File { path: $path, text: include_str!(concat!("../../", $path)) }
    };
}

const TOPOLOGY_SCHEMA: File = file!("schema/topology.json");
const EXPERIMENT_SCHEMA: File = file!("schema/experiment.json");
const LINE: File = file!("topologies/line.yaml");
const GRID_SMALL: File = file!("topologies/grid-small.yaml");
const CAMPUS: File = file!("topologies/campus.yaml");
const BACKBONE: File = file!("topologies/backbone.yaml");
const BACKBONE_GRAPH: File = file!("topologies/backbone.graphml");
const PAPER_150: File = file!("topologies/paper-150.yaml");
const FAR_ANCHORS: File = file!("topologies/far-anchors.yaml");
const TERMINALS: File = file!("topologies/terminals.yaml");
const TERMINALS_CALLED: File = file!("experiments/terminals-called.yaml");
const KAMAILIO: File = file!("topologies/kamailio.yaml");
const KAMAILIO_CFG: File = file!("topologies/kamailio.cfg");
const HANDOFF: File = file!("experiments/handoff.yaml");
const HOTSPOT: File = file!("experiments/hotspot.yaml");
const BOTH_MOVE: File = file!("experiments/both-move.yaml");
const WAYPOINT: File = file!("experiments/waypoint.yaml");
const TRACE: File = file!("experiments/trace.yaml");
const TRACE_CSV: File = file!("experiments/trace.csv");
const ALPHA: File = file!("experiments/alpha.yaml");
const CALL_RATE: File = file!("experiments/call-rate.yaml");
const ANCHOR_CRASH: File = file!("experiments/anchor-crash.yaml");
const AGENT_CRASH: File = file!("experiments/agent-crash.yaml");
const FLOOD: File = file!("experiments/flood.yaml");
const OVERLOAD: File = file!("experiments/overload.yaml");
const ANCHOR_LOAD: File = file!("experiments/anchor-load.yaml");
const PAPER_WALK: File = file!("experiments/paper-walk.yaml");
const FOUR_PROTOCOLS: File = file!("experiments/four-protocols.yaml");
const AT_THEIR_BEST: File = file!("experiments/at-their-best.yaml");
const TRANSFER: File = file!("experiments/transfer.yaml");
const PARTITION: File = file!("experiments/partition.yaml");
const DHCP: File = file!("experiments/dhcp.yaml");
const BY_DHCP: File = file!("topologies/dhcp.yaml");
const SLAAC: File = file!("experiments/slaac.yaml");
const BY_SLAAC: File = file!("topologies/slaac.yaml");
const CONFIRM: File = file!("experiments/confirm.yaml");
const DISCOVER: File = file!("experiments/discover.yaml");
const ANCHOR: File = file!("experiments/anchor.yaml");
const DELTA: File = file!("experiments/delta.yaml");
const HIERARCHICAL: File = file!("experiments/hierarchical.yaml");
const CACHE_LIFETIME: File = file!("experiments/cache-lifetime.yaml");
const STALE: File = file!("experiments/stale.yaml");
const ADDRESSES: File = file!("experiments/addresses.yaml");

/// All files of all examples, each once.
pub const FILES: &[File] = &[
    LINE,
    GRID_SMALL,
    CAMPUS,
    BACKBONE,
    BACKBONE_GRAPH,
    PAPER_150,
    TERMINALS,
    TERMINALS_CALLED,
    FAR_ANCHORS,
    KAMAILIO,
    KAMAILIO_CFG,
    HANDOFF,
    HOTSPOT,
    BOTH_MOVE,
    WAYPOINT,
    TRACE,
    TRACE_CSV,
    ALPHA,
    FOUR_PROTOCOLS,
    AT_THEIR_BEST,
    PAPER_WALK,
    CALL_RATE,
    ANCHOR_CRASH,
    AGENT_CRASH,
    FLOOD,
    OVERLOAD,
    ANCHOR_LOAD,
    TRANSFER,
    PARTITION,
    CONFIRM,
    DISCOVER,
    ANCHOR,
    DELTA,
    HIERARCHICAL,
    CACHE_LIFETIME,
    STALE,
    ADDRESSES,
    DHCP,
    BY_DHCP,
    SLAAC,
    BY_SLAAC,
    TOPOLOGY_SCHEMA,
    EXPERIMENT_SCHEMA,
];

/// The examples, the simplest first.
pub const EXAMPLES: &[Example] = &[
    Example {
        name: "line",
        about: "two access routers, a SIP server, two mobile nodes",
        files: &[LINE, TOPOLOGY_SCHEMA],
    },
    Example {
        name: "grid-small",
        about: "a grid of 16 access routers, four SIP servers, eight mobile nodes",
        files: &[GRID_SMALL, TOPOLOGY_SCHEMA],
    },
    Example {
        name: "campus",
        about: "a network written by hand: four buildings around a core",
        files: &[CAMPUS, TOPOLOGY_SCHEMA],
    },
    Example {
        name: "backbone",
        about: "a network from a GraphML file, with delays from coordinates",
        files: &[BACKBONE, BACKBONE_GRAPH, TOPOLOGY_SCHEMA],
    },
    Example {
        name: "paper-150",
        about: "the paper's city: 22,500 access routers, 100 SIP servers, 10,000 mobile nodes",
        files: &[PAPER_150, TOPOLOGY_SCHEMA],
    },
    Example {
        name: "handoff",
        about: "an experiment: calls and handoffs on grid-small",
        files: &[HANDOFF, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "hotspot",
        about: "an experiment: everybody walks towards a hotspot, and calls come and go",
        files: &[HOTSPOT, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "both-move",
        about: "a question with two factors: what if both ends of a call move at once?",
        files: &[BOTH_MOVE, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "waypoint",
        about: "an experiment: everybody drives across the city, by how much nearer the next access router has to be",
        files: &[WAYPOINT, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "trace",
        about: "an experiment: a bus, as a file says who moves where and when",
        files: &[TRACE, TRACE_CSV, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "alpha",
        about: "an experiment: what a hotspot does, by how many steps lead towards it",
        files: &[ALPHA, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "paper-walk",
        about: "an experiment for the simulator: the paper's crowd walks in the paper's city",
        files: &[PAPER_WALK, PAPER_150, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "at-their-best",
        about: "an experiment: the four protocols with addresses by the letter of the RFCs, and as fast as they allow",
        files: &[AT_THEIR_BEST, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "four-protocols",
        about: "an experiment: SAMP, Mobile IPv6, HMIPv6 and SIP mobility side by side",
        files: &[FOUR_PROTOCOLS, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "call-rate",
        about: "an experiment: what caches are worth, by how often people call",
        files: &[CALL_RATE, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "anchor-crash",
        about: "an experiment: a server crashes while its nodes are in calls and move on",
        files: &[ANCHOR_CRASH, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "agent-crash",
        about: "an experiment: a server is killed, and who is without service for how long",
        files: &[AGENT_CRASH, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "flood",
        about: "an experiment: a server gets more requests than its line carries, and who can still move and call",
        files: &[FLOOD, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "overload",
        about: "an experiment: one registrar or many anchors with little CPU time, driven into saturation",
        files: &[OVERLOAD, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "anchor-load",
        about: "an experiment: does the choice of anchors spread the load of a hotspot?",
        files: &[ANCHOR_LOAD, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "kamailio",
        about: "SIP mobility with Kamailio as the registrar of all",
        files: &[KAMAILIO, KAMAILIO_CFG, TOPOLOGY_SCHEMA],
    },
    Example {
        name: "terminals-called",
        about: "an experiment: one user, two terminals, and both ring",
        files: &[TERMINALS_CALLED, TERMINALS, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "transfer",
        about: "an experiment: live calls move to other terminals",
        files: &[TRANSFER, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "partition",
        about: "an experiment: the ring falls apart and grows together, links change, a server stands still",
        files: &[PARTITION, CAMPUS, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "hierarchical",
        about: "a question with two factors: does hierarchical registration keep handoffs short?",
        files: &[HIERARCHICAL, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "delta",
        about: "a question with a factor: how long should a discovery wait for answers?",
        files: &[DELTA, FAR_ANCHORS, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "anchor",
        about: "a question with a factor: an anchor at random, or the fastest?",
        files: &[ANCHOR, FAR_ANCHORS, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "discover",
        about: "a question with a factor: does it pay to look for anchors ahead?",
        files: &[DISCOVER, FAR_ANCHORS, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "confirm",
        about: "a question with a factor: what does it cost to confirm an anchor by REGISTER?",
        files: &[CONFIRM, FAR_ANCHORS, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "cache-lifetime",
        about: "a question with two factors: how long should a caller believe its cache?",
        files: &[CACHE_LIFETIME, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "stale",
        about: "a question with a factor: ask where the callee was first, or its anchor at once, too?",
        files: &[STALE, GRID_SMALL, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "addresses",
        about: "a question with a factor: what does it cost to get an address?",
        files: &[ADDRESSES, BY_SLAAC, BY_DHCP, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "dhcp",
        about: "an experiment: handoffs with addresses by DHCP",
        files: &[DHCP, BY_DHCP, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
    Example {
        name: "slaac",
        about: "the same, with addresses of router advertisements",
        files: &[SLAAC, BY_SLAAC, TOPOLOGY_SCHEMA, EXPERIMENT_SCHEMA],
    },
];

/// The example of this name.
pub fn find(name: &str) -> Option<&'static Example> {
    EXAMPLES.iter().find(|example| example.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{experiment, topology};
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn each_works_by_itself() {
        for Example { name, about, files } in EXAMPLES {
            assert_eq!(Path::new(files[0].path).file_stem().unwrap().to_str(), Some(*name), "{about}");
            assert_eq!(find(name).unwrap().files, *files);
            let root = std::env::temp_dir().join(format!("samp-example-{name}-{}", std::process::id()));
            for file in *files {
                assert!(FILES.contains(file), "{}", file.path);
                let path = root.join(file.path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file.text).unwrap();
            }
            let path = root.join(files[0].path);
            let good = if files[0].path.starts_with("experiments/") {
                experiment::load(&path).map(|_| ())
            } else {
                topology::load(&path).map(|_| ())
            };
            let schema = files[0].text.lines().next().unwrap().split_once("$schema=").unwrap().1;
            let named = path.parent().unwrap().join(schema).exists();
            fs::remove_dir_all(&root).unwrap();
            assert_eq!(good, Ok(()), "{name}");
            assert!(named, "{name}: {schema}");
        }
        assert!(find("nonsense").is_none());
    }

    #[test]
    fn none_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = BTreeSet::new();
        for directory in ["topologies", "experiments", "schema"] {
            for entry in fs::read_dir(root.join(directory)).unwrap() {
                found.insert(format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        let known: BTreeSet<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(found, known);
        let used: BTreeSet<_> =
            EXAMPLES.iter().flat_map(|example| example.files).map(|file| file.path.to_owned()).collect();
        assert_eq!(used, known);
    }
}
