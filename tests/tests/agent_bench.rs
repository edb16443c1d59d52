//! Figures of the agent, with the same work by a bare client beside it: run by `make bench`, with
//! `IMMUOPS_AGENT` naming a release binary.
#![expect(
    clippy::tests_outside_test_module,
    reason = "this file is the test program"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::control_plane_client::{Client, PatchKind};
use tests::git_server::{Access, GitServer};
use tests::wait::until;

/// 500 `ConfigMaps`, 250 `Services` and 250 `Deployments` without replicas, as in the design's table.
const OBJECTS: usize = 1000;
/// Requests of the bare client at once.
const PARALLEL: usize = 32;

fn object(number: usize, namespace: &str) -> (String, Value) {
    let name = format!("o{number}");
    let metadata = json!({ "name": name, "namespace": namespace });
    match number % 4 {
        0 | 1 => (
            format!("/api/v1/namespaces/{namespace}/configmaps/{name}"),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "key": "x".repeat(200) } }),
        ),
        2 => (
            format!("/api/v1/namespaces/{namespace}/services/{name}"),
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "clusterIP": "None", "selector": { "app": name }, "ports": [{ "name": "http", "port": 80 }],
            }}),
        ),
        _ => (
            format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
                "replicas": 0, "selector": { "matchLabels": { "app": name } },
                "template": { "metadata": { "labels": { "app": name } }, "spec": {
                    "containers": [{ "name": "main", "image": "example.com/a:1" }],
                }},
            }}),
        ),
    }
}

fn make_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    client.patch(
        PatchKind::Apply,
        &format!("/api/v1/namespaces/{name}"),
        "bench",
        &namespace,
    )?;
    Ok(())
}

/// The same applies by threads that do nothing else.
fn floor(client: &Client) -> anyhow::Result<Duration> {
    make_namespace(client, "bench-floor")?;
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= OBJECTS {
                            return Ok(());
                        }
                        let (path, object) = object(number, "bench-floor");
                        client.patch(PatchKind::Apply, &path, "bench", &object)?;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker died"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(started.elapsed())
}

/// Times of the log lines that contain a text, in milliseconds since the epoch.
fn logged(agent: &Agent, text: &str) -> anyhow::Result<Vec<f64>> {
    let log = agent.log()?;
    let lines = log.lines().filter(|line| line.contains(text));
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(line)?;
            let time = line
                .get("timestamp")
                .and_then(Value::as_str)
                .context("no timestamp")?;
            let (_, clock) = time
                .trim_end_matches('Z')
                .split_once('T')
                .context("no time")?;
            let mut seconds = 0.0;
            for part in clock.split(':') {
                seconds = seconds * 60.0 + part.parse::<f64>()?;
            }
            Ok(seconds * 1000.0)
        })
        .collect()
}

#[test]
#[ignore = "a benchmark, run by `make bench`"]
fn thousand_objects() -> anyhow::Result<()> {
    let mut agent = Agent::install("bench")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let files: Vec<(String, String)> = (0..OBJECTS)
        .map(|number| {
            (
                format!("o{number}.yaml"),
                object(number, "bench").1.to_string(),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let commit = git.push(&files)?;
    make_namespace(&agent.client, "bench")?;
    let bare = floor(&agent.client)?;

    agent.run()?;
    let (started, _) = agent.memory()?;
    let spec = json!({
        "source": { "url": git.url(), "ref": { "branch": "main" } },
        "path": ".", "interval": "10s", "prune": true,
    });
    agent.sync("app", &spec)?;
    agent.ready("app", &commit)?;
    let span = logged(&agent, "new revision")?
        .first()
        .zip(logged(&agent, "\"ready\"")?.first())
        .map(|(from, to)| to - from);
    let (after, peak) = agent.memory()?;
    println!(
        "{OBJECTS} objects: bare client {bare:?}; agent, commit seen to ready, with a dry run of all: {span:?} ms"
    );
    println!("memory in KiB: started {started}, after the first sync {after}, peak {peak}");

    let mut times = Vec::new();
    for number in 0..20 {
        let mut changed = object(0, "bench").1;
        if let Some(data) = changed.pointer_mut("/data/key") {
            *data = json!(format!("v{number}"));
        }
        let commit = git.push(&[("o0.yaml", &changed.to_string())])?;
        agent.request("app", &format!("{number}"))?;
        agent.ready("app", &commit)?;
        let from = logged(&agent, "new revision")?.last().copied();
        let to = logged(&agent, "\"ready\"")?.last().copied();
        times.extend(from.zip(to).map(|(from, to)| to - from));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "one object changed, commit seen to ready: p50 {:?} ms, max {:?} ms",
        times.get(10),
        times.last()
    );

    let before = agent.cpu_ticks()?;
    let watched = Instant::now();
    let asked = git.requests();
    until("three polls", LIMIT, || {
        if git.requests() < asked + 3 {
            bail!("{}", git.requests() - asked)
        }
        Ok(())
    })?;
    let ticks = agent.cpu_ticks()? - before;
    let (idle, peak) = agent.memory()?;
    println!(
        "idle for {:?}: {ticks} ticks of 10 ms, memory {idle} KiB, peak {peak} KiB",
        watched.elapsed()
    );
    let writes = agent.plane.audit(tests::control_plane::AGENT_USER)?;
    println!("requests of the agent in all: {}", writes.len());
    ensure!(idle < 30 * 1024, "the agent uses {idle} KiB");
    Ok(())
}
