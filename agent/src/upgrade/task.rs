//! The task of one policy: waits until a poll is due, polls, and writes down what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::Api;
use kube::{Resource as _, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::merge_patch::merge_patch;
use super::poll::{Depth, Look, PollError, look};
use super::proof::{self, Next, comment::comment};
use super::prove::prove;
use super::settings::Settings;
use super::status::{Moment, Outcome, Standing, Verdict, pause, status, verdict};
use crate::api::names::REQUESTED_AT;
use crate::api::upgrade_policy::{UpgradePolicy, UpgradePolicyStatus};
use crate::api::upgrade_proof::{ProofPhase, ProofStatus};
use crate::board::{Lines, SyncName};
use crate::events::Tone;
use crate::metrics::ProofResult;
use crate::pause::spread;
use crate::problem::{Problem, Secrecy};
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
        self.count(None);
        self.follow().await;
        let name = self.policy.borrow().name_any();
        self.shared.metrics.forget_policy(&name);
    }

    async fn follow(&mut self) {
        let mut due = self.first();
        let mut lines = self.shared.board.subscribe();
        let mut revisions = Revisions::new();
        loop {
            let syncs = self.awaited();
            let depth = tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.policy.changed() => match changed {
                    Ok(()) => Depth::Everything,
                    Err(_) => return,
                },
                () = sleep_until(due) => Depth::Everything,
                () = moved(&mut lines, &syncs, &mut revisions) => Depth::Merge,
            };
            let policy = match depth {
                Depth::Everything => Arc::clone(&self.policy.borrow_and_update()),
                // A change that came meanwhile still asks for everything.
                Depth::Merge => Arc::clone(&self.policy.borrow()),
            };
            let stop = self.stop.clone();
            // Whatever a poll was in the middle of, the next one goes on from what it finds.
            tokio::select! {
                () = stop.cancelled() => return,
                wait = self.step(&policy, depth) => if let Some(wait) = wait {
                    due = Instant::now() + wait;
                },
            }
        }
    }

    /// The Syncs by whose commits a merge shows before the next poll, while one is waited for.
    fn awaited(&self) -> Vec<SyncName> {
        let policy = self.policy.borrow();
        let recorded = self.status.proof.as_ref();
        match (recorded, &policy.spec.proof) {
            (Some(recorded), Some(proof))
                if recorded.phase == ProofPhase::Recorded && !policy.spec.suspend =>
            {
                [&proof.primary, &proof.replica]
                    .map(|server| SyncName::new(server.sync_ref.name.clone()))
                    .into()
            }
            (Some(_) | None, Some(_) | None) => Vec::new(),
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

    /// Takes one step and returns the pause until the next; `None` if it brought nothing.
    async fn step(&mut self, policy: &UpgradePolicy, depth: Depth) -> Option<Duration> {
        let result = match timeout(POLL, self.outcome(policy, depth)).await {
            Ok(Ok(outcome)) => Ok(outcome?),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(PollError::TimedOut {
                seconds: POLL.as_secs(),
            }),
        };
        self.failures = match &result {
            Ok(_) => 0,
            Err(_) => self.failures.saturating_add(1),
        };
        self.announce(policy, &result).await;
        let now = Timestamp::now();
        let (wait, next) = if policy.spec.suspend {
            (SUSPENDED, None)
        } else {
            let interval = policy.spec.interval.duration();
            let wait = spread(pause(&result, interval, self.failures));
            let next = SignedDuration::try_from(wait)
                .ok()
                .and_then(|wait| now.checked_add(wait).ok());
            (wait, Some(next.unwrap_or(now)))
        };
        let moment = Moment {
            generation: policy.metadata.generation.unwrap_or_default(),
            requested_at: requested_at(policy),
            now,
            next,
            acknowledged: acknowledged(policy),
        };
        let new = status(&self.status, &result, moment);
        let name = policy.name_any();
        match self.write(&name, &new).await {
            Ok(()) => Some(wait),
            Err(error) => {
                tracing::warn!(policy = %name, %error, "cannot write the status");
                Some(wait.min(WRITE_AGAIN))
            }
        }
    }

    /// Does what comes next. `None` if there was no merge, and only that was asked.
    async fn outcome(
        &mut self,
        policy: &UpgradePolicy,
        depth: Depth,
    ) -> Result<Option<Outcome>, PollError> {
        if policy.spec.suspend {
            return Ok(Some(Outcome::Suspended));
        }
        let name = policy.name_any();
        let shared = Arc::clone(&self.shared);
        let settings = Settings::of(&name, &policy.spec)?;
        let clients = Clients::new(&shared.cluster, &shared.namespace, &settings).await?;
        let old = self.status.proof.clone();
        if let (Some(known), Some(wanted)) = (&old, &settings.proof) {
            let proof = match proof::next(Some(known), wanted.acknowledged) {
                Next::Poll => return self.poll(policy, clients, &settings, depth).await,
                Next::Hold => known.clone(),
                Next::Prove => prove(clients, wanted, &shared.board.lines(), known).await,
                Next::Tell => tell(&shared, clients, &name, known).await?,
            };
            return Ok(Some(Outcome::Proof(proof)));
        }
        self.poll(policy, clients, &settings, depth).await
    }

    /// Polls, and writes down what is recorded before anything is done.
    async fn poll(
        &mut self,
        policy: &UpgradePolicy,
        clients: Clients<'_>,
        settings: &Settings,
        depth: Depth,
    ) -> Result<Option<Outcome>, PollError> {
        let old = self.status.proof.clone();
        match look(clients, settings, old.as_ref(), depth).await? {
            Look::NoMerge => Ok(None),
            Look::Proof(proof) => Ok(Some(Outcome::Proof(proof))),
            Look::Decision { act, proof } => {
                if proof != self.status.proof {
                    // Before anything can be merged.
                    let status = UpgradePolicyStatus {
                        proof: proof.clone(),
                        ..self.status.clone()
                    };
                    self.write(&policy.name_any(), &status).await?;
                }
                let polled = Box::new(act.carry_out(&self.shared.cluster).await?);
                Ok(Some(Outcome::Polled { polled, proof }))
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

    /// Brings the API server's status to `new`.
    async fn write(&mut self, name: &str, new: &UpgradePolicyStatus) -> Result<(), Problem> {
        let cluster = &self.shared.cluster;
        let api: Api<UpgradePolicy> = Api::namespaced(cluster.client(), &self.shared.namespace);
        // A patch must name what is gone, and only the server knows what it has: a write whose answer was
        // lost may have arrived.
        let Some(live) = cluster.read(Secrecy::Open, api.get_opt(name)).await? else {
            return Ok(());
        };
        let change = merge_patch(&json(&live.status.unwrap_or_default())?, &json(new)?);
        cluster
            .merge_status(&api, name, &serde_json::json!({ "status": change }))
            .await?;
        let old = std::mem::replace(&mut self.status, new.clone());
        self.count(old.proof.as_ref());
        Ok(())
    }

    /// Counts the result of a proof once it is written down.
    fn count(&self, old: Option<&ProofStatus>) {
        let policy = self.policy.borrow();
        let metrics = &self.shared.metrics;
        let Some(proof) = &self.status.proof else {
            metrics.unproved(&policy.name_any(), false);
            return;
        };
        let failed = match proof.phase {
            ProofPhase::Overdue | ProofPhase::Refuted => {
                !proof::is_acknowledged(proof, acknowledged(&policy))
            }
            ProofPhase::Recorded | ProofPhase::Pending | ProofPhase::Proved => false,
        };
        metrics.unproved(&policy.name_any(), failed);
        let ended = match proof.phase {
            ProofPhase::Proved => Some(ProofResult::Proved),
            ProofPhase::Overdue => Some(ProofResult::Overdue),
            ProofPhase::Refuted => Some(ProofResult::Refuted),
            ProofPhase::Recorded | ProofPhase::Pending => None,
        };
        if let (Some(ended), Some(old)) = (ended, old)
            && old.phase != proof.phase
        {
            metrics.proof(&policy.name_any(), ended);
        }
    }
}

/// Says the result on the pull request.
async fn tell(
    shared: &Shared,
    clients: Clients<'_>,
    policy: &str,
    proof: &ProofStatus,
) -> Result<ProofStatus, PollError> {
    // Whoever lost the lease must not act: another agent does.
    shared.cluster.authority().held().await?;
    if let Some(merged) = &proof.pull_request {
        let text = comment(policy, proof);
        clients
            .into_forge()
            .tell_proof(merged.number, &text)
            .await?;
    }
    Ok(ProofStatus {
        told: true,
        ..proof.clone()
    })
}

/// The revisions that Syncs have attempted and were healthy at.
type Revisions = BTreeMap<SyncName, (Option<String>, Option<String>)>;

/// Waits until one of the Syncs is at another revision than in `known`, which then has it: the merge may
/// be in that.
async fn moved(lines: &mut watch::Receiver<Lines>, syncs: &[SyncName], known: &mut Revisions) {
    if syncs.is_empty() {
        return std::future::pending().await;
    }
    let at = |lines: &Lines| -> Revisions {
        let at = |name: &SyncName| {
            let line = lines.get(name)?;
            let revisions = (
                line.attempted_revision.clone(),
                line.healthy_revision.clone(),
            );
            Some((name.clone(), revisions))
        };
        syncs.iter().filter_map(at).collect()
    };
    let changed = match lines.wait_for(|lines| at(lines) != *known).await {
        Ok(lines) => Some(at(&lines)),
        Err(_) => None,
    };
    match changed {
        Some(changed) => *known = changed,
        // The board is gone: the process ends.
        None => std::future::pending().await,
    }
}

fn json(status: &UpgradePolicyStatus) -> Result<serde_json::Value, Problem> {
    serde_json::to_value(status).map_err(|error| Problem::Answer {
        reason: error.to_string(),
    })
}

/// The value of the annotation that asks for a poll.
pub(super) fn requested_at(policy: &UpgradePolicy) -> Option<&str> {
    policy.annotations().get(REQUESTED_AT).map(String::as_str)
}

fn acknowledged(policy: &UpgradePolicy) -> Option<u64> {
    policy.spec.proof.as_ref()?.acknowledged
}
