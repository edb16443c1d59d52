//! Sorts releases: which may be proposed, best first, and why each of the others may not. Pure.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::policy::Policy;
use crate::pull_request::{PullRequest, State};
use crate::release::{Release, Releases};
use crate::version::{Version, parse_release};

/// A release that the policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its version.
    pub version: Version,
    /// The release.
    pub release: Release,
    /// When it was published.
    pub published_at: Timestamp,
}

/// A release that is not proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ignored {
    /// Its tag.
    pub tag: String,
    /// Why.
    pub reason: Reason,
}

/// Why a release is not proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not published yet.
    Draft,
    /// Its tag is no semantic version.
    NotAVersion,
    /// It is a pre-release, by its version or its publisher's word.
    PreRelease,
    /// The policy's range does not have it.
    OutsideRange(String),
    /// Nobody knows how old it is.
    NoDate,
    /// It has not been out for long enough.
    TooYoung {
        /// When it will be.
        until: Timestamp,
    },
    /// Somebody closed the pull request for it or for a newer one.
    ClosedByHand {
        /// That pull request.
        number: u64,
        /// The version that it was about.
        version: Version,
    },
    /// The registry does not have its image.
    NoImage(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draft => f.write_str("it is a draft"),
            Self::NotAVersion => f.write_str("its tag is no semantic version"),
            Self::PreRelease => f.write_str("it is a pre-release"),
            Self::OutsideRange(range) => write!(f, "it is outside of the range {range}"),
            Self::NoDate => f.write_str("it has no date, so its age is not known"),
            Self::TooYoung { until } => write!(f, "it is too young until {until}"),
            Self::ClosedByHand { number, version } => {
                write!(f, "pull request #{number} for {version} was closed by hand")
            }
            Self::NoImage(image) => write!(f, "the registry has no image {image} yet"),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The releases, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortlist {
    /// May be proposed if the image is there; highest version first.
    pub candidates: Vec<Candidate>,
    /// Newer than what runs or not comparable with it, and not proposed.
    pub ignored: Vec<Ignored>,
}

/// Sorts the releases for a repository that runs `current`.
pub fn shortlist(
    policy: &Policy,
    current: &Version,
    releases: &Releases,
    pull_requests: &[PullRequest],
    now: Timestamp,
) -> Shortlist {
    let refused = refused(policy, pull_requests);
    let mut found = Shortlist::default();
    let mut seen = BTreeSet::new();
    for release in &releases.list {
        let version = parse_release(&release.tag).ok();
        match &version {
            // Older releases are no news, and a tag that is there twice counts once.
            Some(version) if version <= current || !seen.insert(version.clone()) => continue,
            Some(_) | None => {}
        }
        match judge(policy, release, version, refused.as_ref(), now) {
            Ok(candidate) => found.candidates.push(candidate),
            Err(reason) => found.ignored.push(Ignored {
                tag: release.tag.clone(),
                reason,
            }),
        }
    }
    found
        .candidates
        .sort_by(|one, other| other.version.cmp(&one.version));
    found
}

fn judge(
    policy: &Policy,
    release: &Release,
    version: Option<Version>,
    refused: Option<&(u64, Version)>,
    now: Timestamp,
) -> Result<Candidate, Reason> {
    if release.draft {
        return Err(Reason::Draft);
    }
    let version = version.ok_or(Reason::NotAVersion)?;
    if release.prerelease || !version.pre.is_empty() {
        return Err(Reason::PreRelease);
    }
    if let Some(range) = &policy.range
        && !range.contains(&version)
    {
        return Err(Reason::OutsideRange(range.to_string()));
    }
    if let Some((number, closed)) = refused
        && version <= *closed
    {
        return Err(Reason::ClosedByHand {
            number: *number,
            version: closed.clone(),
        });
    }
    let published_at = release.published_at.ok_or(Reason::NoDate)?;
    let age = SignedDuration::try_from(policy.minimum_age).unwrap_or(SignedDuration::MAX);
    let until = published_at.saturating_add(age).unwrap_or(Timestamp::MAX);
    if until > now {
        return Err(Reason::TooYoung { until });
    }
    Ok(Candidate {
        version,
        release: release.clone(),
        published_at,
    })
}

/// The highest version that somebody said no to, and the pull request in which they did. Whoever does
/// not want a version is not asked again about it, nor about one below it.
fn refused(policy: &Policy, pull_requests: &[PullRequest]) -> Option<(u64, Version)> {
    pull_requests
        .iter()
        .filter(|pull_request| pull_request.state == State::Closed)
        .filter_map(|pull_request| Some((pull_request.number, policy.titled(&pull_request.title)?)))
        .max_by(|one, other| one.1.cmp(&other.1))
}
