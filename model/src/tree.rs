//! YAML as a tree in which every part knows its place: values are put into a file's, and the text that comes of it is
//! read as any other, with errors where their causes are.

use crate::diagnostic::{Diagnostic, quote};
use crate::units::InvalidValue;
use crate::yaml::{Source, span};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_yaml::Spanned;
use std::fmt;
use std::ops::Range;

/// Bytes in a text that is written again, at most.
const MAX_BYTES: usize = 4 << 20;
/// Parts of a path at most; no file of ours is nested so deeply.
const MAX_PARTS: usize = 16;

/// A value of any kind.
pub(crate) enum Raw {
    /// Nothing.
    Null,
    /// A number or a truth value, as the parser understands it.
    Plain(String),
    /// Any other scalar.
    Text(String),
    /// A list.
    List(Vec<Spanned<Raw>>),
    /// Fields with values.
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Plain(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Plain(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Plain(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Plain(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Raw::Map(fields))
            }
        }

        deserializer.deserialize_any(RawVisitor)
    }
}

/// Some bytes of a file.
#[derive(Clone)]
pub(crate) struct Place {
    source: Source,
    span: Range<usize>,
}

impl Place {
    /// These bytes of `source`.
    pub(crate) fn new(source: &Source, span: Range<usize>) -> Self {
        Self { source: source.clone(), span }
    }

    /// An error about them.
    pub(crate) fn diagnostic(&self, invalid: InvalidValue) -> Diagnostic {
        self.source.diagnostic(self.span.clone(), invalid.message).hint(invalid.hint)
    }
}

/// A value with its place.
#[derive(Clone)]
pub(crate) struct Tree {
    place: Place,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Null,
    /// As it is written.
    Plain(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

#[derive(Clone)]
struct Key {
    name: String,
    place: Place,
}

impl Tree {
    /// The whole of a file.
    pub(crate) fn read(source: &Source) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self::of(source, &source.parse()?))
    }

    /// A value of a file.
    pub(crate) fn of(source: &Source, raw: &Spanned<Raw>) -> Self {
        let content = match &raw.value {
            Raw::Null => Content::Null,
            Raw::Plain(understood) => {
                // What was written may say more, as `0x10` or `1.50`.
                let start = raw.defined.span().byte_offset().unwrap_or(0) as usize;
                let end = start + raw.defined.span().byte_len().unwrap_or(0) as usize;
                let written = source.text().get(start..end).map_or("", str::trim);
                let is_plain = !written.is_empty() && !written.contains(|c: char| c.is_whitespace());
                Content::Plain(if is_plain { written.to_owned() } else { understood.clone() })
            }
            Raw::Text(text) => Content::Text(text.clone()),
            Raw::List(items) => Content::List(items.iter().map(|item| Self::of(source, item)).collect()),
            Raw::Map(fields) => {
                let field = |(key, value): &(Spanned<String>, Spanned<Raw>)| {
                    let key = Key { name: key.value.clone(), place: Place::new(source, span(key)) };
                    (key, Self::of(source, value))
                };
                Content::Map(fields.iter().map(field).collect())
            }
        };
        Self { place: Place::new(source, span(raw)), content }
    }

    /// A scalar as it is written, a list or mapping in one line; none when there is no value.
    pub(crate) fn label(&self) -> Option<String> {
        match &self.content {
            Content::Null => None,
            Content::Plain(text) | Content::Text(text) => Some(text.clone()),
            Content::List(_) | Content::Map(_) => {
                let mut writer = Writer::default();
                writer.write(self);
                Some(writer.text)
            }
        }
    }

    /// Puts a value at a path as `samp.tier1.size`, in the place of what may be there. In a list, a part of the path is
    /// an item's number, from 0, or for a link its ends, as `ar1--ar2`. `place` is where the path is written.
    pub(crate) fn put(&mut self, path: &str, place: &Place, value: Tree) -> Result<(), InvalidValue> {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() > MAX_PARTS || parts.iter().any(|part| part.is_empty()) {
            return Err(InvalidValue {
                message: format!("{} is not a knob", quote(path)),
                hint: "write its path, as samp.delta or grid.link.one_way_delay".to_owned(),
            });
        }
        let mut here = self;
        for (depth, part) in parts.iter().enumerate() {
            if matches!(here.content, Content::Null) {
                here.content = Content::Map(Vec::new());
            }
            here = match &mut here.content {
                Content::Map(fields) => {
                    let at = fields.iter().position(|(key, _)| key.name == *part).unwrap_or_else(|| {
                        let key = Key { name: (*part).to_owned(), place: place.clone() };
                        fields.push((key, Self { place: place.clone(), content: Content::Null }));
                        fields.len() - 1
                    });
                    &mut fields[at].1
                }
                Content::List(items) => {
                    let at = match part.parse::<usize>() {
                        Ok(index) => (index < items.len()).then_some(index),
                        Err(_) => items.iter().position(|item| item.is_link(part)),
                    };
                    let length = items.len();
                    let Some(item) = at.and_then(|at| items.get_mut(at)) else {
                        return Err(InvalidValue {
                            message: format!("there is no {} in this list", quote(part)),
                            hint: format!(
                                "it has {length} items, from 0; links can be named by their ends, as ar1--ar2"
                            ),
                        });
                    };
                    item
                }
                Content::Null | Content::Plain(_) | Content::Text(_) => {
                    return Err(InvalidValue {
                        message: format!("{} has no parts", quote(&parts[..depth].join("."))),
                        hint: "it is a single value".to_owned(),
                    });
                }
            };
        }
        *here = value;
        Ok(())
    }

