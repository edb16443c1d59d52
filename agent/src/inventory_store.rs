//! Reads and writes the Inventory of one Sync, with the resource version as a guard: two agents can
//! never both believe to have written it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Resource, ResourceExt};
use plan::inventory::Inventory as Contents;

use crate::api::inventory::{Inventory, InventorySpec};
use crate::api::sync::Sync;
use crate::cluster::Cluster;
use crate::problem::{Problem, Secrecy};

/// The inventory as it is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// What it lists.
    pub(crate) contents: Contents,
    /// The object in the cluster, without its spec; none before the first write.
    object: Option<Inventory>,
}

/// Access to one Inventory.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    cluster: Cluster,
    api: Api<Inventory>,
    name: String,
}

impl Store {
    /// The Inventory of a Sync.
    pub(crate) fn new(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let api = Api::namespaced(cluster.client(), namespace);
        Self {
            cluster: cluster.clone(),
            api,
            name: name.to_owned(),
        }
    }

    /// Reads it. An inventory that cannot be read is an error, never an empty one.
    pub(crate) async fn load(&self) -> Result<Stored, Problem> {
        let Some(object) = self
            .cluster
            .read(Secrecy::Open, self.api.get_opt(&self.name))
            .await?
        else {
            return Ok(Stored::default());
        };
        let contents = contents(&object.spec)?;
        let object = bare(object);
        Ok(Stored {
            contents,
            object: Some(object),
        })
    }

    /// Writes `contents` unless that is what is stored.
    pub(crate) async fn save(
        &self,
        sync: &Sync,
        stored: &mut Stored,
        contents: Contents,
    ) -> Result<(), Problem> {
        if stored.object.is_some() && stored.contents == contents {
            return Ok(());
        }
        let spec = spec(&contents)?;
        let params = PostParams {
            field_manager: Some(crate::api::names::STATUS_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let object = if let Some(object) = stored.object.clone() {
            let object = Inventory { spec, ..object };
            let call = self.api.replace(&self.name, &params, &object);
            self.cluster.write(Secrecy::Open, call).await?
        } else {
            let mut object = Inventory::new(&self.name, spec);
            object.meta_mut().owner_references = Some(vec![owner(sync)]);
            let call = self.api.create(&params, &object);
            self.cluster.write(Secrecy::Open, call).await?
        };
        let object = bare(object);
        *stored = Stored {
            contents,
            object: Some(object),
        };
        Ok(())
    }

    /// Deletes it, once nothing in it is ours any more.
    pub(crate) async fn delete(&self) -> Result<(), Problem> {
        let params = DeleteParams::default();
        match self
            .cluster
            .write(Secrecy::Open, self.api.delete(&self.name, &params))
            .await
        {
            Ok(_) => Ok(()),
            Err(problem) if problem.is_not_found() => Ok(()),
            Err(problem) => Err(problem),
        }
    }
}

/// Drops the spec, which is kept in its other form.
fn bare(object: Inventory) -> Inventory {
    Inventory {
        spec: InventorySpec::default(),
        ..object
    }
}

fn owner(sync: &Sync) -> OwnerReference {
    OwnerReference {
        api_version: Sync::api_version(&()).into_owned(),
        kind: Sync::kind(&()).into_owned(),
        name: sync.name_any(),
        uid: sync.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The two types have the same JSON; the API's is the one with a schema.
fn contents(spec: &InventorySpec) -> Result<Contents, Problem> {
    serde_json::to_value(spec)
        .and_then(serde_json::from_value)
        .map_err(|error| Problem::Answer {
            reason: format!("the Inventory: {error}"),
        })
}

fn spec(contents: &Contents) -> Result<InventorySpec, Problem> {
    serde_json::to_value(contents)
        .and_then(serde_json::from_value)
        .map_err(|error| Problem::Answer {
            reason: format!("the Inventory: {error}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::inventory::Entry;
    use plan::object::ObjectId;

    #[test]
    fn both_types_have_the_same_json() {
        let entry = |uid: Option<&str>| Entry {
            version: "v1".to_owned(),
            uid: uid.map(Into::into),
            hash: uid.map(|_| "ab".repeat(32).parse().unwrap()),
        };
        let before = Contents {
            entries: [
                (
                    ObjectId::new("apps", "Deployment", Some("a"), "b"),
                    entry(Some("u")),
                ),
                (ObjectId::new("", "Namespace", None, "a"), entry(None)),
            ]
            .into(),
        };
        assert_eq!(contents(&spec(&before).unwrap()).unwrap(), before);
    }
}
