//! What goes wrong, what is said about it, and what then stays as it was.

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::git_server::{Access, GitServer};
use tests::wait::until;

use super::fixtures::{config_map, namespace, spec, with};

#[test]
fn a_bad_commit_reports_everything_and_changes_nothing() -> anyhow::Result<()> {
    let agent = Agent::start("broken")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let good = git.push(&[
        ("namespace.yaml", &namespace("broken")),
        ("a.yaml", &config_map("a", "broken", "one")),
        ("b.yaml", &config_map("b", "broken", "one")),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &good)?;

    // Two objects that the server refuses, beside one that it would take.
    let wrong = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: broken}}\nspec:\n  ports: [{{port: 99999}}]\n"
        )
    };
    git.push(&[
        ("a.yaml", &config_map("a", "broken", "two")),
        ("s1.yaml", &wrong("s1")),
        ("s2.yaml", &wrong("s2")),
    ])?;
    let message = agent.condition("app", "Ready", "False", "2 objects were not applied")?;
    ensure!(
        message.contains("Service broken/s1") && message.contains("Service broken/s2"),
        "{message}"
    );
    let a = agent.client.get("/api/v1/namespaces/broken/configmaps/a")?;
    ensure!(
        a.pointer("/data/key") == Some(&json!("one")),
        "nothing is applied"
    );

    // A file that is no YAML.
    git.push(&[("s1.yaml", ""), ("s2.yaml", ""), ("bad.yaml", "kind: [")])?;
    let message = agent.condition("app", "Ready", "False", "bad.yaml")?;
    ensure!(message.contains("bad.yaml:1:7: "), "{message}");
    let sync = agent.client.get(&agent.sync_path("app"))?;
    let applied = sync.pointer("/status/lastAppliedRevision");
    ensure!(
        applied == Some(&json!(format!("main@sha1:{good}"))),
        "{applied:?}"
    );
    ensure!(
        agent
            .client
            .find("/api/v1/namespaces/broken/configmaps/b")?
            .is_some()
    );

    let fixed = git.push(&[("bad.yaml", "")])?;
    agent.ready("app", &fixed)
}

#[test]
fn says_what_is_wrong_with_the_source() -> anyhow::Result<()> {
    let agent = Agent::start("source")?;
    let git = GitServer::start(
        &agent.directory,
        Access::Basic("dXNlcjpyaWdodA==".to_owned()),
    )?;
    let commit = git.push(&[("a.yaml", &config_map("source", "default", "one"))])?;
    let source = |url: &str, branch: &str, secret: Option<&str>| {
        let secret = secret.map(|name| json!({ "name": name }));
        json!({ "source": { "url": url, "ref": { "branch": branch }, "secretRef": secret } })
    };
    let secret = |name: &str, password: &str| {
        let path = format!("/api/v1/namespaces/{}/secrets", agent.namespace);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "stringData": { "username": "user", "password": password },
        });
        agent.client.create(&path, &secret)
    };
    secret("right", "right")?;
    secret("wrong", "canary-password")?;
    let url = git.url();
    let nowhere = format!("{url}x");
    let cases = [
        (source(&url, "main", None), "spec.source.secretRef"),
        (
            source(&url, "main", Some("wrong")),
            "refused the credentials (401)",
        ),
        (source(&url, "main", Some("missing")), "does not exist"),
        (
            source(&url, "mian", Some("right")),
            "has no branch `mian`; hint: it has branch main",
        ),
        (
            source(&nowhere, "main", Some("right")),
            "is not found (404)",
        ),
        (
            source("http://127.0.0.1:1/a.git", "main", None),
            "cannot reach",
        ),
    ];
    for (number, (change, text)) in cases.into_iter().enumerate() {
        let name = format!("case-{number}");
        agent.sync(&name, &with(json!({ "path": "." }), change))?;
        let message = agent.condition(&name, "Ready", "False", text)?;
        ensure!(message.contains("hint:"), "{message}");
    }
    agent.sync(
        "good",
        &with(json!({ "path": "." }), source(&url, "main", Some("right"))),
    )?;
    agent.ready("good", &commit)?;
    ensure!(
        !agent.log()?.contains("canary-password"),
        "a password was logged"
    );
    Ok(())
}

#[test]
fn a_rewound_branch_is_refused() -> anyhow::Result<()> {
    let agent = Agent::start("rewind")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    git.push(&[("a.yaml", &config_map("rewind", "default", "one"))])?;
    let second = git.push(&[("a.yaml", &config_map("rewind", "default", "two"))])?;
    agent.sync("app", &spec(&git, "."))?;
    agent.ready("app", &second)?;
    git.git(&["push", "--quiet", "--force", "origin", "HEAD~1:main"])?;
    agent.condition("app", "Ready", "False", "was the branch force-pushed?")?;
    let source =
        json!({ "source": { "url": git.url(), "ref": { "branch": "main" }, "allowRewind": true } });
    agent.sync("app", &with(spec(&git, "."), source))?;
    let first = git.git(&["rev-parse", "HEAD~1"])?;
    agent.ready("app", &first)
}

#[test]
fn secrets_show_nowhere() -> anyhow::Result<()> {
    let agent = Agent::start("secrets")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let secret = |data: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: default}}\n{data}\n")
    };
    git.push(&[
        ("s.yaml", &secret("stringData: {password: [canary-list]}")),
        (
            "t.yaml",
            &secret("data: {password: canary-base64}").replace("name: s", "name: t"),
        ),
        (
            "u.yaml",
            &secret("immutable: canary-flag").replace("name: s", "name: u"),
        ),
    ])?;
    agent.sync("app", &spec(&git, "."))?;
    let message = agent.condition("app", "Ready", "False", "3 objects were not applied")?;
    git.push(&[("v.yaml", &secret("stringData: {password: canary-broken]"))])?;
    agent.condition("app", "Ready", "False", "v.yaml:4")?;
    let events = format!(
        "/apis/events.k8s.io/v1/namespaces/{}/events",
        agent.namespace
    );
    let events = until("an event", LIMIT, || {
        let list = agent.client.get(&events)?;
        let items = list
            .pointer("/items")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        if items == 0 {
            bail!("none")
        }
        Ok(list.to_string())
    })?;
    let sync = agent.client.get(&agent.sync_path("app"))?.to_string();
    for text in [
        message,
        events,
        sync,
        agent.http("/api/v1/status")?,
        agent.http("/metrics")?,
        agent.log()?,
    ] {
        ensure!(!text.contains("canary"), "a secret shows: {text}");
    }
    Ok(())
}
