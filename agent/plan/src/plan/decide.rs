//! What to do about each object that git wants, and the inventory to write ahead of it.

use std::collections::BTreeMap;

use super::{Action, ById, Input, Refusal, SkipReason, Stage};
use crate::drift::{self, Drift};
use crate::inventory::{Entry, Inventory, storable_hash};
use crate::live::{Live, LiveMeta};
use crate::object::{Desired, FIELD_MANAGER, ObjectId, ObjectPolicy, Ownership, Ssa, Toggle};

/// One action for each desired object that may be planned; the others are refused.
pub(super) fn actions<'a>(
    input: &Input<'_>,
    desired: &ById<'a>,
    refusals: &mut Vec<Refusal>,
) -> BTreeMap<&'a ObjectId, Action> {
    let mut actions = BTreeMap::new();
    for (&id, desired) in desired {
        match input.live.get(id) {
            None => refusals.push(Refusal::Unobserved { id: id.clone() }),
            Some(live) => actions.extend(action(input, desired, live, refusals).map(|a| (id, a))),
        }
    }
    actions
}

fn action(
    input: &Input<'_>,
    desired: &Desired,
    live: &Live,
    refusals: &mut Vec<Refusal>,
) -> Option<Action> {
    let id = desired.id().clone();
    let meta = match live {
        Live::Absent => return Some(absent(desired, id)),
        Live::Present(meta) => meta,
    };
    if let Ownership::Foreign { namespace, name } = input.owner.of(&meta.labels) {
        refusals.push(Refusal::ForeignOwner {
            id,
            namespace,
            name,
        });
        return None;
    }
    if let Some(reason) = skip(desired, meta) {
        return Some(Action::Skip { id, reason });
    }
    let applied = input
        .applied
        .get(&id)
        .filter(|applied| applied.hash == desired.hash());
    let drift = applied.map(|applied| drift::assess(applied, live, FIELD_MANAGER));
    Some(if drift == Some(Drift::None) {
        Action::Unchanged(id)
    } else {
        Action::Change(id)
    })
}

fn absent(desired: &Desired, id: ObjectId) -> Action {
    let policy = desired.policy();
    match (policy.reconcile, policy.ssa) {
        (Toggle::Disabled, _) => Action::Skip {
            id,
            reason: SkipReason::ReconcileDisabled,
        },
        (Toggle::Enabled, Ssa::Ignore) => Action::Skip {
            id,
            reason: SkipReason::Ignored,
        },
        (Toggle::Enabled, Ssa::Override | Ssa::Merge | Ssa::IfNotPresent) => Action::Create(id),
    }
}

/// Whether a live object is left alone: either side may ask for it.
fn skip(desired: &Desired, meta: &LiveMeta) -> Option<SkipReason> {
    let policies = [
        desired.policy(),
        ObjectPolicy::live(&meta.annotations, &meta.labels),
    ];
    let any = |wanted: fn(&ObjectPolicy) -> bool| policies.iter().any(wanted);
    if any(|policy| policy.reconcile == Toggle::Disabled) {
        Some(SkipReason::ReconcileDisabled)
    } else if any(|policy| policy.ssa == Ssa::Ignore) {
        Some(SkipReason::Ignored)
    } else if any(|policy| policy.ssa == Ssa::IfNotPresent) {
        Some(SkipReason::AlreadyPresent)
    } else if meta.deletion_timestamp.is_some() {
        Some(SkipReason::Terminating)
    } else {
        None
    }
}

/// The old inventory and every desired object. What we are about to create has no uid yet, so that the next plan does not
/// take it for another life of an object that was deleted behind our back.
pub(super) fn write_ahead(input: &Input<'_>, desired: &ById<'_>, stages: &[Stage]) -> Inventory {
    let mut inventory = input.inventory.clone();
    for action in stages.iter().flat_map(|stage| &stage.actions) {
        let Some(desired) = desired.get(action.id()) else {
            continue;
        };
        let old = input.inventory.entries.get(action.id());
        let hash = match action {
            Action::Unchanged(id) => storable_hash(id, desired.hash()),
            Action::Create(_) | Action::Change(_) | Action::Skip { .. } => {
                old.and_then(|entry| entry.hash)
            }
        };
        let uid = match input.live.get(action.id()) {
            Some(Live::Present(meta)) => Some(meta.uid.clone()),
            Some(Live::Absent) | None => None,
        };
        let entry = Entry {
            version: desired.version().to_owned(),
            uid,
            hash,
        };
        inventory.entries.insert(action.id().clone(), entry);
    }
    inventory
}
