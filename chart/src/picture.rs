//! Pictures: a drawing that stands in a page, whose colours follow the page's, or in a file of its own.

use crate::px;
use maud::{Markup, html};

/// The look of all charts. Colours are custom properties, which [`variables`] defines.
pub const STYLE: &str = include_str!("chart.css");

/// Room for the title in a file of its own.
const HEADING: f64 = 30.0;

/// Each colour on light and on dark ground. Those of series are the hues of Okabe and Ito, which people see apart who do
/// not see all colours, at a contrast of 3:1 at least; ink has more than 4.5:1 (WCAG 2.2 §1.4).
const PALETTE: [(&str, &str, &str); 13] = [
    ("ground", "#ffffff", "#14181d"),
    ("panel", "#f4f6f8", "#1d232a"),
    ("rule", "#dde2e7", "#333c46"),
    ("muted", "#56606b", "#a3aeba"),
    ("ink", "#171b20", "#e8ecf0"),
    ("link", "#0a58a8", "#7dbcf5"),
    ("bad", "#b3261e", "#ff8a80"),
    ("s1", "#0072b2", "#4ea6e0"),
    ("s2", "#c4500b", "#f08a4f"),
    ("s3", "#008060", "#3fc59a"),
    ("s4", "#a34a86", "#e095c5"),
    ("s5", "#966800", "#e3b341"),
    ("s6", "#68737f", "#8f9baa"),
];

/// The definitions of all colours, for light and dark ground, by `light-dark()` of CSS Color 5.
pub fn variables() -> String {
    PALETTE.iter().map(|(name, light, dark)| format!("--{name}:light-dark({light},{dark});")).collect()
}

/// A drawing, in pixels from the top left.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
    /// What is drawn.
    pub body: Markup,
}

impl Picture {
    /// As an element of a page that has [`STYLE`] and [`variables`].
    pub fn inline(&self) -> Markup {
        let (width, height) = (px(self.width), px(self.height));
        html! {
            svg class="chart" role="img" aria-label=(self.title) viewBox={ "0 0 " (width) " " (height) }
                width=(width) height=(height) { (self.body) }
        }
    }

    /// As a file of its own, on light ground, with the title above. It needs nothing that programs for papers lack, as
    /// custom properties.
    pub fn standalone(&self) -> String {
        let (width, height) = (px(self.width), px(self.height + HEADING));
        let style = PALETTE.iter().fold(STYLE.to_owned(), |style, (name, light, _)| {
            style.replace(&format!("var(--{name})"), light)
        });
        let drawn = html! {
            svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox={ "0 " (-HEADING) " " (width) " " (height) }
                width=(width) height=(height) {
                title { (self.title) }
                // Whatever reads the file takes the style as it is: it has nothing to be escaped.
                style { (maud::PreEscaped(style)) }
                rect class="ground" x="0" y=(-HEADING) width=(width) height=(height) {}
                text class="heading" x="8" y="-10" { (self.title) }
                (self.body)
            }
        };
        drawn.into_string() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let part = |from: usize| {
            let value = f64::from(u8::from_str_radix(&colour[from..from + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    #[test]
    fn colours_have_enough_contrast_on_both_grounds() {
        for theme in [|colour: &(_, &'static str, _)| colour.1, |colour: &(_, _, &'static str)| colour.2] {
            for (ground, _) in [(0, "ground"), (1, "panel")] {
                let ground = luminance(theme(&PALETTE[ground]));
                for colour in &PALETTE[3..] {
                    let other = luminance(theme(colour));
                    let contrast = (ground.max(other) + 0.05) / (ground.min(other) + 0.05);
                    let least = if colour.0.starts_with('s') { 3.0 } else { 4.5 };
                    assert!(contrast >= least, "{}: {contrast:.2}", colour.0);
                }
            }
        }
    }

    #[test]
    fn a_file_needs_no_page_and_escapes_what_it_is_told() {
        let title = "</title><script>alert(1)</script>".to_owned();
        let picture = Picture { title, width: 10.0, height: 20.5, body: html! { path d="M0 0" {} } };
        let file = picture.standalone();
        assert!(!file.contains("var(") && !file.contains("<script"), "{file}");
        assert!(file.contains("viewBox=\"0 -30 10 50.5\"") && file.ends_with("</svg>\n"));
        assert!(!picture.inline().into_string().contains("<script"));
    }
}
