//! Desired + observed + inventory to an ordered list of actions that leaves no choice to the executor.

mod decide;
mod limit;
mod order;
mod protect;
mod prune;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use limit::{ParseLimitError, PruneLimit};
pub use order::StageKind;
pub(crate) use order::{Rank, can_become_healthy, removal_order};
pub(crate) use protect::{holds_data, is_protected};

use crate::inventory::{Inventory, storable_hash};
use crate::live::{Applied, Live, Uid};
use crate::object::{
    Desired, InvalidObject, ObjectId, ObjectRef, Owner, Ownership, Toggle, validate,
};

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The Sync that asks.
    pub owner: &'a Owner,
    /// What git wants, each made with this owner, in any order.
    pub desired: &'a [Desired],
    /// What the Sync may own so far.
    pub inventory: &'a Inventory,
    /// What was seen of each object in `desired` and `inventory`. One that was not looked at is left out, and is then
    /// neither written nor deleted.
    pub live: &'a BTreeMap<ObjectId, Live>,
    /// What the last apply of each object returned, as far as remembered.
    pub applied: &'a BTreeMap<ObjectId, Applied>,
    /// What the Sync allows.
    pub policy: &'a Policy,
}

/// What a Sync allows, from its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `spec.prune`: whether objects that left git are deleted.
    pub prune: Toggle,
    /// `spec.pruneLimit`: how many of them at once.
    pub limit: PruneLimit,
    /// `spec.pruneConsent`: the data-holding objects that may be deleted, by name.
    pub consent: Vec<ObjectRef>,
}

/// What to do, in order: write `write_ahead` down, walk `stages`, and when all is healthy delete `prune`; then write
/// [`Plan::finish`] down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The inventory to store before the first write to any object.
    pub write_ahead: Inventory,
    /// One after the other.
    pub stages: Vec<Stage>,
    /// Objects to delete, one after the other, after every stage and once the result is healthy.
    pub prune: Vec<Prune>,
    /// Objects that left git and are not deleted.
    pub kept: Vec<Kept>,
    /// Objects that left git and are known to be gone from the cluster.
    pub gone: BTreeSet<ObjectId>,
}

/// Actions that may run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What the stage is about. One kind may take several stages in a row.
    pub kind: StageKind,
    /// One for each object of the stage, ordered by id.
    pub actions: Vec<Action>,
    /// Objects, of this stage or an earlier one, that must be healthy before the next stage starts.
    pub wait_for: BTreeSet<ObjectId>,
}

/// What to do about one object that git wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Apply it; it does not exist.
    Create(ObjectId),
    /// Apply it; it exists and may differ.
    Change(ObjectId),
    /// Nothing; it is what we applied.
    Unchanged(ObjectId),
    /// Nothing, although it may differ.
    Skip {
        /// The object.
        id: ObjectId,
        /// Why.
        reason: SkipReason,
    },
}

/// Why an object that git wants is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SkipReason {
    /// By annotation, in git or on the live object.
    #[error("immuops.dev/reconcile is disabled")]
    ReconcileDisabled,
    /// By annotation, in git or on the live object.
    #[error("immuops.dev/ssa is Ignore")]
    Ignored,
    /// By annotation, in git or on the live object.
    #[error("it exists and immuops.dev/ssa is IfNotPresent")]
    AlreadyPresent,
    /// The live object is being deleted; once gone it is created again.
    #[error("it is being deleted and waits for its finalizers")]
    Terminating,
}

/// One object to delete, in the background, with `uid` as precondition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The object.
    pub id: ObjectId,
    /// API version, without the group, to delete it with.
    pub version: String,
    /// The life that may be deleted, and no other.
    pub uid: Uid,
}

/// One object that left git and stays in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The object.
    pub id: ObjectId,
    /// Why.
    pub reason: KeptReason,
}

