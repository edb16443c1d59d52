//! A policy's spec, checked: what was typed becomes what it means, once.

use std::time::Duration;

use forge::http::{Address, InvalidAddress, Plain};
use forge::image::{ImageName, InvalidImageName};
use forge::policy::{FileRule, InvalidRange, Policy, Range};
use forge::registry::Scheme;
use forge::yaml::{FieldPath, FieldRule, InvalidFieldPath};

use crate::api::sync::LocalName;
use crate::api::upgrade_policy::{
    FileEdit, ForgeKind, ForgeRepository, ImageSource, ReleaseSource, UpgradePolicySpec,
};
use crate::api::upgrade_proof::{ImmudbServer, Proof};
use crate::board::SyncName;

/// What a policy asks for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What to propose.
    pub(crate) policy: Policy,
    /// Where releases are.
    pub(crate) releases: Place,
    /// How the registry is reached.
    pub(crate) registry: Scheme,
    /// Secret of the registry.
    pub(crate) registry_secret: Option<String>,
    /// Which forge it is.
    pub(crate) kind: ForgeKind,
    /// Where the repository is.
    pub(crate) repository: Place,
    /// The branch that pull requests go into.
    pub(crate) branch: String,
    /// What is proved after a merge.
    pub(crate) proof: Option<ProofSettings>,
}

/// What is proved after a merge, and with whom.
#[derive(Clone, Debug)]
pub(crate) struct ProofSettings {
    /// The primary, then the replica.
    pub(crate) servers: [WitnessSettings; 2],
    /// How long Syncs and proof may take.
    pub(crate) timeout: Duration,
    /// The pull request whose failed proof somebody has dealt with.
    pub(crate) acknowledged: Option<u64>,
}

/// A server that must hold after an upgrade what it held before.
#[derive(Clone, Debug)]
pub(crate) struct WitnessSettings {
    /// Its name in records.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) address: immudb::Address,
    /// Name of the Secret with its login.
    pub(crate) secret: String,
    /// Where the spec names that Secret.
    pub(crate) secret_field: &'static str,
    /// The Sync that rolls versions out to it.
    pub(crate) sync: SyncName,
}

/// A repository at some API.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The API.
    pub(crate) address: Address,
    /// Its owner.
    pub(crate) owner: String,
    /// Its name.
    pub(crate) name: String,
    /// Name of the Secret.
    pub(crate) secret: Option<String>,
}

/// The spec means nothing. The API server's schema catches some of this before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSpec {
    /// The range is of no use.
    #[error("spec.range: {source}")]
    Range {
        /// Why.
        source: InvalidRange,
    },
    /// An address is of no use.
    #[error("{field}: {source}")]
    Address {
        /// Where.
        field: &'static str,
        /// Why.
        source: InvalidAddress,
    },
    /// An image is no image.
    #[error("{field}: {source}")]
    Image {
        /// Where.
        field: String,
        /// Why.
        source: InvalidImageName,
    },
    /// A path of keys is none.
    #[error("spec.files[{index}].keyPath: {source}")]
    KeyPath {
        /// Which file.
        index: usize,
        /// Why.
        source: InvalidFieldPath,
    },
    /// Two ways to say which value is meant.
    #[error("spec.files[{index}] has both keyPath and image; hint: remove one")]
    Both {
        /// Which file.
        index: usize,
    },
    /// There is nothing to edit.
    #[error("spec.files is empty; hint: name the file that holds the version")]
    NoFiles,
    /// A path leaves the repository.
    #[error(
        "spec.files[{index}].path `{path}` is no path in the repository; hint: write it like immudb/version/kustomization.yaml"
    )]
    Path {
        /// Which file.
        index: usize,
        /// What was written.
        path: String,
    },
    /// A repository has no owner.
    #[error("{field} `{text}` is no repository; hint: write it like owner/name")]
    Repository {
        /// Where.
        field: &'static str,
        /// What was written.
        text: String,
    },
    /// An address of immudb is of no use.
    #[error("{field}: {source}")]
    Immudb {
        /// Where.
        field: &'static str,
        /// Why.
        source: immudb::InvalidAddress,
    },
    /// A Gitea has no address.
    #[error("spec.repository.url is missing; hint: a Gitea needs it, as https://git.example.com")]
    NoUrl,
}

