//! What goes wrong, and what the policy then says: each mistake has a reason of its own, and nothing is
//! half done.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::agent_process::Agent;
use tests::gitea::Gitea;
use tests::github_emulator::{CLUSTER, GitHubEmulator};
use tests::image_registry::{ImageRegistry, Readers};
use tests::scripted_server::{ScriptedServer, json as answer};
use tests::upgrade_policy::condition;

use super::fixtures::{FILE, Person, Policy, file, secret, spec};

/// The spec with one field set to another value.
fn with(spec: &Value, pointer: &str, value: Value) -> Value {
    let mut spec = spec.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(parent) = spec.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(key.to_owned(), value);
    }
    spec
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn every_mistake_is_told() -> Result<()> {
    let agent = Agent::start("upgrade-mistakes")?;
    let github = GitHubEmulator::start(&agent.directory)?;
    let gitea = Gitea::start(&agent.directory)?;
    let person = Person::on_gitea(&gitea.api);
    let registry = ImageRegistry::start(&agent.directory, Readers::User)?;
    registry.push("codenotary/immudb", "1.11.1")?;
    person.write("main", &file("1.10.0"))?;
    github.announce(&json!({ "tag_name": "v1.11.1" }))?;
    let reader = gitea.token("reader", &["read:repository"])?;
    let writer = gitea.token("writer", &["write:repository", "write:issue"])?;
    secret(&agent, "reader", &json!({ "token": reader }))?;
    secret(&agent, "forge", &json!({ "token": writer }))?;
    secret(&agent, "wrong", &json!({ "token": "canary-token" }))?;
    secret(&agent, "empty", &json!({ "key": "canary" }))?;
    secret(
        &agent,
        "images",
        &json!({ "username": "user", "password": "right" }),
    )?;
    secret(
        &agent,
        "wrong-images",
        &json!({ "username": "user", "password": "canary-password" }),
    )?;
    let repository = json!({
        "type": "Gitea", "url": gitea.address, "name": CLUSTER, "secretRef": { "name": "forge" },
    });
    let good = spec(&github.api.address, &registry, &repository);
    let images = |name: &str| json!({ "name": name });
    let good = with(&good, "/image/secretRef", images("images"));

    let down = ScriptedServer::start(|_, _, _| answer(502, "", "<html>"))?;
    let limited = ScriptedServer::start(|_, _, _| {
        answer(403, "X-RateLimit-Remaining: 0\r\nRetry-After: 77\r\n", "{}")
    })?;
    let nonsense = ScriptedServer::start(|_, _, _| answer(200, "", "[{\"tag_name\": 7}]"))?;
    let huge = ScriptedServer::start(|_, _, _| answer(200, "", &" ".repeat(9 << 20)))?;
    let busy = ScriptedServer::start(|_, _, _| answer(429, "Retry-After: 30\r\n", ""))?;
    let busy = busy.address.replace("http://", "") + "/codenotary/immudb";

    let cases = [
        (
            "/range",
            json!("^1, ^2"),
            "Stalled",
            "InvalidSpec: spec.range",
        ),
        (
            "/files",
            json!([{ "path": "nope.yaml" }]),
            "Stalled",
            "InvalidFiles: the repository has no file nope.yaml",
        ),
        (
            "/files",
            json!([{ "path": FILE, "keyPath": "images.1.newTag" }]),
            "Stalled",
            "InvalidFiles: immudb/version/kustomization.yaml has no value at images.1.newTag",
        ),
        (
            "/image/secretRef",
            json!(null),
            "Stalled",
            "RegistryFailed: registry 127.0.0.1:",
        ),
        (
            "/image/secretRef",
            images("wrong-images"),
            "Stalled",
            "the credentials were refused (401)",
        ),
        (
            "/image/repository",
            json!(busy),
            "Reconciling",
            "RegistryFailed: ",
        ),
        (
            "/releases/github",
            json!("codenotary/nothing"),
            "Stalled",
            "ReleasesFailed: release list localhost: not found (404)",
        ),
        (
            "/releases/apiUrl",
            json!(down.address),
            "Reconciling",
            "a problem of its own (502)",
        ),
        (
            "/releases/apiUrl",
            json!(limited.address),
            "Reconciling",
            "may be sent in 77 s",
        ),
        (
            "/releases/apiUrl",
            json!(nonsense.address),
            "Reconciling",
            "the answer makes no sense",
        ),
        (
            "/releases/apiUrl",
            json!(huge.address),
            "Stalled",
            "the answer has more than 8388608 bytes",
        ),
        (
            "/releases/apiUrl",
            json!("http://127.0.0.1:1"),
            "Reconciling",
            "ReleasesFailed: ",
        ),
        (
            "/releases/apiUrl",
            json!("http://api.example.com"),
            "Stalled",
            "InvalidSpec: spec.releases.apiUrl",
        ),
        (
            "/repository/name",
            json!("bot/nothing"),
            "Stalled",
            "ForgeFailed: forge 127.0.0.1: not found (404)",
        ),
        (
            "/repository/branch",
            json!("trunk"),
            "Stalled",
            "not found (404)",
        ),
        (
            "/repository/secretRef",
            json!({ "name": "wrong" }),
            "Stalled",
            "the credentials were refused (401)",
        ),
        (
            "/repository/secretRef",
            json!({ "name": "missing" }),
            "Stalled",
            "InvalidSecret: Secret agent-upgrade-mistakes/missing, named in spec.repository.secretRef, does not exist",
        ),
        (
            "/repository/secretRef",
            json!({ "name": "empty" }),
            "Stalled",
            "InvalidSecret: Secret agent-upgrade-mistakes/empty, named in spec.repository.secretRef: it has no credentials",
        ),
        // Everything was looked at, and the last step is refused.
        (
            "/repository/secretRef",
            json!({ "name": "reader" }),
            "Stalled",
            "ForgeFailed: forge 127.0.0.1: not allowed (403)",
        ),
    ];
    let mut policy = Policy::new(&agent, &with(&good, "/range", json!("^1, ^2")))?;
    for (pointer, value, kind, text) in cases {
        policy.set(&with(&good, pointer, value.clone()))?;
        let seen = policy.poll()?;
        let found = condition(&seen, "Ready");
        ensure!(
            found.starts_with("False ") && found.contains(text),
            "{pointer} {value}: {found}"
        );
        let other = condition(&seen, kind);
        ensure!(other.starts_with("True "), "{pointer} {value}: {seen:#}");
        if kind == "Stalled" {
            ensure!(found.contains("hint:"), "{found}");
        }
    }
    ensure!(person.pull_requests()?.is_empty(), "nothing was opened");
    ensure!(
        person.branch(super::fixtures::BRANCH).is_err(),
        "no branch was made"
    );

    policy.set(&good)?;
    let found = policy.condition("Ready")?;
    ensure!(found.starts_with("True PullRequestOpen: "), "{found}");
    ensure!(!agent.log()?.contains("canary"), "a secret was logged");
    ensure!(!found.contains("canary"));
    Ok(())
}

/// What the API server's schema does not let in at all.
#[test]
fn the_schema_refuses() -> Result<()> {
    let agent = Agent::start("upgrade-schema")?;
    let registry = ImageRegistry::start(&agent.directory, Readers::All)?;
    let repository = json!({ "type": "GitHub", "name": CLUSTER, "secretRef": { "name": "forge" } });
    let good = spec("http://127.0.0.1:1", &registry, &repository);
    let policy = Policy::named(&agent, "schema", &with(&good, "/suspend", json!(true)))?;
    let cases = [
        ("/files", json!([])),
        (
            "/files",
            json!([{ "path": "a", "image": "a", "keyPath": "b" }]),
        ),
        ("/repository/type", json!("GitLab")),
        ("/repository/name", json!("cluster")),
        ("/releases/apiUrl", json!("ftp://example.com")),
        ("/interval", json!("soon")),
        ("/range", json!("")),
    ];
    for (pointer, value) in cases {
        let refused = policy.set(&with(&good, pointer, value.clone()));
        ensure!(refused.is_err(), "{pointer} {value} was taken");
    }
    Ok(())
}
