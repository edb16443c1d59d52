//! Whether servers still hold what they held: record their states, compare later.
//!
//! [`record`] keeps one state per database and server. After an upgrade, a failover or a restore,
//! [`compare`] demands of every server and each of its databases that its present history begins with
//! every recorded one, and lets the server prove it. A proof covers all transactions up to the recorded
//! one: one that is missing, changed or in another place makes it fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::database::DatabaseName;
use crate::error::ClientError;
use crate::state::State;

/// A server and the name it has in records: its role or its pod, which stays the same over a restart.
#[derive(Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// How to talk to it.
    pub client: Client,
}

/// What servers held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// By name of the server.
    pub servers: BTreeMap<String, ServerRecord>,
}

/// What one server held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerRecord {
    /// The version it reported.
    pub version: String,
    /// The state of every database of it that is not empty, `systemdb` included.
    pub databases: BTreeMap<DatabaseName, State>,
}

/// Reads the states of all databases of the servers.
///
/// # Errors
/// If a server does not answer or says no.
pub async fn record(servers: &mut [Server]) -> Result<Record, ClientError> {
    let mut record = Record::default();
    for Server { name, client } in servers {
        let version = client.version().await?;
        let mut databases = BTreeMap::new();
        for database in client.databases().await? {
            let state = client.state(&database).await?;
            if !state.is_empty() {
                databases.insert(database, state);
            }
        }
        let held = ServerRecord { version, databases };
        record.servers.insert(name.clone(), held);
    }
    Ok(record)
}

/// What a server says about one recorded state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The server that was asked.
    pub server: String,
    /// The database.
    pub database: DatabaseName,
    /// What its history must begin with.
    pub recorded: State,
    /// Its state now; nothing if it does not have the database.
    pub current: Option<State>,
    /// What came out.
    pub finding: Finding,
}

/// What came out of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "result"
)]
pub enum Finding {
    /// Proved: the history begins with the recorded one.
    Contained,
    /// The server has not come that far. It may still arrive there.
    Behind,
    /// It has another history: transactions were lost or changed.
    Contradicted {
        /// Why the proof fails.
        reason: String,
    },
}

/// All checks of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// In the order of servers and databases.
    pub checks: Vec<Check>,
}

/// What an outcome comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Every server proved everything.
    Proved,
    /// Nothing speaks against it, but a server has not come far enough, or there was nothing to prove.
    Open,
    /// A server has another history.
    Refuted,
}

/// Compares a record with what the servers hold now.
///
/// Every database that is recorded for a server must be on it, and must contain what *any* server was
/// recorded to have in it, so a replica must have got everything that the primary had. Servers are known
/// by name; one that was not recorded is asked about every recorded database that it has.
///
/// # Errors
/// If a server does not answer or says no.
pub async fn compare(record: &Record, servers: &mut [Server]) -> Result<Outcome, ClientError> {
    let mut recorded: BTreeMap<&DatabaseName, BTreeSet<State>> = BTreeMap::new();
    for (database, state) in record.servers.values().flat_map(|held| &held.databases) {
        recorded.entry(database).or_default().insert(*state);
    }
    let mut checks = Vec::new();
    for Server { name, client } in servers {
        let held = record.servers.get(name.as_str());
        let present = client.databases().await?;
        for (&database, states) in &recorded {
            let required = held.is_some_and(|held| held.databases.contains_key(database));
            if !required && !present.contains(database) {
                continue;
            }
            for state in states {
                checks.push(check(name, client, database, state).await?);
            }
        }
    }
    Ok(Outcome { checks })
}

/// Asks one server whether the history of a database begins with a state, and verifies the proof.
///
/// # Errors
/// If the server does not answer or says no.
pub async fn check(
    name: &str,
    client: &mut Client,
    database: &DatabaseName,
    recorded: &State,
) -> Result<Check, ClientError> {
    let (current, finding) = match client.state(database).await {
        Ok(current) => {
            let finding = find(client, database, recorded, &current).await?;
            (Some(current), finding)
        }
        Err(ClientError::NoSuchDatabase { .. }) => {
            let reason = "the server does not have the database".to_owned();
            (None, Finding::Contradicted { reason })
        }
        Err(error) => return Err(error),
    };
    Ok(Check {
        server: name.to_owned(),
        database: database.clone(),
        recorded: *recorded,
        current,
        finding,
    })
}

