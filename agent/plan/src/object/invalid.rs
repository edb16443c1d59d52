//! Why an object from git cannot be planned.

use std::fmt;

/// One object that is wrong, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidObject {
    /// The object, as far as it could be named.
    pub object: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing wrong with an object. Never holds a value of the object's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The document is a list, a text or the like.
    #[error("the document is not an object")]
    NotAnObject,
    /// A field is missing or has another type.
    #[error("{field} must be {expected}")]
    Field {
        /// Path of the field.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `kind: List`.
    #[error("it is a list of objects, and the objects have to be listed one by one")]
    List,
    /// The name cannot be read back from an inventory.
    #[error("the name cannot be told from another in an inventory: it has `__`, or `_` before `:`")]
    UnstorableName,
    /// An annotation of ours has a value that means nothing.
    #[error("{key} is `{value}`, allowed are: {}", .allowed.join(", "))]
    PolicyValue {
        /// The annotation.
        key: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: Vec<&'static str>,
    },
    /// `immuops.dev/wave` is no small integer.
    #[error("immuops.dev/wave is `{value}`, it must be a whole number from -32768 to 32767")]
    WaveValue {
        /// Its value.
        value: String,
    },
    /// `immuops.dev/depends-on` names no object.
    #[error("immuops.dev/depends-on has `{value}`, each item must be like `Deployment shop/web`")]
    DependsOnValue {
        /// The item.
        value: String,
    },
    /// It is no JSON.
    #[error("it cannot be written as JSON")]
    Unwritable,
    /// The same object is declared more than once.
    #[error("it is declared {times} times")]
    Duplicate {
        /// How often.
        times: usize,
    },
}

impl Problem {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Duplicate { .. } => Some("keep one of the declarations, or patch it"),
            Self::UnstorableName => Some("rename the object"),
            Self::List => Some("write its items as documents of their own, separated by `---`"),
            Self::NotAnObject
            | Self::Field { .. }
            | Self::PolicyValue { .. }
            | Self::WaveValue { .. }
            | Self::DependsOnValue { .. }
            | Self::Unwritable => None,
        }
    }
}

impl fmt::Display for InvalidObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not valid: ", self.object)?;
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        let mut hints: Vec<_> = self.problems.iter().filter_map(Problem::hint).collect();
        hints.dedup();
        hints
            .iter()
            .try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for InvalidObject {}
