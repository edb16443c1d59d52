//! The hash at the end of a generated object's name.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize as _;
use serde_json::ser::Formatter;
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use crate::chain::{Reach, Step};
use crate::environment::Environment;
use crate::error::RenderError;
use crate::resource::{Resource, edit};
use crate::yaml::{Node, json};

/// Appends its hash to the name of every object that asks for one.
pub(crate) fn step(environment: &Environment) -> Step<'static> {
    let schema = Arc::clone(&environment.schema);
    Step::new("name hash", &environment.key, move |object| {
        if !object.needs_hash {
            return Ok(Reach::Passed);
        }
        let hash = hash(object)?;
        let object = edit(object);
        object.remember_name(&schema);
        let name = format!("{}-{hash}", object.name());
        object.set_name(&name)?;
        Ok(Reach::Touched)
    })
}

/// Ten letters and digits that change with the contents, not with the name.
fn hash(object: &Resource) -> Result<String, RenderError> {
    let field = |name: &str| -> Result<Value, RenderError> {
        match object.node.get(name) {
            None => Ok(Value::String(String::new())),
            Some(Node::Scalar(scalar)) => Ok(Value::String(scalar.text.to_string())),
            Some(node) => json::to_value(node).map(decoded_by_go).map_err(|error| {
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

/// A value that went through Go's untyped decoder, which has no numbers but 64-bit floats.
fn decoded_by_go(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().and_then(Number::from_f64);
            Value::Number(float.unwrap_or(number))
        }
        Value::Array(items) => items.into_iter().map(decoded_by_go).collect(),
        Value::Object(map) => {
            let entries = map.into_iter();
            let decoded = entries.map(|(key, value)| (key, decoded_by_go(value)));
            Value::Object(decoded.collect())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
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
    let mut written = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut written, GoNumbers);
    // Nothing of a JSON value can fail to be written to memory.
    let json = value
        .serialize(&mut writer)
        .ok()
        .and_then(|()| String::from_utf8(written).ok());
    escape_html(&json.unwrap_or_default())
}

/// Go's form of floats: no exponent from 1e-6 to 1e21, and a sign in it elsewhere.
struct GoNumbers;

impl Formatter for GoNumbers {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size == 0.0 || (1e-6..1e21).contains(&size) {
            return write!(writer, "{value}");
        }
        let text = format!("{value:e}");
        let text = if size < 1.0 {
            text
        } else {
            text.replace('e', "e+")
        };
        writer.write_all(text.as_bytes())
    }
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
