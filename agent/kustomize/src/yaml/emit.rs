//! JSON values to YAML, byte for byte as go-yaml v2 writes them.
//!
//! kustomize prints every object through JSON, so the input is a JSON value: keys come out
//! sorted, and the layout follows from the values alone. The rules are those of libyaml's emitter
//! with go-yaml's settings: indent 2, lists not indented under their key, width 80.

use serde_json::Value;

use self::key_order::key_order;
use self::shape::{Position, Shape, Style, is_break, is_printable, style};
use super::json::go_float;
use super::node::{self, Layout, Node};

mod key_order;
mod shape;

/// Columns after which a blank turns into a line break in objects; texts inside texts never break.
const WIDTH: usize = 80;
/// Keys longer than this are written with `? `.
const SIMPLE_KEY: usize = 128;

/// Whether the text of a string is written as it is, as a value in a block.
pub(crate) fn is_written_plain(text: &str) -> bool {
    style(text, &Shape::of(text), Position::Value) == Style::Plain
}

/// Writes one document, ending in a line feed.
pub(crate) fn document(value: &Value, out: &mut String) {
    Writer {
        out,
        column: 0,
        width: WIDTH,
    }
    .document(value);
}

/// Writes a tree as it was read, keys in reading order and scalars in their quotes, for texts
/// inside texts.
pub(crate) fn ordered(node: &Node) -> String {
    let mut out = String::new();
    Writer {
        out: &mut out,
        column: 0,
        width: usize::MAX,
    }
    .document(node);
    out
}

/// What a value is to the writer.
enum Part<'a, T> {
    Map(Vec<(&'a str, &'a T)>, Layout),
    List(&'a [T], Layout),
    /// A scalar that is written as it is.
    Verbatim(&'a str),
    Number(String),
    Text(&'a str),
    /// A string in the quotes it was written in.
    Styled(&'a str, node::Style),
}

impl<T> Part<'_, T> {
    /// Whether the value starts on a line of its own under its key.
    fn is_block(&self) -> bool {
        match self {
            Self::Map(entries, layout) => !entries.is_empty() && *layout == Layout::Block,
            Self::List(items, layout) => !items.is_empty() && *layout == Layout::Block,
            Self::Verbatim(_) | Self::Number(_) | Self::Text(_) | Self::Styled(..) => false,
        }
    }
}

/// A tree that can be written.
trait Written: Sized {
    fn part(&self) -> Part<'_, Self>;
}

impl Written for Value {
    fn part(&self) -> Part<'_, Self> {
        match self {
            Self::Null => Part::Verbatim("null"),
            Self::Bool(true) => Part::Verbatim("true"),
            Self::Bool(false) => Part::Verbatim("false"),
            Self::Number(number) => Part::Number(match number.as_f64() {
                Some(float) if number.is_f64() => go_float(float),
                _ => number.to_string(),
            }),
            Self::String(text) => Part::Text(text),
            Self::Array(items) => Part::List(items, Layout::Block),
            Self::Object(map) => {
                let mut entries: Vec<_> = map
                    .iter()
                    .map(|(key, value)| (key.as_str(), value))
                    .collect();
                // The map has the keys in byte order, which is nearly always the order wanted.
                if !entries.is_sorted_by(|(a, _), (b, _)| key_order(a, b).is_le()) {
                    entries.sort_by(|(a, _), (b, _)| key_order(a, b));
                }
                Part::Map(entries, Layout::Block)
            }
        }
    }
}

impl Written for Node {
    fn part(&self) -> Part<'_, Self> {
        match self {
            Self::Scalar(scalar) => match (scalar.tag, scalar.style) {
                (node::Tag::Str, style) => Part::Styled(&scalar.text, style),
                _ => Part::Verbatim(&scalar.text),
            },
            Self::Sequence(items) => Part::List(items, items.layout),
            Self::Mapping(map) => Part::Map(map.iter().collect(), map.layout),
        }
    }
}

