//! Trees to JSON and back, with Go's number rules.
//!
//! kustomize turns every object into JSON before it prints, hashes or patches it (RFC 6902).
//! That is where `1.0` becomes `1`, an octal number decimal and a date a string.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::emit;
use super::mapping::Mapping;
use super::node::{Layout, Node, Scalar, Style, Tag};
use super::resolve::{self, Typed};

/// Why a scalar has no JSON form.
pub(crate) type NoJson = String;

/// The JSON form of a tree.
pub(crate) fn to_value(node: &Node) -> Result<Value, NoJson> {
    value_in(node, Layout::Block)
}

/// Upstream writes a tree as YAML and reads it again on the way to JSON. What is not written at
/// all is null in a block, but an empty string between brackets, where the writer quotes it.
fn value_in(node: &Node, around: Layout) -> Result<Value, NoJson> {
    Ok(match node {
        Node::Scalar(scalar) => scalar_in(scalar, around)?,
        Node::Sequence(items) => {
            let around = around.or(items.layout);
            let values = items.iter().map(|item| value_in(item, around));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Node::Mapping(map) => {
            let around = around.or(map.layout);
            let entries = map
                .iter()
                .map(|(key, value)| Ok((key.to_owned(), value_in(value, around)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, NoJson>>()?)
        }
    })
}

/// Fails as [`to_value`] does, without making anything.
pub(crate) fn check(node: &Node) -> Result<(), NoJson> {
    match node {
        Node::Scalar(scalar) if scalar.tag == Tag::Str || is_null(scalar) => Ok(()),
        Node::Scalar(scalar) => scalar_value(scalar).map(drop),
        Node::Sequence(items) => items.iter().try_for_each(check),
        Node::Mapping(map) => map.iter().try_for_each(|(_, value)| check(value)),
    }
}

fn is_null(scalar: &Scalar) -> bool {
    scalar.tag == Tag::Null && resolve::value_of(&scalar.text) == Typed::Null
}

/// The JSON form of a scalar.
pub(super) fn scalar_in(scalar: &Scalar, around: Layout) -> Result<Value, NoJson> {
    let is_unwritten = scalar.tag == Tag::Null && scalar.text.is_empty();
    if around == Layout::Flow && is_unwritten {
        return Ok(Value::String(String::new()));
    }
    scalar_value(scalar)
}

fn scalar_value(scalar: &Scalar) -> Result<Value, NoJson> {
    let text = &scalar.text;
    match scalar.tag {
        Tag::Str => return Ok(Value::String(text.to_string())),
        Tag::Null if is_null(scalar) => return Ok(Value::Null),
        Tag::Binary => {
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD
                .decode(compact)
                .map_err(|_| "a !!binary value is not valid base64".to_owned())?;
            return String::from_utf8(bytes)
                .map(Value::String)
                .map_err(|_| "a !!binary value is not text".to_owned());
        }
        Tag::Null | Tag::Bool | Tag::Int | Tag::Float | Tag::Timestamp => {}
    }
    let wrong = || format!("cannot read `{text}` as {}", scalar.tag.name());
    match (scalar.tag, resolve::value_of_v2(text)) {
        (Tag::Bool, Typed::Bool(value)) => Ok(Value::Bool(value)),
        (Tag::Int, Typed::Int(value)) => Ok(value.into()),
        (Tag::Int, Typed::Uint(value)) => Ok(value.into()),
        #[expect(clippy::cast_precision_loss, reason = "what !!float says")]
        (Tag::Float, Typed::Int(value)) => float(value as f64).ok_or_else(wrong),
        #[expect(clippy::cast_precision_loss, reason = "what !!float says")]
        (Tag::Float, Typed::Uint(value)) => float(value as f64).ok_or_else(wrong),
        (Tag::Float, Typed::Float(value)) => {
            float(value).ok_or_else(|| format!("`{text}` has no JSON form"))
        }
        (Tag::Timestamp, Typed::Timestamp(stamp)) => Ok(Value::String(stamp)),
        _ => Err(wrong()),
    }
}

/// A number as it comes out of Go's JSON and is read again: whole numbers that fit 64 bits are
/// integers. `None` for what JSON cannot say.
pub(crate) fn float(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 1e21 {
        let text = format!("{value:.0}");
        let text = if text == "-0" { "0" } else { &text };
        if let Ok(whole) = text.parse::<i64>() {
            return Some(whole.into());
        }
        if let Ok(whole) = text.parse::<u64>() {
            return Some(whole.into());
        }
    }
    Number::from_f64(value).map(Value::Number)
}

/// The tree of a JSON value that went through Go's untyped decoder, which keeps every number as
/// a 64-bit float.
pub(crate) fn from_value(value: Value) -> Node {
    match value {
        Value::Null => Node::null(),
        Value::Bool(value) => Node::plain(value.to_string()),
        Value::Number(number) => {
            Node::plain(number.as_f64().map_or_else(|| number.to_string(), go_float))
        }
        Value::String(text) => {
            // go-yaml writes plain what reads back as a string and quotes the rest, and later
            // renames treat the two differently.
            let style = if emit::is_written_plain(&text) {
                Style::Plain
            } else {
                Style::Double
            };
            Node::Scalar(Scalar {
                text: text.into(),
                tag: Tag::Str,
                style,
                alias: None,
            })
        }
        Value::Array(items) => Node::Sequence(items.into_iter().map(from_value).collect()),
        Value::Object(map) => Node::Mapping(
            map.into_iter()
                .map(|(key, value)| (key, from_value(value)))
                .collect::<Mapping>(),
        ),
    }
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 64)`: the fewest digits that read back, with an
/// exponent below 1e-4 and from 1e6.
pub(crate) fn go_float(value: f64) -> String {
    let shortest = format!("{value:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}
