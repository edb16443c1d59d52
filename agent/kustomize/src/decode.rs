//! Trees to typed configuration, by the rules of Go's JSON decoder: field names in any case, null
//! leaves a field alone, a number is not a string, and (when strict) an unknown field is an error.

use std::collections::BTreeMap;

use crate::yaml::resolve::{self, Typed};
use crate::yaml::{Node, Scalar, Tag};

/// Whether unknown fields are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refused,
    Ignored,
}

/// What does not fit, and the steps to it.
#[derive(Clone, Debug)]
pub(crate) struct DecodeError {
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
            hint: None,
        }
    }

    fn under(mut self, step: impl Into<String>) -> Self {
        self.path.insert(0, step.into());
        self
    }
}

/// Every fault found, in reading order.
pub(crate) type Decoded<T> = Result<T, Vec<DecodeError>>;

/// A type that a tree can be decoded into.
pub(crate) trait Decode: Sized {
    fn decode(node: &Node, unknown: Unknown) -> Decoded<Self>;
}

fn wrong<T>(node: &Node, wanted: &str) -> Decoded<T> {
    let found = match node {
        Node::Scalar(scalar) => match scalar.tag {
            Tag::Bool => format!("the boolean {}", scalar.text),
            Tag::Int | Tag::Float => format!("the number {}", scalar.text),
            Tag::Null => "null".to_owned(),
            Tag::Str | Tag::Timestamp | Tag::Binary => format!("the string {:?}", scalar.text),
        },
        Node::Sequence(_) | Node::Mapping(_) => node.kind().to_owned(),
    };
    let mut error = DecodeError::new(format!("expected {wanted}, found {found}"));
    if let Node::Scalar(Scalar {
        text,
        tag: Tag::Bool | Tag::Int | Tag::Float,
        ..
    }) = node
        && wanted == "a string"
    {
        error.hint = Some(format!("put it in quotes: \"{text}\""));
    }
    Err(vec![error])
}

impl Decode for String {
    fn decode(node: &Node, unknown: Unknown) -> Decoded<Self> {
        match node {
            Node::Scalar(Scalar {
                text,
                tag: Tag::Str | Tag::Timestamp | Tag::Binary,
                ..
            }) => Ok(text.to_string()),
            // The lenient decoder knows that a string is wanted and takes numbers for one.
            Node::Scalar(Scalar {
                text,
                tag: Tag::Int | Tag::Float | Tag::Bool,
                ..
            }) if unknown == Unknown::Ignored => Ok(crate::yaml::json::to_value(node)
                .map_or_else(|_| text.to_string(), |value| value.to_string())),
            Node::Scalar(_) | Node::Sequence(_) | Node::Mapping(_) => wrong(node, "a string"),
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, _: Unknown) -> Decoded<Self> {
        if let Node::Scalar(Scalar {
            text,
            tag: Tag::Bool,
            ..
        }) = node
            && let Typed::Bool(value) = resolve::value_of_v2(text)
        {
            return Ok(value);
        }
        wrong(node, "a boolean")
    }
}

impl Decode for i64 {
    fn decode(node: &Node, _: Unknown) -> Decoded<Self> {
        crate::yaml::json::to_value(node)
            .ok()
            .filter(serde_json::Value::is_number)
            .and_then(|value| value.as_i64())
            .map_or_else(|| wrong(node, "a whole number"), Ok)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, unknown: Unknown) -> Decoded<Self> {
        if node.is_null() {
            Ok(None)
        } else {
            T::decode(node, unknown).map(Some)
        }
    }
}

impl<T: Decode + Default> Decode for Vec<T> {
    fn decode(node: &Node, unknown: Unknown) -> Decoded<Self> {
        let Node::Sequence(items) = node else {
            return wrong(node, "a list");
        };
        let mut list = Self::with_capacity(items.len());
        let mut faults = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if item.is_null() {
                list.push(T::default());
                continue;
            }
            match T::decode(item, unknown) {
                Ok(value) => list.push(value),
                Err(inner) => faults.extend(inner.into_iter().map(|e| e.under(at.to_string()))),
            }
        }
        if faults.is_empty() {
            Ok(list)
        } else {
            Err(faults)
        }
    }
}

impl<T: Decode + Default> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, unknown: Unknown) -> Decoded<Self> {
        let Node::Mapping(map) = node else {
            return wrong(node, "a map");
        };
        let mut decoded = Self::new();
        let mut faults = Vec::new();
        for (key, value) in map.iter() {
            if value.is_null() {
                decoded.insert(key.to_owned(), T::default());
                continue;
            }
            match T::decode(value, unknown) {
                Ok(value) => {
                    decoded.insert(key.to_owned(), value);
                }
                Err(inner) => faults.extend(inner.into_iter().map(|e| e.under(key))),
            }
        }
        if faults.is_empty() {
            Ok(decoded)
        } else {
            Err(faults)
        }
    }
}

/// Decodes one field of a struct; null leaves the field as it is.
pub(crate) fn field<T: Decode>(
    target: &mut T,
    name: &str,
    node: &Node,
    unknown: Unknown,
    faults: &mut Vec<DecodeError>,
) {
    if node.is_null() {
        return;
    }
    match T::decode(node, unknown) {
        Ok(value) => *target = value,
        Err(inner) => faults.extend(inner.into_iter().map(|error| error.under(name))),
    }
}

/// The fault for a field that a struct does not have.
pub(crate) fn unknown_field(name: &str, known: &[&str]) -> DecodeError {
    let mut error = DecodeError::new(format!("unknown field `{name}`")).under(name);
    error.hint = Some(match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known fields are {}", known.join(", ")),
    });
    error
}

/// The known name that is fewest edits away, if it is close.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    known
        .iter()
        .map(|candidate| (edits(&name, &candidate.to_ascii_lowercase()), *candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, candidate)| *edits <= 2.min(candidate.len() / 3))
        .map(|(_, candidate)| candidate)
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != *y))
                .min(left + 1)
                .min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Declares a configuration struct whose fields decode from the names given.
macro_rules! configuration {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$field_meta:meta])* $field:ident : $kind:ty = $key:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Hash)]
        pub(crate) struct $name {
            $( $(#[$field_meta])* pub(crate) $field: $kind, )*
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::yaml::Node,
                unknown: $crate::decode::Unknown,
            ) -> $crate::decode::Decoded<Self> {
                const KNOWN: &[&str] = &[$($key),*];
                let mut decoded = Self::default();
                let mut faults = Vec::new();
                let $crate::yaml::Node::Mapping(map) = node else {
                    return Err(vec![$crate::decode::DecodeError::new(
                        format!("expected a map, found {}", node.kind()),
                    )]);
                };
                for (key, value) in map.iter() {
                    $(
                        if key.eq_ignore_ascii_case($key) {
                            $crate::decode::field(
                                &mut decoded.$field, $key, value, unknown, &mut faults,
                            );
                            continue;
                        }
                    )*
                    if unknown == $crate::decode::Unknown::Refused {
                        faults.push($crate::decode::unknown_field(key, KNOWN));
                    }
                }
                if faults.is_empty() { Ok(decoded) } else { Err(faults) }
            }
        }
    };
}
pub(crate) use configuration;
