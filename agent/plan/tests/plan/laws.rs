//! Laws for any desired state, any inventory and any cluster.

use std::collections::{BTreeMap, BTreeSet};

use plan::check::check;
use plan::live::Live;
use plan::object::{Desired, ObjectId, Ownership, Toggle};
use plan::plan::{Action, Input, Policy, PruneLimit, plan};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, annotate, another, desired, object, owner, shop};

/// A revision: some objects of the shop in some version, with some policy, in some order.
fn revision() -> impl Strategy<Value = Vec<Value>> {
    let annotations = prop::sample::select(vec![
        ("note", "none"),
        ("note", "none"),
        ("note", "none"),
        ("prune", "disabled"),
        ("reconcile", "disabled"),
        ("ssa", "Merge"),
        ("ssa", "IfNotPresent"),
        ("ssa", "Ignore"),
        ("wave", "1"),
        ("wave", "-1"),
    ]);
    let all = shop().into_iter().map(move |value| {
        let kept = prop::option::weighted(0.6, (0u8..3, annotations.clone()));
        kept.prop_map(move |choice| {
            choice.map(|(version, annotation)| {
                let mut value = annotate(value.clone(), &[annotation]);
                value["metadata"]["annotations"]["version"] = json!(version.to_string());
                value
            })
        })
    });
    all.collect::<Vec<_>>()
        .prop_map(|objects| objects.into_iter().flatten().collect::<Vec<_>>())
        .prop_shuffle()
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let limit = prop_oneof![
        Just(PruneLimit::Default),
        (0usize..20).prop_map(PruneLimit::Objects),
        (0u8..=100).prop_map(PruneLimit::Percent),
    ];
    let prune = prop::sample::select(vec![Toggle::Enabled, Toggle::Enabled, Toggle::Disabled]);
    let names = vec![
        "PersistentVolumeClaim shop/data",
        "StatefulSet shop/db",
        "Namespace shop",
        "Namespace kube-system",
    ];
    let consent = prop::sample::subsequence(names, 0..=4);
    (prune, limit, consent).prop_map(|(prune, limit, consent)| Policy {
        prune,
        limit,
        consent: consent
            .into_iter()
            .map(|name| name.parse().unwrap())
            .collect(),
    })
}

/// What one object of the shop may be like, whatever git and the inventory say.
#[derive(Debug, Clone, Copy)]
enum Fact {
    Absent,
    Ours,
    OursAnnotated(&'static str),
    Nobodys,
    Anothers,
    Terminating,
    Unobserved,
}

fn facts() -> impl Strategy<Value = Vec<(Fact, bool, bool)>> {
    let fact = prop::sample::select(vec![
        Fact::Absent,
        Fact::Ours,
        Fact::Ours,
        Fact::Ours,
        Fact::OursAnnotated("immuops.dev/prune"),
        Fact::OursAnnotated("immuops.dev/reconcile"),
        Fact::Nobodys,
        Fact::Anothers,
        Fact::Terminating,
        Fact::Unobserved,
    ]);
    prop::collection::vec((fact, any::<bool>(), any::<bool>()), shop().len())
}

/// A cluster in that state: (fact, in the inventory, with its uid known).
fn world(facts: &[(Fact, bool, bool)]) -> (World, BTreeSet<ObjectId>) {
    let (owner, another) = (owner(), another());
    let mut world = World::default();
    let mut unobserved = BTreeSet::new();
    for (object, (fact, owned, known)) in desired(shop()).iter().zip(facts) {
        match fact {
            Fact::Absent => {}
            Fact::Ours => world.put(object, &owner.labels(), &[]),
            Fact::OursAnnotated(key) => world.put(object, &owner.labels(), &[(key, "disabled")]),
            Fact::Nobodys => world.put(object, &[], &[]),
            Fact::Anothers => world.put(object, &another.labels(), &[]),
            Fact::Terminating => {
                world.put(object, &owner.labels(), &[]);
                let thing = world.things.get_mut(object.id()).unwrap();
                thing.meta.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
            }
            Fact::Unobserved => drop(unobserved.insert(object.id().clone())),
        }
        if *owned {
            let uid = world.uid(object.id()).unwrap_or("an older life").to_owned();
            world.own(object, known.then_some(uid.as_str()));
        }
    }
    (world, unobserved)
}

fn ids(desired: &[Desired]) -> BTreeSet<&ObjectId> {
    desired.iter().map(Desired::id).collect()
}

proptest! {
    /// Any input gives a plan that keeps every invariant, or a refusal; and the same in any order of the objects.
    #[test]
    fn a_plan_keeps_the_invariants(facts in facts(), revision in revision(), policy in any_policy()) {
        let (world, unobserved) = world(&facts);
        let (owner, objects) = (owner(), desired(revision.clone()));
        let mut live = world.live(&objects);
        live.retain(|id, _| !unobserved.contains(id));
        let input = Input {
            owner: &owner, desired: &objects, inventory: &world.inventory, live: &live,
            applied: &world.applied, policy: &policy,
        };
        let result = plan(&input);
        match &result {
            Ok(plan) => prop_assert_eq!(check(plan, &input), Ok(())),
            Err(error) => prop_assert!(!error.refusals.is_empty()),
        }
        let refusable = objects.iter().any(|object| match live.get(object.id()) {
            None => true,
            Some(Live::Absent) => false,
            Some(Live::Present(meta)) => matches!(owner.of(&meta.labels), Ownership::Foreign { .. }),
        });
        prop_assert_eq!(result.is_err(), refusable);
        let mut turned = objects.clone();
        turned.reverse();
        prop_assert_eq!(plan(&Input { desired: &turned, ..input }), result);
    }

    /// A plan can be written down and read back.
    #[test]
    fn a_plan_is_serialisable(revision in revision(), policy in any_policy()) {
        let plan = World::default().plan(&desired(revision), &policy).unwrap();
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<plan::plan::Plan>(&json).unwrap(), plan);
    }

