//! Trees to YAML, byte for byte as go-yaml v2 writes them.
//!
//! kustomize prints every object through JSON, so what counts is the JSON form of a tree: keys
//! come out sorted, and the layout follows from the values alone. The rules are those of libyaml's
//! emitter with go-yaml's settings: indent 2, lists not indented under their key, width 80.

use std::borrow::Cow;

use serde_json::Value;

use self::key_order::key_order;
use self::shape::{Position, Shape, Style, is_break, is_printable, style};
use super::json;
use super::mapping::Mapping;
use super::node::{self, Layout, Node, Scalar, Tag};

mod key_order;
mod shape;

/// Columns after which a blank turns into a line break in objects; texts inside texts never break.
const WIDTH: usize = 80;
/// Keys longer than this are written with `? `.
const SIMPLE_KEY: usize = 128;

/// Whether the text of a string is written as it is, as a value in a block.
pub(crate) fn is_written_plain(text: &str) -> bool {
    style(text, Position::Value) == Style::Plain
}

/// Writes the JSON form of a tree as one document, ending in a line feed. The tree has one:
/// [`json::check`] says so.
pub(crate) fn document(node: &Node, out: &mut String) {
    Writer {
        out,
        column: 0,
        width: WIDTH,
        view: View::Values,
    }
    .document(node);
}

/// Writes a tree as it was read, keys in reading order and scalars in their quotes, for texts
/// inside texts.
pub(crate) fn ordered(node: &Node) -> String {
    let mut out = String::new();
    Writer {
        out: &mut out,
        column: 0,
        width: usize::MAX,
        view: View::AsRead,
    }
    .document(node);
    out
}

/// What is written of a tree.
#[derive(Clone, Copy, PartialEq)]
enum View {
    /// Its JSON form.
    Values,
    AsRead,
}

/// A value, and the layout of what it stands in.
#[derive(Clone, Copy)]
struct Item<'a> {
    node: &'a Node,
    around: Layout,
}

