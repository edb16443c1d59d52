//! What the `OpenAPI` schema says about lists and scopes.
//!
//! A strategic merge needs to know which lists merge and by which keys; the namespace transformer
//! needs to know which kinds have no namespace. kustomize 5.8 takes both from the schema of
//! Kubernetes 1.21.2 whatever the cluster runs, so the same facts are kept here in a table. A
//! kustomization may bring a schema of its own (`openapi: {path: ...}`) in the table's place.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::id::Gvk;

/// The parts of a schema that matter, with definitions by number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Schema {
    definitions: Vec<Definition>,
    /// Definition of a kind, by api version and kind.
    kinds: HashMap<(String, String), Shape>,
    /// Api versions of the kinds without a namespace, by kind.
    cluster_scoped: HashMap<String, HashSet<String>>,
}

#[derive(Debug, Default, Clone)]
struct Definition {
    fields: HashMap<String, Shape>,
    /// Shape of the fields that are not named.
    additional: Option<Box<Shape>>,
}

/// What is known about one value.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// A map with a definition.
    Definition(usize),
    /// A map whose values all have one shape.
    MapOf(Box<Self>),
    /// A value about which nothing more is known.
    Opaque,
    List(ListShape),
}

/// A list, and how patches combine with it.
#[derive(Clone, Debug)]
pub(crate) struct ListShape {
    element: Option<Box<Shape>>,
    strategy: Option<String>,
    keys: Vec<String>,
}

impl ListShape {
    /// Whether a patch merges with the list instead of replacing it.
    pub(crate) fn merges(&self) -> bool {
        self.strategy
            .as_deref()
            .is_some_and(|all| all.split(',').any(|one| one == "merge"))
    }

    /// The fields that identify an element; none for a list of scalars.
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    pub(crate) fn element(&self) -> Option<&Shape> {
        self.element.as_deref()
    }
}

static BUILT_IN: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    Arc::new(Schema::from_table(include_str!(
        "../tables/kubernetes-1.21.2.txt"
    )))
});

