//! The Sync an object belongs to, as written on the object.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Label that holds the name of the owning Sync.
const NAME_LABEL: &str = "immuops.dev/sync-name";
/// Label that holds the namespace of the owning Sync.
const NAMESPACE_LABEL: &str = "immuops.dev/sync-namespace";
/// Kubernetes' bound on a label value, in bytes.
const LABEL_VALUE_MAX: usize = 63;

/// A Sync, as the owner of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    namespace: String,
    name: String,
}

/// The name of a Sync cannot be written as the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Sync {namespace}/{name} cannot own objects: its name is written on them as a label, which holds 1 to 63 characters\n\
     hint: give the Sync a shorter name"
)]
pub struct InvalidOwner {
    namespace: String,
    name: String,
}

/// Who the labels of a live object name as its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The asking Sync.
    Ours,
    /// Nobody.
    Nobody,
    /// Another Sync.
    Foreign {
        /// Namespace of that Sync; empty when its label is missing.
        namespace: String,
        /// Name of that Sync; empty when its label is missing.
        name: String,
    },
}

impl Owner {
    /// Labels selecting the objects of every Sync: the key whose presence a watch asks for.
    pub const SELECTOR: &str = NAME_LABEL;

    /// The Sync `namespace/name`, if both fit into a label.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidOwner> {
        let fits = |text: &str| (1..=LABEL_VALUE_MAX).contains(&text.len());
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        if fits(&namespace) && fits(&name) {
            Ok(Self { namespace, name })
        } else {
            Err(InvalidOwner { namespace, name })
        }
    }

    /// Namespace of the Sync.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the Sync.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The labels that every object of this Sync carries.
    pub fn labels(&self) -> [(&'static str, &str); 2] {
        [(NAME_LABEL, &self.name), (NAMESPACE_LABEL, &self.namespace)]
    }

    /// Reads the owner off the labels of a live object, as seen by this Sync.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> Ownership {
        match (labels.get(NAMESPACE_LABEL), labels.get(NAME_LABEL)) {
            (None, None) => Ownership::Nobody,
            (Some(namespace), Some(name)) if *namespace == self.namespace && *name == self.name => {
                Ownership::Ours
            }
            (namespace, name) => Ownership::Foreign {
                namespace: namespace.cloned().unwrap_or_default(),
                name: name.cloned().unwrap_or_default(),
            },
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sync {}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_fit_into_a_label() {
        let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
        let cases = [
            ("ns", longest.as_str(), true),
            ("ns", too_long.as_str(), false),
            ("", "a", false),
        ];
        for (namespace, name, fits) in cases {
            assert_eq!(
                Owner::new(namespace, name).is_ok(),
                fits,
                "{namespace}/{name}"
            );
        }
    }

    #[test]
    fn ownership_needs_both_labels() {
        let owner = Owner::new("ns", "shop").unwrap();
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let foreign = |namespace: &str, name: &str| Ownership::Foreign {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(owner.of(&labels(&[("app", "x")])), Ownership::Nobody);
        assert_eq!(owner.of(&labels(&owner.labels())), Ownership::Ours);
        assert_eq!(
            owner.of(&labels(&[(NAME_LABEL, "shop")])),
            foreign("", "shop")
        );
        let other = Owner::new("other", "shop").unwrap();
        assert_eq!(owner.of(&labels(&other.labels())), foreign("other", "shop"));
    }
}
