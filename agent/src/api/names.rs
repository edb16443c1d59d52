//! Fixed names of the API group: labels, annotations, the finalizer and the field managers.

/// Written on every object of a Sync: the name of the Sync.
pub(crate) const SYNC_NAME: &str = "immuops.dev/sync-name";
/// Any new value makes the agent reconcile the Sync now (Flux: `reconcile.fluxcd.io/requestedAt`).
pub(crate) const REQUESTED_AT: &str = "reconcile.immuops.dev/requestedAt";
/// Keeps a deleted Sync until the agent has dealt with what it owns.
pub(crate) const FINALIZER: &str = "finalizers.immuops.dev/sync";
/// Field manager of every object that comes from git.
pub(crate) const FIELD_MANAGER: &str = "immuops-agent";
/// Field manager of the agent's own bookkeeping: status, finalizer, inventory.
pub(crate) const STATUS_MANAGER: &str = "immuops-agent-status";
