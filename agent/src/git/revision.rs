//! Names of what was fetched: a commit id, and the revision text that users see.

use std::fmt;
use std::str::FromStr;

/// A commit id: 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CommitId(git2::Oid);

/// The text is not a commit id.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a commit id; hint: a commit id has 40 hexadecimal digits")]
pub(crate) struct InvalidCommitId {
    text: String,
}

impl CommitId {
    /// Takes over libgit2's id.
    pub(crate) const fn new(oid: git2::Oid) -> Self {
        Self(oid)
    }

    /// The id as libgit2 wants it.
    pub(crate) const fn oid(self) -> git2::Oid {
        self.0
    }
}

impl FromStr for CommitId {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCommitId {
            text: text.to_owned(),
        };
        if text.len() != 40 {
            return Err(invalid());
        }
        git2::Oid::from_str(text).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A commit and the reference it was found under; prints as Flux does: `main@sha1:<40 hex>`, or
/// `sha1:<40 hex>` for a commit that was asked for by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Short name of the branch or tag, or a full reference name.
    pub(crate) reference: Option<String>,
    /// The commit.
    pub(crate) commit: CommitId,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Some(reference) => write!(f, "{reference}@sha1:{}", self.commit),
            None => write!(f, "sha1:{}", self.commit),
        }
    }
}

impl FromStr for Revision {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (reference, commit) = match text.rsplit_once("@sha1:") {
            Some((reference, commit)) => (Some(reference.to_owned()), commit),
            None => (None, text.strip_prefix("sha1:").unwrap_or(text)),
        };
        Ok(Self {
            reference,
            commit: commit.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn prints_what_it_reads() {
        for text in [
            format!("main@sha1:{ID}"),
            format!("a@b@sha1:{ID}"),
            format!("sha1:{ID}"),
        ] {
            assert_eq!(text.parse::<Revision>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_short_ids() {
        for text in ["", "main", "main@sha1:0123", "sha1:xyz"] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
