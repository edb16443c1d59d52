//! The rule: what was seen, and what was seen before, makes a server ready or not. Pure.
//!
//! **A primary** is ready when it lets us in and tells the state of its databases.
//!
//! **A replica** is ready when for every database its history is the beginning of the primary's, its
//! replication lives, it is not too many transactions behind, and it does not stand still behind the primary.
//! Lag is the difference of transaction numbers of both servers; immudb's own gauge of it is 0 in every
//! state of failure.
//!
//! **While the primary cannot be asked, the last verdict stands.** A replica that was good goes on serving
//! reads when its primary is gone: that is what it is for. A replica that was stuck or different does not
//! become good because nobody contradicts it any more, and one that was never compared stays out.

use std::collections::BTreeMap;
use std::time::Duration;

use immudb::{ClientError, DatabaseName, State};
use tokio::time::Instant;

use super::Role;
use super::report::{DatabaseReport, Reason, Replicator, Report};

/// When a replica is too stale to be read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Transactions.
    pub(crate) max_lag: u64,
    /// Time without progress. An idle immudb waits up to 120 s between two looks at its primary.
    pub(crate) patience: Duration,
}

/// What one round saw.
#[derive(Debug)]
pub(crate) struct Round {
    /// The databases of the server itself.
    pub(crate) own: Result<BTreeMap<DatabaseName, State>, ClientError>,
    /// Those of the primary; nothing if the server is the primary.
    pub(crate) primary: Option<Result<BTreeMap<DatabaseName, PrimaryState>, ClientError>>,
    /// What the server's metrics say of its replication.
    pub(crate) replicators: BTreeMap<DatabaseName, Replicator>,
    /// The versions of server and primary, if a replicator has stopped.
    pub(crate) versions: Option<Versions>,
}

/// The primary's side of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrimaryState {
    /// Its state, read after the server's: it cannot be behind an honest replica.
    pub(crate) current: State,
    /// Its state at the server's transaction, if it has come that far.
    pub(crate) at_own: Option<State>,
}

/// What both servers report as their version.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    pub(crate) own: String,
    pub(crate) primary: String,
}

/// Judges one server, round after round.
#[derive(Debug)]
pub(crate) struct Judge {
    role: Role,
    limits: Limits,
    /// Of each database that is behind: its transaction, and since when it is that.
    behind: BTreeMap<DatabaseName, (u64, Instant)>,
    /// The verdict of the last round in which the primary answered.
    standing: Option<(Reason, String)>,
}

/// A reason and what to tell about it.
type Finding = (Reason, String);

impl Round {
    /// Whether everything that should be known is.
    pub(crate) fn is_complete(&self) -> bool {
        self.own.is_ok() && self.primary.as_ref().is_none_or(Result::is_ok)
    }
}

impl Judge {
    /// Has seen nothing yet.
    pub(crate) fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            behind: BTreeMap::new(),
            standing: None,
        }
    }

    /// The verdict of this round.
    pub(crate) fn judge(&mut self, round: &Round, now: Instant) -> Report {
        let (reason, message) = match (&round.own, &round.primary) {
            (Err(error), primary) => refused(error, primary.as_ref()),
            (Ok(own), None) => (Reason::Ready, format!("{} databases answer", own.len())),
            (Ok(_), Some(Err(error))) => self.without_primary(error),
            (Ok(own), Some(Ok(primary))) => {
                let finding = self.compare(own, primary, round, now);
                self.standing = Some(finding.clone());
                finding
            }
        };
        Report {
            ready: matches!(reason, Reason::Ready | Reason::NotCompared),
            role: self.role.name(),
            reason,
            message,
            databases: databases(round),
            at: now,
        }
    }

    /// Nobody to compare with: what was found last still counts.
    fn without_primary(&self, error: &ClientError) -> Finding {
        match &self.standing {
            Some((Reason::Ready, _)) => (
                Reason::NotCompared,
                format!("serves what it had when the primary last answered: {error}"),
            ),
            Some((reason, message)) => (
                *reason,
                format!("{message}; since then the primary does not answer: {error}"),
            ),
            None => (
                Reason::NeverCompared,
                format!("not compared with the primary since this probe started: {error}"),
            ),
        }
    }

    fn compare(
        &mut self,
        own: &BTreeMap<DatabaseName, State>,
        primary: &BTreeMap<DatabaseName, PrimaryState>,
        round: &Round,
        now: Instant,
    ) -> Finding {
        let mut worst = (Reason::Ready, String::new());
        let mut lag = 0;
        for (name, own) in own {
            let Some(primary) = primary.get(name) else {
                continue;
            };
            lag = primary.current.tx.saturating_sub(own.tx).max(lag);
            let finding = self.database(name, *own, *primary, round, now);
            worst = worst.max(finding);
        }
        if worst.0 == Reason::Ready {
            let count = own.len();
            worst.1 = format!(
                "{count} databases are like the primary's, at most {lag} transactions behind"
            );
        }
        worst
    }

    fn database(
        &mut self,
        name: &DatabaseName,
        own: State,
        primary: PrimaryState,
        round: &Round,
        now: Instant,
    ) -> Finding {
        let current = primary.current;
        let lag = current.tx.saturating_sub(own.tx);
        let still = self.stands_still(name, own, lag, now);
        if current.tx < own.tx {
            let text = format!(
                "{name} is at {own}, the primary only at {current}: the primary has lost transactions, or \
                 this server took writes of its own; hint: do not restart either before you know which"
            );
            return (Reason::AheadOfPrimary, text);
        }
        if is_prefix(own, primary) == Some(false) {
            let text = format!(
                "{name} is at {own}, where the primary has another history; hint: this replica can never \
                 follow again; empty its volume to start anew"
            );
            return (Reason::StateDiffers, text);
        }
        if own.is_empty() && !current.is_empty() {
            let text = format!("{name} is empty here, the primary is at {current}");
            return (Reason::NeverSynced, text);
        }
        if round.replicators.get(name) == Some(&Replicator::Stopped) {
            return (Reason::ReplicationStopped, stopped(name, own, lag, round));
        }
        if lag > self.limits.max_lag {
            let most = self.limits.max_lag;
            let text = format!(
                "{name} is {lag} transactions behind the primary, at most {most} are allowed"
            );
            return (Reason::TooFarBehind, text);
        }
        if still > self.limits.patience {
            let text = format!(
                "{name} has stood at {own} for {} s, the primary is {lag} transactions ahead; hint: the log of \
                 immudb says why, under \"Replication error\"",
                still.as_secs()
            );
            return (Reason::StandsStill, text);
        }
        (Reason::Ready, String::new())
    }

    /// For how long the database is behind without having moved.
    fn stands_still(
        &mut self,
        name: &DatabaseName,
        own: State,
        lag: u64,
        now: Instant,
    ) -> Duration {
        if lag == 0 {
            self.behind.remove(name);
            return Duration::ZERO;
        }
        let (tx, since) = self.behind.entry(name.clone()).or_insert((own.tx, now));
        if *tx != own.tx {
            (*tx, *since) = (own.tx, now);
        }
        now.duration_since(*since)
    }
}

