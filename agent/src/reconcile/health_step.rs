//! Knowing how healthy the objects are: after an apply, when a watch tells of a change, and from time
//! to time for those that are not healthy, because what holds up a workload may show on its pods only.

use std::collections::BTreeSet;
use std::time::Duration;

use plan::health::{Health, aggregate};
use plan::object::ObjectId;
use tokio::time::Instant;

use super::{Reconciler, Stage};
use crate::health::{Depth, Subject, look, varies};

/// First pause between two looks at what is not healthy; it doubles while nothing changes.
const FIRST_PAUSE: Duration = Duration::from_secs(3);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

impl Reconciler {
    /// Looks at objects that were just applied. Their pods are too young to say anything.
    pub(super) async fn look_at_fresh(&mut self) {
        let fresh = std::mem::take(&mut self.memory.fresh);
        if fresh.is_empty() {
            return;
        }
        self.memory.pause = FIRST_PAUSE;
        self.look_at(&fresh, Depth::Object).await;
        self.plan_next_look();
    }

    /// Looks at objects that a watch told about.
    pub(super) async fn look_at_touched(&mut self, touched: &BTreeSet<ObjectId>) {
        if self.look_at(touched, Depth::Pods).await {
            self.memory.pause = FIRST_PAUSE;
            self.plan_next_look();
        }
    }

    /// Looks at everything that is not healthy.
    pub(super) async fn look_at_unhealthy(&mut self) {
        let unhealthy: BTreeSet<ObjectId> = self
            .memory
            .health
            .iter()
            .filter(|(_, health)| **health != Health::Current)
            .map(|(id, _)| id.clone())
            .collect();
        let changed = self.look_at(&unhealthy, Depth::Pods).await;
        let longer = self
            .memory
            .pause
            .saturating_mul(2)
            .clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.memory.pause = if changed { FIRST_PAUSE } else { longer };
        self.plan_next_look();
    }

    /// Returns whether anything is different now.
    async fn look_at(&mut self, ids: &BTreeSet<ObjectId>, depth: Depth) -> bool {
        let wanted = self.memory.desired.iter();
        let subjects: Vec<Subject> = wanted
            .filter(|object| varies(object.id()) && ids.contains(object.id()))
            .map(|object| {
                let id = object.id().clone();
                let applied = self.memory.applied.get(&id);
                let generation = applied.and_then(|applied| applied.generation);
                Subject {
                    id,
                    version: object.version().to_owned(),
                    generation,
                }
            })
            .collect();
        let before = aggregate(&self.memory.health);
        let seen = look(&self.shared.cluster, subjects, depth).await;
        let known = &mut self.memory.health;
        let changed = seen
            .iter()
            .any(|(id, health)| known.get(id) != Some(health));
        known.extend(seen);
        if aggregate(&*known) != before {
            self.clock.report = Some(Instant::now());
        }
        changed
    }

    /// Sets when to look again at what is not healthy, and not later than it has to be.
    pub(super) fn plan_next_look(&mut self) {
        let healthy = self
            .memory
            .health
            .values()
            .all(|health| *health == Health::Current);
        let next = Instant::now() + self.memory.pause.max(FIRST_PAUSE);
        let deadline = self
            .memory
            .rollout
            .as_ref()
            .filter(|rollout| {
                matches!(rollout.stage, Stage::Applied { .. }) && rollout.deadline > Instant::now()
            })
            .map(|rollout| rollout.deadline);
        self.clock.health =
            (!healthy).then(|| deadline.map_or(next, |deadline| deadline.min(next)));
    }
}
