//! Results as a document: figures, each with a caption and a table, in sections. One document becomes a page, pictures,
//! files of comma-separated values, or a summary in Markdown.

mod campaign;
mod figures;
mod html;
mod markdown;
mod material;

pub use self::campaign::{CampaignMaterial, is_inside};
pub use self::html::page;
pub use self::markdown::markdown;
pub use self::material::{Asserted, Material, Prediction, Unreadable};

use crate::report::{Delta, Ranks, Signalling};
use samp_chart::Picture;
use std::fmt::Write;
use std::time::Duration;

/// What is shown.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name.
    pub title: String,
    /// What it is of.
    pub kind: &'static str,
    /// What it is about.
    pub about: Vec<String>,
    /// Why the measurements may not be used; empty when they may.
    pub invalid_because: Vec<String>,
    /// What to see at a glance.
    pub keys: Vec<Key>,
    /// The rest.
    pub sections: Vec<Section>,
}

/// A figure that is seen at a glance.
#[derive(Clone, Debug)]
pub struct Key {
    /// What it is.
    pub name: String,
    /// The figure, with its unit.
    pub value: String,
    /// What there is to say about it.
    pub detail: String,
}

/// A section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name in addresses.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What there is to know before.
    pub text: Vec<String>,
    /// What it shows.
    pub figures: Vec<Figure>,
    /// Of what follows one is seen at a time.
    pub choices: Vec<Choice>,
}

/// A figure: a picture, what it means, and its values.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name in addresses and of files: letters, digits and hyphens.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What is shown, of how many.
    pub caption: String,
    /// The picture, where there is one.
    pub picture: Option<Picture>,
    /// The values.
    pub table: Table,
    /// Whether two of its kind stand side by side where there is room.
    pub is_half: bool,
}

/// One of many of which one is seen at a time.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Those of a group are listed together.
    pub group: String,
    /// What it is called there.
    pub label: String,
    /// How long it took, in milliseconds, which gives it its shade.
    pub took: Option<f64>,
    /// Where it is: in the page, or in another one.
    pub href: String,
    /// What is shown in the page.
    pub figures: Vec<Figure>,
}

/// Rows under a header; the first column names the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns, with units.
    pub header: Vec<String>,
    /// As many cells each.
    pub rows: Vec<Vec<String>>,
}

impl Document {
    /// All figures, those of which one is seen at a time included.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.sections.iter().flat_map(|section| {
            section.figures.iter().chain(section.choices.iter().flat_map(|choice| &choice.figures))
        })
    }
}

impl Table {
    /// With these columns.
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// With these columns and rows.
    pub fn of(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        Self { rows: rows.into_iter().collect(), ..Self::new(header) }
    }

    /// As comma-separated values (RFC 4180).
    pub fn csv(&self) -> String {
        let mut text = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let cells: Vec<_> = row.iter().map(|cell| quoted(cell)).collect();
            // Writing to a String cannot fail.
            let _ = write!(text, "{}\r\n", cells.join(","));
        }
        text
    }
}

/// A cell that holds only what it says: also a program that takes it for a formula has text before it.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '@', '\t', '\r'])
        || cell.strip_prefix('-').is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()));
    let cell = if is_formula && cell.len() > 1 { format!("'{cell}") } else { cell.to_owned() };
    match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

/// A name in addresses and of files.
fn slug(text: &str) -> String {
    let character = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    text.chars().take(60).map(character).collect()
}

/// Milliseconds, as tables have them.
fn ms(duration: Duration) -> String {
    delta(duration.into())
}

fn delta(delta: Delta) -> String {
    format!("{:.3}", delta.as_millis())
}

fn maybe(delta_or_none: Option<Delta>) -> String {
    delta_or_none.map_or_else(|| "–".to_owned(), delta)
}

/// Median, 95th percentile, maximum and size of a sample.
fn ranks(ranks: &Ranks<Delta>) -> [String; 4] {
    [delta(ranks.p50), delta(ranks.p95), delta(ranks.max), ranks.n.to_string()]
}

/// Messages and bytes.
fn signalling(cost: Option<Signalling>) -> [String; 2] {
    match cost {
        Some(Signalling { messages, bytes }) => [messages.to_string(), bytes.to_string()],
        None => ["–", "–"].map(str::to_owned),
    }
}

/// Milliseconds to three digits, for what is seen at a glance.
fn brief(millis: f64) -> String {
    let digits = match millis.abs() {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{millis:.digits$} ms")
}

fn millis(duration: Duration) -> f64 {
    Delta::from(duration).as_millis()
}

/// `n handoffs`, or `1 handoff`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        let cells = ["a", "1,2", "say \"no\"", "=1+1", "-1.5", "-x()", "+4", "–"];
        let table = Table::of(&["one", "two"], [cells.map(str::to_owned).to_vec()]);
        assert_eq!(table.csv(), "one,two\r\na,\"1,2\",\"say \"\"no\"\"\",'=1+1,-1.5,'-x(),'+4,–\r\n");
    }

    #[test]
    fn names_of_files_hold_nothing_that_leads_elsewhere() {
        assert_eq!(slug("handoff-../MN 1\"<é>"), "handoff----mn-1----");
        assert_eq!(slug(&"x".repeat(500)).len(), 60);
    }

    #[test]
    fn what_is_seen_at_a_glance_has_three_digits() {
        assert_eq!([0.1234, 12.345, 1234.5].map(brief), ["0.12 ms", "12.3 ms", "1234 ms"]);
    }
}
