//! From YAML text to typed values with positions: limits for hostile input, and errors as diagnostics.

use crate::diagnostic::{Diagnostic, did_you_mean, one_of, quote};
use crate::units::InvalidValue;
use annotate_snippets::normalize_untrusted_str;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_yaml::{Error, Location, MessageFormatter, Spanned, UserMessageFormatter, budget::BudgetBreach};
use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Bytes in a file at most.
const MAX_BYTES: usize = 1 << 20;
/// Said of two errors of the parser's.
const TOO_DEEP: &str = "nested too deeply: no file of this kind has more than a few levels";
/// Errors shown at most; who makes more will not read them.
const MAX_ERRORS: usize = 20;

/// A file's text and the name that messages give it.
#[derive(Clone)]
pub(crate) struct Source {
    path: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::read_at_most(path, MAX_BYTES)
    }

    /// Reads a file of so many bytes at most.
    pub(crate) fn read_at_most(path: &Path, limit: usize) -> Result<Self, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let bytes = read_regular(path, limit).map_err(|error| {
            vec![Diagnostic::whole_file(&name, format!("cannot read this file: {error}"))]
        })?;
        if bytes.len() > limit {
            return Err(too_large(&name, limit));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text: Arc<str> = String::from_utf8_lossy(error.as_bytes()).into();
            vec![Diagnostic::new(&name, &text, valid..valid, "this file is not UTF-8 text")]
        })?;
        Self::new_at_most(&name, &text, limit)
    }

    /// Takes a text for the content of `path`.
    pub(crate) fn new(path: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::new_at_most(path, text, MAX_BYTES)
    }

    /// Takes a text of so many bytes at most for the content of `path`.
    pub(crate) fn new_at_most(path: &str, text: &str, limit: usize) -> Result<Self, Vec<Diagnostic>> {
        if text.len() > limit {
            return Err(too_large(path, limit));
        }
        // The parser's positions do not count a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ok(Self { path: path.into(), text: text.into() })
    }

    /// The file's name in messages.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The file's directory, as an absolute path.
    pub(crate) fn directory(&self) -> String {
        let path = std::path::absolute(self.path()).unwrap_or_default();
        path.parent().unwrap_or(Path::new("/")).display().to_string()
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a line and a column, both from 1, the column in characters; the end, if there is none such.
    pub(crate) fn place(&self, line: usize, column: usize) -> usize {
        let line_start = match line.checked_sub(2) {
            None => 0,
            Some(newlines) => {
                self.text.match_indices('\n').nth(newlines).map_or(self.text.len(), |(index, _)| index + 1)
            }
        };
        self.text[line_start..]
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(self.text.len(), |(index, _)| line_start + index)
    }

    /// The text's one YAML document.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! {
                max_depth: 16,
                flow_nesting_limit: 16,
                max_nodes: 200_000,
                max_events: 400_000,
                max_aliases: 1_000,
                max_anchors: 1_000,
                max_recorded_anchor_events: 100_000,
                max_merge_keys: 1_000,
                max_documents: 2,
            },
            alias_limits: serde_yaml::alias_limits! {
                max_total_replayed_events: 100_000,
                max_replay_stack_depth: 8,
            },
            reject_unsupported_tags: true,
            with_snippet: false,
        };
        serde_yaml::from_str_with_options(&self.text, options)
            .map_err(|error| vec![self.parser_error(&error)])
    }

    /// An error about some bytes of the text.
    pub(crate) fn diagnostic(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.path, &self.text, span, message)
    }

    /// Whether an error is about this text.
    pub(crate) fn is_of(&self, error: &Diagnostic) -> bool {
        error.is_about(&self.text)
    }

    /// Whether it is the same text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// An error about another text, as one about some bytes of this one.
    pub(crate) fn take_over(
        &self,
        error: Diagnostic,
        span: Range<usize>,
        related: Option<Range<usize>>,
    ) -> Diagnostic {
        error.moved(&self.path, &self.text, span, related)
    }

    /// The parser's error in words for people who do not know the parser.
    fn parser_error(&self, error: &Error) -> Diagnostic {
        let location = error.location();
        let mut error = error;
        while let Error::WithSnippet { error: inner, .. } | Error::AliasError { error: inner, .. } = error {
            error = inner;
        }
        let span = location.map_or(0..0, |location| self.bytes(location));
        let found = &self.text[span.start..];
        let at = |message: String| self.diagnostic(span, message);
        match error {
            Error::SerdeUnknownField { field, expected, .. } => {
                let diagnostic = at(format!("unknown field {}, expected {}", quote(field), one_of(expected)))
                    .label("unknown field");
                match did_you_mean(field, expected.iter().copied()) {
                    Some(field) => diagnostic.hint(format!("did you mean `{field}`?")),
                    None => diagnostic,
                }
            }
            Error::SerdeMissingField { field, .. } => {
                let diagnostic =
                    at(format!("missing field `{field}`")).label(format!("`{field}` belongs beside this"));
                match example(field) {
                    Some(example) => diagnostic.hint(format!("add `{field}: {example}`")),
                    None => diagnostic,
                }
            }
            Error::DuplicateMappingKey { key, .. } => {
                at(format!("{} is defined twice", quote(key.as_deref().unwrap_or("?"))))
                    .label("defined again")
                    .hint("remove or rename one of the two")
            }
            Error::Unexpected { expected, .. } => {
                let expected = match *expected {
                    "string scalar" => "a single value",
                    "sequence start" => "a list",
                    "mapping start" => "fields with values",
                    other => other,
                };
                let found = if found.starts_with('[') || found.starts_with("- ") {
                    "a list"
                } else if found.starts_with('{') {
                    "fields with values"
                } else if expected == "a single value" {
                    "something else"
                } else {
                    "a single value"
                };
                at(format!("expected {expected}, found {found}")).label(format!("expected {expected}"))
            }
            Error::NullIntoString { .. } => {
                at("a value is missing".to_owned()).label("empty").hint("write one, or remove the field")
            }
            Error::MultipleDocuments { .. } => at("the file has more than one YAML document".to_owned())
                .hint("remove the line `---` and what follows, or put it in another file"),
            Error::UnknownAnchor { .. } => at("alias of an anchor that is not defined above".to_owned())
                .hint("define it with `&name`, or quote a value that begins with `*`"),
            Error::UnsupportedTag { tag, .. } => at(format!("unknown tag {}", quote(tag)))
                .hint("remove it, or quote a value that begins with `!`"),
            Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => at(TOO_DEEP.to_owned()),
            Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => {
                at("the file is too large or too complex".to_owned())
                    .hint("at most 200000 values, 1000 anchors and 1000 aliases")
            }
            Error::ExternalMessage { msg, .. } if msg.contains("recursion limit") => at(TOO_DEEP.to_owned()),
            Error::ExternalMessage { msg, .. } => {
                let diagnostic = at(format!("invalid YAML: {}", normalize_untrusted_str(msg)));
                if msg.starts_with("mapping values are not allowed") {
                    diagnostic.hint("check the indentation, and quote a value that contains `: `")
                } else if msg.contains("bracket") || msg.contains("flow") {
                    diagnostic.hint("each `{` needs its `}`, each `[` its `]`, with commas between the parts")
                } else if msg.contains("block") {
                    diagnostic.hint("check the indentation: what belongs together begins in the same column")
                } else {
                    diagnostic
                }
            }
            other => at(normalize_untrusted_str(&UserMessageFormatter.format_message(other))),
        }
    }

    /// The bytes that a location of the parser's means; scanner errors have no byte offsets, so they are found by
    /// line and column.
    fn bytes(&self, location: Location) -> Range<usize> {
        if let (Some(start), Some(len)) = (location.span().byte_offset(), location.span().byte_len()) {
            return start as usize..(start + len) as usize;
        }
        let start = self.place(location.line() as usize, location.column() as usize);
        start..start
    }
}

