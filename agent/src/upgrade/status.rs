//! From what came of a poll to what users read: the status of a policy, as a pure function of the old one.

use std::time::Duration;

use forge::decide::{Action, Target};
use forge::fault::Remedy;
use jiff::{Timestamp, Unit};

use super::poll::{Outcome, PollError};
use crate::api::upgrade_policy::{
    CandidateStatus, IgnoredStatus, PullRequestStatus, UpgradePolicyStatus,
};
use crate::problem::chain;
use crate::report::condition;

/// Releases that are listed as ignored.
const IGNORED: usize = 20;
/// The first pause after a failure that may pass by itself; each next one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// How a policy stands, in the words of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether everything is as it should be.
    pub(crate) standing: Standing,
    /// One word.
    pub(crate) reason: &'static str,
    /// What to say.
    pub(crate) message: String,
}

/// How a policy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As it should.
    Ready,
    /// It is tried again by itself.
    Retrying,
    /// Somebody has to do something.
    Stalled,
}

/// Puts a result into words.
pub(crate) fn verdict(result: &Result<Outcome, PollError>) -> Verdict {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            return Verdict {
                standing: match error.remedy() {
                    Remedy::Again | Remedy::After(_) => Standing::Retrying,
                    Remedy::Person => Standing::Stalled,
                },
                reason: error.reason(),
                message: chain(error),
            };
        }
    };
    let (standing, reason, message) = match &outcome.decision.action {
        Action::Nothing { reason } => {
            let word = match &outcome.pull_request {
                Some(_) => "PullRequestOpen",
                None => "UpToDate",
            };
            (Standing::Ready, word, reason.clone())
        }
        Action::Blocked { reason } => (Standing::Stalled, "BranchChanged", reason.clone()),
        Action::Open(proposal) => {
            let message = format!("opened a pull request for {}", proposal.version);
            (Standing::Ready, "PullRequestOpen", message)
        }
        Action::Update {
            number, proposal, ..
        } => {
            let message = format!("pull request #{number} is for {} now", proposal.version);
            (Standing::Ready, "PullRequestOpen", message)
        }
        Action::Close {
            number, comment, ..
        } => {
            let message = format!("pull request #{number} was closed. {comment}");
            (Standing::Ready, "UpToDate", message)
        }
    };
    let message = if outcome.truncated {
        format!("{message}; the release list is longer than the part that was read")
    } else {
        message
    };
    Verdict {
        standing,
        reason,
        message,
    }
}

/// How long to wait after a result. `failures` counts those in a row, this one included.
pub(crate) fn pause(
    result: &Result<Outcome, PollError>,
    interval: Duration,
    failures: u32,
) -> Duration {
    let remedy = match result {
        Ok(_) => return interval,
        Err(error) => error.remedy(),
    };
    match remedy {
        Remedy::Again => {
            let doubled = FIRST_RETRY * 2_u32.saturating_pow(failures.clamp(1, 12) - 1);
            doubled.min(interval)
        }
        // What a server asks for counts more than the interval.
        Remedy::After(pause) => pause.max(FIRST_RETRY),
        Remedy::Person => interval,
    }
}

/// What a poll is told besides its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    /// Generation of the spec that was polled.
    pub(crate) generation: i64,
    /// The annotation that asked for it.
    pub(crate) requested_at: Option<&'a str>,
    /// Now.
    pub(crate) now: Timestamp,
    /// When the next poll is due.
    pub(crate) next: Timestamp,
}

/// The status after a poll. A failure leaves in place what was known before.
pub(crate) fn status(
    old: &UpgradePolicyStatus,
    result: &Result<Outcome, PollError>,
    moment: Moment<'_>,
) -> UpgradePolicyStatus {
    let Moment {
        generation,
        requested_at,
        now,
        next,
    } = moment;
    let Verdict {
        standing,
        reason,
        message,
    } = verdict(result);
    let mut wanted = match standing {
        Standing::Ready => vec![("Ready", "True", reason)],
        Standing::Retrying => vec![
            ("Ready", "False", reason),
            ("Reconciling", "True", "ProgressingWithRetry"),
        ],
        Standing::Stalled => vec![("Ready", "False", reason), ("Stalled", "True", reason)],
    };
    let conditions = wanted
        .drain(..)
        .map(|(kind, status, reason)| {
            condition(
                &old.conditions,
                (kind, status, reason),
                &message,
                generation,
                now,
            )
        })
        .collect();
    let mut status = UpgradePolicyStatus {
        conditions,
        observed_generation: Some(generation),
        last_handled_reconcile_at: requested_at.map(str::to_owned),
        next_poll: Some(whole(next)),
        ..old.clone()
    };
    let Ok(outcome) = result else {
        return status;
    };
    let decision = &outcome.decision;
    status.current = Some(decision.current.to_string());
    status.candidate = decision.target.as_ref().map(candidate);
    status.pull_request = outcome.pull_request.as_ref().map(|open| PullRequestStatus {
        number: open.number,
        url: open.url.clone(),
        title: open.title.clone(),
    });
    let ignored = decision.ignored.iter().take(IGNORED);
    status.ignored = ignored
        .map(|ignored| IgnoredStatus {
            tag: ignored.tag.chars().take(100).collect(),
            reason: ignored.reason.to_string(),
        })
        .collect();
    status.ignored_total = u32::try_from(decision.ignored.len()).ok();
    status.last_poll = Some(whole(now));
    status
}

fn candidate(target: &Target) -> CandidateStatus {
    CandidateStatus {
        version: target.candidate.version.to_string(),
        image: target.image.clone(),
        digest: target.digest.clone(),
        published_at: target.candidate.published_at.to_string(),
        url: target.candidate.release.url.clone(),
    }
}

fn whole(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::settings::InvalidSpec;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn moment(second: i64) -> Moment<'static> {
        Moment {
            generation: 3,
            requested_at: Some("now"),
            now: at(second),
            next: at(second + 60),
        }
    }

    #[test]
    fn a_failure_keeps_what_was_known() {
        let known = UpgradePolicyStatus {
            current: Some("1.10.0".to_owned()),
            last_poll: Some("1970-01-01T00:00:00Z".to_owned()),
            ..UpgradePolicyStatus::default()
        };
        let failed = Err(PollError::Spec(InvalidSpec::NoUrl));
        let first = status(&known, &failed, moment(10));
        assert_eq!(first.current, known.current);
        assert_eq!(first.last_poll, known.last_poll);
        assert_eq!(first.next_poll.as_deref(), Some("1970-01-01T00:01:10Z"));
        assert_eq!(first.last_handled_reconcile_at.as_deref(), Some("now"));
        let shown: Vec<String> = first
            .conditions
            .iter()
            .map(|one| format!("{}={} {}", one.type_, one.status, one.reason))
            .collect();
        assert_eq!(
            shown,
            ["Ready=False InvalidSpec", "Stalled=True InvalidSpec"]
        );
        let second = status(&first, &failed, moment(20));
        assert_eq!(
            second.conditions, first.conditions,
            "no transition, no news"
        );
    }

    #[test]
    fn pauses_grow_and_end_at_the_interval() {
        let hour = Duration::from_hours(1);
        let again = Err(PollError::TimedOut { seconds: 1 });
        let seconds = |failures| pause(&again, hour, failures).as_secs();
        assert_eq!([1, 2, 3, 9, 99].map(seconds), [10, 20, 40, 2560, 3600]);
        let person = Err(PollError::Spec(InvalidSpec::NoUrl));
        assert_eq!(pause(&person, hour, 1), hour);
        assert_eq!(pause(&again, Duration::from_secs(5), 1).as_secs(), 5);
    }
}
