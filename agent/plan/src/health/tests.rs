//! Tables of the rules, one file for each family of kinds, and the laws that hold for all.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

mod kinds;
mod pods;
mod workloads;

/// A word for each verdict, so that a table can name it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Is {
    Current,
    InProgress(&'static str),
    Failed(&'static str),
    Terminating,
    Unknown,
}

fn expect(case: &str, object: &Value, context: &HealthContext<'_>, expected: Is) {
    let health = assess(object, context);
    let seen = match &health {
        Health::Current => Is::Current,
        Health::Terminating => Is::Terminating,
        Health::Unknown { .. } => Is::Unknown,
        Health::InProgress { reason } => Is::InProgress(
            if let Is::InProgress(text) = expected
                && text == reason
            {
                text
            } else {
                "another"
            },
        ),
        Health::Failed { reason } => Is::Failed(
            if let Is::Failed(text) = expected
                && text == reason
            {
                text
            } else {
                "another"
            },
        ),
    };
    assert_eq!(seen, expected, "{case}: {health:?}");
}

/// An object of a kind with the given spec and status, whose controller is up to date.
fn object(api_version: &str, kind: &str, spec: &Value, status: &Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": "x", "namespace": "a", "generation": 2},
        "spec": spec, "status": status,
    });
    if api_version == "apps/v1" {
        object["status"]["observedGeneration"] = json!(2);
    }
    object
}

#[test]
fn for_every_kind() {
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let with = |path: &str, value: Value| {
        let mut object = object("example.com/v1", "Thing", &json!({}), &ready);
        let (parent, key) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        object
    };
    let condition = |kind: &str| json!([{"type": kind, "status": "True", "message": "words"}]);
    let cases = [
        ("as it is", with("/spec/a", json!(1)), Is::Current),
        (
            "deleted",
            with("/metadata/deletionTimestamp", json!("2026-11-24T00:00:00Z")),
            Is::Terminating,
        ),
        (
            "observed",
            with("/status/observedGeneration", json!(1)),
            Is::InProgress("its controller has not looked at the last change yet"),
        ),
        (
            "reconciling",
            with("/status/conditions", condition("Reconciling")),
            Is::InProgress("words"),
        ),
        (
            "stalled",
            with("/status/conditions", condition("Stalled")),
            Is::Failed("words"),
        ),
        ("no kind", with("/kind", json!(null)), Is::Unknown),
    ];
    for (case, object, expected) in cases {
        expect(case, &object, &HealthContext::default(), expected);
    }
    let applied = |generation| HealthContext {
        applied_generation: Some(generation),
        ..HealthContext::default()
    };
    let object = with("/spec/a", json!(1));
    expect("applied and seen", &object, &applied(2), Is::Current);
    let stale = Is::InProgress("the applied change was not seen yet");
    expect("applied, not yet seen", &object, &applied(3), stale);
    expect(
        "no object at all",
        &json!([]),
        &HealthContext::default(),
        Is::Unknown,
    );
}

#[test]
fn together() {
    let ids: Vec<_> = (0..5)
        .map(|n| ObjectId::new("", "Pod", Some("a"), &n.to_string()))
        .collect();
    let progress = Health::progress("waits");
    let unknown = Health::Unknown {
        reason: "odd".to_owned(),
    };
    let failed = Health::failed("broke");
    let cases = [
        (vec![], Health::Current),
        (vec![&Health::Current, &Health::Current], Health::Current),
        (
            vec![&Health::Current, &progress, &Health::Terminating],
            Health::progress("Pod a/1: waits; Pod a/2: it is being deleted"),
        ),
        (
            vec![&progress, &unknown],
            Health::Unknown {
                reason: "Pod a/1: odd".to_owned(),
            },
        ),
        (
            vec![&unknown, &failed, &progress],
            Health::failed("Pod a/1: broke"),
        ),
        (
            vec![&failed, &failed, &failed, &failed, &failed],
            Health::failed("Pod a/0: broke; Pod a/1: broke; Pod a/2: broke; and 2 more"),
        ),
    ];
    for (healths, expected) in cases {
        assert_eq!(aggregate(ids.iter().zip(healths)), expected);
    }
}

/// The kinds with rules of their own, for laws that hold for all.
const KINDS: [(&str, &str); 16] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
    ("v1", "Namespace"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("networking.k8s.io/v1", "Ingress"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("example.com/v1", "Thing"),
];

/// Any status, right or wrong.
fn status() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "True",
        "False",
        "Ready",
        "Available",
        "Progressing",
        "Accepted",
        "Running",
        "Failed",
        "Bound",
        "x",
    ]);
    let keys = prop::sample::select(vec![
        "conditions",
        "phase",
        "replicas",
        "readyReplicas",
        "updatedReplicas",
        "type",
        "status",
        "reason",
        "containerStatuses",
        "state",
        "waiting",
        "parents",
        "observedGeneration",
        "desiredNumberScheduled",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone(), inner, 0..6).prop_map(|map| {
                Value::Object(
                    map.into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_status_is_judged(kind in prop::sample::select(KINDS.to_vec()), spec in status(), status in status()) {
        let object = json!({
            "apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "x"}, "spec": spec, "status": status,
        });
        let pods = [object.clone()];
        let context = HealthContext { pods: Some(&pods), ..HealthContext::default() };
        prop_assert_eq!(assess(&object, &context), assess(&object, &context));
    }

    #[test]
    fn an_older_generation_is_never_current(
        kind in prop::sample::select(KINDS.to_vec()), status in status(), generation in 1i64..5, ahead in 1i64..5,
    ) {
        let object = json!({
            "apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "x", "generation": generation}, "status": status,
        });
        let applied_generation = Some(generation + ahead);
        let context = HealthContext { applied_generation, ..HealthContext::default() };
        prop_assert_ne!(assess(&object, &context), Health::Current);
    }

    /// While a generation rolls out, more replicas in every respect never turn a healthy workload back.
    #[test]
    fn progress_of_one_generation_is_monotone(
        wanted in 0i64..4,
        before in prop::collection::vec(0i64..4, 3),
        more in prop::collection::vec(0i64..4, 3),
        kind in prop::sample::select(vec!["Deployment", "StatefulSet", "ReplicaSet"]),
    ) {
        let status = |counts: &[i64]| {
            let count = |index: usize| counts[index].min(wanted);
            json!({
                "replicas": wanted, "updatedReplicas": count(0), "currentReplicas": count(0),
                "fullyLabeledReplicas": count(0), "availableReplicas": count(1), "readyReplicas": count(2),
                "currentRevision": "a", "updateRevision": "a",
                "conditions": [
                    {"type": "Available", "status": "True"},
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
                ],
            })
        };
        let assess = |counts: &[i64]| {
            let object = object("apps/v1", kind, &json!({"replicas": wanted}), &status(counts));
            assess(&object, &HealthContext::default())
        };
        let after: Vec<_> = before.iter().zip(&more).map(|(before, more)| before + more).collect();
        if assess(&before) == Health::Current {
            prop_assert_eq!(assess(&after), Health::Current);
        }
        prop_assert_eq!(assess(&[wanted; 3]), Health::Current);
    }
}
