//! The task of one Sync: waits for news, and takes it through fetch, render, plan, apply, observe and
//! report. Nothing here holds up another Sync, and waiting for health costs nothing.

mod drift_step;
mod health_step;
mod plan_step;
mod report_step;
mod settle_step;
mod source_step;
mod sync_step;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use plan::fight::Fights;
use plan::health::Health;
use plan::live::Applied;
use plan::object::{Desired, ObjectId};
use plan::plan::{Outcome, Plan};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::names::REQUESTED_AT;
use crate::api::sync::{Sync, SyncStatus};
use crate::board::{Correction, SyncName};
use crate::events::Tone;
use crate::execute::Walk;
use crate::git::fetcher::Fetched;
use crate::git::revision::CommitId;
use crate::inventory_store::{Store, Stored};
use crate::mailbox::{Mailbox, News};
use crate::render::Rendered;
use crate::report::Verdict;
use crate::shared::Shared;

/// At most one status write and one Event about drift in this time.
const DRIFT_REPORTS: Duration = Duration::from_secs(1);
/// Corrections that the page and the status API show, per Sync.
const SHOWN_CORRECTIONS: usize = 5;
/// A deletion that is not complete is tried again after this long.
const FINALIZE_AGAIN: Duration = Duration::from_secs(3);
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
    /// Objects that were applied and not looked at since.
    fresh: BTreeSet<ObjectId>,
    /// Pause before the next look at what is not healthy.
    pause: Duration,
    /// Corrections that go back and forth.
    fights: Option<Fights>,
    /// Objects that wait for their next correction.
    held: BTreeSet<ObjectId>,
    /// Foreign changes that could not be undone, and why.
    uncorrected: BTreeMap<ObjectId, String>,
    /// Corrections since the start.
    corrections: u64,
    /// The latest of them, newest first.
    corrected_lately: VecDeque<Correction>,
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
    revision: String,
    /// Generation of the spec that it was made for.
    generation: Option<i64>,
    /// When the objects must be healthy.
    deadline: Instant,
    stage: Stage,
}

/// How far a rollout is.
enum Stage {
    /// Everything is applied; nothing is pruned.
    Applied {
        plan: Box<Plan>,
        outcomes: BTreeMap<ObjectId, Outcome>,
    },
    /// Nothing is left to do, and this is to say about it.
    Done { message: String },
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
        Self {
            shared,
            name,
            mailbox,
            stop,
            sync,
            status,
            store,
            memory: Memory::default(),
            clock,
        }
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
        let News {
            sync,
            asked,
            touched,
        } = news;
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
        if !self.sync.spec.wait {
            // Health is news then, and decides nothing.
            self.settle().await;
            self.report().await;
        }
        self.look_at_fresh().await;
        if self.clock.health.is_some_and(|at| at <= Instant::now()) {
            self.look_at_unhealthy().await;
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
                self.shared
                    .events
                    .send(&self.sync, Tone::Warning, "DeletionFailed", &error)
                    .await;
                self.clock = Clock {
                    poll: Instant::now() + FINALIZE_AGAIN,
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

/// The value of the annotation that asks for a reconciliation.
fn requested_at(sync: &Sync) -> Option<&str> {
    sync.annotations().get(REQUESTED_AT).map(String::as_str)
}
