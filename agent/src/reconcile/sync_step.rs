//! One attempt to bring the cluster to what the repository says now: fetch, render, plan, try, apply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use plan::health::Health;
use plan::object::{Desired, ObjectId, Toggle};
use plan::plan::{Outcome, Plan};
use tokio::time::Instant;

use super::{Reconciler, Rollout, Stage, requested_at};
use crate::api::names::FINALIZER;
use crate::api::sync::Sync;
use crate::execute::{Halt, Walked};
use crate::git::fetcher::Fetched;
use crate::git::revision::Revision;
use crate::health::varies;
use crate::pause::spread;
use crate::preflight;
use crate::problem::{Problem, chain};
use crate::render::Rendered;
use crate::report::{Attempt, Reason, Retry, Verdict, remember};
use crate::settings::Settings;

/// First pause after a failure; it doubles up to the Sync's retry interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What an attempt came to.
enum Attempted {
    /// The cluster is what the repository says; nothing was to do.
    Unchanged,
    /// The plan is applied; health and pruning are to follow.
    Applied(Rollout),
    /// Others come first.
    Waiting(String),
    /// Newer news came, or the process ends.
    Dropped,
}

/// An attempt that failed.
pub(super) struct Failure {
    reason: Reason,
    message: String,
    retry: Retry,
}

impl Failure {
    /// Tried again by itself.
    pub(super) fn new(reason: Reason, error: &dyn std::error::Error) -> Self {
        Self {
            reason,
            message: chain(error),
            retry: Retry::Later,
        }
    }

    /// The API server said no.
    pub(super) fn server(problem: &Problem) -> Self {
        Self::new(Reason::ReconciliationFailed, problem)
    }
}

impl Reconciler {
    /// Makes one attempt and takes note of its result and of when to make the next one.
    pub(super) async fn synchronize(&mut self, asked: Option<Instant>) {
        let started = Instant::now();
        let settings = Settings::of(&self.sync);
        let (interval, retry) = match &settings {
            Ok(settings) => (settings.interval, settings.retry),
            Err(_) => (Duration::from_hours(24), Duration::from_hours(24)),
        };
        let result = match settings {
            Ok(settings) => {
                let result = self.attempt(&settings, asked, started).await;
                let idle = matches!(result, Err(_) | Ok(Attempted::Waiting(_)));
                if idle && self.memory.desired.is_empty() {
                    self.restore_or_log(&settings).await;
                }
                result
            }
            Err(error) => Err(Failure {
                reason: Reason::InvalidSpec,
                message: chain(&error),
                retry: Retry::OnChange,
            }),
        };
        self.memory.attempted = true;
        let handled = requested_at(&self.sync).map(str::to_owned);
        if handled != self.status.last_handled_reconcile_at {
            self.status.last_handled_reconcile_at = handled;
            self.clock.report = Some(Instant::now());
        }
        self.memory.failures = if result.is_err() {
            self.memory.failures.saturating_add(1)
        } else {
            0
        };
        let pause = match &result {
            Ok(Attempted::Dropped) => Duration::ZERO,
            Ok(_) => interval,
            Err(_) => {
                let doubled = FIRST_RETRY * 2_u32.saturating_pow(self.memory.failures.min(12) - 1);
                doubled.min(retry)
            }
        };
        self.clock.poll = Instant::now() + spread(pause);
        self.take_note(result, started.elapsed()).await;
        if self.clock.health.is_none() {
            self.plan_next_look();
        }
    }

    async fn take_note(&mut self, result: Result<Attempted, Failure>, took: Duration) {
        let name = self.name.to_string();
        if let Ok(Attempted::Unchanged | Attempted::Applied(_)) = &result {
            self.shared
                .metrics
                .succeeded(&name, Timestamp::now().as_second());
        }
        let reason = match result {
            Ok(Attempted::Unchanged | Attempted::Dropped) => return,
            Ok(Attempted::Waiting(message)) => {
                let reason = Reason::DependencyNotReady;
                self.memory.rollout = None;
                self.conclude(Verdict::Progressing { reason, message })
                    .await;
                reason
            }
            Ok(Attempted::Applied(rollout)) => {
                self.note(Reason::Succeeded, took);
                self.memory.rollout = Some(rollout);
                Reason::Succeeded
            }
            Err(Failure {
                reason,
                message,
                retry,
            }) => {
                self.note(reason, took);
                self.memory.rollout = None;
                self.conclude(Verdict::Failed {
                    reason,
                    message,
                    retry,
                })
                .await;
                reason
            }
        };
        self.shared
            .metrics
            .reconciled(&name, reason.as_str(), took.as_secs_f64());
    }

