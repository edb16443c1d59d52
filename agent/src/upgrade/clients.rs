//! Everybody that a policy talks to, with the Secrets that it names.

use std::collections::BTreeMap;

use forge::facts::Repository;
use forge::fault::Fault;
use forge::round::LookError;
use forge::version::Version;
use immudb::ClientError;
use immudb::history::Record;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;

use super::connection::{AnyForge, Identity, InvalidSecret, Upstream, login};
use super::poll::PollError;
use super::proof::Testimony;
use super::settings::{ProofSettings, Settings};
use super::witnesses::Witnesses;
use crate::cluster::Cluster;
use crate::problem::Secrecy;

/// The clients of one policy, for one step of it.
#[derive(Debug)]
pub(crate) struct Clients<'a> {
    secrets: Secrets<'a>,
    settings: &'a Settings,
    forge: AnyForge,
    witnesses: Option<Witnesses>,
}

impl<'a> Clients<'a> {
    /// Reads the Secrets of the forge and the servers; those of the release list and the registry are read
    /// when they are needed.
    pub(crate) async fn new(
        cluster: &'a Cluster,
        namespace: &'a str,
        settings: &'a Settings,
    ) -> Result<Self, PollError> {
        let secrets = Secrets { cluster, namespace };
        let secret = settings.repository.secret.as_deref();
        let identity = secrets
            .identity(secret, "spec.repository.secretRef")
            .await?;
        let witnesses = match &settings.proof {
            Some(proof) => Some(secrets.witnesses(proof).await?),
            None => None,
        };
        Ok(Self {
            forge: AnyForge::new(settings, &identity)?,
            secrets,
            settings,
            witnesses,
        })
    }

    /// Where releases and images are.
    pub(crate) async fn upstream(&self) -> Result<Upstream, PollError> {
        let settings = self.settings;
        let releases = settings.releases.secret.as_deref();
        let releases = self.secrets.identity(releases, "spec.releases.secretRef");
        let registry = settings.registry_secret.as_deref();
        let registry = self.secrets.identity(registry, "spec.image.secretRef");
        Ok(Upstream::new(settings, &releases.await?, &registry.await?)?)
    }

    /// Looks at the repository.
    pub(crate) async fn look(&self) -> Result<Repository, Fault> {
        self.forge.look(&self.settings.policy).await
    }

    /// The version that the repository has at a commit.
    pub(crate) async fn version_at(&self, commit: &str) -> Result<Version, LookError> {
        self.forge.version_at(&self.settings.policy, commit).await
    }

    /// The forge, once all else is done.
    pub(crate) fn into_forge(self) -> AnyForge {
        self.forge
    }

    /// Asks the servers of the proof what they hold, once; they are nobody's concern without a proof.
    pub(crate) async fn ask(
        &mut self,
        before: Option<&Record>,
    ) -> Option<Result<Testimony, ClientError>> {
        Some(self.witnesses.take()?.ask(before).await)
    }
}

/// Reads the Secrets that a policy names.
#[derive(Debug)]
struct Secrets<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Secrets<'_> {
    async fn identity(
        &self,
        name: Option<&str>,
        field: &'static str,
    ) -> Result<Identity, PollError> {
        match name {
            Some(name) => self.read(name, field, Identity::of).await,
            None => Ok(Identity::default()),
        }
    }

    async fn witnesses(&self, proof: &ProofSettings) -> Result<Witnesses, PollError> {
        let mut logins = Vec::new();
        for server in &proof.servers {
            let login = self
                .read(&server.secret, server.secret_field, login)
                .await?;
            logins.push((server, login));
        }
        Ok(Witnesses::new(logins)?)
    }

    async fn read<T>(
        &self,
        name: &str,
        field: &'static str,
        parse: impl FnOnce(&BTreeMap<String, Vec<u8>>) -> Result<T, InvalidSecret>,
    ) -> Result<T, PollError> {
        let shown = format!("{}/{name}", self.namespace);
        let api: Api<Secret> = Api::namespaced(self.cluster.client(), self.namespace);
        let secret = self
            .cluster
            .read(Secrecy::Secret, api.get_opt(name))
            .await?;
        let Some(secret) = secret else {
            return Err(PollError::NoSecret { name: shown, field });
        };
        let data: BTreeMap<String, Vec<u8>> = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, bytes)| (key, bytes.0))
            .collect();
        parse(&data).map_err(|source| PollError::Secret {
            name: shown,
            field,
            source,
        })
    }
}
