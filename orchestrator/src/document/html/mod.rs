//! A document as one page: no script, nothing from elsewhere, readable on light and dark ground, on paper and on a phone.
//!
//! The page's policy allows its own style sheet and nothing else, and whatever is text is escaped: names may be hostile.

use super::{Choice, Document, Figure, Section, Table};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

/// Rows of a table that the page shows.
const ROWS: usize = 500;
/// Shades that choices have.
const SHADES: usize = 5;

/// The document as a page.
pub fn page(document: &Document) -> String {
    let style =
        format!(":root{{{}}}\n{}{}", samp_chart::variables(), samp_chart::STYLE, include_str!("style.css"));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        base64(&Sha256::digest(&style))
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="generator" content={ "samp-lab " (env!("CARGO_PKG_VERSION")) };
                title { (document.title) " – samp-lab" }
                // Browsers ask for an icon unless they have one.
                link rel="icon" href="data:,";
                style { (PreEscaped(&style)) }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (header(document))
                (contents(document))
                main #content {
                    (glance(document))
                    @for section in &document.sections { (self::section(section)) }
                }
                footer { "Made by samp-lab " (env!("CARGO_PKG_VERSION")) "." }
            }
        }
    };
    page.into_string() + "\n"
}

fn header(document: &Document) -> Markup {
    html! {
        header {
            div {
                p.eyebrow { "samp-lab · " (document.kind) }
                h1 {
                    (document.title) " "
                    @match document.invalid_because.is_empty() {
                        true => span.badge { "valid" },
                        false => span.badge.invalid { "invalid" },
                    }
                }
                ul.about { @for fact in &document.about { li { (fact) } } }
            }
            fieldset.theme {
                legend { "Colours" }
                @for (value, name) in [("auto", "Auto"), ("light", "Light"), ("dark", "Dark")] {
                    label { input type="radio" name="theme" id={ "theme-" (value) } checked[value == "auto"]; span { (name) } }
                }
            }
        }
    }
}

fn contents(document: &Document) -> Markup {
    html! {
        nav aria-label="Sections" {
            ul { @for section in &document.sections { li { a href={ "#" (section.id) } { (section.title) } } } }
        }
    }
}

fn glance(document: &Document) -> Markup {
    html! {
        @if !document.invalid_because.is_empty() {
            section.reasons aria-label="Why the measurements may not be used" {
                h2 { "These measurements may not be used" }
                ul { @for reason in &document.invalid_because { li { (reason) } } }
            }
        }
        dl.keys {
            @for key in &document.keys {
                div { dt { (key.name) } dd { strong { (key.value) } span { (key.detail) } } }
            }
        }
    }
}

fn section(section: &Section) -> Markup {
    html! {
        section id=(section.id) {
            h2 { a href={ "#" (section.id) } { (section.title) } }
            @for text in &section.text { p { (text) } }
            @if !section.figures.is_empty() {
                div.figures { @for figure in &section.figures { (self::figure(figure)) } }
            }
            @if !section.choices.is_empty() { (choices(&section.choices)) }
        }
    }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure id={ "figure-" (figure.id) } .half[figure.is_half] {
            h3 { (figure.title) }
            @match &figure.picture {
                Some(picture) => {
                    div.picture tabindex="0" role="group" aria-label=(picture.title) { (picture.inline()) }
                    figcaption { (figure.caption) }
                    @if !figure.table.rows.is_empty() {
                        details {
                            summary { "Table" span.of { " of " (figure.title) } }
                            (table(&figure.table, &figure.title))
                        }
                    }
                }
                None => {
                    (table(&figure.table, &figure.title))
                    figcaption { (figure.caption) }
                }
            }
        }
    }
}

fn table(table: &Table, title: &str) -> Markup {
    let left_out = table.rows.len().saturating_sub(ROWS);
    let has_numbers = |column: usize| {
        table.rows.iter().take(ROWS).all(|row| is_number(row.get(column).map_or("", String::as_str)))
    };
    html! {
        div.table tabindex="0" role="group" aria-label={ "Table: " (title) } {
            table {
                thead { tr { @for (index, name) in table.header.iter().enumerate() {
                            th scope="col" .number[index > 0 && has_numbers(index)] { (name) }
                        } } }
                tbody {
                    @for row in table.rows.iter().take(ROWS) {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } }
                                @else { td.number[is_number(cell)] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
        @if left_out > 0 { p { "And " (left_out) " more rows, which `--csv` writes." } }
    }
}

/// A list of all choices, group by group, and below the one that was chosen: the one whose address the page has, or the first.
fn choices(choices: &[Choice]) -> Markup {
    let groups = choices.chunk_by(|one, next| one.group == next.group);
    let longest = |group: &[Choice]| group.iter().filter_map(|choice| choice.took).fold(0.0, f64::max);
    // Handoffs and calls last differently long.
    let calls =
        longest(&choices.iter().filter(|choice| choice.group == "calls").cloned().collect::<Vec<_>>());
    let handoffs =
        longest(&choices.iter().filter(|choice| choice.group != "calls").cloned().collect::<Vec<_>>());
    html! {
        dl.choices {
            @for group in groups {
                @let longest = if group[0].group == "calls" { calls } else { handoffs };
                div {
                    dt { (group[0].group) }
                    dd {
                        @for choice in group {
                            a class={ "shade" (shade(choice.took, longest)) } href=(choice.href)
                                title=[choice.took.map(super::brief)] { (choice.label) }
                        }
                    }
                }
            }
        }
        @if choices.iter().any(|choice| !choice.figures.is_empty()) {
            div.chosen { @for index in 0..choices.len() { (chosen(choices, index)) } }
        }
    }
}

fn chosen(choices: &[Choice], index: usize) -> Markup {
    let choice = &choices[index];
    let title = |choice: &Choice| choice.figures.first().map_or(String::new(), |figure| figure.title.clone());
    html! {
        div.choice id=(choice.href.trim_start_matches('#')) {
            p.turn {
                @if let Some(before) = index.checked_sub(1).map(|before| &choices[before]) {
                    a href=(before.href) { "← " (title(before)) }
                }
                @if let Some(next) = choices.get(index + 1) { a.next href=(next.href) { (title(next)) " →" } }
            }
            @for figure in &choice.figures { (self::figure(figure)) }
        }
    }
}

fn shade(took: Option<f64>, longest: f64) -> usize {
    match took {
        Some(took) if longest > 0.0 => ((took / longest * SHADES as f64).ceil() as usize).clamp(1, SHADES),
        _ => 0,
    }
}

fn is_number(cell: &str) -> bool {
    cell == "–" || cell.parse::<f64>().is_ok()
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .enumerate()
            .fold(0_usize, |word, (index, byte)| word | usize::from(*byte) << (16 - 8 * index));
        for digit in 0..4 {
            let character = DIGITS[word >> (18 - 6 * digit) & 63];
            text.push(if digit <= group.len() { char::from(character) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests;
