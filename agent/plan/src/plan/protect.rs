//! Kinds and objects that are not deleted just because they left git.

use crate::object::{ObjectId, SYSTEM_NAMESPACE};

/// Namespaces that every cluster needs, and the agent's own.
const NAMESPACES: [&str; 5] = [
    "default",
    "kube-node-lease",
    "kube-public",
    "kube-system",
    SYSTEM_NAMESPACE,
];
/// Group of the agent's own resources.
const OUR_GROUP: &str = "immuops.dev";
/// What the agent runs as, in its own namespace.
const OUR_KINDS: [(&str, &str); 6] = [
    ("", "Secret"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("apps", "Deployment"),
    (RBAC, "Role"),
    (RBAC, "RoleBinding"),
];
const RBAC: &str = "rbac.authorization.k8s.io";

/// Whether deleting the object may delete data: its own, or that of what goes with it.
pub(crate) fn holds_data(id: &ObjectId) -> bool {
    matches!(
        (id.group.as_str(), id.kind.as_str()),
        (
            "",
            "Namespace" | "PersistentVolume" | "PersistentVolumeClaim"
        ) | ("apps", "StatefulSet")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// Whether the cluster or the agent could not live without the object. Consent does not help.
pub(crate) fn is_protected(id: &ObjectId) -> bool {
    if id.is("", "Namespace") {
        return NAMESPACES.contains(&id.name.as_str());
    }
    if id.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return id
            .name
            .split_once('.')
            .is_some_and(|(_, group)| group == OUR_GROUP);
    }
    if id.is(RBAC, "ClusterRole") || id.is(RBAC, "ClusterRoleBinding") {
        return id.name == "immuops" || id.name.starts_with("immuops-");
    }
    id.namespace.as_deref() == Some(SYSTEM_NAMESPACE)
        && OUR_KINDS.iter().any(|(group, kind)| id.is(group, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected() {
        let cases = [
            (ObjectId::new("", "Namespace", None, "kube-system"), true),
            (ObjectId::new("", "Namespace", None, "immuops-system"), true),
            (ObjectId::new("", "Namespace", None, "shop"), false),
            (crd("syncs.immuops.dev"), true),
            (crd("syncs.other.dev"), false),
            (
                ObjectId::new(RBAC, "ClusterRole", None, "immuops-agent"),
                true,
            ),
            (ObjectId::new(RBAC, "ClusterRole", None, "immuopsy"), false),
            (
                ObjectId::new("apps", "Deployment", Some(SYSTEM_NAMESPACE), "agent"),
                true,
            ),
            (
                ObjectId::new("apps", "Deployment", Some("shop"), "agent"),
                false,
            ),
            (
                ObjectId::new(OUR_GROUP, "Sync", Some(SYSTEM_NAMESPACE), "shop"),
                false,
            ),
        ];
        for (id, expected) in cases {
            assert_eq!(is_protected(&id), expected, "{id:?}");
        }
    }

    fn crd(name: &str) -> ObjectId {
        ObjectId::new(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            None,
            name,
        )
    }

    #[test]
    fn data() {
        let cases = [
            (crd("a.b"), true),
            (
                ObjectId::new("", "PersistentVolumeClaim", Some("a"), "b"),
                true,
            ),
            (ObjectId::new("apps", "StatefulSet", Some("a"), "b"), true),
            (ObjectId::new("apps", "Deployment", Some("a"), "b"), false),
            (
                ObjectId::new("example.com", "StatefulSet", Some("a"), "b"),
                false,
            ),
        ];
        for (id, expected) in cases {
            assert_eq!(holds_data(&id), expected, "{id:?}");
        }
    }
}
