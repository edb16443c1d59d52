//! Everything that a decision is made from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::policy::Policy;
use crate::pull_request::{PullRequest, State};
use crate::release::Releases;
use crate::version::Version;

/// Trailer that names the policy whose commit it is.
const POLICY: &str = "Upgrade-Policy: ";
/// Trailer with a digest over the files as the commit left them.
const CONTENT: &str = "Upgrade-Content: ";

/// A regular file at some commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub text: String,
    /// Git's id of it.
    pub blob: String,
    /// Git's file mode.
    pub mode: FileMode,
}

/// Mode of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// 100644.
    Plain,
    /// 100755.
    Executable,
}

impl FileMode {
    /// As git writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Executable => "100755",
        }
    }
}

/// The branch that our pull requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its newest commit.
    pub head: String,
    /// Message of that commit.
    pub message: String,
    /// The files of the policy as they are on it; those that it lacks are left out.
    pub files: BTreeMap<String, String>,
}

/// What the repository holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// Newest commit of the base branch.
    pub base: String,
    /// The files of the policy at that commit; those that it lacks are left out.
    pub files: BTreeMap<String, File>,
    /// Our branch, if it exists.
    pub branch: Option<Branch>,
    /// Every pull request from our branch into the base branch, newest first.
    pub pull_requests: Vec<PullRequest>,
}

impl Repository {
    /// The newest of the pull requests that have come to this.
    pub fn newest(&self, state: State) -> Option<&PullRequest> {
        self.pull_requests.iter().find(|one| one.state == state)
    }
}

/// Whether the registry has an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Presence {
    /// It is there.
    Present {
        /// Its digest, if the registry told.
        digest: Option<String>,
    },
    /// It is not there (yet).
    Missing,
}

/// What there is to upgrade to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// All releases.
    pub releases: Releases,
    /// What the registry said, for the versions that it was asked about.
    pub images: BTreeMap<Version, Presence>,
}

/// The message of a commit of ours.
pub(crate) fn message(policy: &Policy, title: &str, files: &BTreeMap<String, String>) -> String {
    format!(
        "{title}\n\n{POLICY}{}\n{CONTENT}{}\n",
        policy.name,
        digest(files)
    )
}

impl Branch {
    /// Whether the newest commit is as this policy made it: nobody added a commit or changed ours.
    pub(crate) fn is_untouched(&self, policy: &Policy) -> bool {
        let trailer = |key: &str| {
            let line = self
                .message
                .lines()
                .rev()
                .find(|line| line.starts_with(key))?;
            Some(line.trim_start_matches(key).trim_end())
        };
        trailer(POLICY) == Some(policy.name.as_str())
            && trailer(CONTENT) == Some(digest(&self.files).as_str())
    }
}

fn digest(files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        hash.update(format!("{} {path} {} ", path.len(), text.len()));
        hash.update(text);
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |mut digits, byte| {
            // Writing to a String does not fail.
            let _ = write!(digits, "{byte:02x}");
            digits
        })
}