    /// Reconciled twice, the second time does nothing at all.
    #[test]
    fn the_plan_of_an_applied_state_is_empty(
        first in revision(), second in revision(), policy in any_policy(),
    ) {
        let mut world = World::default();
        for revision in [first, second] {
            let objects = desired(revision);
            world.reconcile(&objects, &policy).unwrap();
            let again = world.plan(&objects, &policy).unwrap();
            prop_assert_eq!(again.writes(), 0);
            prop_assert_eq!(&again.write_ahead, &world.inventory);
            prop_assert_eq!(&again.finish(&BTreeMap::new()), &world.inventory);
        }
    }

    /// Killed before any write and started again with another revision, nothing is lost and nothing leaks: what git wants
    /// is there, and whatever carries our labels is wanted or known to the inventory.
    #[test]
    fn nothing_leaks_when_the_agent_is_killed(
        revisions in prop::collection::vec((revision(), 0usize..40), 1..4), last in revision(), policy in any_policy(),
    ) {
        let (owner, mut world) = (owner(), World::default());
        for (revision, writes) in revisions {
            let objects = desired(revision);
            let plan = world.plan(&objects, &policy).unwrap();
            world.execute(&plan, &objects, writes);
            for (id, thing) in &world.things {
                let ours = owner.of(&thing.meta.labels) == Ownership::Ours;
                let annotated = thing.meta.annotations.values().any(|value| value == "disabled");
                prop_assert!(!ours || annotated || world.inventory.entries.contains_key(id), "{:?}", id);
            }
        }
        let objects = desired(last);
        let plan = world.reconcile(&objects, &policy).unwrap();
        for action in plan.actions() {
            if let Action::Create(id) | Action::Change(id) | Action::Unchanged(id) = action {
                let object = objects.iter().find(|object| object.id() == id).unwrap();
                prop_assert_eq!(world.things[id].content, Some(object.hash()));
            }
        }
        let kept: BTreeSet<_> = plan.kept.iter().map(|kept| &kept.id).collect();
        let wanted = ids(&objects);
        for (id, thing) in &world.things {
            let ours = owner.of(&thing.meta.labels) == Ownership::Ours;
            let annotated = thing.meta.annotations.values().any(|value| value == "disabled");
            prop_assert!(!ours || annotated || wanted.contains(id) || kept.contains(id), "{:?}", id);
        }
    }

    /// A foreign edit or deletion of anything is corrected, and of nothing else.
    #[test]
    fn drift_is_corrected(revision in revision(), hurt in prop::collection::vec((0usize..16, any::<bool>()), 1..4)) {
        let policy = crate::world::policy();
        let (mut world, objects) = (World::default(), desired(revision));
        let done = world.reconcile(&objects, &policy).unwrap();
        let mut written: Vec<_> = done.actions().filter(|action| action.writes()).map(Action::id).collect();
        written.sort();
        // `IfNotPresent` asks for an edit to be left alone, but not a deletion.
        let applied: Vec<_> = written.into_iter().filter(|id| {
            let object = objects.iter().find(|object| object.id() == *id).unwrap();
            object.policy().ssa != plan::object::Ssa::IfNotPresent
        }).collect();
        let mut expected = BTreeSet::new();
        for (index, delete) in hurt {
            let Some(id) = applied.get(index) else { continue };
            if delete { drop(world.things.remove(*id)) } else { world.edit(id) }
            expected.insert((*id).clone());
        }
        let plan = world.plan(&objects, &policy).unwrap();
        let seen: BTreeSet<_> = plan.actions().filter(|action| action.writes()).map(|action| action.id().clone()).collect();
        prop_assert_eq!(seen, expected);
    }

    /// Dependencies by annotation are kept, whatever they are, unless they form a circle.
    #[test]
    fn order_respects_dependencies(edges in prop::collection::btree_set((0usize..8, 0usize..8), 0..12)) {
        let name = |index: usize| format!("ConfigMap a/{index}");
        let objects: Vec<_> = (0..8).map(|index| {
            let targets: Vec<_> = edges.iter().filter(|(from, _)| *from == index).map(|(_, to)| name(*to)).collect();
            let map = object("v1", "ConfigMap", &format!("a/{index}"), json!({}));
            annotate(map, &[("depends-on", &targets.join(", "))])
        }).collect();
        // `World::plan` checks the order; here only whether there is one.
        let acyclic = edges.iter().all(|(from, to)| !reaches(&edges, *to, *from));
        prop_assert_eq!(World::default().plan(&desired(objects), &crate::world::policy()).is_ok(), acyclic);
    }
}

fn reaches(edges: &BTreeSet<(usize, usize)>, from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        open.extend(
            edges
                .iter()
                .filter(|(start, end)| *start == node && seen.insert(*end))
                .map(|(_, end)| *end),
        );
    }
    seen.contains(&to)
}
