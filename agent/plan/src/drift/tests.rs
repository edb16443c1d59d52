use super::*;
use crate::live::Operation;
use crate::object::{Desired, FIELD_MANAGER, Owner};
use jiff::Timestamp;
use serde_json::json;

fn stamp(manager: &str, subresource: Option<&str>, second: i64) -> ManagerStamp {
    ManagerStamp {
        manager: manager.to_owned(),
        operation: Operation::Update,
        subresource: subresource.map(str::to_owned),
        time: Some(Timestamp::from_second(second).unwrap()),
    }
}

fn ours() -> ManagerStamp {
    ManagerStamp {
        operation: Operation::Apply,
        ..stamp(FIELD_MANAGER, None, 100)
    }
}

/// What we applied, as the server answered.
fn applied(generation: Option<i64>) -> (Applied, LiveMeta) {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}, "annotations": {"note": "x"}},
    });
    let desired = Desired::new(value, &Owner::new("system", "shop").unwrap()).unwrap();
    let meta = LiveMeta {
        uid: "u".into(),
        resource_version: "10".to_owned(),
        generation,
        labels: desired.declared().labels.clone(),
        annotations: desired.declared().annotations.clone(),
        deletion_timestamp: None,
        managers: vec![ours()],
    };
    (Applied::new(&desired, &meta), meta)
}

fn edited(by: &[ManagerStamp]) -> Drift {
    Drift::Edited { by: by.to_vec() }
}

fn edited_by_kubectl() -> Drift {
    edited(&[stamp("kubectl", None, 200)])
}

fn edited_by_nobody() -> Drift {
    edited(&[])
}

fn kubectl(meta: &mut LiveMeta) {
    meta.managers.push(stamp("kubectl", None, 200));
}

fn controller(meta: &mut LiveMeta) {
    meta.managers.push(stamp("controller", Some("status"), 201));
}

fn spec(meta: &mut LiveMeta) {
    meta.generation = Some(4);
}

/// Does to the metadata what another hand or the server did.
type Change = fn(&mut LiveMeta);
type Verdict = fn() -> Drift;

/// (case, generation we applied, what happened since, verdict)
const CASES: [(&str, Option<i64>, &[Change], Verdict); 12] = [
    (
        "another life",
        Some(3),
        &[|meta| meta.uid = "v".into()],
        || Drift::Recreated,
    ),
    ("status", Some(3), &[controller], || Drift::None),
    ("spec", Some(3), &[spec, kubectl], edited_by_kubectl),
    (
        "spec and status",
        Some(3),
        &[spec, controller, kubectl],
        edited_by_kubectl,
    ),
    ("spec, no stamp", Some(3), &[spec], edited_by_nobody),
    (
        "our own write, answer still on its way",
        Some(3),
        &[spec, |meta| {
            meta.managers = vec![stamp(FIELD_MANAGER, None, 200)];
        }],
        || Drift::None,
    ),
    (
        "our label",
        Some(3),
        &[kubectl, |meta| drop(meta.labels.remove("app"))],
        edited_by_kubectl,
    ),
    (
        "our annotation",
        Some(3),
        &[kubectl, |meta| {
            drop(meta.annotations.insert("note".to_owned(), "y".to_owned()));
        }],
        edited_by_kubectl,
    ),
    (
        "a label of theirs",
        Some(3),
        &[kubectl, |meta| {
            drop(meta.labels.insert("theirs".to_owned(), "x".to_owned()));
        }],
        || Drift::None,
    ),
    ("data", None, &[kubectl], edited_by_kubectl),
    ("data, same writer and second", None, &[], edited_by_nobody),
    (
        "status of a kind that counts no generations",
        None,
        &[controller],
        || Drift::None,
    ),
];

#[test]
fn what_counts() {
    for (case, generation, changes, expected) in CASES {
        let (applied, mut meta) = applied(generation);
        assert_eq!(
            assess(&applied, &Live::Present(meta.clone()), FIELD_MANAGER),
            Drift::None,
            "{case}: before"
        );
        meta.resource_version = "11".to_owned();
        for change in changes {
            change(&mut meta);
        }
        assert_eq!(
            assess(&applied, &Live::Present(meta), FIELD_MANAGER),
            expected(),
            "{case}"
        );
    }
    let (applied, _) = applied(None);
    assert_eq!(
        assess(&applied, &Live::Absent, FIELD_MANAGER),
        Drift::Deleted
    );
}

#[test]
fn the_last_writer_comes_first() {
    let (applied, mut meta) = applied(None);
    meta.resource_version = "11".to_owned();
    let (early, late) = (stamp("early", None, 200), stamp("late", None, 300));
    meta.managers.extend([early.clone(), late.clone()]);
    assert_eq!(
        assess(&applied, &Live::Present(meta), FIELD_MANAGER),
        edited(&[late, early])
    );
}

#[test]
fn a_busy_status_never_counts() {
    let (applied, mut meta) = applied(Some(1));
    for second in 101..1000 {
        meta.resource_version = second.to_string();
        meta.managers = vec![
            ours(),
            stamp("kube-controller-manager", Some("status"), second),
        ];
        assert_eq!(
            assess(&applied, &Live::Present(meta.clone()), FIELD_MANAGER),
            Drift::None
        );
    }
}
