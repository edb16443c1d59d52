//! The result of a build.

mod files;

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::error::RenderError;
use crate::parallel;
use crate::resource::Resource;
use crate::schema::Schema;
use crate::yaml::{Node, Scalar, Tag, emit, json};

/// The objects of a build, in order.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub(crate) objects: Vec<Object>,
    /// That of the build: it knows which kinds have no namespace.
    pub(crate) schema: Arc<Schema>,
}

/// One object of a build.
#[derive(Clone)]
pub struct Object {
    content: Content,
    /// Made when it is asked for.
    value: OnceLock<Value>,
    file: Arc<str>,
    line: u32,
    trace: Vec<String>,
}

/// What an object is: a tree that has a JSON form.
#[derive(Clone)]
enum Content {
    Own(Node),
    /// What a memo holds, too.
    Shared(Arc<Finished>),
}

/// What is printed of an object that a memo knows.
pub(crate) struct Finished {
    pub(crate) object: Arc<Resource>,
    pub(crate) yaml: String,
}

impl Finished {
    /// About how many bytes of memory it takes beside what it shares with others.
    pub(crate) fn weight(&self) -> usize {
        self.object.weight() + self.yaml.len()
    }
}

impl fmt::Debug for Object {
    /// Kind, name and source; never the contents, which may be a Secret's.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            content: _,
            value: _,
            file,
            line,
            trace: _,
        } = self;
        write!(
            out,
            "{} {}/{} ({file}:{line})",
            self.kind(),
            self.namespace(),
            self.name()
        )
    }
}

impl Rendered {
    pub(crate) fn new(objects: Vec<Object>, schema: Arc<Schema>) -> Self {
        Self { objects, schema }
    }

    /// The objects with the names of the files that `kustomize build --output DIR` writes.
    ///
    /// # Errors
    ///
    /// A name that leads out of the folder, or that two objects would have.
    ///
    /// ```
    /// use kustomize::{MemoryTree, Options};
    ///
    /// let tree = MemoryTree::from([
    ///     ("kustomization.yaml", "resources: [s.yaml]\n"),
    ///     ("s.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"),
    /// ]);
    /// let rendered = kustomize::render(&tree, "", &Options::default())?;
    /// assert_eq!(rendered.files()?[0].0, "v1_service_web.yaml");
    /// # Ok::<(), kustomize::Error>(())
    /// ```
    pub fn files(&self) -> Result<Vec<(String, &Object)>, RenderError> {
        files::named(&self.objects, &self.schema)
    }

    /// The objects, in the order of the output.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Takes the objects out.
    pub fn into_objects(self) -> Vec<Object> {
        self.objects
    }

    /// For each object where it came from and what changed it, as text for a person. Needs
    /// [`crate::Trace::On`]; shows fields, never their values.
    ///
    /// ```
    /// use kustomize::{MemoryTree, Options, Trace};
    ///
    /// let tree = MemoryTree::from([
    ///     ("kustomization.yaml", "namePrefix: a-\nresources: [s.yaml]\n"),
    ///     ("s.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"),
    /// ]);
    /// let options = Options { trace: Trace::On, ..Options::default() };
    /// assert_eq!(
    ///     kustomize::render(&tree, "", &options)?.explain(),
    ///     "Service a-web\n  from s.yaml:1\n  PrefixTransformer of kustomization.yaml: metadata.name\n",
    /// );
    /// # Ok::<(), kustomize::Error>(())
    /// ```
    pub fn explain(&self) -> String {
        let mut out = String::new();
        for object in &self.objects {
            let (file, line) = object.source();
            let namespace = object.namespace();
            let slash = if namespace.is_empty() { "" } else { "/" };
            let (kind, name) = (object.kind(), object.name());
            out.extend([kind, " ", namespace, slash, name, "\n  from ", file]);
            if line > 0 {
                out.extend([":", &line.to_string()]);
            }
            out.push('\n');
            for step in &object.trace {
                out.extend(["  ", step, "\n"]);
            }
        }
        out
    }

    /// The objects as `kustomize build` prints them.
    pub fn to_yaml(&self) -> String {
        let written = |share: Vec<&Object>| {
            let mut out = String::new();
            for (number, object) in share.into_iter().enumerate() {
                if number > 0 {
                    out.push_str("---\n");
                }
                object.write(&mut out);
            }
            out
        };
        let all: Vec<&Object> = self.objects.iter().collect();
        let parts = parallel::shares(all, written);
        // Only a panic in the emitter loses a share, and then this line panics in the same way.
        parts.map_or_else(
            || written(self.objects.iter().collect()),
            |parts| parts.join("---\n"),
        )
    }
}

impl Object {
    pub(crate) fn new(node: Node, file: Arc<str>, line: u32, trace: Vec<String>) -> Self {
        Self {
            content: Content::Own(node),
            value: OnceLock::new(),
            file,
            line,
            trace,
        }
    }

    pub(crate) fn shared(finished: Arc<Finished>) -> Self {
        let origin = &finished.object.origin;
        let (file, line) = (Arc::clone(&origin.file), origin.line);
        Self {
            content: Content::Shared(finished),
            value: OnceLock::new(),
            file,
            line,
            trace: Vec::new(),
        }
    }

    /// The object with other contents.
    pub(crate) fn with_node(self, node: Node) -> Self {
        let (content, value) = (Content::Own(node), OnceLock::new());
        Self {
            content,
            value,
            ..self
        }
    }

    fn node(&self) -> &Node {
        match &self.content {
            Content::Own(node) => node,
            Content::Shared(finished) => &finished.object.node,
        }
    }

    /// The object as JSON. It is made at the first call and kept beside the object.
    pub fn value(&self) -> &Value {
        // That there is a JSON form was made sure before.
        let value = || json::to_value(self.node()).unwrap_or_default();
        self.value.get_or_init(value)
    }

    /// Takes the JSON out.
    pub fn into_value(self) -> Value {
        self.value();
        self.value.into_inner().unwrap_or_default()
    }

    /// The object as a YAML document, without a separator.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match &self.content {
            Content::Own(node) => emit::document(node, out),
            Content::Shared(finished) => out.push_str(&finished.yaml),
        }
    }

    /// The text of a field; empty if it is missing or no string.
    fn text(&self, path: &[&str]) -> &str {
        let found = path
            .iter()
            .try_fold(self.node(), |node, step| node.get(step));
        match found {
            Some(Node::Scalar(Scalar { text, tag, .. })) => match tag {
                Tag::Str => text,
                // Another text than the one written.
                Tag::Timestamp | Tag::Binary => {
                    let mut steps = path.iter();
                    let found = steps.try_fold(self.value(), |value, step| value.get(step));
                    found.and_then(Value::as_str).unwrap_or_default()
                }
                Tag::Null | Tag::Bool | Tag::Int | Tag::Float => "",
            },
            Some(Node::Sequence(_) | Node::Mapping(_)) | None => "",
        }
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"])
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// `metadata.namespace`; empty if the object has none.
    pub fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }

    /// The file that the object was read from or that generated it, and the line of it (0 for a
    /// generated object).
    pub fn source(&self) -> (&str, u32) {
        (&self.file, self.line)
    }

    /// What changed the object on its way, in order: transformer, kustomization and the fields.
    pub fn trace(&self) -> &[String] {
        &self.trace
    }
}
