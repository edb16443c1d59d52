//! `Inventory`: the write-ahead record of every object that a Sync may own.
//!
//! It has the name of its Sync and is written before the first change of a sync and after the last
//! one, so that whatever happens in between no object of ours is ever forgotten.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a Sync may own in the cluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "immuops.dev",
    version = "v1alpha1",
    kind = "Inventory",
    plural = "inventories",
    doc = "The write-ahead record of every object that a Sync may own. Written by the agent only.",
    category = "immuops",
    namespaced
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InventorySpec {
    /// Objects by id `<namespace>_<name>_<group>_<kind>`, as in Flux.
    #[serde(default)]
    pub(crate) entries: BTreeMap<String, InventoryEntry>,
}

/// One object that the Sync may own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InventoryEntry {
    /// API version, without the group.
    pub(crate) version: String,
    /// uid of the object that was applied; absent while the object was never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// sha256 of what was applied last; absent while nothing was, and for Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<String>,
}
