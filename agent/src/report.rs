//! From what happened to what users read: the status of a Sync, as a pure function of the old one.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use plan::health::Health;

use crate::api::sync::{HistoryEntry, SyncStatus};

/// Results that the history keeps.
const HISTORY: usize = 5;
/// The API server's bound on a condition's message, in characters.
const MESSAGE_LIMIT: usize = 32_000;

/// Reason of the Ready condition; Flux's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// All done.
    Succeeded,
    /// Under way.
    Progressing,
    /// No commit to work with.
    ArtifactFailed,
    /// The files do not render.
    BuildFailed,
    /// The server refused objects, or could not be reached.
    ReconciliationFailed,
    /// Objects could not be deleted.
    PruneFailed,
    /// Objects did not become healthy in time.
    HealthCheckFailed,
    /// Another Sync comes first.
    DependencyNotReady,
    /// The spec means nothing.
    InvalidSpec,
}

impl Reason {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "ReconciliationSucceeded",
            Self::Progressing => "Progressing",
            Self::ArtifactFailed => "ArtifactFailed",
            Self::BuildFailed => "BuildFailed",
            Self::ReconciliationFailed => "ReconciliationFailed",
            Self::PruneFailed => "PruneFailed",
            Self::HealthCheckFailed => "HealthCheckFailed",
            Self::DependencyNotReady => "DependencyNotReady",
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}

/// How a Sync stands, in the words of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything is applied, and healthy if that was asked for.
    Ready {
        /// What to say.
        message: String,
    },
    /// Something is still to happen by itself.
    Progressing {
        /// What it waits for.
        reason: Reason,
        /// What to say.
        message: String,
    },
    /// It did not work.
    Failed {
        /// At which step.
        reason: Reason,
        /// What to say, with every error.
        message: String,
        /// Whether it is tried again before anything changes.
        retry: Retry,
    },
}

/// What happens after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It is tried again by itself.
    Later,
    /// It waits for a new spec or revision.
    OnChange,
}

impl Verdict {
    /// Reason and message of the Ready condition.
    pub(crate) fn text(&self) -> (Reason, &str) {
        match self {
            Self::Ready { message } => (Reason::Succeeded, message),
            Self::Progressing { reason, message }
            | Self::Failed {
                reason,
                message,
                retry: _,
            } => (*reason, message),
        }
    }
}

/// Writes the verdict into the conditions. Times of transition move only when a status flips.
pub(crate) fn conditions(
    old: &[Condition],
    generation: i64,
    verdict: &Verdict,
    health: &Health,
    now: Timestamp,
) -> Vec<Condition> {
    let (reason, message) = verdict.text();
    let (ready, reconciling, stalled) = match verdict {
        Verdict::Ready { .. } => ("True", false, false),
        Verdict::Progressing { .. } => ("Unknown", true, false),
        Verdict::Failed {
            retry: Retry::Later,
            ..
        } => ("False", true, false),
        Verdict::Failed {
            retry: Retry::OnChange,
            ..
        } => ("False", false, true),
    };
    let (healthy, why) = match health {
        Health::Current => ("True", "all objects are healthy"),
        Health::InProgress { reason } | Health::Unknown { reason } => ("Unknown", reason.as_str()),
        Health::Failed { reason } => ("False", reason.as_str()),
        Health::Terminating => ("Unknown", "objects are being deleted"),
    };
    let mut wanted = vec![("Ready", ready, reason.as_str(), message)];
    wanted.push(("Healthy", healthy, health_reason(health), why));
    if reconciling {
        let word = match verdict {
            Verdict::Failed { .. } => "ProgressingWithRetry",
            Verdict::Ready { .. } | Verdict::Progressing { .. } => "Progressing",
        };
        wanted.push(("Reconciling", "True", word, message));
    }
    if stalled {
        wanted.push(("Stalled", "True", reason.as_str(), message));
    }
    wanted
        .into_iter()
        .map(|(kind, status, reason, message)| {
            condition(old, (kind, status, reason), message, generation, now)
        })
        .collect()
}

/// One condition, given as type, status and reason. Its time of transition moves only when the status does.
pub(crate) fn condition(
    old: &[Condition],
    (kind, status, reason): (&str, &str, &str),
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let before = old.iter().find(|condition| condition.type_ == kind);
    let since = match before {
        Some(before) if before.status == status => before.last_transition_time.clone(),
        Some(_) | None => Time(whole_seconds(now)),
    };
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shorten(message),
        observed_generation: Some(generation),
        last_transition_time: since,
    }
}

