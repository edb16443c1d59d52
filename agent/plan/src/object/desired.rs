//! One object of a revision, checked and made small: an id, a hash and the bytes to send, never a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{
    ContentHash, InvalidObject, ObjectId, ObjectPolicy, ObjectRef, Owner, PREFIX, Problem, content,
    needs,
};

/// Position of an object among its stage, from the annotation `immuops.dev/wave`; 0 when absent. A wave starts when every
/// object of the waves before it is healthy.
pub type Wave = i16;

/// Labels and annotations that an object declares, those of its owner included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One object as git wants it. Its `Debug` shows no content: it may be a Secret.
#[derive(Clone)]
pub struct Desired {
    id: ObjectId,
    version: String,
    hash: ContentHash,
    json: Box<RawValue>,
    policy: ObjectPolicy,
    wave: Wave,
    depends_on: Vec<ObjectRef>,
    needs: BTreeSet<ObjectId>,
    declared: Arc<Declared>,
}

impl Desired {
    /// Checks one rendered object and adds the labels of its owner.
    ///
    /// The object's scope is the caller's to settle (discovery knows it, this package does not): an object of a namespace
    /// comes with its namespace, an object of the cluster without.
    ///
    /// # Errors
    /// Every problem of the object at once; see [`Problem`].
    pub fn new(mut value: Value, owner: &Owner) -> Result<Self, InvalidObject> {
        let mut problems = Vec::new();
        let Some(object) = value.as_object_mut() else {
            let object = "a document".to_owned();
            return Err(InvalidObject {
                object,
                problems: vec![Problem::NotAnObject],
            });
        };
        content::strip_server_fields(object);
        let (id, version) = identity(object, &mut problems);
        let declared = own(object, owner, &mut problems);
        let policy = ObjectPolicy::declared(&declared.annotations, &declared.labels, &mut problems);
        let wave = wave(&declared.annotations, &mut problems);
        let depends_on = depends_on(&declared.annotations, &mut problems);
        let needs = needs::of(&id, &value);
        let text = content::canonical(&value);
        let hash = ContentHash::of(&text);
        match RawValue::from_string(text) {
            Ok(json) if problems.is_empty() => Ok(Self {
                id,
                version,
                hash,
                json,
                policy,
                wave,
                depends_on,
                needs,
                declared: Arc::new(declared),
            }),
            json => {
                if json.is_err() {
                    problems.push(Problem::Unwritable);
                }
                Err(InvalidObject {
                    object: label(&id),
                    problems,
                })
            }
        }
    }

    /// Its identity.
    pub fn id(&self) -> &ObjectId {
        &self.id
    }

    /// API version without the group, such as `v1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `apps/v1` or `v1`.
    pub fn api_version(&self) -> String {
        let slash = if self.id.group.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.id.group, self.version)
    }

    /// Hash of [`Desired::json`].
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// The object as it is sent: canonical JSON with the owner's labels, without status.
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// What may be done to it.
    pub fn policy(&self) -> ObjectPolicy {
        self.policy
    }

    /// Its wave.
    pub fn wave(&self) -> Wave {
        self.wave
    }

    /// Objects it waits for, from the annotation `immuops.dev/depends-on`.
    pub fn depends_on(&self) -> &[ObjectRef] {
        &self.depends_on
    }

    /// Objects that its fields name.
    pub fn needs(&self) -> &BTreeSet<ObjectId> {
        &self.needs
    }

    /// Labels and annotations it sets.
    pub fn declared(&self) -> &Arc<Declared> {
        &self.declared
    }
}

impl fmt::Debug for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desired")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("hash", &self.hash)
            .field("policy", &self.policy)
            .field("wave", &self.wave)
            .field("depends_on", &self.depends_on)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// Checks what can be wrong with a set of objects that are each right.
///
/// # Errors
/// Every object that is declared more than once, in the order of their ids.
pub fn validate(objects: &[Desired]) -> Result<(), Vec<InvalidObject>> {
    let mut times: BTreeMap<&ObjectId, usize> = BTreeMap::new();
    for object in objects {
        *times.entry(&object.id).or_default() += 1;
    }
    let invalid: Vec<_> = times
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(id, times)| InvalidObject {
            object: id.to_string(),
            problems: vec![Problem::Duplicate { times }],
        })
        .collect();
    if invalid.is_empty() {
        Ok(())
    } else {
        Err(invalid)
    }
}

