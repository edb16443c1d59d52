//! After the apply: pruning, once the objects are healthy if that is asked for, and the final inventory.

use plan::health::{Health, aggregate};
use tokio::time::Instant;

use super::{CORRECT_AGAIN, Reconciler, sync_step};
use crate::problem::Problem;
use crate::report::{Reason, Retry, Verdict};

impl Reconciler {
    /// Brings an applied plan to its end: waits for health if asked to, then prunes. Afterwards keeps
    /// the verdict true to the health of the objects.
    pub(super) async fn settle(&mut self) {
        let Some(rollout) = &self.memory.rollout else {
            return;
        };
        let health = aggregate(&self.memory.health);
        if self.sync.spec.wait && health != Health::Current {
            let late = rollout.done.is_none() && Instant::now() >= rollout.deadline;
            self.conclude(waiting(health, late)).await;
            return;
        }
        let revision = rollout.revision.clone();
        let message = match &rollout.done {
            Some(message) => message.clone(),
            None => match self.finish().await {
                Some(message) => message,
                None => return,
            },
        };
        if health == Health::Current {
            self.status.last_healthy_revision = Some(revision);
        }
        self.conclude(Verdict::Ready { message }).await;
    }

    /// Prunes and writes the final inventory. Returns what to say, or `None` after a failure.
    async fn finish(&mut self) -> Option<String> {
        let mut rollout = self.memory.rollout.take()?;
        let walked = self.walk().prune(&rollout.plan.prune).await;
        rollout.outcomes.extend(walked.outcomes);
        let contents = rollout.plan.finish(&rollout.outcomes);
        for id in rollout.plan.prune.iter().map(|prune| &prune.id) {
            if !contents.entries.contains_key(id) {
                tracing::info!(sync = %self.name, object = %id, "pruned");
            }
        }
        let saved = self.save_inventory(contents).await;
        self.claim();
        let failure = match (saved, walked.halt) {
            (Err(problem), _) => Some(failed(Reason::ReconciliationFailed, problem.to_string())),
            (Ok(()), Some(halt)) => Some(failed(Reason::PruneFailed, sync_step::explain(&halt))),
            (Ok(()), None) => None,
        };
        if let Some(verdict) = failure {
            self.clock.poll = Instant::now() + CORRECT_AGAIN;
            self.conclude(verdict).await;
            return None;
        }
        let revision = rollout.revision.clone();
        let mut message = format!("Applied revision: {revision}");
        for kept in &rollout.plan.kept {
            message = format!("{message}\n{kept}");
        }
        self.status.last_applied_revision = Some(revision);
        rollout.done = Some(message.clone());
        self.memory.rollout = Some(rollout);
        Some(message)
    }

    pub(super) async fn save_inventory(
        &mut self,
        contents: plan::inventory::Inventory,
    ) -> Result<(), Problem> {
        let mut stored = match self.memory.stored.take() {
            Some(stored) => stored,
            None => self.store.load().await?,
        };
        let result = self.store.save(&self.sync, &mut stored, contents).await;
        if result.is_ok() {
            self.memory.stored = Some(stored);
        }
        result
    }

    /// Hears from now on about everything that is wanted or owned.
    pub(super) fn claim(&self) {
        let wanted = self.memory.desired.iter().map(|object| object.id().clone());
        let owned = self
            .memory
            .stored
            .iter()
            .flat_map(|stored| stored.contents.entries.keys().cloned());
        self.shared
            .watches
            .claim(&self.mailbox, wanted.chain(owned));
    }
}

/// What to say about a Sync that waits for the health of its objects.
fn waiting(health: Health, late: bool) -> Verdict {
    match health {
        Health::Failed { reason } => failed(Reason::HealthCheckFailed, reason),
        Health::InProgress { reason } | Health::Unknown { reason } if late => {
            failed(Reason::HealthCheckFailed, format!("timed out: {reason}"))
        }
        Health::InProgress { reason } | Health::Unknown { reason } => {
            progressing(format!("waiting for {reason}"))
        }
        Health::Terminating | Health::Current => {
            progressing("waiting for objects that are being deleted".to_owned())
        }
    }
}

fn progressing(message: String) -> Verdict {
    Verdict::Progressing {
        reason: Reason::Progressing,
        message,
    }
}

fn failed(reason: Reason, message: String) -> Verdict {
    Verdict::Failed {
        reason,
        message,
        retry: Retry::Later,
    }
}
