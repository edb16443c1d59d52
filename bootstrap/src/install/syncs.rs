//! Reads the Syncs of the cluster and says which are healthy: what `up` waits for at the end and
//! `status` shows. Knows the public status of the resource, nothing of the agent's inside.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The annotation whose new value asks the agent to reconcile a Sync now.
pub(super) const REQUESTED_AT: &str = "reconcile.immuops.dev/requestedAt";

/// One Sync as its status tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Its name.
    pub name: String,
    /// What the agent last said about it.
    pub state: SyncState,
    /// The revision that is applied, `main@sha1:...`.
    pub revision: Option<String>,
}

/// The condition `Ready`, reduced to what a person needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum SyncState {
    /// Applied and healthy at the newest specification.
    Ready,
    /// Suspended by its specification.
    Suspended,
    /// On its way, or waiting for something.
    Waiting {
        /// Why.
        message: String,
    },
    /// The agent says that it cannot go on without a change.
    Failed {
        /// Why.
        message: String,
    },
}

/// Reads the answer of `kubectl get syncs -o json`.
pub(crate) fn read(list: &Value) -> Vec<SyncStatus> {
    let items = list.get("items").and_then(Value::as_array);
    items.into_iter().flatten().filter_map(read_one).collect()
}

fn read_one(sync: &Value) -> Option<SyncStatus> {
    let text = |pointer: &str| {
        sync.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let name = text("/metadata/name")?;
    let revision = text("/status/lastAppliedRevision");
    let condition = |kind: &str| {
        let conditions = sync.pointer("/status/conditions").and_then(Value::as_array);
        conditions
            .into_iter()
            .flatten()
            .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
    };
    let is_true = |c: &Value| c.get("status").and_then(Value::as_str) == Some("True");
    let message = |c: &Value| {
        c.get("message")
            .and_then(Value::as_str)
            .unwrap_or("no message")
            .to_owned()
    };
    let observed = sync
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64);
    let current = sync.pointer("/metadata/generation").and_then(Value::as_i64);
    let annotations = sync.pointer("/metadata/annotations");
    let requested = annotations.and_then(|all| all.get(REQUESTED_AT));
    let handled = sync.pointer("/status/lastHandledReconcileAt");
    let state = match (condition("Ready"), condition("Stalled")) {
        _ if sync.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) => {
            SyncState::Suspended
        }
        _ if observed != current => SyncState::Waiting {
            message: "not seen by the agent yet".to_owned(),
        },
        _ if requested.is_some() && requested != handled => SyncState::Waiting {
            message: "asked to reconcile, not done yet".to_owned(),
        },
        (_, Some(stalled)) if is_true(stalled) => SyncState::Failed {
            message: message(stalled),
        },
        (Some(ready), _) if is_true(ready) => SyncState::Ready,
        (Some(ready), _) => SyncState::Waiting {
            message: message(ready),
        },
        (None, _) => SyncState::Waiting {
            message: "not seen by the agent yet".to_owned(),
        },
    };
    Some(SyncStatus {
        name,
        state,
        revision,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_has_to_be_handled() {
        let ready = json!([{"type": "Ready", "status": "True", "message": "Applied"}]);
        for (requested, handled, expected) in [
            (json!({REQUESTED_AT: "2"}), json!("2"), true),
            (json!({REQUESTED_AT: "2"}), json!("1"), false),
            (json!({REQUESTED_AT: "2"}), Value::Null, false),
            (json!({}), json!("1"), true),
        ] {
            let list = json!({"items": [{
                "metadata": {"name": "a", "annotations": requested},
                "status": {"conditions": ready, "lastHandledReconcileAt": handled},
            }]});
            let states = read(&list);
            let ready = states.iter().all(|sync| sync.state == SyncState::Ready);
            assert_eq!(ready, expected, "{list}");
        }
    }

    #[test]
    fn states_follow_the_conditions() {
        let ready = json!({"type": "Ready", "status": "True", "message": "Applied"});
        let failing = json!({"type": "Ready", "status": "False", "message": "no such branch"});
        let stalled = json!({"type": "Stalled", "status": "True", "message": "bad path"});
        let waiting = |text: &str| SyncState::Waiting {
            message: text.to_owned(),
        };
        let cases = [
            ("ready", json!([ready]), 2, false, SyncState::Ready),
            (
                "an older spec was ready",
                json!([ready]),
                1,
                false,
                waiting("not seen by the agent yet"),
            ),
            (
                "not ready",
                json!([failing]),
                2,
                false,
                waiting("no such branch"),
            ),
            (
                "stalled wins",
                json!([failing, stalled]),
                2,
                false,
                SyncState::Failed {
                    message: "bad path".to_owned(),
                },
            ),
            ("suspended", json!([]), 2, true, SyncState::Suspended),
            (
                "no status",
                json!([]),
                2,
                false,
                waiting("not seen by the agent yet"),
            ),
        ];
        for (name, conditions, observed, suspend, expected) in cases {
            let list = json!({"items": [{
                "metadata": {"name": "a", "generation": 2},
                "spec": {"suspend": suspend},
                "status": {"observedGeneration": observed, "conditions": conditions},
            }]});
            assert_eq!(
                read(&list).first().map(|s| &s.state),
                Some(&expected),
                "{name}"
            );
        }
    }
}
