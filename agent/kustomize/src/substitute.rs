//! Variables in rendered objects, by the rules of Flux's `postBuild` substitution.
//!
//! The objects are written as YAML, `${...}` is replaced in the text, and the text is read again:
//! a value that looks like a number becomes one, as in Flux.
//!
//! | expression | result |
//! |---|---|
//! | `${var}` | the value |
//! | `${var:=text}`, `${var:-text}`, `${var=text}`, `${var-text}` | the value, or the text if there is none or it is empty |
//! | `${var:2}`, `${var:2:3}` | the value from its third character, of at most three characters |
//! | `${var/old/new}`, `${var//old/new}` | the value with the first or every `old` replaced |
//! | `${var^}`, `${var^^}`, `${var,}`, `${var,,}` | first character or all in upper or lower case |
//! | `${#var}` | number of characters |
//! | `$${var}` | `${var}` as it stands |
//!
//! A text after `:=` or `:-` may hold expressions itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{ErrorKind, Place, RenderError};
use crate::limits::Limits;
use crate::rendered::{Object, Rendered};
use crate::yaml::parse::{self, Dialect};
use crate::yaml::{Node, json};

/// What a variable without a value and without a default is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undefined {
    /// An error that says where it is used.
    #[default]
    Refused,
    /// The empty text.
    Empty,
}

/// A label or annotation with the value `disabled` keeps an object as it is.
const OPT_OUTS: [&str; 2] = [
    "immuops.dev/substitute",
    "kustomize.toolkit.fluxcd.io/substitute",
];

/// Expressions inside expressions, at most.
const MAX_DEPTH: usize = 16;

/// Substitutes in every object but custom resource definitions, whose texts are full of `${`, and
/// objects that opt out.
///
/// ```
/// use std::collections::BTreeMap;
/// use kustomize::{MemoryTree, Options, Undefined};
///
/// let tree = MemoryTree::from([
///     ("kustomization.yaml", "resources: [c.yaml]\n"),
///     ("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${site:-main}-config\n"),
/// ]);
/// let rendered = kustomize::render(&tree, "", &Options::default())?;
/// let variables = BTreeMap::from([("site".to_owned(), "east".to_owned())]);
/// let rendered = kustomize::substitute(rendered, &variables, Undefined::Refused)?;
/// assert_eq!(rendered.objects()[0].name(), "east-config");
/// # Ok::<(), kustomize::Error>(())
/// ```
///
/// # Errors
///
/// An undefined variable (unless [`Undefined::Empty`]), a malformed expression, a text that is no
/// YAML any more, and a result above a fixed size.
pub fn substitute(
    rendered: Rendered,
    variables: &BTreeMap<String, String>,
    undefined: Undefined,
) -> Result<Rendered, RenderError> {
    let mut objects = Vec::new();
    let mut faults = Vec::new();
    let Rendered {
        objects: all,
        schema,
    } = rendered;
    for object in all {
        if object.kind() == "CustomResourceDefinition" || opts_out(&object) {
            objects.push(object);
            continue;
        }
        match substitute_object(object, variables, undefined) {
            Ok(object) => objects.push(object),
            Err(error) => faults.push(error),
        }
    }
    match RenderError::join(faults) {
        Some(error) => Err(error),
        None => Ok(Rendered::new(objects, schema)),
    }
}

fn opts_out(object: &Object) -> bool {
    let metadata = object.value().get("metadata");
    ["labels", "annotations"].iter().any(|field| {
        let values = metadata.and_then(|metadata| metadata.get(field));
        OPT_OUTS.iter().any(|key| {
            let value = values
                .and_then(|values| values.get(key))
                .and_then(Value::as_str);
            value == Some("disabled")
        })
    })
}

