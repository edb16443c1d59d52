//! Every environment variable that the agent reads.

/// Address that the HTTP server listens on, as `0.0.0.0:8080`.
pub(crate) const LISTEN: &str = "IMMUOPS_LISTEN";
/// Namespace of the Syncs; the agent looks at no other.
pub(crate) const NAMESPACE: &str = "IMMUOPS_NAMESPACE";
/// Directory for git mirrors. It may be lost at any time.
pub(crate) const MIRRORS: &str = "IMMUOPS_MIRRORS";
/// File with the token that signs webhooks.
pub(crate) const WEBHOOK_TOKEN_FILE: &str = "IMMUOPS_WEBHOOK_TOKEN_FILE";
/// Name under which this process holds the lease: the name of its pod.
pub(crate) const IDENTITY: &str = "IMMUOPS_IDENTITY";
/// How many times as long as usual the API server is waited for.
pub(crate) const PATIENCE: &str = "IMMUOPS_PATIENCE";
/// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
pub(crate) const LOG: &str = "IMMUOPS_LOG";
/// `text` or `json`.
pub(crate) const LOG_FORMAT: &str = "IMMUOPS_LOG_FORMAT";
/// User that logs in to immudb.
pub(crate) const IMMUDB_USERNAME: &str = "IMMUOPS_IMMUDB_USERNAME";
/// File with that user's password.
pub(crate) const IMMUDB_PASSWORD_FILE: &str = "IMMUOPS_IMMUDB_PASSWORD_FILE";
/// The password itself, if there is no file. There is no flag for it: others can read arguments.
pub(crate) const IMMUDB_PASSWORD: &str = "IMMUOPS_IMMUDB_PASSWORD";
