//! Looks at live objects and says how healthy they are.
//!
//! Called when a watch tells that an object changed, and every few seconds for those that are not
//! healthy yet: what keeps a workload back may show on its pods only.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams};
use plan::health::{BindingMode, Health, HealthContext, StatusSubresource, assess};
use plan::object::ObjectId;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::problem::{Problem, Secrecy};

/// Pods of one workload that are looked at; enough to name what is wrong.
const PODS: u32 = 50;

/// Kinds of the API groups that are healthy as soon as they exist.
const STILL: [(&str, &str); 20] = [
    ("", "ConfigMap"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("", "Service"),
    ("", "Endpoints"),
    ("", "LimitRange"),
    ("", "ResourceQuota"),
    ("apps", "ControllerRevision"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "CronJob"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("storage.k8s.io", "StorageClass"),
];

/// An object to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The object.
    pub(crate) id: ObjectId,
    /// API version, without the group.
    pub(crate) version: String,
    /// Generation that our apply returned.
    pub(crate) generation: Option<i64>,
}

/// Whether the health of an object can be anything but good while it exists.
pub(crate) fn varies(id: &ObjectId) -> bool {
    !STILL.iter().any(|(group, kind)| id.is(group, kind))
}

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// At the object itself.
    Object,
    /// At its pods as well, if it is not healthy.
    Pods,
}

/// Looks at objects, several at a time.
pub(crate) async fn look(
    cluster: &Cluster,
    subjects: Vec<Subject>,
    depth: Depth,
) -> BTreeMap<ObjectId, Health> {
    stream::iter(subjects)
        .map(|subject| async move {
            let health = match one(cluster, &subject, depth).await {
                Ok(health) => health,
                Err(problem) => Health::Unknown {
                    reason: problem.to_string(),
                },
            };
            (subject.id, health)
        })
        .buffer_unordered(cluster.patience().at_once())
        .collect()
        .await
}

async fn one(cluster: &Cluster, subject: &Subject, depth: Depth) -> Result<Health, Problem> {
    let Subject {
        id,
        version,
        generation,
    } = subject;
    let Some(object) = cluster.object(id, version).await? else {
        return Ok(Health::InProgress {
            reason: "it does not exist".to_owned(),
        });
    };
    let status = match cluster.kinds().resolve(&id.group, version, &id.kind).await {
        Ok(kind) => kind.status(),
        Err(_) => StatusSubresource::Unknown,
    };
    let mut context = HealthContext {
        now: Timestamp::now(),
        applied_generation: *generation,
        status,
        ..HealthContext::default()
    };
    let health = assess(&object, &context);
    if !matches!(health, Health::InProgress { .. }) {
        return Ok(health);
    }
    if id.is("", "PersistentVolumeClaim") {
        context.binding_mode = binding_mode(cluster, &object).await?;
        return Ok(assess(&object, &context));
    }
    if depth == Depth::Object {
        return Ok(health);
    }
    let Some(pods) = pods(cluster, id, &object).await? else {
        return Ok(health);
    };
    context.pods = Some(&pods);
    Ok(assess(&object, &context))
}

/// The pods of a workload, or `None` if the object has none.
async fn pods(
    cluster: &Cluster,
    id: &ObjectId,
    object: &Value,
) -> Result<Option<Vec<Value>>, Problem> {
    if !matches!(id.group.as_str(), "apps" | "batch") {
        return Ok(None);
    }
    let labels = object
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    let (Some(labels), Some(namespace)) = (labels, id.namespace.as_deref()) else {
        return Ok(None);
    };
    let selector: Vec<String> = labels
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let params = ListParams::default()
        .labels(&selector.join(","))
        .limit(PODS);
    let list = cluster.read(Secrecy::Open, api.list(&params)).await?;
    let pods = list
        .items
        .into_iter()
        .filter_map(|pod| serde_json::to_value(pod).ok())
        .collect();
    Ok(Some(pods))
}

async fn binding_mode(cluster: &Cluster, claim: &Value) -> Result<Option<BindingMode>, Problem> {
    let Some(name) = claim
        .pointer("/spec/storageClassName")
        .and_then(Value::as_str)
    else {
        return Ok(None);
    };
    let api: Api<StorageClass> = Api::all(cluster.client());
    let class = cluster.read(Secrecy::Open, api.get_opt(name)).await?;
    Ok(
        match class.and_then(|class| class.volume_binding_mode).as_deref() {
            Some("WaitForFirstConsumer") => Some(BindingMode::WaitForFirstConsumer),
            Some("Immediate") => Some(BindingMode::Immediate),
            Some(_) | None => None,
        },
    )
}