    /// Whether it is a link between these ends.
    fn is_link(&self, ends: &str) -> bool {
        let Content::Map(fields) = &self.content else { return false };
        let between = fields.iter().find(|(key, _)| key.name == "between").map(|(_, value)| &value.content);
        let Some(Content::List(named)) = between else { return false };
        match (ends.split_once("--"), &named[..]) {
            (Some((a, b)), [one, other]) => {
                let named = [one.label(), other.label()];
                named == [a, b].map(|end| Some(end.to_owned()))
                    || named == [b, a].map(|end| Some(end.to_owned()))
            }
            _ => false,
        }
    }

    /// The text of this tree, as the content of the file `path`.
    pub(crate) fn write(&self, path: &str) -> Result<Written, Vec<Diagnostic>> {
        let mut writer = Writer::default();
        writer.write(self);
        Ok(Written { source: Source::new_at_most(path, &writer.text, MAX_BYTES)?, parts: writer.parts })
    }
}

/// A value for a knob.
#[derive(Clone)]
pub(crate) struct Setting {
    /// The knob's path.
    pub(crate) path: String,
    /// Where that is written.
    pub(crate) place: Place,
    /// The value.
    pub(crate) value: Tree,
}

/// A file's text with these settings.
pub(crate) fn rewritten<'s>(
    source: &Source,
    settings: impl IntoIterator<Item = &'s Setting>,
) -> Result<Written, Vec<Diagnostic>> {
    let mut tree = Tree::read(source)?;
    let mut errors = Vec::new();
    for Setting { path, place, value } in settings {
        if let Err(invalid) = tree.put(path, place, value.clone()) {
            errors.push(place.diagnostic(invalid));
        }
    }
    if errors.is_empty() { tree.write(source.path()) } else { Err(errors) }
}

/// Writes YAML in flow style, which is JSON but for what was plain.
#[derive(Default)]
struct Writer {
    text: String,
    /// What was written where, and whence it is; inner parts before outer ones.
    parts: Vec<(Range<usize>, Place)>,
}

impl Writer {
    fn write(&mut self, tree: &Tree) {
        let start = self.text.len();
        match &tree.content {
            Content::Null => self.text.push_str("null"),
            Content::Plain(text) => self.text.push_str(text),
            Content::Text(text) => self.quoted(text),
            Content::List(items) => {
                self.text.push('[');
                for (number, item) in items.iter().enumerate() {
                    self.separate(number);
                    self.write(item);
                }
                self.text.push(']');
            }
            Content::Map(fields) => {
                self.text.push('{');
                for (number, (key, value)) in fields.iter().enumerate() {
                    self.separate(number);
                    let start = self.text.len();
                    self.quoted(&key.name);
                    self.parts.push((start..self.text.len(), key.place.clone()));
                    self.text.push_str(": ");
                    self.write(value);
                }
                self.text.push('}');
            }
        }
        self.parts.push((start..self.text.len(), tree.place.clone()));
    }

    fn separate(&mut self, number: usize) {
        if number > 0 {
            self.text.push_str(", ");
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// A text that was written again.
pub(crate) struct Written {
    source: Source,
    parts: Vec<(Range<usize>, Place)>,
}

impl Written {
    /// The text.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Errors about the text become errors about what it was made of.
    pub(crate) fn back(&self, errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
        errors.into_iter().map(|error| self.one_back(error)).collect()
    }

    fn one_back(&self, error: Diagnostic) -> Diagnostic {
        if !self.source.is_of(&error) {
            return error;
        }
        let Some(place) = self.origin(error.span.start) else { return error };
        let related = error.related.as_ref().and_then(|related| self.origin(related.span.start));
        // A second place in another file cannot be shown beside the first.
        let related = related.filter(|related| related.source.is_same(&place.source));
        place.source.take_over(error, place.span.clone(), related.map(|related| related.span.clone()))
    }

    /// Whence the innermost part at this byte is.
    fn origin(&self, at: usize) -> Option<&Place> {
        self.parts.iter().find(|(written, _)| written.contains(&at)).map(|(_, place)| place)
    }
}
