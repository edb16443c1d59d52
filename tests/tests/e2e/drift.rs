//! Foreign hands: edits and deletions behind the agent's back.

use anyhow::Result;
use tests::wait;

use crate::world::{SETTLE, SOON, World, condition, text};

pub(crate) fn edit_is_undone(world: &World) -> Result<()> {
    let made = world.made()?;
    let patch = r#"{"data":{"value":"by-hand"}}"#;
    made.cluster.run(&[
        "-n",
        "demo",
        "patch",
        "configmap",
        "keep",
        "--type=merge",
        "-p",
        patch,
    ])?;
    made.config_becomes("demo", "keep", "value", "one")?;
    // The report names who did it: kubectl calls itself `kubectl-patch`.
    wait::until("an Event that names the author", SOON, || {
        let events = made
            .cluster
            .run(&["get", "events", "--all-namespaces", "-o", "yaml"])?;
        wait::ensure(events.contains("kubectl-patch"), || {
            "no Event names kubectl-patch".to_owned()
        })
    })
}

pub(crate) fn deletion_is_undone(world: &World) -> Result<()> {
    let made = world.made()?;
    let uid = |object: &serde_json::Value| text(object, "/metadata/uid");
    let before = uid(&made
        .cluster
        .json(&["-n", "demo", "get", "configmap", "keep"])?);
    made.cluster
        .run(&["-n", "demo", "delete", "configmap", "keep"])?;
    wait::until("the ConfigMap to exist again", SOON, || {
        let after = uid(&made
            .cluster
            .json(&["-n", "demo", "get", "configmap", "keep"])?);
        wait::ensure(after != before, || "it is the old one".to_owned())
    })?;
    made.config_becomes("demo", "keep", "value", "one")
}

pub(crate) fn scaled_down_replica_comes_back(world: &World) -> Result<()> {
    let made = world.made()?;
    made.cluster.run(&[
        "-n",
        "immudb",
        "scale",
        "statefulset",
        "immudb-replica",
        "--replicas=0",
    ])?;
    wait::until("the replica to be ready again", SETTLE, || {
        let set = made
            .cluster
            .json(&["-n", "immudb", "get", "statefulset", "immudb-replica"])?;
        let wanted = set
            .pointer("/spec/replicas")
            .and_then(serde_json::Value::as_i64);
        wait::ensure(wanted == Some(1), || format!("replicas is {wanted:?}"))?;
        let pod = made
            .cluster
            .json(&["-n", "immudb", "get", "pod", "immudb-replica-0"])?;
        let (ready, _, message) = condition(&pod, "Ready")?;
        wait::ensure(
            ready == "True" && text(&pod, "/metadata/deletionTimestamp").is_empty(),
            || format!("the pod is not ready: {message}"),
        )
    })
}
