//! Routers and links out of a graph: names from labels, delays from coordinates, servers where the most links meet.

use super::file;
use super::graphml::{self, Edge};
use super::resolve::{LONGEST_NAME, MAX_WIRED_LINKS, RESERVED_NAMES};
use crate::diagnostic::{Diagnostic, quote};
use crate::units::{Delay, Rate};
use crate::yaml::{Errors, Source, Word, span};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

/// How the names of GraphML files end.
const EXTENSIONS: [&str; 2] = ["graphml", "xml"];
/// Delay where the file says nothing: of the shortest links, and of those whose length is unknown.
pub(super) const DEFAULT_MINIMUM_DELAY: Duration = Duration::from_micros(100);
pub(super) const DEFAULT_DELAY: Duration = Duration::from_millis(1);
/// Light in glass: 200,000 km/s.
const METRES_PER_MICROSECOND: f64 = 200.0;
/// Mean radius of the Earth (IUGG's R1), in metres.
const EARTH_RADIUS: f64 = 6_371_008.8;
/// Letters of a name that decide who counts together when names repeat, so that ` -2` fits behind them.
const STEM: usize = LONGEST_NAME - 2;

/// Where the text of a GraphML file comes from.
pub(super) type ReadGraph<'a> = &'a dyn Fn(&Path) -> Result<Source, Vec<Diagnostic>>;

/// What a graph becomes.
pub(super) struct Network {
    /// In the graph's order.
    pub(super) routers: Vec<Router>,
    /// In the graph's order of each one's first edge.
    pub(super) links: Vec<Link>,
    /// Into how many parts without a link between them the routers fall, and how many the largest has.
    pub(super) parts: usize,
    pub(super) largest: usize,
}

/// An access router.
pub(super) struct Router {
    pub(super) name: String,
    /// In metres, x to the east and y to the south of the graph's north-western corner.
    pub(super) position: Option<[f64; 2]>,
}

/// A link, the same both ways.
pub(super) struct Link {
    /// Indexes of routers.
    pub(super) ends: [usize; 2],
    pub(super) one_way_delay: Duration,
    /// In bits per second.
    pub(super) rate: Option<u64>,
}

impl Network {
    /// The routers with the most links, and among those with as many the first in the file; only such as have room
    /// for one link more.
    pub(super) fn busiest(&self) -> Vec<usize> {
        let degree = degrees(self.routers.len(), &self.links);
        let mut routers: Vec<_> =
            (0..self.routers.len()).filter(|&id| degree[id] < MAX_WIRED_LINKS).collect();
        routers.sort_by_key(|&id| Reverse(degree[id]));
        routers
    }
}

/// The network that the section `graph:` of the file `source` describes. What is wrong with the section goes to
/// `errors`, what is wrong with the GraphML file to `theirs`.
pub(super) fn import(
    source: &Source,
    section: &file::Graph,
    read: ReadGraph<'_>,
    errors: &mut Errors,
    theirs: &mut Vec<Diagnostic>,
) -> Option<Network> {
    let builder = Builder {
        largest_component: errors.value_or(section.largest_component.as_ref(), Word(false)).0,
        distance_factor: errors.value_or(section.distance_factor.as_ref(), file::Factor(1.0)).0,
        minimum_delay: delay(errors, section.minimum_delay.as_ref(), DEFAULT_MINIMUM_DELAY),
        default_delay: delay(errors, section.default_delay.as_ref(), DEFAULT_DELAY),
        link_speeds: errors.value_or(section.link_speeds.as_ref(), Word(false)).0,
    };
    let name = &section.graphml;
    let hint = "`graphml` is a path from the directory of this file, as `backbone.graphml`";
    let path = Path::new(&name.value);
    if !EXTENSIONS.iter().any(|extension| path.extension().is_some_and(|own| own == *extension)) {
        // Whatever else it is, its content is nobody's business: messages quote what they complain about.
        let message = format!("{} is not a GraphML file", quote(&name.value));
        errors.report(span(name), message, |error| error.hint(hint));
        return None;
    }
    match read(&located(source, path)).and_then(|graph| builder.network(&graph)) {
        Ok(network) => Some(network),
        Err(bad) => {
            match &bad[..] {
                // It is the line that names the file that is wrong.
                [unreadable] if unreadable.line == 0 => {
                    let message = format!("{}: {}", unreadable.path, unreadable.message);
                    errors.report(span(name), message, |error| error.hint(hint));
                }
                _ => theirs.extend(bad),
            }
            None
        }
    }
}

/// Where the file is that the topology file `source` names.
pub(super) fn located(source: &Source, name: &Path) -> std::path::PathBuf {
    Path::new(source.path()).parent().unwrap_or(Path::new("")).join(name)
}

fn delay(errors: &mut Errors, file: Option<&crate::yaml::Value<Delay>>, default: Duration) -> Duration {
    file.and_then(|delay| errors.value(delay)).map_or(default, Delay::get)
}

