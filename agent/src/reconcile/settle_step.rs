//! After the apply: pruning, once the objects are healthy if that is asked for, and the final inventory.

use std::collections::BTreeMap;

use plan::health::{Health, aggregate};
use plan::object::ObjectId;
use plan::plan::{Outcome, Plan};
use tokio::time::Instant;

use super::{CORRECT_AGAIN, Reconciler, Rollout, Stage, sync_step};
use crate::problem::Problem;
use crate::report::{Reason, Retry, Verdict};

/// How many objects that left git but are kept are named in a condition; the rest is counted.
const KEPT_SHOWN: usize = 5;

impl Reconciler {
    /// Brings an applied plan to its end: waits for health if asked to, then prunes. Afterwards keeps
    /// the verdict true to the health of the objects.
    pub(super) async fn settle(&mut self) {
        let Some(rollout) = self.memory.rollout.take() else {
            return;
        };
        let health = aggregate(&self.memory.health);
        if self.sync.spec.wait && health != Health::Current {
            let unfinished = matches!(rollout.stage, Stage::Applied { .. });
            let late = unfinished && Instant::now() >= rollout.deadline;
            self.memory.rollout = Some(rollout);
            self.conclude(waiting(health, late)).await;
            return;
        }
        let Rollout {
            revision,
            generation,
            deadline,
            stage,
        } = rollout;
        let message = match stage {
            Stage::Done { message } => message,
            Stage::Applied { plan, outcomes } => {
                match self.finish(&plan, outcomes, &revision).await {
                    Some(message) => message,
                    None => return,
                }
            }
        };
        if health == Health::Current {
            self.status.last_healthy_revision = Some(revision.clone());
        }
        let stage = Stage::Done {
            message: message.clone(),
        };
        self.memory.rollout = Some(Rollout {
            revision,
            generation,
            deadline,
            stage,
        });
        let verdict = match self.uncorrected() {
            Some(message) => failed(Reason::ReconciliationFailed, message),
            None => Verdict::Ready { message },
        };
        self.conclude(verdict).await;
    }

    /// What to say about foreign changes that stand, if there are any.
    fn uncorrected(&self) -> Option<String> {
        let changes = self.memory.uncorrected.iter();
        let lines: Vec<String> = changes.map(|(id, why)| format!("{id}: {why}")).collect();
        if lines.is_empty() {
            return None;
        }
        let text = lines.join("\n");
        Some(format!("cannot undo a foreign change of\n{text}"))
    }

    /// Prunes and writes the final inventory. Returns what to say, or `None` after a failure, which
    /// makes the next attempt plan anew.
    async fn finish(
        &mut self,
        plan: &Plan,
        mut outcomes: BTreeMap<ObjectId, Outcome>,
        revision: &str,
    ) -> Option<String> {
        let walked = self.walk().prune(&plan.prune).await;
        outcomes.extend(walked.outcomes);
        let contents = plan.finish(&outcomes);
        for id in plan.prune.iter().map(|prune| &prune.id) {
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
        self.status.last_applied_revision = Some(revision.to_owned());
        let kept = plan.kept.iter().map(|kept| format!("\n{kept}"));
        let shown: String = kept.take(KEPT_SHOWN).collect();
        let more = match plan.kept.len().saturating_sub(KEPT_SHOWN) {
            0 => String::new(),
            more => format!("\nand {more} more objects that are kept"),
        };
        Some(format!("Applied revision: {revision}{shown}{more}"))
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