fn label(id: &ObjectId) -> String {
    let known = |text: &str, stand_in: &str| {
        if text.is_empty() {
            stand_in.to_owned()
        } else {
            text.to_owned()
        }
    };
    let id = ObjectId {
        kind: known(&id.kind, "object"),
        name: known(&id.name, "without name"),
        ..id.clone()
    };
    id.to_string()
}

/// Reads apiVersion, kind, namespace and name; what is missing stays empty and is reported.
fn identity(object: &Map<String, Value>, problems: &mut Vec<Problem>) -> (ObjectId, String) {
    let mut text = |value: Option<&Value>, field: &str, expected| {
        let text = value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty());
        if text.is_none() {
            problems.push(Problem::Field {
                field: field.to_owned(),
                expected,
            });
        }
        text.unwrap_or_default().to_owned()
    };
    let metadata = object.get("metadata");
    let api_version = text(
        object.get("apiVersion"),
        "apiVersion",
        "a version such as `apps/v1`",
    );
    let kind = text(object.get("kind"), "kind", "the name of a kind");
    let name = metadata.and_then(|metadata| metadata.get("name"));
    let name = text(
        name,
        "metadata.name",
        "a name (generateName cannot be reconciled)",
    );
    let namespace = match metadata.and_then(|metadata| metadata.get("namespace")) {
        None | Some(Value::Null) => None,
        Some(Value::String(namespace)) => Some(namespace.as_str()),
        Some(_) => {
            let field = "metadata.namespace".to_owned();
            problems.push(Problem::Field {
                field,
                expected: "a text",
            });
            None
        }
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    if !api_version.is_empty() && (version.is_empty() || version.contains('/')) {
        let expected = "a version such as `apps/v1`";
        problems.push(Problem::Field {
            field: "apiVersion".to_owned(),
            expected,
        });
    }
    if kind.ends_with("List") && object.get("items").is_some_and(Value::is_array) {
        problems.push(Problem::List);
    }
    let id = ObjectId::new(group, &kind, namespace, &name);
    if !kind.is_empty() && !name.is_empty() && !id.is_storable() {
        problems.push(Problem::UnstorableName);
    }
    (id, version.to_owned())
}

/// Adds the owner's labels and returns every label and annotation.
fn own(object: &mut Map<String, Value>, owner: &Owner, problems: &mut Vec<Problem>) -> Declared {
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        let field = "metadata".to_owned();
        problems.push(Problem::Field {
            field,
            expected: "an object",
        });
        return Declared::default();
    };
    let annotations = strings(metadata.get("annotations"), "annotations", problems);
    let mut labels = strings(metadata.get("labels"), "labels", problems);
    for (key, value) in owner.labels() {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let value = labels
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    metadata.insert("labels".to_owned(), Value::Object(value.collect()));
    Declared {
        labels,
        annotations,
    }
}

fn strings(
    value: Option<&Value>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let map = match value {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(value) => value.as_object(),
    };
    let Some(map) = map else {
        let field = format!("metadata.{field}");
        problems.push(Problem::Field {
            field,
            expected: "a map of texts",
        });
        return BTreeMap::new();
    };
    let mut strings = BTreeMap::new();
    for (key, value) in map {
        if let Some(text) = value.as_str() {
            strings.insert(key.clone(), text.to_owned());
        } else {
            let field = format!("metadata.{field}[{key}]");
            problems.push(Problem::Field {
                field,
                expected: "a text, in quotes",
            });
        }
    }
    strings
}

fn wave(annotations: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Wave {
    let Some(value) = annotations.get(&format!("{PREFIX}wave")) else {
        return 0;
    };
    value.parse().unwrap_or_else(|_| {
        problems.push(Problem::WaveValue {
            value: value.clone(),
        });
        0
    })
}

fn depends_on(
    annotations: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<ObjectRef> {
    let value = annotations
        .get(&format!("{PREFIX}depends-on"))
        .map_or("", String::as_str);
    let mut found = Vec::new();
    for item in value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        match item.parse() {
            Ok(reference) => found.push(reference),
            Err(_) => problems.push(Problem::DependsOnValue {
                value: item.to_owned(),
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests;
