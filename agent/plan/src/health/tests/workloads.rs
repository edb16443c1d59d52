use super::*;

const AVAILABLE: &str = r#"[
    {"type": "Available", "status": "True"},
    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
]"#;

/// (case, replicas, updated, available, ready, verdict); two are wanted
const DEPLOYMENTS: [(&str, [i64; 4], Is); 6] = [
    ("rolled out", [2, 2, 2, 2], Is::Current),
    (
        "too few",
        [1, 1, 1, 1],
        Is::InProgress("1 of 2 replicas exist"),
    ),
    (
        "old template",
        [2, 1, 2, 2],
        Is::InProgress("1 of 2 replicas are updated"),
    ),
    (
        "old ones left",
        [3, 2, 2, 2],
        Is::InProgress("3 replicas exist, 2 are wanted"),
    ),
    (
        "not available",
        [2, 2, 1, 2],
        Is::InProgress("1 of 2 updated replicas are available"),
    ),
    (
        "not ready",
        [2, 2, 2, 1],
        Is::InProgress("1 of 2 replicas are ready"),
    ),
];

fn deployment(spec: &Value, counts: [i64; 4], conditions: &str) -> Value {
    let [replicas, updated, available, ready] = counts;
    let conditions: Value = serde_json::from_str(conditions).unwrap();
    let status = json!({
        "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available, "readyReplicas": ready,
        "conditions": conditions,
    });
    object("apps/v1", "Deployment", spec, &status)
}

#[test]
fn deployments() {
    let context = HealthContext::default();
    let spec = json!({"replicas": 2, "progressDeadlineSeconds": 600});
    for (case, counts, expected) in DEPLOYMENTS {
        expect(
            case,
            &deployment(&spec, counts, AVAILABLE),
            &context,
            expected,
        );
    }
    let ready = [2, 2, 2, 2];
    let late = r#"[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]"#;
    expect(
        "late",
        &deployment(&spec, ready, late),
        &context,
        Is::Failed("late"),
    );
    let waits = Is::InProgress("the new replicas are not rolled out yet");
    expect(
        "no Progressing",
        &deployment(&spec, ready, "[]"),
        &context,
        waits,
    );
    let waits = Is::InProgress("it is not available yet");
    let no_deadline = json!({"replicas": 2});
    expect(
        "no Available",
        &deployment(&no_deadline, ready, "[]"),
        &context,
        waits,
    );
    let paused = json!({"replicas": 2, "paused": true});
    let waits = Is::InProgress("it is paused, 1 of 2 replicas are updated");
    expect(
        "paused",
        &deployment(&paused, [2, 1, 2, 2], AVAILABLE),
        &context,
        waits,
    );
    expect(
        "one is the default",
        &deployment(&json!({}), [1, 1, 1, 1], AVAILABLE),
        &context,
        Is::Current,
    );
    let new = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "generation": 1}, "spec": {"replicas": 0}});
    expect(
        "new",
        &new,
        &context,
        Is::InProgress("its controller has not looked at it yet"),
    );
}

/// A pod whose container waits for `reason`, of a template and with a time of creation.
fn stuck_pod(name: &str, template: &str, second: u32, reason: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "a", "creationTimestamp": format!("2026-11-24T00:00:{second:02}Z"),
            "labels": {"pod-template-hash": template, "controller-revision-hash": template},
        },
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason}}}],
        },
    })
}

