//! The numbers of the probe. Labels are the databases it was told to look at and closed sets.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::report::{DatabaseReport, Replicator, Report};

/// Prefix of every metric.
const PREFIX: &str = "immuops_probe";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfDatabase {
    database: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OnServer {
    database: String,
    /// `own` or `primary`.
    server: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Because {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckOutcome {
    /// `complete` if every server answered, else `incomplete`.
    outcome: &'static str,
}

/// All metrics of the probe. What is not known has no value, rather than an old one.
#[derive(Debug)]
pub(crate) struct Gauges {
    registry: Registry,
    ready: Gauge,
    reason: Family<Because, Gauge>,
    transaction: Family<OnServer, Gauge>,
    lag: Family<OfDatabase, Gauge>,
    state_match: Family<OfDatabase, Gauge>,
    replicator: Family<OfDatabase, Gauge>,
    checks: Family<CheckOutcome, Counter>,
    last_success: Gauge,
}

impl Gauges {
    /// Registers everything.
    pub(crate) fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix(PREFIX),
            ready: Gauge::default(),
            reason: Family::default(),
            transaction: Family::default(),
            lag: Family::default(),
            state_match: Family::default(),
            replicator: Family::default(),
            checks: Family::default(),
            last_success: Gauge::default(),
        };
        let registry = &mut all.registry;
        registry.register(
            "ready",
            "1 if clients should be sent to the server",
            all.ready.clone(),
        );
        registry.register(
            "reason",
            "1 for the reason of the verdict",
            all.reason.clone(),
        );
        registry.register(
            "transaction_id",
            "Newest transaction of the server itself and of its primary",
            all.transaction.clone(),
        );
        registry.register(
            "lag_transactions",
            "Transactions that the server is behind its primary",
            all.lag.clone(),
        );
        registry.register(
            "state_match",
            "1 if the primary's history begins with the server's, 0 if it does not",
            all.state_match.clone(),
        );
        registry.register(
            "replicator_running",
            "0 if replication has ended for good",
            all.replicator.clone(),
        );
        registry.register("checks", "Rounds by outcome", all.checks.clone());
        registry.register_with_unit(
            "last_success_timestamp",
            "Unix time of the last round in which every server answered",
            Unit::Seconds,
            all.last_success.clone(),
        );
        all
    }

    /// A round ended; `complete` if every server answered.
    pub(crate) fn set(&self, report: &Report, complete: bool) {
        self.ready.set(i64::from(report.ready));
        self.reason.clear();
        let reason = Because {
            reason: report.reason.to_string(),
        };
        self.reason.get_or_create(&reason).set(1);
        self.transaction.clear();
        self.lag.clear();
        self.state_match.clear();
        self.replicator.clear();
        for database in &report.databases {
            self.set_database(database);
        }
        let outcome = if complete {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            self.last_success.set(number(now.as_secs()));
            "complete"
        } else {
            "incomplete"
        };
        self.checks.get_or_create(&CheckOutcome { outcome }).inc();
    }

    fn set_database(&self, report: &DatabaseReport) {
        let DatabaseReport {
            name,
            own,
            primary,
            lag,
            state_match,
            replicator,
        } = report;
        let database = name.to_string();
        for (server, state) in [("own", own), ("primary", primary)] {
            if let Some(state) = state {
                let label = OnServer {
                    database: database.clone(),
                    server,
                };
                self.transaction.get_or_create(&label).set(number(state.tx));
            }
        }
        let label = OfDatabase { database };
        if let Some(lag) = lag {
            self.lag.get_or_create(&label).set(number(*lag));
        }
        if let Some(matches) = state_match {
            self.state_match
                .get_or_create(&label)
                .set(i64::from(*matches));
        }
        if let Some(replicator) = replicator {
            let running = i64::from(*replicator == Replicator::Running);
            self.replicator.get_or_create(&label).set(running);
        }
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
