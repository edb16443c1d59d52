//! What must not happen: lost data, stolen objects, two writers, a bad revision after a restart.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::control_plane_client::PatchKind;
use tests::git_server::{Access, GitServer};
use tests::link::Link;
use tests::wait::until;

use super::fixtures::{config_map, namespace, spec, with};

#[test]
fn after_a_restart_the_last_good_revision_is_kept_up() -> anyhow::Result<()> {
    let mut agent = Agent::start("restart")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let good = git.push(&[("a.yaml", &config_map("restart", "default", "good"))])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &good)?;
    agent.kill()?;
    git.push(&[("bad.yaml", "kind: [")])?;
    let path = "/api/v1/namespaces/default/configmaps/restart";
    let edit = json!({ "data": { "key": "hand" } });
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-edit", &edit)?;
    agent.run()?;
    agent.condition("app", "Ready", "False", "bad.yaml")?;
    let is_good = || {
        until("the good revision to be back", LIMIT, || {
            let object = agent.client.get(path)?;
            if object.pointer("/data/key") == Some(&json!("good")) {
                Ok(())
            } else {
                bail!("{object}")
            }
        })
    };
    is_good()?;
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-edit", &edit)?;
    is_good()
}

#[test]
fn definitions_come_before_their_instances() -> anyhow::Result<()> {
    let agent = Agent::start("definitions")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    // A kind that the agent's ClusterRole lists.
    let definition = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: tlsroutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: unapproved}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: TLSRoute, plural: tlsroutes, singular: tlsroute, listKind: TLSRouteList}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {host: {type: string}}}}
";
    let route = "apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: route, namespace: defs}
spec: {host: example.com}
";
    let commit = git.push(&[
        ("a-route.yaml", route),
        ("definition.yaml", definition),
        ("z-namespace.yaml", &namespace("defs")),
        ("map.yaml", &config_map("a", "defs", "one")),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    let path = "/apis/gateway.networking.k8s.io/v1/namespaces/defs/tlsroutes/route";
    ensure!(agent.client.find(path)?.is_some());
    // It is watched as well.
    let edit = json!({ "spec": { "host": "evil.example.com" } });
    agent
        .client
        .patch(PatchKind::Merge, path, "kubectl-edit", &edit)?;
    until("the instance to be corrected", LIMIT, || {
        let object = agent.client.get(path)?;
        if object.pointer("/spec/host") == Some(&json!("example.com")) {
            Ok(())
        } else {
            bail!("{object}")
        }
    })
}

#[test]
fn objects_of_another_sync_are_not_taken() -> anyhow::Result<()> {
    let agent = Agent::start("owner")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    // One that nobody owns is adopted.
    let by_hand = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "owned" },
        "data": { "key": "hand", "extra": "hand" },
    });
    agent
        .client
        .create("/api/v1/namespaces/default/configmaps", &by_hand)?;
    let commit = git.push(&[
        ("one/a.yaml", &config_map("owned", "default", "one")),
        ("two/a.yaml", &config_map("owned", "default", "two")),
    ])?;
    agent.sync("one", &spec(&git, "one"))?;
    agent.ready("one", &commit)?;
    agent.sync("two", &spec(&git, "two"))?;
    agent.condition(
        "two",
        "Ready",
        "False",
        "ConfigMap default/owned belongs to Sync",
    )?;
    let object = agent
        .client
        .get("/api/v1/namespaces/default/configmaps/owned")?;
    ensure!(object.pointer("/data/key") == Some(&json!("one")));
    Ok(())
}

#[test]
fn data_goes_only_with_consent() -> anyhow::Result<()> {
    let agent = Agent::start("consent")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let claim = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: consent}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
";
    let first = git.push(&[
        ("namespace.yaml", &namespace("consent")),
        ("a.yaml", &config_map("a", "consent", "one")),
        ("claim.yaml", claim),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &first)?;
    let second = git.push(&[("claim.yaml", "")])?;
    let message = agent.condition("app", "Ready", "True", &second)?;
    ensure!(message.contains("spec.pruneConsent"), "{message}");
    let path = "/api/v1/namespaces/consent/persistentvolumeclaims/data";
    let alive = || -> anyhow::Result<bool> {
        let claim = agent.client.find(path)?;
        Ok(claim.is_some_and(|claim| claim.pointer("/metadata/deletionTimestamp").is_none()))
    };
    ensure!(alive()?, "a claim was deleted without consent");
    let consent = json!({ "pruneConsent": ["PersistentVolumeClaim consent/data"] });
    agent.sync("app", &with(spec(&git, "."), consent))?;
    until("the claim to go", LIMIT, || {
        ensure!(!alive()?, "it is there");
        Ok(())
    })
}

