//! One file for each object.

use std::collections::{BTreeMap, BTreeSet};

use super::Object;
use crate::error::RenderError;
use crate::id::Gvk;
use crate::schema::Schema;

/// Each object with its file: `GROUP_VERSION_KIND_NAME.yaml` in small letters, with the namespace
/// in front if there are several.
pub(super) fn named<'o>(
    objects: &'o [Object],
    schema: &Schema,
) -> Result<Vec<(String, &'o Object)>, RenderError> {
    let namespaces: Vec<Option<&str>> = objects
        .iter()
        .map(|object| {
            let gvk = Gvk::new(object.api_version(), object.kind());
            let namespace = match object.namespace() {
                "" => "default",
                namespace => namespace,
            };
            (!schema.is_cluster_scoped(&gvk)).then_some(namespace)
        })
        .collect();
    let several = namespaces.iter().flatten().collect::<BTreeSet<_>>().len() > 1;
    let mut owners: BTreeMap<String, &Object> = BTreeMap::new();
    let mut named = Vec::with_capacity(objects.len());
    for (object, namespace) in objects.iter().zip(namespaces) {
        let Gvk {
            group,
            version,
            kind,
        } = Gvk::new(object.api_version(), object.kind());
        let namespace = namespace.filter(|_| several).unwrap_or_default();
        let parts = [namespace, &group, &version, &kind, object.name()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let name = format!("{}.yaml", parts.join("_").to_lowercase());
        if name.contains(['/', '\0']) {
            return Err(RenderError::refused(format!(
                "{object:?} has a name that is no file name"
            ))
            .hint("print all objects to one file instead"));
        }
        if let Some(first) = owners.insert(name.clone(), object) {
            return Err(RenderError::invalid(format!(
                "{first:?} and {object:?} would both be written to {name}"
            ))
            .hint("print all objects to one file instead"));
        }
        named.push((name, object));
    }
    Ok(named)
}
