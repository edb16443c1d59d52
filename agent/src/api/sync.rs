//! `Sync`: one git source and one path in it, kept equal to one set of objects in the cluster.
//!
//! The fields have Flux's names where Flux has the same idea (there it takes a `GitRepository` and a
//! `Kustomization`), so that its users need not learn new words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::period::Period;

/// What to keep equal to what.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "immuops.dev",
    version = "v1alpha1",
    kind = "Sync",
    plural = "syncs",
    doc = "Keeps the objects of one path of a git repository applied to this cluster.",
    category = "immuops",
    namespaced,
    status = "SyncStatus",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name": "Revision", "type": "string", "jsonPath": ".status.lastAppliedRevision"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.source) != has(self.sourceRef)",
        "message": "set exactly one of source and sourceRef"
    }
]))]
pub(crate) struct SyncSpec {
    /// The git repository to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
    /// Another Sync of the same namespace whose source is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_ref: Option<LocalName>,
    /// Directory in the repository. It holds a kustomization.yaml, or YAML files that are all taken.
    #[serde(default = "default_path")]
    #[schemars(length(max = 1024))]
    pub(crate) path: String,
    /// How often the repository is asked for a new revision.
    #[serde(default = "default_interval")]
    pub(crate) interval: Period,
    /// How long to wait after a failure; the interval if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_interval: Option<Period>,
    /// How long a fetch may take, and how long objects may take to become healthy.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Period,
    /// Delete objects that have left the repository.
    #[serde(default)]
    pub(crate) prune: bool,
    /// Ready only when every object is healthy; pruning then waits for that as well.
    #[serde(default)]
    pub(crate) wait: bool,
    /// Leave the cluster as it is.
    #[serde(default)]
    pub(crate) suspend: bool,
    /// Syncs of the same namespace that must be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub(crate) depends_on: Vec<LocalName>,
    /// Put every namespaced object into this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub(crate) target_namespace: Option<String>,
    /// Objects that hold data and may be pruned all the same, each named as
    /// `PersistentVolumeClaim shop/data` or `Namespace shop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub(crate) prune_consent: Vec<String>,
    /// How many objects one sync may prune: a number, or a share of the inventory such as `50%`.
    /// If absent, half of the inventory and at least 5, but never all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prune_limit: Option<String>,
    /// What happens to the objects when this Sync is deleted.
    #[serde(default)]
    pub(crate) deletion_policy: DeletionPolicy,
}

/// A git repository and what to read of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Source {
    /// `https://` or `http://` address of the repository.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://"))]
    pub(crate) url: String,
    /// What to read; the default branch of the server if absent.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<GitReference>,
    /// Secret of this namespace with `username` and `password`, or `bearerToken`; and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_ref: Option<LocalName>,
    /// Accept revisions that do not descend from the applied one (force-pushed branches).
    #[serde(default)]
    pub(crate) allow_rewind: bool,
}

/// What to read of a repository. Of several, the last one in this order counts:
/// branch, tag, semver, name, commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct GitReference {
    /// Branch name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) branch: Option<String>,
    /// Tag name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// Range of versions; the highest tag in it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) semver: Option<String>,
    /// Full reference name, as `refs/heads/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Commit id of 40 hexadecimal digits, reachable from `branch` if that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{40}$"))]
    pub(crate) commit: Option<String>,
}

/// The name of an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LocalName {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub(crate) name: String,
}

/// What happens to the objects of a deleted Sync. Kinds that hold data stay in any case, unless
/// `pruneConsent` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum DeletionPolicy {
    /// Delete them if `prune` is set, leave them otherwise.
    #[default]
    MirrorPrune,
    /// Delete them.
    Delete,
    /// Delete them and wait until they are gone.
    WaitForTermination,
    /// Leave them.
    Orphan,
}

/// What the agent saw and did last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SyncStatus {
    /// Ready, Healthy, and Reconciling or Stalled while they are true.
    #[serde(default)]
    #[schemars(schema_with = "conditions_schema")]
    pub(crate) conditions: Vec<Condition>,
    /// Generation of the spec that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed_generation: Option<i64>,
    /// Revision that was tried last, as `main@sha1:<40 hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_attempted_revision: Option<String>,
    /// Revision that was applied completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_applied_revision: Option<String>,
    /// Revision whose objects were all healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_healthy_revision: Option<String>,
    /// Last value of the annotation `reconcile.immuops.dev/requestedAt` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_handled_reconcile_at: Option<String>,
    /// The Inventory that lists what this Sync owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inventory: Option<InventoryReference>,
    /// Foreign changes that were undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) drift: Option<DriftStatus>,
    /// The last five different results, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<HistoryEntry>,
}

/// Where the inventory is and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InventoryReference {
    /// Name of the Inventory in the same namespace.
    pub(crate) name: String,
    /// Number of objects in it.
    pub(crate) entries: u32,
}

/// The last foreign change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DriftStatus {
    /// The object that was changed.
    pub(crate) object: String,
    /// Who changed it, as far as the server recorded it.
    pub(crate) by: String,
    /// When it was corrected, in RFC 3339.
    pub(crate) corrected_at: String,
    /// Corrections since the agent started.
    pub(crate) corrections: u64,
}

/// One result of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryEntry {
    /// Revision that was tried.
    pub(crate) revision: String,
    /// sha256 over everything that was rendered; empty if rendering failed.
    pub(crate) digest: String,
    /// Reason of the Ready condition.
    pub(crate) status: String,
    /// First time of this result, in RFC 3339.
    pub(crate) first_reconciled: String,
    /// Latest time of this result, in RFC 3339.
    pub(crate) last_reconciled: String,
    /// How long the latest one took, from the trigger to the end of the apply.
    pub(crate) last_duration: String,
    /// How often in a row.
    pub(crate) total: u64,
}

fn default_path() -> String {
    "./".to_owned()
}

const fn default_interval() -> Period {
    Period::minutes(1)
}

const fn default_timeout() -> Period {
    Period::minutes(5)
}

/// The schema of `metav1.Condition`, as the API conventions ask for it.
pub(super) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
                "message": { "type": "string", "maxLength": 32768 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            },
        },
    })
}
