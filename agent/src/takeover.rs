//! Makes fields that people added by hand removable.
//!
//! Server-side apply removes only fields that our field manager owns. What somebody added with
//! `kubectl edit` belongs to another manager and would stay for ever. So before an apply, the entries
//! of such tools in `managedFields` are merged into ours; the apply then drops what git does not have.
//! Entries of controllers stay: they own what they are there to write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use plan::live::ManagerStamp;
use plan::object::{Desired, FIELD_MANAGER};
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::problem::Problem;
use crate::sighting::stamp;

/// Field managers of tools that a person drives, by prefix. `node-fetch` is Lens, `Mozilla` a browser.
const PEOPLE: [&str; 5] = [
    "kubectl",
    "before-first-apply",
    "k9s",
    "node-fetch",
    "Mozilla",
];

/// Takes over what the writers that `whose` picks own of an object. Returns whether there was anything.
/// Changes only whose the fields are, never what they hold.
pub(crate) async fn take_over(
    cluster: &Cluster,
    object: &Desired,
    whose: impl Fn(&ManagerStamp) -> bool,
) -> Result<bool, Problem> {
    let Some(metadata) = cluster.metadata(object.id(), object.version()).await? else {
        return Ok(false);
    };
    let Some(patch) = patch(&metadata, &object.api_version(), whose) else {
        return Ok(false);
    };
    match cluster.set_managers(object, &patch).await {
        Ok(()) => Ok(true),
        // Somebody was faster; the next event of the watch leads here again.
        Err(problem) if problem.is_conflict() => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// The patch that merges the picked entries into ours, if there are any.
fn patch(
    metadata: &ObjectMeta,
    api_version: &str,
    whose: impl Fn(&ManagerStamp) -> bool,
) -> Option<Value> {
    let entries = metadata.managed_fields.as_deref()?;
    let (picked, mut kept): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| {
        whose(&stamp(entry))
            && !is_ours(entry, api_version)
            && entry.api_version.as_deref() == Some(api_version)
    });
    if picked.is_empty() {
        return None;
    }
    let ours = kept.iter_mut().find(|entry| is_ours(entry, api_version))?;
    let mut fields = ours.fields_v1.take().map_or(Value::Null, |fields| fields.0);
    for entry in picked {
        merge(
            &mut fields,
            entry.fields_v1.map_or(Value::Null, |fields| fields.0),
        );
    }
    ours.fields_v1 = Some(FieldsV1(fields));
    Some(json!({ "metadata": {
        "managedFields": kept,
        "resourceVersion": metadata.resource_version,
    }}))
}

/// Whether a writer is a tool that a person drives.
pub(crate) fn is_people(stamp: &ManagerStamp) -> bool {
    PEOPLE
        .iter()
        .any(|prefix| stamp.manager.starts_with(prefix))
        && stamp.subresource.is_none()
}

fn is_ours(entry: &ManagedFieldsEntry, api_version: &str) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().is_none_or(str::is_empty)
        && entry.api_version.as_deref() == Some(api_version)
}

/// The union of two field sets, which are maps of maps.
fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else {
        return;
    };
    for (field, value) in from {
        merge(
            into.entry(field)
                .or_insert_with(|| Value::Object(Map::new())),
            value,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            api_version: Some("v1".to_owned()),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    fn metadata(entries: Vec<ManagedFieldsEntry>) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some("7".to_owned()),
            managed_fields: Some(entries),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn merges_what_people_own() {
        let ours = entry(FIELD_MANAGER, "Apply", json!({"f:data": {"f:a": {}}}));
        let edit = entry("kubectl-edit", "Update", json!({"f:data": {"f:b": {}}}));
        let controller = entry("kube-controller-manager", "Update", json!({"f:spec": {}}));
        let patch = patch(&metadata(vec![ours, edit, controller]), "v1", is_people).unwrap();
        let entries = patch
            .pointer("/metadata/managedFields")
            .unwrap()
            .as_array()
            .unwrap();
        assert_eq!(entries.len(), 2);
        let fields = entries[0].get("fieldsV1").unwrap();
        assert_eq!(*fields, json!({"f:data": {"f:a": {}, "f:b": {}}}));
        assert_eq!(
            entries[1].get("manager").unwrap(),
            "kube-controller-manager"
        );
        assert_eq!(
            *patch.pointer("/metadata/resourceVersion").unwrap(),
            json!("7")
        );
    }

    #[test]
    fn leaves_the_rest_alone() {
        let ours = || entry(FIELD_MANAGER, "Apply", json!({}));
        let mut status = entry("kubectl", "Update", json!({}));
        status.subresource = Some("status".to_owned());
        let mut old = entry("kubectl", "Update", json!({}));
        old.api_version = Some("v1beta1".to_owned());
        assert_eq!(
            patch(&metadata(vec![ours(), status, old]), "v1", is_people),
            None
        );
        let edit = entry("kubectl-edit", "Update", json!({}));
        let edit = metadata(vec![edit]);
        assert_eq!(patch(&edit, "v1", is_people), None, "not ours yet");
    }
}
