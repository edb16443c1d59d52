//! The ordered set of objects of a build, with constant-time look-up by id.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::RenderError;
use crate::id::ResourceId;
use crate::resource::{Behavior, Resource, edit};
use crate::schema::Schema;
use crate::yaml::{Mapping, Node};

/// Objects in the order they were read, no two with the same id.
#[derive(Debug, Default)]
pub(crate) struct ResourceMap {
    list: Vec<Arc<Resource>>,
    /// Position by current id; made when needed, dropped when names may have changed.
    current: Option<HashMap<ResourceId, usize>>,
    /// Positions by current and former ids.
    any: Option<HashMap<ResourceId, Vec<usize>>>,
    /// Searches for such an id since names may have changed; some more, and the index is made.
    searched: usize,
}

impl ResourceMap {
    /// Searches that cost less than an index.
    const SEARCHED: usize = 8;

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.list.iter().map(AsRef::as_ref)
    }

    /// The objects for changes that may rename them.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Arc<Resource>> {
        self.forget_ids();
        &mut self.list
    }

    fn forget_ids(&mut self) {
        self.current = None;
        self.any = None;
        self.searched = 0;
    }

    pub(crate) fn get(&self, position: usize) -> Option<&Arc<Resource>> {
        self.list.get(position)
    }

    /// The object at a position for a change that leaves its id alone.
    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut Resource> {
        self.list.get_mut(position).map(edit)
    }

    /// Puts an object with the same id in the place of another.
    pub(crate) fn replace(&mut self, position: usize, object: Arc<Resource>) {
        if let Some(place) = self.list.get_mut(position) {
            *place = object;
        }
    }

    pub(crate) fn into_list(self) -> Vec<Arc<Resource>> {
        self.list
    }

    fn current(&mut self, schema: &Schema) -> &mut HashMap<ResourceId, usize> {
        self.current.get_or_insert_with(|| {
            self.list
                .iter()
                .enumerate()
                .map(|(at, object)| (object.id(schema), at))
                .collect()
        })
    }

    /// Adds an object at the end; an id that is already there is an error.
    pub(crate) fn append(
        &mut self,
        object: impl Into<Arc<Resource>>,
        schema: &Schema,
    ) -> Result<(), RenderError> {
        let object = object.into();
        let id = object.id(schema);
        let position = self.list.len();
        if let Some(known) = self.current(schema).get(&id).copied() {
            let first = self
                .list
                .get(known)
                .map(|object| object.describe())
                .unwrap_or_default();
            return Err(RenderError::invalid(format!(
                "may not add resource with an already registered id: {id}, from {}, is already there from {first}",
                object.describe()
            ))
            .hint("each object may be reached once only; a namespace of `default` and none are the same"));
        }
        if let Some(any) = &mut self.any {
            for former in object.former_ids() {
                push_once(any.entry(former).or_default(), position);
            }
            push_once(any.entry(id.clone()).or_default(), position);
        }
        self.current(schema).insert(id, position);
        self.list.push(object);
        Ok(())
    }

    /// Adds all objects of another set.
    pub(crate) fn append_all(&mut self, other: Self, schema: &Schema) -> Result<(), RenderError> {
        if self.list.is_empty() {
            *self = other;
            return Ok(());
        }
        other
            .list
            .into_iter()
            .try_for_each(|object| self.append(object, schema))
    }

    /// Positions of the objects that have or had the id, in order.
    pub(crate) fn with_any_id(&mut self, id: &ResourceId, schema: &Schema) -> Vec<usize> {
        if self.any.is_none() && self.searched < Self::SEARCHED {
            self.searched += 1;
            return self.search(id, schema);
        }
        let any = self.any.get_or_insert_with(|| {
            let mut any: HashMap<ResourceId, Vec<usize>> = HashMap::new();
            for (at, object) in self.list.iter().enumerate() {
                for id in object.former_ids().chain([object.id(schema)]) {
                    push_once(any.entry(id).or_default(), at);
                }
            }
            any
        });
        any.get(id).cloned().unwrap_or_default()
    }

    /// [`Self::with_any_id`] without an index: few objects have the name, present or former.
    fn search(&self, id: &ResourceId, schema: &Schema) -> Vec<usize> {
        let is_meant = |object: &Resource| {
            (object.name() == id.name || object.former.iter().any(|old| old.name == id.name))
                && object
                    .former_ids()
                    .chain([object.id(schema)])
                    .any(|other| other == *id)
        };
        let found = self
            .iter()
            .enumerate()
            .filter(|(_, object)| is_meant(object));
        found.map(|(at, _)| at).collect()
    }

    /// Takes a generated object in: it is added, or it merges with or replaces the object whose
    /// present or former id it has.
    pub(crate) fn absorb(
        &mut self,
        mut object: Resource,
        schema: &Schema,
    ) -> Result<(), RenderError> {
        let id = object.id(schema);
        let matches = self.with_any_id(&id, schema);
        let position = match matches.as_slice() {
            [] => {
                return match object.behavior {
                    Behavior::Merge | Behavior::Replace => Err(RenderError::invalid(format!(
                        "{id} does not exist; cannot merge or replace"
                    ))
                    .hint("use `behavior: create`, or give the generator the name and namespace of the object in the base")),
                    Behavior::Create | Behavior::Unspecified => self.append(object, schema),
                };
            }
            [position] => *position,
            _ => {
                return Err(RenderError::invalid(format!(
                    "{} objects could accept the merge of {id}",
                    matches.len()
                )));
            }
        };
        let Some(old) = self.list.get_mut(position) else {
            return Ok(());
        };
        match object.behavior {
            Behavior::Replace => take_metadata(&mut object, old)?,
            Behavior::Merge => {
                take_metadata(&mut object, old)?;
                merge_texts(&mut object.node, &old.node, "data");
                merge_texts(&mut object.node, &old.node, "binaryData");
                if let Some(origin) = old.annotation(ORIGIN_ANNOTATION) {
                    object.annotate(ORIGIN_ANNOTATION, origin.to_owned())?;
                }
            }
            Behavior::Create | Behavior::Unspecified => {
                return Err(RenderError::invalid(format!(
                    "{id} already exists, from {}; behavior must be merge or replace",
                    old.describe()
                ))
                .hint("set `behavior: merge` or `behavior: replace` on the generator"));
            }
        }
        *old = Arc::new(object);
        self.forget_ids();
        Ok(())
    }

    /// Fails if two objects have the same id.
    pub(crate) fn check_distinct(
        &mut self,
        schema: &Schema,
        cause: &str,
    ) -> Result<(), RenderError> {
        let mut seen: HashMap<ResourceId, usize> = HashMap::with_capacity(self.list.len());
        for (at, object) in self.list.iter().enumerate() {
            let id = object.id(schema);
            if let Some(first) = seen.get(&id).and_then(|first| self.list.get(*first)) {
                return Err(RenderError::invalid(format!(
                    "{cause} produces ID conflict: {} and {} both become {id}",
                    first.describe(),
                    object.describe()
                ))
                .hint("give one of them another name"));
            }
            seen.insert(id, at);
        }
        self.current = Some(seen);
        Ok(())
    }
}

