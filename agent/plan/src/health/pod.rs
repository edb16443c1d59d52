//! Pods: alone, and as the reason why a workload does not get anywhere.

use jiff::{SignedDuration, Timestamp};

use super::Health;
use super::view::{Condition, View};

/// How long a pod may be unschedulable before that is a failure: nodes and volumes come up slowly.
const SCHEDULING: SignedDuration = SignedDuration::from_secs(15);

/// Reasons of a waiting container that do not go away by waiting.
const STUCK: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// A pod that git declares.
pub(super) fn pod(pod: View<'_>, now: Timestamp) -> Health {
    let ready = pod.condition("Ready");
    match pod.text("/status/phase") {
        Some("Succeeded") => Health::Current,
        Some("Failed") => Health::failed(failure_text(pod)),
        Some("Running") if ready.is_some_and(Condition::is_true) => Health::Current,
        Some(_) | None => match stuck_container(pod).or_else(|| unschedulable(pod, now)) {
            Some(reason) => Health::failed(reason),
            None => Health::progress(match pod.text("/status/phase") {
                Some("Running") => "not every container is ready",
                Some(_) | None => "it has not started yet",
            }),
        },
    }
}

/// Why a pod of a workload keeps that workload back, if it does for good. A pod being deleted does not, and one that cannot
/// be scheduled may have to wait for an older one to go.
pub(super) fn obstacle(pod: View<'_>) -> Option<String> {
    if pod.has("/metadata/deletionTimestamp") {
        return None;
    }
    // With a reason (Evicted, NodeShutdown, ...) it is the node's doing, and the controller makes another pod.
    let failed = pod.text("/status/phase") == Some("Failed") && !pod.has("/status/reason");
    let reason = if failed {
        Some(failure_text(pod))
    } else {
        stuck_container(pod)
    };
    let name = pod.text("/metadata/name").unwrap_or("without name");
    reason.map(|reason| format!("pod {name}: {reason}"))
}

fn failure_text(pod: View<'_>) -> String {
    if let Some(text) = pod
        .text("/status/message")
        .or_else(|| pod.text("/status/reason"))
    {
        return text.to_owned();
    }
    let ended = containers(pod).find_map(|container| {
        let code = container
            .integer("/state/terminated/exitCode")
            .filter(|code| *code != 0)?;
        Some(format!(
            "container {} ended with exit code {code}",
            name(container)
        ))
    });
    ended.unwrap_or_else(|| "the pod failed".to_owned())
}

fn stuck_container(pod: View<'_>) -> Option<String> {
    containers(pod).find_map(|container| {
        let reason = container
            .text("/state/waiting/reason")
            .filter(|reason| STUCK.contains(reason))?;
        let detail = match container.integer("/lastState/terminated/exitCode") {
            Some(code) => format!(", it ended with exit code {code}"),
            None => match container.text("/state/waiting/message") {
                Some(message) => format!(": {message}"),
                None => String::new(),
            },
        };
        Some(format!("container {}: {reason}{detail}", name(container)))
    })
}

fn containers(pod: View<'_>) -> impl Iterator<Item = View<'_>> {
    let init = pod.items("/status/initContainerStatuses");
    init.chain(pod.items("/status/containerStatuses"))
}

fn name(container: View<'_>) -> &str {
    container.text("/name").unwrap_or("without name")
}

fn unschedulable(pod: View<'_>, now: Timestamp) -> Option<String> {
    let scheduled = pod.condition("PodScheduled")?;
    if !scheduled.is_false() || scheduled.reason() != "Unschedulable" {
        return None;
    }
    let created: Timestamp = pod.text("/metadata/creationTimestamp")?.parse().ok()?;
    (now.duration_since(created) > SCHEDULING).then(|| scheduled.text())
}