fn substitute_object(
    object: Object,
    variables: &BTreeMap<String, String>,
    undefined: Undefined,
) -> Result<Object, RenderError> {
    let text = object.to_yaml();
    if !text.contains("${") {
        return Ok(object);
    }
    let limits = Limits::default();
    let name = format!("{} {}", object.kind(), object.name());
    let within = |error: RenderError| {
        let (file, line) = object.source();
        error.within(format!("{name} from {file}:{line}, as rendered"))
    };
    let expander = Expander {
        variables,
        undefined,
        most: limits.scalar_bytes,
    };
    let result = expander.expand(&text, 0).map_err(|fault| {
        let before = text.get(..fault.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .chars()
            .rev()
            .take_while(|character| *character != '\n')
            .count()
            + 1;
        within(
            RenderError::new(fault.kind, fault.message)
                .at(Place::new(&name, &text, line, column))
                .hint(fault.hint),
        )
    })?;
    let read = parse::single(&result, &name, Dialect::Configuration, &limits).map_err(within)?;
    let node = read.map_or_else(Node::null, |document| document.node);
    json::check(&node).map_err(|error| within(RenderError::malformed(error)))?;
    Ok(object.with_node(node))
}

/// What is wrong with an expression, and where it starts in the text.
struct Fault {
    at: usize,
    kind: ErrorKind,
    message: String,
    hint: &'static str,
}

struct Expander<'a> {
    variables: &'a BTreeMap<String, String>,
    undefined: Undefined,
    /// Bytes that a text may grow to.
    most: usize,
}

impl Expander<'_> {
    fn expand(&self, text: &str, depth: usize) -> Result<String, Fault> {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
            let start = at + found;
            let before = text.get(at..start).unwrap_or_default();
            let fault = |message: String, hint| Fault {
                at: start,
                kind: ErrorKind::Invalid,
                message,
                hint,
            };
            if let Some(escaped) = before.strip_suffix('$') {
                out.push_str(escaped);
                out.push_str("${");
                at = start + 2;
                continue;
            }
            out.push_str(before);
            let inside = text.get(start + 2..).unwrap_or_default();
            let Some(length) = closing_brace(inside) else {
                return Err(fault(
                    "`${` without a closing brace".to_owned(),
                    "write $${ for a dollar sign and a brace that mean themselves",
                ));
            };
            let expression = inside.get(..length).unwrap_or_default();
            let value = self
                .value(expression, depth)
                .map_err(|inner| Fault { at: start, ..inner })?;
            out.push_str(&value);
            if out.len() > self.most {
                return Err(Fault {
                    at: start,
                    kind: ErrorKind::Limit,
                    message: format!("substitution makes more than {} bytes", self.most),
                    hint: "use shorter values",
                });
            }
            at = start + 2 + length + 1;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Ok(out)
    }

    /// The value of what stands between the braces.
    fn value(&self, expression: &str, depth: usize) -> Result<String, Fault> {
        let fault = |message: String, hint| Fault {
            at: 0,
            kind: ErrorKind::Invalid,
            message,
            hint,
        };
        if depth > MAX_DEPTH {
            return Err(fault(
                format!("more than {MAX_DEPTH} expressions inside each other"),
                "give the default as a variable of its own",
            ));
        }
        if let Some(name) = expression.strip_prefix('#') {
            return Ok(self.defined(name)?.chars().count().to_string());
        }
        let end = expression
            .find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
            .unwrap_or(expression.len());
        let (name, operation) = expression.split_at_checked(end).unwrap_or((expression, ""));
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(fault(
                format!("`${{{expression}}}` does not start with a variable name"),
                "names are letters, digits and underscores; write $${...} for a text that means itself",
            ));
        }
        for default in [":=", ":-", "=", "-"] {
            if let Some(text) = operation.strip_prefix(default) {
                return match self.variables.get(name) {
                    Some(value) if !value.is_empty() => Ok(one_line(value)),
                    _ => self.expand(text, depth + 1),
                };
            }
        }
        let value = self.defined(name)?;
        let unknown = || {
            fault(
                format!("`${{{expression}}}` is no expression that is known here"),
                "known are :=, :-, :position, :position:length, /old/new, //old/new, ^, ^^, `,` and ,,",
            )
        };
        if let Some(change) = operation.strip_prefix('/') {
            let (every, change) = match change.strip_prefix('/') {
                Some(change) => (true, change),
                None => (false, change),
            };
            let (old, new) = change.split_once('/').unwrap_or((change, ""));
            let (old, new) = (self.expand(old, depth + 1)?, self.expand(new, depth + 1)?);
            return Ok(match (old.is_empty(), every) {
                (true, _) => value,
                (false, true) => value.replace(&old, &new),
                (false, false) => value.replacen(&old, &new, 1),
            });
        }
        if let Some(range) = operation.strip_prefix(':') {
            let (position, length) = range.split_once(':').unwrap_or((range, ""));
            let position: usize = position.trim().parse().map_err(|_| unknown())?;
            let rest = value.chars().skip(position);
            return if length.is_empty() {
                Ok(rest.collect())
            } else {
                Ok(rest
                    .take(length.trim().parse().map_err(|_| unknown())?)
                    .collect())
            };
        }
        match operation {
            "" => Ok(value),
            "^^" => Ok(value.to_uppercase()),
            ",," => Ok(value.to_lowercase()),
            "^" => Ok(first_character(&value, |first| {
                first.to_uppercase().collect()
            })),
            "," => Ok(first_character(&value, |first| {
                first.to_lowercase().collect()
            })),
            _ => Err(unknown()),
        }
    }

    fn defined(&self, name: &str) -> Result<String, Fault> {
        match (self.variables.get(name), self.undefined) {
            (Some(value), _) => Ok(one_line(value)),
            (None, Undefined::Empty) => Ok(String::new()),
            (None, Undefined::Refused) => Err(Fault {
                at: 0,
                kind: ErrorKind::Missing,
                message: format!("variable `{name}` is not defined"),
                hint: "define it, give it a default (${name:=text}), or write $${name} for a text that means itself",
            }),
        }
    }
}

