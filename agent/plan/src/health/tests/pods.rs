use super::*;

fn pod(status: &Value) -> Value {
    let mut pod = object("v1", "Pod", &json!({}), status);
    pod["metadata"]["creationTimestamp"] = json!("2026-11-24T00:00:00Z");
    pod
}

#[test]
fn phases() {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let container = |state: Value, last: Value| json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": state, "lastState": last}]});
    let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "because"}});
    let ended = json!({"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]});
    let init = json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": waiting("CrashLoopBackOff")}]});
    let cases = [
        ("done", json!({"phase": "Succeeded"}), Is::Current),
        (
            "ready",
            json!({"phase": "Running", "conditions": ready}),
            Is::Current,
        ),
        (
            "not ready",
            json!({"phase": "Running"}),
            Is::InProgress("not every container is ready"),
        ),
        (
            "pending",
            json!({"phase": "Pending"}),
            Is::InProgress("it has not started yet"),
        ),
        ("new", json!({}), Is::InProgress("it has not started yet")),
        (
            "failed",
            json!({"phase": "Failed"}),
            Is::Failed("the pod failed"),
        ),
        (
            "failed by exit",
            ended,
            Is::Failed("container c ended with exit code 3"),
        ),
        (
            "evicted",
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            Is::Failed("low on memory"),
        ),
        (
            "crash",
            container(
                waiting("CrashLoopBackOff"),
                json!({"terminated": {"exitCode": 1}}),
            ),
            Is::Failed("container c: CrashLoopBackOff, it ended with exit code 1"),
        ),
        (
            "no such image",
            container(waiting("ImagePullBackOff"), json!({})),
            Is::Failed("container c: ImagePullBackOff: because"),
        ),
        (
            "no such secret",
            container(waiting("CreateContainerConfigError"), json!({})),
            Is::Failed("container c: CreateContainerConfigError: because"),
        ),
        (
            "first try to pull",
            container(waiting("ErrImagePull"), json!({})),
            Is::InProgress("not every container is ready"),
        ),
        (
            "init container",
            init,
            Is::Failed("container i: CrashLoopBackOff: because"),
        ),
    ];
    for (case, status, expected) in cases {
        expect(case, &pod(&status), &HealthContext::default(), expected);
    }
}

#[test]
fn scheduling_gets_time() {
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"});
    let pod = pod(&json!({"phase": "Pending", "conditions": [condition]}));
    let at = |text: &str| HealthContext {
        now: text.parse().unwrap(),
        ..HealthContext::default()
    };
    let waits = Is::InProgress("it has not started yet");
    expect("at once", &pod, &at("2026-11-24T00:00:15Z"), waits);
    expect(
        "after a while",
        &pod,
        &at("2026-11-24T00:00:16Z"),
        Is::Failed("no node"),
    );
}