/// What to write for a field that must be there.
fn example(field: &str) -> Option<&'static str> {
    Some(match field {
        "between" => "[ar1, ar2]",
        "count" | "width" | "height" => "4",
        "graphml" => "backbone.graphml",
        "interval" => "200ms",
        "kind" => "access_router",
        "link" | "server_link" => "{ one_way_delay: 2ms }",
        "one_way_delay" => "2ms",
        "timeline" => "[{ handoff: { count: 20, interval: 200ms } }]",
        "topology" => "../topologies/line.yaml",
        _ => return None,
    })
}

/// Up to one byte more than `limit` of a file. What is no regular file is not even opened: to open a FIFO
/// blocks, and to read a device has effects. Neither is what has no size, as the files of /proc: to read
/// some of them blocks, too.
fn read_regular(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    if metadata.len() > 0 {
        std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn too_large(path: &str, limit: usize) -> Vec<Diagnostic> {
    let message = format!("this file is larger than {} MiB", limit >> 20);
    vec![Diagnostic::whole_file(path, message).hint("is it the right file?")]
}

/// Where a value is in the text, in bytes; for an alias, the alias.
pub(crate) fn span<T>(value: &Spanned<T>) -> Range<usize> {
    let span = value.referenced.span();
    let start = span.byte_offset().unwrap_or(0) as usize;
    start..start + span.byte_len().unwrap_or(0) as usize
}

/// From the first of the values to the last.
pub(crate) fn span_of_all<T>(values: &Spanned<Vec<Spanned<T>>>) -> Range<usize> {
    match (values.value.first(), values.value.last()) {
        (Some(first), Some(last)) => span(first).start..span(last).end,
        _ => span(values),
    }
}

/// A scalar with its position. A bad one does not end the parsing, so that all bad ones are reported together.
pub(crate) type Value<T> = Spanned<Parsed<T>>;

/// What became of a scalar's text.
pub(crate) struct Parsed<T>(Result<T, InvalidValue>);

impl<'de, T: FromStr<Err = InvalidValue>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.parse()))
    }
}

