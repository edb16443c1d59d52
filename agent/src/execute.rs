//! Walks a plan: writes what it says, in its order, and remembers what came of it. Decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use plan::health::{Health, aggregate};
use plan::live::{Applied, Live};
use plan::object::{Desired, ObjectId};
use plan::plan::{Outcome, Plan, Prune, Stage, StageKind};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Deletion, Mode};
use crate::health::{self, Depth, Subject};
use crate::mailbox::Mailbox;
use crate::metrics::{self, Metrics, Verb};
use crate::preflight::{self, Rejection};
use crate::sighting::live_meta;
use crate::watches::Watches;

/// Longest wait until a deleted object is seen to be gone; one with finalizers is looked at again
/// by the next sync.
const GONE: Duration = Duration::from_secs(5);

/// What the walk needs.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    /// The API server.
    pub(crate) cluster: &'a Cluster,
    /// What it holds.
    pub(crate) watches: &'a Watches,
    /// Numbers.
    pub(crate) metrics: &'a Metrics,
    /// Tells when to look at health again, and when a newer revision has come.
    pub(crate) mailbox: &'a Mailbox,
    /// Ends the walk after the objects in flight.
    pub(crate) stop: &'a CancellationToken,
}

/// How far the walk came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walked {
    /// What came of each object that was written.
    pub(crate) outcomes: BTreeMap<ObjectId, Outcome>,
    /// Why the walk ended early, if it did.
    pub(crate) halt: Option<Halt>,
}

/// The end of a walk before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The server refused objects.
    Rejected(Vec<Rejection>),
    /// Objects that others wait for did not become healthy.
    Unhealthy(String),
    /// Newer news makes this plan outdated.
    Superseded,
    /// The process is to end.
    Stopped,
}