/// The annotation that says where an object came from, when `buildMetadata` asks for it.
pub(crate) const ORIGIN_ANNOTATION: &str = "config.kubernetes.io/origin";

fn push_once(positions: &mut Vec<usize>, position: usize) {
    if positions.last() != Some(&position) {
        positions.push(position);
    }
}

/// Labels and annotations of both, the generated ones winning; name, namespace and history of the
/// object that was there.
fn take_metadata(object: &mut Resource, old: &Resource) -> Result<(), RenderError> {
    for field in ["labels", "annotations"] {
        let mut merged = Mapping::new();
        for source in [&old.node, &object.node] {
            let values = source.get("metadata").and_then(|meta| meta.get(field));
            for (key, value) in values
                .and_then(Node::as_mapping)
                .into_iter()
                .flat_map(Mapping::iter)
            {
                merged.insert(key, Node::string(value.text().unwrap_or_default()));
            }
        }
        let metadata = object.metadata()?;
        if merged.is_empty() {
            metadata.remove(field);
        } else {
            metadata.insert(field, Node::Mapping(merged));
        }
    }
    object.check_keys("labels")?;
    object.set_name(old.name())?;
    object.set_namespace(old.namespace())?;
    object.former.clone_from(&old.former);
    object.prefixes.clone_from(&old.prefixes);
    object.suffixes.clone_from(&old.suffixes);
    object.variables.clone_from(&old.variables);
    object.behavior = old.behavior;
    object.needs_hash = object.needs_hash && old.needs_hash;
    object.trace.splice(0..0, old.trace.iter().cloned());
    Ok(())
}

/// Adds the entries of `old.FIELD` that `new.FIELD` lacks.
fn merge_texts(new: &mut Node, old: &Node, field: &str) {
    let mut merged = Mapping::new();
    for source in [old, &*new] {
        let values = source.get(field).and_then(Node::as_mapping);
        for (key, value) in values.into_iter().flat_map(Mapping::iter) {
            merged.insert(key, Node::string(value.value().unwrap_or_default()));
        }
    }
    let Some(object) = new.as_mapping_mut() else {
        return;
    };
    if merged.is_empty() {
        object.remove(field);
    } else {
        object.insert(field, Node::Mapping(merged));
    }
}
