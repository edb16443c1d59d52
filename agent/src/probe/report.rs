//! What the probe says about its server.

use std::fmt;

use immudb::{DatabaseName, State};
use serde::Serialize;
use tokio::time::Instant;

use super::{Config, Role};

/// Why a server is ready or not. A closed set: it is a metric's label.
///
/// Of several reasons the last in this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum Reason {
    /// Everything is as it should be.
    Ready,
    /// The primary could not be asked; what was found when it last could still counts.
    NotCompared,
    /// The replica is behind and has not moved for too long.
    StandsStill,
    /// The replica is too many transactions behind.
    TooFarBehind,
    /// The replica has given up following the primary.
    ReplicationStopped,
    /// The replica has nothing yet of a database that the primary has.
    NeverSynced,
    /// The replica has transactions that the primary does not have.
    AheadOfPrimary,
    /// The replica has another history than the primary.
    StateDiffers,
    /// The primary could not be asked since this process started.
    NeverCompared,
    /// The server does not have the database.
    DatabaseMissing,
    /// The server says no, or nonsense.
    CheckFailed,
    /// The server does not let us in.
    LoginRefused,
    /// The server does not answer.
    ServerUnreachable,
    /// No round has ended yet.
    Starting,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Whether the part of immudb that fetches transactions lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Replicator {
    /// It does, or at least tries.
    Running,
    /// It has ended and does not come back by itself.
    Stopped,
}

/// One database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatabaseReport {
    pub(crate) name: DatabaseName,
    /// What the server has.
    pub(crate) own: Option<State>,
    /// What the primary has; only for a replica, and only if the primary answered.
    pub(crate) primary: Option<State>,
    /// Transactions behind the primary.
    pub(crate) lag: Option<u64>,
    /// Whether the primary's history begins with the server's.
    pub(crate) state_match: Option<bool>,
    /// Whether replication lives, if the server's metrics tell.
    pub(crate) replicator: Option<Replicator>,
}

/// The verdict of a round.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) ready: bool,
    pub(crate) role: &'static str,
    pub(crate) reason: Reason,
    /// For people.
    pub(crate) message: String,
    pub(crate) databases: Vec<DatabaseReport>,
    /// When the round ended.
    #[serde(skip)]
    pub(crate) at: Instant,
}

impl Report {
    /// Before the first round.
    pub(crate) fn starting(config: &Config) -> Self {
        let Config { role, server, .. } = config;
        let what = match role {
            Role::Primary => String::new(),
            Role::Replica { primary } => format!(" and its primary {primary}"),
        };
        Self {
            ready: false,
            role: role.name(),
            reason: Reason::Starting,
            message: format!("asking {server}{what} for the first time"),
            databases: Vec::new(),
            at: Instant::now(),
        }
    }

    /// One line per change: what a person on call wants to know.
    pub(crate) fn log(&self) {
        let Self {
            ready,
            reason,
            message,
            ..
        } = self;
        if *ready {
            tracing::info!(%reason, message, "ready");
        } else {
            tracing::warn!(%reason, message, "not ready");
        }
    }
}
