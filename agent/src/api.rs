//! The custom resources of the agent: their Rust types are the source of the CRDs that
//! `agent crds` prints and that the install manifests contain.

pub(crate) mod inventory;
pub(crate) mod names;
pub(crate) mod period;
pub(crate) mod sync;
pub(crate) mod upgrade_policy;
pub(crate) mod upgrade_proof;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Lists every CRD of the agent, in the order in which they are installed.
pub(crate) fn definitions() -> [CustomResourceDefinition; 3] {
    [
        sync::Sync::crd(),
        inventory::Inventory::crd(),
        upgrade_policy::UpgradePolicy::crd(),
    ]
}
