//! Whether an object that the server refused to change may be deleted and created again.
//!
//! Only if the refusal proves that nothing but immutable fields stand in the way, git allows it (`immuops.dev/force: enabled`)
//! and no data goes with it. A plain validation error must never delete anything, although the server answers both with the
//! same code 422. What is decided here is still to be tried first, as a dry-run creation under another name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::object::{ObjectId, ObjectPolicy, Toggle};

/// One cause of a `Status` of reason `Invalid`.
///
/// The message may hold a value of the object, so it is read and never passed on; `Cause` has no `Debug` that shows it.
#[derive(Clone, Copy)]
pub struct Cause<'a> {
    /// Kind of the error, such as `FieldValueInvalid`.
    pub reason: &'a str,
    /// Path of the field.
    pub field: &'a str,
    /// What the server says about it.
    pub message: &'a str,
}

/// What a refused change allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Something else is wrong, too: the object itself has to be corrected in git.
    Invalid,
    /// Delete it, wait until it is gone, create it.
    Recreate,
    /// Delete it but leave its pods and claims, and create it: they are taken over.
    RecreateAroundDependents,
    /// It would have to be recreated, and must not be.
    Refused {
        /// The object.
        id: ObjectId,
        /// Fields that cannot be changed.
        fields: Vec<String>,
        /// Why not.
        reason: Refusal,
    },
}

/// Why an object with changed immutable fields is not recreated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// `immuops.dev/force` is not enabled.
    #[error(
        "git does not allow to recreate it\nhint: take the change back, or annotate it immuops.dev/force: enabled"
    )]
    NotForced,
    /// Its data would go with it.
    #[error(
        "recreating it would delete its data\nhint: take the change back, or declare it under another name"
    )]
    HoldsData,
}

/// How servers begin to say that a field cannot be changed. Read in the validation code of 1.37.2; the last three are of
/// older servers, which 1.37 words as the first.
const WORDS: [&str; 10] = [
    "field is immutable",
    "spec is immutable after creation except",
    "spec.persistentvolumesource is immutable after creation",
    "pod updates may not change fields other than",
    "may not be changed in an update",
    "updates to parameters are forbidden",
    "updates to driverName are forbidden",
    "updates to provisioner are forbidden",
    "updates to statefulset spec for fields other than",
    "cannot change roleRef",
];

impl fmt::Debug for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reason,
            field,
            message: _,
        } = self;
        f.debug_struct("Cause")
            .field("reason", reason)
            .field("field", field)
            .finish_non_exhaustive()
    }
}

