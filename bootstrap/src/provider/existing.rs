//! A cluster that others made and keep: only its API server is used, through a kubeconfig.
//!
//! The stack that goes onto it is the same. What such clusters differ in is written into the first
//! commit of the cluster repository ([`Platform`]): the storage class and the registry that nodes
//! pull from.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use serde_json::{Value, json};

use super::Kind;
use crate::bundle::Bundle;
use crate::cluster::{Cluster, Kubectl};
use crate::command;
use crate::pace::Pace;
use crate::problem::{OrProblem, Problem, Problems};
use crate::reporter::{Reporter, Step};
use crate::state::{ClusterFile, StateDirectory, write_atomically};
use crate::topology::{ClusterName, Ranges, Topology};

const DEADLINE: Duration = Duration::from_secs(30);

/// The oldest minor version of Kubernetes 1 that has everything the stack uses.
const OLDEST_MINOR: u32 = 30;

/// Where the first commit says what is special about a cluster.
const PLATFORM: &str = "platform/kustomization.yaml";

/// The error of everything that needs machines of ours.
pub fn not_ours(cluster: &ClusterName) -> Problem {
    Problem::refused(format!(
        "cluster {cluster} was not made by bootstrap: its machines are not ours"
    ))
    .hint("use what made the cluster, or kubectl with `bootstrap kubeconfig`")
}

/// What is special about a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The storage class of all volumes; else the cluster's default one.
    pub storage_class: Option<String>,
    /// The registry, with a path if it has one, that has the bundle's images under their paths:
    /// `docker.io/codenotary/immudb` becomes `<registry>/codenotary/immudb`.
    pub registry: Option<String>,
}

impl Platform {
    /// Where nodes get an image from.
    ///
    /// ```
    /// use bootstrap::provider::existing::Platform;
    /// let platform = Platform {
    ///     registry: Some("registry.example:5000/mirror".into()),
    ///     ..Platform::default()
    /// };
    /// let image = platform.image("docker.io/codenotary/immudb:1.11.1");
    /// assert_eq!(image, "registry.example:5000/mirror/codenotary/immudb:1.11.1");
    /// ```
    pub fn image(&self, reference: &str) -> String {
        match (&self.registry, reference.split_once('/')) {
            (Some(registry), Some((_, path))) => format!("{registry}/{path}"),
            _ => reference.to_owned(),
        }
    }

    /// The kustomize component that every overlay of the cluster repository includes.
    fn component(&self, images: &[String]) -> Value {
        let patch = |kind: &str, path: &str, class: &str| {
            json!({
                "target": { "kind": kind },
                "patch": json!([{ "op": "add", "path": path, "value": class }]).to_string(),
            })
        };
        let patches = self.storage_class.iter().flat_map(|class| {
            [
                patch("PersistentVolumeClaim", "/spec/storageClassName", class),
                patch(
                    "StatefulSet",
                    "/spec/volumeClaimTemplates/0/spec/storageClassName",
                    class,
                ),
            ]
        });
        let moved = images.iter().filter(|_| self.registry.is_some());
        let moved = moved.map(|name| json!({ "name": name, "newName": self.image(name) }));
        json!({
            "apiVersion": "kustomize.config.k8s.io/v1alpha1",
            "kind": "Component",
            "patches": patches.collect::<Vec<_>>(),
            "images": moved.collect::<Vec<_>>(),
        })
    }

