//! Controllers of pods.

use serde_json::Value;

use super::view::{Condition, View};
use super::{Health, HealthContext, pod};

/// `progressDeadlineSeconds` that means there is none.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// A deployment.
pub(super) fn deployment(deployment: View<'_>, context: &HealthContext<'_>) -> Health {
    let progressing = deployment.condition("Progressing");
    if let Some(late) = progressing.filter(|found| found.reason() == "ProgressDeadlineExceeded") {
        let pod = context
            .pods
            .and_then(|pods| newest_obstacle(pods, "pod-template-hash"));
        return Health::failed(pod.unwrap_or_else(|| late.text()));
    }
    let wanted = deployment.integer("/spec/replicas").unwrap_or(1);
    let [replicas, updated, available, ready] = counts(
        deployment,
        [
            "replicas",
            "updatedReplicas",
            "availableReplicas",
            "readyReplicas",
        ],
    );
    let deadline = deployment
        .integer("/spec/progressDeadlineSeconds")
        .unwrap_or(NO_DEADLINE);
    let rolled_out = deadline >= NO_DEADLINE
        || progressing
            .is_some_and(|found| found.is_true() && found.reason() == "NewReplicaSetAvailable");
    let waits = if let Some(unseen) = unseen(deployment) {
        unseen
    } else if replicas < wanted {
        of(replicas, wanted, "replicas exist")
    } else if updated < wanted && deployment.is_true("/spec/paused") {
        format!(
            "it is paused, {}",
            of(updated, wanted, "replicas are updated")
        )
    } else if updated < wanted {
        of(updated, wanted, "replicas are updated")
    } else if replicas > wanted {
        surplus(replicas, wanted)
    } else if available < updated {
        of(available, updated, "updated replicas are available")
    } else if ready < wanted {
        of(ready, wanted, "replicas are ready")
    } else if !rolled_out {
        "the new replicas are not rolled out yet".to_owned()
    } else if !deployment
        .condition("Available")
        .is_some_and(Condition::is_true)
    {
        "it is not available yet".to_owned()
    } else {
        return Health::Current;
    };
    let pod = context
        .pods
        .and_then(|pods| newest_obstacle(pods, "pod-template-hash"));
    pod.map_or(Health::InProgress { reason: waits }, Health::failed)
}

/// A stateful set.
pub(super) fn stateful_set(set: View<'_>, context: &HealthContext<'_>) -> Health {
    let wanted = set.integer("/spec/replicas").unwrap_or(1);
    let [replicas, ready, updated, current] = counts(
        set,
        [
            "replicas",
            "readyReplicas",
            "updatedReplicas",
            "currentReplicas",
        ],
    );
    let available = set.integer("/status/availableReplicas");
    let on_delete = set.text("/spec/updateStrategy/type") == Some("OnDelete");
    let partition = set.integer("/spec/updateStrategy/rollingUpdate/partition");
    let waits = if let Some(unseen) = unseen(set) {
        unseen
    } else if replicas < wanted {
        of(replicas, wanted, "replicas exist")
    } else if ready < wanted {
        of(ready, wanted, "replicas are ready")
    } else if available.is_some_and(|available| available < wanted) {
        of(available.unwrap_or(0), wanted, "replicas are available")
    } else if replicas > wanted {
        surplus(replicas, wanted)
    } else if on_delete {
        return Health::Current;
    } else if let Some(partition) = partition {
        if updated >= wanted.saturating_sub(partition) {
            return Health::Current;
        }
        of(
            updated,
            wanted.saturating_sub(partition),
            "replicas are updated",
        )
    } else if current < wanted {
        of(current, wanted, "replicas are updated")
    } else if set.text("/status/currentRevision") != set.text("/status/updateRevision") {
        "the update is not complete yet".to_owned()
    } else {
        return Health::Current;
    };
    let pods = context.pods.unwrap_or_default();
    let stuck = pods
        .iter()
        .find_map(|pod| stateful_obstacle(set, View::new(pod)));
    stuck.map_or(Health::InProgress { reason: waits }, Health::failed)
}

/// Under `OrderedReady` a broken pod of an old revision is not replaced: the controller waits for it to become ready
/// (kubernetes issue 67250).
fn stateful_obstacle(set: View<'_>, pod: View<'_>) -> Option<String> {
    let obstacle = pod::obstacle(pod)?;
    let update = set.text("/status/updateRevision");
    let of_update = pod.text("/metadata/labels/controller-revision-hash") == update;
    let ordered = set.text("/spec/podManagementPolicy") != Some("Parallel");
    if update.is_none() || of_update {
        return Some(obstacle);
    }
    ordered.then(|| {
        let name = pod.text("/metadata/name").unwrap_or_default();
        let namespace = pod.text("/metadata/namespace").unwrap_or_default();
        format!(
            "{obstacle}; it is of the revision before and blocks the update\n\
             hint: kubectl delete pod -n {namespace} {name}"
        )
    })
}

