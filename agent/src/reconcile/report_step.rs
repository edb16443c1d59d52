//! Telling the world: status, Events, log lines, the board and the gauges.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, Unit};
use kube::api::Api;
use plan::health::{Health, aggregate};
use tokio::time::Instant;

use super::{CORRECT_AGAIN, Reconciler};
use crate::api::sync::{InventoryReference, Sync};
use crate::board::{Entry, Standing, SyncName};
use crate::events::Tone;
use crate::report::{Reason, Verdict, conditions};

impl Reconciler {
    /// Takes note of how an attempt ended, and when the next one is due.
    pub(super) async fn conclude(&mut self, verdict: Verdict) {
        self.memory.waiting = matches!(
            verdict,
            Verdict::Progressing {
                reason: Reason::DependencyNotReady,
                ..
            }
        );
        if self.memory.verdict.as_ref() != Some(&verdict) {
            self.announce(&verdict).await;
        }
        self.memory.verdict = Some(verdict);
        self.clock.report = Some(Instant::now());
    }

    async fn announce(&self, verdict: &Verdict) {
        let (reason, message) = verdict.text();
        let reason = reason.as_str();
        match verdict {
            Verdict::Ready { .. } => {
                tracing::info!(sync = %self.name, %reason, %message, "ready");
                self.shared
                    .events
                    .send(&self.sync, Tone::Normal, reason, message)
                    .await;
            }
            Verdict::Progressing { .. } => {
                tracing::info!(sync = %self.name, %reason, %message, "progressing");
            }
            Verdict::Failed { .. } => {
                tracing::warn!(sync = %self.name, %reason, %message, "failed");
                self.shared
                    .events
                    .send(&self.sync, Tone::Warning, reason, message)
                    .await;
            }
        }
    }

    /// Writes the status if it is due and differs from the one in the cluster.
    pub(super) async fn report(&mut self) {
        self.post_line();
        if self.clock.report.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.clock.report = None;
        let Some(verdict) = &self.memory.verdict else {
            return;
        };
        let generation = self.sync.metadata.generation.unwrap_or_default();
        let health = aggregate(&self.memory.health);
        let mut status = self.status.clone();
        status.observed_generation = Some(generation);
        status.conditions = conditions(
            &status.conditions,
            generation,
            verdict,
            &health,
            Timestamp::now(),
        );
        status.inventory = self
            .memory
            .stored
            .as_ref()
            .map(|stored| InventoryReference {
                name: self.name.to_string(),
                entries: u32::try_from(stored.contents.entries.len()).unwrap_or(u32::MAX),
            });
        if self.sync.status.as_ref() == Some(&status) {
            return;
        }
        let api: Api<Sync> = Api::namespaced(self.shared.cluster.client(), &self.shared.namespace);
        let patch = serde_json::json!({ "status": status });
        match self
            .shared
            .cluster
            .merge_status(&api, self.name.as_str(), &patch)
            .await
        {
            Ok(sync) => {
                self.status = status.clone();
                // Keep the spec that was acted on; only the status is known to be newer.
                let mut known = Sync::clone(&self.sync);
                known.status = sync.status;
                self.sync = Arc::new(known);
            }
            Err(error) => {
                tracing::warn!(sync = %self.name, %error, "cannot write the status");
                self.clock.report = Some(Instant::now() + CORRECT_AGAIN);
            }
        }
    }

    /// When the repository is looked at again, in whole seconds: the same moment must always read
    /// the same.
    fn next_poll(&self) -> Option<String> {
        if self.sync.spec.suspend {
            return None;
        }
        let wait = self.clock.poll.saturating_duration_since(Instant::now());
        let at = Timestamp::now().checked_add(wait).ok()?;
        Some(at.round(Unit::Second).ok()?.to_string())
    }

    /// Writes this Sync's line on the board, and its gauges.
    pub(super) fn post_line(&self) {
        let standing = match &self.memory.verdict {
            _ if self.sync.spec.suspend => Standing::Suspended,
            None => Standing::Pending,
            Some(Verdict::Ready { .. }) => Standing::Ready,
            Some(Verdict::Progressing { .. }) => Standing::Progressing,
            Some(Verdict::Failed { .. }) => Standing::Failed,
        };
        let (reason, message) = match &self.memory.verdict {
            Some(verdict) => {
                let (reason, message) = verdict.text();
                (reason.as_str(), message.to_owned())
            }
            None => (Reason::Progressing.as_str(), String::new()),
        };
        let unhealthy: BTreeMap<String, String> = self
            .memory
            .health
            .iter()
            .filter_map(|(id, health)| {
                let reason = match health {
                    Health::Current => return None,
                    Health::InProgress { reason }
                    | Health::Failed { reason }
                    | Health::Unknown { reason } => reason.clone(),
                    Health::Terminating => "it is being deleted".to_owned(),
                };
                Some((id.to_string(), reason))
            })
            .collect();
        let objects = self
            .memory
            .stored
            .as_ref()
            .map_or(0, |stored| stored.contents.entries.len());
        let ready = standing == Standing::Ready;
        self.shared
            .metrics
            .standing(self.name.as_str(), ready, objects, unhealthy.len());
        let entry = Entry {
            standing,
            generation: self.sync.metadata.generation.unwrap_or_default(),
            source: self.shared.readers.source(&self.name),
            attempted_revision: self.status.last_attempted_revision.clone(),
            revision: self.status.last_applied_revision.clone(),
            healthy_revision: self.status.last_healthy_revision.clone(),
            depends_on: self
                .sync
                .spec
                .depends_on
                .iter()
                .map(|other| SyncName::new(other.name.clone()))
                .collect(),
            objects,
            unhealthy,
            reason,
            message,
            corrections: self.memory.corrections,
            drift: self.memory.corrected_lately.iter().cloned().collect(),
            next_poll: self.next_poll(),
            attempted: self.memory.attempted,
        };
        self.shared.board.post(&self.name, entry);
    }
}
