//! From a commit and a path to the objects that git wants, checked and small.

mod disclosure;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kustomize::{ContentId, Entry, Memo, Tree, TreeError};
use plan::object::{Desired, InvalidObject, ObjectId, Owner, validate};
use sha2::{Digest, Sha256};

use crate::git::mirror::Mirror;
use crate::git::revision::CommitId;
use crate::git::tree::CommitTree;
use crate::hex::hex;
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
    /// File and line of each object, for errors.
    pub(crate) places: Arc<BTreeMap<ObjectId, String>>,
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
    /// What earlier renderings left behind.
    pub(crate) memo: Arc<Memo>,
}

/// Room for the memo, in bytes: some 300 Deployments under an overlay. It is the agent's largest
/// possession while nothing happens, and a build beyond it only costs time.
pub(crate) const MEMO_BYTES: usize = 6 << 20;

/// A revision that cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// The commit could not be read.
    #[error("cannot read commit {commit}")]
    Commit {
        commit: CommitId,
        source: git2::Error,
    },
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
    Build(String),
    /// Objects are wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<InvalidAt>),
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
    place: String,
}

/// An object that is wrong, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidAt {
    place: String,
    error: InvalidObject,
}

impl fmt::Display for InvalidAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        self.error.fmt(f)
    }
}

fn list(objects: &[InvalidAt]) -> String {
    let lines: Vec<String> = objects.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn unknown(objects: &[UnknownKind]) -> String {
    let line = |UnknownKind {
                    api_version,
                    kind,
                    name,
                    place,
                }: &UnknownKind| {
        format!("{place}: {kind} {name}: the server has no kind {kind} in {api_version}\n")
    };
    let lines: String = objects.iter().map(line).collect();
    lines + "hint: is the CRD in this path, or in a Sync that this one depends on?"
}

/// Renders. Blocks: it reads files and hashes.
pub(crate) fn render(task: &Task) -> Result<Rendered, RenderError> {
    let tree =
        CommitTree::open(&task.mirror, task.commit).map_err(|source| RenderError::Commit {
            commit: task.commit,
            source,
        })?;
    let options = kustomize::Options::default();
    let namespace = task.namespace.as_deref();
    let rendered = build(&tree, &task.path, namespace, |files, folder| {
        kustomize::render_with_memo(files, folder, &options, &task.memo)
    })?;
    let objects = rendered.into_objects();

    let mut scopes = Scopes::new(&task.kinds);
    for object in &objects {
        scopes.learn(object.value());
    }
    let mut desired = Vec::with_capacity(objects.len());
    let mut places = BTreeMap::new();
    let mut invalid = Vec::new();
    let mut unknown = Vec::new();
    for object in objects {
        let place = place(&object);
        // The tree of one object at a time is turned into bytes and dropped.
        let mut value = object.into_value();
        if let Err((api_version, kind)) = scopes.settle(&mut value) {
            let name = value
                .pointer("/metadata/name")
                .and_then(|name| name.as_str());
            let name = name.unwrap_or_default().to_owned();
            unknown.push(UnknownKind {
                api_version,
                kind,
                name,
                place,
            });
            continue;
        }
        match Desired::new(value, &task.owner) {
            Ok(object) => {
                places.insert(object.id().clone(), place);
                desired.push(object);
            }
            Err(error) => invalid.push(InvalidAt { place, error }),
        }
    }
    let twice = validate(&desired).err().into_iter().flatten();
    invalid.extend(twice.map(|error| InvalidAt {
        place: String::new(),
        error,
    }));
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
    let digest = format!("sha256:{}", hex(&digest.finalize()));
    Ok(Rendered {
        desired: desired.into(),
        places: Arc::new(places),
        digest,
    })
}

/// File and line of an object; empty if it comes from no file.
fn place(object: &kustomize::Object) -> String {
    match object.source() {
        ("", _) => String::new(),
        (file, 0) => file.to_owned(),
        (file, line) => format!("{file}:{line}"),
    }
}

/// Builds a folder by `render`: with its kustomization, or else with all YAML files below it.
pub(crate) fn build(
    tree: &dyn Folders,
    path: &str,
    namespace: Option<&str>,
    render: impl FnOnce(&dyn Tree, &str) -> Result<kustomize::Rendered, kustomize::Error>,
) -> Result<kustomize::Rendered, RenderError> {
    if tree.entry(path)? != Some(Entry::Folder) {
        return Err(RenderError::NoFolder {
            path: path.to_owned(),
        });
    }
    let mut files = Overlay {
        below: tree,
        added: BTreeMap::new(),
    };
    if !is_kustomization(tree, path)? {
        let manifests = manifests(tree, path)?;
        if manifests.is_empty() {
            return Err(RenderError::Empty {
                path: path.to_owned(),
            });
        }
        files.added.insert(
            join(path, "kustomization.yaml"),
            kustomization(&manifests, None),
        );
    }
    let mut folder = path;
    if namespace.is_some() {
        folder = OVERLAY;
        let base = [join("..", path)];
        files.added.insert(
            join(OVERLAY, "kustomization.yaml"),
            kustomization(&base, namespace),
        );
    }
    render(&files, folder).map_err(|error| RenderError::Build(disclosure::shown(&error, &files)))
}

/// A kustomization file; JSON is YAML, and needs no quoting of our own.
fn kustomization(resources: &[String], namespace: Option<&str>) -> String {
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

/// Paths of all YAML files below a folder, sorted; a folder below it that is a kustomization counts
/// as one path.
fn manifests(tree: &dyn Folders, folder: &str) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        for (name, node) in tree.list(&join(folder, &below))? {
            let path = join(&below, &name);
            match node {
                Node::Folder if is_kustomization(tree, &join(folder, &path))? => found.push(path),
                Node::Folder => waiting.push(path),
                Node::File if is_yaml(&name) => found.push(path),
                Node::File => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a folder has one of the files that make it a kustomization.
fn is_kustomization(tree: &dyn Folders, folder: &str) -> Result<bool, TreeError> {
    for name in ["kustomization.yaml", "kustomization.yml", "Kustomization"] {
        if tree.entry(&join(folder, name))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() || name.is_empty() {
        format!("{folder}{name}")
    } else {
        format!("{folder}/{name}")
    }
}

fn is_yaml(name: &str) -> bool {
    std::path::Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// What a folder contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A plain file.
    File,
    /// A folder.
    Folder,
}

/// A tree whose folders can be listed.
pub(crate) trait Folders: Tree {
    /// Names in a folder; links and everything else that is neither file nor folder left out.
    fn list(&self, folder: &str) -> Result<Vec<(String, Node)>, TreeError>;
}

/// A tree with a few more files.
struct Overlay<'a> {
    below: &'a dyn Folders,
    added: BTreeMap<String, String>,
}

impl Tree for Overlay<'_> {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if let Some(text) = self.added.get(path) {
            return Ok(Some(Entry::File {
                size: text.len() as u64,
            }));
        }
        if path == OVERLAY {
            return Ok(Some(Entry::Folder));
        }
        self.below.entry(path)
    }

    fn content(&self, path: &str) -> Result<Option<ContentId>, TreeError> {
        match self.added.get(path) {
            Some(_) => Ok(None),
            None => self.below.content(path),
        }
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        match self.added.get(path) {
            Some(text) => Ok(Cow::Borrowed(text.as_bytes())),
            None => self.below.read(path),
        }
    }
}

#[cfg(test)]
mod tests;
