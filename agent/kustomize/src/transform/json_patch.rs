//! JSON patches (RFC 6902) with the habits of the library that kustomize uses
//! (`evanphx/json-patch` v4): `replace` adds a missing member, indices count from the end when
//! negative, and an operation on a missing parent is an error.

use serde_json::{Map, Value};

/// A decoded patch.
#[derive(Clone, Debug)]
pub(crate) struct JsonPatch(Vec<Map<String, Value>>);

impl JsonPatch {
    /// Takes the operations out of a JSON document; null is a patch without operations.
    pub(crate) fn decode(document: Value) -> Result<Self, String> {
        match document {
            Value::Null => Ok(Self(Vec::new())),
            Value::Array(operations) => operations
                .into_iter()
                .map(|operation| match operation {
                    Value::Object(operation) => Ok(operation),
                    Value::Null => Ok(Map::new()),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        Err("an operation of a JSON patch must be a map".to_owned())
                    }
                })
                .collect::<Result<_, _>>()
                .map(Self),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Err("a JSON patch must be a list of operations".to_owned())
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies every operation in order; the document is worthless after an error.
    pub(crate) fn apply(&self, document: &mut Value) -> Result<(), String> {
        for (number, operation) in self.0.iter().enumerate() {
            apply_one(operation, document).map_err(|error| {
                let kind = text(operation, "op").unwrap_or("unknown");
                let path = text(operation, "path").unwrap_or_default();
                format!("operation {} ({kind} {path}): {error}", number + 1)
            })?;
        }
        Ok(())
    }
}

fn text<'a>(operation: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    operation.get(key).and_then(Value::as_str)
}

fn apply_one(operation: &Map<String, Value>, document: &mut Value) -> Result<(), String> {
    let path = || text(operation, "path").ok_or_else(|| "it has no path".to_owned());
    let from = || text(operation, "from").ok_or_else(|| "it has no from".to_owned());
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match text(operation, "op") {
        Some("add") => add(document, path()?, value()),
        Some("remove") => remove(document, path()?).map(|_| ()),
        Some("replace") => {
            if path()?.is_empty() {
                let new = value();
                if !(new.is_object() || new.is_array()) {
                    return Err("the whole object can only become a map or a list".to_owned());
                }
                *document = new;
                return Ok(());
            }
            match parent(document, path()?)? {
                (Value::Array(items), key) => {
                    let at = index(&key, items.len())?;
                    *items.get_mut(at).ok_or_else(|| no_index(&key))? = value();
                }
                (Value::Object(map), key) => {
                    map.insert(key, value());
                }
                _ => return Err(missing(path()?)),
            }
            Ok(())
        }
        Some("move") => {
            let (source, target) = (from()?, path()?);
            let moved = match parent(document, source)? {
                // A member that is not there moves as an error, an element too.
                (Value::Object(map), key) => map.remove(&key).ok_or_else(|| missing(source))?,
                _ => remove(document, source)?,
            };
            add(document, target, moved)
        }
        Some("copy") => {
            let copied = get(document, from()?)?.unwrap_or(Value::Null);
            add(document, path()?, copied)
        }
        Some("test") => {
            let path = path()?;
            let found = if path.is_empty() {
                Some(document.clone())
            } else {
                get(document, path)?
            };
            if found.unwrap_or(Value::Null) == value() {
                Ok(())
            } else {
                Err("the value is another one".to_owned())
            }
        }
        Some(other) => Err(format!("`{other}` is no operation")),
        None => Err("it has no op".to_owned()),
    }
}

fn missing(path: &str) -> String {
    format!("the object has no {path}")
}

fn no_index(key: &str) -> String {
    format!("`{key}` is no index of the list")
}

/// The collection that holds the last step of a path, and that step.
fn parent<'d>(document: &'d mut Value, path: &str) -> Result<(&'d mut Value, String), String> {
    let mut steps = path.split('/').skip(1).map(unescape).peekable();
    let mut here = document;
    let Some(mut step) = steps.next() else {
        return Err(missing(path));
    };
    for next in steps {
        here = match here {
            Value::Object(map) => map.get_mut(&step).ok_or_else(|| missing(path))?,
            Value::Array(items) => {
                let at = index(&step, items.len()).map_err(|_| missing(path))?;
                items.get_mut(at).ok_or_else(|| missing(path))?
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(missing(path));
            }
        };
        step = next;
    }
    if here.is_object() || here.is_array() {
        Ok((here, step))
    } else {
        Err(missing(path))
    }
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// An index of a list of `length` elements.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let at: i64 = key.parse().map_err(|_| no_index(key))?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let at = if at < 0 { at + length } else { at };
    usize::try_from(at)
        .ok()
        .filter(|_| at < length)
        .ok_or_else(|| no_index(key))
}

fn get(document: &mut Value, path: &str) -> Result<Option<Value>, String> {
    match parent(document, path)? {
        (Value::Object(map), key) => Ok(map.get(&key).cloned()),
        (Value::Array(items), key) => {
            let at = index(&key, items.len())?;
            Ok(items.get(at).cloned())
        }
        _ => Err(missing(path)),
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    match parent(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(items), key) if key == "-" => items.push(value),
        (Value::Array(items), key) => {
            // One more place than elements: the end counts.
            let at = index(&key, items.len() + 1)?;
            items.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    match parent(document, path)? {
        (Value::Object(map), key) => map.remove(&key).ok_or_else(|| missing(path)),
        (Value::Array(items), key) => {
            let at = index(&key, items.len())?;
            Ok(items.remove(at))
        }
        _ => Err(missing(path)),
    }
}
