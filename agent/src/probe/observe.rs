//! Asks the server, its metrics and its primary. One connection and one session to each, kept.

use std::collections::BTreeMap;

use immudb::{Client, ClientError, DatabaseName, State};
use tokio::time::Instant;

use super::judge::{PrimaryState, Round, Versions};
use super::replicators;
use super::report::Replicator;
use super::{Config, Role};
use crate::problem::chain;

/// Sees what there is to see, round after round.
#[derive(Debug)]
pub(crate) struct Observer {
    config: Config,
    /// Nothing before the first round, and after a refused login: the next one reads the password again.
    own: Option<Client>,
    primary: Option<Client>,
    replicators: BTreeMap<DatabaseName, Replicator>,
    /// When the metrics are due again.
    metrics_due: Instant,
}

impl Observer {
    /// Has asked nobody yet.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            own: None,
            primary: None,
            replicators: BTreeMap::new(),
            metrics_due: Instant::now(),
        }
    }

    /// One round. Its errors are part of what was seen.
    pub(crate) async fn look(&mut self) -> Round {
        let Config {
            server,
            role,
            databases,
            ..
        } = self.config.clone();
        let own = match connect(&mut self.own, &server, &self.config) {
            Ok(client) => states(client, &databases).await,
            Err(error) => Err(error),
        };
        forget_login(&mut self.own, own.as_ref().err());
        let primary = match role {
            Role::Primary => None,
            Role::Replica { primary } => {
                let seen = match connect(&mut self.primary, &primary, &self.config) {
                    Ok(client) => compare(client, &databases, own.as_ref().ok()).await,
                    Err(error) => Err(error),
                };
                forget_login(&mut self.primary, seen.as_ref().err());
                self.look_at_replicators().await;
                Some(seen)
            }
        };
        Round {
            own,
            primary,
            replicators: self.replicators.clone(),
            versions: self.versions().await,
        }
    }

    /// The page has 4,000 lines, and what is on it changes rarely: not in every round.
    async fn look_at_replicators(&mut self) {
        let now = Instant::now();
        if now < self.metrics_due {
            return;
        }
        self.metrics_due = now + replicators::INTERVAL;
        match replicators::read(&self.config.server_metrics, self.config.timeout).await {
            Ok(found) => self.replicators = found,
            Err(error) => {
                self.replicators.clear();
                tracing::debug!(%error, "the metrics of immudb cannot be read");
            }
        }
    }

    /// Only worth two calls when replication has stopped: they may tell why.
    async fn versions(&mut self) -> Option<Versions> {
        if !self
            .replicators
            .values()
            .any(|state| *state == Replicator::Stopped)
        {
            return None;
        }
        Some(Versions {
            own: self.own.as_mut()?.version().await.ok()?,
            primary: self.primary.as_mut()?.version().await.ok()?,
        })
    }
}

/// The client there is, or a new one with the password of this moment.
fn connect<'a>(
    client: &'a mut Option<Client>,
    server: &immudb::Address,
    config: &Config,
) -> Result<&'a mut Client, ClientError> {
    if let Some(client) = client {
        return Ok(client);
    }
    let login = config
        .credentials
        .login()
        .map_err(|error| ClientError::Refused {
            server: server.clone(),
            call: "OpenSession",
            message: chain(&error),
        })?;
    Ok(client.insert(Client::new(server, login, config.timeout)?))
}

/// A password may have been replaced.
fn forget_login(client: &mut Option<Client>, error: Option<&ClientError>) {
    if matches!(error, Some(ClientError::LoginRefused { .. })) {
        *client = None;
    }
}

async fn states(
    client: &mut Client,
    databases: &[DatabaseName],
) -> Result<BTreeMap<DatabaseName, State>, ClientError> {
    let mut states = BTreeMap::new();
    for database in databases {
        states.insert(database.clone(), client.state(database).await?);
    }
    Ok(states)
}

/// The primary's states, and for each what it was at the server's transaction.
async fn compare(
    client: &mut Client,
    databases: &[DatabaseName],
    own: Option<&BTreeMap<DatabaseName, State>>,
) -> Result<BTreeMap<DatabaseName, PrimaryState>, ClientError> {
    let mut states = BTreeMap::new();
    for database in databases {
        let current = client.state(database).await?;
        let own_tx = own.and_then(|own| own.get(database)).map(|own| own.tx);
        let at_own = match own_tx {
            Some(tx) if tx == current.tx => Some(current),
            Some(tx) if (1..current.tx).contains(&tx) => {
                let header = client.header(database, tx).await?;
                header.map(|header| header.state())
            }
            Some(_) | None => None,
        };
        states.insert(database.clone(), PrimaryState { current, at_own });
    }
    Ok(states)
}
