//! A Sync's spec, checked: what was typed becomes what it means, once.

use std::time::Duration;

use kube::ResourceExt;
use plan::object::{Owner, Toggle};
use plan::plan::Policy;

use crate::api::sync::{Source, Sync, SyncSpec};
use crate::board::SyncName;

/// What a Sync asks for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Writes its name on objects.
    pub(crate) owner: Owner,
    /// Where to read.
    pub(crate) origin: Origin,
    /// Directory in the repository, without leading `./` or `/`; empty for the root.
    pub(crate) path: String,
    /// Time between two looks at the repository.
    pub(crate) interval: Duration,
    /// Time after a failure.
    pub(crate) retry: Duration,
    /// Bound on a fetch and on the wait for health.
    pub(crate) timeout: Duration,
    /// What may be pruned.
    pub(crate) policy: Policy,
    /// Syncs to wait for.
    pub(crate) depends_on: Vec<SyncName>,
    /// Namespace for every namespaced object.
    pub(crate) target_namespace: Option<String>,
}

/// Where a Sync reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From its own source.
    Own(Source),
    /// From the source of another Sync.
    Of(SyncName),
}

/// The spec means nothing. The API server's schema catches most of this before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSpec {
    /// Neither or both.
    #[error("set exactly one of spec.source and spec.sourceRef")]
    Source,
    /// `..` in the path.
    #[error("spec.path `{path}` leaves the repository; hint: name a directory inside of it")]
    Path { path: String },
    /// The name is no label value.
    #[error(transparent)]
    Owner(#[from] plan::object::InvalidOwner),
    /// Names nothing.
    #[error("spec.pruneConsent is not valid")]
    Consent { source: plan::object::ParseRefError },
    /// Is no limit.
    #[error("spec.pruneLimit is not valid")]
    Limit { source: plan::plan::ParseLimitError },
}

impl Settings {
    /// Reads and checks the spec.
    pub(crate) fn of(sync: &Sync) -> Result<Self, InvalidSpec> {
        let SyncSpec {
            source,
            source_ref,
            path,
            interval,
            retry_interval,
            timeout,
            prune,
            wait: _,
            suspend: _,
            depends_on,
            target_namespace,
            prune_consent,
            prune_limit,
            deletion_policy: _,
        } = &sync.spec;
        let origin = match (source, source_ref) {
            (Some(source), None) => Origin::Own(source.clone()),
            (None, Some(other)) => Origin::Of(SyncName::new(other.name.clone())),
            (Some(_), Some(_)) | (None, None) => return Err(InvalidSpec::Source),
        };
        let consent = prune_consent
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|source| InvalidSpec::Consent { source })
            })
            .collect::<Result<_, _>>()?;
        let limit = match prune_limit {
            Some(text) => text
                .parse()
                .map_err(|source| InvalidSpec::Limit { source })?,
            None => plan::plan::PruneLimit::default(),
        };
        Ok(Self {
            owner: Owner::new(&sync.namespace().unwrap_or_default(), &sync.name_any())?,
            origin,
            path: directory(path)?,
            interval: interval.duration(),
            retry: retry_interval.unwrap_or(*interval).duration(),
            timeout: timeout.duration(),
            policy: Policy {
                prune: toggle(*prune),
                limit,
                consent,
            },
            depends_on: depends_on
                .iter()
                .map(|other| SyncName::new(other.name.clone()))
                .collect(),
            target_namespace: target_namespace.clone(),
        })
    }
}

/// The field of the spec as the type that the rest of the program uses.
const fn toggle(set: bool) -> Toggle {
    if set {
        Toggle::Enabled
    } else {
        Toggle::Disabled
    }
}

fn directory(path: &str) -> Result<String, InvalidSpec> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(InvalidSpec::Path {
            path: path.to_owned(),
        });
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, expected) in [("./", ""), ("", ""), ("./a//b/", "a/b"), ("/a/./b", "a/b")] {
            assert_eq!(directory(path).unwrap(), expected, "{path}");
        }
        for path in ["..", "a/../../b", "./../x"] {
            assert!(
                directory(path).unwrap_err().to_string().contains("hint:"),
                "{path}"
            );
        }
    }

    #[test]
    fn one_source_it_is() {
        let sync = |spec: &str| -> Sync {
            let text = format!(
                r#"{{"apiVersion":"immuops.dev/v1alpha1","kind":"Sync","metadata":{{"name":"a","namespace":"n"}},"spec":{spec}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let cases = [
            (r#"{"source":{"url":"https://a"}}"#, true),
            (r#"{"sourceRef":{"name":"b"}}"#, true),
            ("{}", false),
            (
                r#"{"source":{"url":"https://a"},"sourceRef":{"name":"b"}}"#,
                false,
            ),
            (r#"{"sourceRef":{"name":"b"},"pruneLimit":"many"}"#, false),
            (
                r#"{"sourceRef":{"name":"b"},"pruneConsent":["all"]}"#,
                false,
            ),
        ];
        for (spec, valid) in cases {
            assert_eq!(Settings::of(&sync(spec)).is_ok(), valid, "{spec}");
        }
    }
}