/// How a graph is to be taken.
struct Builder {
    /// Leave out all but the largest part.
    largest_component: bool,
    /// How much longer cables are than the way as the crow flies.
    distance_factor: f64,
    /// Of links whose ends are near each other.
    minimum_delay: Duration,
    /// Of links with an end that has no coordinates.
    default_delay: Duration,
    /// Whether links have the speed that the graph gives them.
    link_speeds: bool,
}

impl Builder {
    fn network(&self, source: &Source) -> Result<Network, Vec<Diagnostic>> {
        let graph = graphml::read(source)?;
        let component = components(graph.nodes.len(), &graph.edges);
        let sizes = component.iter().fold(HashMap::new(), |mut sizes, part| {
            *sizes.entry(*part).or_insert(0) += 1;
            sizes
        });
        // Of equally large ones the first in the file.
        let (&largest, &size) =
            sizes.iter().max_by_key(|&(&part, &size)| (size, Reverse(part))).expect("a graph has nodes");

        let mut index = vec![None; graph.nodes.len()];
        let mut kept = Vec::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if !self.largest_component || component[id] == largest {
                index[id] = Some(kept.len());
                kept.push(node);
            }
        }
        let (links, first_too_many) = self.links(&graph, &index);
        if let Some(router) = first_too_many {
            let mut errors = Errors::new(source.clone());
            let node = kept[router];
            let message = format!("the node {} has more than {MAX_WIRED_LINKS} neighbours", quote(&node.id));
            errors.report(node.at.clone(), message, |error| {
                error.hint("the kernel routes multicast between at most 32 interfaces; add a node between")
            });
            return Err(errors.into_list());
        }
        let coordinates: Vec<_> = kept.iter().map(|node| node.coordinates).collect();
        let mut names = Names::default();
        let routers = kept
            .iter()
            .zip(positions(&coordinates))
            .map(|(node, position)| Router {
                name: names.name(node.label.as_deref().unwrap_or_default(), &node.id),
                position,
            })
            .collect();
        let parts = if self.largest_component { 1 } else { sizes.len() };
        Ok(Network { routers, links, parts, largest: size })
    }

    /// The links between the nodes that have an index, parallel edges merged and loops left out; and who, if anybody,
    /// has too many.
    fn links(&self, graph: &graphml::Graph, index: &[Option<usize>]) -> (Vec<Link>, Option<usize>) {
        let mut links: Vec<Link> = Vec::new();
        let mut known: HashMap<[usize; 2], usize> = HashMap::new();
        for Edge { ends: [a, b], speed } in &graph.edges {
            let (Some(from), Some(to)) = (index[*a], index[*b]) else { continue };
            if from == to {
                continue;
            }
            let speed = speed.filter(|_| self.link_speeds).map(|speed| {
                // What is slower or faster than any link can be is as slow or fast as a link can be.
                speed.clamp(Rate::MIN as f64, Rate::MAX as f64) as u64
            });
            let link = *known.entry([from.min(to), from.max(to)]).or_insert_with(|| {
                let one_way_delay = self.delay(graph.nodes[*a].coordinates, graph.nodes[*b].coordinates);
                links.push(Link { ends: [from, to], one_way_delay, rate: None });
                links.len() - 1
            });
            if let Some(speed) = speed {
                let rate = &mut links[link].rate;
                *rate = Some(rate.unwrap_or(0).saturating_add(speed).min(Rate::MAX));
            }
        }
        let degree = degrees(index.len(), &links);
        (links, degree.iter().position(|&links| links > MAX_WIRED_LINKS))
    }

    fn delay(&self, a: Option<[f64; 2]>, b: Option<[f64; 2]>) -> Duration {
        let (Some(a), Some(b)) = (a, b) else { return self.default_delay };
        let micros = distance(a, b) * self.distance_factor / METRES_PER_MICROSECOND;
        Duration::from_micros(micros.round() as u64).max(self.minimum_delay)
    }
}

fn degrees(nodes: usize, links: &[Link]) -> Vec<usize> {
    let mut degrees = vec![0; nodes];
    for end in links.iter().flat_map(|link| link.ends) {
        degrees[end] += 1;
    }
    degrees
}

/// For each node the first node of the part that it belongs to.
fn components(nodes: usize, edges: &[Edge]) -> Vec<usize> {
    let mut neighbours = vec![Vec::new(); nodes];
    for Edge { ends: [a, b], .. } in edges {
        neighbours[*a].push(*b);
        neighbours[*b].push(*a);
    }
    let mut component = vec![usize::MAX; nodes];
    for first in 0..nodes {
        let mut queue = vec![first];
        while let Some(here) = queue.pop() {
            if component[here] == usize::MAX {
                component[here] = first;
                queue.extend(&neighbours[here]);
            }
        }
    }
    component
}