/// Why an object that left git is not deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptReason {
    /// `spec.prune` is off.
    PruneOff,
    /// `immuops.dev/prune: disabled` or `immuops.dev/reconcile: disabled` on the live object.
    Annotated,
    /// Its labels name another Sync, or nobody.
    NotOurs(Ownership),
    /// Another hand deleted and created it.
    Recreated,
    /// It was not looked at, so nothing is known about it.
    Unobserved,
    /// It is being deleted already.
    Terminating,
    /// The cluster or the agent itself could not live without it.
    Protected,
    /// It holds data and git does not consent to its deletion.
    NeedsConsent,
    /// Too many objects would be deleted at once.
    OverLimit {
        /// How many would be.
        count: usize,
        /// How many may be.
        allowed: usize,
    },
}

/// Whether a kept object stays in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is still ours and is looked at again.
    Remembered,
    /// It is no longer ours.
    Released,
}

impl KeptReason {
    /// Whether the object stays in the inventory.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Annotated | Self::NotOurs(_) | Self::Recreated => Fate::Released,
            Self::PruneOff
            | Self::Unobserved
            | Self::Terminating
            | Self::Protected
            | Self::NeedsConsent
            | Self::OverLimit { .. } => Fate::Remembered,
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.id;
        write!(f, "{id} is no longer in git and is kept: ")?;
        match &self.reason {
            KeptReason::PruneOff => f.write_str("spec.prune is off"),
            KeptReason::Annotated => {
                f.write_str("it is annotated immuops.dev/prune or immuops.dev/reconcile: disabled")
            }
            KeptReason::NotOurs(Ownership::Foreign { namespace, name }) => {
                write!(f, "it belongs to Sync {namespace}/{name}")
            }
            KeptReason::NotOurs(Ownership::Nobody | Ownership::Ours) => {
                f.write_str("it does not carry the labels of its Sync any more")
            }
            KeptReason::Recreated => f.write_str("it was deleted and created by another hand"),
            KeptReason::Unobserved => f.write_str("its state in the cluster could not be read"),
            KeptReason::Terminating => {
                f.write_str("it is being deleted and waits for its finalizers")
            }
            KeptReason::Protected => {
                f.write_str("the cluster or the agent could not live without it")
            }
            KeptReason::NeedsConsent => write!(
                f,
                "deleting it may delete data\nhint: consent to it in git, in spec.pruneConsent of the Sync: \
                 [\"{id}\"]"
            ),
            KeptReason::OverLimit { count, allowed } => write!(
                f,
                "{count} objects would be deleted at once and {allowed} may be\nhint: consent to it in git, by \
                 spec.pruneLimit: \"{count}\" of the Sync"
            ),
        }
    }
}

/// Why there is no plan: everything that stands against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// At least one.
    pub refusals: Vec<Refusal>,
}

/// One thing that stands against a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The set of objects is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidObject),
    /// The live object is another Sync's.
    #[error(
        "{id} belongs to Sync {namespace}/{name}\nhint: remove it from that Sync first; if that Sync is gone, take its label \
         off: kubectl label {} immuops.dev/sync-name- immuops.dev/sync-namespace-", kubectl(.id)
    )]
    ForeignOwner {
        /// The object.
        id: ObjectId,
        /// Namespace of its Sync.
        namespace: String,
        /// Name of its Sync.
        name: String,
    },
    /// Nobody looked whether the object exists.
    #[error("the state of {id} in the cluster could not be read")]
    Unobserved {
        /// The object.
        id: ObjectId,
    },
    /// `immuops.dev/depends-on` names an object that is not part of the Sync.
    #[error(
        "{id} depends on {missing}, which the Sync does not have\nhint: check immuops.dev/depends-on of {id}"
    )]
    UnknownDependency {
        /// The object.
        id: ObjectId,
        /// What it names.
        missing: ObjectRef,
    },
    /// `immuops.dev/depends-on` names an object of a later stage or wave.
    #[error(
        "{id} depends on {later}, which comes later by its kind or wave\nhint: check immuops.dev/depends-on and immuops.dev/wave of both"
    )]
    DependencyComesLater {
        /// The object.
        id: ObjectId,
        /// What it names.
        later: ObjectId,
    },
    /// Objects wait for each other.
    #[error("{} wait for each other\nhint: check their immuops.dev/depends-on", list(.ids))]
    Circle {
        /// The objects, ordered by id.
        ids: Vec<ObjectId>,
    },
}

