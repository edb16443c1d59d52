//! `agent probe`: the readiness of one immudb server.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::ValueEnum;
use immudb::{Address, DatabaseName};

use super::signals;
use crate::api::period::Period;
use crate::env_vars;
use crate::immudb_login::Credentials;
use crate::logging::{self, LogFormat};
use crate::probe::{self, Config, Role};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What the server is.
    #[arg(long, value_enum)]
    role: RoleName,
    /// The server.
    #[arg(long, default_value = "127.0.0.1:3322")]
    server: Address,
    /// The primary that a replica follows.
    #[arg(long, required_if_eq("role", "replica"))]
    primary: Option<Address>,
    /// Where the server's own metrics are.
    #[arg(long, default_value = "127.0.0.1:9497")]
    server_metrics: Address,
    /// Databases that must be there, and on a replica like the primary's.
    #[arg(long, value_delimiter = ',', default_value = "systemdb,defaultdb")]
    databases: Vec<DatabaseName>,
    #[command(flatten)]
    credentials: Credentials,
    /// Address of the HTTP server: /readyz, /livez, /metrics.
    #[arg(long, env = env_vars::LISTEN, default_value = "0.0.0.0:9498")]
    listen: SocketAddr,
    /// Time between two looks.
    #[arg(long, value_parser = Period::parse, default_value = "2s")]
    interval: Period,
    /// Longest wait for one answer.
    #[arg(long, value_parser = Period::parse, default_value = "2s")]
    timeout: Period,
    /// A replica that is more transactions behind is not ready.
    #[arg(long, default_value_t = 10_000)]
    max_lag: u64,
    /// A replica that stands still behind its primary for longer is not ready. An idle immudb looks at its
    /// primary every 120 seconds, so less than that is never right.
    #[arg(long, value_parser = Period::parse, default_value = "3m")]
    patience: Period,
    /// What to log.
    #[arg(long, env = env_vars::LOG, default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, env = env_vars::LOG_FORMAT, default_value = "json")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// It takes the writes.
    Primary,
    /// It follows a primary.
    Replica,
}

/// Runs until a signal.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Args {
        role,
        server,
        primary,
        server_metrics,
        databases,
        credentials,
        listen,
        interval,
        timeout,
        max_lag,
        patience,
        log,
        log_format,
    } = args;
    logging::start(&log, log_format)?;
    // Once now: a flag that is wrong should end the process, not show as a server that is not ready.
    credentials.login()?;
    let role = match role {
        RoleName::Primary => Role::Primary,
        RoleName::Replica => Role::Replica {
            primary: primary.context("a replica needs --primary")?,
        },
    };
    let config = Config {
        server,
        role,
        server_metrics,
        databases,
        credentials,
        listen,
        interval: interval.duration(),
        timeout: timeout.duration(),
        max_lag,
        patience: patience.duration(),
    };
    signals::run(|stop| probe::run(config, stop))
}