/// Values are put into lines of YAML, so they have no line feeds.
fn one_line(value: &str) -> String {
    value.replace('\n', "")
}

fn first_character(text: &str, change: impl Fn(char) -> String) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| change(first) + characters.as_str())
}

/// Where the brace is that closes an expression, past those inside it.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            '\n' => return None,
            _ => {}
        }
        previous = character;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let variables: BTreeMap<String, String> = [
            ("name", "grafana"),
            ("empty", ""),
            ("lines", "a\nb"),
            ("Mixed", "aBc"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        Expander {
            variables: &variables,
            undefined: Undefined::Refused,
            most: 1000,
        }
        .expand(text, 0)
        .map_err(|fault| format!("{}@{}", fault.message, fault.at))
    }

    #[test]
    fn expressions() {
        const CASES: &[(&str, &str)] = &[
            ("x ${name} y", "x grafana y"),
            ("${name}${name}", "grafanagrafana"),
            ("${empty}", ""),
            ("${missing:=default}", "default"),
            ("${missing:-${name}-x}", "grafana-x"),
            ("${empty:-d}", "d"),
            ("${name:-d}", "grafana"),
            ("${name:2}", "afana"),
            ("${name:2:3}", "afa"),
            ("${name:99}", ""),
            ("${name/a/A}", "grAfana"),
            ("${name//a/A}", "grAfAnA"),
            ("${name//a/}", "grfn"),
            ("${name^}", "Grafana"),
            ("${Mixed,,}${Mixed^^}", "abcABC"),
            ("${#name}", "7"),
            ("$${name}", "${name}"),
            ("$$${name}", "$${name}"),
            ("$name $ {x} $", "$name $ {x} $"),
            ("${lines}", "ab"),
        ];
        for (text, expected) in CASES {
            assert_eq!(expand(text).as_deref(), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn faults_say_where() {
        const CASES: &[(&str, &str)] = &[
            ("ab ${missing}", "variable `missing` is not defined@3"),
            ("${name", "`${` without a closing brace@0"),
            ("${}", "`${}` does not start with a variable name@0"),
            ("${1x}", "`${1x}` does not start with a variable name@0"),
            (
                "${name:x}",
                "`${name:x}` is no expression that is known here@0",
            ),
            (
                "${name%x}",
                "`${name%x}` is no expression that is known here@0",
            ),
        ];
        for (text, expected) in CASES {
            assert_eq!(expand(text), Err((*expected).to_owned()), "{text}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        let text = "${name:=x}".repeat(500);
        assert!(expand(&text).unwrap_err().contains("more than 1000 bytes"));
    }
}
