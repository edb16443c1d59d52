//! Foreign changes are undone at once, and their authors are named.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::control_plane_client::PatchKind;
use tests::git_server::{Access, GitServer};
use tests::wait::until;

use super::fixtures::{config_map, deployment, namespace, spec};

/// Edits of the measurement.
const EDITS: usize = 100;

#[test]
fn edits_are_undone_in_milliseconds() -> anyhow::Result<()> {
    let agent = Agent::start("drift")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let names: Vec<String> = (0..EDITS).map(|number| format!("drift-{number}")).collect();
    let mut files = vec![("namespace.yaml".to_owned(), namespace("drift"))];
    files.extend(
        names
            .iter()
            .map(|name| (format!("{name}.yaml"), config_map(name, "drift", "git"))),
    );
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let commit = git.push(&files)?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;

    let mut times = Vec::new();
    let mut floor = Vec::new();
    for name in &names {
        let path = format!("/api/v1/namespaces/drift/configmaps/{name}");
        let edit = json!({ "data": { "key": "hand" } });
        let sent = Instant::now();
        agent
            .client
            .patch(PatchKind::Merge, &path, "kubectl-edit", &edit)?;
        let started = Instant::now();
        floor.push(started - sent);
        loop {
            let object = agent.client.get(&path)?;
            if object.pointer("/data/key") == Some(&json!("git")) {
                break;
            }
            ensure!(started.elapsed() < LIMIT, "{name} is not corrected");
        }
        times.push(started.elapsed());
    }
    times.sort();
    floor.sort();
    let at = |times: &[Duration], share: usize| {
        times
            .get(share * (EDITS - 1) / 100)
            .copied()
            .unwrap_or_default()
    };
    let (edit, p50) = (at(&floor, 50), at(&times, 50));
    println!(
        "corrected {EDITS} edits: p50 {p50:?}, p99 {:?}, max {:?}; one edit takes {edit:?}",
        at(&times, 99),
        at(&times, 100)
    );
    // On a busy machine only the ratio means something: a correction is a watch event and a write.
    ensure!(
        p50 < edit * 8 + Duration::from_millis(20),
        "p50 is {p50:?} where an edit takes {edit:?}"
    );
    until("the author to be named", LIMIT, || {
        let sync = agent.client.get(&agent.sync_path("app"))?;
        let by = sync
            .pointer("/status/drift/by")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if by.starts_with("kubectl-edit at ") {
            Ok(())
        } else {
            bail!("it says `{by}`")
        }
    })
}

#[test]
fn what_was_added_or_deleted_by_hand_is_undone() -> anyhow::Result<()> {
    let agent = Agent::start("undo")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[
        ("namespace.yaml", &namespace("undo")),
        ("a.yaml", &config_map("a", "undo", "git")),
        ("d.yaml", &deployment("d", "undo", "example.com/a:1")),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    let path = "/api/v1/namespaces/undo/configmaps/a";
    let corrected = |what: &str, wrong: &dyn Fn(&Value) -> bool, path: &str| {
        until(what, LIMIT, || match agent.client.find(path)? {
            Some(object) if !wrong(&object) => Ok(object),
            other => bail!("{other:?}"),
        })
    };

    let edit = json!({ "data": { "extra": "hand" } });
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-edit", &edit)?;
    corrected(
        "an added key to go",
        &|a| a.pointer("/data/extra").is_some(),
        path,
    )?;

    let edit = json!({ "metadata": { "labels": { "immuops.dev/sync-name": null } } });
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-label", &edit)?;
    let label = "/metadata/labels/immuops.dev~1sync-name";
    corrected(
        "the owner's label to come back",
        &|a| a.pointer(label).is_none(),
        path,
    )?;

    let before = agent.client.get(path)?.pointer("/metadata/uid").cloned();
    agent.client.delete(path)?;
    let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
    corrected("a deleted object to come back", &|a| uid(a) == before, path)?;

    let path = "/apis/apps/v1/namespaces/undo/deployments/d";
    let edit = json!({ "spec": { "replicas": 3 } });
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-scale", &edit)?;
    corrected(
        "replicas to be as in git",
        &|d| d.pointer("/spec/replicas") != Some(&json!(0)),
        path,
    )?;

    // The object that came back is still ours to prune.
    let next = git.push(&[("a.yaml", "")])?;
    agent.ready("app", &next)?;
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/undo/configmaps/a")?
            .is_none()
    );
    Ok(())
}