impl Walk<'_> {
    /// Applies all stages. `postponed` are the objects that could not be tried before the namespaces
    /// and CRDs of the plan exist; they are tried as soon as those do, before any of them is written.
    pub(crate) async fn stages(
        &self,
        plan: &Plan,
        desired: &BTreeMap<&ObjectId, &Desired>,
        mut postponed: Vec<&Desired>,
        deadline: Instant,
    ) -> Walked {
        let mut walked = Walked::default();
        for stage in &plan.stages {
            if stage.kind != StageKind::Definitions && !postponed.is_empty() {
                let tried = std::mem::take(&mut postponed);
                let rejections = preflight::check(self.cluster, self.metrics, &tried).await;
                if !rejections.is_empty() {
                    walked.halt = Some(Halt::Rejected(rejections));
                    return walked;
                }
            }
            if let Err(halt) = self
                .stage(stage, desired, deadline, &mut walked.outcomes)
                .await
            {
                walked.halt = Some(halt);
                return walked;
            }
        }
        walked
    }

    async fn stage(
        &self,
        stage: &Stage,
        desired: &BTreeMap<&ObjectId, &Desired>,
        deadline: Instant,
        outcomes: &mut BTreeMap<ObjectId, Outcome>,
    ) -> Result<(), Halt> {
        let writes = stage.actions.iter().filter(|action| action.writes());
        let objects = writes.filter_map(|action| desired.get(action.id()).copied());
        let results: Vec<(ObjectId, Option<Result<Applied, Rejection>>)> = stream::iter(objects)
            .map(|object| async move { (object.id().clone(), self.apply(object).await) })
            .buffer_unordered(self.cluster.patience().at_once())
            .collect()
            .await;
        let mut rejections = Vec::new();
        let mut stopped = false;
        for (id, result) in results {
            match result {
                Some(Ok(applied)) => drop(outcomes.insert(id, Outcome::Applied(applied))),
                Some(Err(rejection)) => rejections.push(rejection),
                None => stopped = true,
            }
        }
        if !rejections.is_empty() {
            rejections.sort_by(|one, other| one.id.cmp(&other.id));
            return Err(Halt::Rejected(rejections));
        }
        if stopped {
            return Err(Halt::Stopped);
        }
        let subjects = stage
            .wait_for
            .iter()
            .filter_map(|id| {
                let object = desired.get(id)?;
                let generation = match outcomes.get(id) {
                    Some(Outcome::Applied(applied)) => applied.generation,
                    Some(Outcome::Pruned) | None => None,
                };
                let version = object.version().to_owned();
                Some(Subject {
                    id: id.clone(),
                    version,
                    generation,
                })
            })
            .collect();
        self.healthy(subjects, deadline).await?;
        if stage.kind == StageKind::Definitions
            && stage
                .actions
                .iter()
                .any(|action| action.writes() && action.id().kind == "CustomResourceDefinition")
        {
            self.cluster
                .kinds()
                .refresh()
                .await
                .map_err(|problem| Halt::Unhealthy(problem.to_string()))?;
        }
        Ok(())
    }

    /// Writes one object and puts the answer into the table of live objects. `None` if the process is
    /// to end and nothing was written.
    pub(crate) async fn apply(&self, object: &Desired) -> Option<Result<Applied, Rejection>> {
        if self.stop.is_cancelled() {
            return None;
        }
        let result = self.cluster.apply(object, Mode::Real).await;
        let outcome = if result.is_ok() {
            metrics::Outcome::Done
        } else {
            metrics::Outcome::Failed
        };
        self.metrics.wrote(Verb::Apply, outcome);
        Some(match result {
            Ok(metadata) => {
                let meta = live_meta(metadata);
                let applied = Applied::new(object, &meta);
                self.watches.learn(object.id(), meta);
                Ok(applied)
            }
            Err(problem) => Err(Rejection {
                id: object.id().clone(),
                place: None,
                problem,
            }),
        })
    }

    /// Waits until all objects are healthy.
    async fn healthy(&self, mut waiting: Vec<Subject>, deadline: Instant) -> Result<(), Halt> {
        while !waiting.is_empty() {
            let seen = health::look(self.cluster, waiting.clone(), Depth::Pods).await;
            if let Health::Failed { reason } = aggregate(&seen) {
                return Err(Halt::Unhealthy(reason));
            }
            waiting.retain(|subject| seen.get(&subject.id) != Some(&Health::Current));
            if waiting.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                let reason = match aggregate(&seen) {
                    Health::InProgress { reason } | Health::Unknown { reason } => reason,
                    Health::Current | Health::Failed { .. } | Health::Terminating => String::new(),
                };
                return Err(Halt::Unhealthy(format!("timed out: {reason}")));
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(Halt::Stopped),
                () = self.mailbox.heard() => {}
                () = sleep(Duration::from_millis(500)) => {}
            }
            if self.mailbox.supersedes() {
                return Err(Halt::Superseded);
            }
        }
        Ok(())
    }

    /// Deletes what the plan says, one after the other, and waits a little until it is gone.
    pub(crate) async fn prune(&self, prunes: &[Prune]) -> Walked {
        let mut walked = Walked::default();
        let mut rejections = Vec::new();
        let mut going = Vec::new();
        for prune in prunes {
            if self.stop.is_cancelled() {
                walked.halt = Some(Halt::Stopped);
                return walked;
            }
            let result = self
                .cluster
                .delete(&prune.id, &prune.version, prune.uid.as_str())
                .await;
            let outcome = if result.is_ok() {
                metrics::Outcome::Done
            } else {
                metrics::Outcome::Failed
            };
            self.metrics.wrote(Verb::Delete, outcome);
            match result {
                Ok(Deletion::Accepted) => going.push(prune),
                Ok(Deletion::Gone) => {
                    walked.outcomes.insert(prune.id.clone(), Outcome::Pruned);
                }
                // A conflict means another life of the object: it is looked at again.
                Err(problem) => rejections.push(Rejection {
                    id: prune.id.clone(),
                    place: None,
                    problem,
                }),
            }
        }
        let deadline = Instant::now() + GONE;
        loop {
            going.retain(|prune| {
                let gone = match self.watches.live(&prune.id) {
                    Live::Absent => true,
                    Live::Present(meta) => meta.uid != prune.uid,
                };
                if gone {
                    walked.outcomes.insert(prune.id.clone(), Outcome::Pruned);
                }
                !gone
            });
            if going.is_empty() || Instant::now() >= deadline || self.stop.is_cancelled() {
                break;
            }
            tokio::select! {
                () = self.mailbox.heard() => {}
                () = sleep(Duration::from_millis(500)) => {}
            }
        }
        if !rejections.is_empty() {
            walked.halt = Some(Halt::Rejected(rejections));
        }
        walked
    }
}