    /// Puts an attempt into the history, unless it is the same failure again.
    fn note(&mut self, reason: Reason, duration: Duration) {
        let revision = self
            .status
            .last_attempted_revision
            .clone()
            .unwrap_or_default();
        let digest = self
            .memory
            .rendered
            .as_ref()
            .map(|rendered| rendered.digest.clone());
        let digest = digest.unwrap_or_default();
        let newest = self.status.history.first();
        let again = newest.is_some_and(|newest| {
            newest.revision == revision
                && newest.digest == digest
                && newest.status == reason.as_str()
        });
        if again && reason != Reason::Succeeded {
            return;
        }
        let attempt = Attempt {
            revision: &revision,
            digest: &digest,
            reason,
            duration,
        };
        remember(&mut self.status, &attempt, Timestamp::now());
    }

    async fn attempt(
        &mut self,
        settings: &Settings,
        asked: Option<Instant>,
        started: Instant,
    ) -> Result<Attempted, Failure> {
        self.add_finalizer()
            .await
            .map_err(|problem| Failure::server(&problem))?;
        let fetched = self.fetch(settings, asked).await?;
        let revision = fetched.revision.to_string();
        self.status.last_attempted_revision = Some(revision.clone());
        if let Some(message) = self.waits(settings, &revision) {
            return Ok(Attempted::Waiting(message));
        }
        let rendered = self.render(settings, &fetched).await?;
        let plan = self.plan(settings, &rendered).await?;
        let desired_before =
            std::mem::replace(&mut self.memory.desired, Arc::clone(&rendered.desired));
        if self.is_rolled_out(&plan, &revision) {
            return Ok(Attempted::Unchanged);
        }
        let (first, postponed) = preflight::split(&plan, &rendered.desired);
        // A single write is its own check.
        if first.len() + postponed.len() > 1 {
            let rejections =
                preflight::check(&self.shared.cluster, &self.shared.metrics, &first).await;
            if !rejections.is_empty() {
                self.memory.desired = desired_before;
                return Err(failure(Halt::Rejected(rejections), &rendered));
            }
        }
        let deadline = started + settings.timeout;
        let Some(outcomes) = self.roll_out(&plan, &rendered, postponed, deadline).await? else {
            return Ok(Attempted::Dropped);
        };
        let generation = self.sync.metadata.generation;
        let stage = Stage::Applied {
            plan: Box::new(plan),
            outcomes,
        };
        Ok(Attempted::Applied(Rollout {
            revision,
            generation,
            deadline,
            stage,
        }))
    }

    /// Writes the inventory ahead, then walks the plan. `None` if it is outdated or the process ends.
    async fn roll_out(
        &mut self,
        plan: &Plan,
        rendered: &Rendered,
        postponed: Vec<&Desired>,
        deadline: Instant,
    ) -> Result<Option<BTreeMap<ObjectId, Outcome>>, Failure> {
        self.save_inventory(plan.write_ahead.clone())
            .await
            .map_err(|problem| Failure::server(&problem))?;
        self.claim();
        let objects: BTreeMap<&ObjectId, &Desired> = rendered
            .desired
            .iter()
            .map(|object| (object.id(), object))
            .collect();
        let walked = self
            .walk()
            .stages(plan, &objects, postponed, deadline)
            .await;
        self.after_walk(plan, walked, rendered).await
    }

    async fn restore_or_log(&mut self, settings: &Settings) {
        if let Err(failure) = self.restore(settings).await {
            let error = failure.message;
            tracing::warn!(sync = %self.name, %error, "cannot take up the last applied revision");
        }
    }

    /// After a restart, when the newest revision is of no use: takes up the last one that was
    /// applied, so that foreign changes are undone all the same. Prunes nothing.
    async fn restore(&mut self, settings: &Settings) -> Result<(), Failure> {
        let applied = self.status.last_applied_revision.as_deref();
        let Some(Ok(revision)) = applied.map(str::parse::<Revision>) else {
            return Ok(());
        };
        let Some(key) = self.shared.readers.source(&self.name) else {
            return Ok(());
        };
        let fetched = Fetched {
            revision,
            mirror: self.shared.fetcher.mirror(&key),
        };
        let rendered = self.render_once(settings, &fetched).await?;
        let rendered = rendered.map_err(|error| Failure::new(Reason::BuildFailed, &error))?;
        let mut settings = settings.clone();
        settings.policy.prune = Toggle::Disabled;
        let plan = self.plan(&settings, &rendered).await?;
        self.memory.desired = Arc::clone(&rendered.desired);
        let deadline = Instant::now() + settings.timeout;
        self.roll_out(&plan, &rendered, Vec::new(), deadline)
            .await?;
        tracing::info!(sync = %self.name, revision = %fetched.revision, "keeping the last applied revision");
        Ok(())
    }