    /// Copies the templates of the cluster repository to `into` and writes what is special into them.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn write_templates(
        &self,
        templates: &Path,
        into: &Path,
        bundle: &Bundle,
    ) -> anyhow::Result<()> {
        if into.exists() {
            fs::remove_dir_all(into)?;
        }
        copy_tree(templates, into)?;
        if *self == Self::default() {
            return Ok(());
        }
        let names = bundle.manifest().images.iter();
        let names = names.filter_map(|image| image.reference.rsplit_once(':'));
        let mut names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names.dedup();
        let text = serde_json::to_vec_pretty(&self.component(&names))?;
        Ok(fs::write(into.join(PLATFORM), text)?)
    }
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Takes the access in `kubeconfig`, checks that the stack can run there, and records the cluster.
///
/// # Errors
/// When the cluster does not answer, or everything that it lacks.
pub fn connect(
    state: &StateDirectory,
    name: &ClusterName,
    kubeconfig: &Path,
    platform: &Platform,
    bundle: &Bundle,
    reporter: &dyn Reporter,
) -> anyhow::Result<Cluster> {
    let _lock = state.lock()?;
    if let Some(file) = state.read()?.filter(|file| file.provider != Kind::Existing) {
        let message = format!(
            "cluster {name} exists and was made by the provider {}",
            file.provider
        );
        return Err(Problem::refused(message)
            .hint("choose another --name for this one")
            .into());
    }
    let step = Step::start(reporter, "existing cluster");
    let program = bundle.program("kubectl")?;
    // One file that needs no other: the person's may name files or a context that changes.
    let mut view = Command::new(&program);
    view.env("KUBECONFIG", kubeconfig)
        .args(["config", "view", "--raw", "--flatten", "--minify"]);
    let access = command::run(&mut view, b"", DEADLINE).or_problem(|| {
        Problem::new(format!(
            "no access to a cluster in {}",
            kubeconfig.display()
        ))
        .hint("name a file with a current context: --kubeconfig FILE")
    })?;
    write_atomically(&state.kubeconfig(), access.stdout.as_bytes(), 0o600)?;
    let kubectl = Kubectl::new(&program, &state.kubeconfig()).with_environment();
    let said = check(&kubectl, platform)?;
    // No node is ours, so none is recorded, and the ranges are nobody's business here.
    let nowhere = Ranges {
        nodes: "0.0.0.0/32".parse()?,
        pods: "0.0.0.0/32".parse()?,
        services: "0.0.0.0/32".parse()?,
    };
    state.write(&ClusterFile {
        provider: Kind::Existing,
        pace: Pace::USUAL,
        topology: Topology {
            cluster: name.clone(),
            ranges: nowhere,
            nodes: Vec::new(),
        },
        bundle: bundle.directory().to_owned(),
    })?;
    step.finish(&said);
    Cluster::open(state.clone())
}

