//! Counters and gauges of the agent. Labels come from closed sets; a Sync's name is one of them, as
//! the number of Syncs is small and chosen by the operator. Nothing else is ever a label.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Prefix of every metric.
const PREFIX: &str = "immuops_agent";

/// One Sync.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct OfSync {
    pub(crate) sync: String,
}

/// One outcome of a Sync's reconciliation.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct SyncOutcome {
    pub(crate) sync: String,
    pub(crate) reason: &'static str,
}

/// A write to an object.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Verb {
    /// Server-side apply.
    Apply,
    /// The same, only tried.
    DryRun,
    /// Deletion.
    Delete,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// The server took it.
    Done,
    /// It did not.
    Failed,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    verb: Verb,
    outcome: Outcome,
}

/// What became of a webhook call.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Hook {
    /// A Sync was told to look.
    Accepted,
    /// It was about something else.
    Ignored,
    /// It was not signed with our token, too large, too frequent or not understood.
    Refused,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HookCall {
    outcome: Hook,
}

/// One upgrade policy. Their number is small as well, and chosen by the operator.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPolicy {
    policy: String,
}

/// What became of the proof of an upgrade.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum ProofResult {
    /// Nothing is lost.
    Proved,
    /// Nobody could tell in time.
    Overdue,
    /// A server holds another history.
    Refuted,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProofOf {
    policy: String,
    result: ProofResult,
}

