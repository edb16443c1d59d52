//! What a repository says happens in the cluster: create, change, leave alone, prune, wait, suspend,
//! depend, delete.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::control_plane_client::PatchKind;
use tests::git_server::{Access, GitServer};
use tests::wait::until;

use super::fixtures::{config_map, deployment, namespace, spec, with};

#[test]
fn creates_changes_and_prunes() -> anyhow::Result<()> {
    let mut agent = Agent::start("lifecycle")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let first = git.push(&[
        ("app/namespace.yaml", &namespace("life")),
        ("app/a.yaml", &config_map("a", "life", "one")),
        ("app/b.yaml", &config_map("b", "life", "one")),
    ])?;
    agent.sync("app", &spec(&git, "./app"))?;
    agent.ready("app", &first)?;
    let a = agent.client.get("/api/v1/namespaces/life/configmaps/a")?;
    ensure!(a.pointer("/data/key") == Some(&json!("one")));
    ensure!(a.pointer("/metadata/labels/immuops.dev~1sync-name") == Some(&json!("app")));
    let inventory = agent.inventory("app")?;
    ensure!(inventory == ["_life__Namespace", "life_a__ConfigMap", "life_b__ConfigMap"]);

    let second = git.push(&[
        ("app/a.yaml", &config_map("a", "life", "two")),
        ("app/b.yaml", ""),
        ("app/c.yaml", &config_map("c", "life", "one")),
    ])?;
    agent.ready("app", &second)?;
    let a = agent.client.get("/api/v1/namespaces/life/configmaps/a")?;
    ensure!(a.pointer("/data/key") == Some(&json!("two")));
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/life/configmaps/b")?
            .is_none(),
        "b is pruned"
    );
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/life/configmaps/c")?
            .is_some()
    );
    let inventory = agent.inventory("app")?;
    ensure!(inventory == ["_life__Namespace", "life_a__ConfigMap", "life_c__ConfigMap"]);

    let sync = agent.client.get(&agent.sync_path("app"))?;
    let revision = json!(format!("main@sha1:{second}"));
    for field in [
        "lastAttemptedRevision",
        "lastAppliedRevision",
        "lastHealthyRevision",
    ] {
        ensure!(
            sync.pointer(&format!("/status/{field}")) == Some(&revision),
            "{field}"
        );
    }
    ensure!(agent.http("/readyz")? == "ok\n");
    ensure!(
        agent
            .http("/metrics")?
            .contains("immuops_agent_ready{sync=\"app\"} 1")
    );
    let status: Value = serde_json::from_str(&agent.http("/api/v1/status")?)?;
    ensure!(
        status.pointer("/syncs/app/standing") == Some(&json!("ready")),
        "{status}"
    );
    let schema: Value = serde_json::from_str(&agent.http("/api/v1/status/schema")?)?;
    let described = |pointer: &str, object: &Value| -> anyhow::Result<()> {
        let properties = schema.pointer(pointer).context("no properties")?;
        for key in object.as_object().context("not an object")?.keys() {
            ensure!(properties.get(key).is_some(), "the schema lacks `{key}`");
        }
        Ok(())
    };
    described("/properties", &status)?;
    described("/$defs/Entry/properties", &status["syncs"]["app"])?;
    let page = agent.http("/")?;
    for part in ["All healthy", "app", "Next look at git"] {
        ensure!(page.contains(part), "`{part}` is not on the page: {page}");
    }
    ensure!(agent.terminate()?, "it stops when asked to");
    Ok(())
}

#[test]
fn writes_nothing_when_nothing_changed() -> anyhow::Result<()> {
    let agent = Agent::start("quiet")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[
        ("app/namespace.yaml", &namespace("quiet")),
        ("app/a.yaml", &config_map("a", "quiet", "one")),
        ("app/d.yaml", &deployment("d", "quiet", "example.com/a:1")),
    ])?;
    agent.sync("app", &spec(&git, "./app"))?;
    agent.ready("app", &commit)?;
    let writes = || -> anyhow::Result<Vec<_>> {
        let lines = agent.plane.audit("immuops-agent")?;
        let agent_lines = agent.plane.audit(tests::control_plane::AGENT_USER)?;
        let all = lines.into_iter().chain(agent_lines);
        let ours = |line: &tests::control_plane::AuditLine| {
            line.is_write()
                && (line.namespace == agent.namespace
                    || line.namespace == "quiet"
                    || line.uri.contains("/namespaces/quiet"))
        };
        Ok(all.filter(ours).collect())
    };
    // Events may still be on their way.
    until("the first sync to be logged", LIMIT, || {
        let events = writes()?
            .iter()
            .filter(|line| line.resource == "events")
            .count();
        if events == 0 {
            bail!("no event yet")
        }
        Ok(())
    })?;
    let before = writes()?;
    // Polls go on: each asks the server for its references.
    let asked = git.requests();
    until("five more polls", LIMIT, || {
        if git.requests() < asked + 5 {
            bail!("{} polls", git.requests() - asked)
        }
        Ok(())
    })?;
    // A status that a controller writes is not ours to care about.
    let status = json!({ "status": { "observedGeneration": 1, "conditions": [
        { "type": "Available", "status": "True", "reason": "a", "message": "b" },
    ]}});
    let path = "/apis/apps/v1/namespaces/quiet/deployments/d/status";
    agent
        .client
        .patch(PatchKind::Merge, path, "kube-controller-manager", &status)?;
    let asked = git.requests();
    until("two more polls", LIMIT, || {
        if git.requests() < asked + 2 {
            bail!("{} polls", git.requests() - asked)
        }
        Ok(())
    })?;
    // The health of the Deployment may have changed, and with it the status of the Sync. No object
    // may have been touched.
    let after: Vec<_> = writes()?
        .into_iter()
        .skip(before.len())
        .filter(|line| line.resource != "syncs")
        .collect();
    ensure!(after.is_empty(), "{after:?}");
    Ok(())
}