    /// Whether a new plan says nothing that the one that is rolled out, or rolling out, did not say.
    fn is_rolled_out(&self, plan: &Plan, revision: &str) -> bool {
        let Some(rollout) = &self.memory.rollout else {
            return false;
        };
        let stored = self.memory.stored.as_ref().map(|stored| &stored.contents);
        rollout.revision == revision
            && rollout.generation == self.sync.metadata.generation
            && plan.actions().all(|action| !action.writes())
            && plan.gone.is_empty()
            && (plan.prune.is_empty() || matches!(rollout.stage, Stage::Applied { .. }))
            && stored == Some(&plan.write_ahead)
    }

    /// Remembers what was written. `None` if the plan is outdated or the process ends.
    async fn after_walk(
        &mut self,
        plan: &Plan,
        walked: Walked,
        rendered: &Rendered,
    ) -> Result<Option<BTreeMap<ObjectId, Outcome>>, Failure> {
        let Walked { outcomes, halt } = walked;
        let wanted: BTreeSet<&ObjectId> = rendered.desired.iter().map(Desired::id).collect();
        self.memory.applied.retain(|id, _| wanted.contains(id));
        self.memory.health.retain(|id, _| wanted.contains(id));
        self.memory.held.retain(|id| wanted.contains(id));
        // Each of them was planned anew: what is still wrong comes up again.
        self.memory.uncorrected.clear();
        for (id, outcome) in &outcomes {
            if let Outcome::Applied(applied) = outcome {
                self.memory.applied.insert(id.clone(), applied.clone());
                if varies(id) {
                    self.memory.fresh.insert(id.clone());
                    let reason = "it was just applied".to_owned();
                    self.memory
                        .health
                        .insert(id.clone(), Health::InProgress { reason });
                }
                if let Some(fights) = &mut self.memory.fights {
                    fights.forget(id);
                }
            }
        }
        for id in wanted.into_iter().filter(|id| varies(id)) {
            if !self.memory.health.contains_key(id) {
                let reason = "it was not looked at yet".to_owned();
                self.memory
                    .health
                    .insert(id.clone(), Health::InProgress { reason });
                self.memory.fresh.insert(id.clone());
            }
        }
        // What is gone or released leaves the inventory only after pruning; uids are kept now, so that
        // a crash before that forgets nothing.
        let mut contents = plan.finish(&outcomes);
        for (id, entry) in &plan.write_ahead.entries {
            contents
                .entries
                .entry(id.clone())
                .or_insert_with(|| entry.clone());
        }
        self.save_inventory(contents)
            .await
            .map_err(|problem| Failure::server(&problem))?;
        self.watch_new_kinds(rendered).await?;
        self.claim();
        match halt {
            None => Ok(Some(outcomes)),
            Some(Halt::Superseded | Halt::Stopped) => Ok(None),
            Some(halt @ (Halt::Rejected(_) | Halt::Unhealthy(_))) => Err(failure(halt, rendered)),
        }
    }

    async fn add_finalizer(&mut self) -> Result<(), Problem> {
        if self.sync.finalizers().iter().any(|name| name == FINALIZER) {
            return Ok(());
        }
        let sync = self
            .shared
            .cluster
            .set_finalizers(&self.sync, &[FINALIZER])
            .await?;
        // Keep the spec that is acted on; a newer one comes as news.
        let mut known = Sync::clone(&self.sync);
        known.metadata.finalizers = sync.metadata.finalizers;
        self.sync = Arc::new(known);
        Ok(())
    }
}

fn failure(mut halt: Halt, rendered: &Rendered) -> Failure {
    let reason = match &mut halt {
        Halt::Unhealthy(_) => Reason::HealthCheckFailed,
        Halt::Superseded | Halt::Stopped => Reason::ReconciliationFailed,
        Halt::Rejected(rejections) => {
            for rejection in rejections {
                rejection.place = rendered.places.get(&rejection.id).cloned();
            }
            Reason::ReconciliationFailed
        }
    };
    Failure {
        reason,
        message: explain(&halt),
        retry: Retry::Later,
    }
}

/// Says why a walk ended, with every object that was refused.
pub(super) fn explain(halt: &Halt) -> String {
    match halt {
        Halt::Rejected(rejections) => {
            let lines: Vec<String> = rejections.iter().map(ToString::to_string).collect();
            match lines.as_slice() {
                [line] => line.clone(),
                lines => format!(
                    "{} objects were not applied:\n{}",
                    lines.len(),
                    lines.join("\n")
                ),
            }
        }
        Halt::Unhealthy(reason) => reason.clone(),
        Halt::Superseded => "a newer revision has come".to_owned(),
        Halt::Stopped => "the agent is stopping".to_owned(),
    }
}
