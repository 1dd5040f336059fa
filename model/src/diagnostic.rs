//! Errors in a user's file, with the place, the line and a hint, shown as rustc shows its own.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One error in a file.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as the user named it.
    pub path: String,
    /// Line, from 1; 0 when the file as a whole is meant, as when it cannot be read.
    pub line: usize,
    /// Column, from 1, in characters; 0 when the file as a whole is meant.
    pub column: usize,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write beside the marked text; may be empty.
    pub label: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Another place that explains the error.
    pub related: Option<Related>,
    #[serde(skip)]
    source: Arc<str>,
}

/// A second place in the same file that explains a [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What to write beside them.
    pub label: String,
}

impl Diagnostic {
    /// An error about some bytes of `source`, the text of the file `path`.
    ///
    /// A `span` that is outside the text, empty, or goes beyond its first line is cut to what can be marked.
    pub fn new(path: &str, source: &Arc<str>, span: Range<usize>, message: impl Into<String>) -> Self {
        let span = clamp(source, span);
        let line_start = source[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: printable(path),
            line: source[..span.start].matches('\n').count() + 1,
            column: source[line_start..span.start].chars().count() + 1,
            span,
            message: message.into(),
            label: String::new(),
            hint: None,
            related: None,
            source: Arc::clone(source),
        }
    }

    /// An error about a file as a whole.
    pub fn whole_file(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: printable(path),
            line: 0,
            column: 0,
            span: 0..0,
            message: message.into(),
            label: String::new(),
            hint: None,
            related: None,
            source: Arc::from(""),
        }
    }

    /// With a text beside the marked bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a second place.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some(Related { span: clamp(&self.source, span), label: label.into() });
        self
    }

    /// Whether it is about some bytes of this very text.
    pub(crate) fn is_about(&self, text: &Arc<str>) -> bool {
        self.line != 0 && Arc::ptr_eq(&self.source, text)
    }

    /// The same error about other bytes: of `source`, the text of the file `path`; `related` is what becomes of the
    /// second place.
    pub(crate) fn moved(
        self,
        path: &str,
        source: &Arc<str>,
        span: Range<usize>,
        related: Option<Range<usize>>,
    ) -> Self {
        let related = self.related.zip(related);
        let related = related.map(|(old, span)| Related { span: clamp(source, span), label: old.label });
        Self { label: self.label, hint: self.hint, related, ..Self::new(path, source, span, self.message) }
    }

    /// The error as rustc would show it, with ANSI colours if wished.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let title = Level::ERROR.primary_title(&self.message);
        let origin = Origin::path(&self.path);
        let mut group = if self.line == 0 {
            Group::with_title(title).element(origin)
        } else if let Some((lines, related)) = self.lines_to_show() {
            let inside = |span: &Range<usize>| span.start - lines.start..span.end - lines.start;
            let mark = AnnotationKind::Primary.span(inside(&self.span));
            let mark = if self.label.is_empty() { mark } else { mark.label(&self.label) };
            let related = related
                .map(|related| AnnotationKind::Context.span(inside(&related.span)).label(&related.label));
            let first = self.source[..lines.start].matches('\n').count() + 1;
            let shown = without_c1(&self.source[lines]);
            let snippet = Snippet::source(shown).line_start(first).path(&self.path);
            title.element(snippet.annotation(mark).annotations(related))
        } else {
            Group::with_title(title).element(origin.line(self.line).char_column(self.column))
        };
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint));
        }
        renderer.render(&[group])
    }

    /// The lines from the first to the last that is marked, and the second place if it is not too far away; none where
    /// a line is too long to be of use to a reader.
    fn lines_to_show(&self) -> Option<(Range<usize>, Option<&Related>)> {
        const LONGEST: usize = 16 << 10;
        let lines = |first: usize, last: usize| {
            let start = self.source[..first].rfind('\n').map_or(0, |newline| newline + 1);
            let end = self.source[last..].find('\n').map_or(self.source.len(), |length| last + length + 1);
            (end - start <= LONGEST).then_some(start..end)
        };
        let here = self.span.start;
        let with_related = self.related.as_ref().and_then(|related| {
            let there = related.span.start;
            Some((lines(here.min(there), here.max(there))?, Some(related)))
        });
        with_related.or_else(|| Some((lines(here, here)?, None)))
    }
}

/// All the errors as rustc would show them, one after the other.
pub fn render_all(diagnostics: &[Diagnostic], color: bool) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(color)).collect::<Vec<_>>().join("\n\n")
}

/// In one line, as `path:line:column: message`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path)?;
        if self.line != 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

/// All but the source.
impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnostic")
            .field("at", &format_args!("{}:{}:{}", self.path, self.line, self.column))
            .field("message", &self.message)
            .field("label", &self.label)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Diagnostic {}

/// `span` within the text, on character boundaries, on one line, and at least one character wide where there is one.
fn clamp(source: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(source.len());
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let rest = &source[start..];
    let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let mut end = span.end.max(start + first).min(line_end);
    while !source.is_char_boundary(end) {
        end += 1;
    }
    start..end.max(start)
}

