//! Turns everything that was seen into one decision, with its reasons. Pure: the same facts give the same
//! decision, and carrying it out leaves nothing to choose.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::body;
use crate::facts::{self, File, Presence, Repository, Upstream};
use crate::policy::Policy;
use crate::pull_request::{NO_LONGER_NEEDED, PullRequest, State};
use crate::shortlist::{Candidate, Ignored, Reason, shortlist};
use crate::version::{ImageTag, Version};
use crate::yaml::{EditError, Located};

/// What to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Version in the repository.
    pub current: Version,
    /// The version that should run.
    pub target: Option<Target>,
    /// Releases that are not proposed.
    pub ignored: Vec<Ignored>,
    /// The open pull request before anything is done.
    pub open: Option<PullRequest>,
    /// What to do.
    pub action: Action,
}

/// A release whose image is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The release.
    pub candidate: Candidate,
    /// The image that the repository will name.
    pub image: String,
    /// Digest of the image, if the registry told.
    pub digest: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing {
        /// Why.
        reason: String,
    },
    /// Nothing, until somebody looks at it.
    Blocked {
        /// Why, with what to do.
        reason: String,
    },
    /// Open a pull request.
    Open(Proposal),
    /// Change the open one.
    Update {
        /// Which.
        number: u64,
        /// What it is to be.
        proposal: Proposal,
        /// What to say about it.
        comment: Option<String>,
    },
    /// Close the open one and remove its branch.
    Close {
        /// Which.
        number: u64,
        /// Its title from now on.
        title: String,
        /// Why.
        comment: String,
        /// What becomes of the branch.
        branch: Fate,
    },
}

/// What becomes of the branch of a closed pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Only our commit is on it.
    Delete,
    /// Somebody worked on it.
    Keep,
}

/// A pull request as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The version it asks for.
    pub version: Version,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// The commit to make for it, unless the branch has it already.
    pub commit: Option<Commit>,
}

/// A commit on top of the base branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its parent.
    pub base: String,
    /// Its message.
    pub message: String,
    /// The files that it changes: how they are at `base`, and their new text.
    pub changes: BTreeMap<String, (File, String)>,
    /// The head of our branch that it replaces; the branch does not exist if absent.
    pub replaces: Option<String>,
}

/// The files of the policy say nothing that can be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// One is not there.
    #[error("the repository has no file {path}; hint: correct spec.files")]
    Missing {
        /// The file.
        path: String,
    },
    /// One cannot be edited.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// They name different versions.
    #[error(
        "the files do not agree on the version: {versions}; hint: make them equal once by hand"
    )]
    Disagree {
        /// Each file with its version.
        versions: String,
    },
}

/// The tag that the files of the policy have now.
///
/// # Errors
/// If a file is missing, pins no version, or another one than the first.
pub fn current(policy: &Policy, repository: &Repository) -> Result<ImageTag, FilesError> {
    let mut found: Vec<(&str, ImageTag)> = Vec::new();
    for rule in &policy.files {
        let file = repository
            .files
            .get(&rule.path)
            .ok_or_else(|| FilesError::Missing {
                path: rule.path.clone(),
            })?;
        let located = Located::find(&rule.path, &file.text, &rule.field)?;
        found.push((&rule.path, located.tag().clone()));
    }
    let Some((_, first)) = found.first() else {
        let path = "(spec.files is empty)".to_owned();
        return Err(FilesError::Missing { path });
    };
    if found
        .iter()
        .any(|(_, tag)| tag.version() != first.version())
    {
        let versions: Vec<String> = found
            .iter()
            .map(|(path, tag)| format!("{path} has {tag}"))
            .collect();
        return Err(FilesError::Disagree {
            versions: versions.join(", "),
        });
    }
    Ok(first.clone())
}

/// Decides.
///
/// # Errors
/// If the files of the policy cannot be worked with.
pub fn decide(
    policy: &Policy,
    repository: &Repository,
    upstream: &Upstream,
    now: Timestamp,
) -> Result<Decision, FilesError> {
    let tag = current(policy, repository)?;
    let current = tag.version().clone();
    let pull_requests = &repository.pull_requests;
    let list = shortlist(policy, &current, &upstream.releases, pull_requests, now);
    let mut ignored = list.ignored;
    let mut target = None;
    for candidate in &list.candidates {
        let image = format!("{}:{}", policy.image, tag.with_version(&candidate.version));
        match upstream.images.get(&candidate.version) {
            Some(Presence::Present { digest }) => {
                target = Some(Target {
                    candidate: candidate.clone(),
                    image,
                    digest: digest.clone(),
                });
                break;
            }
            Some(Presence::Missing) => ignored.push(Ignored {
                tag: candidate.release.tag.clone(),
                reason: Reason::NoImage(image),
            }),
            // Only what is below a version whose image is there was not asked about.
            None => {}
        }
    }
    let open = repository.newest(State::Open).cloned();
    let question = Question {
        policy,
        repository,
        upstream,
        current: &current,
        allowed: &list.candidates,
        now,
    };
    let action = match (&open, &target) {
        (None, None) => Action::Nothing {
            reason: question.nothing_newer(&ignored),
        },
        (None, Some(target)) => question.open(target)?,
        (Some(open), target) => question.keep_or_move(open, target.as_ref())?,
    };
    Ok(Decision {
        current,
        target,
        ignored,
        open,
        action,
    })
}

