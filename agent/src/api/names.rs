//! Fixed names of the API group: annotations, the finalizer, the field manager of the
//! agent's own bookkeeping. Those on users' objects are in the package `plan`.

/// Any new value makes the agent reconcile the Sync now (Flux: `reconcile.fluxcd.io/requestedAt`).
pub(crate) const REQUESTED_AT: &str = "reconcile.immuops.dev/requestedAt";
/// Keeps a deleted Sync until the agent has dealt with what it owns.
pub(crate) const FINALIZER: &str = "finalizers.immuops.dev/sync";
/// Field manager of the agent's own bookkeeping: status, finalizer, inventory.
pub(crate) const STATUS_MANAGER: &str = "immuops-agent-status";
