//! The task of one Sync: waits for news, and takes it through fetch, render, plan, apply, observe and
//! report. Nothing here holds up another Sync, and waiting for health costs nothing.

mod sync_step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::Api;
use kube::{Resource, ResourceExt};
use plan::drift::Drift;
use plan::fight::{FightPolicy, Fights};
use plan::health::{Health, aggregate};
use plan::live::{Applied, Live};
use plan::object::{Desired, ObjectId};
use plan::plan::Plan;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::names::REQUESTED_AT;
use crate::api::sync::{InventoryReference, Sync, SyncStatus};
use crate::board::{Entry, Standing, SyncName};
use crate::events::Tone;
use crate::execute::Walk;
use crate::git::fetcher::Fetched;
use crate::git::revision::CommitId;
use crate::health::{LOOK_AGAIN, Subject, look, varies};
use crate::inventory_store::{Store, Stored};
use crate::mailbox::{Mailbox, News};
use crate::problem::Problem;
use crate::render::Rendered;
use crate::report::{Reason, Retry, Verdict, conditions};
use crate::shared::Shared;

/// At most one status write and one Event about drift in this time.
const DRIFT_REPORTS: Duration = Duration::from_secs(1);
/// A correction that failed is tried again after this long.
const CORRECT_AGAIN: Duration = Duration::from_secs(2);

/// The task of one Sync.
pub(crate) struct Reconciler {
    shared: Arc<Shared>,
    name: SyncName,
    mailbox: Arc<Mailbox>,
    stop: CancellationToken,
    sync: Arc<Sync>,
    status: SyncStatus,
    store: Store,
    memory: Memory,
    clock: Clock,
}

/// What this task remembers. All of it can be found out again.
#[derive(Default)]
struct Memory {
    /// The inventory; none until it was read.
    stored: Option<Stored>,
    /// What the last fetch found.
    fetched: Option<Fetched>,
    /// What it renders to.
    rendered: Option<Rendered>,
    /// The commit and the generation of the spec that this was rendered from.
    rendered_from: Option<(CommitId, Option<i64>)>,
    /// What the last plan wanted.
    desired: Arc<[Desired]>,
    /// What the server answered to our applies.
    applied: BTreeMap<ObjectId, Applied>,
    /// Health of the objects whose health varies.
    health: BTreeMap<ObjectId, Health>,
    /// The plan that is applied.
    rollout: Option<Rollout>,
    /// How the last attempt ended.
    verdict: Option<Verdict>,
    /// Corrections that go back and forth.
    fights: Option<Fights>,
    /// Objects that wait for their next correction.
    held: BTreeSet<ObjectId>,
    /// Corrections since the start.
    corrections: u64,
    /// Whether the Sync waits for others.
    waiting: bool,
    /// Whether a sync was tried.
    attempted: bool,
    /// Whether it was suspended at the last look.
    suspended: bool,
    /// Failures in a row.
    failures: u32,
}

/// A plan that was applied; health and pruning follow.
struct Rollout {
    plan: Plan,
    outcomes: BTreeMap<ObjectId, plan::plan::Outcome>,
    revision: String,
    /// Generation of the spec that it was made for.
    generation: Option<i64>,
    /// When the objects must be healthy.
    deadline: Instant,
    /// What to say about it, once pruning is done as well.
    done: Option<String>,
}

/// When to do what without being asked.
struct Clock {
    /// Look at the repository.
    poll: Instant,
    /// Look at objects that are not healthy.
    health: Option<Instant>,
    /// Correct objects that are held.
    correct: Option<Instant>,
    /// Write the status that was held back.
    report: Option<Instant>,
    /// Last report of drift.
    reported: Option<Instant>,
}

/// Whether the task goes on.
enum Flow {
    Continue,
    Finished,
}

