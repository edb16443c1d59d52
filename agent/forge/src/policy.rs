//! What may be proposed, and where it is written: an upgrade policy after its checks.

use std::time::Duration;

use semver::{Op, Version, VersionReq};

use crate::image::ImageName;
use crate::yaml::FieldRule;

/// What to propose and how.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Names the branch and marks the commits: one policy of a repository per name.
    pub name: String,
    /// The product in titles, as `immudb`.
    pub product: String,
    /// Where its images are.
    pub image: ImageName,
    /// Which versions are wanted; all if absent.
    pub range: Option<Range>,
    /// How long a release must have been out.
    pub minimum_age: Duration,
    /// What to edit; at least one.
    pub files: Vec<FileRule>,
    /// What happens after a merge, step by step, for the text of the pull request.
    pub rollout: Vec<String>,
}

/// One scalar of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// Path in the repository.
    pub path: String,
    /// Which scalar.
    pub field: FieldRule,
}

impl Policy {
    /// The branch that pull requests come from.
    pub fn branch(&self) -> String {
        format!("immuops/upgrade-{}", self.name)
    }

    /// The title of the pull request for a version. With the branch it is what finds the pull request
    /// again.
    pub fn title(&self, version: &Version) -> String {
        format!("Update {} to {version}", self.product)
    }

    /// The version that a title speaks of, if it is one of ours and nobody changed it.
    pub fn titled(&self, title: &str) -> Option<Version> {
        let rest = title.strip_prefix("Update ")?.strip_prefix(&self.product)?;
        Version::parse(rest.strip_prefix(" to ")?).ok()
    }
}

/// A range of versions that at least one release can be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(VersionReq);

/// A text that is no useful range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// It does not parse.
    #[error(
        "`{text}` is no range of versions: {reason}; hint: write it like ^1.11 or >=1.11, <2 (with commas)"
    )]
    Syntax {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No version can be in it.
    #[error("no version is in the range `{text}`; hint: its conditions exclude each other")]
    Impossible {
        /// What was written.
        text: String,
    },
}

impl Range {
    /// Reads a range in Cargo's syntax.
    ///
    /// # Errors
    /// If it does not parse, or if its conditions exclude each other.
    pub fn parse(text: &str) -> Result<Self, InvalidRange> {
        let range = VersionReq::parse(text).map_err(|error| InvalidRange::Syntax {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        if !is_possible(&range) {
            return Err(InvalidRange::Impossible {
                text: text.to_owned(),
            });
        }
        Ok(Self(range))
    }

    /// Whether a version is in it. Pre-releases never are, unless it names one of the same version.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.matches(version)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of versions that is not empty has a lowest one. That one is either 0.0.0 or the lower bound of a
/// condition, so it is enough to try those.
fn is_possible(range: &VersionReq) -> bool {
    let bounds = range.comparators.iter().flat_map(|comparator| {
        let (major, minor, patch) = (
            comparator.major,
            comparator.minor.unwrap_or(0),
            comparator.patch.unwrap_or(0),
        );
        let at = Version::new(major, minor, patch);
        let mut found = vec![at.clone()];
        if !comparator.pre.is_empty() {
            let pre = comparator.pre.clone();
            found.push(Version { pre, ..at });
        }
        if comparator.op == Op::Greater {
            found.push(match (comparator.minor, comparator.patch) {
                (None, _) => Version::new(major.saturating_add(1), 0, 0),
                (Some(minor), None) => Version::new(major, minor.saturating_add(1), 0),
                (Some(minor), Some(patch)) => Version::new(major, minor, patch.saturating_add(1)),
            });
        }
        found
    });
    bounds
        .chain([Version::new(0, 0, 0)])
        .any(|version| range.matches(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_nothing_is_in() {
        let possible = [
            "*",
            "^1",
            "^1.11",
            "~1.11.1",
            ">1",
            ">1.2",
            ">1.2.3",
            ">=1.11, <2",
            "<2",
            "=1.11",
            "1.11.*",
            ">1, <2.0.1",
            ">=1.11.0-RC1, <1.11.0",
            "<0.0.1",
        ];
        for text in possible {
            assert!(Range::parse(text).is_ok(), "{text}");
        }
        for text in [
            ">2, <1",
            ">=2, <2",
            "^1, ^2",
            "=1.2.3, >1.2.3",
            ">1, <2",
            "<0.0.0",
        ] {
            let error = Range::parse(text).unwrap_err();
            assert!(
                matches!(error, InvalidRange::Impossible { .. }),
                "{text}: {error}"
            );
        }
        for text in ["", "latest", ">=1 <2", "1.x.y"] {
            let error = Range::parse(text).unwrap_err().to_string();
            assert!(error.contains("hint:"), "{text}: {error}");
        }
    }
}
