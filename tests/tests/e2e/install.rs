//! What stands after `bootstrap up`.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::immuclient::Immuclient;
use tests::wait;

use crate::world::{SETTLE, SOON, World, condition, text};

pub(crate) fn up_makes_every_sync_healthy(world: &World) -> Result<()> {
    let made = world.made()?;
    let list = made
        .cluster
        .json(&["get", "syncs.immuops.dev", "--all-namespaces"])?;
    let mut names = BTreeSet::new();
    for sync in list
        .pointer("/items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = text(sync, "/metadata/name");
        let (ready, reason, message) = condition(sync, "Ready")?;
        ensure!(
            ready == "True",
            "`up` returned while {name} was {ready} ({reason}: {message})"
        );
        names.insert(name);
    }
    let expected = [
        "cluster",
        "edge",
        "gateway-api",
        "git",
        "immudb-primary",
        "immudb-replica",
        "monitoring",
        "upgrades",
    ];
    ensure!(names.iter().eq(expected), "the Syncs are {names:?}");
    ensure!(
        made.printed.contains("http://127.0.0.1:")
            && made
                .printed
                .contains("https://status.immuops.localhost:30311"),
        "`up` printed no URL:\n{}",
        made.printed
    );
    Ok(())
}

pub(crate) fn servers_run_on_different_nodes(world: &World) -> Result<()> {
    let made = world.made()?;
    let mut nodes = BTreeSet::new();
    for pod in ["immudb-primary-0", "immudb-replica-0"] {
        let pod = made.cluster.json(&["-n", "immudb", "get", "pod", pod])?;
        let (ready, ..) = condition(&pod, "Ready")?;
        ensure!(
            ready == "True",
            "{} is not ready",
            text(&pod, "/metadata/name")
        );
        nodes.insert(text(&pod, "/spec/nodeName"));
    }
    ensure!(
        nodes.len() == 2,
        "primary and replica share the node {nodes:?}"
    );
    Ok(())
}

pub(crate) fn replica_has_what_primary_wrote(world: &World) -> Result<()> {
    let made = world.made()?;
    let primary = Immuclient::connect(&made.cluster, "pod/immudb-primary-0")?;
    let replica = Immuclient::connect(&made.cluster, "pod/immudb-replica-0")?;
    primary.safe_set("e2e-greeting", "written-through-the-primary")?;
    // An idle asynchronous replica polls with a back-off of up to two minutes.
    wait::until("the replica to have the key", SETTLE, || {
        let value = replica.get("e2e-greeting")?;
        wait::ensure(value == "written-through-the-primary", || {
            format!("it answers `{value}`")
        })
    })?;
    let refusal = replica.run(&["set", "e2e-refused", "x"]);
    let said = refusal.unwrap_or_else(|error| format!("{error:#}"));
    ensure!(
        said.contains("read-only because it's a replica"),
        "the replica said `{said}`"
    );
    Ok(())
}

pub(crate) fn pods_are_restricted(world: &World) -> Result<()> {
    let made = world.made()?;
    for namespace in [
        "edge-system",
        "git-system",
        "immudb",
        "immuops-system",
        "monitoring-system",
    ] {
        let found = made.cluster.json(&["get", "namespace", namespace])?;
        let level = text(
            &found,
            "/metadata/labels/pod-security.kubernetes.io~1enforce",
        );
        ensure!(
            level == "restricted",
            "namespace {namespace} enforces `{level}`"
        );
    }
    for pod in ["immudb-primary-0", "immudb-replica-0"] {
        let pod = made.cluster.json(&["-n", "immudb", "get", "pod", pod])?;
        let user = pod
            .pointer("/spec/securityContext/runAsUser")
            .and_then(Value::as_i64);
        ensure!(user == Some(3322), "runs as {user:?}");
    }
    Ok(())
}

pub(crate) fn agent_is_not_cluster_admin(world: &World) -> Result<()> {
    let made = world.made()?;
    let account = "--as=system:serviceaccount:immuops-system:agent";
    let may = |arguments: &[&str]| -> Result<bool> {
        let mut command = made.cluster.kubectl(&["auth", "can-i", account])?;
        Ok(tests::process::output(command.args(arguments), None)?
            .stdout
            .starts_with(b"yes"))
    };
    ensure!(
        may(&["patch", "statefulsets.apps", "-n", "immudb"])?,
        "it cannot do its work"
    );
    for forbidden in [
        &["*", "*"] as &[&str],
        &["delete", "nodes"],
        &["create", "pods/exec", "-n", "immudb"],
        &["impersonate", "users"],
        &["escalate", "clusterroles.rbac.authorization.k8s.io"],
    ] {
        ensure!(!may(forbidden)?, "the agent may {forbidden:?}");
    }
    // The question itself works: the administrator may.
    wait::until("the API server to answer", SOON, || {
        made.cluster.run(&["auth", "can-i", "*", "*"])
    })?;
    Ok(())
}