#[test]
fn a_pod_that_cannot_start_fails_its_deployment() {
    let object = deployment(&json!({"replicas": 2}), [2, 2, 1, 1], AVAILABLE);
    let waits = Is::InProgress("1 of 2 updated replicas are available");
    let failed = Is::Failed("pod new: container c: ImagePullBackOff");
    let mut deleted = stuck_pod("new", "n", 2, "ImagePullBackOff");
    deleted["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:03Z");
    let cases = [
        ("no pods", vec![], waits),
        (
            "new one stuck",
            vec![stuck_pod("new", "n", 2, "ImagePullBackOff")],
            failed,
        ),
        (
            "old one stuck, new one starting",
            vec![
                stuck_pod("old", "o", 1, "ImagePullBackOff"),
                stuck_pod("new", "n", 2, "ContainerCreating"),
            ],
            waits,
        ),
        ("being deleted", vec![deleted], waits),
    ];
    for (case, pods, expected) in cases {
        let context = HealthContext {
            pods: Some(&pods),
            ..HealthContext::default()
        };
        expect(case, &object, &context, expected);
    }
    let pods = [stuck_pod("new", "n", 2, "ImagePullBackOff")];
    let context = HealthContext {
        pods: Some(&pods),
        ..HealthContext::default()
    };
    let healthy = deployment(&json!({"replicas": 2}), [2, 2, 2, 2], AVAILABLE);
    expect(
        "a healthy deployment is not asked for its pods",
        &healthy,
        &context,
        Is::Current,
    );
}

#[test]
fn stateful_sets() {
    let rolling = json!({"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}});
    let partition = json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
    let plain = json!({"replicas": 2});
    let on_delete = json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}});
    let status = |replicas: i64, ready: i64, updated: i64| {
        json!({
            "replicas": replicas, "readyReplicas": ready, "updatedReplicas": updated, "currentReplicas": updated,
            "currentRevision": "r1", "updateRevision": "r1",
        })
    };
    let mut revisions = status(2, 2, 2);
    revisions["updateRevision"] = json!("r2");
    let mut unavailable = status(2, 2, 2);
    unavailable["availableReplicas"] = json!(0);
    let cases = [
        ("rolled out", &rolling, status(2, 2, 2), Is::Current),
        (
            "too few",
            &rolling,
            status(1, 1, 1),
            Is::InProgress("1 of 2 replicas exist"),
        ),
        (
            "not ready",
            &rolling,
            status(2, 1, 2),
            Is::InProgress("1 of 2 replicas are ready"),
        ),
        (
            "not for long enough",
            &rolling,
            unavailable,
            Is::InProgress("0 of 2 replicas are available"),
        ),
        (
            "too many",
            &rolling,
            status(3, 3, 2),
            Is::InProgress("3 replicas exist, 2 are wanted"),
        ),
        (
            "old",
            &rolling,
            status(2, 2, 1),
            Is::InProgress("1 of 2 replicas are updated"),
        ),
        (
            "old below the partition",
            &partition,
            status(2, 2, 1),
            Is::Current,
        ),
        (
            "old, no partition",
            &plain,
            status(2, 2, 1),
            Is::InProgress("1 of 2 replicas are updated"),
        ),
        (
            "revisions differ",
            &plain,
            revisions,
            Is::InProgress("the update is not complete yet"),
        ),
        ("on delete, old", &on_delete, status(2, 2, 0), Is::Current),
        (
            "on delete, not ready",
            &on_delete,
            status(2, 1, 0),
            Is::InProgress("1 of 2 replicas are ready"),
        ),
    ];
    for (case, spec, status, expected) in cases {
        expect(
            case,
            &object("apps/v1", "StatefulSet", spec, &status),
            &HealthContext::default(),
            expected,
        );
    }
}

#[test]
fn a_broken_old_pod_blocks_an_ordered_set() {
    let set = |management: &str| {
        let spec = json!({"replicas": 1, "podManagementPolicy": management});
        let status = json!({"replicas": 1, "currentRevision": "old", "updateRevision": "new"});
        object("apps/v1", "StatefulSet", &spec, &status)
    };
    let pods = [stuck_pod("x-0", "old", 1, "CrashLoopBackOff")];
    let context = HealthContext {
        pods: Some(&pods),
        ..HealthContext::default()
    };
    let blocked = Is::Failed(
        "pod x-0: container c: CrashLoopBackOff; it is of the revision before and blocks the update\n\
         hint: kubectl delete pod -n a x-0",
    );
    expect("ordered", &set("OrderedReady"), &context, blocked);
    expect(
        "parallel",
        &set("Parallel"),
        &context,
        Is::InProgress("0 of 1 replicas are ready"),
    );
    let pods = [stuck_pod("x-0", "new", 1, "CrashLoopBackOff")];
    let context = HealthContext {
        pods: Some(&pods),
        ..HealthContext::default()
    };
    expect(
        "new",
        &set("OrderedReady"),
        &context,
        Is::Failed("pod x-0: container c: CrashLoopBackOff"),
    );
}

