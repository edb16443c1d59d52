//! From what came of a poll to what users read: the status of a policy, as a pure function of the old one.

use std::time::Duration;

use forge::decide::{Action, Target};
use forge::fault::Remedy;
use forge::pull_request::PullRequest;
use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::poll::{PollError, Polled};
use super::proof::is_acknowledged;
use crate::api::upgrade_policy::{
    CandidateStatus, IgnoredStatus, PullRequestStatus, UpgradePolicyStatus,
};
use crate::api::upgrade_proof::{ProofPhase, ProofStatus};
use crate::problem::chain;
use crate::report::condition;

/// Releases that are listed as ignored.
const IGNORED: usize = 20;
/// The first pause after a failure that may pass by itself; each next one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// A pending proof is tried again this often: the Syncs of an upgrade take seconds to minutes.
const PROVING: Duration = Duration::from_secs(5);
/// The same once it is overdue.
const OVERDUE: Duration = Duration::from_mins(1);

/// What came of a step of a policy.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing is done.
    Suspended,
    /// A proof goes first.
    Proof(ProofStatus),
    /// Everything was polled.
    Polled {
        /// What came of it.
        polled: Box<Polled>,
        /// What is known of the proof.
        proof: Option<ProofStatus>,
    },
}

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
    let polled = match outcome {
        Outcome::Suspended => return suspended(),
        Outcome::Proof(proof) => return proving(proof),
        Outcome::Polled { polled, proof: _ } => polled,
    };
    let (standing, reason, message) = match &polled.decision.action {
        Action::Nothing { reason } => {
            let word = match &polled.pull_request {
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
    let message = if polled.truncated {
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

/// How a policy stands whose proof goes before its releases.
fn proving(proof: &ProofStatus) -> Verdict {
    let (standing, reason) = match proof.phase {
        ProofPhase::Recorded | ProofPhase::Pending => (Standing::Ready, "ProofPending"),
        ProofPhase::Proved => (Standing::Ready, "UpgradeProved"),
        ProofPhase::Overdue => (Standing::Stalled, "ProofOverdue"),
        ProofPhase::Refuted => (Standing::Stalled, "ProofRefuted"),
    };
    let number = proof.pull_request.as_ref().map_or(0, |open| open.number);
    let message = match standing {
        Standing::Ready => proof.message.clone(),
        Standing::Retrying | Standing::Stalled => format!(
            "{}; hint: the comment on pull request #{number} says what to do; nothing is proposed until \
             spec.proof.acknowledged is {number}",
            proof.message
        ),
    };
    Verdict {
        standing,
        reason,
        message,
    }
}

/// How a policy stands that is told to do nothing.
fn suspended() -> Verdict {
    Verdict {
        standing: Standing::Ready,
        reason: "Suspended",
        message: "it does nothing, as spec.suspend says".to_owned(),
    }
}

/// How long to wait after a result. `failures` counts those in a row, this one included.
pub(crate) fn pause(
    result: &Result<Outcome, PollError>,
    interval: Duration,
    failures: u32,
) -> Duration {
    let remedy = match result {
        Ok(outcome) => return between(outcome).unwrap_or(interval).min(interval),
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

/// How long to wait while a proof goes first, if that is not the interval.
fn between(outcome: &Outcome) -> Option<Duration> {
    let proof = match outcome {
        Outcome::Proof(proof) => proof,
        Outcome::Suspended | Outcome::Polled { .. } => return None,
    };
    match (proof.phase, proof.told) {
        (ProofPhase::Recorded | ProofPhase::Pending, _) => Some(PROVING),
        (ProofPhase::Overdue, true) => Some(OVERDUE),
        (ProofPhase::Refuted, true) => None,
        // Releases come next, or the result is told.
        (ProofPhase::Proved, _) | (ProofPhase::Overdue | ProofPhase::Refuted, false) => {
            Some(Duration::ZERO)
        }
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
    /// When the next poll is due, if one is.
    pub(crate) next: Option<Timestamp>,
    /// The pull request whose failed proof somebody has dealt with.
    pub(crate) acknowledged: Option<u64>,
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
        acknowledged,
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
    let proof = match result {
        Ok(Outcome::Polled { polled: _, proof }) => proof.clone(),
        Ok(Outcome::Proof(proof)) => Some(proof.clone()),
        Ok(Outcome::Suspended) | Err(_) => old.proof.clone(),
    };
    let mut conditions: Vec<Condition> = wanted
        .drain(..)
        .map(|words| condition(&old.conditions, words, &message, generation, now))
        .collect();
    if let Some(proof) = &proof {
        let words = proven(proof, acknowledged);
        let proven = condition(&old.conditions, words, &proof.message, generation, now);
        conditions.push(proven);
    }
    let mut status = UpgradePolicyStatus {
        conditions,
        observed_generation: Some(generation),
        last_handled_reconcile_at: requested_at.map(str::to_owned),
        next_poll: next.map(whole),
        proof,
        ..old.clone()
    };
    let Ok(Outcome::Polled { polled, proof: _ }) = result else {
        return status;
    };
    let decision = &polled.decision;
    status.current = Some(decision.current.to_string());
    status.candidate = decision.target.as_ref().map(candidate);
    status.pull_request = polled.pull_request.as_ref().map(listed);
    if let (Some(proof), Some(open)) = (&mut status.proof, &status.pull_request)
        && proof.phase == ProofPhase::Recorded
    {
        proof.pull_request = Some(open.clone());
    }
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

/// The condition Proven.
fn proven(
    proof: &ProofStatus,
    acknowledged: Option<u64>,
) -> (&'static str, &'static str, &'static str) {
    let (status, reason) = match proof.phase {
        ProofPhase::Recorded => ("Unknown", "Recorded"),
        ProofPhase::Pending => ("Unknown", "Pending"),
        ProofPhase::Proved => ("True", "Proved"),
        ProofPhase::Overdue | ProofPhase::Refuted if is_acknowledged(proof, acknowledged) => {
            ("False", "Acknowledged")
        }
        ProofPhase::Overdue => ("False", "Overdue"),
        ProofPhase::Refuted => ("False", "Refuted"),
    };
    ("Proven", status, reason)
}

/// A pull request as statuses list it.
pub(super) fn listed(one: &PullRequest) -> PullRequestStatus {
    PullRequestStatus {
        number: one.number,
        url: one.url.clone(),
        title: one.title.clone(),
    }
}

pub(super) fn whole(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::proof::tests::recorded_proof;
    use crate::upgrade::settings::InvalidSpec;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn moment(second: i64) -> Moment<'static> {
        Moment {
            generation: 3,
            requested_at: Some("now"),
            now: at(second),
            next: Some(at(second + 60)),
            acknowledged: None,
        }
    }

    fn proving(phase: ProofPhase, told: bool) -> Outcome {
        Outcome::Proof(ProofStatus {
            phase,
            told,
            ..recorded_proof()
        })
    }

    #[test]
    fn a_proof_goes_first_and_its_failure_is_loud() {
        use ProofPhase::{Overdue, Pending, Proved, Refuted};
        let hour = Duration::from_hours(1);
        for (phase, told, seconds, expected) in [
            (
                Pending,
                false,
                5,
                &["Ready=True ProofPending", "Proven=Unknown Pending"][..],
            ),
            (
                Proved,
                false,
                0,
                &["Ready=True UpgradeProved", "Proven=True Proved"],
            ),
            (
                Overdue,
                true,
                60,
                &[
                    "Ready=False ProofOverdue",
                    "Stalled=True ProofOverdue",
                    "Proven=False Overdue",
                ],
            ),
            (
                Refuted,
                false,
                0,
                &[
                    "Ready=False ProofRefuted",
                    "Stalled=True ProofRefuted",
                    "Proven=False Refuted",
                ],
            ),
            (
                Refuted,
                true,
                3600,
                &[
                    "Ready=False ProofRefuted",
                    "Stalled=True ProofRefuted",
                    "Proven=False Refuted",
                ],
            ),
        ] {
            let result = Ok(proving(phase, told));
            assert_eq!(pause(&result, hour, 0).as_secs(), seconds, "{phase:?}");
            let found = status(&UpgradePolicyStatus::default(), &result, moment(10));
            assert_eq!(shown(&found), expected, "{phase:?}");
            assert!(found.proof.is_some());
        }
        let stalled = verdict(&Ok(proving(Refuted, true)));
        assert!(
            stalled.message.contains("spec.proof.acknowledged is 7"),
            "{}",
            stalled.message
        );
    }

    #[test]
    fn a_suspended_policy_is_healthy() {
        let found = status(
            &UpgradePolicyStatus::default(),
            &Ok(Outcome::Suspended),
            Moment {
                next: None,
                ..moment(10)
            },
        );
        assert_eq!(shown(&found), ["Ready=True Suspended"]);
        assert_eq!(found.next_poll, None);
    }

    fn shown(status: &UpgradePolicyStatus) -> Vec<String> {
        status
            .conditions
            .iter()
            .map(|one| format!("{}={} {}", one.type_, one.status, one.reason))
            .collect()
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
        assert_eq!(
            shown(&first),
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
