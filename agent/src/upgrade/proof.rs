//! What is to be done about the proof of an upgrade. Pure: from what is known and what was seen to what is
//! known next.
//!
//! A record of what the servers hold is written before a pull request is opened, and anew at every poll
//! that finds it open *after* the record was made: so whatever a merge changes, the record is older. The
//! merge makes the proof pending, the Syncs carry it out, the servers are compared with the record, and the
//! result is told. Every step can be repeated: an agent that starts in the middle goes on from the status.

pub(crate) mod comment;

use std::time::Duration;

use forge::decide::Action;
use forge::facts::Repository;
use forge::pull_request::{PullRequest, State};
use forge::version::{Version, parse_release};
use immudb::ClientError;
use immudb::history::{self, Finding, Record, Verdict};
use jiff::{SignedDuration, Timestamp};

use super::status::{listed, whole};
use crate::api::upgrade_proof::{ProofPhase, ProofStatus};
use crate::board::{Entry, Standing, SyncName};

/// Checks that a message names; the rest is counted.
const NAMED: usize = 3;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Releases and pull requests are looked at.
    Poll,
    /// A merge is to be proved before anything else is proposed.
    Prove,
    /// The result belongs on the pull request.
    Tell,
    /// The proof failed, and nobody has acknowledged that.
    Hold,
}

/// Decides what comes next. `acknowledged` is the pull request whose failed proof somebody has dealt with.
pub(crate) fn next(proof: Option<&ProofStatus>, acknowledged: Option<u64>) -> Next {
    let Some(proof) = proof else {
        return Next::Poll;
    };
    let dealt_with = is_acknowledged(proof, acknowledged);
    match (proof.phase, proof.told) {
        (ProofPhase::Recorded, _) | (ProofPhase::Proved, true) => Next::Poll,
        (ProofPhase::Proved | ProofPhase::Overdue | ProofPhase::Refuted, false) => Next::Tell,
        (ProofPhase::Overdue | ProofPhase::Refuted, true) if dealt_with => Next::Poll,
        (ProofPhase::Pending, _) | (ProofPhase::Overdue, true) => Next::Prove,
        (ProofPhase::Refuted, true) => Next::Hold,
    }
}

/// Whether somebody has dealt with a proof that failed.
pub(crate) fn is_acknowledged(proof: &ProofStatus, acknowledged: Option<u64>) -> bool {
    let number = proof.pull_request.as_ref().map(|open| open.number);
    number.is_some() && number == acknowledged
}

/// The pull request that was merged since the record was made, if one was. That it had another number then
/// does not matter: the record is older than its merge.
pub(crate) fn merged<'a>(
    proof: Option<&ProofStatus>,
    repository: &'a Repository,
) -> Option<&'a PullRequest> {
    let proof = proof.filter(|proof| proof.phase == ProofPhase::Recorded)?;
    let newest = repository.newest(State::Merged)?;
    (newest.number > proof.merged_before).then_some(newest)
}

/// Whether a decision may be carried out only with a record: where a pull request can be merged then.
pub(crate) fn needs_record(action: &Action, open: Option<&PullRequest>) -> bool {
    match action {
        Action::Open(_) | Action::Update { .. } => true,
        Action::Nothing { .. } | Action::Blocked { .. } => open.is_some(),
        Action::Close { .. } => false,
    }
}

/// What the servers said.
#[derive(Clone, Debug)]
pub(crate) struct Testimony {
    /// What they hold.
    pub(crate) found: Record,
    /// What came of comparing that between them: a replica that is late agrees.
    pub(crate) agreement: history::Outcome,
    /// What came of comparing that with a record.
    pub(crate) outcome: Option<history::Outcome>,
}

/// Why nothing was recorded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRecord {
    /// The servers said nothing, and nothing was recorded before.
    #[error("{0}")]
    Silent(#[from] ClientError),
    /// The servers have different histories already. A proof could only say what is known now.
    #[error(
        "the servers disagree before any upgrade: {0}; hint: leave the data of both as it is, find out which \
         is right with `agent verify`, and make the other one anew from it"
    )]
    Divided(String),
}