/// Whether the primary's history begins with the server's; unknown while the primary is behind it.
fn is_prefix(own: State, primary: PrimaryState) -> Option<bool> {
    if own.is_empty() {
        return Some(true);
    }
    primary.at_own.map(|at_own| at_own == own)
}

/// Why the server itself cannot be asked.
fn refused(
    error: &ClientError,
    primary: Option<&Result<BTreeMap<DatabaseName, PrimaryState>, ClientError>>,
) -> Finding {
    let reason = match error {
        // The same login is good on the primary: this server has no users yet.
        ClientError::LoginRefused { .. } if primary.is_some_and(Result::is_ok) => {
            let text = "nobody can log in yet: the users come from the primary with the first \
                        replication, and none has arrived; hint: the log of immudb says why, under \
                        \"Replication error\""
                .to_owned();
            return (Reason::NeverSynced, text);
        }
        ClientError::LoginRefused { .. } => Reason::LoginRefused,
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => Reason::ServerUnreachable,
        ClientError::NoSuchDatabase { .. } => Reason::DatabaseMissing,
        ClientError::Refused { .. } | ClientError::Answer { .. } => Reason::CheckFailed,
    };
    (reason, error.to_string())
}

fn stopped(name: &DatabaseName, own: State, lag: u64, round: &Round) -> String {
    let text = format!("replication of {name} has stopped at {own}, {lag} transactions behind");
    match &round.versions {
        Some(Versions { own, primary }) if own != primary => format!(
            "{text}: this server is immudb {own}, the primary {primary}, and a replica follows only its own \
             version; hint: once both are the same version, restart this server"
        ),
        Some(_) | None => format!("{text}; hint: only a restart of this server starts it again"),
    }
}

/// What is known of each database.
fn databases(round: &Round) -> Vec<DatabaseReport> {
    let own = round.own.as_ref().ok();
    let primary = round
        .primary
        .as_ref()
        .and_then(|primary| primary.as_ref().ok());
    let mut names: Vec<&DatabaseName> = own
        .into_iter()
        .flat_map(BTreeMap::keys)
        .chain(primary.into_iter().flat_map(BTreeMap::keys))
        .collect();
    names.sort_unstable();
    names.dedup();
    let report = |name: &DatabaseName| {
        let own = own.and_then(|own| own.get(name)).copied();
        let primary = primary.and_then(|primary| primary.get(name)).copied();
        let both = own.zip(primary);
        DatabaseReport {
            name: name.clone(),
            own,
            primary: primary.map(|primary| primary.current),
            lag: both.map(|(own, primary)| primary.current.tx.saturating_sub(own.tx)),
            state_match: both.and_then(|(own, primary)| is_prefix(own, primary)),
            replicator: round.replicators.get(name).copied(),
        }
    };
    names.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests;