async fn find(
    client: &mut Client,
    database: &DatabaseName,
    recorded: &State,
    current: &State,
) -> Result<Finding, ClientError> {
    if recorded.is_empty() || recorded == current {
        return Ok(Finding::Contained);
    }
    if current.tx < recorded.tx {
        return Ok(Finding::Behind);
    }
    let proof = client.proof(database, recorded.tx, current.tx).await?;
    Ok(match proof.verify(recorded, current) {
        Ok(()) => Finding::Contained,
        Err(refusal) => Finding::Contradicted {
            reason: refusal.to_string(),
        },
    })
}

impl Outcome {
    /// What it comes to. Nothing checked proves nothing.
    pub fn verdict(&self) -> Verdict {
        let worst = |check: &Check| match check.finding {
            Finding::Contained => Verdict::Proved,
            Finding::Behind => Verdict::Open,
            Finding::Contradicted { .. } => Verdict::Refuted,
        };
        self.checks.iter().map(worst).max().unwrap_or(Verdict::Open)
    }

    /// How many recorded transactions the proofs cover: of each database the most that were recorded, if
    /// every server proved them.
    pub fn transactions(&self) -> u64 {
        let mut covered: BTreeMap<&DatabaseName, u64> = BTreeMap::new();
        for check in &self.checks {
            let most = covered.entry(&check.database).or_default();
            *most = check.recorded.tx.max(*most);
        }
        for check in &self.checks {
            if check.finding != Finding::Contained {
                covered.remove(&check.database);
            }
        }
        covered.values().sum()
    }

    /// How many databases were checked.
    pub fn databases(&self) -> usize {
        let names: BTreeSet<_> = self.checks.iter().map(|check| &check.database).collect();
        names.len()
    }

    /// How many servers were asked.
    pub fn servers(&self) -> usize {
        let names: BTreeSet<_> = self.checks.iter().map(|check| &check.server).collect();
        names.len()
    }
}

impl fmt::Display for Check {
    /// `replica/defaultdb: tx 12 (3f6a0b91) is in tx 20 (77e3d1aa)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            database,
            recorded,
            current,
            finding,
        } = self;
        write!(f, "{server}/{database}: {recorded} is ")?;
        match (finding, current) {
            (Finding::Contained, Some(current)) => write!(f, "in {current}"),
            (Finding::Contained, None) => f.write_str("there"),
            (Finding::Behind, Some(current)) => write!(f, "not there yet: {current}"),
            (Finding::Behind, None) => f.write_str("not there yet"),
            (Finding::Contradicted { reason }, Some(current)) => {
                write!(f, "not in {current}: {reason}")
            }
            (Finding::Contradicted { reason }, None) => write!(f, "not there: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    fn check(server: &str, database: &str, tx: u64, finding: Finding) -> Check {
        let state = |tx| State {
            tx,
            hash: Hash::ZERO,
        };
        Check {
            server: server.to_owned(),
            database: database.parse().unwrap(),
            recorded: state(tx),
            current: Some(state(20)),
            finding,
        }
    }

    #[test]
    fn the_worst_finding_decides() {
        let contradicted = || Finding::Contradicted {
            reason: String::new(),
        };
        let outcome = |findings: Vec<Finding>| Outcome {
            checks: findings
                .into_iter()
                .map(|finding| check("primary", "a", 1, finding))
                .collect(),
        };
        for (findings, expected) in [
            (vec![], Verdict::Open),
            (vec![Finding::Contained], Verdict::Proved),
            (vec![Finding::Contained, Finding::Behind], Verdict::Open),
            (
                vec![contradicted(), Finding::Behind, Finding::Contained],
                Verdict::Refuted,
            ),
        ] {
            assert_eq!(outcome(findings).verdict(), expected);
        }
    }

    #[test]
    fn counts_what_every_server_proved() {
        let outcome = Outcome {
            checks: vec![
                check("primary", "a", 10, Finding::Contained),
                check("primary", "a", 12, Finding::Contained),
                check("primary", "b", 5, Finding::Contained),
                check("replica", "a", 12, Finding::Contained),
                check("replica", "b", 5, Finding::Behind),
            ],
        };
        assert_eq!(outcome.transactions(), 12);
        assert_eq!((outcome.databases(), outcome.servers()), (2, 2));
    }

    #[test]
    fn a_record_is_readable() {
        let databases = [(
            "defaultdb".parse().unwrap(),
            State {
                tx: 3,
                hash: Hash::of(&[]),
            },
        )];
        let held = ServerRecord {
            version: "1.11.1".to_owned(),
            databases: databases.into(),
        };
        let record = Record {
            servers: [("primary".to_owned(), held)].into(),
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            r#"{"servers":{"primary":{"version":"1.11.1","databases":{"defaultdb":{"tx":3,"hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}}}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