impl Settings {
    /// Reads and checks the spec of the policy `name`.
    pub(crate) fn of(name: &str, spec: &UpgradePolicySpec) -> Result<Self, InvalidSpec> {
        let UpgradePolicySpec {
            interval: _,
            suspend: _,
            releases,
            image,
            range,
            minimum_age,
            files,
            repository,
            proof,
        } = spec;
        let ImageSource {
            repository: image,
            insecure,
            secret_ref,
        } = image;
        let image = ImageName::parse(image).map_err(|source| InvalidSpec::Image {
            field: "spec.image.repository".to_owned(),
            source,
        })?;
        if files.is_empty() {
            return Err(InvalidSpec::NoFiles);
        }
        let files = files
            .iter()
            .enumerate()
            .map(|(index, file)| rule(index, file, &image))
            .collect::<Result<_, _>>()?;
        let range = range
            .as_deref()
            .map(Range::parse)
            .transpose()
            .map_err(|source| InvalidSpec::Range { source })?;
        Ok(Self {
            policy: Policy {
                name: name.to_owned(),
                product: image.last().to_owned(),
                image,
                range,
                minimum_age: minimum_age.duration(),
                files,
                rollout: rollout(proof.is_some()),
            },
            releases: releases_place(releases)?,
            registry: if *insecure {
                Scheme::Http
            } else {
                Scheme::Https
            },
            registry_secret: secret_ref.as_ref().map(secret_name),
            kind: repository.kind,
            branch: repository.branch.clone(),
            repository: repository_place(repository)?,
            proof: proof.as_ref().map(proof_settings).transpose()?,
        })
    }
}

/// What the Syncs of `cluster-repo/` do with a new version: `immudb-replica` depends on `immudb-primary`.
fn rollout(is_proved: bool) -> Vec<String> {
    const STEPS: [&str; 3] = [
        "The primary restarts with the new version. Until it is ready again nothing can be written; the \
         replica goes on answering reads.",
        "Once the primary is healthy, the replica restarts with the new version. Until then it does not \
         follow: immudb replicates between equal versions only.",
        "If the primary does not become healthy, the replica keeps the old version and its data.",
    ];
    const PROOF: &str = "Both servers have to prove that they hold every transaction that was recorded before \
                         the merge, and the result is told here. Nothing else is proposed until then.";
    STEPS
        .into_iter()
        .chain(is_proved.then_some(PROOF))
        .map(str::to_owned)
        .collect()
}

fn proof_settings(proof: &Proof) -> Result<ProofSettings, InvalidSpec> {
    let Proof {
        primary,
        replica,
        timeout,
        acknowledged,
    } = proof;
    let witness = |name, server: &ImmudbServer, field, secret_field| {
        let ImmudbServer {
            address,
            secret_ref,
            sync_ref,
        } = server;
        let address = address.parse();
        Ok(WitnessSettings {
            name,
            address: address.map_err(|source| InvalidSpec::Immudb { field, source })?,
            secret: secret_name(secret_ref),
            secret_field,
            sync: SyncName::new(sync_ref.name.clone()),
        })
    };
    Ok(ProofSettings {
        servers: [
            witness(
                "primary",
                primary,
                "spec.proof.primary.address",
                "spec.proof.primary.secretRef",
            )?,
            witness(
                "replica",
                replica,
                "spec.proof.replica.address",
                "spec.proof.replica.secretRef",
            )?,
        ],
        timeout: timeout.duration(),
        acknowledged: *acknowledged,
    })
}

fn secret_name(reference: &LocalName) -> String {
    reference.name.clone()
}

const fn plain(insecure: bool) -> Plain {
    if insecure {
        Plain::Allowed
    } else {
        Plain::Loopback
    }
}

fn releases_place(source: &ReleaseSource) -> Result<Place, InvalidSpec> {
    let ReleaseSource {
        github,
        api_url,
        insecure,
        secret_ref,
    } = source;
    let (owner, name) = owner_and_name("spec.releases.github", github)?;
    let address = Address::parse(api_url, plain(*insecure)).map_err(|source| {
        let field = "spec.releases.apiUrl";
        InvalidSpec::Address { field, source }
    })?;
    Ok(Place {
        address,
        owner,
        name,
        secret: secret_ref.as_ref().map(secret_name),
    })
}

fn repository_place(repository: &ForgeRepository) -> Result<Place, InvalidSpec> {
    let ForgeRepository {
        kind,
        url,
        insecure,
        name,
        branch: _,
        secret_ref,
    } = repository;
    let url = match (url, kind) {
        (Some(url), _) => url,
        (None, ForgeKind::GitHub) => forge::github::PUBLIC_API,
        (None, ForgeKind::Gitea) => return Err(InvalidSpec::NoUrl),
    };
    let (owner, name) = owner_and_name("spec.repository.name", name)?;
    let address = Address::parse(url, plain(*insecure)).map_err(|source| {
        let field = "spec.repository.url";
        InvalidSpec::Address { field, source }
    })?;
    Ok(Place {
        address,
        owner,
        name,
        secret: Some(secret_name(secret_ref)),
    })
}

