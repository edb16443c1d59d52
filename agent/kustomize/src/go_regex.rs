//! Go's regular expressions (RE2 syntax) on the `regex` crate, which has the same engine but
//! reads a few characters differently.

use regex::bytes::{Regex, RegexBuilder};

use crate::error::RenderError;

/// A compiled expression that matches as Go's does: classes are ASCII, `$` is the end of the text.
#[derive(Clone, Debug)]
pub(crate) struct GoRegex(Regex);

impl GoRegex {
    /// Compiles an expression as written.
    pub(crate) fn new(pattern: &str) -> Result<Self, RenderError> {
        let translated = translate(pattern);
        RegexBuilder::new(&translated)
            .unicode(false)
            .build()
            // Unicode classes are the one thing that needs Unicode on.
            .or_else(|_| Regex::new(&translated))
            .map(Self)
            .map_err(|error| {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().to_owned();
                RenderError::invalid(format!("`{pattern}` is no regular expression: {reason}"))
            })
    }

    /// Compiles an expression that must match a text as a whole.
    pub(crate) fn anchored(pattern: &str) -> Result<Self, RenderError> {
        Self::new(&format!("^(?:{pattern})$"))
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

/// Rewrites what RE2 and the crate read differently: `\Q...\E`, a brace that starts no
/// repetition, and operators that only the crate knows inside a class.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '\\' if after.starts_with('Q') => {
                let quoted = after.get(1..).unwrap_or_default();
                let (literal, tail) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                out.push_str(&regex::escape(literal));
                rest = tail;
                continue;
            }
            '\\' => {
                out.push('\\');
                if let Some(escaped) = after.chars().next() {
                    out.push(escaped);
                    rest = after.get(escaped.len_utf8()..).unwrap_or_default();
                    continue;
                }
            }
            '[' if in_class && !after.starts_with(':') => out.push_str("\\["),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                let mut body = after;
                if let Some(negated) = body.strip_prefix('^') {
                    out.push('^');
                    body = negated;
                }
                // A bracket that comes first is a member.
                if let Some(tail) = body.strip_prefix(']') {
                    out.push_str("\\]");
                    body = tail;
                }
                rest = body;
                continue;
            }
            '[' => {
                // `[:alpha:]` inside a class.
                let end = after.find(":]").map_or(0, |at| at + 2);
                out.push('[');
                out.push_str(after.get(..end).unwrap_or_default());
                rest = after.get(end..).unwrap_or_default();
                continue;
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
            }
            '{' if !in_class && !is_repetition(after) => out.push_str("\\{"),
            '}' if !in_class && !closes_repetition(&out) => out.push_str("\\}"),
            other => out.push(other),
        }
        rest = after;
    }
    out
}

/// Whether the text after `{` is `n}`, `n,}` or `n,m}`.
fn is_repetition(after: &str) -> bool {
    let Some((counts, _)) = after.split_once('}') else {
        return false;
    };
    let (low, high) = counts.split_once(',').unwrap_or((counts, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Whether a `}` at this point ends a repetition that was written out.
fn closes_repetition(out: &str) -> bool {
    out.rsplit_once('{').is_some_and(|(before, counts)| {
        !before.ends_with('\\') && is_repetition(&format!("{counts}}}"))
    })
}