#[test]
fn one_agent_writes_at_a_time() -> anyhow::Result<()> {
    let mut first = Agent::start("lease")?;
    let git = GitServer::start(&first.directory, Access::Open)?;
    let commit = git.push(&[("a.yaml", &config_map("lease", "default", "one"))])?;
    first.sync("app", &spec(&git, "."))?;
    first.ready("app", &commit)?;
    let mut second = Agent::install("lease")?;
    second.identity = "the-second".to_owned();
    second.run()?;
    ensure!(second.http("/readyz").is_err(), "the second agent waits");
    let leads = |agent: &Agent| -> anyhow::Result<Option<Value>> {
        let status: Value = serde_json::from_str(&agent.http("/api/v1/status")?)?;
        Ok(status.pointer("/leader").cloned())
    };
    ensure!(leads(&first)? == Some(json!(true)) && leads(&second)? == Some(json!(false)));
    // Killed, it cannot give the lease back: the second one waits until it has expired.
    first.kill()?;
    until("the second agent to take over", LIMIT, || {
        match leads(&second)? {
            Some(Value::Bool(true)) => Ok(()),
            other => bail!("leader: {other:?}"),
        }
    })?;
    let next = git.push(&[("a.yaml", &config_map("lease", "default", "two"))])?;
    second.ready("app", &next)?;
    // Asked to stop, it gives the lease back at once.
    ensure!(second.terminate()?);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/agent-lease/leases/immuops-agent";
    let lease = first.client.get(lease)?;
    ensure!(lease.pointer("/spec/holderIdentity").is_none(), "{lease}");
    first.run().context("the first one starts again")?;
    first.ready("app", &next)
}

#[test]
fn a_lease_that_nobody_took_is_kept() -> anyhow::Result<()> {
    let mut agent = Agent::install("late")?;
    let (_, port) = agent.plane.address.rsplit_once(':').context("no port")?;
    let link = Link::to(port.parse()?)?;
    agent.server = format!("https://127.0.0.1:{}", link.port());
    agent.run()?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let commit = git.push(&[("a.yaml", &config_map("late", "default", "one"))])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &commit)?;
    let path = "/apis/coordination.k8s.io/v1/namespaces/agent-late/leases/immuops-agent";
    let said = |pointer: &str| -> anyhow::Result<Value> {
        let lease = agent.client.get(path)?;
        let value = lease.pointer(&format!("/spec/{pointer}"));
        value.cloned().context("the lease does not say it")
    };
    let transitions = said("leaseTransitions")?;
    let leads = |expected: bool| {
        until(
            &format!("the agent to say leader: {expected}"),
            LIMIT,
            || {
                let status: Value = serde_json::from_str(&agent.http("/api/v1/status")?)?;
                match status.pointer("/leader") {
                    Some(Value::Bool(leads)) if *leads == expected => Ok(()),
                    other => bail!("leader: {other:?}"),
                }
            },
        )
    };

    // Somebody writes it by hand: the next renewal is refused, the one after it is not.
    let note = json!({ "metadata": { "annotations": { "note": "whose is this?" } } });
    agent
        .client
        .patch(PatchKind::Merge, path, "people", &note)?;
    let renewed = said("renewTime")?;
    until("the lease to be renewed again", LIMIT, || {
        let now = said("renewTime")?;
        ensure!(now != renewed, "renewed at {now}");
        Ok(())
    })?;
    leads(true)?;

    // Nobody may write after it has run out; when the server can be asked again, the same agent may.
    link.cut();
    leads(false)?;
    let next = git.push(&[("a.yaml", &config_map("late", "default", "two"))])?;
    link.mend();
    agent.ready("app", &next)?;
    leads(true)?;
    ensure!(said("leaseTransitions")? == transitions);
    ensure!(
        !agent.log()?.contains("must not write"),
        "it took it for lost"
    );
    Ok(())
}

#[test]
fn roles_come_with_their_bindings_and_never_beyond_our_own_rights() -> anyhow::Result<()> {
    let agent = Agent::start("roles")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let both = |name: &str, verb: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}, namespace: default}}
rules:
  - {{apiGroups: [''], resources: [pods], verbs: [{verb}]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, namespace: default}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects:
  - {{kind: ServiceAccount, name: default, namespace: default}}
"
        )
    };
    let good = git.push(&[("reader.yaml", &both("reader", "watch"))])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &good)?;
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    agent.client.get(&format!("{bindings}/reader"))?;

    git.push(&[("killer.yaml", &both("killer", "delete"))])?;
    agent.condition("app", "Ready", "False", "Role default/killer")?;
    ensure!(
        agent.client.get(&format!("{bindings}/killer")).is_err(),
        "a right that the agent lacks was bound"
    );
    Ok(())
}