/// Judges the causes of a refused change of `id`.
pub fn assess(id: &ObjectId, causes: &[Cause<'_>], policy: ObjectPolicy) -> Verdict {
    if causes.is_empty() || !causes.iter().all(is_immutability) {
        return Verdict::Invalid;
    }
    let refused = |reason| {
        let fields = causes.iter().map(|cause| cause.field.to_owned()).collect();
        Verdict::Refused {
            id: id.clone(),
            fields,
            reason,
        }
    };
    let stateful_set = id.is("apps", "StatefulSet");
    // A stateful set is taken apart around its pods and claims, which keep the data.
    if crate::plan::holds_data(id) && !stateful_set {
        return refused(Refusal::HoldsData);
    }
    match policy.force {
        Toggle::Disabled => refused(Refusal::NotForced),
        Toggle::Enabled if stateful_set => Verdict::RecreateAroundDependents,
        Toggle::Enabled => Verdict::Recreate,
    }
}

/// A message is `<kind>: <value>: <words>`, then perhaps a diff on further lines. Values come quoted, so words that hold a
/// quote are the end of a value, and prove nothing.
fn is_immutability(cause: &Cause<'_>) -> bool {
    let words = cause
        .message
        .lines()
        .next()
        .and_then(|line| line.rsplit(": ").next())
        .unwrap_or_default();
    let kind = matches!(cause.reason, "FieldValueInvalid" | "FieldValueForbidden");
    let declared = !["metadata", "status"]
        .iter()
        .any(|server| cause.field.starts_with(server));
    kind && declared && !words.contains('"') && WORDS.iter().any(|known| words.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(group: &str, kind: &str) -> ObjectId {
        ObjectId::new(group, kind, Some("a"), "b")
    }

    fn forced() -> ObjectPolicy {
        ObjectPolicy {
            force: Toggle::Enabled,
            ..ObjectPolicy::default()
        }
    }

    const IMMUTABLE: &str = "Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable";

    fn cause<'a>(field: &'a str, message: &'a str) -> Cause<'a> {
        Cause {
            reason: "FieldValueInvalid",
            field,
            message,
        }
    }

    #[test]
    fn what_proves_immutability() {
        let cases = [
            ("selector", cause("spec.selector", IMMUTABLE), true),
            (
                "null",
                cause("spec.selector", "Invalid value: null: field is immutable"),
                true,
            ),
            (
                "immutable secret",
                cause(
                    "data",
                    "Forbidden: field is immutable when `immutable` is set",
                ),
                true,
            ),
            (
                "priority",
                cause("value", "Forbidden: may not be changed in an update."),
                true,
            ),
            (
                "pod, with a diff",
                cause(
                    "spec",
                    "Forbidden: pod updates may not change fields other than `spec.tolerations`\n  a: \"b\"",
                ),
                true,
            ),
            (
                "something else",
                cause(
                    "spec.replicas",
                    "Invalid value: -1: must be greater than or equal to 0",
                ),
                false,
            ),
            ("required", cause("spec.template", "Required value"), false),
            (
                "the words in a value",
                cause(
                    "spec.x",
                    "Invalid value: \"x: field is immutable\": must be a port",
                ),
                false,
            ),
            (
                "the words as a value",
                cause("spec.x", "Duplicate value: \"x: field is immutable\""),
                false,
            ),
            (
                "metadata",
                cause("metadata.uid", "Invalid value: \"x\": field is immutable"),
                false,
            ),
            (
                "another kind of error",
                Cause {
                    reason: "FieldValueDuplicate",
                    ..cause("spec.selector", IMMUTABLE)
                },
                false,
            ),
            ("nothing", cause("", ""), false),
        ];
        for (case, cause, expected) in cases {
            assert_eq!(is_immutability(&cause), expected, "{case}");
        }
    }

    #[test]
    fn verdicts() {
        let immutable = cause("spec.selector", IMMUTABLE);
        let plain = cause("spec.template", "Required value");
        let deployment = || id("apps", "Deployment");
        let refused = |id, reason| Verdict::Refused {
            id,
            fields: vec!["spec.selector".to_owned()],
            reason,
        };
        let claim = || id("", "PersistentVolumeClaim");
        let set = id("apps", "StatefulSet");
        let cases = [
            (
                "forced",
                deployment(),
                forced(),
                vec![immutable],
                Verdict::Recreate,
            ),
            (
                "set",
                set,
                forced(),
                vec![immutable],
                Verdict::RecreateAroundDependents,
            ),
            (
                "not forced",
                deployment(),
                ObjectPolicy::default(),
                vec![immutable],
                refused(deployment(), Refusal::NotForced),
            ),
            (
                "claim",
                claim(),
                forced(),
                vec![immutable],
                refused(claim(), Refusal::HoldsData),
            ),
            (
                "plain",
                deployment(),
                forced(),
                vec![plain],
                Verdict::Invalid,
            ),
            (
                "both",
                deployment(),
                forced(),
                vec![immutable, plain],
                Verdict::Invalid,
            ),
            ("nothing", deployment(), forced(), vec![], Verdict::Invalid),
        ];
        for (case, id, policy, causes, expected) in cases {
            assert_eq!(assess(&id, &causes, policy), expected, "{case}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let cause = cause(
            "stringData",
            "Invalid value: \"canary\": field is immutable",
        );
        assert!(!format!("{cause:?}").contains("canary"));
    }
}
