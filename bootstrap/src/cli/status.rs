//! `bootstrap status`: what runs of a cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use super::output::{self, Format};
use super::target::Target;
use crate::cluster::Cluster;
use crate::edge::Host;
use crate::install::{self, SyncState, SyncStatus};
use crate::machine::process::{Report, ReportedState};
use crate::provider::Kind;
use crate::state::Published;
use crate::topology::{NodeName, Role};

/// Shows the nodes and what runs on them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// How to show it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// What is shown of a cluster.
#[derive(Debug, Serialize)]
struct ClusterStatus {
    cluster: String,
    /// What made its machines.
    provider: Kind,
    /// Whether the API server says that it is ready; else what it says.
    api: Result<(), String>,
    nodes: Vec<NodeStatus>,
    /// What the agent says of each part; empty while the API server does not answer.
    syncs: Vec<SyncStatus>,
    /// Where things answer on this host, by name.
    urls: BTreeMap<&'static str, String>,
}

/// What is shown of a node.
#[derive(Debug, Serialize)]
struct NodeStatus {
    name: NodeName,
    role: Role,
    address: Ipv4Addr,
    /// The id of the machine's first process on this host, if it runs.
    pid: Option<i32>,
    processes: Vec<Report>,
}

/// Runs `bootstrap status`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let status = read(&Cluster::open(args.target.state()?)?)?;
    match args.output {
        Format::Json => output::json(&status),
        Format::Text => output::text(&table(&status)),
    }
}

fn read(cluster: &Cluster) -> anyhow::Result<ClusterStatus> {
    let mut nodes = Vec::new();
    for node in &cluster.nodes {
        // A node that never started has no machine yet.
        let machine = cluster.machine(&node.name).ok();
        let pid = machine.as_ref().map(|machine| machine.pid()).transpose()?;
        let pid = pid.flatten();
        // A machine that is just starting does not answer yet; that is no reason to say nothing.
        let processes = machine.and_then(|machine| machine.processes().ok());
        nodes.push(NodeStatus {
            name: node.name.clone(),
            role: node.role,
            address: node.address,
            pid: pid.map(|pid| pid.as_raw_nonzero().get()),
            processes: processes.unwrap_or_default(),
        });
    }
    let asked = cluster.kubectl.run(
        &["get", "--raw=/readyz", "--request-timeout=3s"],
        b"",
        Duration::from_secs(10),
    );
    let api = asked.map(drop).map_err(|problem| problem.to_string());
    // A cluster whose installation was interrupted has no Syncs yet; that is for `up` to mend.
    let syncs = match &api {
        Ok(()) => install::status(&cluster.kubectl).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let published = cluster.state.published()?;
    Ok(ClusterStatus {
        cluster: cluster.name.to_string(),
        provider: cluster.provider,
        api,
        nodes,
        syncs,
        urls: published.as_ref().map(urls).unwrap_or_default(),
    })
}

/// Where things answer on this host.
fn urls(published: &Published) -> BTreeMap<&'static str, String> {
    let Published { git, edge } = published;
    let git = git.map(|port| ("git", format!("http://127.0.0.1:{port}")));
    let grpc = |host| format!("{}:{}", edge.name(host), edge.https);
    let web = |host: Host| (host.label(), edge.url(host));
    [
        (Host::Write.label(), grpc(Host::Write)),
        (Host::Read.label(), grpc(Host::Read)),
        web(Host::Console),
        web(Host::Prometheus),
        web(Host::Status),
    ]
    .into_iter()
    .chain(git)
    .collect()
}

fn table(status: &ClusterStatus) -> String {
    let ClusterStatus {
        cluster,
        provider,
        api,
        nodes,
        syncs,
        urls,
    } = status;
    let api = match api {
        Ok(()) => "ready".to_owned(),
        Err(why) => format!(
            "not ready: {}",
            why.lines().next_back().unwrap_or_default().trim()
        ),
    };
    let mut lines = vec![format!(
        "cluster {cluster}, provider {provider}, API server {api}"
    )];
    for NodeStatus {
        name,
        role,
        address,
        pid,
        processes,
    } in nodes
    {
        let role = match role {
            Role::ControlPlane => "control plane",
            Role::Worker => "worker",
        };
        let machine = pid.map_or("does not run".into(), |pid| format!("runs as {pid}"));
        lines.push(format!("{name}  {address}  {role}, {machine}"));
        lines.extend(processes.iter().map(process_line));
    }
    lines.extend(syncs.iter().map(sync_line));
    lines.extend(urls.iter().map(|(name, url)| format!("{name}  {url}")));
    lines.join("\n") + "\n"
}

fn sync_line(sync: &SyncStatus) -> String {
    let SyncStatus {
        name,
        state,
        revision,
    } = sync;
    let revision = revision.as_deref().unwrap_or("nothing applied yet");
    let state = match state {
        SyncState::Ready => "healthy".to_owned(),
        SyncState::Suspended => "suspended".to_owned(),
        SyncState::Waiting { message } => format!("waiting: {message}"),
        SyncState::Failed { message } => format!("failed: {message}"),
    };
    format!("Sync {name:<16} {revision}  {state}")
}

fn process_line(process: &Report) -> String {
    let Report {
        name,
        state,
        pid: _,
        restarts,
        last_end,
    } = process;
    let state = match state {
        ReportedState::Running => "running",
        ReportedState::Waiting => "waiting",
        ReportedState::Restarting => "restarting",
    };
    match last_end {
        None => format!("  {name:<12} {state}"),
        Some(end) => format!("  {name:<12} {state:<10} {restarts} restarts, last end: {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_see() {
        let process = |name: &str, state, restarts, last_end: Option<&str>| Report {
            name: name.into(),
            state,
            pid: None,
            restarts,
            last_end: last_end.map(String::from),
        };
        let status = ClusterStatus {
            cluster: "immuops".into(),
            provider: Kind::Native,
            api: Err("`kubectl get` failed\n    connection refused".into()),
            nodes: vec![
                NodeStatus {
                    name: "n1".parse().unwrap(),
                    role: Role::ControlPlane,
                    address: Ipv4Addr::new(10, 213, 0, 11),
                    pid: Some(77),
                    processes: vec![
                        process("containerd", ReportedState::Running, 0, None),
                        process("kubelet", ReportedState::Restarting, 3, Some("signal 9")),
                    ],
                },
                NodeStatus {
                    name: "n2".parse().unwrap(),
                    role: Role::Worker,
                    address: Ipv4Addr::new(10, 213, 0, 12),
                    pid: None,
                    processes: vec![],
                },
            ],
            syncs: vec![SyncStatus {
                name: "immudb-replica".into(),
                state: SyncState::Waiting {
                    message: "immudb-primary is not ready".into(),
                },
                revision: None,
            }],
            urls: BTreeMap::from([("git", "http://127.0.0.1:30300".into())]),
        };
        insta::assert_snapshot!(table(&status), @r"
        cluster immuops, provider native, API server not ready: connection refused
        n1  10.213.0.11  control plane, runs as 77
          containerd   running
          kubelet      restarting 3 restarts, last end: signal 9
        n2  10.213.0.12  worker, does not run
        Sync immudb-replica   nothing applied yet  waiting: immudb-primary is not ready
        git  http://127.0.0.1:30300
        ");
    }
}