/// What is recorded when a pull request is open or about to be opened.
///
/// # Errors
/// If there would be nothing to prove later.
pub(crate) fn recorded(
    old: Option<&ProofStatus>,
    testimony: Result<Testimony, ClientError>,
    repository: &Repository,
    current: &Version,
    now: Timestamp,
) -> Result<ProofStatus, NoRecord> {
    let old = old.filter(|proof| proof.phase == ProofPhase::Recorded);
    let open = repository.newest(State::Open).map(listed);
    let testimony = match (testimony, old) {
        (Ok(testimony), _) => testimony,
        (Err(error), Some(old)) => {
            let message = format!(
                "the record of {} stays: there is no newer one: {error}",
                old.recorded_at
            );
            return Ok(ProofStatus {
                message,
                pull_request: open,
                ..old.clone()
            });
        }
        (Err(error), None) => return Err(NoRecord::Silent(error)),
    };
    let Testimony {
        found,
        agreement,
        outcome,
    } = testimony;
    if let (Some(old), Some(outcome), Some(open)) = (old, &outcome, &open)
        && outcome.verdict() == Verdict::Refuted
    {
        return Ok(ProofStatus {
            phase: ProofPhase::Refuted,
            message: format!("before the merge: {}", contradictions(outcome)),
            pull_request: Some(open.clone()),
            ended_at: Some(whole(now)),
            found: Some(found),
            told: false,
            ..old.clone()
        });
    }
    if agreement.verdict() == Verdict::Refuted {
        return Err(NoRecord::Divided(contradictions(&agreement)));
    }
    Ok(ProofStatus {
        phase: ProofPhase::Recorded,
        message: format!(
            "recorded {}, to be compared after the merge",
            extent(&found)
        ),
        pull_request: open,
        merged_before: repository
            .newest(State::Merged)
            .map_or(0, |merged| merged.number),
        from: current.to_string(),
        to: None,
        recorded_at: whole(now),
        record: found,
        merge_seen_at: None,
        due: None,
        ended_at: None,
        found: None,
        transactions: None,
        told: false,
    })
}

/// A merge was seen: from now on there is something to prove.
pub(crate) fn pending(
    old: &ProofStatus,
    merged: &PullRequest,
    to: &Version,
    now: Timestamp,
    timeout: Duration,
) -> ProofStatus {
    let due = SignedDuration::try_from(timeout)
        .ok()
        .and_then(|timeout| now.checked_add(timeout).ok());
    ProofStatus {
        phase: ProofPhase::Pending,
        message: format!("pull request #{} was merged", merged.number),
        pull_request: Some(listed(merged)),
        to: Some(to.to_string()),
        merge_seen_at: Some(whole(now)),
        due: Some(whole(due.unwrap_or(now))),
        told: false,
        ..old.clone()
    }
}

/// The commit that a Sync has applied and is healthy at.
///
/// # Errors
/// What it has to come to first.
pub(crate) fn arrived<'a>(name: &SyncName, line: Option<&'a Entry>) -> Result<&'a str, String> {
    let Some(line) = line else {
        return Err(format!(
            "waiting for Sync {name}, which does not exist; hint: check syncRef in spec.proof"
        ));
    };
    let commit = line
        .revision
        .as_deref()
        .and_then(|revision| revision.rsplit_once(':'))
        .map(|(_, commit)| commit);
    match (line.standing, commit) {
        (Standing::Ready, Some(commit)) => Ok(commit),
        (Standing::Suspended, _) => Err(format!(
            "Sync {name} is suspended; hint: resume it, or the merge never arrives"
        )),
        (
            Standing::Ready | Standing::Pending | Standing::Progressing | Standing::Failed,
            Some(_) | None,
        ) => Err(format!("waiting for Sync {name}: {}", line.message)),
    }
}

/// What a try to prove has brought.
#[derive(Clone, Debug)]
pub(crate) enum Evidence {
    /// The servers were not asked, or did not answer: why.
    Missing(String),
    /// They answered.
    Heard(Testimony),
}

