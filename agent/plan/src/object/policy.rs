//! Per-object policy, read from annotations (or labels) with Flux's names and values under our prefix.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PREFIX, Problem};

/// On or off, written as `enabled` or `disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Toggle {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// How an object is applied: `immuops.dev/ssa`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ssa {
    /// Declared fields win; fields left over from `kubectl` are taken over and removed.
    Override,
    /// Declared fields win; every other field stays as others wrote it.
    Merge,
    /// Created once, then left alone.
    IfNotPresent,
    /// Never touched.
    Ignore,
}

/// What may be done to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectPolicy {
    /// `immuops.dev/prune`: disabled keeps the object when it leaves git.
    pub prune: Toggle,
    /// `immuops.dev/reconcile`: disabled leaves the live object as it is.
    pub reconcile: Toggle,
    /// `immuops.dev/ssa`.
    pub ssa: Ssa,
    /// `immuops.dev/force`: enabled allows to recreate the object when a changed field is immutable.
    pub force: Toggle,
}

impl Default for ObjectPolicy {
    fn default() -> Self {
        Self {
            prune: Toggle::Enabled,
            reconcile: Toggle::Enabled,
            ssa: Ssa::Override,
            force: Toggle::Disabled,
        }
    }
}

const TOGGLES: [(&str, Toggle); 2] = [("enabled", Toggle::Enabled), ("disabled", Toggle::Disabled)];
const SSA: [(&str, Ssa); 4] = [
    ("Override", Ssa::Override),
    ("Merge", Ssa::Merge),
    ("IfNotPresent", Ssa::IfNotPresent),
    ("Ignore", Ssa::Ignore),
];

type Strings = BTreeMap<String, String>;

impl ObjectPolicy {
    /// Reads what git wrote. A value that means nothing is a problem, and every one is reported.
    pub(super) fn declared(
        annotations: &Strings,
        labels: &Strings,
        problems: &mut Vec<Problem>,
    ) -> Self {
        Self::read(annotations, labels, &mut |problem| problems.push(problem))
    }

    /// Reads what a live object carries. Other hands write here, so a value that means nothing must not stop a
    /// Sync: it counts as the default.
    pub fn live(annotations: &Strings, labels: &Strings) -> Self {
        Self::read(annotations, labels, &mut drop)
    }

    fn read(annotations: &Strings, labels: &Strings, report: &mut dyn FnMut(Problem)) -> Self {
        let default = Self::default();
        let mut toggle =
            |name, default| value(annotations, labels, name, &TOGGLES, default, report);
        Self {
            prune: toggle("prune", default.prune),
            reconcile: toggle("reconcile", default.reconcile),
            force: toggle("force", default.force),
            ssa: value(annotations, labels, "ssa", &SSA, default.ssa, report),
        }
    }
}

/// The annotation wins over a label of the same name; case does not matter (both as in Flux).
fn value<T: Copy>(
    annotations: &Strings,
    labels: &Strings,
    name: &str,
    allowed: &[(&'static str, T)],
    default: T,
    report: &mut dyn FnMut(Problem),
) -> T {
    let key = format!("{PREFIX}{name}");
    let Some(text) = annotations.get(&key).or_else(|| labels.get(&key)) else {
        return default;
    };
    let known = allowed
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text));
    if let Some((_, value)) = known {
        return *value;
    }
    let allowed = allowed.iter().map(|(word, _)| *word).collect();
    report(Problem::PolicyValue {
        key,
        value: text.clone(),
        allowed,
    });
    default
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(pairs: &[(&str, &str)]) -> Strings {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn values() {
        let default = ObjectPolicy::default();
        let cases = [
            ("nothing", strings(&[]), default),
            (
                "prune",
                strings(&[("immuops.dev/prune", "disabled")]),
                ObjectPolicy {
                    prune: Toggle::Disabled,
                    ..default
                },
            ),
            (
                "any case",
                strings(&[("immuops.dev/reconcile", "Disabled")]),
                ObjectPolicy {
                    reconcile: Toggle::Disabled,
                    ..default
                },
            ),
            (
                "two",
                strings(&[
                    ("immuops.dev/ssa", "IfNotPresent"),
                    ("immuops.dev/force", "enabled"),
                ]),
                ObjectPolicy {
                    ssa: Ssa::IfNotPresent,
                    force: Toggle::Enabled,
                    ..default
                },
            ),
        ];
        for (case, values, expected) in cases {
            let mut problems = Vec::new();
            let none = Strings::new();
            assert_eq!(
                ObjectPolicy::declared(&values, &none, &mut problems),
                expected,
                "{case}"
            );
            assert_eq!(
                ObjectPolicy::declared(&none, &values, &mut problems),
                expected,
                "{case}"
            );
            assert_eq!(problems, [], "{case}");
        }
    }

    #[test]
    fn every_wrong_value_is_reported_with_the_allowed_ones() {
        let values = strings(&[
            ("immuops.dev/prune", "false"),
            ("immuops.dev/ssa", "merge it"),
        ]);
        let mut problems = Vec::new();
        let none = Strings::new();
        let policy = ObjectPolicy::declared(&values, &none, &mut problems);
        assert_eq!(policy, ObjectPolicy::default());
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "immuops.dev/prune is `false`, allowed are: enabled, disabled",
                "immuops.dev/ssa is `merge it`, allowed are: Override, Merge, IfNotPresent, Ignore",
            ]
        );
        assert_eq!(ObjectPolicy::live(&values, &none), ObjectPolicy::default());
    }
}