#[test]
fn a_fight_ends_in_a_truce() -> anyhow::Result<()> {
    let agent = Agent::start("fight")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[("a.yaml", &config_map("fight", "default", "git"))])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    let path = "/api/v1/namespaces/default/configmaps/fight";
    until("the agent to give in for a while", LIMIT, || {
        let edit = json!({ "data": { "key": "robot" } });
        let object = agent.client.get(path)?;
        if object.pointer("/data/key") == Some(&json!("git")) {
            agent.client.patch(PatchKind::Merge, path, "robot", &edit)?;
        }
        if agent
            .log()?
            .contains("another writer keeps changing this object")
        {
            return Ok(());
        }
        bail!("no truce yet")
    })?;
    ensure!(
        agent.log()?.contains("\"writer\":\"robot"),
        "the writer is named"
    );
    Ok(())
}

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: { name: web, namespace: ports }
spec:
  selector: { app: web }
  ports:
    - { name: http, port: 80, targetPort: 8080 }
";

/// What git has and what somebody added cannot both be: two ports of one name.
#[test]
fn edits_that_make_git_invalid_are_undone() -> anyhow::Result<()> {
    let mut agent = Agent::start("ports")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[
        ("namespace.yaml", &namespace("ports")),
        ("service.yaml", SERVICE),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    let path = "/api/v1/namespaces/ports/services/web";
    let edit = json!({ "spec": { "ports": [{ "name": "http", "port": 81, "protocol": "TCP" }] } });
    let back = |agent: &Agent, what: &str| {
        until(what, LIMIT, || {
            let service = agent.client.get(path)?;
            let ports = service.pointer("/spec/ports").and_then(Value::as_array);
            let ports: Vec<_> = ports
                .into_iter()
                .flatten()
                .map(|port| &port["port"])
                .collect();
            ensure!(ports == [&json!(80)], "it has {ports:?}");
            Ok(())
        })
    };
    for writer in ["kubectl-patch", "some-script"] {
        agent.client.patch(PatchKind::Merge, path, writer, &edit)?;
        back(&agent, &format!("the port that {writer} replaced"))?;
    }
    // The same while nobody looks: the first sync of the next agent has to see through it.
    agent.kill()?;
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-edit", &edit)?;
    agent.run()?;
    back(
        &agent,
        "the port that was replaced while the agent was down",
    )?;
    agent.ready("app", &commit)
}

#[test]
fn changes_that_cannot_be_undone_are_told() -> anyhow::Result<()> {
    let agent = Agent::start("stuck")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[
        ("namespace.yaml", &namespace("stuck")),
        ("a.yaml", &config_map("a", "stuck", "git")),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    // What is about to be deleted must not be created again.
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "closed" },
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {
                    "matchLabels": { "kubernetes.io/metadata.name": "stuck" },
                },
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "resources": ["configmaps"], "operations": ["CREATE"],
                }],
            },
            "validations": [{ "expression": "false", "message": "closed for the night" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "closed" },
        "spec": { "policyName": "closed", "validationActions": ["Deny"] },
    });
    agent.client.create(policies, &policy)?;
    agent.client.create(bindings, &binding)?;
    until("the policy to be in force", LIMIT, || {
        let probe = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "probe-" },
        });
        let maps = "/api/v1/namespaces/stuck/configmaps";
        match agent.client.create(maps, &probe) {
            Ok(_) => bail!("a ConfigMap was created"),
            Err(_) => Ok(()),
        }
    })?;
    let path = "/api/v1/namespaces/stuck/configmaps/a";
    agent.client.delete(path)?;
    agent.condition("app", "Ready", "False", "closed for the night")?;
    agent.client.delete(&format!("{bindings}/closed"))?;
    until("the deleted object", LIMIT, || agent.client.get(path))?;
    agent.ready("app", &commit)
}
