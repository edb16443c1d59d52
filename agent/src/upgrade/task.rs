//! The task of one policy: waits until a poll is due, polls, and writes down what came of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::Api;
use kube::{Resource as _, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::poll::{Outcome, PollError, poll};
use super::status::{Moment, Standing, Verdict, pause, status, verdict};
use crate::api::names::REQUESTED_AT;
use crate::api::upgrade_policy::{UpgradePolicy, UpgradePolicyStatus};
use crate::events::Tone;
use crate::pause::spread;
use crate::shared::Shared;

/// Longest time for one poll: about twenty requests of at most half a minute each.
const POLL: Duration = Duration::from_mins(10);
/// A status that could not be written is written again after this long.
const WRITE_AGAIN: Duration = Duration::from_secs(10);
/// A suspended policy is looked at again when it changes; this only is the end of the clock.
const SUSPENDED: Duration = Duration::from_hours(24);

/// The task of one policy.
pub(super) struct Task {
    shared: Arc<Shared>,
    /// The policy as it is now.
    policy: watch::Receiver<Arc<UpgradePolicy>>,
    stop: CancellationToken,
    /// What the API server has.
    status: UpgradePolicyStatus,
    told: Option<Verdict>,
    failures: u32,
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        policy: watch::Receiver<Arc<UpgradePolicy>>,
        stop: CancellationToken,
    ) -> Self {
        let status = policy.borrow().status.clone().unwrap_or_default();
        Self {
            shared,
            policy,
            stop,
            status,
            told: None,
            failures: 0,
        }
    }

    /// Runs until the policy is gone or the process ends.
    pub(super) async fn run(mut self) {
        let mut due = self.first();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.policy.changed() => match changed {
                    Ok(()) => {}
                    Err(_) => return,
                },
                () = sleep_until(due) => {}
            }
            let policy = Arc::clone(&self.policy.borrow_and_update());
            let stop = self.stop.clone();
            // Whatever a poll was in the middle of, the next one goes on from what it finds.
            tokio::select! {
                () = stop.cancelled() => return,
                wait = self.step(&policy) => due = Instant::now() + wait,
            }
        }
    }

    /// A restart of the agent is no reason to ask anybody anything: the last poll still counts.
    fn first(&self) -> Instant {
        let policy = self.policy.borrow();
        let known = self.status.observed_generation == policy.metadata.generation
            && self.status.last_handled_reconcile_at.as_deref() == requested_at(&policy);
        let next = self.status.next_poll.as_deref();
        let wait = next
            .filter(|_| known)
            .and_then(|next| next.parse::<Timestamp>().ok())
            .and_then(|next| Duration::try_from(next.duration_since(Timestamp::now())).ok())
            .unwrap_or_default();
        Instant::now() + wait.min(policy.spec.interval.duration())
    }

    /// Polls and returns the pause until the next poll.
    async fn step(&mut self, policy: &UpgradePolicy) -> Duration {
        if policy.spec.suspend {
            return SUSPENDED;
        }
        let name = policy.name_any();
        let shared = Arc::clone(&self.shared);
        let polling = poll(&shared.cluster, &shared.namespace, &name, &policy.spec);
        let result = match timeout(POLL, polling).await {
            Ok(result) => result,
            Err(_) => Err(PollError::TimedOut {
                seconds: POLL.as_secs(),
            }),
        };
        self.failures = match &result {
            Ok(_) => 0,
            Err(_) => self.failures.saturating_add(1),
        };
        let wait = spread(pause(
            &result,
            policy.spec.interval.duration(),
            self.failures,
        ));
        self.announce(policy, &result).await;
        let now = Timestamp::now();
        let next = SignedDuration::try_from(wait)
            .ok()
            .and_then(|wait| now.checked_add(wait).ok());
        let moment = Moment {
            generation: policy.metadata.generation.unwrap_or_default(),
            requested_at: requested_at(policy),
            now,
            next: next.unwrap_or(now),
        };
        let new = status(&self.status, &result, moment);
        match self.write(&name, &new).await {
            Ok(()) => wait,
            Err(error) => {
                tracing::warn!(policy = %name, %error, "cannot write the status");
                wait.min(WRITE_AGAIN)
            }
        }
    }

    /// Says once what is new.
    async fn announce(&mut self, policy: &UpgradePolicy, result: &Result<Outcome, PollError>) {
        let verdict = verdict(result);
        if self.told.as_ref() == Some(&verdict) {
            return;
        }
        let Verdict {
            standing,
            reason,
            message,
        } = &verdict;
        let name = policy.name_any();
        let tone = match standing {
            Standing::Ready => {
                tracing::info!(policy = %name, %reason, %message, "upgrades polled");
                Tone::Normal
            }
            Standing::Retrying | Standing::Stalled => {
                tracing::warn!(policy = %name, %reason, %message, "upgrades not polled");
                Tone::Warning
            }
        };
        let about = policy.object_ref(&());
        self.shared.events.tell(&about, tone, reason, message).await;
        self.told = Some(verdict);
    }

    async fn write(
        &mut self,
        name: &str,
        new: &UpgradePolicyStatus,
    ) -> Result<(), crate::problem::Problem> {
        let cluster = &self.shared.cluster;
        let api: Api<UpgradePolicy> = Api::namespaced(cluster.client(), &self.shared.namespace);
        // A merge patch keeps what it does not name: what is gone has to be named as null.
        let mut body = serde_json::json!({
            "candidate": null, "pullRequest": null, "ignored": null, "lastHandledReconcileAt": null,
        });
        if let (Some(body), Ok(serde_json::Value::Object(new))) =
            (body.as_object_mut(), serde_json::to_value(new))
        {
            body.extend(new);
        }
        let patch = serde_json::json!({ "status": body });
        cluster.merge_status(&api, name, &patch).await?;
        self.status = new.clone();
        Ok(())
    }
}

/// The value of the annotation that asks for a poll.
pub(super) fn requested_at(policy: &UpgradePolicy) -> Option<&str> {
    policy.annotations().get(REQUESTED_AT).map(String::as_str)
}