struct Writer<'a> {
    out: &'a mut String,
    /// Characters written on the current line.
    column: usize,
    width: usize,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() {
            text.len()
        } else {
            text.chars().count()
        };
    }

    fn put_char(&mut self, character: char) {
        self.out.push(character);
        self.column += 1;
    }

    fn line_feed(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn indent(&mut self, indent: usize) {
        for _ in 0..indent {
            self.put_char(' ');
        }
    }

    fn document<T: Written>(&mut self, value: &T) {
        self.block(value.part(), 0);
    }

    /// Writes a value whose first line begins at the current column, which is `indent`.
    fn block<T: Written>(&mut self, part: Part<'_, T>, indent: usize) {
        match part {
            Part::Map(entries, Layout::Block) if !entries.is_empty() => {
                self.mapping(entries, indent);
            }
            Part::List(items, Layout::Block) if !items.is_empty() => self.sequence(items, indent),
            leaf @ (Part::Map(..)
            | Part::List(..)
            | Part::Verbatim(_)
            | Part::Number(_)
            | Part::Text(_)
            | Part::Styled(..)) => self.leaf(leaf, indent),
        }
    }

    fn mapping<T: Written>(&mut self, entries: Vec<(&str, &T)>, indent: usize) {
        for (number, (key, value)) in entries.into_iter().enumerate() {
            if number > 0 {
                self.indent(indent);
            }
            if key.contains('\n') || key.len() > SIMPLE_KEY {
                self.put("? ");
                self.scalar(key, indent + 2, Position::Value);
                if self.column > 0 {
                    self.line_feed();
                }
                self.indent(indent);
            } else {
                self.scalar(key, indent + 2, Position::Key);
            }
            self.put(":");
            let part = value.part();
            if !part.is_block() {
                self.put(" ");
                self.leaf(part, indent + 2);
                continue;
            }
            self.line_feed();
            // A list stands under its key, a map to the right of it.
            let inner = if matches!(part, Part::List(..)) {
                indent
            } else {
                indent + 2
            };
            self.indent(inner);
            self.block(part, inner);
        }
    }

    fn sequence<T: Written>(&mut self, items: &[T], indent: usize) {
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.indent(indent);
            }
            self.put("- ");
            self.block(item.part(), indent + 2);
        }
    }

    fn leaf<T: Written>(&mut self, part: Part<'_, T>, indent: usize) {
        self.flow(part, indent);
        if self.column > 0 {
            self.line_feed();
        }
    }

    /// Writes on the current line: scalars, empty collections, and those that were written so.
    fn flow<T: Written>(&mut self, part: Part<'_, T>, indent: usize) {
        match part {
            Part::Map(entries, _) => {
                self.put("{");
                for (number, (key, value)) in entries.into_iter().enumerate() {
                    self.put(if number > 0 { ", " } else { "" });
                    self.flow_text(key, node::Style::Plain, indent);
                    self.put(": ");
                    self.flow_item(value, indent);
                }
                self.put("}");
            }
            Part::List(items, _) => {
                self.put("[");
                for (number, item) in items.iter().enumerate() {
                    self.put(if number > 0 { ", " } else { "" });
                    self.flow_item(item, indent);
                }
                self.put("]");
            }
            Part::Verbatim(text) => self.put(text),
            Part::Number(text) => self.put(&text),
            Part::Text(text) | Part::Styled(text, node::Style::Plain) => {
                self.scalar(text, indent, Position::Value);
            }
            Part::Styled(text, style) => self.styled(text, style, indent),
        }
    }

    fn flow_item<T: Written>(&mut self, item: &T, indent: usize) {
        match item.part() {
            Part::Text(text) => self.flow_text(text, node::Style::Plain, indent),
            Part::Styled(text, style) => self.flow_text(text, style, indent),
            part @ (Part::Map(..) | Part::List(..) | Part::Verbatim(_) | Part::Number(_)) => {
                self.flow(part, indent);
            }
        }
    }

    /// A string inside brackets, where more characters mean something.
    fn flow_text(&mut self, text: &str, style: node::Style, indent: usize) {
        let special = text.contains([',', '?', '[', ']', '{', '}', ':']) || text.is_empty();
        match style {
            node::Style::Plain if special && !text.contains('\n') => {
                self.styled(text, node::Style::Single, indent);
            }
            node::Style::Plain => self.scalar(text, indent, Position::Key),
            node::Style::Literal | node::Style::Folded => {
                self.styled(text, node::Style::Double, indent);
            }
            node::Style::Single | node::Style::Double | node::Style::Tagged => {
                self.styled(text, style, indent);
            }
        }
    }

    /// A string in quotes of its own, as far as its characters allow.
    fn styled(&mut self, text: &str, style: node::Style, indent: usize) {
        let shape = Shape::of(text);
        let wanted = match style {
            node::Style::Single if shape.single_allowed => Style::Single,
            node::Style::Literal | node::Style::Folded if shape.block_allowed => Style::Literal,
            node::Style::Plain
            | node::Style::Single
            | node::Style::Double
            | node::Style::Literal
            | node::Style::Folded
            | node::Style::Tagged => Style::Double,
        };
        self.write(text, wanted, indent, true);
    }

    fn scalar(&mut self, text: &str, indent: usize, position: Position) {
        let shape = Shape::of(text);
        let style = style(text, &shape, position);
        self.write(text, style, indent, position == Position::Value);
    }

    fn write(&mut self, text: &str, style: Style, indent: usize, folds: bool) {
        match style {
            Style::Plain => self.plain(text, indent, folds),
            Style::Single => self.single_quoted(text, indent, folds),
            Style::Double => self.double_quoted(text, indent, folds),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain(&mut self, text: &str, indent: usize, folds: bool) {
        if !folds || text.len() <= self.width.saturating_sub(self.column) {
            self.put(text);
            return;
        }
        let mut spaces = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let single = character == ' ' && !spaces && characters.peek() != Some(&' ');
            if single && self.column > self.width {
                self.line_feed();
                self.indent(indent);
            } else {
                self.put_char(character);
            }
            spaces = character == ' ';
        }
    }

    fn single_quoted(&mut self, text: &str, indent: usize, folds: bool) {
        self.put("'");
        let mut spaces = false;
        let mut breaks = false;
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            if character == ' ' {
                let inside = at > 0 && next.is_some();
                if folds && !spaces && self.column > self.width && inside && next != Some(' ') {
                    self.line_feed();
                    self.indent(indent);
                } else {
                    self.put(" ");
                }
                spaces = true;
                continue;
            }
            if is_break(character) {
                if !breaks && character == '\n' {
                    self.line_feed();
                }
                self.write_break(character);
                breaks = true;
                continue;
            }
            if breaks {
                self.start_line(indent);
            }
            if character == '\'' {
                self.put("'");
            }
            self.put_char(character);
            spaces = false;
            breaks = false;
        }
        self.put("'");
    }

    fn double_quoted(&mut self, text: &str, indent: usize, folds: bool) {
        self.put("\"");
        let mut spaces = false;
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            if !is_printable(character)
                || is_break(character)
                || character == '"'
                || character == '\\'
            {
                self.escape(character);
                spaces = false;
            } else if character == ' ' {
                let next = characters.peek().map(|(_, next)| *next);
                if folds && !spaces && self.column > self.width && at > 0 && next.is_some() {
                    self.line_feed();
                    self.indent(indent);
                    if next == Some(' ') {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                spaces = true;
            } else {
                self.put_char(character);
                spaces = false;
            }
        }
        self.put("\"");
    }

    fn escape(&mut self, character: char) {
        let short = match character {
            '\0' => "\\0",
            '\x07' => "\\a",
            '\x08' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\x0b' => "\\v",
            '\x0c' => "\\f",
            '\r' => "\\r",
            '\x1b' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{a0}' => "\\_",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            _ => {
                let code = u32::from(character);
                let long = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.put(&long);
                return;
            }
        };
        self.put(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with(|first: char| first == ' ' || is_break(first)) {
            self.put("2");
        }
        let mut backwards = text.chars().rev();
        match (backwards.next().is_some_and(is_break), backwards.next()) {
            (false, _) => self.put("-"),
            (true, None) => self.put("+"),
            (true, Some(before)) if is_break(before) => self.put("+"),
            (true, Some(_)) => {}
        }
        self.line_feed();
        let mut breaks = true;
        for character in text.chars() {
            if is_break(character) {
                self.write_break(character);
                breaks = true;
            } else {
                if breaks {
                    self.start_line(indent);
                }
                self.put_char(character);
                breaks = false;
            }
        }
    }

    /// Indents a line of a multi-line scalar; breaks other than a line feed do not end the line
    /// for the column count of the emitter.
    fn start_line(&mut self, indent: usize) {
        self.indent(indent.saturating_sub(self.column));
    }

    fn write_break(&mut self, character: char) {
        if character == '\n' {
            self.line_feed();
        } else {
            self.out.push(character);
            self.column = 0;
        }
    }
}
