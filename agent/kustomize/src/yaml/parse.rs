//! Text to trees.
//!
//! The event parser is `granit-parser`; this module adds what kustomize's readers do on top: how
//! a stream is cut into documents, which type a scalar has, how aliases and `<<` are expanded,
//! and what happens to a repeated key. Every allocation it makes is bounded by [`Limits`].

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's events are non-exhaustive"
)]

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, StructureStyle, Tag as SourceTag};
use smol_str::SmolStr;

use super::manifest;
use super::mapping::{Entries, Mapping};
use super::node::{Layout, Node, Scalar, Sequence, Style, Tag};
use super::resolve;
use crate::error::{Place, RenderError};
use crate::limits::Limits;

/// Whose rules a text is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Resources and patches (go-yaml v3): a repeated key and a key that is no string are errors.
    Resource,
    /// Kustomization files and JSON patches (go-yaml v2 by way of JSON): `yes` and `on` are
    /// booleans, the last of repeated keys wins, every key becomes a string.
    Configuration,
}

/// A document and where it starts.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) node: Node,
    /// Line of the first value, counted from 1.
    pub(crate) line: u32,
}

/// Reads every document of a resource file. Empty documents are left out.
pub(crate) fn documents(
    text: &str,
    file: &str,
    limits: &Limits,
) -> Result<Vec<Document>, RenderError> {
    let unix;
    let text = if text.contains("\r\n") {
        unix = text.replace("\r\n", "\n");
        unix.as_str()
    } else {
        text
    };
    let mut found = Vec::new();
    for chunk in split(text, file)? {
        let document = match manifest::read(chunk.text, chunk.first_line, limits) {
            Some(document) => Some(document),
            None => general(chunk, file, limits)?,
        };
        found.extend(document);
        if found.len() > limits.objects {
            return Err(Limits::exceeded(
                "documents in one file",
                limits.objects,
                file,
            ));
        }
    }
    Ok(found)
}

/// Reads a document of any form.
fn general(chunk: Chunk<'_>, file: &str, limits: &Limits) -> Result<Option<Document>, RenderError> {
    Reader::new(chunk, file, Dialect::Resource, limits).read()
}

/// Reads the first document of a text; `None` if the text holds nothing.
pub(crate) fn single(
    text: &str,
    file: &str,
    dialect: Dialect,
    limits: &Limits,
) -> Result<Option<Document>, RenderError> {
    Reader::new(
        Chunk {
            text,
            first_line: 0,
        },
        file,
        dialect,
        limits,
    )
    .read()
}

/// Finds the place of the value at `path`, for the error of a decoder that only knows the path.
pub(crate) fn locate(text: &str, file: &str, path: &[String]) -> Option<Place> {
    let mut events = parser(text);
    let mut pending = path;
    let mut place = None;
    // Walks into the collection that holds the next step, skipping the values beside it.
    while let Some(Ok((event, span))) = events.next() {
        let at = || Place::new(file, text, span.start.line(), span.start.col() + 1);
        match event {
            Event::MappingStart(..) => {
                let Some((step, rest)) = pending.split_first() else {
                    return Some(at());
                };
                loop {
                    let (Event::Scalar(key, ..), key_span) = events.next()?.ok()? else {
                        return place;
                    };
                    if key.eq_ignore_ascii_case(step) {
                        place = Some(Place::new(
                            file,
                            text,
                            key_span.start.line(),
                            key_span.start.col() + 1,
                        ));
                        break;
                    }
                    skip(&mut events)?;
                }
                pending = rest;
                if pending.is_empty() {
                    return place;
                }
            }
            Event::SequenceStart(..) => {
                let Some((step, rest)) = pending.split_first() else {
                    return Some(at());
                };
                for _ in 0..step.parse::<usize>().ok()? {
                    skip(&mut events)?;
                }
                pending = rest;
            }
            Event::Scalar(..) if pending.is_empty() => return Some(at()),
            Event::StreamStart | Event::DocumentStart(..) => {}
            _ => return place,
        }
    }
    place
}

/// Passes over one value.
fn skip<'a>(events: &mut Parser<'a, StrInput<'a>>) -> Option<()> {
    let mut depth = 0_usize;
    loop {
        match events.next()?.ok()?.0 {
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => depth = depth.checked_sub(1)?,
            Event::Scalar(..) | Event::Alias(_) => {}
            _ => continue,
        }
        if depth == 0 {
            return Some(());
        }
    }
}

fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    let mut options = granit_parser::options! { block_scalar_eof_without_line_feed: true };
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

/// A part of a file that holds one document.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    text: &'a str,
    /// Lines of the file before the part.
    first_line: usize,
}

