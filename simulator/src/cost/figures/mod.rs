//! The figures, and how they are made and written.

mod against_alpha;
mod beside;

use super::chart::chart;
use super::parameters::{Parameter, Parameters};
use super::statistics::Estimate;
use crate::choice::choice;
use serde::Serialize;
use std::fmt::Write;
use std::ops::Range;

choice! {
    /// A figure.
    Name {
        /// The paper's figure 4.
        Four = "4",
        /// The paper's figure 5a.
        FiveA = "5a",
        /// The paper's figure 5b.
        FiveB = "5b",
        /// Hops from server to server.
        Overlay = "overlay",
        /// What a full membership table does instead of the ring.
        Table = "table",
        /// Load per anchor.
        Anchors = "anchors",
        /// How often the caches are wrong.
        Stale = "stale",
        /// Fixed against adaptive lifetimes of cache entries.
        Lifetime = "lifetime",
        /// What the caches do by how often somebody calls.
        Sessions = "sessions",
        /// How virtual nodes even out the load.
        VirtualNodes = "virtual-nodes",
        /// Where Chord starts to pay.
        Membership = "membership",
    }
}

/// Over what a figure is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// The world, as [checked](Parameters::check).
    pub parameters: Parameters,
    /// The values of α, ascending, from 0 to 1; at least one.
    pub alphas: Vec<f64>,
    /// One world for each; at least one.
    pub seeds: Range<u64>,
    /// Threads.
    pub jobs: usize,
}

impl Study {
    /// The middle one of the values of α.
    pub(super) fn middle(&self) -> f64 {
        self.alphas[self.alphas.len() / 2]
    }

    /// Seeds and parameters, as comments of a file of comma-separated values.
    pub(super) fn provenance(&self) -> String {
        let Range { start, end } = self.seeds;
        let parameters = self.parameters.list();
        let lines = parameters.iter().map(|Parameter { name, value, .. }| format!("# {name}={value}\n"));
        format!("# seeds {start} to {}\n", end - 1) + &lines.collect::<String>()
    }
}

/// A line of a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What it shows.
    pub name: &'static str,
    /// Its points, by ascending x.
    pub points: Vec<Estimate>,
}

/// A figure, ready to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as in `figures --figure NAME`.
    pub name: String,
    /// What it is about.
    pub title: &'static str,
    /// The abscissa.
    pub x: &'static str,
    /// The ordinate, with its unit.
    pub y: &'static str,
    /// Whether the ordinate is logarithmic.
    pub is_log: bool,
    /// Whether the abscissa is.
    pub is_log_x: bool,
    /// Its lines.
    pub series: Vec<Series>,
}

/// Makes these figures, and tells meanwhile how many cells are done, and of how many.
pub fn draw(study: &Study, names: &[Name], tell: &mut dyn FnMut(usize, usize)) -> Vec<Figure> {
    let plans: Vec<_> = names.iter().filter_map(|&name| against_alpha::plan(name)).collect();
    let variants = against_alpha::variants(&plans);
    let seeds = study.seeds.clone().count();
    let beside: usize = names.iter().map(|&name| beside::places(name) * seeds).sum();
    let total = variants.len() * seeds * study.alphas.len() + beside;
    let mut ticker = Ticker { done: 0, total, tell };
    let cells = against_alpha::play_all(study, &variants, &mut ticker);
    let mut plans = plans.into_iter();
    let figure = |&name: &Name| match beside::draw(study, name, &mut ticker) {
        Some(figure) => Some(figure),
        None => plans.next().map(|plan| plan.figure(study, name, &variants, &cells)),
    };
    names.iter().filter_map(figure).collect()
}

/// Tells how far the work is.
struct Ticker<'a> {
    done: usize,
    total: usize,
    tell: &'a mut dyn FnMut(usize, usize),
}

impl Ticker<'_> {
    fn tick(&mut self) {
        self.done += 1;
        (self.tell)(self.done, self.total);
    }
}

impl Figure {
    /// The figure as a picture.
    pub fn svg(&self) -> String {
        chart(self).standalone()
    }

    /// The figure as comma-separated values, with seeds and parameters in the lines before.
    pub fn csv(&self, study: &Study) -> String {
        let mut text = format!("# figure {}: {}; {} against {}\n", self.name, self.title, self.y, self.x);
        text += &study.provenance();
        text += "series,x,mean,low,high,min,max,n\n";
        for series in &self.series {
            for Estimate { x, mean, low, high, min, max, n } in &series.points {
                let _ = writeln!(
                    text,
                    "\"{}\",{x},{mean:.4},{low:.4},{high:.4},{min:.4},{max:.4},{n}",
                    series.name
                );
            }
        }
        text
    }
}
