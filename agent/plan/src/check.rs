//! The invariants of a plan, stated a second time and without the planner's help.
//!
//! Every property test calls [`check`]. It compares objects pair by pair, so it is not meant for every reconciliation.

use std::collections::{BTreeMap, BTreeSet};

use crate::drift::{self, Drift};
use crate::live::{Live, LiveMeta};
use crate::object::{Desired, FIELD_MANAGER, ObjectId, ObjectPolicy, Ownership, Toggle};
use crate::plan::{
    Action, Fate, Input, Plan, Prune, Rank, can_become_healthy, holds_data, is_protected,
    removal_order,
};

/// An invariant that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not exactly one action for an object that git wants, or one for an object that it does not want.
    #[error("{id:?} has {actions} actions and is declared {declared} times")]
    Actions {
        /// The object.
        id: ObjectId,
        /// Actions of the plan.
        actions: usize,
        /// Declarations in git.
        declared: usize,
    },
    /// An object is written, or left as unchanged, against what is known about it.
    #[error("{id:?} must not have its action: {why}")]
    WrongAction {
        /// The object.
        id: ObjectId,
        /// The rule.
        why: &'static str,
    },
    /// An object is missing from the inventory that is written ahead.
    #[error("{id:?} is not written ahead")]
    NotWrittenAhead {
        /// The object.
        id: ObjectId,
    },
    /// An object is applied before, or together with, one that must be there first.
    #[error("{id:?} is not applied after {first:?}")]
    Order {
        /// The object.
        id: ObjectId,
        /// What must be there first.
        first: ObjectId,
    },
    /// An object starts although one it waits for was not waited for.
    #[error("{id:?} does not wait for {target:?} to be healthy")]
    NotAwaited {
        /// The object.
        id: ObjectId,
        /// What it depends on.
        target: ObjectId,
    },
    /// An object is deleted that must not be.
    #[error("{id:?} must not be pruned: {why}")]
    WrongPrune {
        /// The object.
        id: ObjectId,
        /// The rule.
        why: &'static str,
    },
    /// More objects are deleted than the limit allows.
    #[error("{count} objects are pruned, {allowed} may be")]
    OverLimit {
        /// How many.
        count: usize,
        /// How many may be.
        allowed: usize,
    },
    /// An object that left git is not accounted for exactly once.
    #[error("{id:?} left git and is accounted for {times} times")]
    Unaccounted {
        /// The object.
        id: ObjectId,
        /// Under pruned, kept and gone.
        times: usize,
    },
}

/// Checks a plan against the input it was made from.
///
/// # Errors
/// Every violation found.
pub fn check(plan: &Plan, input: &Input<'_>) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    let desired: BTreeMap<_, _> = input
        .desired
        .iter()
        .map(|object| (object.id(), object))
        .collect();
    actions(plan, input, &desired, &mut violations);
    written_ahead(plan, input, &mut violations);
    order(plan, &desired, &mut violations);
    removal(plan, input, &desired, &mut violations);
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations)
    }
}

type ById<'a> = BTreeMap<&'a ObjectId, &'a Desired>;

fn actions(plan: &Plan, input: &Input<'_>, desired: &ById<'_>, violations: &mut Vec<Violation>) {
    let mut counts: BTreeMap<&ObjectId, (usize, usize)> = BTreeMap::new();
    plan.actions()
        .for_each(|action| counts.entry(action.id()).or_default().0 += 1);
    input
        .desired
        .iter()
        .for_each(|object| counts.entry(object.id()).or_default().1 += 1);
    for (id, (actions, declared)) in counts {
        if (actions, declared) != (1, 1) {
            violations.push(Violation::Actions {
                id: id.clone(),
                actions,
                declared,
            });
        }
    }
    for action in plan.actions() {
        let object = desired.get(action.id());
        if let Some(why) = object.and_then(|object| wrong_action(action, input, object)) {
            violations.push(Violation::WrongAction {
                id: action.id().clone(),
                why,
            });
        }
    }
}

