//! `make bench`: measures on one real cluster what `docs/benchmarks.md` states, and prints it as
//! the Markdown of that file. Numbers depend on the machine, so none of them is a test.

mod idle;
mod latency;
mod processes;
mod report;

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::cluster::Cluster;

use crate::report::Report;

/// How long the cluster is watched doing nothing, in seconds; `IMMUOPS_BENCH_IDLE` changes it.
const IDLE: u64 = 600;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let idle = match std::env::var("IMMUOPS_BENCH_IDLE") {
        Ok(seconds) => seconds
            .parse()
            .context("IMMUOPS_BENCH_IDLE is not a number of seconds")?,
        Err(_) => IDLE,
    };
    let cluster = Cluster::new("bench")?;
    let result = measure(&cluster, Duration::from_secs(idle)).await;
    let down = cluster.down();
    let report = result?;
    down?;
    report.print()
}

async fn measure(cluster: &Cluster, idle: Duration) -> Result<Report> {
    let mut report = Report::new();
    let started = std::time::Instant::now();
    let up = cluster.up_logged(&["--nodes", "2"])?;
    report.row(
        "`make up`, warm bundle, 2 nodes: all Syncs healthy",
        "< 150 s",
        report::seconds(started.elapsed()),
    );
    report.phases(&up);
    let demo = latency::Demo::push(cluster).await?;
    let pushes = demo.pushes(20).await?;
    report.distribution(
        "`git push` started → changed object applied, 20 pushes",
        "p50 < 1 s",
        &pushes,
    );
    let edits = demo.foreign_edits(100).await?;
    report.distribution(
        "foreign edit → corrected, 100 edits",
        "p99 < 250 ms",
        &edits,
    );
    idle::measure(cluster, demo.client(), idle, &mut report).await?;
    Ok(report)
}
