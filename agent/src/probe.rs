//! The readiness of one immudb server, measured: the sidecar of every immudb pod.
//!
//! immudb's own endpoints answer 200 as soon as the process listens. A server that nobody can log in to, a
//! replica whose replication stopped for good and a replica with another history all look healthy there
//! (codenotary/immudb#1653 and `docs/decisions/`). So this process does every few seconds what a client does
//! and compares the result with the primary. It reads; it never writes.
//!
//! `observe` asks the servers, `judge` is the pure rule that makes a verdict of the answers, `page` shows
//! it to the kubelet and Prometheus.

mod gauges;
mod judge;
mod observe;
mod page;
mod replicators;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use immudb::{Address, DatabaseName};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::gauges::Gauges;
use self::judge::{Judge, Limits};
use self::observe::Observer;
use self::report::Report;
use crate::immudb_login::Credentials;

/// What kind of server is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It takes the writes.
    Primary,
    /// It follows the primary at this address.
    Replica { primary: Address },
}

/// How to probe.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The server itself.
    pub(crate) server: Address,
    /// Its role.
    pub(crate) role: Role,
    /// Where its own metrics are, which tell whether its replication lives.
    pub(crate) server_metrics: Address,
    /// The databases that must be there, and for a replica must be like the primary's.
    pub(crate) databases: Vec<DatabaseName>,
    /// Who logs in.
    pub(crate) credentials: Credentials,
    /// Address of the HTTP server.
    pub(crate) listen: SocketAddr,
    /// Time between two rounds.
    pub(crate) interval: Duration,
    /// Longest wait for one answer of a server.
    pub(crate) timeout: Duration,
    /// Most transactions that a ready replica may be behind.
    pub(crate) max_lag: u64,
    /// Longest time that a ready replica may stand still while the primary is ahead.
    pub(crate) patience: Duration,
}

/// Probes until `stop`.
///
/// # Errors
/// If the port cannot be listened on, or a task that must live has died.
pub(crate) async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let listen = config.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; hint: --listen"))?;
    tracing::info!(server = %config.server, role = config.role.name(), %listen, "probing");
    let (sender, receiver) = watch::channel(Report::starting(&config));
    let gauges = Arc::new(Gauges::new());
    let mut tasks = JoinSet::new();
    let page = page::Page {
        report: receiver,
        gauges: Arc::clone(&gauges),
        patience: config.round() * 3,
    };
    tasks.spawn_local(page::serve(listener, page, stop.clone()));
    let rounds = rounds(config, gauges, sender);
    tokio::select! {
        () = rounds => {}
        () = stop.cancelled() => {}
        ended = tasks.join_next() => {
            if !stop.is_cancelled() {
                return match ended {
                    Some(Ok(Err(error))) => Err(error).context("the HTTP server ended"),
                    Some(Err(error)) => Err(error).context("the HTTP server died"),
                    Some(Ok(Ok(()))) | None => anyhow::bail!("the HTTP server ended"),
                };
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Looks and judges, forever.
async fn rounds(config: Config, gauges: Arc<Gauges>, sender: watch::Sender<Report>) {
    let limits = Limits {
        max_lag: config.max_lag,
        patience: config.patience,
    };
    let mut judge = Judge::new(config.role.clone(), limits);
    let mut ticks = interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut observer = Observer::new(config);
    loop {
        ticks.tick().await;
        let round = observer.look().await;
        let report = judge.judge(&round, Instant::now());
        tracing::debug!(ready = report.ready, reason = %report.reason, message = report.message, "looked");
        sender.send_if_modified(|last| {
            if (last.ready, last.reason) != (report.ready, report.reason) {
                report.log();
            }
            gauges.set(&report, round.is_complete());
            *last = report;
            true
        });
    }
}

impl Role {
    /// As the flag and the label have it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica { .. } => "replica",
        }
    }
}

impl Config {
    /// The longest that one round takes when nothing answers.
    fn round(&self) -> Duration {
        // A connection and a call that time out, on both servers.
        self.interval + self.timeout * 4
    }
}