/// Cuts a stream at lines that start with `---`, as kyaml does: what follows on such a line may
/// only be a comment.
fn split<'a>(text: &'a str, file: &str) -> Result<Vec<Chunk<'a>>, RenderError> {
    let mut chunks = Vec::new();
    let mut rest = text;
    let mut first_line = 0;
    let mut searched = 0;
    while let Some(found) = rest.get(searched..).and_then(|tail| tail.find("\n---")) {
        let start = searched + found;
        let after = rest.get(start + 4..).unwrap_or_default();
        let Some(line_end) = after.find('\n') else {
            break;
        };
        let (separator, tail) = after.split_at(line_end);
        let said = separator.trim();
        let before = rest.get(..=start).unwrap_or_default();
        let lines = before.matches('\n').count();
        if !said.is_empty() && !said.starts_with('#') {
            return Err(
                RenderError::invalid(format!("invalid document separator ---{separator}"))
                    .at(Place::new(file, text, first_line + lines + 1, 1))
                    .hint("put the content of a document on the line after ---"),
            );
        }
        chunks.push(Chunk {
            text: before,
            first_line,
        });
        first_line += lines + 1;
        // The line feed that ends the separator may start the next one.
        rest = tail.get(1..).unwrap_or_default();
        searched = 0;
    }
    chunks.push(Chunk {
        text: rest,
        first_line,
    });
    Ok(chunks)
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    chunk: Chunk<'a>,
    file: &'a str,
    dialect: Dialect,
    limits: &'a Limits,
    anchors: HashMap<usize, (Node, usize)>,
    /// Values made so far, those that an alias repeats included.
    nodes: usize,
}

type Next<'a> = (Event<'a>, Span);

impl<'a> Reader<'a> {
    fn new(chunk: Chunk<'a>, file: &'a str, dialect: Dialect, limits: &'a Limits) -> Self {
        Self {
            events: parser(chunk.text),
            chunk,
            file,
            dialect,
            limits,
            anchors: HashMap::new(),
            nodes: 0,
        }
    }

