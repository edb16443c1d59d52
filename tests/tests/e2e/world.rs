//! The one cluster, made by the first trial that needs it, and how to ask it.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use tests::cluster::Cluster;
use tests::edge::Edge;
use tests::host_state::HostState;
use tests::wait;
use tests::working_copy::WorkingCopy;

/// A cluster's first start with a warm bundle, on two busy cores.
pub(crate) const SETTLE: Duration = Duration::from_mins(4);
/// A pushed commit until it is applied: webhook and apply take less than a second; the rest is a
/// busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// What all trials share.
#[derive(Debug)]
pub(crate) struct World {
    made: OnceLock<Result<Made, String>>,
}

/// The cluster and a person's clone of its repository.
#[derive(Debug)]
pub(crate) struct Made {
    /// The host before the cluster was made.
    pub(crate) before: HostState,
    /// What `bootstrap up` printed.
    pub(crate) printed: String,
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// A clone of the repository it follows.
    pub(crate) copy: WorkingCopy,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            made: OnceLock::new(),
        }
    }

    /// The cluster; made now if this is the first time.
    pub(crate) fn made(&self) -> Result<&Made> {
        let made = self
            .made
            .get_or_init(|| Made::new().map_err(|error| format!("{error:?}")));
        made.as_ref()
            .map_err(|error| anyhow!("there is no cluster to test: {error}"))
    }

    /// Removes the cluster if a trial left it.
    pub(crate) fn end(&self) {
        if let Some(Ok(made)) = self.made.get() {
            drop(made.cluster.down());
        }
    }
}

impl Made {
    fn new() -> Result<Self> {
        let cluster = Cluster::new("e2e")?;
        let before = HostState::read()?;
        let made = cluster.up(&["--nodes", "2"]).and_then(|printed| {
            let copy = WorkingCopy::of_built_in_forge(&cluster)?;
            Ok((printed, copy))
        });
        match made {
            Ok((printed, copy)) => Ok(Self {
                before,
                printed,
                cluster,
                copy,
            }),
            Err(error) => {
                let trace = cluster.diagnosis();
                drop(cluster.down());
                Err(error.context(trace))
            }
        }
    }

    /// The edge, as somebody outside uses it.
    pub(crate) fn edge(&self) -> Result<Edge> {
        Edge::of(&self.cluster)
    }

    /// Takes the replica away for as long as the result lives: its node accepts no pods, so that the
    /// pod that is deleted cannot come back, and nothing that git says is changed.
    pub(crate) fn replica_away(&self) -> Result<ReplicaAway<'_>> {
        let pod = ["-n", "immudb", "get", "pod", "immudb-replica-0"];
        let node = text(&self.cluster.json(&pod)?, "/spec/nodeName");
        self.cluster.run(&["cordon", &node])?;
        let away = ReplicaAway { made: self, node };
        self.cluster.run(&[
            "-n",
            "immudb",
            "delete",
            "pod",
            "immudb-replica-0",
            "--grace-period=0",
            "--force",
        ])?;
        Ok(away)
    }

    /// The Sync `name` as the API server has it.
    pub(crate) fn sync(&self, name: &str) -> Result<Value> {
        self.cluster
            .json(&["-n", "immuops-system", "get", "syncs.immuops.dev", name])
    }

    /// Waits until the Sync `name` has applied `commit` and is healthy there.
    pub(crate) fn applied(&self, name: &str, commit: &str) -> Result<()> {
        wait::until(&format!("Sync {name} to apply {commit}"), SOON, || {
            let sync = self.sync(name)?;
            let revision = text(&sync, "/status/lastAppliedRevision");
            let (ready, reason, message) = condition(&sync, "Ready")?;
            wait::ensure(revision.ends_with(commit) && ready == "True", || {
                format!("it is at {revision}, Ready is {ready} ({reason}: {message})")
            })
        })
    }

    /// Waits until the Sync `name` refuses `commit`, and gives the message of its condition Ready.
    pub(crate) fn refused(&self, name: &str, commit: &str) -> Result<String> {
        wait::until(&format!("Sync {name} to refuse {commit}"), SOON, || {
            let sync = self.sync(name)?;
            let attempted = text(&sync, "/status/lastAttemptedRevision");
            let (ready, reason, message) = condition(&sync, "Ready")?;
            wait::ensure(attempted.ends_with(commit) && ready == "False", || {
                format!("it attempted {attempted}, Ready is {ready} ({reason}: {message})")
            })?;
            Ok(message)
        })
    }

    /// A value of a `ConfigMap`, or what is wrong.
    pub(crate) fn config_value(&self, namespace: &str, name: &str, key: &str) -> Result<String> {
        let map = self
            .cluster
            .json(&["-n", namespace, "get", "configmap", name])?;
        Ok(text(&map, &format!("/data/{key}")))
    }

    /// Waits until a `ConfigMap` has `value`.
    pub(crate) fn config_becomes(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<()> {
        wait::until(
            &format!("ConfigMap {namespace}/{name} to have {key}={value}"),
            SOON,
            || {
                let found = self.config_value(namespace, name, key)?;
                wait::ensure(found == value, || format!("it has {key}={found}"))
            },
        )
    }

    /// Whether an object exists.
    pub(crate) fn exists(&self, namespace: &str, object: &str) -> Result<bool> {
        let arguments = [
            "-n",
            namespace,
            "get",
            object,
            "--ignore-not-found",
            "-o",
            "name",
        ];
        Ok(!self.cluster.run(&arguments)?.trim().is_empty())
    }
}

/// The replica while it cannot run.
#[derive(Debug)]
pub(crate) struct ReplicaAway<'a> {
    made: &'a Made,
    node: String,
}

impl ReplicaAway<'_> {
    /// Lets it come back and waits until it is ready.
    pub(crate) fn back(self) -> Result<()> {
        let cluster = &self.made.cluster;
        cluster.run(&["uncordon", &self.node])?;
        wait::until("the replica to be ready again", SETTLE, || {
            let pod = cluster.json(&["-n", "immudb", "get", "pod", "immudb-replica-0"])?;
            let (ready, _, message) = condition(&pod, "Ready")?;
            wait::ensure(ready == "True", || format!("it is not ready: {message}"))
        })
    }
}

impl Drop for ReplicaAway<'_> {
    /// A trial that failed must not leave the others without a replica.
    fn drop(&mut self) {
        drop(self.made.cluster.run(&["uncordon", &self.node]));
    }
}

/// The text at a JSON pointer, empty when there is none.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Status, reason and message of a condition.
pub(crate) fn condition(object: &Value, kind: &str) -> Result<(String, String, String)> {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let Some(found) = conditions
        .into_iter()
        .flatten()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
    else {
        bail!("it has no condition {kind} yet");
    };
    Ok((
        text(found, "/status"),
        text(found, "/reason"),
        text(found, "/message"),
    ))
}
