//! What the cluster costs when nothing happens: writes to the API server, and the memory and processor
//! time of every component.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fs_err as fs;
use kube::Client;
use tests::bundle;
use tests::cluster::Cluster;

use crate::processes::{Usage, components};
use crate::report::{Report, mebibytes};

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
    cluster: &Cluster,
    client: &Client,
    period: Duration,
    report: &mut Report,
) -> Result<()> {
    let before = writes(client).await?;
    let components_before = components(cluster)?;
    tokio::time::sleep(period).await;
    let after = writes(client).await?;
    let components = components(cluster)?;
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
    // USER_HZ is 100 on every Linux we run on; /proc documents it so. In % of one core.
    let share = |name: &str, usage: &Usage| -> Result<f64> {
        let before = components_before.get(name).map_or(0, |before| before.ticks);
        let ticks = u32::try_from(usage.ticks.saturating_sub(before))?;
        Ok(f64::from(ticks) / period.as_secs_f64())
    };
    for (name, usage) in &components {
        report.component(name, usage, share(name, usage)?);
    }
    let agent = components.get("agent run").context("no agent runs")?;
    report.row(
        "agent: processor while idle",
        "< 0.5 % of one core",
        format!("{:.2} %", share("agent run", agent)?),
    );
    report.row(
        "agent: resident memory while idle",
        "< 30 MiB",
        mebibytes(agent.resident),
    );
    report.row("agent: peak resident memory", "-", mebibytes(agent.peak));
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
