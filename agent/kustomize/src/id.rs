//! Who an object is: group, version, kind, name and namespace.

use std::fmt;

use smol_str::SmolStr;

use crate::schema::Schema;
use crate::yaml::Node;

/// Group, version and kind. As a selector, an empty part matches anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gvk {
    pub(crate) group: SmolStr,
    pub(crate) version: SmolStr,
    pub(crate) kind: SmolStr,
}

impl Gvk {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    pub(crate) fn api_version(&self) -> SmolStr {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            smol_str::format_smolstr!("{}/{}", self.group, self.version)
        }
    }

    /// Whether `selector`, whose empty parts match anything, selects this.
    pub(crate) fn is_selected(&self, selector: &Self) -> bool {
        let matches = |pattern: &str, value: &str| pattern.is_empty() || pattern == value;
        matches(&selector.group, &self.group)
            && matches(&selector.version, &self.version)
            && matches(&selector.kind, &self.kind)
    }

    /// Where the kind stands in kustomize's order, and the text that decides among equals.
    pub(crate) fn rank(&self) -> (i32, String) {
        (
            kind_rank(&self.kind, &ORDER_FIRST, &ORDER_LAST),
            self.sort_text(),
        )
    }

    pub(crate) fn sort_text(&self) -> String {
        let or = |part: &str, absent: &str| {
            if part.is_empty() {
                absent.to_owned()
            } else {
                part.to_owned()
            }
        };
        format!(
            "{}_{}_{}",
            or(&self.group, "~G"),
            or(&self.version, "~V"),
            or(&self.kind, "~K")
        )
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |part: &'_ str, absent: &'static str| {
            if part.is_empty() {
                absent.to_owned()
            } else {
                part.to_owned()
            }
        };
        write!(
            out,
            "{}.{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]")
        )
    }
}

/// Kinds that the legacy order puts first, in this order.
pub(crate) const ORDER_FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Kinds that the legacy order puts last.
pub(crate) const ORDER_LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Negative for a kind in `first`, positive for one in `last`, 0 for the rest.
pub(crate) fn kind_rank<S: AsRef<str>>(kind: &str, first: &[S], last: &[S]) -> i32 {
    let index = |list: &[S]| list.iter().rposition(|entry| entry.as_ref() == kind);
    let number = |index: usize| i32::try_from(index).unwrap_or(i32::MAX - 1);
    if let Some(index) = index(last) {
        return number(index) + 1;
    }
    index(first).map_or(0, |index| number(index) - number(first.len()))
}

/// The namespace that cluster-scoped objects share in comparisons.
pub(crate) const NO_NAMESPACE: &str = "_non_namespaceable_";
const DEFAULT: &str = "default";

/// An object's identity, now or before a rename. Two objects with equal ids are the same object:
/// no namespace and `default` are one, cluster-scoped objects have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ResourceId {
    pub(crate) gvk: Gvk,
    pub(crate) name: SmolStr,
    /// `default`, [`NO_NAMESPACE`] or the namespace.
    pub(crate) namespace: SmolStr,
}

impl ResourceId {
    pub(crate) fn of(node: &Node, schema: &Schema) -> Self {
        let gvk = gvk_of(node);
        let namespace = if schema.is_cluster_scoped(&gvk) {
            NO_NAMESPACE
        } else {
            match meta_text(node, "namespace") {
                "" => DEFAULT,
                namespace => namespace,
            }
        };
        Self {
            name: meta_text(node, "name").into(),
            namespace: namespace.into(),
            gvk,
        }
    }

    pub(crate) fn is_cluster_scoped(&self) -> bool {
        self.namespace == NO_NAMESPACE
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            gvk,
            name,
            namespace,
        } = self;
        let api_version = gvk.api_version();
        if self.is_cluster_scoped() {
            write!(out, "{} {name} ({api_version})", gvk.kind)
        } else {
            write!(out, "{} {namespace}/{name} ({api_version})", gvk.kind)
        }
    }
}

/// The text of a top-level field; empty if it is missing.
pub(crate) fn field_text<'a>(node: &'a Node, field: &str) -> &'a str {
    node.get(field).and_then(Node::text).unwrap_or_default()
}

pub(crate) fn gvk_of(node: &Node) -> Gvk {
    Gvk::new(field_text(node, "apiVersion"), field_text(node, "kind"))
}

/// The text of `metadata.FIELD`; empty if it is missing or null.
pub(crate) fn meta_text<'a>(node: &'a Node, field: &str) -> &'a str {
    node.get("metadata")
        .and_then(|meta| meta.get(field))
        .and_then(Node::value)
        .unwrap_or_default()
}