/// What is known after a try.
pub(crate) fn judged(old: &ProofStatus, evidence: Evidence, now: Timestamp) -> ProofStatus {
    let (found, agreement, outcome) = match evidence {
        Evidence::Missing(reason) => return waiting(old, reason, now),
        Evidence::Heard(Testimony {
            found,
            agreement,
            outcome: Some(outcome),
        }) => (found, agreement, outcome),
        Evidence::Heard(Testimony {
            found: _,
            agreement: _,
            outcome: None,
        }) => return waiting(old, "nothing was compared".to_owned(), now),
    };
    // What was recorded first: of what was written since, only the servers themselves can tell.
    if let Some(refuted) = [&outcome, &agreement]
        .into_iter()
        .find(|outcome| outcome.verdict() == Verdict::Refuted)
    {
        return ProofStatus {
            phase: ProofPhase::Refuted,
            message: contradictions(refuted),
            ended_at: Some(whole(now)),
            found: Some(found),
            told: false,
            ..old.clone()
        };
    }
    if let Some(reason) = older(&found, old.to.as_deref()) {
        return waiting(old, reason, now);
    }
    match outcome.verdict() {
        Verdict::Proved => ProofStatus {
            phase: ProofPhase::Proved,
            message: format!(
                "{} transactions in {} databases, recorded before the upgrade, are on {} servers after it",
                outcome.transactions(),
                outcome.databases(),
                outcome.servers()
            ),
            ended_at: Some(whole(now)),
            found: Some(found),
            transactions: Some(outcome.transactions()),
            told: false,
            ..old.clone()
        },
        Verdict::Open | Verdict::Refuted => {
            let behind = named(&outcome, |finding| *finding == Finding::Behind);
            let reason = if behind.is_empty() {
                "the servers have no database to compare".to_owned()
            } else {
                behind
            };
            waiting(old, reason, now)
        }
    }
}

/// Nothing came of it this time.
fn waiting(old: &ProofStatus, reason: String, now: Timestamp) -> ProofStatus {
    let due = old.due.as_deref().and_then(|due| due.parse().ok());
    let is_overdue = due.is_none_or(|due: Timestamp| now >= due);
    ProofStatus {
        phase: if is_overdue {
            ProofPhase::Overdue
        } else {
            ProofPhase::Pending
        },
        message: reason,
        // It is said once that it is late, not at every try after that.
        told: old.told && old.phase == ProofPhase::Overdue && is_overdue,
        ..old.clone()
    }
}

/// The servers that do not run the new version yet. A version that is no semantic one tells nothing.
fn older(found: &Record, to: Option<&str>) -> Option<String> {
    let to = to.and_then(|to| parse_release(to).ok())?;
    found.servers.iter().find_map(|(name, held)| {
        let version = parse_release(&held.version).ok()?;
        (version < to).then(|| format!("the {name} still runs {version}"))
    })
}

fn contradictions(outcome: &history::Outcome) -> String {
    named(outcome, |finding| {
        matches!(finding, Finding::Contradicted { .. })
    })
}

/// The checks with such a finding, in words.
fn named(outcome: &history::Outcome, is_wanted: impl Fn(&Finding) -> bool) -> String {
    let wanted: Vec<String> = outcome
        .checks
        .iter()
        .filter(|check| is_wanted(&check.finding))
        .map(ToString::to_string)
        .collect();
    let more = wanted.len().saturating_sub(NAMED);
    let mut text = wanted
        .into_iter()
        .take(NAMED)
        .collect::<Vec<_>>()
        .join("; ");
    if more > 0 {
        text = format!("{text}; and {more} more");
    }
    text
}

/// How much a record is of, in words.
fn extent(record: &Record) -> String {
    let databases: usize = record
        .servers
        .values()
        .map(|held| held.databases.len())
        .sum();
    format!(
        "the state of {databases} databases on {} servers",
        record.servers.len()
    )
}

#[cfg(test)]
pub(crate) mod tests;
