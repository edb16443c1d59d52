//! One object on its way through a build, with what it was called before.

use std::hash::Hash as _;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::digest::{self, Digester, Key};
use crate::error::RenderError;
use crate::id::{Gvk, ResourceId, field_text, gvk_of, meta_text};
use crate::schema::Schema;
use crate::yaml::{Mapping, Node, alias, resolve};

/// How a generated object meets one that is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Behavior {
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "create" => Self::Create,
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Unspecified,
        }
    }
}

/// What an object was called at some earlier step. Group and version are always the current ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FormerName {
    pub(crate) kind: SmolStr,
    pub(crate) name: SmolStr,
    pub(crate) namespace: SmolStr,
}

/// Where an object was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) node: Node,
    /// Oldest first.
    pub(crate) former: Vec<FormerName>,
    pub(crate) prefixes: Vec<SmolStr>,
    pub(crate) suffixes: Vec<SmolStr>,
    pub(crate) behavior: Behavior,
    pub(crate) needs_hash: bool,
    /// Names of the variables that read a field of this object.
    pub(crate) variables: Vec<String>,
    pub(crate) origin: Origin,
    /// Groups of scalars that change together, used up so far.
    pub(crate) aliases: u32,
    /// What changed the object, in order; kept only when asked for.
    pub(crate) trace: Vec<String>,
    /// What the object was made of, if nothing else has changed it since; kept for the memo.
    pub(crate) key: Option<Key>,
}

/// The object for a change. Others that share it do not see the change.
pub(crate) fn edit(object: &mut Arc<Resource>) -> &mut Resource {
    let object = Arc::make_mut(object);
    object.key = None;
    object
}

/// What the object was made of, or else what it is: that is looked at once.
pub(crate) fn key(object: &mut Arc<Resource>) -> Key {
    object.key.unwrap_or_else(|| {
        let key = object.content_key();
        Arc::make_mut(object).key = Some(key);
        key
    })
}

/// Annotations that kustomize uses inside a build and takes out at its end.
const INTERNAL_ANNOTATIONS: [&str; 19] = [
    FORMER_KINDS,
    FORMER_NAMES,
    "internal.config.kubernetes.io/prefixes",
    "internal.config.kubernetes.io/suffixes",
    FORMER_NAMESPACES,
    "internal.config.kubernetes.io/allowNameChange",
    "internal.config.kubernetes.io/allowKindChange",
    "internal.config.kubernetes.io/refBy",
    BEHAVIOR_ANNOTATION,
    HASH_ANNOTATION,
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
    "internal.config.kubernetes.io/helm-generated",
];
const FORMER_KINDS: &str = "internal.config.kubernetes.io/previousKinds";
const FORMER_NAMES: &str = "internal.config.kubernetes.io/previousNames";
const FORMER_NAMESPACES: &str = "internal.config.kubernetes.io/previousNamespaces";
const BEHAVIOR_ANNOTATION: &str = "internal.config.kubernetes.io/generatorBehavior";
const HASH_ANNOTATION: &str = "internal.config.kubernetes.io/needsHashSuffix";

/// An annotation that keeps an object out of the output.
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

impl Resource {
    pub(crate) fn new(node: Node, origin: Origin) -> Self {
        let mut resource = Self {
            node,
            former: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::default(),
            needs_hash: false,
            variables: Vec::new(),
            origin,
            aliases: 0,
            trace: Vec::new(),
            key: None,
        };
        // A generator of the user's own may say these by annotation.
        if let Some(behavior) = resource.annotation(BEHAVIOR_ANNOTATION) {
            resource.behavior = Behavior::parse(behavior);
        }
        resource.needs_hash = resource.annotation(HASH_ANNOTATION) == Some("enabled");
        resource.former = resource.former_names_annotated();
        resource
    }

    /// The key of all that a step can see.
    fn content_key(&self) -> Key {
        let Self {
            node,
            former,
            prefixes,
            suffixes,
            behavior,
            needs_hash,
            variables,
            origin,
            aliases,
            trace: _,
            key: _,
        } = self;
        let mut digester = Digester::default();
        digest::tree(node, &mut digester);
        let names = (former, prefixes, suffixes, variables);
        (names, behavior, needs_hash, origin, aliases).hash(&mut digester);
        digester.key()
    }