/// Bytes in a name beyond which nobody has mistyped a shorter one; to compare such names costs time.
const LONGEST_GUESS: usize = 64;

/// The candidate that `typed` was probably meant to be, if any is near enough.
pub(crate) fn did_you_mean<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if typed.len() > LONGEST_GUESS {
        return None;
    }
    let limit = (typed.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(typed, candidate, limit), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// A hint for a name that nobody has: the one that was probably meant, or those that differ from it in numbers only.
pub(crate) fn suggest_name<'a>(typed: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if typed.len() > LONGEST_GUESS {
        return None;
    }
    let alike =
        |name: &&str| name.chars().filter(not_digit).eq(typed.chars().filter(not_digit)) && *name != typed;
    let mut numbered = names.clone().filter(alike);
    match (numbered.next(), numbered.last()) {
        (Some(first), Some(last)) => Some(format!("there are `{first}` to `{last}`")),
        _ => did_you_mean(typed, names).map(|name| format!("did you mean `{name}`?")),
    }
}

fn not_digit(c: &char) -> bool {
    !c.is_ascii_digit()
}

/// Insertions, deletions, replacements and swaps of neighbours that make `a` of `b`, in whatever case; anything above
/// `limit` may be reported as `limit + 1`.
fn edit_distance(a: &str, b: &str, limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > 4 * limit {
        // No character has more bytes.
        return limit + 1;
    }
    let letters = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut best = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// A path without what a terminal might obey: control characters and changes of the direction of writing.
fn printable(path: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !path.contains(obeyed) {
        return path.to_owned();
    }
    path.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A text of the same length without C1 control characters, which the renderer, unlike all others, lets through to a terminal.
fn without_c1(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\u{80}'..='\u{9f}') { '¿' } else { c }).collect()
}

/// A user's text between backticks: short, and harmless to a terminal.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_cut_to_what_can_be_marked() {
        let source: Arc<str> = "é: 1\r\nlong: x\n".into();
        for (span, marked, line, column) in [
            (0..2, 0..2, 1, 1),
            (1..1, 0..2, 1, 1),
            (2..2, 2..3, 1, 2),
            (4..12, 4..5, 1, 4),
            (13..14, 13..14, 2, 7),
            (14..99, 14..14, 2, 8),
            (99..99, 15..15, 3, 1),
        ] {
            let diagnostic = Diagnostic::new("f.yaml", &source, span.clone(), "m");
            assert_eq!(
                (diagnostic.span.clone(), diagnostic.line, diagnostic.column),
                (marked, line, column),
                "{span:?}"
            );
            assert!(diagnostic.render(false).contains("f.yaml"));
        }
        let empty = Diagnostic::new("f.yaml", &"".into(), 0..0, "empty").hint("fill it");
        assert_eq!((empty.line, empty.column), (1, 1));
        assert!(empty.render(false).ends_with("= help: fill it"), "{}", empty.render(false));
    }

    #[test]
    fn shown_plain_and_in_colour() {
        let source: Arc<str> = "one: 1\ntwo: 2\n".into();
        let diagnostic =
            Diagnostic::new("f.yaml", &source, 12..13, "two is too much").label("too much").hint("less");
        assert_eq!(
            diagnostic.render(false),
            "\
error: two is too much
 --> f.yaml:2:6
  |
2 | two: 2
  |      ^ too much
  |
  = help: less"
        );
        let coloured = diagnostic.render(true);
        assert!(coloured.contains("\u{1b}[") && coloured.contains("too much"));
        let file = Diagnostic::whole_file("f.yaml", "cannot read");
        assert_eq!(file.to_string(), "f.yaml: cannot read");
        let both = render_all(&[diagnostic, file], false);
        assert!(both.ends_with("= help: less\n\nerror: cannot read\n--> f.yaml"), "{both}");
    }

    #[test]
    fn near_misses_are_recognised() {
        for (typed, meant) in [
            ("one_way_dealy", Some("one_way_delay")),
            ("delay", None),
            ("los", Some("loss")),
            ("Loss", Some("loss")),
            ("rtae", Some("rate")),
            ("", None),
            ("bandwidth", None),
        ] {
            assert_eq!(did_you_mean(typed, ["one_way_delay", "loss", "rate"]), meant, "{typed}");
        }
        let names = ["ar1", "ar2", "ar3", "core"].into_iter();
        assert_eq!(suggest_name("ar9", names.clone()).unwrap(), "there are `ar1` to `ar3`");
        assert_eq!(suggest_name("cor", names.clone()).unwrap(), "did you mean `core`?");
        assert_eq!(suggest_name("server", names), None);
    }

    #[test]
    fn quoted_text_is_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m"), "`a\\u{1b}[31m`");
        assert_eq!(quote(&"x".repeat(50)), format!("`{}…`", "x".repeat(40)));
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(one_of(&["a"]), "`a`");
    }
}
