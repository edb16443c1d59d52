//! The YAML that manifests are written in, read line by line.
//!
//! Nearly every manifest keeps to a small part of YAML: maps and lists in blocks, a scalar on one
//! line or after `|`, printable ASCII. That part needs no tokens and no look ahead, and reading it
//! takes a quarter of what the general parser takes. Whatever is not certainly of this part, all
//! that is malformed or above a limit included, is left to the general parser. What is read here
//! is what the general parser would read; tests compare the two.

use smol_str::SmolStr;

use super::mapping::{Entries, Mapping};
use super::node::{Layout, Node, Scalar, Sequence, Style, Tag};
use super::parse::Document;
use super::resolve;
use crate::limits::Limits;

/// Reads a document that starts `first_line` lines into its file. `None` if the general parser
/// must have a look.
pub(super) fn read(text: &str, first_line: usize, limits: &Limits) -> Option<Document> {
    // Without a branch in the loop, so that many bytes are looked at at once.
    let is_plain = |plain, byte| plain & matches!(byte, b' '..=b'~' | b'\n');
    if !text.bytes().fold(true, is_plain) {
        return None;
    }
    let (rest, number) = match text.strip_prefix("---\n") {
        Some(rest) => (rest, 1),
        None => (text, 0),
    };
    let mut reader = Reader {
        rest,
        number,
        line: None,
        nodes: 0,
        limits,
    };
    reader.advance()?;
    let first = reader.line?;
    if first.indent > 0 || is_item(first.text) {
        return None;
    }
    let node = reader.block(0)?;
    if reader.line.is_some() {
        return None;
    }
    let line = u32::try_from(first_line + first.number).ok()?;
    Some(Document { node, line })
}

/// A line that says something: no blank line, no comment.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// Blanks in front of the text.
    indent: usize,
    /// Without blanks around it.
    text: &'a str,
    number: usize,
}

