//! An object as a person names it in git: `Deployment shop/web`, `Deployment.apps shop/web`, `Namespace shop`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ObjectId;

/// Names an object as [`ObjectId`] is displayed; without a group it means that kind of any group.
///
/// ```
/// use plan::object::{ObjectId, ObjectRef};
///
/// let volume: ObjectRef = "PersistentVolumeClaim shop/data".parse()?;
/// assert!(volume.names(&ObjectId::new("", "PersistentVolumeClaim", Some("shop"), "data")));
/// # Ok::<(), plan::object::ParseRefError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    kind: String,
    group: Option<String>,
    namespace: Option<String>,
    name: String,
}

/// The text names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no object\nhint: write it like `PersistentVolumeClaim shop/data` or `Namespace shop`"
)]
pub struct ParseRefError {
    text: String,
}

impl ObjectRef {
    /// Whether this is a name of `id`.
    pub fn names(&self, id: &ObjectId) -> bool {
        self.kind == id.kind
            && self.group.as_ref().is_none_or(|group| *group == id.group)
            && self.namespace == id.namespace
            && self.name == id.name
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(group) = &self.group {
            write!(f, ".{group}")?;
        }
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl FromStr for ObjectRef {
    type Err = ParseRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (kind, path) = text.trim().split_once(' ')?;
            let (kind, group) = match kind.split_once('.') {
                Some((kind, group)) => (kind, Some(group)),
                None => (kind, None),
            };
            let path = path.trim();
            let (namespace, name) = match path.split_once('/') {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, path),
            };
            let word = |text: &str| {
                !text.is_empty()
                    && !text.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ','))
            };
            let optional = |text: Option<&str>| text.is_none_or(word);
            (word(kind) && optional(group) && optional(namespace) && word(name)).then(|| Self {
                kind: kind.to_owned(),
                group: group.map(str::to_owned),
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            })
        };
        parse().ok_or_else(|| ParseRefError {
            text: text.to_owned(),
        })
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_names_no_object() {
        for text in [
            "",
            "a",
            "PersistentVolumeClaim",
            "Kind ",
            "Kind a/",
            "Kind /b",
            "Kind a/b/c",
            "K a b",
            ". a",
        ] {
            assert!(text.parse::<ObjectRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_narrows() {
        let id = ObjectId::new("apps", "StatefulSet", Some("a"), "b");
        let names = |text: &str| text.parse::<ObjectRef>().unwrap().names(&id);
        assert!(names("StatefulSet a/b"));
        assert!(names(" StatefulSet.apps  a/b "));
        assert!(!names("StatefulSet.example.com a/b"));
        assert!(!names("StatefulSet b"));
        assert!(!names("Deployment a/b"));
    }

    proptest! {
        #[test]
        fn both_forms_of_an_id_name_it(
            group in "([a-z]{1,5}(\\.[a-z]{1,5}){0,2})?",
            kind in "[A-Z][A-Za-z]{0,8}",
            namespace in proptest::option::of("[a-z]{1,5}"),
            name in "[a-z0-9:._-]{1,8}",
        ) {
            let id = ObjectId::new(&group, &kind, namespace.as_deref(), &name);
            for text in [id.to_string(), id.long()] {
                let reference: ObjectRef = text.parse().unwrap();
                prop_assert!(reference.names(&id));
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