/// A daemon set.
pub(super) fn daemon_set(set: View<'_>, context: &HealthContext<'_>) -> Health {
    let Some(wanted) = set.integer("/status/desiredNumberScheduled") else {
        return Health::progress("its controller has not counted nodes yet");
    };
    let [scheduled, updated, available, ready] = counts(
        set,
        [
            "currentNumberScheduled",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberReady",
        ],
    );
    let on_delete = set.text("/spec/updateStrategy/type") == Some("OnDelete");
    let waits = if let Some(unseen) = unseen(set) {
        unseen
    } else if scheduled < wanted {
        of(scheduled, wanted, "pods exist")
    } else if updated < wanted && !on_delete {
        of(updated, wanted, "pods are updated")
    } else if available < wanted {
        of(available, wanted, "pods are available")
    } else if ready < wanted {
        of(ready, wanted, "pods are ready")
    } else {
        return Health::Current;
    };
    let pod = context
        .pods
        .and_then(|pods| newest_obstacle(pods, "controller-revision-hash"));
    pod.map_or(Health::InProgress { reason: waits }, Health::failed)
}

/// A replica set of its own.
pub(super) fn replica_set(set: View<'_>, context: &HealthContext<'_>) -> Health {
    let wanted = set.integer("/spec/replicas").unwrap_or(1);
    let [replicas, labelled, available, ready] = counts(
        set,
        [
            "replicas",
            "fullyLabeledReplicas",
            "availableReplicas",
            "readyReplicas",
        ],
    );
    let failure = set
        .condition("ReplicaFailure")
        .filter(|failure| failure.is_true());
    let waits = if let Some(unseen) = unseen(set) {
        unseen
    } else if let Some(failure) = failure {
        failure.text()
    } else if labelled < wanted {
        of(labelled, wanted, "replicas exist")
    } else if available < wanted {
        of(available, wanted, "replicas are available")
    } else if ready < wanted {
        of(ready, wanted, "replicas are ready")
    } else if replicas > wanted {
        surplus(replicas, wanted)
    } else {
        return Health::Current;
    };
    let pods = context.pods.unwrap_or_default();
    let stuck = pods.iter().map(View::new).find_map(pod::obstacle);
    stuck.map_or(Health::InProgress { reason: waits }, Health::failed)
}

/// A job. Running is not done; suspended is what git asked for.
pub(super) fn job(job: View<'_>, context: &HealthContext<'_>) -> Health {
    let is_true = |kind| job.condition(kind).filter(|condition| condition.is_true());
    if let Some(failed) = is_true("Failed") {
        return Health::failed(failed.text());
    }
    if is_true("Complete").is_some() || job.is_true("/spec/suspend") {
        return Health::Current;
    }
    if !job.has("/status/startTime") {
        return Health::progress("it has not started yet");
    }
    // A failed pod is counted by the job itself, against its back-off limit; one that never starts is not.
    let pods = context.pods.unwrap_or_default().iter().map(View::new);
    let mut started = pods.filter(|pod| pod.text("/status/phase") != Some("Failed"));
    let stuck = started.find_map(pod::obstacle);
    stuck.map_or_else(|| Health::progress("it is running"), Health::failed)
}

fn counts<const N: usize>(view: View<'_>, fields: [&str; N]) -> [i64; N] {
    fields.map(|field| view.count(&format!("/status/{field}")))
}

fn of(count: i64, wanted: i64, what: &str) -> String {
    format!("{count} of {wanted} {what}")
}

fn surplus(count: i64, wanted: i64) -> String {
    format!("{count} replicas exist, {wanted} are wanted")
}

/// A workload always gets an `observedGeneration`; without one, its counters are not yet about anything.
fn unseen(view: View<'_>) -> Option<String> {
    let seen = view.has("/status/observedGeneration");
    (!seen).then(|| "its controller has not looked at it yet".to_owned())
}

/// The obstacle of a pod of the newest template. Broken pods of an older one are what an update replaces.
fn newest_obstacle(pods: &[Value], template_label: &str) -> Option<String> {
    let path = format!("/metadata/labels/{template_label}");
    let pods = || pods.iter().map(View::new);
    // RFC 3339 in UTC with whole seconds, as the server writes it, sorts as text.
    let newest = pods().max_by_key(|pod| pod.text("/metadata/creationTimestamp"))?;
    let template = newest.text(&path);
    pods()
        .filter(|pod| pod.text(&path) == template)
        .find_map(pod::obstacle)
}