fn wrong_action(action: &Action, input: &Input<'_>, desired: &Desired) -> Option<&'static str> {
    let Some(live) = input.live.get(action.id()) else {
        return Some("it was not looked at");
    };
    if action.writes() && desired.policy().reconcile == Toggle::Disabled {
        return Some("git disables its reconciliation");
    }
    let meta = match (action, live) {
        (Action::Create(_), Live::Present(_)) => return Some("it exists"),
        (Action::Change(_) | Action::Unchanged(_), Live::Absent) => {
            return Some("it does not exist");
        }
        (Action::Create(_) | Action::Skip { .. }, Live::Absent) => return None,
        (Action::Change(_) | Action::Unchanged(_) | Action::Skip { .. }, Live::Present(meta)) => {
            meta
        }
    };
    if let Ownership::Foreign { .. } = input.owner.of(&meta.labels) {
        return Some("it belongs to another Sync");
    }
    let paused = ObjectPolicy::live(&meta.annotations, &meta.labels).reconcile == Toggle::Disabled;
    if action.writes() && paused {
        return Some("the live object disables its reconciliation");
    }
    if let Action::Unchanged(id) = action {
        let applied = input.applied.get(id);
        let same = applied.is_some_and(|applied| {
            applied.hash == desired.hash()
                && drift::assess(applied, live, FIELD_MANAGER) == Drift::None
        });
        return (!same).then_some("nothing proves that it is what was applied");
    }
    None
}

fn written_ahead(plan: &Plan, input: &Input<'_>, violations: &mut Vec<Violation>) {
    let desired = input.desired.iter().map(Desired::id);
    let owned: BTreeSet<_> = input.inventory.entries.keys().chain(desired).collect();
    for id in owned {
        if !plan.write_ahead.entries.contains_key(id) {
            violations.push(Violation::NotWrittenAhead { id: id.clone() });
        }
    }
}

/// Where each object is applied: the index of its stage.
fn order(plan: &Plan, desired: &ById<'_>, violations: &mut Vec<Violation>) {
    let mut position = BTreeMap::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        position.extend(stage.actions.iter().map(|action| (action.id(), index)));
    }
    let mut after = |id: &ObjectId, first: &ObjectId| {
        let both = position.get(id).zip(position.get(first));
        if both.is_some_and(|(id, first)| first >= id) {
            violations.push(Violation::Order {
                id: id.clone(),
                first: first.clone(),
            });
        }
    };
    let namespace = |name: &str| ObjectId::new("", "Namespace", None, name);
    for (id, object) in desired {
        if let Some(name) = &id.namespace {
            after(id, &namespace(name));
        }
        for (other, _) in desired.iter().filter(|(other, _)| defines(other, id)) {
            after(id, other);
        }
        for (other, earlier) in desired {
            let same_rank_needed =
                object.needs().contains(*other) && Rank::of(earlier) == Rank::of(object);
            let depended_on = object
                .depends_on()
                .iter()
                .any(|reference| reference.names(other));
            if same_rank_needed || depended_on || Rank::of(earlier) < Rank::of(object) {
                after(id, other);
            }
        }
    }
    awaited(plan, desired, &position, violations);
}

fn defines(definition: &ObjectId, instance: &ObjectId) -> bool {
    const CRD: (&str, &str) = ("apiextensions.k8s.io", "CustomResourceDefinition");
    let group = definition.name.split_once('.').map(|(_, group)| group);
    definition.is(CRD.0, CRD.1) && group == Some(instance.group.as_str())
}

