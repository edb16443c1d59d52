//! Whether objects live in a namespace, and in which: git need not say it, the API server insists.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::Table;

/// Namespace of an object that names none, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// What is known about the scope of kinds: what the server serves, and the CRDs of the same revision.
#[derive(Debug)]
pub(crate) struct Scopes<'a> {
    served: &'a Table,
    coming: BTreeMap<(String, String), bool>,
}

impl<'a> Scopes<'a> {
    /// Starts from what the server serves.
    pub(crate) const fn new(served: &'a Table) -> Self {
        Self {
            served,
            coming: BTreeMap::new(),
        }
    }

    /// Learns from an object if it is a CRD.
    pub(crate) fn learn(&mut self, object: &Value) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        if text("/kind") != Some("CustomResourceDefinition") {
            return;
        }
        if let (Some(group), Some(kind), Some(scope)) = (
            text("/spec/group"),
            text("/spec/names/kind"),
            text("/spec/scope"),
        ) {
            self.coming
                .insert((group.to_owned(), kind.to_owned()), scope == "Namespaced");
        }
    }

    /// Gives an object the namespace it belongs to. Returns `apiVersion` and `kind` if nobody knows
    /// the kind.
    pub(crate) fn settle(&self, object: &mut Value) -> Result<(), (String, String)> {
        let text = |key: &str| {
            object
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if api_version.is_empty() || kind.is_empty() {
            // The check of the object itself says what is wrong with it.
            return Ok(());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let served = self
            .served
            .get(&(group.to_owned(), version.to_owned(), kind.clone()));
        let coming = self.coming.get(&(group.to_owned(), kind.clone()));
        let namespaced = match (served, coming) {
            (Some(served), _) => served.namespaced(),
            (None, Some(coming)) => *coming,
            (None, None) => return Err((api_version, kind)),
        };
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Ok(());
        };
        if !namespaced {
            metadata.remove("namespace");
        } else if metadata
            .get("namespace")
            .is_none_or(|value| value.is_null() || value == "")
        {
            metadata.insert("namespace".to_owned(), Value::from(DEFAULT_NAMESPACE));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn knows_the_kinds_of_the_same_revision() {
        let served = Table::new();
        let mut scopes = Scopes::new(&served);
        for (kind, scope) in [("Robot", "Namespaced"), ("Planet", "Cluster")] {
            scopes.learn(&json!({
                "kind": "CustomResourceDefinition",
                "spec": {"group": "example.com", "names": {"kind": kind}, "scope": scope},
            }));
        }
        let settle = |kind: &str, namespace: Option<&str>| {
            let mut object = json!({
                "apiVersion": "example.com/v1", "kind": kind,
                "metadata": {"name": "a", "namespace": namespace},
            });
            scopes
                .settle(&mut object)
                .map(|()| object.pointer("/metadata/namespace").cloned())
        };
        assert_eq!(settle("Robot", None), Ok(Some(json!("default"))));
        assert_eq!(settle("Robot", Some("shop")), Ok(Some(json!("shop"))));
        assert_eq!(settle("Planet", Some("shop")), Ok(None));
        assert_eq!(
            settle("Star", None),
            Err(("example.com/v1".into(), "Star".into()))
        );
    }
}
