//! Undoing foreign changes, as soon as a watch tells of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plan::drift::Drift;
use plan::fight::{FightPolicy, Fights, Verdict};
use plan::live::Live;
use plan::object::{Desired, ObjectId};
use tokio::time::Instant;

use super::{CORRECT_AGAIN, DRIFT_REPORTS, Reconciler, SHOWN_CORRECTIONS};
use crate::api::sync::DriftStatus;
use crate::board::Correction;
use crate::correct::{Corrected, correct, judge};
use crate::events::Tone;
use crate::health::varies;

impl Reconciler {
    /// Undoes foreign changes of objects, and takes note of how healthy they are now.
    pub(super) async fn correct(&mut self, touched: BTreeSet<ObjectId>) {
        let started = Instant::now();
        let now = Timestamp::now();
        let desired: BTreeMap<&ObjectId, &Desired> = self
            .memory
            .desired
            .iter()
            .map(|object| (object.id(), object))
            .collect();
        let fights = self
            .memory
            .fights
            .get_or_insert_with(|| Fights::new(FightPolicy::default()));
        let mut wrong = Vec::new();
        let mut held_until: Option<Timestamp> = None;
        let mut replan = false;
        for id in &touched {
            let live = self.shared.watches.live(id);
            let (Some(object), Some(applied)) = (desired.get(id), self.memory.applied.get(id))
            else {
                // One that waits to be gone, or to be created again.
                replan |= live == Live::Absent;
                continue;
            };
            let drift = judge(object, applied, &live);
            if drift == Drift::None {
                self.memory.uncorrected.remove(id);
                continue;
            }
            if let Verdict::Hold(fight) = fights.verdict(id, now) {
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
            let results = correct(&self.walk(), wrong).await;
            self.corrected(results, started).await;
        }
        let varying: BTreeSet<ObjectId> = touched.into_iter().filter(varies).collect();
        if !varying.is_empty() {
            self.look_at_touched(&varying).await;
        }
    }

    async fn corrected(&mut self, results: Vec<Corrected>, started: Instant) {
        let now = Timestamp::now();
        let seconds = started.elapsed().as_secs_f64();
        let mut last = None;
        for Corrected { id, by, result } in results {
            let (applied, changed) = match result {
                Ok(result) => result,
                Err(problem) => {
                    let why = format!("{problem}; changed by {by}");
                    if self.memory.uncorrected.get(&id) != Some(&why) {
                        tracing::warn!(sync = %self.name, object = %id, %by, error = %problem, "cannot undo a foreign change");
                        self.memory.uncorrected.insert(id.clone(), why);
                    }
                    self.memory.held.insert(id);
                    self.clock.correct = Some(Instant::now() + CORRECT_AGAIN);
                    continue;
                }
            };
            self.memory.uncorrected.remove(&id);
            self.memory.applied.insert(id.clone(), applied);
            if !changed {
                continue;
            }
            self.memory.corrections += 1;
            self.memory.corrected_lately.push_front(Correction {
                object: id.to_string(),
                by: by.clone(),
                at: now.to_string(),
            });
            self.memory.corrected_lately.truncate(SHOWN_CORRECTIONS);
            self.shared.metrics.corrected(self.name.as_str(), seconds);
            tracing::info!(sync = %self.name, object = %id, %by, ms = started.elapsed().as_millis(), "undid a foreign change");
            let fights = self
                .memory
                .fights
                .get_or_insert_with(|| Fights::new(FightPolicy::default()));
            if let Some(fight) = fights.corrected(&id, &by, now) {
                tracing::warn!(sync = %self.name, object = %id, writer = %fight.writer, until = %fight.until, "another writer keeps changing this object; it is left alone for a while");
                let note = format!(
                    "{id} is changed again and again by {}; it is left alone until {}",
                    fight.writer, fight.until
                );
                self.shared
                    .events
                    .send(&self.sync, Tone::Warning, "DriftFight", &note)
                    .await;
            }
            last = Some((id, by));
        }
        self.shared
            .metrics
            .held(self.name.as_str(), self.memory.held.len());
        let Some((id, by)) = last else { return };
        self.remember_new_lives().await;
        self.status.drift = Some(DriftStatus {
            object: id.to_string(),
            by: by.clone(),
            corrected_at: now.to_string(),
            corrections: self.memory.corrections,
        });
        let quiet = self
            .clock
            .reported
            .is_none_or(|at| at.elapsed() >= DRIFT_REPORTS);
        if quiet {
            self.clock.reported = Some(Instant::now());
            self.clock.report = Some(Instant::now());
            let note = format!("{id} was changed by {by} and is as in git again");
            self.shared
                .events
                .send(&self.sync, Tone::Warning, "DriftCorrected", &note)
                .await;
        } else if self.clock.report.is_none() {
            self.clock.report = Some(Instant::now() + DRIFT_REPORTS);
        }
    }

    /// An object that was created again has another uid, and pruning asks for the uid.
    async fn remember_new_lives(&mut self) {
        let Some(stored) = &mut self.memory.stored else {
            return;
        };
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
}
