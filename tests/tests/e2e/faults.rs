//! Things that die in the middle, and data that must outlive mistakes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::immuclient::Immuclient;
use tests::wait;

use crate::repository::{config_map, write_demo};
use crate::world::{Made, SETTLE, SOON, World, condition, text};

/// Enough objects that the agent can be killed between the first and the last.
const MANY: usize = 400;

pub(crate) fn agent_killed_while_applying(world: &World) -> Result<()> {
    let made = world.made()?;
    let many: String = (0..MANY)
        .map(|n| config_map(&format!("many-{n}"), "x"))
        .collect::<Vec<_>>()
        .join("---\n");
    let files = BTreeMap::from([
        ("keep.yaml", config_map("keep", "one")),
        ("many.yaml", many),
    ]);
    write_demo(made, &files)?;
    let commit = made.copy.push("demo: many ConfigMaps")?;
    wait::until("the first of many objects", SOON, || {
        wait::ensure(count(made)? > 0, || "none exists".to_owned())
    })?;
    kill_agent(made)?;
    made.applied("demo", &commit)?;
    let found = count(made)?;
    ensure!(
        found == MANY,
        "{found} of {MANY} objects exist after the restart"
    );
    Ok(())
}

pub(crate) fn agent_killed_while_pruning(world: &World) -> Result<()> {
    let made = world.made()?;
    // More than half of the inventory goes: the blast-radius limit wants it said in git.
    made.copy.replace(
        "clusters/built-in-git/demo.yaml",
        "  prune: true\n",
        "  prune: true\n  pruneLimit: \"500\"\n",
    )?;
    write_demo(
        made,
        &BTreeMap::from([("keep.yaml", config_map("keep", "one"))]),
    )?;
    let commit = made.copy.push("demo: without the many")?;
    wait::until("the first of many deletions", SOON, || {
        wait::ensure(count(made)? < MANY, || "all exist".to_owned())
    })?;
    kill_agent(made)?;
    made.applied("demo", &commit)?;
    wait::until("the last of many deletions", SOON, || {
        let left = count(made)?;
        wait::ensure(left == 0, || format!("{left} objects leaked"))
    })?;
    ensure!(
        made.exists("demo", "configmap/keep")?,
        "an object that git still has was pruned"
    );
    Ok(())
}

pub(crate) fn primary_killed_loses_nothing(world: &World) -> Result<()> {
    let made = world.made()?;
    {
        let primary = Immuclient::connect(&made.cluster, "pod/immudb-primary-0")?;
        for n in 0..20 {
            primary.safe_set(&format!("durable-{n}"), &format!("value-{n}"))?;
        }
    }
    let get = || {
        made.cluster
            .json(&["-n", "immudb", "get", "pod", "immudb-primary-0"])
    };
    let restarts = |pod: &Value| {
        pod.pointer("/status/containerStatuses/0/restartCount")
            .and_then(Value::as_i64)
    };
    let pod = get()?;
    let before = restarts(&pod);
    let node = text(&pod, "/spec/nodeName");
    made.cluster
        .exec(&node, &["pkill", "-KILL", "--exact", "immudb"])?;
    wait::until("the primary to be started again", SETTLE, || {
        let pod = get()?;
        let (ready, ..) = condition(&pod, "Ready")?;
        wait::ensure(ready == "True" && restarts(&pod) > before, || {
            format!("Ready is {ready} after {:?} restarts", restarts(&pod))
        })
    })?;
    let primary = Immuclient::connect(&made.cluster, "pod/immudb-primary-0")?;
    for n in 0..20 {
        let value = primary.get(&format!("durable-{n}"))?;
        ensure!(
            value == format!("value-{n}"),
            "durable-{n} is `{value}` after the kill"
        );
    }
    Ok(())
}

pub(crate) fn data_is_kept_without_consent(world: &World) -> Result<()> {
    let made = world.made()?;
    let file = "clusters/default/kustomization.yaml";
    made.copy.replace(file, "  - immudb-replica.yaml\n", "")?;
    let commit = made.copy.push("cluster: without the replica")?;
    wait::until("the cluster Sync to see the commit", SOON, || {
        let attempted = text(&made.sync("cluster")?, "/status/lastAttemptedRevision");
        wait::ensure(attempted.ends_with(&commit), || {
            format!("it is at {attempted}")
        })
    })?;
    wait::holds(
        "the replica's data",
        std::time::Duration::from_secs(10),
        || {
            for object in ["statefulset/immudb-replica", "pvc/data-immudb-replica-0"] {
                wait::ensure(made.exists("immudb", object)?, || {
                    format!("{object} is gone")
                })?;
            }
            Ok(())
        },
    )?;
    made.copy.replace(
        file,
        "  - immudb-primary.yaml\n",
        "  - immudb-primary.yaml\n  - immudb-replica.yaml\n",
    )?;
    let commit = made.copy.push("cluster: the replica again")?;
    made.applied("cluster", &commit)?;
    wait::until("the Sync to exist", SOON, || made.sync("immudb-replica"))?;
    made.applied("immudb-replica", &commit)
}

pub(crate) fn no_secret_in_logs_or_status(world: &World) -> Result<()> {
    let made = world.made()?;
    let mut told = made
        .cluster
        .run(&["-n", "immuops-system", "logs", "deploy/agent"])?;
    told += &made
        .cluster
        .run(&["get", "syncs.immuops.dev", "-A", "-o", "yaml"])?;
    told += &made.cluster.run(&["get", "events", "-A", "-o", "yaml"])?;
    told += &made.printed;
    for (namespace, name, key) in [
        ("immudb", "immudb-admin", "password"),
        ("git-system", "gitea", "admin-password"),
        ("immuops-system", "git-credentials", "password"),
        ("immuops-system", "webhook-token", "token"),
        ("edge-system", "edge-certificate", "tls.key"),
    ] {
        let secret = made.cluster.secret(namespace, name, key)?;
        ensure!(secret.len() >= 8, "{namespace}/{name} has no {key}");
        ensure!(
            !told.contains(&secret),
            "{namespace}/{name} {key} is told to everyone"
        );
    }
    ensure!(!told.contains("panicked"), "the agent panicked");
    Ok(())
}

fn count(made: &Made) -> Result<usize> {
    let names = made
        .cluster
        .run(&["-n", "demo", "get", "configmaps", "-o", "name"])?;
    Ok(names.lines().filter(|line| line.contains("/many-")).count())
}

/// kill -9, as the kernel would for want of memory.
fn kill_agent(made: &Made) -> Result<()> {
    let kill = [
        "delete",
        "pod",
        "-l",
        "app.kubernetes.io/name=agent",
        "--grace-period=0",
        "--force",
    ];
    let mut arguments = vec!["-n", "immuops-system"];
    arguments.extend(kill);
    made.cluster.run(&arguments).map(drop)
}