impl Reconciler {
    /// The task of a Sync that was seen for the first time.
    pub(crate) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        sync: Arc<Sync>,
        stop: CancellationToken,
    ) -> Self {
        let name = SyncName::new(sync.name_any());
        let store = Store::new(&shared.cluster, &shared.namespace, name.as_str());
        let clock = Clock {
            poll: Instant::now(),
            health: None,
            correct: None,
            report: None,
            reported: None,
        };
        let status = sync.status.clone().unwrap_or_default();
        Self { shared, name, mailbox, stop, sync, status, store, memory: Memory::default(), clock }
    }

    /// Runs until the Sync is gone or the process ends.
    pub(crate) async fn run(mut self) {
        let mut board = self.shared.board.subscribe();
        self.post_line();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.mailbox.wait() => {}
                () = sleep_until(self.clock.next()) => {}
                Ok(()) = board.changed(), if self.memory.waiting => {}
            }
            board.mark_unchanged();
            let news = self.mailbox.take();
            if matches!(self.step(news).await, Flow::Finished) {
                return;
            }
        }
    }

    async fn step(&mut self, news: News) -> Flow {
        let News { sync, asked, touched } = news;
        if let Some(sync) = sync {
            if self.sync.metadata.generation != sync.metadata.generation
                || requested_at(&sync) != self.status.last_handled_reconcile_at.as_deref()
            {
                self.clock.poll = Instant::now();
            }
            self.sync = sync;
        }
        if self.sync.meta().deletion_timestamp.is_some() {
            return self.finalize().await;
        }
        if self.sync.spec.suspend {
            self.suspended();
            return Flow::Continue;
        }
        self.memory.suspended = false;
        let now = Instant::now();
        if self.memory.waiting && !self.still_waits() {
            self.clock.poll = now;
        }
        let mut look_at = touched;
        if self.clock.correct.is_some_and(|at| at <= now) {
            look_at.append(&mut self.memory.held);
            self.clock.correct = None;
        }
        if !look_at.is_empty() {
            self.correct(look_at).await;
        }
        if asked.is_some() || self.clock.poll <= now {
            self.synchronize(asked).await;
        }
        if self.clock.health.is_some_and(|at| at <= Instant::now()) {
            self.look_at_health(None).await;
        }
        self.settle().await;
        self.report().await;
        Flow::Continue
    }

    /// Nothing is written while the Sync is suspended, not even a status.
    fn suspended(&mut self) {
        if !std::mem::replace(&mut self.memory.suspended, true) {
            tracing::info!(sync = %self.name, "suspended");
        }
        self.clock = Clock {
            poll: Instant::now() + Duration::from_hours(24),
            health: None,
            correct: None,
            report: None,
            reported: self.clock.reported,
        };
        self.memory.waiting = false;
        self.shared.watches.claim(&self.mailbox, []);
        self.memory.applied.clear();
        self.post_line();
    }

    fn walk(&self) -> Walk<'_> {
        Walk {
            cluster: &self.shared.cluster,
            watches: &self.shared.watches,
            metrics: &self.shared.metrics,
            mailbox: &self.mailbox,
            stop: &self.stop,
        }
    }

    /// Undoes foreign changes of objects, and takes note of how healthy they are now.
    async fn correct(&mut self, touched: BTreeSet<ObjectId>) {
        let started = Instant::now();
        let now = Timestamp::now();
        let desired: BTreeMap<&ObjectId, &Desired> =
            self.memory.desired.iter().map(|object| (object.id(), object)).collect();
        let fights = self.memory.fights.get_or_insert_with(|| Fights::new(FightPolicy::default()));
        let mut wrong = Vec::new();
        let mut held_until: Option<Timestamp> = None;
        let mut replan = false;
        for id in &touched {
            let live = self.shared.watches.live(id);
            let (Some(object), Some(applied)) = (desired.get(id), self.memory.applied.get(id)) else {
                // One that waits to be gone, or to be created again.
                replan |= live == Live::Absent;
                continue;
            };
            let drift = crate::correct::judge(object, applied, &live);
            if drift == Drift::None {
                continue;
            }
            if let plan::fight::Verdict::Hold(fight) = fights.verdict(id, now) {
                self.memory.held.insert(id.clone());
                held_until = Some(held_until.map_or(fight.until, |until| until.min(fight.until)));
                continue;
            }
            wrong.push((*object, applied.clone(), live, drift));
        }
        if replan {
            self.clock.poll = Instant::now();
        }
        if let Some(until) = held_until {
            self.clock.wake_for_correction(until, now);
        }
        if !wrong.is_empty() {
            let results = crate::correct::correct(&self.walk(), wrong).await;
            self.corrected(results, started).await;
        }
        let varying: BTreeSet<ObjectId> = touched.into_iter().filter(varies).collect();
        if !varying.is_empty() {
            self.look_at_health(Some(&varying)).await;
        }
    }

    async fn corrected(&mut self, results: Vec<crate::correct::Corrected>, started: Instant) {
        let now = Timestamp::now();
        let seconds = started.elapsed().as_secs_f64();
        let mut last = None;
        for crate::correct::Corrected { id, by, result } in results {
            let (applied, changed) = match result {
                Ok(result) => result,
                Err(problem) => {
                    tracing::warn!(sync = %self.name, object = %id, error = %problem, "cannot undo a foreign change");
                    self.memory.held.insert(id);
                    self.clock.correct = Some(Instant::now() + CORRECT_AGAIN);
                    continue;
                }
            };
            self.memory.applied.insert(id.clone(), applied);
            if !changed {
                continue;
            }
            self.memory.corrections += 1;
            self.shared.metrics.corrected(self.name.as_str(), seconds);
            tracing::info!(sync = %self.name, object = %id, %by, ms = started.elapsed().as_millis(), "undid a foreign change");
            let fights = self.memory.fights.get_or_insert_with(|| Fights::new(FightPolicy::default()));
            if let Some(fight) = fights.corrected(&id, &by, now) {
                tracing::warn!(sync = %self.name, object = %id, writer = %fight.writer, until = %fight.until, "another writer keeps changing this object; it is left alone for a while");
                let note = format!(
                    "{id} is changed again and again by {}; it is left alone until {}",
                    fight.writer, fight.until
                );
                self.shared.events.send(&self.sync, Tone::Warning, "DriftFight", &note).await;
            }
            last = Some((id, by));
        }
        self.shared.metrics.held(self.name.as_str(), self.memory.held.len());
        let Some((id, by)) = last else { return };
        self.remember_new_lives().await;
        self.status.drift = Some(crate::api::sync::DriftStatus {
            object: id.to_string(),
            by: by.clone(),
            corrected_at: now.to_string(),
            corrections: self.memory.corrections,
        });
        let quiet = self.clock.reported.is_none_or(|at| at.elapsed() >= DRIFT_REPORTS);
        if quiet {
            self.clock.reported = Some(Instant::now());
            self.clock.report = Some(Instant::now());
            let note = format!("{id} was changed by {by} and is as in git again");
            self.shared.events.send(&self.sync, Tone::Warning, "DriftCorrected", &note).await;
        } else if self.clock.report.is_none() {
            self.clock.report = Some(Instant::now() + DRIFT_REPORTS);
        }
    }

    /// An object that was created again has another uid, and pruning asks for the uid.
    async fn remember_new_lives(&mut self) {
        let Some(stored) = &mut self.memory.stored else { return };
        let mut contents = stored.contents.clone();
        for (id, applied) in &self.memory.applied {
            if let Some(entry) = contents.entries.get_mut(id) {
                entry.uid = Some(applied.uid.clone());
            }
        }
        if let Err(error) = self.store.save(&self.sync, stored, contents).await {
            tracing::warn!(sync = %self.name, %error, "cannot write the inventory");
            self.memory.stored = None;
            self.clock.poll = Instant::now() + CORRECT_AGAIN;
        }
    }

    /// Looks at the health of some objects, or of all that are not healthy.
    async fn look_at_health(&mut self, only: Option<&BTreeSet<ObjectId>>) {
        let subjects: Vec<Subject> = self
            .memory
            .desired
            .iter()
            .filter(|object| varies(object.id()))
            .filter(|object| match only {
                Some(only) => only.contains(object.id()),
                None => self.memory.health.get(object.id()) != Some(&Health::Current),
            })
            .map(|object| Subject {
                id: object.id().clone(),
                version: object.version().to_owned(),
                generation: self.memory.applied.get(object.id()).and_then(|done| done.generation),
            })
            .collect();
        let before = aggregate(&self.memory.health);
        self.memory.health.extend(look(&self.shared.cluster, subjects).await);
        if aggregate(&self.memory.health) != before {
            self.clock.report = Some(Instant::now());
        }
        let bad = self.memory.health.values().any(|health| *health != Health::Current);
        self.clock.health = bad.then(|| Instant::now() + LOOK_AGAIN);
    }

    /// Brings an applied plan to its end: waits for health if asked to, then prunes. Afterwards keeps
    /// the verdict true to the health of the objects.
    async fn settle(&mut self) {
        let Some(rollout) = &self.memory.rollout else { return };
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

    async fn save_inventory(&mut self, contents: plan::inventory::Inventory) -> Result<(), Problem> {
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
    fn claim(&self) {
        let wanted = self.memory.desired.iter().map(|object| object.id().clone());
        let owned = self.memory.stored.iter().flat_map(|stored| stored.contents.entries.keys().cloned());
        self.shared.watches.claim(&self.mailbox, wanted.chain(owned));
    }

    /// Takes note of how an attempt ended, and when the next one is due.
    async fn conclude(&mut self, verdict: Verdict) {
        self.memory.waiting = matches!(
            verdict,
            Verdict::Progressing { reason: Reason::DependencyNotReady, .. }
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
                self.shared.events.send(&self.sync, Tone::Normal, reason, message).await;
            }
            Verdict::Progressing { .. } => {
                tracing::info!(sync = %self.name, %reason, %message, "progressing");
            }
            Verdict::Failed { .. } => {
                tracing::warn!(sync = %self.name, %reason, %message, "failed");
                self.shared.events.send(&self.sync, Tone::Warning, reason, message).await;
            }
        }
    }

    /// Writes the status if it is due and differs from the one in the cluster.
    async fn report(&mut self) {
        self.post_line();
        if self.clock.report.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.clock.report = None;
        let Some(verdict) = &self.memory.verdict else { return };
        let generation = self.sync.metadata.generation.unwrap_or_default();
        let health = aggregate(&self.memory.health);
        let mut status = self.status.clone();
        status.observed_generation = Some(generation);
        status.conditions =
            conditions(&status.conditions, generation, verdict, &health, Timestamp::now());
        status.inventory = self.memory.stored.as_ref().map(|stored| InventoryReference {
            name: self.name.to_string(),
            entries: u32::try_from(stored.contents.entries.len()).unwrap_or(u32::MAX),
        });
        if self.sync.status.as_ref() == Some(&status) {
            return;
        }
        let api: Api<Sync> =
            Api::namespaced(self.shared.cluster.client(), &self.shared.namespace);
        let patch = serde_json::json!({ "status": status });
        match self.shared.cluster.merge_status(&api, self.name.as_str(), &patch).await {
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

    /// Writes this Sync's line on the board, and its gauges.
    fn post_line(&self) {
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
        let objects =
            self.memory.stored.as_ref().map_or(0, |stored| stored.contents.entries.len());
        let ready = standing == Standing::Ready;
        self.shared.metrics.standing(self.name.as_str(), ready, objects, unhealthy.len());
        let entry = Entry {
            standing,
            generation: self.sync.metadata.generation.unwrap_or_default(),
            source: self.shared.readers.source(&self.name),
            revision: self.status.last_applied_revision.clone(),
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
            attempted: self.memory.attempted,
        };
        self.shared.board.post(&self.name, entry);
    }

    async fn finalize(&mut self) -> Flow {
        let finished = crate::finalize::finalize(&self.walk(), &self.store, &self.sync).await;
        match finished {
            Ok(()) => {
                self.shared.watches.claim(&self.mailbox, []);
                Flow::Finished
            }
            Err(error) => {
                let error = crate::problem::chain(&error);
                tracing::warn!(sync = %self.name, %error, "cannot finish the deletion yet");
                self.shared.events.send(&self.sync, Tone::Warning, "DeletionFailed", &error).await;
                self.clock = Clock {
                    poll: Instant::now() + LOOK_AGAIN,
                    health: None,
                    correct: None,
                    report: None,
                    reported: None,
                };
                Flow::Continue
            }
        }
    }
}

impl Clock {
    /// The next moment that something is due.
    fn next(&self) -> Instant {
        let others = [self.health, self.correct, self.report];
        others.into_iter().flatten().fold(self.poll, Instant::min)
    }

    fn wake_for_correction(&mut self, until: Timestamp, now: Timestamp) {
        let wait = Duration::try_from(until.duration_since(now)).unwrap_or(CORRECT_AGAIN);
        let at = Instant::now() + wait;
        self.correct = Some(self.correct.map_or(at, |known| known.min(at)));
    }
}

/// What to say about a Sync that waits for the health of its objects.
fn waiting(health: Health, late: bool) -> Verdict {
    let (reason, message) = match health {
        Health::Failed { reason } => (Reason::HealthCheckFailed, reason),
        Health::InProgress { reason } | Health::Unknown { reason } if late => {
            (Reason::HealthCheckFailed, format!("timed out: {reason}"))
        }
        Health::InProgress { reason } | Health::Unknown { reason } => {
            (Reason::Progressing, format!("waiting for {reason}"))
        }
        Health::Terminating | Health::Current => {
            (Reason::Progressing, "waiting for objects that are being deleted".to_owned())
        }
    };
    match reason {
        Reason::Progressing => Verdict::Progressing { reason, message },
        reason => failed(reason, message),
    }
}

fn failed(reason: Reason, message: String) -> Verdict {
    Verdict::Failed { reason, message, retry: Retry::Later }
}

/// The value of the annotation that asks for a reconciliation.
fn requested_at(sync: &Sync) -> Option<&str> {
    sync.annotations().get(REQUESTED_AT).map(String::as_str)
}