fn owner_and_name(field: &'static str, text: &str) -> Result<(String, String), InvalidSpec> {
    match text.split_once('/') {
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((owner.to_owned(), name.to_owned()))
        }
        Some(_) | None => Err(InvalidSpec::Repository {
            field,
            text: text.to_owned(),
        }),
    }
}

fn rule(index: usize, file: &FileEdit, default: &ImageName) -> Result<FileRule, InvalidSpec> {
    let FileEdit {
        path,
        image,
        key_path,
    } = file;
    let clean = path.strip_prefix("./").unwrap_or(path);
    if clean
        .split('/')
        .any(|part| matches!(part, "" | "." | ".." | ".git"))
    {
        return Err(InvalidSpec::Path {
            index,
            path: path.clone(),
        });
    }
    let field = match (image, key_path) {
        (None, None) => FieldRule::Image(default.clone()),
        (Some(image), None) => {
            let image = ImageName::parse(image).map_err(|source| InvalidSpec::Image {
                field: format!("spec.files[{index}].image"),
                source,
            })?;
            FieldRule::Image(image)
        }
        (None, Some(path)) => {
            let path =
                FieldPath::parse(path).map_err(|source| InvalidSpec::KeyPath { index, source })?;
            FieldRule::Path(path)
        }
        (Some(_), Some(_)) => return Err(InvalidSpec::Both { index }),
    };
    Ok(FileRule {
        path: clean.to_owned(),
        field,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settings(change: impl FnOnce(&mut Value)) -> Result<Settings, InvalidSpec> {
        let mut spec = json!({
            "releases": { "github": "codenotary/immudb" },
            "image": { "repository": "docker.io/codenotary/immudb" },
            "range": ">=1.11, <2",
            "files": [{ "path": "./immudb/version/kustomization.yaml" }],
            "repository": {
                "type": "Gitea", "url": "http://gitea.git-system.svc", "insecure": true,
                "name": "immuops/cluster", "secretRef": { "name": "forge" },
            },
            "proof": {
                "primary": {
                    "address": "immudb-primary.immudb.svc:3322", "secretRef": { "name": "immudb-login" },
                    "syncRef": { "name": "immudb-primary" },
                },
                "replica": {
                    "address": "immudb-replica.immudb.svc:3322", "secretRef": { "name": "immudb-login" },
                    "syncRef": { "name": "immudb-replica" },
                },
            },
        });
        change(&mut spec);
        Settings::of("immudb", &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_plain_spec() {
        let found = settings(|_| {}).unwrap();
        assert_eq!(found.policy.product, "immudb");
        assert_eq!(found.policy.branch(), "immuops/upgrade-immudb");
        assert_eq!(
            found.policy.files[0].path,
            "immudb/version/kustomization.yaml"
        );
        assert_eq!(found.policy.minimum_age.as_secs(), 3 * 24 * 3600);
        assert_eq!(
            found.releases.address.to_string(),
            "https://api.github.com/"
        );
        assert_eq!(
            (found.repository.owner.as_str(), found.branch.as_str()),
            ("immuops", "main")
        );
    }

    #[test]
    fn every_mistake_names_its_field() {
        let cases: [(&str, &str, Value); 12] = [
            (
                "/proof/replica/address",
                "spec.proof.replica.address",
                json!("http://replica:1"),
            ),
            ("/range", "spec.range", json!("^1, ^2")),
            ("/range", "spec.range", json!("newest")),
            (
                "/image/repository",
                "spec.image.repository",
                json!("immudb:1.11.1"),
            ),
            ("/releases/github", "spec.releases.github", json!("immudb")),
            (
                "/releases/apiUrl",
                "spec.releases.apiUrl",
                json!("http://api.example.com"),
            ),
            ("/repository/insecure", "spec.repository.url", json!(false)),
            ("/repository/url", "spec.repository.url", json!(null)),
            ("/files", "spec.files", json!([])),
            (
                "/files",
                "spec.files[0].path",
                json!([{ "path": "../a.yaml" }]),
            ),
            (
                "/files",
                "spec.files[0].keyPath",
                json!([{ "path": "a.yaml", "keyPath": "a..b" }]),
            ),
            (
                "/files",
                "spec.files[0]",
                json!([{ "path": "a.yaml", "keyPath": "a", "image": "a" }]),
            ),
        ];
        for (pointer, field, value) in cases {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let error = settings(|spec| {
                let parent = spec.pointer_mut(parent).and_then(Value::as_object_mut);
                parent.unwrap().insert(key.to_owned(), value.clone());
            });
            let error = error.unwrap_err().to_string();
            assert!(
                error.starts_with(field) && error.contains("hint:"),
                "{value}: {error}"
            );
        }
    }
}