/// Asks the cluster for everything that the stack needs.
fn check(kubectl: &Kubectl, platform: &Platform) -> anyhow::Result<String> {
    let json = |words: &[&str]| -> anyhow::Result<Value> {
        let answer = kubectl.run(&[words, &["--output=json"]].concat(), b"", DEADLINE)?;
        Ok(serde_json::from_str(&answer.stdout)?)
    };
    let version = json(&["version"])?;
    let mut problems = Vec::new();
    let text = version.pointer("/serverVersion/gitVersion");
    let text = text.and_then(Value::as_str).unwrap_or("unknown");
    let minor = version
        .pointer("/serverVersion/minor")
        .and_then(Value::as_str);
    let minor = minor.and_then(|minor| minor.trim_end_matches('+').parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < OLDEST_MINOR) {
        problems.push(
            Problem::new(format!("Kubernetes {text} is too old"))
                .hint(format!("upgrade the cluster to 1.{OLDEST_MINOR} or newer")),
        );
    }
    let everything = ["auth", "can-i", "*", "*", "--all-namespaces"];
    if kubectl.run(&everything, b"", DEADLINE).is_err() {
        problems.push(
            Problem::new("the user of this kubeconfig may not do everything")
                .hint("use one that is bound to the ClusterRole cluster-admin"),
        );
    }
    let classes = json(&["get", "storageclasses"])?;
    problems.extend(storage_class(&classes, platform.storage_class.as_deref()));
    let nodes = json(&["get", "nodes"])?;
    let ready = ready_nodes(&nodes);
    if ready < 2 {
        problems.push(
            Problem::new(format!("{ready} nodes are ready and take pods"))
                .hint("add nodes until there are 2: primary and replica keep away from each other"),
        );
    }
    Problems::check(problems, |count| match count {
        1 => "this cluster cannot carry the stack for one reason".into(),
        _ => format!("this cluster cannot carry the stack for {count} reasons"),
    })?;
    Ok(format!("Kubernetes {text}, {ready} nodes"))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.pointer("/items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// What is wrong with the storage classes: the wanted one is missing, or there is no default.
fn storage_class(classes: &Value, wanted: Option<&str>) -> Option<Problem> {
    let name = |class: &Value| {
        let name = class.pointer("/metadata/name").and_then(Value::as_str);
        name.unwrap_or_default().to_owned()
    };
    let names: Vec<String> = items(classes).map(name).collect();
    let listed = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    match wanted {
        Some(wanted) if names.iter().any(|name| name == wanted) => None,
        Some(wanted) => Some(
            Problem::new(format!(
                "there is no storage class {wanted}; there is {listed}"
            ))
            .hint("name one of them: --storage-class NAME"),
        ),
        None => {
            let default = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
            let has = items(classes)
                .any(|class| class.pointer(default).and_then(Value::as_str) == Some("true"));
            (!has).then(|| {
                Problem::new(format!(
                    "no storage class is the default; there is {listed}"
                ))
                .hint("name one: --storage-class NAME")
            })
        }
    }
}

/// Nodes that are Ready and take pods that tolerate nothing.
fn ready_nodes(nodes: &Value) -> usize {
    let ready = |node: &&Value| {
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| {
            one.get("type").and_then(Value::as_str) == Some("Ready")
                && one.get("status").and_then(Value::as_str) == Some("True")
        })
    };
    let closed = |node: &&Value| {
        let taints = node.pointer("/spec/taints").and_then(Value::as_array);
        let mut effects = taints
            .into_iter()
            .flatten()
            .filter_map(|taint| taint.get("effect"));
        effects.any(|effect| effect != "PreferNoSchedule")
    };
    items(nodes)
        .filter(ready)
        .filter(|node| !closed(node))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_class_is_needed() {
        let class = |name: &str, default: &str| {
            json!({ "metadata": { "name": name, "annotations": {
                "storageclass.kubernetes.io/is-default-class": default,
            } } })
        };
        let list = |classes: Vec<Value>| json!({ "items": classes });
        let cases = [
            ("default", list(vec![class("a", "true")]), None, None),
            ("wanted", list(vec![class("a", "false")]), Some("a"), None),
            (
                "missing",
                list(vec![class("a", "true"), class("b", "false")]),
                Some("c"),
                Some("there is no storage class c; there is a, b"),
            ),
            (
                "no default",
                list(vec![]),
                None,
                Some("no storage class is the default; there is none"),
            ),
        ];
        for (case, classes, wanted, expected) in cases {
            let problem = storage_class(&classes, wanted).map(|problem| problem.to_string());
            assert_eq!(problem.as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn nodes_that_take_pods_are_counted() {
        let node = |ready: &str, effect: Option<&str>| {
            let taints: Vec<_> = effect.iter().map(|one| json!({ "effect": one })).collect();
            json!({
                "spec": { "taints": taints },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            })
        };
        let nodes = json!({ "items": [
            node("True", None),
            node("True", Some("PreferNoSchedule")),
            node("True", Some("NoSchedule")),
            node("Unknown", None),
        ] });
        assert_eq!(ready_nodes(&nodes), 2);
    }

    #[test]
    fn what_is_special_goes_into_one_component() {
        let platform = Platform {
            storage_class: Some("fast".into()),
            registry: Some("registry.example".into()),
        };
        let images = ["docker.io/gitea/gitea".to_owned()];
        let component = platform.component(&images);
        insta::assert_snapshot!(serde_json::to_string_pretty(&component).unwrap());
    }
}