    /// About how many bytes of memory it takes beside those that it shares parts with.
    pub(crate) fn weight(&self) -> usize {
        const NAME: usize = 3 * (size_of::<String>() + 16);
        size_of::<Self>() + self.former.len() * NAME + self.node.weight()
    }

    /// Former names that annotations give: lists of equal length, oldest first.
    fn former_names_annotated(&self) -> Vec<FormerName> {
        let list = |key| {
            self.annotation(key)
                .map(|list| list.split(','))
                .into_iter()
                .flatten()
        };
        let (names, kinds) = (list(FORMER_NAMES), list(FORMER_KINDS));
        let namespaces = list(FORMER_NAMESPACES);
        let former = names
            .zip(kinds)
            .zip(namespaces)
            .map(|((name, kind), namespace)| FormerName {
                kind: kind.into(),
                name: name.into(),
                namespace: namespace.into(),
            });
        former.collect()
    }

    pub(crate) fn id(&self, schema: &Schema) -> ResourceId {
        ResourceId::of(&self.node, schema)
    }

    pub(crate) fn gvk(&self) -> Gvk {
        gvk_of(&self.node)
    }

    pub(crate) fn kind(&self) -> &str {
        field_text(&self.node, "kind")
    }

    pub(crate) fn name(&self) -> &str {
        meta_text(&self.node, "name")
    }

    pub(crate) fn namespace(&self) -> &str {
        meta_text(&self.node, "namespace")
    }

    /// Earlier ids, oldest first.
    pub(crate) fn former_ids(&self) -> impl Iterator<Item = ResourceId> {
        let gvk = if self.former.is_empty() {
            Gvk::default()
        } else {
            self.gvk()
        };
        self.former.iter().map(move |former| ResourceId {
            gvk: Gvk {
                kind: former.kind.clone(),
                ..gvk.clone()
            },
            name: former.name.clone(),
            namespace: former.namespace.clone(),
        })
    }

    /// The id the object was read with.
    pub(crate) fn original_id(&self, schema: &Schema) -> ResourceId {
        self.former_ids().next().unwrap_or_else(|| self.id(schema))
    }

    /// Remembers the current name before a change to it.
    pub(crate) fn remember_name(&mut self, schema: &Schema) {
        let ResourceId {
            gvk,
            name,
            namespace,
        } = self.id(schema);
        self.former.push(FormerName {
            kind: gvk.kind,
            name,
            namespace,
        });
    }

    /// Lets scalars that are one and the same show one value, after a change to some of them.
    pub(crate) fn settle_aliases(&mut self) {
        if self.aliases > 0 {
            alias::settle(&mut self.node);
        }
    }

    /// `metadata`, made if it is missing.
    pub(crate) fn metadata(&mut self) -> Result<&mut Mapping, RenderError> {
        let kind = self.kind().to_owned();
        let not_a_map = || RenderError::invalid(format!("metadata of a {kind} is not a map"));
        let object = self.node.as_mapping_mut().ok_or_else(not_a_map)?;
        let metadata = object.entry("metadata", || Node::Mapping(Mapping::new()));
        if metadata.is_null() {
            *metadata = Node::Mapping(Mapping::new());
        }
        metadata.as_mapping_mut().ok_or_else(not_a_map)
    }

    /// Gives the object another name; a new text keeps the style of the old one.
    pub(crate) fn set_name(&mut self, name: &str) -> Result<(), RenderError> {
        set_text(self.metadata()?, "name", name);
        Ok(())
    }