/// What a value is to the writer.
enum Part<'a> {
    Map(&'a Mapping, Layout),
    List(&'a [Node], Layout),
    /// A scalar that is written as it is.
    Verbatim(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// A string in the quotes it was written in.
    Styled(&'a str, node::Style),
}

impl Part<'_> {
    /// Whether the value starts on a line of its own under its key.
    fn is_block(&self) -> bool {
        match self {
            Self::Map(map, layout) => !map.is_empty() && *layout == Layout::Block,
            Self::List(items, layout) => !items.is_empty() && *layout == Layout::Block,
            Self::Verbatim(_) | Self::Text(_) | Self::Styled(..) => false,
        }
    }
}

impl<'a> Item<'a> {
    /// A value in this one.
    fn inner(self, node: &'a Node) -> Self {
        let layout = match self.node {
            Node::Scalar(_) => Layout::Block,
            Node::Sequence(items) => items.layout,
            Node::Mapping(map) => map.layout,
        };
        let around = self.around.or(layout);
        Self { node, around }
    }

    fn part(self, view: View) -> Part<'a> {
        let shown = |layout| match view {
            View::Values => Layout::Block,
            View::AsRead => layout,
        };
        match self.node {
            Node::Sequence(items) => Part::List(items, shown(items.layout)),
            Node::Mapping(map) => Part::Map(map, shown(map.layout)),
            Node::Scalar(scalar) => match (scalar.tag, view) {
                (Tag::Str, View::Values) => Part::Text(Cow::Borrowed(&scalar.text)),
                (_, View::Values) => self.value(scalar),
                (Tag::Str, View::AsRead) => Part::Styled(&scalar.text, scalar.style),
                (_, View::AsRead) => Part::Verbatim(Cow::Borrowed(&scalar.text)),
            },
        }
    }

    /// The JSON form of a scalar.
    fn value(self, scalar: &'a Scalar) -> Part<'a> {
        if scalar.tag == Tag::Int && is_decimal(&scalar.text) {
            return Part::Verbatim(Cow::Borrowed(&scalar.text));
        }
        match json::scalar_in(scalar, self.around) {
            Ok(Value::String(text)) => Part::Text(Cow::Owned(text)),
            Ok(Value::Number(number)) => Part::Verbatim(Cow::Owned(match number.as_f64() {
                Some(float) if number.is_f64() => json::go_float(float),
                _ => number.to_string(),
            })),
            Ok(Value::Bool(true)) => Part::Verbatim(Cow::Borrowed("true")),
            Ok(Value::Bool(false)) => Part::Verbatim(Cow::Borrowed("false")),
            // A scalar is no list and no map, and the tree was checked.
            Ok(Value::Null | Value::Array(_) | Value::Object(_)) | Err(_) => {
                Part::Verbatim(Cow::Borrowed("null"))
            }
        }
    }
}

/// Whether a number is written as JSON would write it: a few digits that do not start with zero.
fn is_decimal(text: &str) -> bool {
    const DIGITS: usize = 18;
    let bytes = text.as_bytes();
    text == "0"
        || (matches!(bytes.first(), Some(b'1'..=b'9'))
            && bytes.len() <= DIGITS
            && bytes.iter().all(u8::is_ascii_digit))
}

/// The entries of a map in the order of the output.
fn entries(map: &Mapping, view: View) -> Vec<(&str, &Node)> {
    let mut entries: Vec<_> = map.iter().collect();
    if view == View::Values {
        // The order of keys is no total order, so the result depends on the order before, which is
        // that of their bytes.
        entries.sort_unstable_by_key(|(key, _)| *key);
        if !entries.is_sorted_by(|(a, _), (b, _)| key_order(a, b).is_le()) {
            entries.sort_by(|(a, _), (b, _)| key_order(a, b));
        }
    }
    entries
}

struct Writer<'a> {
    out: &'a mut String,
    /// Characters written on the current line.
    column: usize,
    width: usize,
    view: View,
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
        const BLANKS: &str = "                                                                ";
        let mut left = indent;
        while left > 0 {
            let blanks = BLANKS.get(..left.min(BLANKS.len())).unwrap_or(BLANKS);
            self.out.push_str(blanks);
            left -= blanks.len();
        }
        self.column += indent;
    }

    fn document(&mut self, node: &Node) {
        let around = Layout::Block;
        self.block(Item { node, around }, 0);
    }

    /// Writes a value whose first line begins at the current column, which is `indent`.
    fn block(&mut self, item: Item<'_>, indent: usize) {
        let part = item.part(self.view);
        self.block_part(item, part, indent);
    }

    fn block_part(&mut self, item: Item<'_>, part: Part<'_>, indent: usize) {
        match part {
            Part::Map(map, Layout::Block) if !map.is_empty() => self.mapping(item, map, indent),
            Part::List(items, Layout::Block) if !items.is_empty() => {
                self.sequence(item, items, indent);
            }
            leaf @ (Part::Map(..)
            | Part::List(..)
            | Part::Verbatim(_)
            | Part::Text(_)
            | Part::Styled(..)) => self.leaf(item, leaf, indent),
        }
    }

    fn mapping<'n>(&mut self, item: Item<'n>, map: &'n Mapping, indent: usize) {
        for (number, (key, value)) in entries(map, self.view).into_iter().enumerate() {
            if number > 0 {
                self.indent(indent);
            }
            if key.len() > SIMPLE_KEY || key.contains('\n') {
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
            let value = item.inner(value);
            let part = value.part(self.view);
            if !part.is_block() {
                self.put(" ");
                self.leaf(value, part, indent + 2);
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
            self.block_part(value, part, inner);
        }
    }

    fn sequence<'n>(&mut self, list: Item<'n>, items: &'n [Node], indent: usize) {
        for (number, node) in items.iter().enumerate() {
            if number > 0 {
                self.indent(indent);
            }
            self.put("- ");
            self.block(list.inner(node), indent + 2);
        }
    }

    fn leaf(&mut self, item: Item<'_>, part: Part<'_>, indent: usize) {
        self.flow(item, part, indent);
        if self.column > 0 {
            self.line_feed();
        }
    }

    /// Writes on the current line: scalars, empty collections, and those that were written so.
    fn flow(&mut self, item: Item<'_>, part: Part<'_>, indent: usize) {
        match part {
            Part::Map(map, _) => {
                self.put("{");
                for (number, (key, value)) in entries(map, self.view).into_iter().enumerate() {
                    self.put(if number > 0 { ", " } else { "" });
                    self.flow_text(key, node::Style::Plain, indent);
                    self.put(": ");
                    self.flow_item(item.inner(value), indent);
                }
                self.put("}");
            }
            Part::List(items, _) => {
                self.put("[");
                for (number, node) in items.iter().enumerate() {
                    self.put(if number > 0 { ", " } else { "" });
                    self.flow_item(item.inner(node), indent);
                }
                self.put("]");
            }
            Part::Verbatim(text) => self.put(&text),
            Part::Text(text) => self.scalar(&text, indent, Position::Value),
            Part::Styled(text, node::Style::Plain) => {
                self.scalar(text, indent, Position::Value);
            }
            Part::Styled(text, style) => self.styled(text, style, indent),
        }
    }

    fn flow_item(&mut self, item: Item<'_>, indent: usize) {
        match item.part(self.view) {
            Part::Text(text) => self.flow_text(&text, node::Style::Plain, indent),
            Part::Styled(text, style) => self.flow_text(text, style, indent),
            part @ (Part::Map(..) | Part::List(..) | Part::Verbatim(_)) => {
                self.flow(item, part, indent);
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
        let style = style(text, position);
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
        let stands_for_itself =
            |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\');
        if text.bytes().all(stands_for_itself) {
            self.put(text);
            self.put("\"");
            return;
        }
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
