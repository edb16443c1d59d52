//! Whether an object does what git asked for, judged from the object itself.
//!
//! The rules are those of kstatus (what `kubectl wait`, Flux and cli-utils agree on), except where they are known to be wrong:
//! a claim that waits for its pod does not block that pod, containers that cannot start fail at once instead of at the
//! timeout, a resource nobody has looked at yet is not healthy, and a failed pod is a failure.

mod api;
mod gateway;
mod pod;
mod storage;
mod view;
mod workload;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::ObjectId;
use view::View;

/// State of one object, or of many together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It is what git asked for.
    Current,
    /// It is on its way.
    InProgress {
        /// What it waits for.
        reason: String,
    },
    /// It will not get there by itself, or not soon.
    Failed {
        /// What is wrong.
        reason: String,
    },
    /// It is being deleted.
    Terminating,
    /// It cannot be judged.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What is known beside the object itself. `HealthContext::default()` knows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct HealthContext<'a> {
    /// The present; needed for pods that cannot be scheduled.
    pub now: Timestamp,
    /// Generation our apply returned: an older object is one from before it, whatever it says.
    pub applied_generation: Option<i64>,
    /// Pods that a workload's selector selects, if they were listed.
    pub pods: Option<&'a [Value]>,
    /// When the storage class of a claim binds volumes, if known.
    pub binding_mode: Option<BindingMode>,
    /// Whether somebody is to write a status to a custom resource, from its definition.
    pub status: StatusSubresource,
    /// Whether somebody is to give a `Service` of type `LoadBalancer` or an `Ingress` an address.
    pub address: Address,
}

/// `volumeBindingMode` of a storage class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingMode {
    /// A claim is bound when it is created.
    Immediate,
    /// A claim is bound when a pod uses it.
    WaitForFirstConsumer,
}

/// Whether a kind has a status subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusSubresource {
    /// Not known.
    #[default]
    Unknown,
    /// It has not: nobody will write a status.
    Absent,
    /// It has: no status means nobody looked yet.
    Present,
}

/// Whether an address will be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Address {
    /// Not known, or nobody does: small clusters have no load balancers.
    #[default]
    NotExpected,
    /// A controller is known to publish one.
    Expected,
}

impl Health {
    fn progress(reason: impl Into<String>) -> Self {
        Self::InProgress {
            reason: reason.into(),
        }
    }

    fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
        }
    }
}

/// Judges one object as the server returned it.
///
/// ```
/// use plan::health::{Health, HealthContext, assess};
/// use serde_json::json;
///
/// let claim = json!({
///     "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
///     "status": {"phase": "Bound"},
/// });
/// assert_eq!(assess(&claim, &HealthContext::default()), Health::Current);
/// ```
pub fn assess(object: &Value, context: &HealthContext<'_>) -> Health {
    let view = View::new(object);
    let (Some(api_version), Some(kind)) = (view.text("/apiVersion"), view.text("/kind")) else {
        return Health::Unknown {
            reason: "it has no apiVersion or kind".to_owned(),
        };
    };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if let Some(health) = before_kind(view, context) {
        return health;
    }
    match (group, kind) {
        ("apps", "Deployment") => workload::deployment(view, context),
        ("apps", "StatefulSet") => workload::stateful_set(view, context),
        ("apps", "DaemonSet") => workload::daemon_set(view, context),
        ("apps", "ReplicaSet") => workload::replica_set(view, context),
        ("batch", "Job") => workload::job(view, context),
        ("", "Pod") => pod::pod(view, context.now),
        ("", "PersistentVolumeClaim") => storage::claim(view, context.binding_mode),
        ("", "PersistentVolume") => storage::volume(view),
        ("", "Namespace") => api::namespace(view),
        ("", "Service") => api::service(view, context.address),
        ("networking.k8s.io", "Ingress") => api::ingress(view, context.address),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => api::definition(view),
        ("apiregistration.k8s.io", "APIService") => api::api_service(view),
        ("gateway.networking.k8s.io", "GatewayClass") => gateway::class(view),
        ("gateway.networking.k8s.io", "Gateway") => gateway::gateway(view),
        ("gateway.networking.k8s.io", kind) if kind.ends_with("Route") => gateway::route(view),
        ("" | "batch" | "policy" | "rbac.authorization.k8s.io", _) => Health::Current,
        _ => resource(view, context.status),
    }
}

/// What goes for every kind. The order matters; the first hit wins.
fn before_kind(view: View<'_>, context: &HealthContext<'_>) -> Option<Health> {
    if view.has("/metadata/deletionTimestamp") {
        return Some(Health::Terminating);
    }
    let generation = view.integer("/metadata/generation");
    if generation
        .zip(context.applied_generation)
        .is_some_and(|(seen, applied)| seen < applied)
    {
        return Some(Health::progress("the applied change was not seen yet"));
    }
    let observed = view.integer("/status/observedGeneration");
    if generation
        .zip(observed)
        .is_some_and(|(generation, observed)| generation != observed)
    {
        return Some(Health::progress(
            "its controller has not looked at the last change yet",
        ));
    }
    if let Some(reconciling) = view
        .condition("Reconciling")
        .filter(|found| found.is_true())
    {
        return Some(Health::progress(reconciling.text()));
    }
    let stalled = view.condition("Stalled").filter(|found| found.is_true());
    stalled.map(|stalled| Health::failed(stalled.text()))
}

/// Any other kind: the condition `Ready`, if it has one.
fn resource(view: View<'_>, status: StatusSubresource) -> Health {
    match view.condition("Ready") {
        Some(ready) if ready.is_true() => Health::Current,
        Some(ready) => Health::progress(ready.text()),
        None if status == StatusSubresource::Present && !view.has("/status") => {
            Health::progress("nobody has written its status yet")
        }
        None => Health::Current,
    }
}

/// How many objects a reason names.
const NAMED: usize = 3;

/// Judges many objects together: any failure is a failure, then any unknown, then everything has to be current. The reason
/// names the first few objects, in the order given.
pub fn aggregate<'a>(objects: impl IntoIterator<Item = (&'a ObjectId, &'a Health)>) -> Health {
    let (mut failed, mut unknown, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for (id, health) in objects {
        match health {
            Health::Current => {}
            Health::Failed { reason } => failed.push((id, reason.as_str())),
            Health::Unknown { reason } => unknown.push((id, reason.as_str())),
            Health::InProgress { reason } => waiting.push((id, reason.as_str())),
            Health::Terminating => waiting.push((id, "it is being deleted")),
        }
    }
    if !failed.is_empty() {
        Health::Failed {
            reason: name(&failed),
        }
    } else if !unknown.is_empty() {
        Health::Unknown {
            reason: name(&unknown),
        }
    } else if !waiting.is_empty() {
        Health::InProgress {
            reason: name(&waiting),
        }
    } else {
        Health::Current
    }
}

fn name(objects: &[(&ObjectId, &str)]) -> String {
    let named = objects
        .iter()
        .take(NAMED)
        .map(|(id, reason)| format!("{id}: {reason}"));
    let more = objects.len().saturating_sub(NAMED);
    let rest = (more > 0).then(|| format!("and {more} more"));
    named.chain(rest).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
