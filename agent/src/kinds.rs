//! Which kinds the server serves, asked once and again when one is missing.
//!
//! A kind that is not found is an error for the one who asked, never a reason to think that its
//! objects are gone: discovery may fail in part while an extension API server is down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope};
use plan::health::StatusSubresource;
use tokio::time::Instant;

use crate::patience::Patience;
use crate::problem::{Problem, Secrecy};

/// A missing kind makes the server be asked again, but not more often than this.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// One kind as the server serves it.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// Path of its collection.
    pub(crate) resource: ApiResource,
    scope: Scope,
    status: StatusSubresource,
}

impl Kind {
    /// Whether its objects live in namespaces.
    pub(crate) const fn namespaced(&self) -> bool {
        matches!(self.scope, Scope::Namespaced)
    }

    /// Whether somebody is to write a status to its objects.
    pub(crate) const fn status(&self) -> StatusSubresource {
        self.status
    }
}

/// Kinds by group, version and kind.
pub(crate) type Table = BTreeMap<(String, String, String), Kind>;

#[derive(Default)]
struct Known {
    table: Arc<Table>,
    groups: BTreeSet<String>,
    asked: Option<Instant>,
}

/// The shared table of kinds.
#[derive(Clone)]
pub(crate) struct Kinds {
    client: Client,
    patience: Patience,
    known: Arc<Mutex<Known>>,
}

impl Kinds {
    /// An empty table that is filled on first use.
    pub(crate) fn new(client: Client, patience: Patience) -> Self {
        Self {
            client,
            patience,
            known: Arc::default(),
        }
    }

    /// Finds a kind, asking the server again if it is not known.
    pub(crate) async fn resolve(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Kind, Problem> {
        let key = (group.to_owned(), version.to_owned(), kind.to_owned());
        if let Some(found) = self.table().get(&key) {
            return Ok(found.clone());
        }
        if self.may_ask() {
            self.refresh().await?;
        }
        self.table()
            .get(&key)
            .cloned()
            .ok_or_else(|| Problem::NoSuchKind {
                api_version: if group.is_empty() {
                    version.to_owned()
                } else {
                    format!("{group}/{version}")
                },
                kind: kind.to_owned(),
            })
    }

    /// Asks the server for everything it serves; two requests.
    pub(crate) async fn refresh(&self) -> Result<(), Problem> {
        let questions = Discovery::new(self.client.clone()).run_aggregated();
        let found = self.patience.answer(Secrecy::Open, questions).await?;
        let groups = found
            .groups()
            .map(|group| group.name().to_owned())
            .collect();
        let mut table = Table::new();
        for group in found.groups() {
            for version in group.versions() {
                for (resource, capabilities) in group.versioned_resources(version) {
                    let key = (
                        group.name().to_owned(),
                        version.to_owned(),
                        resource.kind.clone(),
                    );
                    let status = |plural: &str| plural == "status" || plural.ends_with("/status");
                    let has = capabilities
                        .subresources
                        .iter()
                        .any(|(sub, _)| status(&sub.plural));
                    let status = if has {
                        StatusSubresource::Present
                    } else {
                        StatusSubresource::Absent
                    };
                    table.insert(
                        key,
                        Kind {
                            resource,
                            scope: capabilities.scope,
                            status,
                        },
                    );
                }
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known {
            table: Arc::new(table),
            groups,
            asked: Some(Instant::now()),
        };
        Ok(())
    }

    /// Whether a kind that is not known does not exist, rather than being hidden by an extension API
    /// server that does not answer: its group is gone, or shows other kinds of the same version.
    pub(crate) fn surely_missing(&self, group: &str, version: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        !known.groups.contains(group)
            || known
                .table
                .keys()
                .any(|(other, at, _)| other == group && at == version)
    }

    /// Everything that is known now.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(
            &self
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .table,
        )
    }

    fn may_ask(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN)
    }
}
