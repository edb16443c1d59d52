//! A YAML file as a tree in which every scalar knows the bytes that it is written in.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's events are non-exhaustive"
)]

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::EditError;

/// Deepest nesting that is followed.
const DEPTH: usize = 64;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    Mapping(Vec<(Self, Self)>),
    Sequence(Vec<Self>),
    /// `*name`, on this line.
    Alias(usize),
}

/// A scalar and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    /// Its text, escapes resolved.
    pub(super) text: String,
    pub(super) style: ScalarStyle,
    /// Bytes of the file, with the quotes.
    pub(super) bytes: Range<usize>,
    /// Line, from 1.
    pub(super) line: usize,
}

impl Node {
    /// The value of a key, if the key is there once.
    pub(super) fn get(&self, wanted: &str) -> Option<&Self> {
        let Self::Mapping(entries) = self else {
            return None;
        };
        let mut found = entries.iter().filter(|(key, _)| key.is(wanted));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(scalar) => Some(&scalar.text),
            Self::Mapping(_) | Self::Sequence(_) | Self::Alias(_) => None,
        }
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.text() == Some(text)
    }
}

/// The parser that every look at a file uses.
pub(super) fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    let mut options = granit_parser::options! {};
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

/// Reads all documents of a file.
pub(super) fn documents(file: &str, text: &str) -> Result<Vec<Node>, EditError> {
    let mut reader = Reader {
        file,
        parser: parser(text),
    };
    let mut found = Vec::new();
    loop {
        match reader.next()? {
            Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {}
            None | Some((Event::StreamEnd, _)) => return Ok(found),
            Some((event, span)) => found.push(reader.node(event, span, DEPTH)?),
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, EditError> {
        self.parser
            .next()
            .transpose()
            .map_err(|error| EditError::Syntax {
                file: self.file.to_owned(),
                line: error.marker().line(),
                column: error.marker().col() + 1,
                reason: error.info().clone(),
            })
    }

    /// Reads the rest of the value that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, EditError> {
        let line = span.start.line();
        let Some(depth) = depth.checked_sub(1) else {
            let file = self.file.to_owned();
            return Err(EditError::TooDeep { file, line });
        };
        match event {
            Event::Scalar(text, style, ..) => Ok(Node::Scalar(Scalar {
                text: text.into_owned(),
                style,
                bytes: span.byte_range().unwrap_or_default(),
                line,
            })),
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                while let Some((event, span)) = self.next()? {
                    if event == Event::MappingEnd {
                        break;
                    }
                    let key = self.node(event, span, depth)?;
                    let Some((event, span)) = self.next()? else {
                        break;
                    };
                    entries.push((key, self.node(event, span, depth)?));
                }
                Ok(Node::Mapping(entries))
            }
            Event::SequenceStart(..) => {
                let mut elements = Vec::new();
                while let Some((event, span)) = self.next()? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    elements.push(self.node(event, span, depth)?);
                }
                Ok(Node::Sequence(elements))
            }
            _ => Ok(Node::Alias(line)),
        }
    }
}
