//! A pull request, as far as the decision needs it.

use serde::Serialize;

/// A pull request from our branch into the base branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// Its title now.
    pub title: String,
    /// What became of it.
    pub state: State,
}

/// What became of a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for a review.
    Open,
    /// It was merged.
    Merged,
    /// It was closed without a merge.
    Closed,
}

/// Appended to the title of a pull request that this program closes. Such a title speaks of no version
/// any more, so that only what people close counts as their word on it.
pub(crate) const NO_LONGER_NEEDED: &str = " (no longer needed)";
