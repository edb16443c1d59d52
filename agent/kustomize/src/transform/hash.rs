//! The hash at the end of a generated object's name.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::error::RenderError;
use crate::resource::Resource;
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::yaml::{Node, json};

/// Appends its hash to the name of every object that asks for one.
pub(crate) fn apply(objects: &mut ResourceMap, schema: &Schema) -> Result<(), RenderError> {
    if !objects.iter().any(|object| object.needs_hash) {
        return Ok(());
    }
    for object in objects
        .list_mut()
        .iter_mut()
        .filter(|object| object.needs_hash)
    {
        let hash = hash(object)?;
        object.remember_name(schema);
        let name = format!("{}-{hash}", object.name());
        object.set_name(&name)?;
    }
    Ok(())
}

/// Ten letters and digits that change with the contents, not with the name.
fn hash(object: &Resource) -> Result<String, RenderError> {
    let field = |name: &str| -> Result<Value, RenderError> {
        match object.node.get(name) {
            None => Ok(Value::String(String::new())),
            Some(Node::Scalar(scalar)) => Ok(Value::String(scalar.text.clone())),
            Some(node) => json::to_value(node).map_err(|error| {
                RenderError::invalid(format!("cannot hash {}: {error}", object.describe()))
            }),
        }
    };
    let mut hashed = Map::new();
    let also = match object.kind() {
        "ConfigMap" => "binaryData",
        "Secret" => {
            hashed.insert("type".to_owned(), field("type")?);
            "stringData"
        }
        _ => {
            let whole = json::to_value(&object.node).map_err(|error| {
                RenderError::invalid(format!("cannot hash {}: {error}", object.describe()))
            })?;
            return Ok(encode(&whole));
        }
    };
    hashed.insert("kind".to_owned(), Value::String(object.kind().to_owned()));
    // Upstream looks the name up in a way that never finds it.
    hashed.insert("name".to_owned(), Value::String(String::new()));
    hashed.insert("data".to_owned(), field("data")?);
    if object
        .node
        .get(also)
        .is_some_and(|node| node.as_mapping().is_some())
    {
        hashed.insert(also.to_owned(), field(also)?);
    }
    Ok(encode(&Value::Object(hashed)))
}

/// The first ten hex digits of SHA-256, without the digits that could spell a word.
fn encode(value: &Value) -> String {
    let digest = Sha256::digest(go_json(value));
    let hex = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    hex.take(10)
        .map(|digit| match digit {
            0 => 'g',
            1 => 'h',
            3 => 'k',
            10 => 'm',
            14 => 't',
            other => char::from_digit(u32::from(other), 16).unwrap_or('g'),
        })
        .collect()
}

/// Compact JSON as Go writes it: sorted keys, and characters that mean something in HTML escaped.
pub(crate) fn go_json(value: &Value) -> String {
    escape_html(&value.to_string())
}

/// Escapes what Go escapes in JSON.
pub(crate) fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}