#[test]
fn waits_for_health_before_it_prunes() -> anyhow::Result<()> {
    let agent = Agent::start("health")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let first = git.push(&[
        ("app/namespace.yaml", &namespace("health")),
        ("app/old.yaml", &config_map("old", "health", "one")),
    ])?;
    agent.sync("app", &with(spec(&git, "app"), json!({ "wait": true })))?;
    agent.ready("app", &first)?;
    let second = git.push(&[
        ("app/old.yaml", ""),
        ("app/d.yaml", &deployment("d", "health", "example.com/a:1")),
    ])?;
    agent.condition("app", "Ready", "Unknown", "Deployment health/d")?;
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/health/configmaps/old")?
            .is_some(),
        "nothing is pruned before the rest is healthy"
    );
    let status = json!({ "status": { "observedGeneration": 1, "conditions": [
        { "type": "Available", "status": "True", "reason": "a", "message": "b" },
        { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "b" },
    ]}});
    let path = "/apis/apps/v1/namespaces/health/deployments/d/status";
    agent
        .client
        .patch(PatchKind::Merge, path, "kube-controller-manager", &status)?;
    agent.ready("app", &second)?;
    agent.condition("app", "Healthy", "True", "")?;
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/health/configmaps/old")?
            .is_none()
    );
    Ok(())
}

#[test]
fn does_nothing_while_suspended() -> anyhow::Result<()> {
    let agent = Agent::start("suspend")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let first = git.push(&[("a.yaml", &config_map("suspended", "default", "one"))])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &first)?;
    agent.sync("app", &with(spec(&git, "."), json!({ "suspend": true })))?;
    until("the agent to see it", LIMIT, || {
        let status: Value = serde_json::from_str(&agent.http("/api/v1/status")?)?;
        let standing = status.pointer("/syncs/app/standing").cloned();
        if standing == Some(json!("suspended")) {
            Ok(())
        } else {
            bail!("{standing:?}")
        }
    })?;
    let path = "/api/v1/namespaces/default/configmaps/suspended";
    agent.client.patch(
        PatchKind::Merge,
        path,
        "kubectl-edit",
        &json!({ "data": { "key": "hand" } }),
    )?;
    git.push(&[("a.yaml", &config_map("suspended", "default", "two"))])?;
    agent.request("app", "now")?;
    let still = until(
        "an answer",
        Duration::from_secs(3),
        || -> anyhow::Result<()> {
            let object = agent.client.get(path)?;
            if object.pointer("/data/key") == Some(&json!("hand")) {
                bail!("as it should be")
            }
            Ok(())
        },
    );
    ensure!(still.is_err(), "a suspended Sync was applied");
    agent.sync("app", &spec(&git, "."))?;
    until("the Sync to go on", LIMIT, || {
        let object = agent.client.get(path)?;
        if object.pointer("/data/key") == Some(&json!("two")) {
            Ok(())
        } else {
            bail!("{object}")
        }
    })
}

#[test]
fn dependents_come_after() -> anyhow::Result<()> {
    let agent = Agent::start("depends")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[
        (
            "first/d.yaml",
            &deployment("first", "default", "example.com/a:1"),
        ),
        ("second/c.yaml", &config_map("second", "default", "one")),
    ])?;
    let second = json!({
        "sourceRef": { "name": "first" }, "path": "second", "interval": "1s",
        "dependsOn": [{ "name": "first" }],
    });
    agent.sync("second", &second)?;
    agent.sync("first", &with(spec(&git, "first"), json!({ "wait": true })))?;
    agent.condition("second", "Ready", "Unknown", "waiting for Sync first")?;
    let path = "/api/v1/namespaces/default/configmaps/second";
    ensure!(agent.client.find(path)?.is_none(), "it did not wait");
    let status = json!({ "status": { "observedGeneration": 1, "conditions": [
        { "type": "Available", "status": "True", "reason": "a", "message": "b" },
        { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "b" },
    ]}});
    let status_path = "/apis/apps/v1/namespaces/default/deployments/first/status";
    until("the first Sync to be applied", LIMIT, || {
        agent.client.patch(
            PatchKind::Merge,
            status_path,
            "kube-controller-manager",
            &status,
        )
    })?;
    agent.ready("second", &commit)?;
    ensure!(agent.client.find(path)?.is_some());
    Ok(())
}

#[test]
fn deletion_takes_what_is_ours_and_leaves_data() -> anyhow::Result<()> {
    let agent = Agent::start("finalize")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: final}\nspec:\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n";
    let commit = git.push(&[
        ("namespace.yaml", &namespace("final")),
        ("a.yaml", &config_map("a", "final", "one")),
        ("claim.yaml", claim),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    agent.client.delete(&agent.sync_path("app"))?;
    until("the Sync to be gone", LIMIT, || {
        match agent.client.find(&agent.sync_path("app"))? {
            None => Ok(()),
            Some(sync) => bail!("{sync}"),
        }
    })?;
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/final/configmaps/a")?
            .is_none()
    );
    let kept = agent
        .client
        .get("/api/v1/namespaces/final/persistentvolumeclaims/data")?;
    ensure!(
        kept.pointer("/metadata/deletionTimestamp").is_none(),
        "data is kept"
    );
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/final")?
            .context("the namespace is kept")?
            .pointer("/metadata/deletionTimestamp")
            .is_none()
    );
    Ok(())
}
