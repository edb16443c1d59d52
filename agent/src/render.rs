//! From a commit and a path to the objects that git wants, checked and small.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use kustomize::{Entry, Tree, TreeError};
use plan::object::{Desired, InvalidObject, Owner, validate};
use sha2::{Digest, Sha256};

use crate::git::mirror::Mirror;
use crate::git::revision::CommitId;
use crate::git::tree::CommitTree;
use crate::kinds::Table;
use crate::scope::Scopes;

/// Folder of the kustomization that this program adds on top of the user's. No path in git can have
/// this name: it contains a character that git refuses.
const OVERLAY: &str = "immuops:overlay";

/// What a revision wants.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// Objects, ordered as kustomize orders them.
    pub(crate) desired: Arc<[Desired]>,
    /// sha256 over the hashes of all objects.
    pub(crate) digest: String,
}

/// What to render.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Where the commit is.
    pub(crate) mirror: Mirror,
    /// The commit.
    pub(crate) commit: CommitId,
    /// Folder; empty for the root.
    pub(crate) path: String,
    /// Namespace to put everything into.
    pub(crate) namespace: Option<String>,
    /// Whose objects they are.
    pub(crate) owner: Owner,
    /// What the server serves.
    pub(crate) kinds: Arc<Table>,
}

/// A revision that cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// The commit could not be read.
    #[error("cannot read commit {commit}")]
    Commit { commit: CommitId, source: git2::Error },
    /// The tree could not be read.
    #[error("cannot read the repository")]
    Tree(#[from] TreeError),
    /// The path does not exist.
    #[error("the repository has no folder `{path}`; hint: correct spec.path")]
    NoFolder { path: String },
    /// The folder has no manifests.
    #[error("the folder `{path}` has no YAML files; hint: correct spec.path")]
    Empty { path: String },
    /// The files are wrong.
    #[error("{0}")]
    Build(kustomize::RenderError),
    /// Objects are wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<InvalidObject>),
    /// Kinds are unknown.
    #[error("{}", unknown(.0))]
    UnknownKinds(Vec<UnknownKind>),
}

/// An object of a kind that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownKind {
    api_version: String,
    kind: String,
    name: String,
}

fn list(objects: &[InvalidObject]) -> String {
    let lines: Vec<String> = objects.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn unknown(objects: &[UnknownKind]) -> String {
    let mut text = String::new();
    for UnknownKind { api_version, kind, name } in objects {
        // Writing to a String cannot fail.
        drop(writeln!(text, "{kind} {name}: the server has no kind {kind} in {api_version}"));
    }
    text.push_str("hint: is the CRD in this path, or in a Sync that this one depends on?");
    text
}

/// Renders. Blocks: it reads files and hashes.
pub(crate) fn render(task: &Task) -> Result<Rendered, RenderError> {
    let tree = CommitTree::open(&task.mirror, task.commit)
        .map_err(|source| RenderError::Commit { commit: task.commit, source })?;
    let values = build(&tree, &task.path, task.namespace.as_deref())?;

    let mut scopes = Scopes::new(&task.kinds);
    values.iter().for_each(|value| scopes.learn(value));
    let mut desired = Vec::with_capacity(values.len());
    let mut invalid = Vec::new();
    let mut unknown = Vec::new();
    for mut value in values {
        if let Err((api_version, kind)) = scopes.settle(&mut value) {
            let name = value.pointer("/metadata/name").and_then(|name| name.as_str());
            let name = name.unwrap_or_default().to_owned();
            unknown.push(UnknownKind { api_version, kind, name });
            continue;
        }
        match Desired::new(value, &task.owner) {
            Ok(object) => desired.push(object),
            Err(error) => invalid.push(error),
        }
    }
    invalid.extend(validate(&desired).err().into_iter().flatten());
    if !invalid.is_empty() {
        return Err(RenderError::Invalid(invalid));
    }
    if !unknown.is_empty() {
        return Err(RenderError::UnknownKinds(unknown));
    }
    let mut digest = Sha256::new();
    for object in &desired {
        digest.update(object.hash().to_string());
    }
    let digest = digest.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
        drop(write!(text, "{byte:02x}"));
        text
    });
    Ok(Rendered { desired: desired.into(), digest })
}

/// Builds a folder: with its kustomization, or else with all YAML files below it.
fn build(
    tree: &CommitTree,
    path: &str,
    namespace: Option<&str>,
) -> Result<Vec<serde_json::Value>, RenderError> {
    if tree.entry(path)? != Some(Entry::Folder) {
        return Err(RenderError::NoFolder { path: path.to_owned() });
    }
    let mut files = Overlay { below: tree, file: String::new(), text: String::new() };
    let mut folder = path.to_owned();
    let mut resources = Vec::new();
    if !tree.is_kustomization(path)? {
        let manifests = tree.manifests(path)?;
        if manifests.is_empty() {
            return Err(RenderError::Empty { path: path.to_owned() });
        }
        resources = manifests
            .iter()
            .map(|file| if path.is_empty() { file.clone() } else { format!("{path}/{file}") })
            .collect();
    } else if namespace.is_some() {
        resources.push(path.to_owned());
    }
    if !resources.is_empty() {
        OVERLAY.clone_into(&mut folder);
        files.file = format!("{OVERLAY}/kustomization.yaml");
        files.text = kustomization(&resources, namespace);
    }
    let options = kustomize::Options::default();
    let rendered = kustomize::render(&files, &folder, &options).map_err(RenderError::Build)?;
    Ok(rendered.objects().iter().map(|object| object.value().clone()).collect())
}

/// A kustomization file; JSON is YAML, and needs no quoting of our own.
fn kustomization(resources: &[String], namespace: Option<&str>) -> String {
    let resources: Vec<String> = resources.iter().map(|path| format!("../{path}")).collect();
    let mut file = serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    });
    if let (Some(namespace), Some(file)) = (namespace, file.as_object_mut()) {
        file.insert("namespace".to_owned(), namespace.into());
    }
    file.to_string()
}

/// A tree with one more file.
struct Overlay<'a> {
    below: &'a CommitTree,
    file: String,
    text: String,
}

impl Tree for Overlay<'_> {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if !self.file.is_empty() && path == self.file {
            return Ok(Some(Entry::File { size: self.text.len() as u64 }));
        }
        if !self.file.is_empty() && path == OVERLAY {
            return Ok(Some(Entry::Folder));
        }
        self.below.entry(path)
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        if !self.file.is_empty() && path == self.file {
            return Ok(Cow::Borrowed(self.text.as_bytes()));
        }
        self.below.read(path)
    }
}
