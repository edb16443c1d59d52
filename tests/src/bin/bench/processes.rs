//! The processes of the cluster as this host sees them: native nodes share its kernel.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::Value;
use tests::cluster::Cluster;
use tests::process;

/// What a component takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Its processes.
    pub(crate) processes: u32,
    /// Their resident memory in KiB; what several share counts for each.
    pub(crate) resident: u64,
    /// The most that one of them ever had resident, in KiB.
    pub(crate) peak: u64,
    /// Their user and system time since they started, in clock ticks.
    pub(crate) ticks: u64,
}

/// Every component of a cluster by name: a program, with its first word where one program does many
/// things.
pub(crate) fn components(cluster: &Cluster) -> Result<BTreeMap<String, Usage>> {
    let all = processes()?;
    let machines = machines(cluster)?;
    let mut components = BTreeMap::<String, Usage>::new();
    for process in all.values() {
        if !belongs(process, &machines, &all) {
            continue;
        }
        let usage = components.entry(process.name.clone()).or_default();
        usage.processes += 1;
        usage.resident += process.resident;
        usage.peak = usage.peak.max(process.peak);
        usage.ticks += process.ticks;
    }
    Ok(components)
}

struct Process {
    pid: u32,
    parent: u32,
    name: String,
    resident: u64,
    peak: u64,
    ticks: u64,
}

/// The first process of every machine.
fn machines(cluster: &Cluster) -> Result<Vec<u32>> {
    let mut command = cluster.bootstrap(&["status", "--output", "json"])?;
    let status: Value = serde_json::from_str(&process::text(&mut command, None)?)?;
    let nodes = status.get("nodes").and_then(Value::as_array);
    let pids = nodes.into_iter().flatten().map(|node| {
        let pid = node.get("pid").and_then(Value::as_u64);
        Ok(u32::try_from(pid.context("a machine does not run")?)?)
    });
    pids.collect()
}

fn belongs(process: &Process, machines: &[u32], all: &BTreeMap<u32, Process>) -> bool {
    let mut next = Some(process);
    while let Some(process) = next {
        if machines.contains(&process.pid) {
            return true;
        }
        next = all.get(&process.parent);
    }
    false
}

fn processes() -> Result<BTreeMap<u32, Process>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let pid = folder
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        // One that ends meanwhile was not idle either.
        if let Some(pid) = pid
            && let Ok(process) = read(pid, &folder)
        {
            all.insert(pid, process);
        }
    }
    Ok(all)
}

fn read(pid: u32, folder: &Path) -> Result<Process> {
    let words = fs::read(folder.join("cmdline"))?;
    // proc(5): after the name come state, parent, ...; user and system time are fields 14 and 15.
    let stat = fs::read_to_string(folder.join("stat"))?;
    let after_name = stat.rsplit(") ").next().context("unreadable stat")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let field =
        |index: usize| -> Result<u64> { Ok(fields.get(index).context("short stat")?.parse()?) };
    let status = fs::read_to_string(folder.join("status"))?;
    let size = |name: &str| -> Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size.with_context(|| format!("no {name}"))?.parse()?)
    };
    Ok(Process {
        pid,
        parent: u32::try_from(field(1)?)?,
        name: name(&String::from_utf8_lossy(&words)),
        resident: size("VmRSS:")?,
        peak: size("VmHWM:")?,
        ticks: field(11)? + field(12)?,
    })
}

/// `/agent\0run\0` is `agent run`.
fn name(words: &str) -> String {
    let mut words = words.split('\0');
    let program = words.next().and_then(|path| path.rsplit('/').next());
    let program = program.unwrap_or_default().trim_end_matches(':');
    match (program, words.next()) {
        ("agent" | "kubebox" | "bootstrap", Some(first)) => format!("{program} {first}"),
        (program, _) => program.to_owned(),
    }
}