fn kubectl(id: &ObjectId) -> String {
    let dot = if id.group.is_empty() { "" } else { "." };
    let namespace = id
        .namespace
        .as_ref()
        .map(|name| format!(" -n {name}"))
        .unwrap_or_default();
    format!("{}{dot}{} {}{namespace}", id.kind, id.group, id.name)
}

fn list(ids: &[ObjectId]) -> String {
    let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, refusal) in self.refusals.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{refusal}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

/// Plans one reconciliation. The same input gives the same plan, byte for byte.
///
/// # Errors
/// Everything that stands against it at once; then nothing may be done.
pub fn plan(input: &Input<'_>) -> Result<Plan, PlanError> {
    let invalid = validate(input.desired).err().unwrap_or_default();
    let mut refusals: Vec<Refusal> = invalid.into_iter().map(Refusal::Invalid).collect();
    let desired = input
        .desired
        .iter()
        .map(|object| (object.id(), object))
        .collect();
    let actions = decide::actions(input, &desired, &mut refusals);
    let stages = order::stages(&desired, actions, &mut refusals);
    if !refusals.is_empty() {
        return Err(PlanError { refusals });
    }
    let write_ahead = decide::write_ahead(input, &desired, &stages);
    let prune::Removal { prune, kept, gone } = prune::removal(input, &desired);
    Ok(Plan {
        write_ahead,
        stages,
        prune,
        kept,
        gone,
    })
}

/// What git wants, in the order of ids: the order it came in must not show.
type ById<'a> = BTreeMap<&'a ObjectId, &'a Desired>;

/// What came of one object of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was created or changed.
    Applied(Applied),
    /// Its deletion was seen to be complete, or it was gone already.
    Pruned,
}

impl Plan {
    /// Every action, in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.stages.iter().flat_map(|stage| &stage.actions)
    }

    /// How many objects would be written or deleted.
    pub fn writes(&self) -> usize {
        self.actions().filter(|action| action.writes()).count() + self.prune.len()
    }

    /// The inventory to store afterwards. An object without an outcome (not reached, or failed) keeps the entry written
    /// ahead, so nothing that may exist is ever forgotten.
    pub fn finish(&self, outcomes: &BTreeMap<ObjectId, Outcome>) -> Inventory {
        let mut inventory = self.write_ahead.clone();
        let released = self
            .kept
            .iter()
            .filter(|kept| kept.reason.fate() == Fate::Released);
        for id in released.map(|kept| &kept.id).chain(&self.gone) {
            inventory.entries.remove(id);
        }
        for prune in &self.prune {
            if matches!(outcomes.get(&prune.id), Some(Outcome::Pruned)) {
                inventory.entries.remove(&prune.id);
            }
        }
        for action in self.actions() {
            if let Some(Outcome::Applied(applied)) = outcomes.get(action.id())
                && let Some(entry) = inventory.entries.get_mut(action.id())
            {
                entry.uid = Some(applied.uid.clone());
                entry.hash = storable_hash(action.id(), applied.hash);
            }
        }
        inventory
    }
}

impl Action {
    /// The object it is about.
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Create(id)
            | Self::Change(id)
            | Self::Unchanged(id)
            | Self::Skip { id, reason: _ } => id,
        }
    }

    /// Whether it writes to the cluster.
    pub fn writes(&self) -> bool {
        match self {
            Self::Create(_) | Self::Change(_) => true,
            Self::Unchanged(_) | Self::Skip { .. } => false,
        }
    }
}
