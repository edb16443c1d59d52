//! What the cluster costs when nothing happens: writes to the API server, the agent's memory and
//! processor time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fs_err as fs;
use kube::Client;
use tests::bundle;
use tests::cluster::Cluster;

use crate::report::Report;

/// Verbs that change something.
const WRITES: &[&str] = &[
    "POST",
    "PUT",
    "PATCH",
    "APPLY",
    "DELETE",
    "DELETECOLLECTION",
];
/// Written by Kubernetes itself all the time: node heartbeats, leader leases, its own Events,
/// tokens and access reviews. The agent's own leader lease is among them.
const BACKGROUND: &[&str] = &[
    "leases",
    "events",
    "nodes",
    "tokenreviews",
    "subjectaccessreviews",
    "serviceaccounts",
];

/// Watches for `period` and adds the rows.
pub(crate) async fn measure(
    _cluster: &Cluster,
    client: &Client,
    period: Duration,
    report: &mut Report,
) -> Result<()> {
    let before = writes(client).await?;
    let agent = agent_process()?;
    let ticks_before = agent.processor_ticks()?;
    tokio::time::sleep(period).await;
    let after = writes(client).await?;
    let ticks = agent.processor_ticks()?.saturating_sub(ticks_before);
    let grown: BTreeMap<_, _> = after
        .iter()
        .map(|(resource, count)| (resource, count - before.get(resource).unwrap_or(&0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let (background, foreground): (Vec<_>, Vec<_>) = grown
        .into_iter()
        .partition(|(resource, _)| BACKGROUND.contains(&resource.as_str()));
    let list = |rows: &[(&String, u64)]| {
        let rows: Vec<String> = rows
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if rows.is_empty() {
            "0".to_owned()
        } else {
            rows.join(", ")
        }
    };
    let minutes = period.as_secs_f64() / 60.0;
    let what = format!("write requests in {minutes:.0} idle minutes (API server's own count)");
    report.row(&what, "0", list(&foreground));
    report.row(
        "of these Kubernetes' and the agent's leases, heartbeats, Events",
        "-",
        list(&background),
    );
    // USER_HZ is 100 on every Linux we run on; /proc documents it so.
    let share = f64::from(u32::try_from(ticks)?) / 100.0 / period.as_secs_f64() * 100.0;
    report.row(
        "agent: processor while idle",
        "< 0.5 % of one core",
        format!("{share:.2} %"),
    );
    let mib = |kib: u64| {
        format!(
            "{:.1} MiB",
            f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
        )
    };
    report.row(
        "agent: resident memory while idle",
        "< 30 MiB",
        mib(agent.status("VmRSS")?),
    );
    report.row(
        "agent: peak resident memory",
        "-",
        mib(agent.status("VmHWM")?),
    );
    let size = fs::metadata(bundle::program("agent")?)?.len();
    report.row(
        "agent: binary",
        "< 20 MB",
        format!("{:.1} MB", f64::from(u32::try_from(size)?) / 1e6),
    );
    Ok(())
}

/// Write requests by resource since the API server started.
async fn writes(client: &Client) -> Result<BTreeMap<String, u64>> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client
        .request_text(request)
        .await
        .context("failed to read the API server's metrics")?;
    let mut counts = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
    {
        let label = |name: &str| {
            line.split(&format!("{name}=\""))
                .nth(1)
                .and_then(|rest| rest.split('"').next())
        };
        let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else {
            continue;
        };
        let count = line
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse::<f64>().ok());
        if let (true, Some(count)) = (WRITES.contains(&verb), count) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a counter is a whole number that is not negative"
            )]
            let count = count as u64;
            *counts.entry(resource.to_owned()).or_default() += count;
        }
    }
    Ok(counts)
}

/// The agent's process as this host sees it: native nodes share the kernel.
struct Process {
    folder: std::path::PathBuf,
}

fn agent_process() -> Result<Process> {
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let Ok(command) = fs::read(folder.join("cmdline")) else {
            continue;
        };
        if command.starts_with(b"/agent\0run") {
            return Ok(Process { folder });
        }
    }
    anyhow::bail!("no process `/agent run` on this host")
}

impl Process {
    /// User and system time in clock ticks: fields 14 and 15 of /proc/PID/stat (proc(5)).
    fn processor_ticks(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.folder.join("stat"))?;
        let after_name = stat
            .rsplit(") ")
            .next()
            .context("unreadable /proc/PID/stat")?;
        let fields: Vec<&str> = after_name.split(' ').collect();
        let field = |index: usize| -> Result<u64> {
            Ok(fields.get(index).context("short /proc/PID/stat")?.parse()?)
        };
        Ok(field(11)? + field(12)?)
    }

    /// A size in KiB from /proc/PID/status.
    fn status(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(self.folder.join("status"))?;
        let line = status.lines().find(|line| line.starts_with(name));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size
            .with_context(|| format!("/proc/PID/status has no {name}"))?
            .parse()?)
    }
}
