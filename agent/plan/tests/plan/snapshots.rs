//! A few plans in full.

use plan::plan::{Policy, PruneLimit};
use serde_json::{Value, json};

use crate::world::{World, annotate, desired, object, policy, shop};

fn without(kinds: &[&str]) -> Vec<Value> {
    let kept = |value: &Value| !kinds.iter().any(|kind| value["kind"] == *kind);
    shop().into_iter().filter(kept).collect()
}

#[test]
fn first_apply() {
    insta::assert_yaml_snapshot!(World::default().plan(&desired(shop()), &policy()).unwrap());
}

#[test]
fn unchanged() {
    let (mut world, objects) = (World::default(), desired(shop()));
    world.reconcile(&objects, &policy()).unwrap();
    let plan = world.plan(&objects, &policy()).unwrap();
    insta::assert_yaml_snapshot!(plan.stages);
}

#[test]
fn half_of_it_leaves_git() {
    let mut world = World::default();
    world.reconcile(&desired(shop()), &policy()).unwrap();
    let left = desired(without(&[
        "Secret",
        "ConfigMap",
        "PersistentVolumeClaim",
        "ValidatingWebhookConfiguration",
        "Deployment",
    ]));
    let policy = Policy {
        limit: PruneLimit::Percent(50),
        ..policy()
    };
    let plan = world.plan(&left, &policy).unwrap();
    insta::assert_yaml_snapshot!((&plan.prune, &plan.kept));
}

#[test]
fn reasons_for_keeping() {
    let mut world = World::default();
    world.reconcile(&desired(shop()), &policy()).unwrap();
    let plan = world.plan(&[], &policy()).unwrap();
    let texts: Vec<_> = plan.kept.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

/// What the cluster repository does to immudb, within one Sync: the replica waits for a healthy primary.
#[test]
fn waves_and_dependencies() {
    let set = |name: &str| {
        object(
            "apps/v1",
            "StatefulSet",
            &format!("immudb/{name}"),
            json!({"spec": {"serviceName": name}}),
        )
    };
    let service = |name: &str| object("v1", "Service", &format!("immudb/{name}"), json!({}));
    let job = object("batch/v1", "Job", "immudb/prove", json!({}));
    let objects = desired([
        object("v1", "Namespace", "immudb", json!({})),
        service("primary"),
        set("primary"),
        service("replica"),
        annotate(
            set("replica"),
            &[("depends-on", "StatefulSet immudb/primary")],
        ),
        annotate(job, &[("wave", "1")]),
    ]);
    let plan = World::default().plan(&objects, &policy()).unwrap();
    insta::assert_yaml_snapshot!(plan.stages);
}
