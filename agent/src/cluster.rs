//! The API server as this program uses it: each call has a deadline, each write needs the lease, and
//! each error is turned into a [`Problem`].

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::core::PartialObjectMeta;
use kube::{Client, Resource, ResourceExt};
use plan::object::{Desired, FIELD_MANAGER, ObjectId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::names::STATUS_MANAGER;
use crate::api::sync::Sync;
use crate::kinds::{Kind, Kinds};
use crate::lease::Authority;
use crate::patience::Patience;
use crate::problem::{Problem, Secrecy};

/// Handle to the cluster; clones share everything.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    kinds: Kinds,
    authority: Authority,
    patience: Patience,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

/// Whether an apply is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The server checks and answers as if, but stores nothing.
    DryRun,
    /// For good.
    Real,
}

/// What became of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The server has taken it; finalizers may still run.
    Accepted,
    /// Nothing with that uid is left.
    Gone,
}

impl Cluster {
    /// Puts the parts together.
    pub(crate) fn new(client: Client, authority: Authority, patience: Patience) -> Self {
        let kinds = Kinds::new(client.clone(), patience);
        Self {
            client,
            kinds,
            authority,
            patience,
        }
    }

    /// The plain client, for reads of types that are known at compile time.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// What the server serves.
    pub(crate) const fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The right to write.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Applies one object with our field manager and returns its metadata afterwards.
    pub(crate) async fn apply(&self, desired: &Desired, mode: Mode) -> Result<ObjectMeta, Problem> {
        let id = desired.id();
        let api = self.objects(id, desired.version()).await?;
        let mut params = PatchParams::apply(FIELD_MANAGER)
            .force()
            .validation_strict();
        if mode == Mode::DryRun {
            params = params.dry_run();
        }
        let patch = Patch::Apply(desired.json());
        let answer = self
            .write(
                Secrecy::of(&id.group, &id.kind),
                api.patch_metadata(&id.name, &params, &patch),
            )
            .await?;
        Ok(answer.metadata)
    }

    /// Deletes one life of an object, in the background.
    pub(crate) async fn delete(
        &self,
        id: &ObjectId,
        version: &str,
        uid: &str,
    ) -> Result<Deletion, Problem> {
        let api = self.objects(id, version).await?;
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self
            .write(Secrecy::Open, api.delete(&id.name, &params))
            .await
        {
            Ok(_) => Ok(Deletion::Accepted),
            Err(problem) if problem.is_not_found() => Ok(Deletion::Gone),
            Err(problem) => Err(problem),
        }
    }

    /// Reads the metadata of one object. `None` if the server has no such object, or surely no such
    /// kind.
    pub(crate) async fn metadata(
        &self,
        id: &ObjectId,
        version: &str,
    ) -> Result<Option<ObjectMeta>, Problem> {
        let api = match self.objects(id, version).await {
            Ok(api) => api,
            Err(Problem::NoSuchKind { .. }) if self.kinds.surely_missing(&id.group, version) => {
                return Ok(None);
            }
            Err(problem) => return Err(problem),
        };
        let secrecy = Secrecy::of(&id.group, &id.kind);
        let answer = self.read(secrecy, api.get_metadata_opt(&id.name)).await?;
        Ok(answer.map(|object| object.metadata))
    }

    /// Replaces the record of who manages which field, if the object is still the one that was read.
    pub(crate) async fn set_managers(
        &self,
        desired: &Desired,
        patch: &serde_json::Value,
    ) -> Result<(), Problem> {
        let id = desired.id();
        let api = self.objects(id, desired.version()).await?;
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let call = api.patch_metadata(&id.name, &params, &patch);
        self.write(Secrecy::of(&id.group, &id.kind), call)
            .await
            .map(drop)
    }

    /// Reads one whole object. `None` if the server has no such object or kind.
    pub(crate) async fn object(
        &self,
        id: &ObjectId,
        version: &str,
    ) -> Result<Option<serde_json::Value>, Problem> {
        let api = match self.objects(id, version).await {
            Ok(api) => api,
            Err(Problem::NoSuchKind { .. }) => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let secrecy = Secrecy::of(&id.group, &id.kind);
        let Some(object) = self.read(secrecy, api.get_opt(&id.name)).await? else {
            return Ok(None);
        };
        serde_json::to_value(object)
            .map(Some)
            .map_err(|error| Problem::Answer {
                reason: error.to_string(),
            })
    }

    /// Sets which finalizers of a Sync are ours; those of others stay.
    pub(crate) async fn set_finalizers(
        &self,
        sync: &Sync,
        finalizers: &[&str],
    ) -> Result<Sync, Problem> {
        let namespace = sync.namespace().unwrap_or_default();
        let api: Api<Sync> = Api::namespaced(self.client(), &namespace);
        let name = sync.name_any();
        // The uid keeps a late call from bringing back a Sync that is gone.
        let patch = serde_json::json!({
            "apiVersion": Sync::api_version(&()),
            "kind": Sync::kind(&()),
            "metadata": { "name": name, "uid": sync.uid(), "finalizers": finalizers },
        });
        let params = PatchParams::apply(STATUS_MANAGER).force();
        self.write(
            Secrecy::Open,
            api.patch(&name, &params, &Patch::Apply(&patch)),
        )
        .await
    }

    /// Sends a merge patch to the status of one object.
    pub(crate) async fn merge_status<K>(
        &self,
        api: &Api<K>,
        name: &str,
        patch: &(impl Serialize + fmt::Debug),
    ) -> Result<K, Problem>
    where
        K: Clone + DeserializeOwned + fmt::Debug + Resource,
    {
        let params = PatchParams {
            field_manager: Some(STATUS_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.write(
            Secrecy::Open,
            api.patch_status(name, &params, &Patch::Merge(patch)),
        )
        .await
    }

    /// How long the API server is waited for.
    pub(crate) const fn patience(&self) -> Patience {
        self.patience
    }

    /// Waits for the answer to one question.
    pub(crate) fn read<T>(
        &self,
        secrecy: Secrecy,
        call: impl Future<Output = kube::Result<T>>,
    ) -> impl Future<Output = Result<T, Problem>> {
        self.patience.answer(secrecy, call)
    }

    /// Runs one write if this process may write.
    pub(crate) async fn write<T>(
        &self,
        secrecy: Secrecy,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Problem> {
        self.authority.held().await?;
        self.read(secrecy, call).await
    }

    /// The collection that an object is in: of its namespace, for kinds that have one.
    async fn objects(&self, id: &ObjectId, version: &str) -> Result<Api<DynamicObject>, Problem> {
        let kind = self.kinds.resolve(&id.group, version, &id.kind).await?;
        Ok(match id.namespace.as_deref() {
            Some(namespace) if kind.namespaced() => {
                Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
            }
            Some(_) | None => Api::all_with(self.client.clone(), &kind.resource),
        })
    }

    /// The collection of a kind in all namespaces, metadata only.
    pub(crate) fn all_metadata(&self, kind: &Kind) -> Api<PartialObjectMeta<DynamicObject>> {
        Api::all_with(self.client.clone(), &kind.resource)
    }
}
