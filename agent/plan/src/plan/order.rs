//! The order in which objects are applied, and its reverse for deletion.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, ById, Refusal, SkipReason, Stage};
use crate::object::{Desired, ObjectId, Wave};

/// The great steps of an apply, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StageKind {
    /// `CustomResourceDefinition`s and `Namespace`s: what others are instances of or live in.
    Definitions,
    /// Classes of storage, priority, ingress and the like: what others name without the server checking.
    Classes,
    /// Everything else.
    Workloads,
    /// Admission webhooks and policies: from here on they judge every write, so they come last.
    Webhooks,
}

impl StageKind {
    /// The stage an object belongs to, by its kind.
    pub fn of(id: &ObjectId) -> Self {
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                Self::Definitions
            }
            ("admissionregistration.k8s.io", _) => Self::Webhooks,
            (_, kind) if kind.ends_with("Class") && id.namespace.is_none() => Self::Classes,
            _ => Self::Workloads,
        }
    }
}

/// Coarse position of an object: its stage, then its wave. References order within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) kind: StageKind,
    pub(crate) wave: Wave,
}

impl Rank {
    pub(crate) fn of(desired: &Desired) -> Self {
        Self {
            kind: StageKind::of(desired.id()),
            wave: desired.wave(),
        }
    }
}

/// Order of deletion: that of apply turned round, by kind alone, because what left git left its references too.
pub(crate) fn removal_order(a: &ObjectId, b: &ObjectId) -> Ordering {
    let position = |id: &ObjectId| (StageKind::of(id), depth(id));
    position(b).cmp(&position(a)).then_with(|| a.cmp(b))
}

/// How far up the chain of references objects of a kind usually are.
fn depth(id: &ObjectId) -> u8 {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Namespace") => 0,
        ("", "ConfigMap" | "Secret" | "PersistentVolume" | "ResourceQuota" | "LimitRange")
        | ("apiextensions.k8s.io", _) => 1,
        ("", "ServiceAccount" | "PersistentVolumeClaim" | "Service")
        | ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
        | ("networking.k8s.io", "NetworkPolicy") => 2,
        ("rbac.authorization.k8s.io", _) => 3,
        ("" | "apps" | "batch", _) => 4,
        _ => 5,
    }
}

/// Arranges the actions in stages. Objects whose order cannot be settled are refused.
pub(super) fn stages(
    objects: &ById<'_>,
    mut actions: BTreeMap<&ObjectId, Action>,
    refusals: &mut Vec<Refusal>,
) -> Vec<Stage> {
    let edges = Edges::of(objects, refusals);
    let mut ranks: BTreeMap<Rank, BTreeSet<&ObjectId>> = BTreeMap::new();
    for (id, object) in objects {
        ranks.entry(Rank::of(object)).or_default().insert(id);
    }
    let mut stages = Vec::new();
    for (rank, members) in &ranks {
        let mut wave = BTreeSet::new();
        for layer in layers(members, &edges.before, refusals) {
            let actions: Vec<_> = layer.iter().filter_map(|id| actions.remove(*id)).collect();
            let healthy = actions.iter().filter(|action| can_become_healthy(action));
            wave.extend(healthy.clone().map(|action| action.id().clone()));
            let wait_for = healthy
                .filter(|action| {
                    let defines = rank.kind == StageKind::Definitions;
                    let new = !matches!(action, Action::Unchanged(_));
                    defines && new || edges.waited_for.contains(action.id())
                })
                .map(|action| action.id().clone())
                .collect();
            stages.push(Stage {
                kind: rank.kind,
                actions,
                wait_for,
            });
        }
        let next_wave = ranks
            .keys()
            .any(|other| other.kind == rank.kind && other > rank);
        if let Some(last) = stages.last_mut().filter(|_| next_wave) {
            last.wait_for = wave;
        }
    }
    // Nothing starts after the last stage.
    if let Some(last) = stages.last_mut() {
        last.wait_for.clear();
    }
    stages
}

/// Nobody waits for an object that is left alone on purpose.
pub(crate) fn can_become_healthy(action: &Action) -> bool {
    match action {
        Action::Create(_) | Action::Change(_) | Action::Unchanged(_) => true,
        Action::Skip { id: _, reason } => match reason {
            SkipReason::AlreadyPresent | SkipReason::Terminating => true,
            SkipReason::ReconcileDisabled | SkipReason::Ignored => false,
        },
    }
}

/// What comes before what.
struct Edges<'a> {
    /// Object to the objects of its own rank that must be applied before it.
    before: BTreeMap<&'a ObjectId, BTreeSet<&'a ObjectId>>,
    /// Objects that another waits for by annotation: they must be healthy, not just applied.
    waited_for: BTreeSet<&'a ObjectId>,
}

impl<'a> Edges<'a> {
    fn of(objects: &ById<'a>, refusals: &mut Vec<Refusal>) -> Self {
        let mut edges = Self {
            before: BTreeMap::new(),
            waited_for: BTreeSet::new(),
        };
        for (id, object) in objects {
            let rank = Rank::of(object);
            let before = edges.before.entry(id).or_default();
            // A reference across ranks is settled by them; one to a later wave was put there on purpose.
            let needs = object
                .needs()
                .iter()
                .filter_map(|need| objects.get_key_value(need));
            before.extend(
                needs
                    .filter(|(_, need)| Rank::of(need) == rank)
                    .map(|(need, _)| *need),
            );
            for reference in object.depends_on() {
                let mut found = objects
                    .iter()
                    .filter(|(other, _)| reference.names(other))
                    .peekable();
                if found.peek().is_none() {
                    refusals.push(Refusal::UnknownDependency {
                        id: (*id).clone(),
                        missing: reference.clone(),
                    });
                }
                for (other, target) in found {
                    match Rank::of(target).cmp(&rank) {
                        Ordering::Less => {}
                        Ordering::Equal => drop(before.insert(other)),
                        Ordering::Greater => refusals.push(Refusal::DependencyComesLater {
                            id: (*id).clone(),
                            later: (*other).clone(),
                        }),
                    }
                    edges.waited_for.insert(other);
                }
            }
        }
        edges
    }
}

/// Splits objects of one rank into layers: each object in the first layer after everything that comes before it.
fn layers<'a>(
    members: &BTreeSet<&'a ObjectId>,
    before: &BTreeMap<&'a ObjectId, BTreeSet<&'a ObjectId>>,
    refusals: &mut Vec<Refusal>,
) -> Vec<BTreeSet<&'a ObjectId>> {
    let mut missing: BTreeMap<&ObjectId, usize> = BTreeMap::new();
    let mut after: BTreeMap<&ObjectId, Vec<&'a ObjectId>> = BTreeMap::new();
    for id in members {
        let before = before.get(id).into_iter().flatten();
        missing.insert(id, before.clone().count());
        before.for_each(|first| after.entry(first).or_default().push(id));
    }
    let mut layers = Vec::new();
    let mut layer: BTreeSet<&ObjectId> = members
        .iter()
        .copied()
        .filter(|id| missing.get(id) == Some(&0))
        .collect();
    while !layer.is_empty() {
        let mut next = BTreeSet::new();
        for id in &layer {
            missing.remove(id);
            for later in after.get(id).into_iter().flatten() {
                if let Some(count) = missing.get_mut(later) {
                    *count -= 1;
                    if *count == 0 {
                        next.insert(*later);
                    }
                }
            }
        }
        layers.push(std::mem::replace(&mut layer, next));
    }
    if !missing.is_empty() {
        let ids = missing.into_keys().cloned().collect();
        refusals.push(Refusal::Circle { ids });
    }
    layers
}