fn awaited(
    plan: &Plan,
    desired: &ById<'_>,
    position: &BTreeMap<&ObjectId, usize>,
    violations: &mut Vec<Violation>,
) {
    let actions: BTreeMap<_, _> = plan.actions().map(|action| (action.id(), action)).collect();
    for (id, object) in desired {
        let waits_for = desired.iter().filter(|(other, earlier)| {
            let depends = object
                .depends_on()
                .iter()
                .any(|reference| reference.names(other));
            let (earlier, own) = (Rank::of(earlier), Rank::of(object));
            depends || earlier.kind == own.kind && earlier.wave < own.wave
        });
        for (target, _) in waits_for {
            let healthy = actions
                .get(target)
                .is_some_and(|action| can_become_healthy(action));
            let start = position.get(id).copied().unwrap_or_default();
            let awaited = plan
                .stages
                .iter()
                .take(start)
                .any(|stage| stage.wait_for.contains(*target));
            if healthy && !awaited {
                let (id, target) = ((*id).clone(), (*target).clone());
                violations.push(Violation::NotAwaited { id, target });
            }
        }
    }
}

fn removal(plan: &Plan, input: &Input<'_>, desired: &ById<'_>, violations: &mut Vec<Violation>) {
    for prune in &plan.prune {
        if let Some(why) = wrong_prune(prune, input, desired) {
            violations.push(Violation::WrongPrune {
                id: prune.id.clone(),
                why,
            });
        }
    }
    for pair in plan.prune.windows(2) {
        if let [first, then] = pair
            && removal_order(&first.id, &then.id).is_ge()
        {
            let (id, first) = (then.id.clone(), first.id.clone());
            violations.push(Violation::Order { id, first });
        }
    }
    let remembered = plan
        .kept
        .iter()
        .filter(|kept| kept.reason.fate() == Fate::Remembered);
    let stale = plan.prune.len() + remembered.count();
    let allowed = input.policy.limit.allowed(desired.len(), stale);
    if plan.prune.len() > allowed {
        violations.push(Violation::OverLimit {
            count: plan.prune.len(),
            allowed,
        });
    }
    let mut times: BTreeMap<&ObjectId, usize> = BTreeMap::new();
    let stale = input
        .inventory
        .entries
        .keys()
        .filter(|id| !desired.contains_key(id));
    times.extend(stale.map(|id| (id, 0)));
    let pruned = plan.prune.iter().map(|prune| &prune.id);
    for id in pruned
        .chain(plan.kept.iter().map(|kept| &kept.id))
        .chain(&plan.gone)
    {
        // One that is not stale at all counts as accounted for once too often.
        *times.entry(id).or_insert(1) += 1;
    }
    for (id, times) in times.into_iter().filter(|(_, times)| *times != 1) {
        violations.push(Violation::Unaccounted {
            id: id.clone(),
            times,
        });
    }
}

fn wrong_prune(prune: &Prune, input: &Input<'_>, desired: &ById<'_>) -> Option<&'static str> {
    let id = &prune.id;
    if input.policy.prune == Toggle::Disabled {
        return Some("pruning is off");
    }
    if desired.contains_key(id) {
        return Some("git wants it");
    }
    let Some(entry) = input.inventory.entries.get(id) else {
        return Some("it is not in the inventory");
    };
    let Some(Live::Present(meta)) = input.live.get(id) else {
        return Some("it was not seen");
    };
    let LiveMeta {
        uid,
        labels,
        annotations,
        ..
    } = meta;
    let policy = ObjectPolicy::live(annotations, labels);
    let consented = input.policy.consent.iter().any(|consent| consent.names(id));
    let rules = [
        (
            *uid != prune.uid,
            "the precondition names another life than was seen",
        ),
        (
            entry.uid.as_ref().is_some_and(|known| known != uid),
            "it is another life than the inventory's",
        ),
        (
            input.owner.of(labels) != Ownership::Ours,
            "its labels do not name us",
        ),
        (
            policy.prune == Toggle::Disabled,
            "the live object disables its pruning",
        ),
        (
            policy.reconcile == Toggle::Disabled,
            "the live object disables its reconciliation",
        ),
        (is_protected(id), "it is protected"),
        (
            holds_data(id) && !consented,
            "it holds data and git does not consent",
        ),
    ];
    rules
        .into_iter()
        .find_map(|(broken, why)| broken.then_some(why))
}
