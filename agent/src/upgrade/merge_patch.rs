//! Merge patches ([RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)) that take away what is gone.

use serde_json::{Map, Value};

/// The patch that turns `old` into `new`. Neither may hold null: in a patch that means to remove.
pub(super) fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return new.clone();
    };
    let gone = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| match old.get(key) {
        Some(before) if before == value => None,
        Some(before) => Some((key.clone(), merge_patch(before, value))),
        None => Some((key.clone(), value.clone())),
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_gone_is_removed() {
        for (old, new, expected) in [
            (json!({}), json!({ "a": 1 }), json!({ "a": 1 })),
            (json!({ "a": 1 }), json!({}), json!({ "a": null })),
            (json!({ "a": 1 }), json!({ "a": 1 }), json!({})),
            (
                json!({ "a": { "b": 1, "c": 2 } }),
                json!({ "a": { "b": 3 } }),
                json!({ "a": { "b": 3, "c": null } }),
            ),
            (
                json!({ "a": [1, 2] }),
                json!({ "a": [2] }),
                json!({ "a": [2] }),
            ),
            (
                json!({ "a": 1 }),
                json!({ "a": { "b": 1 } }),
                json!({ "a": { "b": 1 } }),
            ),
        ] {
            assert_eq!(merge_patch(&old, &new), expected, "{old} -> {new}");
        }
    }
}
