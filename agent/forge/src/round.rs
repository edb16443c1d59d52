//! One poll: look, decide, act. Looking and acting are here, deciding is [`decide`](mod@crate::decide).

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::decide::{Action, Commit, Decision, Fate, FilesError, Proposal, current};
use crate::facts::{Branch, Presence, Repository, Upstream};
use crate::fault::Fault;
use crate::policy::Policy;
use crate::pull_request::PullRequest;
use crate::registry::Registry;
use crate::release::Releases;
use crate::seam::{self, Forge};
use crate::shortlist::shortlist;
use crate::version::Version;

/// Versions that the registry is asked about in one poll: with none of them there, something else is wrong.
const LOOK_UPS: usize = 5;
/// Topic of the comment about a pull request that asks for another version than before.
const NEWS: &str = "news";
/// Topic of the comment about what came of a merged pull request.
const PROOF: &str = "proof";

/// A look that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// A server did not answer as it should.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The repository's files are of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Looks at the repository.
///
/// # Errors
/// If the forge does not answer as it should.
pub async fn repository<F: Forge>(forge: &F, policy: &Policy) -> Result<Repository, Fault> {
    let paths = paths(policy);
    let base = forge.base_commit().await?;
    let files = seam::files(forge, &paths, &base).await?;
    let name = policy.branch();
    let branch = match forge.branch(&name).await? {
        Some((head, message)) => {
            let files = seam::files(forge, &paths, &head).await?;
            let files = files
                .into_iter()
                .map(|(path, file)| (path, file.text))
                .collect();
            Some(Branch {
                head,
                message,
                files,
            })
        }
        None => None,
    };
    Ok(Repository {
        base,
        files,
        branch,
        pull_requests: forge.pull_requests(&name).await?,
    })
}

fn paths(policy: &Policy) -> Vec<&str> {
    let mut paths: Vec<&str> = policy.files.iter().map(|rule| rule.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The version that the repository has at a commit.
///
/// # Errors
/// If the forge does not answer as it should, or the files name no version.
pub async fn version_at<F: Forge>(
    forge: &F,
    policy: &Policy,
    commit: &str,
) -> Result<Version, LookError> {
    let repository = Repository {
        files: seam::files(forge, &paths(policy), commit).await?,
        ..Repository::default()
    };
    Ok(current(policy, &repository)?.version().clone())
}

/// Says on a pull request what came of its merge: in one comment, however often that is said.
///
/// # Errors
/// If the forge refuses.
pub async fn tell_proof<F: Forge>(forge: &F, number: u64, text: &str) -> Result<(), Fault> {
    seam::comment(forge, number, PROOF, text).await
}

/// Asks the registry about the versions that may come next, from the highest down to the first that is
/// there.
///
/// # Errors
/// If the registry does not answer as it should, or the files name no version.
pub async fn upstream(
    releases: Releases,
    registry: &Registry,
    policy: &Policy,
    repository: &Repository,
    now: Timestamp,
) -> Result<Upstream, LookError> {
    let tag = current(policy, repository)?;
    let pull_requests = &repository.pull_requests;
    let list = shortlist(policy, tag.version(), &releases, pull_requests, now);
    let mut images = BTreeMap::new();
    for candidate in list.candidates.into_iter().take(LOOK_UPS) {
        let presence = registry.find(&tag.with_version(&candidate.version)).await?;
        let found = matches!(presence, Presence::Present { .. });
        images.insert(candidate.version, presence);
        if found {
            break;
        }
    }
    Ok(Upstream { releases, images })
}

/// Carries a decision out and returns the pull request that then is open. Every step can be repeated: if
/// one fails, the next poll finds what is there and goes on.
///
/// # Errors
/// If the forge refuses a step.
pub async fn carry_out<F: Forge>(
    forge: &F,
    policy: &Policy,
    decision: &Decision,
) -> Result<Option<PullRequest>, Fault> {
    let name = policy.branch();
    match &decision.action {
        Action::Nothing { .. } | Action::Blocked { .. } => Ok(decision.open.clone()),
        Action::Open(proposal) => {
            push(forge, &name, proposal.commit.as_ref()).await?;
            let Proposal { title, body, .. } = proposal;
            seam::open(forge, &name, title, body).await.map(Some)
        }
        Action::Update {
            number,
            proposal,
            comment,
        } => {
            push(forge, &name, proposal.commit.as_ref()).await?;
            let Proposal { title, body, .. } = proposal;
            let changed = seam::edit(forge, *number, title, body).await?;
            if let Some(text) = comment {
                seam::comment(forge, *number, NEWS, text).await?;
            }
            Ok(Some(changed))
        }
        Action::Close {
            number,
            title,
            comment,
            branch,
        } => {
            seam::comment(forge, *number, NEWS, comment).await?;
            seam::close(forge, *number, title).await?;
            match branch {
                Fate::Delete => forge.delete_branch(&name).await?,
                Fate::Keep => {}
            }
            Ok(None)
        }
    }
}

async fn push<F: Forge>(forge: &F, branch: &str, commit: Option<&Commit>) -> Result<(), Fault> {
    match commit {
        Some(commit) => forge.commit(branch, commit).await,
        None => Ok(()),
    }
}