/// A mapping with free names for fields, in the file's order.
pub(crate) struct Entries<T>(pub(crate) Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names with fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Entries<T>, E> {
                Ok(Entries::default())
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> FromStr for Whole<MIN, MAX> {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let hint = format!("write a whole number from {MIN} to {MAX}");
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidValue { message: format!("{} is not a whole number", quote(text)), hint });
        }
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(InvalidValue { message: format!("{} is out of range", quote(text)), hint }),
        }
    }
}

/// A value that is one of a few words.
pub(crate) trait Keyword: Copy + 'static {
    /// What the word says, with its article.
    const WHAT: &'static str;
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of a few words.
#[derive(Clone, Copy)]
pub(crate) struct Word<T>(pub(crate) T);

impl<T: Keyword> FromStr for Word<T> {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some(&(_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(Self(value));
        }
        let words: Vec<_> = T::WORDS.iter().map(|&(word, _)| word).collect();
        Err(InvalidValue {
            message: format!("{} is not {}", quote(text), T::WHAT),
            hint: match did_you_mean(text, words.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("write {}", one_of(&words)),
            },
        })
    }
}

impl Keyword for bool {
    const WHAT: &'static str = "true or false";
    const WORDS: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}

/// The name of a lab or an experiment.
#[derive(Clone)]
pub(crate) struct Title(pub(crate) String);

impl Title {
    /// Characters at most.
    pub(crate) const LONGEST: usize = 32;
}

impl FromStr for Title {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.starts_with('-') || text.len() > Self::LONGEST || !text.bytes().all(valid)
        {
            return Err(InvalidValue {
                message: format!("{} is not a name", quote(text)),
                hint: format!("write at most {} of a-z, 0-9 and `-`", Self::LONGEST),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

/// The errors of one file, collected.
pub(crate) struct Errors {
    source: Source,
    list: Vec<Diagnostic>,
    more: usize,
}

impl Errors {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, list: Vec::new(), more: 0 }
    }

    /// Whether no more are shown, so that it is enough to count them.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() == MAX_ERRORS
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds an error; `complete` adds label and hint, and runs only if the error will be shown.
    pub(crate) fn report(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        complete: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.list.push(complete(self.source.diagnostic(span, message)));
        }
    }

    /// A scalar's value; a bad one is reported.
    pub(crate) fn value<T: Clone>(&mut self, value: &Value<T>) -> Option<T> {
        match &value.value.0 {
            Ok(parsed) => Some(parsed.clone()),
            Err(invalid) => {
                self.report(span(value), &invalid.message, |error| error.hint(&invalid.hint));
                None
            }
        }
    }

    /// A scalar's value, or the default; a bad one is reported.
    pub(crate) fn value_or<T: Clone>(&mut self, value: Option<&Value<T>>, default: T) -> T {
        value.and_then(|value| self.value(value)).unwrap_or(default)
    }

    /// The file's own name for what it describes, or else the name of the file.
    pub(crate) fn title(&mut self, given: Option<&Value<Title>>) -> String {
        if let Some(given) = given {
            return self.value(given).map_or_else(String::new, |title| title.0);
        }
        let stem = Path::new(self.source.path()).file_stem().unwrap_or_default().to_string_lossy();
        match stem.parse::<Title>() {
            Ok(title) => title.0,
            Err(invalid) => {
                let message = format!("no `name`, and the file's own will not do: {}", invalid.message);
                self.report(0..0, message, |error| {
                    error.hint(format!("add a line `name: …` ({})", invalid.hint))
                });
                String::new()
            }
        }
    }

    /// All of them, in the order of the text.
    pub(crate) fn into_list(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|error| error.span.start);
        if self.more > 0 {
            self.list
                .push(Diagnostic::whole_file(self.source.path(), format!("and {} more errors", self.more)));
        }
        self.list
    }
}