    /// Sets the namespace; an empty one takes the field out.
    pub(crate) fn set_namespace(&mut self, namespace: &str) -> Result<(), RenderError> {
        let metadata = self.metadata()?;
        if namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            set_text(metadata, "namespace", namespace);
        }
        Ok(())
    }

    pub(crate) fn set_kind(&mut self, kind: &str) {
        if let Some(object) = self.node.as_mapping_mut() {
            set_text(object, "kind", kind);
        }
    }

    pub(crate) fn set_api_version(&mut self, api_version: &str) {
        if let Some(object) = self.node.as_mapping_mut() {
            set_text(object, "apiVersion", api_version);
        }
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.node
            .get("metadata")?
            .get("annotations")?
            .get(key)?
            .text()
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.node.get("metadata")?.get("labels")?.get(key)?.text()
    }

    /// Turns every value of `metadata.FIELD` into a string, as each rewrite of labels or
    /// annotations in kustomize does; an empty map goes away.
    pub(crate) fn stringify(&mut self, field: &str) -> Result<(), RenderError> {
        let metadata = self.metadata()?;
        let Some(values) = metadata.get_mut(field) else {
            return Ok(());
        };
        let Node::Mapping(map) = values else {
            metadata.remove(field);
            return Ok(());
        };
        if map.is_empty() {
            metadata.remove(field);
            return Ok(());
        }
        for (_, value) in map.iter_mut() {
            let text = value.text().unwrap_or_default().to_owned();
            *value = Node::string(text);
        }
        Ok(())
    }

    /// Fails if a key of `metadata.FIELD`, which kustomize has written anew, is no string any more.
    pub(crate) fn check_keys(&self, field: &str) -> Result<(), RenderError> {
        let map = self.node.get("metadata").and_then(|meta| meta.get(field));
        let mut keys = map
            .and_then(Node::as_mapping)
            .into_iter()
            .flat_map(Mapping::iter);
        keys.try_for_each(|(key, _)| resolve::bare_key(key))
            .map_err(|error| {
                let place = self.describe();
                RenderError::invalid(format!("cannot print the {field} of {place}: {error}"))
                    .hint("give it another key")
            })
    }

    /// Sets an annotation to a string.
    pub(crate) fn annotate(&mut self, key: &str, value: String) -> Result<(), RenderError> {
        let annotations = self
            .metadata()?
            .entry("annotations", || Node::Mapping(Mapping::new()));
        if annotations.as_mapping().is_none() {
            *annotations = Node::Mapping(Mapping::new());
        }
        if let Some(map) = annotations.as_mapping_mut() {
            map.insert(key, Node::string(value));
        }
        Ok(())
    }

    pub(crate) fn remove_annotation(&mut self, key: &str) {
        let annotations = self
            .node
            .get_mut("metadata")
            .and_then(|meta| meta.get_mut("annotations"));
        if let Some(map) = annotations.and_then(Node::as_mapping_mut) {
            map.remove(key);
        }
    }

    /// Takes out what only the build needed.
    pub(crate) fn finish(&mut self) -> Result<(), RenderError> {
        let annotations = self
            .node
            .get_mut("metadata")
            .and_then(|meta| meta.get_mut("annotations"));
        if let Some(map) = annotations.and_then(Node::as_mapping_mut) {
            for key in INTERNAL_ANNOTATIONS {
                map.remove(key);
            }
        }
        self.stringify("annotations")?;
        self.check_keys("annotations")
    }

    /// Whether the object is configuration for the build only.
    pub(crate) fn is_local(&self) -> bool {
        self.annotation(LOCAL_CONFIG)
            .is_some_and(|value| value != "false")
    }

    /// An object that helm made, which the namespace transformer leaves alone.
    pub(crate) fn is_from_helm(&self) -> bool {
        self.annotation("internal.config.kubernetes.io/helm-generated") == Some("true")
    }

    /// The object in words, for errors.
    pub(crate) fn describe(&self) -> String {
        let Origin { file, line } = &self.origin;
        let (kind, name) = (self.kind(), self.name());
        if *line == 0 {
            format!("{kind} {name} of {file}")
        } else {
            format!("{kind} {name} ({file}:{line})")
        }
    }
}

/// Sets a text as kyaml's field setter does: an existing scalar keeps its style, a new one is
/// always a string.
pub(crate) fn set_text(map: &mut Mapping, key: &str, text: &str) {
    match map.get_mut(key) {
        Some(Node::Scalar(scalar)) => scalar.set_text(text),
        _ => map.insert(key, Node::string(text)),
    }
}
