//! Manifests and specs that several tests use.

use serde_json::{Value, json};
use tests::git_server::GitServer;

/// A Namespace.
pub(crate) fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

/// A `ConfigMap` with one key.
pub(crate) fn config_map(name: &str, namespace: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:\n  key: {value}\n"
    )
}

/// A Deployment without replicas.
pub(crate) fn deployment(name: &str, namespace: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: {namespace}
spec:
  replicas: 0
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
        - name: main
          image: {image}
"
    )
}

/// A Sync of a path, polled every second.
pub(crate) fn spec(git: &GitServer, path: &str) -> Value {
    json!({
        "source": { "url": git.url(), "ref": { "branch": "main" } },
        "path": path, "interval": "1s", "prune": true,
    })
}

/// The spec with some fields set to other values.
pub(crate) fn with(mut spec: Value, changes: Value) -> Value {
    if let (Some(spec), Value::Object(changes)) = (spec.as_object_mut(), changes) {
        spec.extend(changes);
    }
    spec
}