/// Metres along the great circle between two points in degrees, by the haversine formula.
fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [latitude, longitude] = [0, 1].map(|axis| (b[axis] - a[axis]).to_radians());
    let square = (latitude / 2.0).sin().powi(2)
        + a[0].to_radians().cos() * b[0].to_radians().cos() * (longitude / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS * square.sqrt().min(1.0).asin()
}

/// The points on a plane map, to the metre, with the true width of a degree in the middle of the graph.
fn positions(coordinates: &[Option<[f64; 2]>]) -> Vec<Option<[f64; 2]>> {
    let known = || coordinates.iter().flatten();
    let edge = |axis: usize, pick: fn(f64, f64) -> f64| known().map(|point| point[axis]).reduce(pick);
    let (Some(south), Some(north), Some(west)) = (edge(0, f64::min), edge(0, f64::max), edge(1, f64::min))
    else {
        return vec![None; coordinates.len()];
    };
    let width = south.midpoint(north).to_radians().cos();
    let metres = |degrees: f64| (degrees.to_radians() * EARTH_RADIUS).round();
    coordinates
        .iter()
        .map(|point| {
            point.map(|[latitude, longitude]| [metres((longitude - west) * width), metres(north - latitude)])
        })
        .collect()
}

/// Gives names, each once.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// Number of the latest of those whose names begin alike.
    latest: HashMap<String, usize>,
}

impl Names {
    /// A name from a label, or from the identifier if that leaves nothing: `a` to `z`, `0` to `9` and `-`, cut to its
    /// length. Who comes later and would have the same gets a number.
    fn name(&mut self, label: &str, id: &str) -> String {
        let mut base = sanitised(label);
        if base.is_empty() {
            base = sanitised(id);
        }
        let generated = |prefix: &str| {
            base.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let base = if !base.starts_with(|c: char| c.is_ascii_lowercase()) {
            format!("n{base}")
        } else if RESERVED_NAMES.contains(&base.as_str()) || generated("s") || generated("mn") {
            // Names that servers and mobile nodes have, or that mean something else.
            format!("r-{base}")
        } else {
            base
        };
        let name = cut(&base, LONGEST_NAME).to_owned();
        if self.taken.insert(name.clone()) {
            return name;
        }
        let latest = self.latest.entry(cut(&base, STEM).to_owned()).or_insert(1);
        loop {
            *latest += 1;
            let number = format!("-{latest}");
            let name = format!("{}{number}", cut(&base, LONGEST_NAME - number.len()));
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// The first characters of an ASCII text, without a `-` at the end.
fn cut(text: &str, length: usize) -> &str {
    text[..length.min(text.len())].trim_end_matches('-')
}

/// Lower case, what is neither letter nor digit as one `-`, none of them first or last.
fn sanitised(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let letters = unaccented(c);
        if !letters.is_empty() {
            name += letters;
        } else if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        // More than any name needs.
        if name.len() > 2 * LONGEST_NAME {
            break;
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// What to write for a Latin letter with an accent; nothing for other characters.
fn unaccented(c: char) -> &'static str {
    match c {
        'à'..='å' | 'À'..='Å' | 'ā' | 'ă' | 'ą' | 'Ā' | 'Ă' | 'Ą' => "a",
        'æ' | 'Æ' => "ae",
        'ç' | 'Ç' | 'ć' | 'č' | 'Ć' | 'Č' => "c",
        'ď' | 'đ' | 'ð' | 'Ď' | 'Đ' | 'Ð' => "d",
        'è'..='ë' | 'È'..='Ë' | 'ē' | 'ę' | 'ě' | 'Ē' | 'Ę' | 'Ě' => "e",
        'ğ' | 'Ğ' => "g",
        'ì'..='ï' | 'Ì'..='Ï' | 'ī' | 'ı' | 'Ī' | 'İ' => "i",
        'ł' | 'ľ' | 'Ł' | 'Ľ' => "l",
        'ñ' | 'Ñ' | 'ń' | 'ň' | 'Ń' | 'Ň' => "n",
        'ò'..='ö' | 'ø' | 'Ò'..='Ö' | 'Ø' | 'ō' | 'ő' | 'Ō' | 'Ő' => "o",
        'œ' | 'Œ' => "oe",
        'ř' | 'Ř' => "r",
        'ß' => "ss",
        'ś' | 'ş' | 'š' | 'ș' | 'Ś' | 'Ş' | 'Š' | 'Ș' => "s",
        'ť' | 'ţ' | 'ț' | 'Ť' | 'Ţ' | 'Ț' => "t",
        'þ' | 'Þ' => "th",
        'ù'..='ü' | 'Ù'..='Ü' | 'ū' | 'ů' | 'ű' | 'Ū' | 'Ů' | 'Ű' => "u",
        'ý' | 'ÿ' | 'Ý' | 'Ÿ' => "y",
        'ź' | 'ż' | 'ž' | 'Ź' | 'Ż' | 'Ž' => "z",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
