//! When the same hand undoes the same correction again and again, correcting more helps nobody.
//!
//! A pure state machine. Each correction that really changed an object is reported with the writer it was made against; when
//! there are too many of them within a window, the object is left alone for a while, longer each time, and the writer is
//! named. It remembers a bounded number of objects.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::object::ObjectId;

/// When corrections are a fight, and how long to stay out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FightPolicy {
    /// That many corrections of one object against one writer, at least 1 ...
    pub corrections: usize,
    /// ... within this time are a fight.
    pub window: SignedDuration,
    /// How long the object is left alone the first time; twice as long every further time.
    pub first_hold: SignedDuration,
    /// How long at most.
    pub longest_hold: SignedDuration,
    /// How many objects are remembered at most; the one quiet for the longest is forgotten first.
    pub capacity: usize,
}

impl Default for FightPolicy {
    /// 5 corrections in a minute; 10 s to 15 min; 1024 objects.
    fn default() -> Self {
        Self {
            corrections: 5,
            window: SignedDuration::from_mins(1),
            first_hold: SignedDuration::from_secs(10),
            longest_hold: SignedDuration::from_mins(15),
            capacity: 1024,
        }
    }
}

/// Whether to correct an object now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Yes.
    Correct,
    /// Not before `until`.
    Hold(Fight),
}

/// One fight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fight {
    /// The other writer.
    pub writer: String,
    /// Corrections against it since the object was last quiet.
    pub corrections: u64,
    /// When the object is corrected again.
    pub until: Timestamp,
}

/// What is known about each object that was corrected lately.
#[derive(Debug, Clone)]
pub struct Fights {
    policy: FightPolicy,
    objects: BTreeMap<ObjectId, Corrections>,
}

#[derive(Debug, Clone)]
struct Corrections {
    writer: String,
    /// Times of the last corrections, oldest first, never more than the policy counts.
    recent: VecDeque<Timestamp>,
    total: u64,
    holds: u32,
    held_until: Option<Timestamp>,
    last: Timestamp,
}

impl Fights {
    /// Nothing is known yet.
    pub fn new(policy: FightPolicy) -> Self {
        Self {
            policy,
            objects: BTreeMap::new(),
        }
    }

    /// Whether to correct `id` at `now`.
    pub fn verdict(&self, id: &ObjectId, now: Timestamp) -> Verdict {
        match self.objects.get(id).and_then(|object| object.fight(now)) {
            Some(fight) => Verdict::Hold(fight),
            None => Verdict::Correct,
        }
    }

    /// Records that `id` was corrected against `writer`: the apply moved its resource version. Returns the fight, if this
    /// correction starts or renews one; that is the moment to tell somebody.
    pub fn corrected(&mut self, id: &ObjectId, writer: &str, now: Timestamp) -> Option<Fight> {
        self.make_room(id, now);
        let fresh = Corrections::new(writer, now);
        let object = self
            .objects
            .entry(id.clone())
            .or_insert_with(|| fresh.clone());
        // Another writer is another story, and so is an object that was quiet for a window after its hold.
        let quiet_since = object
            .held_until
            .map_or(object.last, |until| until.max(object.last));
        if object.writer != writer || later(quiet_since, self.policy.window) <= now {
            *object = fresh;
        }
        object.correct(&self.policy, now)
    }

    /// Objects that are held at `now`, with their fights, ordered by id.
    pub fn active(&self, now: Timestamp) -> impl Iterator<Item = (&ObjectId, Fight)> {
        self.objects
            .iter()
            .filter_map(move |(id, object)| Some((id, object.fight(now)?)))
    }

    /// Forgets an object: it left the Sync, or a new revision changed it and deserves a fresh start.
    pub fn forget(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    fn make_room(&mut self, coming: &ObjectId, now: Timestamp) {
        if self.objects.len() < self.policy.capacity || self.objects.contains_key(coming) {
            return;
        }
        let quietest = self.objects.iter().min_by_key(|(_, object)| {
            (
                object.held_until.is_some_and(|until| now < until),
                object.last,
            )
        });
        if let Some((id, _)) = quietest {
            let id = id.clone();
            self.objects.remove(&id);
        }
    }
}

impl Corrections {
    fn new(writer: &str, now: Timestamp) -> Self {
        Self {
            writer: writer.to_owned(),
            recent: VecDeque::new(),
            total: 0,
            holds: 0,
            held_until: None,
            last: now,
        }
    }

    fn fight(&self, now: Timestamp) -> Option<Fight> {
        let until = self.held_until.filter(|until| now < *until)?;
        Some(Fight {
            writer: self.writer.clone(),
            corrections: self.total,
            until,
        })
    }

    fn correct(&mut self, policy: &FightPolicy, now: Timestamp) -> Option<Fight> {
        self.total += 1;
        self.last = now;
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|time| later(*time, policy.window) <= now)
        {
            self.recent.pop_front();
        }
        // After a hold, one more correction is enough: the other hand did not stop.
        if self.holds == 0 && self.recent.len() < policy.corrections {
            return None;
        }
        let factor = 1i32
            .checked_shl(self.holds)
            .filter(|factor| *factor > 0)
            .unwrap_or(i32::MAX);
        let hold = policy
            .first_hold
            .checked_mul(factor)
            .unwrap_or(SignedDuration::MAX);
        self.holds = self.holds.saturating_add(1);
        self.held_until = Some(later(now, hold.min(policy.longest_hold)));
        self.recent.clear();
        self.fight(now)
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
