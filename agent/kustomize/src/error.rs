//! What a failed build says: what was wrong, where, and what to do about it.

use std::fmt;

/// Why a build failed, in kinds that a caller may treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A text is no YAML, or not the YAML that kustomize reads.
    Malformed,
    /// A file, field or value is not what the language allows.
    Invalid,
    /// A file or folder that a kustomization names does not exist.
    Missing,
    /// The tree asks for something that this library never does: leave the tree, use the
    /// network, run a program.
    Refused,
    /// The tree is larger, deeper or more repetitive than the limits allow.
    Limit,
    /// The tree could not be read.
    Tree,
}

/// A position in a file of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: String,
    line: usize,
    column: usize,
    text: String,
}

impl Place {
    /// The place `line:column` (both from 1; 0 is unknown) of a file with the given text.
    pub(crate) fn new(file: &str, text: &str, line: usize, column: usize) -> Self {
        const SHOWN: usize = 160;
        let line_text = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let text = line_text.chars().take(SHOWN).collect();
        Self {
            file: file.to_owned(),
            line,
            column,
            text,
        }
    }

    /// A file as a whole.
    pub(crate) fn file_only(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            text: String::new(),
        }
    }

    /// The same place when the text it was found in starts `lines` lines into the file.
    pub(crate) fn shifted(mut self, lines: usize) -> Self {
        self.line += lines;
        self
    }

    /// Path of the file in the tree.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line, from 1; 0 when the error is about the file as a whole.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in characters, from 1; 0 when the error is about the file as a whole.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            text: _,
        } = self;
        if *line == 0 {
            write!(out, "{file}")
        } else {
            write!(out, "{file}:{line}:{column}")
        }
    }
}

/// A failed build. `Display` shows every error found, each with its place, the line at fault,
/// the kustomizations that led there and a hint.
///
/// ```
/// use kustomize::{ErrorKind, MemoryTree, Options};
///
/// let tree = MemoryTree::from([("kustomization.yaml", "resource: [a.yaml]\n")]);
/// let error = kustomize::render(&tree, "", &Options::default()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// let shown = error.to_string();
/// assert!(shown.contains("kustomization.yaml:1:1"), "{shown}");
/// assert!(shown.contains("hint: did you mean `resources`"), "{shown}");
/// ```
#[derive(Clone, Debug)]
pub struct RenderError(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: ErrorKind,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
    context: Vec<String>,
    others: Vec<RenderError>,
}

impl RenderError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            place: None,
            hint: None,
            context: Vec::new(),
            others: Vec::new(),
        }))
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Missing, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// Says where. The first line said is the nearest to the fault and stays.
    pub(crate) fn at(mut self, place: Place) -> Self {
        if self.0.place.as_ref().is_none_or(|known| known.line == 0) {
            self.0.place = Some(place);
        }
        self
    }

    /// Says what to do; the first hint given stays.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says in the course of what it happened, innermost first.
    pub(crate) fn within(mut self, what: impl Into<String>) -> Self {
        self.0.context.push(what.into());
        for other in &mut self.0.others {
            let context = self.0.context.last().cloned();
            other.0.context.extend(context);
        }
        self
    }

    /// Joins errors that were found independently of each other.
    pub(crate) fn join(errors: Vec<Self>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        for mut other in errors {
            let nested = std::mem::take(&mut other.0.others);
            first.0.others.push(other);
            first.0.others.extend(nested);
        }
        Some(first)
    }

    /// What kind of failure it is; the first, if there are several.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was wrong, in one line, without place and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is wrong, if it is one place.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// This error and the others found in the same build.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.0.others)
    }

    fn show(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            kind: _,
            message,
            place,
            hint,
            context,
            others: _,
        } = &*self.0;
        write!(out, "{message}")?;
        if let Some(place) = place {
            write!(out, "\n  --> {place}")?;
            if !place.text.is_empty() {
                write!(out, "\n   | {}", place.text)?;
            }
        }
        for step in context {
            write!(out, "\n  in {step}")?;
        }
        if let Some(hint) = hint {
            write!(out, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.all().enumerate() {
            if number > 0 {
                out.write_str("\n\n")?;
            }
            error.show(out)?;
        }
        Ok(())
    }
}

impl std::error::Error for RenderError {}