/// What the parts of a decision look at.
struct Question<'a> {
    policy: &'a Policy,
    repository: &'a Repository,
    upstream: &'a Upstream,
    current: &'a Version,
    allowed: &'a [Candidate],
    now: Timestamp,
}

impl Question<'_> {
    fn nothing_newer(&self, ignored: &[Ignored]) -> String {
        match ignored.len() {
            0 => format!("{} is the newest release", self.current),
            1 => format!(
                "no other release than {} may be proposed; 1 is ignored",
                self.current
            ),
            count => format!(
                "no other release than {} may be proposed; {count} are ignored",
                self.current
            ),
        }
    }

    fn open(&self, target: &Target) -> Result<Action, FilesError> {
        let branch = self.repository.branch.as_ref();
        if branch.is_some_and(|branch| !branch.is_untouched(self.policy)) {
            let branch = self.policy.branch();
            return Ok(Action::Blocked {
                reason: format!(
                    "the branch {branch} has commits of somebody else and no pull request; hint: remove the branch, or open a pull request from it"
                ),
            });
        }
        Ok(Action::Open(self.proposal(target)?))
    }

    fn keep_or_move(
        &self,
        open: &PullRequest,
        target: Option<&Target>,
    ) -> Result<Action, FilesError> {
        let number = open.number;
        let titled = self.policy.titled(&open.title);
        let proposed = titled.or_else(|| self.on_branch());
        let branch = self.repository.branch.as_ref();
        let untouched = branch.is_none_or(|branch| branch.is_untouched(self.policy));
        if proposed
            .as_ref()
            .is_some_and(|version| version <= self.current)
        {
            let reason = format!(
                "{} has reached {} on another way",
                self.policy.product, self.current
            );
            return Ok(close(open, &reason, untouched));
        }
        if !untouched {
            return Ok(Action::Blocked {
                reason: format!(
                    "somebody else changed the branch of pull request #{number}, so it is left alone; hint: merge or close it"
                ),
            });
        }
        let still_allowed = proposed.as_ref().is_some_and(|version| {
            self.allowed
                .iter()
                .any(|candidate| candidate.version == *version)
        });
        let Some(target) = target else {
            if still_allowed {
                return Ok(Action::Nothing {
                    reason: format!(
                        "pull request #{number} is open; its image is not in the registry at the moment"
                    ),
                });
            }
            let reason = "the version that it asked for may no longer be proposed";
            return Ok(close(open, reason, untouched));
        };
        let version = &target.candidate.version;
        if still_allowed && proposed.as_ref().is_some_and(|proposed| proposed > version) {
            return Ok(Action::Nothing {
                reason: format!(
                    "pull request #{number} is open and asks for more than {version}; its image is not in the registry at the moment"
                ),
            });
        }
        let proposal = self.proposal(target)?;
        let same_version = proposed.as_ref() == Some(version);
        if proposal.commit.is_none() && same_version {
            return Ok(Action::Nothing {
                reason: format!("pull request #{number} for {version} is open"),
            });
        }
        let comment = proposed
            .filter(|proposed| proposed != version)
            .map(|proposed| {
                format!("This pull request now asks for {version} instead of {proposed}.")
            });
        Ok(Action::Update {
            number,
            proposal,
            comment,
        })
    }

    /// The version that our branch has: what a pull request asks for whose title somebody changed.
    fn on_branch(&self) -> Option<Version> {
        let rule = self.policy.files.first()?;
        let text = self.repository.branch.as_ref()?.files.get(&rule.path)?;
        let located = Located::find(&rule.path, text, &rule.field).ok()?;
        Some(located.tag().version().clone())
    }

    fn proposal(&self, target: &Target) -> Result<Proposal, FilesError> {
        let version = &target.candidate.version;
        let title = self.policy.title(version);
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for rule in &self.policy.files {
            // A second rule for a file goes on from what the first one left.
            let before = match (texts.get(&rule.path), self.repository.files.get(&rule.path)) {
                (Some(edited), _) => edited,
                (None, Some(file)) => &file.text,
                (None, None) => {
                    return Err(FilesError::Missing {
                        path: rule.path.clone(),
                    });
                }
            };
            let edited = Located::find(&rule.path, before, &rule.field)?.with_version(version)?;
            texts.insert(rule.path.clone(), edited);
        }
        let branch = self.repository.branch.as_ref();
        let commit = if branch.is_some_and(|branch| branch.files == texts) {
            None
        } else {
            let message = facts::message(self.policy, &title, &texts);
            let changes = texts
                .into_iter()
                .filter_map(|(path, text)| {
                    let file = self.repository.files.get(&path)?.clone();
                    Some((path, (file, text)))
                })
                .collect();
            Some(Commit {
                base: self.repository.base.clone(),
                message,
                changes,
                replaces: branch.map(|branch| branch.head.clone()),
            })
        };
        let body = body::body(&body::Contents {
            policy: self.policy,
            current: self.current,
            target,
            releases: &self.upstream.releases,
            now: self.now,
        });
        Ok(Proposal {
            version: version.clone(),
            title,
            body,
            commit,
        })
    }
}

fn close(open: &PullRequest, reason: &str, untouched: bool) -> Action {
    Action::Close {
        number: open.number,
        title: format!("{}{NO_LONGER_NEEDED}", open.title),
        comment: format!("Closed: {reason}."),
        branch: if untouched { Fate::Delete } else { Fate::Keep },
    }
}

#[cfg(test)]
mod tests;
