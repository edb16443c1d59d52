//! The TLS edge, used from outside by clients that are not ours: curl and immudb-py.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::edge::Transport;
use tests::wait;

use crate::world::{SETTLE, SOON, World, text};

/// What `python/edge_client.py` calls a server that refuses writes as a replica does.
const REPLICA: &str = "replica";
const PRIMARY: &str = "primary";

pub(crate) fn every_name_answers_over_tls(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let cases = [
        ("status", "/api/v1/status", "immudb-primary"),
        // The agent has asked the probe beside the replica.
        ("status", "/api/v1/status", "\"stateMatch\":true"),
        ("git", "/api/healthz", "pass"),
        ("prometheus", "/-/ready", "Ready"),
        ("console", "/api/v2/health", "\"status\":true"),
    ];
    for (label, path, expected) in cases {
        let answer = edge.get(label, path)?;
        ensure!(
            answer.status == 200 && answer.body.contains(expected),
            "{label}{path} answered {answer:?}"
        );
    }
    // The plain port only says where to go, and keeps the path.
    let url = format!("http://{}:30312/some/path?q=1", edge.name("status"));
    let answer = edge.curl(&url)?;
    let secure = format!("https://{}:30311/some/path?q=1", edge.name("status"));
    ensure!(
        answer.status == 301 && answer.location == secure,
        "{url} answered {answer:?}"
    );
    // A name of nobody gets no certificate, so no server either.
    for label in ["nobody", "www"] {
        let refusal = edge.get(label, "/");
        ensure!(refusal.is_err(), "{label} answered {refusal:?}");
    }
    Ok(())
}

pub(crate) fn writes_and_reads_over_grpc(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let (rw, ro) = (edge.name("rw"), edge.name("ro"));
    let value = edge.immudb("round_trip", &rw, 1, Transport::Tls)?;
    ensure!(value == "through TLS", "the key is {value}");

    for roles in roles(&edge.immudb("roles", &rw, 3, Transport::Tls)?) {
        ensure!(roles == PRIMARY, "`rw.` led to a {roles}");
    }
    // A connection stays with its server, and the next one gets another.
    wait::until("`ro.` to lead to both servers", SETTLE, || {
        let found = roles(&edge.immudb("roles", &ro, 6, Transport::Tls)?);
        for role in [PRIMARY, REPLICA] {
            let times = found.iter().filter(|one| *one == role).count();
            wait::ensure(times == 3, || format!("6 connections went to {found:?}"))?;
        }
        Ok(())
    })?;
    // An idle asynchronous replica polls with a back-off of up to two minutes.
    wait::until("every server to have the key", SETTLE, || {
        let values = edge.immudb("read", &ro, 4, Transport::Tls)?;
        wait::ensure(values == json!(vec!["through TLS"; 4]), || {
            format!("it reads {values}")
        })
    })
}

pub(crate) fn wrong_names_and_plaintext_are_refused(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let cases = [
        ("rw.example.org".to_owned(), Transport::Tls),
        (edge.name("nobody"), Transport::Tls),
        (edge.name("rw"), Transport::Plaintext),
        // A name of the edge, but of a web server.
        (edge.name("status"), Transport::Tls),
    ];
    for (name, transport) in cases {
        let answer = edge.immudb("read", &name, 1, transport);
        ensure!(
            answer.is_err(),
            "{name} by {transport:?} answered {answer:?}"
        );
    }
    Ok(())
}

pub(crate) fn reads_go_on_without_the_replica(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let ro = edge.name("ro");
    let away = made.replica_away()?;
    wait::until("`ro.` to lead to the primary alone", SOON, || {
        let found = roles(&edge.immudb("roles", &ro, 6, Transport::Tls)?);
        wait::ensure(found.iter().all(|role| role == PRIMARY), || {
            format!("6 connections went to {found:?}")
        })
    })?;
    let values = edge.immudb("read", &ro, 3, Transport::Tls)?;
    ensure!(
        values == json!(vec!["through TLS"; 3]),
        "the primary reads {values}"
    );
    away.back()?;
    wait::until("`ro.` to lead to the replica again", SETTLE, || {
        let found = roles(&edge.immudb("roles", &ro, 6, Transport::Tls)?);
        wait::ensure(found.iter().any(|role| role == REPLICA), || {
            format!("6 connections went to {found:?}")
        })
    })
}

pub(crate) fn certificate_is_renewed_in_place(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let secret = || {
        let get = ["-n", "edge-system", "get", "secret", "edge-certificate"];
        made.cluster.json(&get)
    };
    let before = secret()?;
    ensure!(
        text(&before, "/type") == "kubernetes.io/tls",
        "it is a {}",
        text(&before, "/type")
    );
    // What `up` does when a third of its life is left, forced by taking the old one away.
    fs_err::remove_file(made.cluster.state_dir().join("pki/edge.crt"))?;
    made.cluster.up(&["--nodes", "2"])?;
    let after = secret()?;
    ensure!(
        text(&before, "/data/tls.crt") != text(&after, "/data/tls.crt"),
        "`up` left the old certificate in the cluster"
    );
    // People who trust the authority need not do anything.
    wait::until("the edge to answer with the new one", SOON, || {
        edge.get("status", "/healthz")
    })
    .map(drop)
}

/// The role of each connection; a connection that changed its server is told as what it saw.
fn roles(connections: &Value) -> Vec<String> {
    let connections = connections.as_array().into_iter().flatten();
    connections
        .map(|writes| {
            let mut seen: Vec<_> = writes.as_array().into_iter().flatten().collect();
            seen.dedup();
            match seen.as_slice() {
                [Value::String(one)] => one.clone(),
                _ => writes.to_string(),
            }
        })
        .collect()
}