/// All metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<SyncOutcome, Counter>,
    duration: Histogram,
    ready: Family<OfSync, Gauge>,
    objects: Family<OfSync, Gauge>,
    unhealthy: Family<OfSync, Gauge>,
    last_success: Family<OfSync, Gauge>,
    writes: Family<Write, Counter>,
    corrections: Family<OfSync, Counter>,
    correction_duration: Histogram,
    held: Family<OfSync, Gauge>,
    hooks: Family<HookCall, Counter>,
    watches: Gauge,
    proofs: Family<ProofOf, Counter>,
    unproved: Family<OfPolicy, Gauge>,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> Self {
        let seconds = [
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ];
        let mut all = Self {
            registry: Registry::with_prefix(PREFIX),
            reconciles: Family::default(),
            duration: Histogram::new(seconds),
            ready: Family::default(),
            objects: Family::default(),
            unhealthy: Family::default(),
            last_success: Family::default(),
            writes: Family::default(),
            corrections: Family::default(),
            correction_duration: Histogram::new(seconds),
            held: Family::default(),
            hooks: Family::default(),
            watches: Gauge::default(),
            proofs: Family::default(),
            unproved: Family::default(),
        };
        let registry = &mut all.registry;
        registry.register(
            "reconciles",
            "Reconciliations by Sync and reason of the Ready condition",
            all.reconciles.clone(),
        );
        registry.register("ready", "1 if the Sync is ready", all.ready.clone());
        registry.register("objects", "Objects that the Sync owns", all.objects.clone());
        registry.register(
            "unhealthy_objects",
            "Objects of the Sync that are not healthy",
            all.unhealthy.clone(),
        );
        registry.register(
            "writes",
            "Writes to objects by verb and outcome",
            all.writes.clone(),
        );
        registry.register(
            "drift_corrections",
            "Foreign changes that were undone",
            all.corrections.clone(),
        );
        registry.register(
            "drift_held_objects",
            "Objects that are left alone for a while because another writer keeps changing them",
            all.held.clone(),
        );
        registry.register("webhooks", "Webhook calls by outcome", all.hooks.clone());
        registry.register("watches", "Watches that run", all.watches.clone());
        registry.register(
            "upgrade_proofs",
            "Proofs of upgrades by policy and result",
            all.proofs.clone(),
        );
        registry.register(
            "upgrade_unproved",
            "1 if the latest upgrade is not proved and nobody has acknowledged that",
            all.unproved.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconciliation, from trigger to the end of the apply",
            Unit::Seconds,
            all.duration.clone(),
        );
        registry.register_with_unit(
            "drift_correction_duration",
            "Time from the watch event to the answer of the apply",
            Unit::Seconds,
            all.correction_duration.clone(),
        );
        registry.register_with_unit(
            "last_success_timestamp",
            "Unix time of the last successful reconciliation",
            Unit::Seconds,
            all.last_success.clone(),
        );
        all
    }

    /// A reconciliation ended.
    pub(crate) fn reconciled(&self, sync: &str, reason: &'static str, seconds: f64) {
        self.reconciles
            .get_or_create(&SyncOutcome {
                sync: sync.to_owned(),
                reason,
            })
            .inc();
        self.duration.observe(seconds);
    }

    /// How a Sync stands.
    pub(crate) fn standing(&self, sync: &str, ready: bool, objects: usize, unhealthy: usize) {
        let label = OfSync {
            sync: sync.to_owned(),
        };
        self.ready.get_or_create(&label).set(i64::from(ready));
        self.objects
            .get_or_create(&label)
            .set(i64::try_from(objects).unwrap_or(i64::MAX));
        self.unhealthy
            .get_or_create(&label)
            .set(i64::try_from(unhealthy).unwrap_or(i64::MAX));
    }

    /// A reconciliation succeeded at this Unix time.
    pub(crate) fn succeeded(&self, sync: &str, unix_seconds: i64) {
        self.last_success
            .get_or_create(&OfSync {
                sync: sync.to_owned(),
            })
            .set(unix_seconds);
    }

    /// A Sync is gone.
    pub(crate) fn forget(&self, sync: &str) {
        let label = OfSync {
            sync: sync.to_owned(),
        };
        for family in [
            &self.ready,
            &self.objects,
            &self.unhealthy,
            &self.last_success,
            &self.held,
        ] {
            family.remove(&label);
        }
        self.corrections.remove(&label);
    }

    /// An object was written.
    pub(crate) fn wrote(&self, verb: Verb, outcome: Outcome) {
        self.writes.get_or_create(&Write { verb, outcome }).inc();
    }

    /// A foreign change was undone.
    pub(crate) fn corrected(&self, sync: &str, seconds: f64) {
        self.corrections
            .get_or_create(&OfSync {
                sync: sync.to_owned(),
            })
            .inc();
        self.correction_duration.observe(seconds);
    }

    /// Number of objects that are left alone for now.
    pub(crate) fn held(&self, sync: &str, objects: usize) {
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.held
            .get_or_create(&OfSync {
                sync: sync.to_owned(),
            })
            .set(objects);
    }

    /// A webhook was called.
    pub(crate) fn hook(&self, outcome: Hook) {
        self.hooks.get_or_create(&HookCall { outcome }).inc();
    }

    /// The proof of an upgrade has come to a result.
    pub(crate) fn proof(&self, policy: &str, result: ProofResult) {
        let policy = policy.to_owned();
        self.proofs.get_or_create(&ProofOf { policy, result }).inc();
    }

    /// Whether the latest upgrade has a proof that failed.
    pub(crate) fn unproved(&self, policy: &str, failed: bool) {
        let policy = policy.to_owned();
        self.unproved
            .get_or_create(&OfPolicy { policy })
            .set(i64::from(failed));
    }

    /// An upgrade policy is gone.
    pub(crate) fn forget_policy(&self, policy: &str) {
        let policy = policy.to_owned();
        self.unproved.remove(&OfPolicy { policy });
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self, watches: usize) -> Result<String, std::fmt::Error> {
        self.watches.set(i64::try_from(watches).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dashboards_use() {
        let metrics = Metrics::new();
        metrics.reconciled("a", "ReconciliationSucceeded", 0.1);
        metrics.standing("a", true, 3, 0);
        metrics.succeeded("a", 1);
        metrics.wrote(Verb::Apply, Outcome::Done);
        metrics.corrected("a", 0.01);
        metrics.held("a", 0);
        metrics.hook(Hook::Accepted);
        metrics.proof("immudb", ProofResult::Refuted);
        metrics.unproved("immudb", true);
        let text = metrics.text(2).unwrap();
        for line in [
            r#"immuops_agent_reconciles_total{sync="a",reason="ReconciliationSucceeded"} 1"#,
            r#"immuops_agent_ready{sync="a"} 1"#,
            r#"immuops_agent_objects{sync="a"} 3"#,
            r#"immuops_agent_unhealthy_objects{sync="a"} 0"#,
            r#"immuops_agent_last_success_timestamp_seconds{sync="a"} 1"#,
            r#"immuops_agent_writes_total{verb="Apply",outcome="Done"} 1"#,
            r#"immuops_agent_drift_corrections_total{sync="a"} 1"#,
            r#"immuops_agent_drift_held_objects{sync="a"} 0"#,
            r#"immuops_agent_webhooks_total{outcome="Accepted"} 1"#,
            r#"immuops_agent_upgrade_proofs_total{policy="immudb",result="Refuted"} 1"#,
            r#"immuops_agent_upgrade_unproved{policy="immudb"} 1"#,
            "immuops_agent_watches 2",
            "immuops_agent_reconcile_duration_seconds_count 1",
            "immuops_agent_drift_correction_duration_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_sync_that_is_gone_is_forgotten() {
        let metrics = Metrics::new();
        metrics.standing("gone", true, 3, 0);
        metrics.forget("gone");
        assert!(!metrics.text(0).unwrap().contains("gone"));
    }
}
