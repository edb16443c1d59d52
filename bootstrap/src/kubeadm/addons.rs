//! The objects that every cluster has from the start: the administrators' rights, the storage
//! class, the volumes of each node's disk, and patience where it is slow.

use serde_json::{Value, json};

use super::probes;
use crate::pace::Pace;
use crate::topology::{Node, Topology};

/// The storage class, which is the cluster's default.
pub const STORAGE_CLASS: &str = "immuops-local";
/// Volumes per node.
pub const VOLUMES: u8 = 4;
/// What each volume claims to hold; a directory enforces nothing.
const VOLUME_SIZE: &str = "10Gi";

/// Where a volume is inside its machine; `number` counts from 1.
pub fn volume_path(number: u8) -> String {
    format!("/var/lib/immuops/volumes/{number}")
}

/// All of them as one `List`, for `kubectl apply`.
pub fn objects(topology: &Topology, pace: Pace) -> Value {
    let mut items = vec![administrators(), storage_class()];
    for node in &topology.nodes {
        items.extend((1..=VOLUMES).map(|number| volume(node, number)));
    }
    items.extend(probes::objects(pace));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// kubeadm binds the group in its own `init`, which we do not run as a whole.
fn administrators() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "kubeadm:cluster-admins" },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": "kubeadm:cluster-admins",
        }],
    })
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    })
}

fn volume(node: &Node, number: u8) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": format!("{}-{number}", node.name) },
        "spec": {
            "capacity": { "storage": VOLUME_SIZE },
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": { "path": volume_path(number) },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{
                "matchExpressions": [{
                    "key": "kubernetes.io/hostname",
                    "operator": "In",
                    "values": [node.name],
                }],
            }] } },
        },
    })
}