#[test]
fn daemon_sets_and_replica_sets() {
    let daemon = |scheduled: i64, updated: i64, available: i64, ready: i64| {
        let status = json!({
            "desiredNumberScheduled": 2, "currentNumberScheduled": scheduled, "updatedNumberScheduled": updated,
            "numberAvailable": available, "numberReady": ready,
        });
        object("apps/v1", "DaemonSet", &json!({}), &status)
    };
    let uncounted = object("apps/v1", "DaemonSet", &json!({}), &json!({}));
    let replicas = |replicas: i64, ready: i64, conditions: Value| {
        let status = json!({
            "replicas": replicas, "fullyLabeledReplicas": replicas, "availableReplicas": ready, "readyReplicas": ready,
            "conditions": conditions,
        });
        object("apps/v1", "ReplicaSet", &json!({"replicas": 2}), &status)
    };
    let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "quota"}]);
    let cases = [
        ("daemon everywhere", daemon(2, 2, 2, 2), Is::Current),
        (
            "daemon uncounted",
            uncounted,
            Is::InProgress("its controller has not counted nodes yet"),
        ),
        (
            "daemon missing",
            daemon(1, 1, 1, 1),
            Is::InProgress("1 of 2 pods exist"),
        ),
        (
            "daemon old",
            daemon(2, 1, 2, 2),
            Is::InProgress("1 of 2 pods are updated"),
        ),
        (
            "daemon not available",
            daemon(2, 2, 1, 2),
            Is::InProgress("1 of 2 pods are available"),
        ),
        (
            "daemon not ready",
            daemon(2, 2, 2, 1),
            Is::InProgress("1 of 2 pods are ready"),
        ),
        ("replicas", replicas(2, 2, json!([])), Is::Current),
        (
            "replicas not ready",
            replicas(2, 1, json!([])),
            Is::InProgress("1 of 2 replicas are available"),
        ),
        (
            "replicas too many",
            replicas(3, 3, json!([])),
            Is::InProgress("3 replicas exist, 2 are wanted"),
        ),
        (
            "replicas refused",
            replicas(2, 2, failure),
            Is::InProgress("quota"),
        ),
    ];
    for (case, object, expected) in cases {
        expect(case, &object, &HealthContext::default(), expected);
    }
}

#[test]
fn jobs() {
    let condition = |kind: &str| json!({"startTime": "t", "conditions": [{"type": kind, "status": "True", "message": "words"}]});
    let running = json!({"startTime": "t"});
    let none = json!({});
    let cases = [
        ("complete", &none, condition("Complete"), Is::Current),
        ("failed", &none, condition("Failed"), Is::Failed("words")),
        (
            "running",
            &none,
            running.clone(),
            Is::InProgress("it is running"),
        ),
        (
            "not started",
            &none,
            none.clone(),
            Is::InProgress("it has not started yet"),
        ),
        (
            "suspended",
            &json!({"suspend": true}),
            none.clone(),
            Is::Current,
        ),
    ];
    for (case, spec, status, expected) in cases {
        expect(
            case,
            &object("batch/v1", "Job", spec, &status),
            &HealthContext::default(),
            expected,
        );
    }
    let failed = json!({"metadata": {"name": "try-1"}, "status": {"phase": "Failed"}});
    let pods = [failed.clone()];
    let context = HealthContext {
        pods: Some(&pods),
        ..HealthContext::default()
    };
    let job = object("batch/v1", "Job", &none, &running);
    expect(
        "a failed try is not the end",
        &job,
        &context,
        Is::InProgress("it is running"),
    );
    let pods = [failed, stuck_pod("try-2", "x", 1, "InvalidImageName")];
    let context = HealthContext {
        pods: Some(&pods),
        ..HealthContext::default()
    };
    expect(
        "cannot start",
        &job,
        &context,
        Is::Failed("pod try-2: container c: InvalidImageName"),
    );
}
