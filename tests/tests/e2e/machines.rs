//! Processes of the machines that are killed, and whole machines: what comes back by itself, and
//! what the next `up` brings back.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{process, wait};

use crate::world::{Made, SETTLE, SOON, World};

pub(crate) fn killed_processes_come_back(world: &World) -> Result<()> {
    let made = world.made()?;
    for name in ["containerd", "kubelet", "kube-proxy"] {
        let before = supervised(made, 1, name)?;
        let pid = pid_of(&before);
        let pid = pid.with_context(|| format!("{name} does not run: {before}"))?;
        made.cluster
            .exec("n2", &["sh", "-c", &format!("kill -9 {pid}")])?;
        wait::until(&format!("{name} to run again"), SOON, || {
            let now = supervised(made, 1, name)?;
            let back = said(&now, "state") == "running" && pid_of(&now) != Some(pid);
            wait::ensure(back, || format!("status says {now}"))?;
            let told = said(&now, "last_end") == "signal 9";
            wait::ensure(told, || format!("its end is not reported: {now}"))
        })?;
    }
    // A restarted kube-proxy must know Services again: facts of two hosts say it may not.
    let address = made.cluster.run(&[
        "get",
        "service",
        "kubernetes",
        "--output=jsonpath={.spec.clusterIP}",
    ])?;
    wait::until("kube-proxy to know the Services", SOON, || {
        let list = ["nft", "list", "map", "ip", "kube-proxy", "service-ips"];
        let map = made.cluster.exec("n2", &list)?;
        wait::ensure(map.contains(&address), || {
            format!("{address} is not in {map}")
        })
    })?;
    all_ready(made)
}

pub(crate) fn killed_machines_are_repaired_by_up(world: &World) -> Result<()> {
    let made = world.made()?;
    for index in [1, 0] {
        let machine = machine(made, index)?;
        let pid = pid_of(&machine);
        let pid = pid.with_context(|| format!("the machine does not run: {machine}"))?;
        process::text(Command::new("kill").args(["-9", &pid.to_string()]), None)?;
        wait::until("the machine to be gone", SOON, || {
            let now = self::machine(made, index)?;
            wait::ensure(pid_of(&now).is_none(), || format!("status says {now}"))
        })?;
        made.cluster.up(&["--nodes", "2"])?;
        let now = self::machine(made, index)?;
        ensure!(pid_of(&now).is_some(), "`up` did not start it again: {now}");
    }
    all_ready(made)
}

fn all_ready(made: &Made) -> Result<()> {
    let limit = format!("--timeout={}s", SETTLE.as_secs());
    made.cluster
        .run(&["wait", "node", "--all", "--for=condition=Ready", &limit])?;
    made.cluster.run(&[
        "wait",
        "pod",
        "--all",
        "--all-namespaces",
        "--for=condition=Ready",
        &limit,
    ])?;
    Ok(())
}

/// What `bootstrap status` says of a node, by its place.
fn machine(made: &Made, index: usize) -> Result<Value> {
    let mut command = made.cluster.bootstrap(&["status", "--output", "json"])?;
    let status: Value = serde_json::from_str(&process::text(&mut command, None)?)?;
    let node = status.pointer(&format!("/nodes/{index}"));
    node.cloned()
        .with_context(|| format!("no node {index} in {status}"))
}

/// What `bootstrap status` says of a process of a node.
fn supervised(made: &Made, index: usize, name: &str) -> Result<Value> {
    let machine = machine(made, index)?;
    let processes = machine.get("processes").and_then(Value::as_array);
    let found = processes.and_then(|all| all.iter().find(|one| said(one, "name") == name));
    found
        .cloned()
        .with_context(|| format!("no process {name} in {machine}"))
}

/// The process id in what `status` says, while there is one.
fn pid_of(thing: &Value) -> Option<i64> {
    thing.get("pid").and_then(Value::as_i64)
}

fn said<'a>(thing: &'a Value, key: &str) -> &'a str {
    thing.get(key).and_then(Value::as_str).unwrap_or_default()
}
