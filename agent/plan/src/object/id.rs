//! The identity of one object in one cluster, and its two written forms.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Names one object of the cluster, whatever version of its API it is written in.
///
/// [`fmt::Display`] is for people (`Deployment shop/web`), [`fmt::Debug`] adds the group. The stored form is
/// [`ObjectId::inventory_key`], which [`FromStr`] and serde read back; it is the form of Flux and cli-utils.
///
/// ```
/// use plan::object::ObjectId;
///
/// let id: ObjectId = "shop_web_apps_Deployment".parse()?;
/// assert_eq!(id.to_string(), "Deployment shop/web");
/// assert_eq!(id.long(), "Deployment.apps shop/web");
/// assert_eq!(id.inventory_key(), "shop_web_apps_Deployment");
/// # Ok::<(), plan::object::ParseIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, as in the object.
    pub kind: String,
    /// `None` for an object of the cluster.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

/// The text is not `<namespace>_<name>_<group>_<kind>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an object of the form <namespace>_<name>_<group>_<kind>")]
pub struct ParseIdError {
    text: String,
}

impl ObjectId {
    /// Names an object; an empty namespace is none.
    pub fn new(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.filter(|text| !text.is_empty()).map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// `Deployment.apps shop/web`: the form that also tells apart kinds of two groups.
    pub fn long(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{} {}", self.kind, self.group, self.path())
    }

    /// `<namespace>_<name>_<group>_<kind>`, `:` of RBAC names written as `__`.
    pub fn inventory_key(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let name = self.name.replace(':', "__");
        format!("{namespace}_{name}_{}_{}", self.group, self.kind)
    }

    /// Whether the inventory key reads back as this object. RBAC allows names (`a__b`) for which it does not.
    pub fn is_storable(&self) -> bool {
        self.inventory_key().parse().as_ref() == Ok(self)
    }

    /// Whether this is the kind `kind` of the group `group`.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.long())
    }
}

impl FromStr for ObjectId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let split = || {
            let (namespace, rest) = text.split_once('_')?;
            let (rest, kind) = rest.rsplit_once('_')?;
            let (name, group) = rest.rsplit_once('_')?;
            let whole = !name.is_empty() && !kind.is_empty() && !kind.contains('.');
            whole.then(|| Self::new(group, kind, Some(namespace), &name.replace("__", ":")))
        };
        split().ok_or_else(|| ParseIdError {
            text: text.to_owned(),
        })
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_storable() {
            return Err(ser::Error::custom(format!(
                "{self:?} has a name that cannot be stored"
            )));
        }
        serializer.serialize_str(&self.inventory_key())
    }
}

impl<'de> Deserialize<'de> for ObjectId {
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

    type Parts = (
        &'static str,
        &'static str,
        Option<&'static str>,
        &'static str,
    );

    /// (case, id, for people, long, stored)
    const FORMS: [(&str, Parts, &str, &str, &str); 4] = [
        (
            "namespaced",
            ("apps", "Deployment", Some("shop"), "web"),
            "Deployment shop/web",
            "Deployment.apps shop/web",
            "shop_web_apps_Deployment",
        ),
        (
            "core",
            ("", "Secret", Some("a"), "b"),
            "Secret a/b",
            "Secret a/b",
            "a_b__Secret",
        ),
        (
            "cluster",
            ("", "Namespace", None, "a"),
            "Namespace a",
            "Namespace a",
            "_a__Namespace",
        ),
        (
            "colon",
            ("rbac.authorization.k8s.io", "ClusterRole", None, "system:x"),
            "ClusterRole system:x",
            "ClusterRole.rbac.authorization.k8s.io system:x",
            "_system__x_rbac.authorization.k8s.io_ClusterRole",
        ),
    ];

    #[test]
    fn forms() {
        for (case, (group, kind, namespace, name), people, long, stored) in FORMS {
            let id = ObjectId::new(group, kind, namespace, name);
            assert_eq!(id.to_string(), people, "{case}");
            assert_eq!(id.long(), long, "{case}");
            assert_eq!(id.inventory_key(), stored, "{case}");
            assert_eq!(stored.parse(), Ok(id), "{case}");
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        for text in [
            "",
            "a",
            "a_b",
            "a_b_c",
            "___Kind",
            "a_b__",
            "Deployment shop/web",
        ] {
            assert!(text.parse::<ObjectId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_read_back_is_not_stored() {
        for name in ["a__b", "a_:b"] {
            let id = ObjectId::new("rbac.authorization.k8s.io", "ClusterRole", None, name);
            assert!(!id.is_storable(), "{name}");
            assert!(serde_json::to_string(&id).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn stored_form_reads_back(
            group in "([a-z]{1,5}(\\.[a-z0-9-]{1,5}){0,2})?",
            kind in "[A-Z][A-Za-z0-9]{0,8}",
            namespace in proptest::option::of("[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?"),
            name in "[a-z0-9]([a-z0-9.:-]{0,8}[a-z0-9])?(_[a-z]{1,3})?",
        ) {
            let id = ObjectId::new(&group, &kind, namespace.as_deref(), &name);
            prop_assert_eq!(id.inventory_key().parse::<ObjectId>(), Ok(id.clone()));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<ObjectId>(&json).unwrap(), id);
        }

        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,40}") {
            if let Ok(id) = text.parse::<ObjectId>() {
                prop_assert!(!id.name.is_empty() && !id.kind.is_empty());
            }
        }
    }
}
