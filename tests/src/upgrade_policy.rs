//! What an `UpgradePolicy` says in its status, as one line of text each.

use serde_json::Value;

/// `status reason: message` of a condition; empty if it does not exist.
pub fn condition(policy: &Value, kind: &str) -> String {
    let conditions = policy
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let Some(found) = conditions.find(|one| text(one, "type") == kind) else {
        return String::new();
    };
    let text = |key| text(found, key);
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

/// Every release that is not proposed, as `tag: reason`, in the order of the tags.
pub fn ignored(policy: &Value) -> Vec<String> {
    let list = policy.pointer("/status/ignored").and_then(Value::as_array);
    let shown = |one: &Value| format!("{}: {}", text(one, "tag"), text(one, "reason"));
    let mut ignored: Vec<String> = list.into_iter().flatten().map(shown).collect();
    ignored.sort_unstable();
    ignored
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
