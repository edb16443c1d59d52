//! `check` finds what is wrong with a plan: a right one is broken on purpose, in every way there is a rule against.

use plan::check::{Violation, check};
use plan::plan::{Action, Input, Plan, Prune, SkipReason};
use serde_json::json;

use crate::world::{World, annotate, desired, object, owner, policy, shop};

type Break = fn(&mut Plan);

fn index(plan: &Plan, kind: &str) -> (usize, usize) {
    let find = |stage: &plan::plan::Stage| {
        stage
            .actions
            .iter()
            .position(|action| action.id().kind == kind)
    };
    plan.stages
        .iter()
        .enumerate()
        .find_map(|(at, stage)| Some((at, find(stage)?)))
        .unwrap()
}

fn take(plan: &mut Plan, kind: &str) -> Action {
    let (stage, action) = index(plan, kind);
    plan.stages[stage].actions.remove(action)
}

/// (case, what is done to the plan, the first violation's text)
const CASES: [(&str, Break, &str); 13] = [
    (
        "forgotten",
        |plan| drop(take(plan, "StorageClass")),
        "StorageClass.storage.k8s.io local has 0 actions and is declared 1 times",
    ),
    (
        "twice",
        |plan| {
            let action = take(plan, "StorageClass");
            let last = plan.stages.last_mut().unwrap();
            last.actions.extend([action.clone(), action]);
        },
        "StorageClass.storage.k8s.io local has 2 actions and is declared 1 times",
    ),
    (
        "unchanged without a proof",
        |plan| {
            let (stage, action) = index(plan, "StorageClass");
            let id = plan.stages[stage].actions[action].id().clone();
            plan.stages[stage].actions[action] = Action::Unchanged(id);
        },
        "StorageClass.storage.k8s.io local must not have its action: it does not exist",
    ),
    (
        "written although paused",
        |plan| {
            let (stage, action) = index(plan, "Paused");
            let Action::Skip {
                id,
                reason: SkipReason::ReconcileDisabled,
            } = plan.stages[stage].actions[action].clone()
            else {
                panic!("it is paused")
            };
            plan.stages[stage].actions[action] = Action::Create(id);
        },
        "Paused.example.com shop/paused must not have its action: git disables its reconciliation",
    ),
    (
        "not written ahead",
        |plan| {
            let id = plan.actions().next().unwrap().id().clone();
            plan.write_ahead.entries.remove(&id);
        },
        "Namespace kube-system is not written ahead",
    ),
    (
        "namespace late",
        |plan| {
            let (stage, _) = index(plan, "Namespace");
            let definitions = plan.stages.remove(stage);
            plan.stages.push(definitions);
        },
        "ConfigMap shop/web is not applied after Namespace shop",
    ),
    (
        "role with its binding",
        |plan| {
            let role = take(plan, "Role");
            let (stage, _) = index(plan, "RoleBinding");
            plan.stages[stage].actions.push(role);
        },
        "RoleBinding.rbac.authorization.k8s.io shop/web is not applied after Role.rbac.authorization.k8s.io shop/web",
    ),
    (
        "dependency not awaited",
        |plan| {
            for stage in &mut plan.stages {
                stage.wait_for.clear();
            }
        },
        "Waits.example.com shop/waits does not wait for Deployment.apps shop/web to be healthy",
    ),
    (
        "pruned although wanted",
        |plan| {
            let id = plan.actions().next().unwrap().id().clone();
            plan.prune.push(Prune {
                id,
                version: "v1".to_owned(),
                uid: "u".into(),
            });
        },
        "Namespace kube-system must not be pruned: git wants it",
    ),
    (
        "pruned in another life",
        |plan| plan.prune[0].uid = "another".into(),
        "ConfigMap shop/old must not be pruned: the precondition names another life than was seen",
    ),
    (
        "pruned data",
        |plan| {
            let kept = plan.kept.remove(0);
            plan.prune.push(Prune {
                id: kept.id,
                version: "v1".to_owned(),
                uid: "uid-2".into(),
            });
        },
        "PersistentVolumeClaim shop/old must not be pruned: it holds data and git does not consent",
    ),
    (
        "left git and forgotten",
        |plan| plan.kept.clear(),
        "PersistentVolumeClaim shop/old left git and is accounted for 0 times",
    ),
    (
        "left git and pruned twice",
        |plan| plan.prune.push(plan.prune[0].clone()),
        "ConfigMap shop/old is not applied after ConfigMap shop/old",
    ),
];

#[test]
fn every_break_is_found() {
    let old = [
        object("v1", "ConfigMap", "shop/old", json!({})),
        object("v1", "PersistentVolumeClaim", "shop/old", json!({})),
    ];
    let waits = object("example.com/v1", "Waits", "shop/waits", json!({}));
    let paused = object("example.com/v1", "Paused", "shop/paused", json!({}));
    let more = [
        annotate(waits, &[("depends-on", "Deployment shop/web")]),
        annotate(paused, &[("reconcile", "disabled")]),
    ];
    let objects = desired(shop().into_iter().chain(more));
    let mut world = World::default();
    for object in desired(old) {
        world.put(&object, &owner().labels(), &[]);
        let uid = world.uid(object.id()).map(str::to_owned);
        world.own(&object, uid.as_deref());
    }
    let (owner, live, policy) = (owner(), world.live(&objects), policy());
    let input = Input {
        owner: &owner,
        desired: &objects,
        inventory: &world.inventory,
        live: &live,
        applied: &world.applied,
        policy: &policy,
    };
    let right = plan::plan::plan(&input).unwrap();
    assert_eq!(check(&right, &input), Ok(()));
    for (case, break_it, expected) in CASES {
        let mut wrong = right.clone();
        break_it(&mut wrong);
        let violations: Vec<Violation> = check(&wrong, &input).unwrap_err();
        assert_eq!(
            violations[0].to_string(),
            expected,
            "{case}: {violations:?}"
        );
    }
}
