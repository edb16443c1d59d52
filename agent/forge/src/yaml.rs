//! Edits one scalar of a YAML file and leaves every other byte as it is.
//!
//! Printing a parsed file again loses comments, quotes and blank lines, so nothing is printed: the
//! scalar's own bytes are replaced, in the quotes that it has. Then the result is read again and must
//! differ from the original in that one scalar and in nothing else.

mod field_path;
mod locate;
mod splice;
mod tree;

pub use field_path::{FieldPath, InvalidFieldPath};

use crate::image::ImageName;
use crate::version::{ImageTag, UnpinnedTag, Version};

/// Largest file that is read, in bytes.
pub const FILE_LIMIT: usize = 1 << 20;

/// Which scalar of a file holds the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldRule {
    /// The one that gives this image its tag: `newTag` beside a kustomize image's name, the tag of an
    /// `image:`, or `tag` beside a Helm `repository`.
    Image(ImageName),
    /// The one at this path.
    Path(FieldPath),
}

/// A file that cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is too long to look at.
    #[error("{file} has more than {FILE_LIMIT} bytes; hint: name a smaller file in spec.files")]
    TooLarge {
        /// The file.
        file: String,
    },
    /// It is not UTF-8.
    #[error("{file} is not UTF-8 text")]
    NotText {
        /// The file.
        file: String,
    },
    /// It is no YAML.
    #[error("{file}:{line}:{column}: {reason}; hint: templates are no YAML; name a file that is")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// It is nested too deeply to be a manifest.
    #[error("{file}:{line}: nested too deeply")]
    TooDeep {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
    },
    /// No scalar is meant.
    #[error("{file} has no {what}; hint: check spec.files, or add it to the file")]
    NotFound {
        /// The file.
        file: String,
        /// What was looked for.
        what: String,
    },
    /// More than one scalar is meant.
    #[error(
        "{file} has {what} more than once, in the lines {lines}; hint: name one of them with keyPath"
    )]
    Ambiguous {
        /// The file.
        file: String,
        /// What was looked for.
        what: String,
        /// Where it is, as `3, 7`.
        lines: String,
    },
    /// The value is no scalar that can be edited.
    #[error("{file}:{line}: {problem}")]
    Unusable {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Why, with what to do.
        problem: String,
    },
    /// The scalar holds no version.
    #[error("{file}:{line}: the value is no version to start from")]
    Tag {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Why.
        source: UnpinnedTag,
    },
    /// The edit changed more than it should have.
    #[error("editing {file}:{line} would change more than one value; this is a bug")]
    Verification {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
    },
}

/// A file with its version found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    file: &'a str,
    text: &'a str,
    scalar: tree::Scalar,
    /// What stands before the tag in the scalar: empty, or `name:`.
    before: String,
    tag: ImageTag,
}

impl<'a> Located<'a> {
    /// Finds the version in the text of a file.
    ///
    /// # Errors
    /// If the file is no YAML, or no scalar or more than one is meant, or it pins no version.
    pub fn find(file: &'a str, text: &'a str, rule: &FieldRule) -> Result<Self, EditError> {
        if text.len() > FILE_LIMIT {
            return Err(EditError::TooLarge {
                file: file.to_owned(),
            });
        }
        let documents = tree::documents(file, text)?;
        let (scalar, before, tag) = locate::locate(file, &documents, rule)?;
        let tag = ImageTag::parse(&tag).map_err(|source| EditError::Tag {
            file: file.to_owned(),
            line: scalar.line,
            source,
        })?;
        Ok(Self {
            file,
            text,
            scalar,
            before,
            tag,
        })
    }

    /// The tag that the file has now.
    pub const fn tag(&self) -> &ImageTag {
        &self.tag
    }

    /// Line of the value, from 1.
    pub const fn line(&self) -> usize {
        self.scalar.line
    }

    /// The text of the file with another version.
    ///
    /// # Errors
    /// If the result differs from the file in anything but the one value.
    ///
    /// ```
    /// use forge::yaml::{FieldPath, FieldRule, Located};
    /// let rule = FieldRule::Path(FieldPath::parse("a.tag").unwrap());
    /// let file = Located::find("a.yaml", "a: {tag: '1.2.3'} # one\n", &rule).unwrap();
    /// let next = file.with_version(&semver::Version::new(1, 3, 0)).unwrap();
    /// assert_eq!(next, "a: {tag: '1.3.0'} # one\n");
    /// ```
    pub fn with_version(&self, version: &Version) -> Result<String, EditError> {
        let value = format!("{}{}", self.before, self.tag.with_version(version));
        splice::splice(self.file, self.text, &self.scalar, &value)
    }
}

#[cfg(test)]
mod tests;