    fn read(mut self) -> Result<Option<Document>, RenderError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => continue,
                Event::StreamEnd | Event::DocumentEnd => return Ok(None),
                _ => {}
            }
            let line = self.chunk.first_line + span.start.line();
            let node = self.value((event, span), 0)?;
            // What follows in the chunk is not read: kustomize decodes once.
            let line = u32::try_from(line).unwrap_or(0);
            return Ok((!node.is_null()).then_some(Document { node, line }));
        }
    }

    fn place(&self, span: &Span) -> Place {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        Place::new(self.file, self.chunk.text, line, column).shifted(self.chunk.first_line)
    }

    fn next(&mut self) -> Result<Next<'a>, RenderError> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => {
                let mark = error.marker();
                let place = Place::new(self.file, self.chunk.text, mark.line(), mark.col() + 1)
                    .shifted(self.chunk.first_line);
                Err(RenderError::malformed(error.info()).at(place))
            }
        }
    }

    fn layout(&self, style: StructureStyle) -> Layout {
        match (self.dialect, style) {
            (Dialect::Resource, StructureStyle::Flow) => Layout::Flow,
            // Configuration is never written as YAML again.
            (Dialect::Configuration, StructureStyle::Flow) | (_, StructureStyle::Block) => {
                Layout::Block
            }
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), RenderError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.nodes {
            return Err(Limits::exceeded(
                "values in one document",
                self.limits.nodes,
                self.file,
            ));
        }
        Ok(())
    }

    fn value(&mut self, (event, span): Next<'a>, depth: usize) -> Result<Node, RenderError> {
        if depth > self.limits.depth {
            return Err(
                Limits::exceeded("levels of nesting", self.limits.depth, self.file)
                    .at(self.place(&span)),
            );
        }
        let before = self.nodes;
        self.count(1)?;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                // The parser shows nothing as `~`; what is not written has no text.
                let text = if style == ScalarStyle::Plain && span.is_empty() {
                    String::new()
                } else {
                    text.into_owned()
                };
                (Node::Scalar(self.scalar(text, style, tag, &span)?), anchor)
            }
            Event::SequenceStart(style, anchor, _) => (
                Node::Sequence(Sequence::new(self.sequence(depth)?, self.layout(style))),
                anchor,
            ),
            Event::MappingStart(style, anchor, _) => (
                Node::Mapping(self.mapping(depth, self.layout(style))?),
                anchor,
            ),
            Event::Alias(id) => {
                let Some((node, nodes)) = self.anchors.get(&id) else {
                    return Err(
                        RenderError::malformed("an alias inside the value that it names")
                            .at(self.place(&span)),
                    );
                };
                let (node, nodes) = (node.clone(), *nodes);
                self.count(nodes)?;
                (node, 0)
            }
            _ => {
                return Err(RenderError::malformed("unexpected end").at(self.place(&span)));
            }
        };
        if anchor != 0 {
            self.anchors
                .insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, RenderError> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.value(next, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize, layout: Layout) -> Result<Mapping, RenderError> {
        let mut map = Entries::default();
        let mut merged = None;
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => {
                    if merged.is_some() {
                        return Err(
                            RenderError::malformed("duplicate merge key").at(self.place(&span))
                        );
                    }
                    let next = self.next()?;
                    merged = Some((self.value(next, depth + 1)?, span));
                    continue;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let scalar = self.scalar(text.into_owned(), style, tag.as_deref(), &span)?;
                    if anchor != 0 {
                        self.anchors
                            .insert(anchor, (Node::Scalar(scalar.clone()), 1));
                    }
                    self.key(scalar, &span)?
                }
                Event::Alias(id) => match self.anchors.get(&id) {
                    Some((Node::Scalar(scalar), _)) => self.key(scalar.clone(), &span)?,
                    _ => {
                        return Err(RenderError::malformed("a map key must be a scalar")
                            .at(self.place(&span)));
                    }
                },
                _ => {
                    return Err(
                        RenderError::malformed("a map key must be a scalar").at(self.place(&span))
                    );
                }
            };
            if map.contains(&key) && self.dialect == Dialect::Resource {
                return Err(
                    RenderError::malformed(format!("key {key:?} is already in this map"))
                        .at(self.place(&span)),
                );
            }
            let next = self.next()?;
            let value = self.value(next, depth + 1)?;
            match map.get_mut(&key) {
                Some(known) => *known = value,
                None => map.push(key, value),
            }
        }
        if let Some((value, span)) = merged {
            self.merge(&mut map, value, &span)?;
        }
        Ok(map.into_mapping(layout))
    }

    /// `<<`: keys of the map itself win, then those of the maps in the order given.
    fn merge(&self, map: &mut Entries, value: Node, span: &Span) -> Result<(), RenderError> {
        let sources = match value {
            Node::Mapping(source) => vec![Node::Mapping(source)],
            Node::Sequence(sources) => sources.into_iter().collect(),
            Node::Scalar(_) => Vec::from([value]),
        };
        for source in sources {
            let Node::Mapping(source) = source else {
                return Err(
                    RenderError::malformed("<< needs a map or a list of maps").at(self.place(span))
                );
            };
            for (key, value) in source.into_entries() {
                if !map.contains(&key) {
                    map.push(key, value);
                }
            }
        }
        Ok(())
    }

    fn key(&self, scalar: Scalar, span: &Span) -> Result<SmolStr, RenderError> {
        match self.dialect {
            Dialect::Configuration => {
                if scalar.tag == Tag::Bool
                    && let resolve::Typed::Bool(value) = resolve::value_of_v2(&scalar.text)
                {
                    return Ok(SmolStr::new_static(if value { "true" } else { "false" }));
                }
                Ok(scalar.text)
            }
            Dialect::Resource if scalar.tag == Tag::Str => Ok(scalar.text),
            Dialect::Resource => Err(RenderError::malformed(format!(
                "key {} is {}, not a string",
                scalar.text,
                scalar.tag.name()
            ))
            .at(self.place(span))
            .hint("put the key in quotes")),
        }
    }

    fn scalar(
        &self,
        text: String,
        style: ScalarStyle,
        tag: Option<&SourceTag>,
        span: &Span,
    ) -> Result<Scalar, RenderError> {
        if text.len() > self.limits.scalar_bytes {
            return Err(Limits::exceeded(
                "bytes in one value",
                self.limits.scalar_bytes,
                self.file,
            )
            .at(self.place(span)));
        }
        let plain = style == ScalarStyle::Plain;
        let read = |text: &str| match self.dialect {
            Dialect::Resource => resolve::tag_of(text),
            // go-yaml v2 hands dates on as they are written.
            Dialect::Configuration => {
                let tag = resolve::tag_of_v2(text);
                if tag == Tag::Timestamp { Tag::Str } else { tag }
            }
        };
        let explicit = match tag.and_then(SourceTag::core_suffix) {
            Some("str") => Some(Tag::Str),
            Some("int") => Some(Tag::Int),
            Some("float") => Some(Tag::Float),
            Some("bool") => Some(Tag::Bool),
            Some("null") => Some(Tag::Null),
            Some("binary") => Some(Tag::Binary),
            Some("timestamp") => Some(Tag::Timestamp),
            _ => None,
        };
        let Some(tag) = explicit else {
            let tag = match (tag, plain) {
                // A tag of the user's own says nothing about the type: the text is a string.
                (Some(_), _) | (None, false) => Tag::Str,
                (None, true) => read(&text),
            };
            let style = match style {
                ScalarStyle::Plain => Style::Plain,
                ScalarStyle::SingleQuoted => Style::Single,
                ScalarStyle::DoubleQuoted => Style::Double,
                ScalarStyle::Literal => Style::Literal,
                ScalarStyle::Folded => Style::Folded,
            };
            return Ok(Scalar {
                text: text.into(),
                tag,
                style,
                alias: None,
            });
        };
        let found = read(&text);
        let fits = found == tag
            || matches!(tag, Tag::Str | Tag::Binary)
            || (tag == Tag::Float && found == Tag::Int);
        if !fits {
            return Err(RenderError::malformed(format!(
                "cannot read {} `{text}` as {}",
                found.name(),
                tag.name()
            ))
            .at(self.place(span)));
        }
        // The written tag, not the text, decides from here on.
        Ok(Scalar {
            text: text.into(),
            tag,
            style: Style::Tagged,
            alias: None,
        })
    }
}

#[cfg(test)]
mod tests;
