//! From a Sync's source to a pinned commit: finds the source, reads its Secret, asks the git thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;

use crate::api::sync::{Source, Sync};
use crate::board::SyncName;
use crate::cluster::Cluster;
use crate::git::access::{Access, AccessError, SecretData};
use crate::git::fetcher::{Fetched, Fetcher, Job, SourceKey};
use crate::git::mirror::{FetchError, Rewind};
use crate::git::revision::CommitId;
use crate::problem::{Problem, Secrecy};
use crate::settings::Origin;

/// No commit to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// `sourceRef` names nothing.
    #[error(
        "Sync {name}, named in spec.sourceRef, does not exist; hint: create it, or correct the name"
    )]
    NoSync { name: SyncName },
    /// `sourceRef` names a Sync that has no source of its own.
    #[error(
        "Sync {name}, named in spec.sourceRef, has no source of its own; hint: name the Sync that has spec.source"
    )]
    NoSource { name: SyncName },
    /// The other Sync could not be read.
    #[error("cannot read Sync {name}")]
    Sync { name: SyncName, source: Problem },
    /// The Secret does not exist.
    #[error(
        "Secret {name}, named in spec.source.secretRef, does not exist; hint: create it in the namespace of the Sync"
    )]
    NoSecret { name: String },
    /// The Secret could not be read.
    #[error("cannot read Secret {name}")]
    Secret { name: String, source: Problem },
    /// The address or the Secret is of no use.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The fetch failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// A fetch as a Sync wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Commit that is applied now.
    pub(crate) applied: Option<CommitId>,
    /// An answer of this age will do.
    pub(crate) not_before: Instant,
    /// Bound on the whole fetch.
    pub(crate) timeout: Duration,
}

/// Finds the source that a Sync reads.
pub(crate) async fn find(
    cluster: &Cluster,
    namespace: &str,
    origin: &Origin,
) -> Result<Source, SourceError> {
    let name = match origin {
        Origin::Own(source) => return Ok(source.clone()),
        Origin::Of(name) => name,
    };
    let api: Api<Sync> = Api::namespaced(cluster.client(), namespace);
    let other = cluster
        .read(Secrecy::Open, api.get_opt(name.as_str()))
        .await
        .map_err(|source| SourceError::Sync {
            name: name.clone(),
            source,
        })?
        .ok_or_else(|| SourceError::NoSync { name: name.clone() })?;
    other
        .spec
        .source
        .ok_or_else(|| SourceError::NoSource { name: name.clone() })
}

/// The mirror that a source is kept in.
pub(crate) fn key(namespace: &str, source: &Source) -> SourceKey {
    SourceKey {
        namespace: namespace.to_owned(),
        url: source.url.clone(),
        secret: source.secret_ref.as_ref().map(|secret| secret.name.clone()),
    }
}

/// Fetches what the source's reference stands for now.
pub(crate) async fn fetch(
    cluster: &Cluster,
    fetcher: &Fetcher,
    namespace: &str,
    source: &Source,
    request: Request,
) -> Result<Fetched, SourceError> {
    let access = match &source.secret_ref {
        Some(secret) => {
            let name = format!("{namespace}/{}", secret.name);
            let data = secret_data(cluster, namespace, &secret.name, &name).await?;
            let secret = SecretData {
                name: &name,
                data: &data,
            };
            Access::new(&source.url, Some(secret), request.timeout)?
        }
        None => Access::new(&source.url, None, request.timeout)?,
    };
    let job = Job {
        key: key(namespace, source),
        access: Arc::new(access),
        reference: source.reference.clone().unwrap_or_default(),
        applied: request.applied,
        rewind: if source.allow_rewind {
            Rewind::Allowed
        } else {
            Rewind::Refused
        },
        not_before: request.not_before,
    };
    Ok(fetcher.fetch(job).await?)
}

async fn secret_data(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    shown: &str,
) -> Result<BTreeMap<String, Vec<u8>>, SourceError> {
    let api: Api<Secret> = Api::namespaced(cluster.client(), namespace);
    let secret = cluster
        .read(Secrecy::Secret, api.get_opt(name))
        .await
        .map_err(|source| SourceError::Secret {
            name: shown.to_owned(),
            source,
        })?
        .ok_or_else(|| SourceError::NoSecret {
            name: shown.to_owned(),
        })?;
    let data = secret.data.unwrap_or_default();
    Ok(data
        .into_iter()
        .map(|(key, bytes)| (key, bytes.0))
        .collect())
}