struct Reader<'a> {
    /// What comes after the present line.
    rest: &'a str,
    /// Lines passed, the present one included.
    number: usize,
    /// The present line, or what is left of it: what comes behind a dash stands for a line of its
    /// own. `None` at the end.
    line: Option<Line<'a>>,
    /// Values made so far.
    nodes: usize,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    /// Takes the next line as it is written, without its line feed.
    fn next_line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.number += 1;
        Some(line)
    }

    /// Goes to the next line that says something, or to the end.
    fn advance(&mut self) -> Option<()> {
        while let Some(line) = self.next_line() {
            let indent = blanks(line);
            let text = line.get(indent..)?.trim_end_matches(' ');
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let is_mark = text.starts_with("---") || text.starts_with("...");
            if indent == 0 && (is_mark || text.starts_with('%')) {
                return None;
            }
            let number = self.number;
            self.line = Some(Line {
                indent,
                text,
                number,
            });
            return Some(());
        }
        self.line = None;
        Some(())
    }

    /// Goes on after a scalar in a collection at `indent`. A line further to the right would go on
    /// with the scalar, or be wrong.
    fn end_scalar(&mut self, indent: usize) -> Option<()> {
        self.advance()?;
        let ends = self.line.is_none_or(|line| line.indent <= indent);
        ends.then_some(())
    }

    fn count(&mut self, depth: usize) -> Option<()> {
        self.nodes += 1;
        (self.nodes <= self.limits.nodes && depth <= self.limits.depth).then_some(())
    }

    /// The map or list that starts at the present line.
    fn block(&mut self, depth: usize) -> Option<Node> {
        let line = self.line?;
        if is_item(line.text) {
            self.sequence(line.indent, depth)
        } else {
            self.mapping(line.indent, depth)
        }
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Option<Node> {
        self.count(depth)?;
        let mut items = Vec::new();
        while let Some(line) = self.line.filter(|line| line.indent >= indent) {
            if line.indent > indent {
                return None;
            }
            if !is_item(line.text) {
                // A list may stand at the column of its key; the next key ends it.
                break;
            }
            let behind = line.text.get(1..)?;
            let gap = blanks(behind);
            let text = behind.get(gap..)?;
            if is_item(text) {
                return None;
            }
            items.push(if split_key(text).is_some() {
                let indent = indent + 1 + gap;
                self.line = Some(Line {
                    indent,
                    text,
                    ..line
                });
                self.mapping(indent, depth + 1)?
            } else if is_nothing(text) {
                self.advance()?;
                match self.line {
                    Some(next) if next.indent > indent => self.block(depth + 1)?,
                    _ => self.nothing(depth + 1)?,
                }
            } else {
                self.scalar(text, indent, depth + 1)?
            });
        }
        Some(Node::Sequence(Sequence::new(items, Layout::Block)))
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Option<Node> {
        self.count(depth)?;
        let mut map = Entries::default();
        while let Some(line) = self.line.filter(|line| line.indent >= indent) {
            if line.indent > indent {
                return None;
            }
            let (key, text) = split_key(line.text)?;
            if map.contains(key) || resolve::tag_of(key) != Tag::Str {
                return None;
            }
            let value = if is_nothing(text) {
                self.advance()?;
                match self.line {
                    Some(next) if next.indent > indent => self.block(depth + 1)?,
                    Some(next) if next.indent == indent && is_item(next.text) => {
                        self.sequence(indent, depth + 1)?
                    }
                    _ => self.nothing(depth + 1)?,
                }
            } else {
                self.scalar(text, indent, depth + 1)?
            };
            map.push(key.into(), value);
        }
        Some(Node::Mapping(map.into_mapping(Layout::Block)))
    }

    /// The value that is not there.
    fn nothing(&mut self, depth: usize) -> Option<Node> {
        self.count(depth)?;
        Some(scalar("", Tag::Null, Style::Plain))
    }

    /// The scalar or empty collection that stands on the present line, in a collection at
    /// `indent`.
    fn scalar(&mut self, text: &'a str, indent: usize, depth: usize) -> Option<Node> {
        self.count(depth)?;
        let node = match text.as_bytes() {
            [b'"', ..] => scalar(quoted(text, '"')?, Tag::Str, Style::Double),
            [b'\'', ..] => scalar(quoted(text, '\'')?, Tag::Str, Style::Single),
            b"{}" => {
                let mut map = Mapping::new();
                map.layout = Layout::Flow;
                Node::Mapping(map)
            }
            b"[]" => Node::Sequence(Sequence::new(Vec::new(), Layout::Flow)),
            [b'|', chomping @ ..] => self.literal(Chomping::of(chomping)?, indent)?,
            [b'-']
            | [b'-', b' ', ..]
            | [
                b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'>' | b'%' | b'@'
                | b'`' | b'?' | b':',
                ..,
            ] => return None,
            _ => {
                let text = plain(text)?;
                scalar(text, resolve::tag_of(text), Style::Plain)
            }
        };
        if node
            .text()
            .is_some_and(|text| text.len() > self.limits.scalar_bytes)
        {
            return None;
        }
        self.end_scalar(indent)?;
        Some(node)
    }

    /// The lines behind `|`: all that stand further to the right than the collection at `indent`.
    fn literal(&mut self, chomping: Chomping, indent: usize) -> Option<Node> {
        let mut text = String::new();
        // Blanks in front of each line, known from the first.
        let mut margin = None;
        let mut empty = 0;
        while !self.rest.is_empty() {
            let (rest, number) = (self.rest, self.number);
            let line = self.next_line()?;
            let blanks = blanks(line);
            if blanks == line.len() {
                // Blanks beyond the margin would be a part of the text.
                if blanks > margin.unwrap_or(0) {
                    return None;
                }
                empty += 1;
                continue;
            }
            if blanks <= indent {
                (self.rest, self.number) = (rest, number);
                break;
            }
            let margin = *margin.get_or_insert(blanks);
            // A last line without a line feed has rules of its own.
            if blanks < margin || (self.rest.is_empty() && !rest.ends_with('\n')) {
                return None;
            }
            text.extend(std::iter::repeat_n('\n', std::mem::take(&mut empty)));
            text.push_str(line.get(margin..)?);
            text.push('\n');
        }
        margin?;
        match chomping {
            Chomping::Strip => {
                text.pop();
            }
            Chomping::Clip => {}
            Chomping::Keep => text.extend(std::iter::repeat_n('\n', empty)),
        }
        Some(scalar(&text, Tag::Str, Style::Literal))
    }
}

/// What becomes of the line feeds at the end of a text behind `|`.
#[derive(Clone, Copy)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

impl Chomping {
    fn of(indicators: &[u8]) -> Option<Self> {
        match indicators {
            b"" => Some(Self::Clip),
            b"-" => Some(Self::Strip),
            b"+" => Some(Self::Keep),
            _ => None,
        }
    }
}

fn scalar(text: &str, tag: Tag, style: Style) -> Node {
    let text = SmolStr::from(text);
    let alias = None;
    Node::Scalar(Scalar {
        text,
        tag,
        style,
        alias,
    })
}

/// Number of blanks at the start.
fn blanks(text: &str) -> usize {
    text.bytes().take_while(|byte| *byte == b' ').count()
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// Whether nothing but perhaps a comment stands behind a colon or dash.
fn is_nothing(text: &str) -> bool {
    text.is_empty() || text.starts_with('#')
}

/// The key of a line, and what comes behind the colon and the blanks.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let is_first =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'$');
    let bytes = line.as_bytes();
    if !bytes.first().is_some_and(is_first) {
        return None;
    }
    let is_inner = |byte: &&u8| is_first(byte) || **byte == b'-';
    let end = bytes.iter().take_while(is_inner).count();
    let behind = line.get(end..)?.strip_prefix(':')?;
    let gap = blanks(behind);
    // A colon that nothing separates from what follows is a part of a scalar.
    (gap > 0 || behind.is_empty()).then_some((line.get(..end)?, behind.get(gap..)?))
}

/// The text of a plain scalar, without the comment behind it.
fn plain(text: &str) -> Option<&str> {
    let mut before = b' ';
    let mut end = text.len();
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b':' if bytes.peek().is_none_or(|(_, next)| *next == b' ') => return None,
            b'#' if before == b' ' => {
                end = at;
                break;
            }
            _ => before = byte,
        }
    }
    Some(text.get(..end)?.trim_end_matches(' '))
}

/// The text between quotes that needs no rewriting, if at most a comment comes behind it.
fn quoted(text: &str, quote: char) -> Option<&str> {
    let (inside, behind) = text.get(1..)?.split_once(quote)?;
    let is_over = behind.is_empty()
        || (behind.starts_with(' ') && is_nothing(behind.trim_start_matches(' ')));
    (is_over && !(quote == '"' && inside.contains('\\'))).then_some(inside)
}
