//! In which style a scalar can be written.

use crate::yaml::resolve;

/// Whether a scalar is a key or a value.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Position {
    Key,
    Value,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// Whether a text is one of the words that manifests are full of: characters that never need a
/// look at their neighbours, and no blank to break the line at. Only the type that such a text
/// would be read as can put it in quotes.
fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts = match bytes.first() {
        Some(b'-' | b'.') => {
            bytes.len() > 1 && !text.starts_with("---") && !text.starts_with("...")
        }
        first => first.is_some(),
    };
    starts
        && !text.ends_with(':')
        && bytes.iter().all(|byte| {
            matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'/' | b':' | b'_' | b'=')
        })
}

/// The style that go-yaml gives a string.
pub(super) fn style(text: &str, position: Position) -> Style {
    if is_word(text) {
        return if resolve::needs_quotes(text) {
            Style::Double
        } else {
            Style::Plain
        };
    }
    let shape = Shape::of(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if resolve::needs_quotes(text) {
        Style::Double
    } else {
        Style::Plain
    };
    let wanted = if position == Position::Key && shape.multiline {
        Style::Double
    } else {
        wanted
    };
    let wanted = if wanted == Style::Plain && !shape.plain_allowed {
        Style::Single
    } else {
        wanted
    };
    let allowed = match wanted {
        Style::Plain | Style::Double => true,
        Style::Single => shape.single_allowed,
        Style::Literal => shape.block_allowed && position == Position::Value,
    };
    if allowed { wanted } else { Style::Double }
}

/// What libyaml's analysis finds out about a scalar.
#[expect(
    clippy::struct_excessive_bools,
    reason = "libyaml's four findings do not exclude each other"
)]
pub(super) struct Shape {
    pub(super) multiline: bool,
    pub(super) plain_allowed: bool,
    pub(super) single_allowed: bool,
    pub(super) block_allowed: bool,
}

impl Shape {
    pub(super) fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self {
                multiline: false,
                plain_allowed: true,
                single_allowed: true,
                block_allowed: false,
            };
        }
        let mut shape = Self {
            multiline: false,
            plain_allowed: !(text.starts_with("---") || text.starts_with("...")),
            single_allowed: true,
            block_allowed: true,
        };
        let mut previous_space = false;
        let mut previous_break = false;
        let mut after_blank = true;
        let mut characters = text.chars().peekable();
        let mut first = true;
        while let Some(character) = characters.next() {
            let next = characters.peek();
            let last = next.is_none();
            let before_blank = next.is_none_or(|next| matches!(next, ' ' | '\t'));
            let indicator = match character {
                '#' => after_blank,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => first,
                '?' | '-' => first && before_blank,
                ':' => before_blank,
                _ => false,
            };
            if indicator {
                shape.plain_allowed = false;
            }
            if !is_printable(character) {
                shape.forbid_all_but_double();
            }
            if character == ' ' {
                if first || last {
                    shape.plain_allowed = false;
                }
                if last {
                    shape.block_allowed = false;
                }
                if previous_break {
                    shape.plain_allowed = false;
                    shape.single_allowed = false;
                }
                previous_space = true;
                previous_break = false;
            } else if is_break(character) {
                shape.multiline = true;
                shape.plain_allowed = false;
                if previous_space {
                    shape.forbid_all_but_double();
                }
                previous_space = false;
                previous_break = true;
            } else {
                previous_space = false;
                previous_break = false;
            }
            after_blank = matches!(character, ' ' | '\t' | '\0') || is_break(character);
            first = false;
        }
        shape
    }

    fn forbid_all_but_double(&mut self) {
        self.plain_allowed = false;
        self.single_allowed = false;
        self.block_allowed = false;
    }
}

pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// go-yaml takes neither tabs nor anything beyond the basic plane for printable.
pub(super) fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}
