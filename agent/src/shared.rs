//! What all tasks of the agent share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kustomize::Memo;
use tokio_util::sync::CancellationToken;

use crate::api::sync::GitReference;
use crate::board::{Board, SyncName};
use crate::cluster::Cluster;
use crate::events::Events;
use crate::git::fetcher::{Fetcher, SourceKey};
use crate::http::Heartbeat;
use crate::lookup::Lookup;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::watches::Watches;

/// Handles that every part may use.
pub(crate) struct Shared {
    /// Namespace of the Syncs.
    pub(crate) namespace: String,
    /// The API server.
    pub(crate) cluster: Cluster,
    /// What it holds.
    pub(crate) watches: Watches,
    /// The git thread.
    pub(crate) fetcher: Fetcher,
    /// Where every Sync stands.
    pub(crate) board: Board,
    /// Numbers.
    pub(crate) metrics: Metrics,
    /// Kubernetes Events.
    pub(crate) events: Events,
    /// Liveness of the main loop.
    pub(crate) heartbeat: Heartbeat,
    /// Cancelled once the lease is held and all Syncs are known.
    pub(crate) listed: CancellationToken,
    /// Who reads what.
    pub(crate) readers: Readers,
    /// What renderings leave behind for the next.
    pub(crate) memo: Arc<Memo>,
    /// What is looked up for those who ask over HTTP.
    pub(crate) lookup: Lookup,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// What one Sync reads.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// Where.
    pub(crate) key: SourceKey,
    /// What of it.
    pub(crate) reference: GitReference,
    /// Its task.
    pub(crate) mailbox: Arc<Mailbox>,
}

/// Which Sync reads which source, so that a push reaches all of them.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    table: Mutex<BTreeMap<SyncName, Reader>>,
}

impl Readers {
    /// Sets what a Sync reads.
    pub(crate) fn set(&self, name: &SyncName, reader: Reader) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone(), reader);
    }

    /// The source that a Sync reads, once that is known.
    pub(crate) fn source(&self, name: &SyncName) -> Option<SourceKey> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(name).map(|reader| reader.key.clone())
    }

    /// Forgets a Sync.
    pub(crate) fn remove(&self, name: &SyncName) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    /// Tells everybody else who reads this that it has moved.
    pub(crate) fn moved(&self, by: &SyncName, key: &SourceKey, reference: &GitReference) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, reader) in table.iter() {
            if name != by && reader.key == *key && reader.reference == *reference {
                reader.mailbox.ask();
            }
        }
    }
}

impl Shared {
    /// Tells all Syncs that read the source of `name` that a reference of it moved. Returns how many.
    pub(crate) fn pushed(&self, name: &SyncName, reference: &str) -> usize {
        let table = self
            .readers
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(named) = table.get(name) else {
            return 0;
        };
        let concerned = table.values().filter(|reader| {
            reader.key.url == named.key.url && concerns(&reader.reference, reference)
        });
        concerned.inspect(|reader| reader.mailbox.ask()).count()
    }
}

/// Whether a moved reference can change what `wanted` stands for.
fn concerns(wanted: &GitReference, moved: &str) -> bool {
    let GitReference {
        branch,
        tag,
        semver,
        name,
        commit,
    } = wanted;
    if let Some(name) = name {
        return name == moved;
    }
    if semver.is_some() {
        return moved.starts_with("refs/tags/");
    }
    if let (Some(tag), None) = (tag, commit) {
        return moved.strip_prefix("refs/tags/") == Some(tag);
    }
    match branch {
        Some(branch) => moved.strip_prefix("refs/heads/") == Some(branch),
        // The default branch is known to the server only.
        None => moved.starts_with("refs/heads/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_change_is_told() {
        let some = |text: &str| Some(text.to_owned());
        let branch = GitReference {
            branch: some("main"),
            ..GitReference::default()
        };
        let tag = GitReference {
            tag: some("v1"),
            ..GitReference::default()
        };
        let semver = GitReference {
            semver: some("*"),
            ..GitReference::default()
        };
        let name = GitReference {
            name: some("refs/heads/x"),
            ..GitReference::default()
        };
        let cases = [
            (&branch, "refs/heads/main", true),
            (&branch, "refs/heads/main2", false),
            (&branch, "refs/tags/main", false),
            (&tag, "refs/tags/v1", true),
            (&tag, "refs/heads/v1", false),
            (&semver, "refs/tags/v2", true),
            (&semver, "refs/heads/main", false),
            (&name, "refs/heads/x", true),
            (&name, "refs/heads/y", false),
            (&GitReference::default(), "refs/heads/any", true),
        ];
        for (wanted, moved, expected) in cases {
            assert_eq!(concerns(wanted, moved), expected, "{wanted:?} {moved}");
        }
    }
}