impl Schema {
    /// The schema that kustomize 5.8 embeds.
    pub(crate) fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }

    /// Whether objects of the kind certainly have no namespace. A kind that the schema does not
    /// know counts as namespaced, even if a CRD beside it says otherwise: kustomize's rule.
    pub(crate) fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        self.cluster_scoped
            .get(gvk.kind.as_str())
            .is_some_and(|versions| versions.contains(gvk.api_version().as_str()))
    }

    /// The shape of objects of a kind.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<&Shape> {
        self.kinds.get(&(api_version.to_owned(), kind.to_owned()))
    }

    /// The shape of a field.
    pub(crate) fn field<'a>(&'a self, shape: &'a Shape, name: &str) -> Option<&'a Shape> {
        match shape {
            Shape::Definition(number) => {
                let definition = self.definitions.get(*number)?;
                definition
                    .fields
                    .get(name)
                    .or(definition.additional.as_deref())
            }
            Shape::MapOf(element) => Some(element),
            Shape::Opaque | Shape::List(_) => None,
        }
    }

    /// Reads the built-in table, whose header describes it.
    fn from_table(table: &str) -> Self {
        let mut schema = Self::default();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            match words.next() {
                Some("kind") => {
                    if let (Some(version), Some(kind), Some(shape)) =
                        (words.next(), words.next(), words.next())
                    {
                        let key = (version.to_owned(), kind.to_owned());
                        schema.kinds.insert(key, table_shape(shape));
                    }
                }
                Some("cluster") => {
                    if let (Some(version), Some(kind)) = (words.next(), words.next()) {
                        let versions = schema.cluster_scoped.entry(kind.to_owned());
                        versions.or_default().insert(version.to_owned());
                    }
                }
                // `def N NAME`: the table numbers its definitions in order.
                Some("def") => {
                    let fields = words
                        .skip(2)
                        .filter_map(|field| field.split_once('='))
                        .map(|(name, shape)| (name.to_owned(), table_shape(shape)))
                        .collect();
                    schema.definitions.push(Definition {
                        fields,
                        additional: None,
                    });
                }
                _ => {}
            }
        }
        schema
    }

    /// Adds the definitions and scopes of a swagger document, given as JSON.
    pub(crate) fn add_swagger(&mut self, swagger: &Value) {
        let empty = serde_json::Map::new();
        let definitions = swagger
            .get("definitions")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let first = self.definitions.len();
        let numbers: HashMap<&str, usize> = definitions
            .keys()
            .enumerate()
            .map(|(number, name)| (name.as_str(), first + number))
            .collect();
        // Definitions come first, in order; maps described in place are numbered after them.
        self.definitions
            .resize_with(first + numbers.len(), Definition::default);
        for (name, definition) in definitions {
            let Some(number) = numbers.get(name.as_str()).copied() else {
                continue;
            };
            let described = self.swagger_definition(definition, &numbers);
            if let Some(place) = self.definitions.get_mut(number) {
                *place = described;
            }
            let kinds = definition.get(GVK_EXTENSION).and_then(Value::as_array);
            for key in kinds.into_iter().flatten().filter_map(type_meta) {
                self.kinds.insert(key, Shape::Definition(number));
            }
        }
        let paths = swagger
            .get("paths")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let mut namespaced = HashSet::new();
        for (path, item) in paths {
            let key = item
                .get("get")
                .and_then(|get| get.get(GVK_EXTENSION))
                .and_then(type_meta);
            let Some(key) = key else { continue };
            if path.contains("namespaces/{namespace}") {
                let (version, kind) = &key;
                if let Some(versions) = self.cluster_scoped.get_mut(kind) {
                    versions.remove(version);
                }
                namespaced.insert(key);
            } else if !namespaced.contains(&key) {
                let (version, kind) = key;
                self.cluster_scoped.entry(kind).or_default().insert(version);
            }
        }
    }

    fn swagger_definition(&mut self, value: &Value, numbers: &HashMap<&str, usize>) -> Definition {
        let mut described = Definition::default();
        let fields = value.get("properties").and_then(Value::as_object);
        for (name, shape) in fields.into_iter().flatten() {
            described
                .fields
                .insert(name.clone(), self.swagger_shape(shape, numbers));
        }
        if let Some(shape) = value
            .get("additionalProperties")
            .filter(|shape| shape.is_object())
        {
            described.additional = Some(Box::new(self.swagger_shape(shape, numbers)));
        }
        described
    }

    fn swagger_shape(&mut self, value: &Value, numbers: &HashMap<&str, usize>) -> Shape {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        if let Some(reference) = text("$ref") {
            let name = reference
                .strip_prefix("#/definitions/")
                .unwrap_or(reference);
            return numbers
                .get(name)
                .map_or(Shape::Opaque, |number| Shape::Definition(*number));
        }
        if let Some(items) = value.get("items").filter(|items| items.is_object()) {
            let strategy = text("x-kubernetes-patch-strategy").map(str::to_owned);
            let listed = value
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let keys = match (&strategy, listed) {
                (None, _) => Vec::new(),
                (Some(_), Some(keys)) => keys
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                (Some(_), None) => text("x-kubernetes-patch-merge-key")
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
            };
            let element = Some(Box::new(self.swagger_shape(items, numbers)));
            return Shape::List(ListShape {
                element,
                strategy,
                keys,
            });
        }
        if value.get("properties").is_some() || value.get("additionalProperties").is_some() {
            let described = self.swagger_definition(value, numbers);
            self.definitions.push(described);
            return Shape::Definition(self.definitions.len() - 1);
        }
        Shape::Opaque
    }

    /// The built-in scopes without the built-in definitions: what is left of the built-in schema
    /// when the top kustomization brings its own.
    pub(crate) fn scopes_only(&self) -> Self {
        let cluster_scoped = self.cluster_scoped.clone();
        Self {
            cluster_scoped,
            ..Self::default()
        }
    }
}

const GVK_EXTENSION: &str = "x-kubernetes-group-version-kind";

fn type_meta(value: &Value) -> Option<(String, String)> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let version = text("version")?;
    let api_version = match text("group") {
        Some(group) if !group.is_empty() => format!("{group}/{version}"),
        _ => version.to_owned(),
    };
    Some((api_version, text("kind")?.to_owned()))
}

fn table_shape(text: &str) -> Shape {
    if let Some(number) = text.strip_prefix('@') {
        return number.parse().map_or(Shape::Opaque, Shape::Definition);
    }
    if let Some(inner) = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        return if inner.is_empty() {
            Shape::Opaque
        } else {
            Shape::MapOf(Box::new(table_shape(inner)))
        };
    }
    let (list, patch) = text
        .rsplit_once('!')
        .map_or((text, None), |(list, patch)| (list, Some(patch)));
    let Some(inner) = list
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    else {
        return Shape::Opaque;
    };
    let element = (!inner.is_empty()).then(|| Box::new(table_shape(inner)));
    let (strategy, keys) = match patch.map(|patch| patch.split_once(':').unwrap_or((patch, ""))) {
        Some((strategy, keys)) => (
            Some(strategy.to_owned()),
            keys.split('+')
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
        None => (None, Vec::new()),
    };
    Shape::List(ListShape {
        element,
        strategy,
        keys,
    })
}
