//! Paths to a field, in kustomize's syntax: `images.[name=docker.io/codenotary/immudb].newTag`.

use std::fmt;

/// A path from the root of a document to one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
    pub(super) steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of a mapping; a number also is an index of a sequence.
    Key(String),
    /// The element of a sequence whose key has this value.
    Match { key: String, value: String },
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no path to a field; hint: write it like images.[name=docker.io/codenotary/immudb].newTag"
)]
pub struct InvalidFieldPath {
    text: String,
}

impl FieldPath {
    /// Reads keys, numbers and `[key=value]`, joined by dots. A backslash takes the dot after it as a
    /// part of the key.
    ///
    /// # Errors
    /// If a step is empty or a bracket is not closed.
    pub fn parse(text: &str) -> Result<Self, InvalidFieldPath> {
        let invalid = || InvalidFieldPath {
            text: text.to_owned(),
        };
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            if let Some(inside) = rest.strip_prefix('[') {
                let (condition, tail) = inside.split_once(']').ok_or_else(invalid)?;
                let (key, value) = condition.split_once('=').ok_or_else(invalid)?;
                if key.is_empty() || value.is_empty() {
                    return Err(invalid());
                }
                steps.push(Step::Match {
                    key: key.to_owned(),
                    value: value.to_owned(),
                });
                rest = tail;
            } else {
                let (key, tail) = key(rest);
                if key.is_empty() {
                    return Err(invalid());
                }
                steps.push(Step::Key(key));
                rest = tail;
            }
            if rest.is_empty() {
                break;
            }
            rest = rest.strip_prefix('.').ok_or_else(invalid)?;
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }
}

/// Takes a key up to the next dot that has no backslash before it.
fn key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '.' => return (key, text.get(at..).unwrap_or_default()),
            '\\' => key.extend(letters.next().map(|(_, escaped)| escaped)),
            other => key.push(other),
        }
    }
    (key, "")
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let steps = |text: &str| FieldPath::parse(text).unwrap().steps;
        let key = |text: &str| Step::Key(text.to_owned());
        assert_eq!(steps("image"), [key("image")]);
        assert_eq!(steps(r"a\.b.0.c"), [key("a.b"), key("0"), key("c")]);
        let condition = Step::Match {
            key: "name".to_owned(),
            value: "docker.io/codenotary/immudb".to_owned(),
        };
        assert_eq!(
            steps("images.[name=docker.io/codenotary/immudb].newTag"),
            [key("images"), condition, key("newTag")]
        );
        for text in [
            "", ".a", "a.", "a..b", "a.[b", "a.[b]", "a.[=b]", "a.[b=c]d",
        ] {
            let error = FieldPath::parse(text).unwrap_err().to_string();
            assert!(error.contains("hint:"), "{text}");
        }
    }
}