/// The API server keeps times in whole seconds; ours must compare equal to what it returns.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

const fn health_reason(health: &Health) -> &'static str {
    match health {
        Health::Current => "Healthy",
        Health::InProgress { .. } | Health::Terminating => "Progressing",
        Health::Failed { .. } => "HealthCheckFailed",
        Health::Unknown { .. } => "Unknown",
    }
}

fn shorten(message: &str) -> String {
    let mut short: String = message.chars().take(MESSAGE_LIMIT).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}

/// A result for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt<'a> {
    /// Revision that was tried.
    pub(crate) revision: &'a str,
    /// sha256 of what was rendered.
    pub(crate) digest: &'a str,
    /// How it ended.
    pub(crate) reason: Reason,
    /// How long it took.
    pub(crate) duration: std::time::Duration,
}

/// Puts an attempt on top of the history, or counts it if it equals the newest entry.
pub(crate) fn remember(status: &mut SyncStatus, attempt: &Attempt<'_>, now: Timestamp) {
    let Attempt {
        revision,
        digest,
        reason,
        duration,
    } = attempt;
    let time = now.round(Unit::Second).unwrap_or(now).to_string();
    let took = format!("{} ms", duration.as_millis());
    if let Some(newest) = status.history.first_mut()
        && newest.revision == *revision
        && newest.digest == *digest
        && newest.status == reason.as_str()
    {
        newest.last_reconciled = time;
        newest.last_duration = took;
        newest.total += 1;
        return;
    }
    let entry = HistoryEntry {
        revision: (*revision).to_owned(),
        digest: (*digest).to_owned(),
        status: reason.as_str().to_owned(),
        first_reconciled: time.clone(),
        last_reconciled: time,
        last_duration: took,
        total: 1,
    };
    status.history.insert(0, entry);
    status.history.truncate(HISTORY);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready() -> Verdict {
        Verdict::Ready {
            message: "Applied revision: main".to_owned(),
        }
    }

    fn failed(retry: Retry) -> Verdict {
        let message = "2 errors".to_owned();
        Verdict::Failed {
            reason: Reason::BuildFailed,
            message,
            retry,
        }
    }

    #[test]
    fn abnormal_conditions_exist_only_while_they_are_true() {
        let progress = Health::InProgress {
            reason: "r".to_owned(),
        };
        let types = |verdict: &Verdict| -> Vec<String> {
            conditions(&[], 1, verdict, &progress, at(0))
                .into_iter()
                .map(|condition| format!("{}={}", condition.type_, condition.status))
                .collect()
        };
        assert_eq!(types(&ready()), ["Ready=True", "Healthy=Unknown"]);
        let later = ["Ready=False", "Healthy=Unknown", "Reconciling=True"];
        assert_eq!(types(&failed(Retry::Later)), later);
        let stalled = ["Ready=False", "Healthy=Unknown", "Stalled=True"];
        assert_eq!(types(&failed(Retry::OnChange)), stalled);
    }

    #[test]
    fn times_move_when_a_status_flips() {
        let first = conditions(&[], 1, &ready(), &Health::Current, at(10));
        let same = conditions(&first, 2, &ready(), &Health::Current, at(20));
        assert_eq!(same[0].last_transition_time, Time(at(10)));
        assert_eq!(same[0].observed_generation, Some(2));
        let flipped = conditions(&same, 2, &failed(Retry::Later), &Health::Current, at(30));
        assert_eq!(flipped[0].last_transition_time, Time(at(30)));
        assert_eq!(flipped[1].last_transition_time, Time(at(10)));
    }

    #[test]
    fn history_counts_repeats_and_keeps_five() {
        let mut status = SyncStatus::default();
        let attempt = |revision: &'static str| Attempt {
            revision,
            digest: "d",
            reason: Reason::Succeeded,
            duration: std::time::Duration::from_millis(12),
        };
        remember(&mut status, &attempt("r0"), at(0));
        remember(&mut status, &attempt("r0"), at(60));
        assert_eq!(status.history[0].total, 2);
        assert_eq!(status.history[0].first_reconciled, "1970-01-01T00:00:00Z");
        assert_eq!(status.history[0].last_reconciled, "1970-01-01T00:01:00Z");
        for revision in ["r1", "r2", "r3", "r4", "r5"] {
            remember(&mut status, &attempt(revision), at(70));
        }
        let revisions: Vec<&str> = status
            .history
            .iter()
            .map(|entry| entry.revision.as_str())
            .collect();
        assert_eq!(revisions, ["r5", "r4", "r3", "r2", "r1"]);
    }
}
