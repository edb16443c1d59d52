//! Turns the metadata that the API server sends into the small record that the plan works with.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use plan::live::{LiveMeta, ManagerStamp, Operation, Uid};

/// Keeps of an object's metadata what decides about plans and drift.
pub(crate) fn live_meta(metadata: ObjectMeta) -> LiveMeta {
    LiveMeta {
        uid: Uid::from(metadata.uid.unwrap_or_default()),
        resource_version: metadata.resource_version.unwrap_or_default(),
        generation: metadata.generation,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        deletion_timestamp: metadata.deletion_timestamp.map(|time| time.0),
        managers: metadata
            .managed_fields
            .unwrap_or_default()
            .iter()
            .map(stamp)
            .collect(),
    }
}

/// Who wrote, how and when; not what.
pub(crate) fn stamp(entry: &ManagedFieldsEntry) -> ManagerStamp {
    ManagerStamp {
        manager: entry.manager.clone().unwrap_or_default(),
        operation: match entry.operation.as_deref() {
            Some("Apply") => Operation::Apply,
            Some(_) | None => Operation::Update,
        },
        subresource: entry.subresource.clone().filter(|name| !name.is_empty()),
        time: entry.time.as_ref().map(|time| time.0),
    }
}
