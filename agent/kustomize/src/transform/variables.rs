//! `vars`: `$(NAME)` in the fields that the table names, replaced at the very end of a build.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chain::{Reach, Step};
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::id::{Gvk, ResourceId};
use crate::kustomization::Var;
use crate::path;
use crate::resource::{Resource, edit};
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::yaml::resolve::{self, Typed};
use crate::yaml::{Node, Scalar, Style, Tag};

/// The variables of a build by name.
pub(crate) type Variables = BTreeMap<String, Var>;

/// Ties the variables of one kustomization to the objects they read, by present or former id, and
/// adds them to the others. A name may be given once only.
pub(crate) fn record(
    objects: &mut ResourceMap,
    known: &mut Variables,
    incoming: &[Var],
    _schema: &Arc<Schema>,
) -> Result<(), RenderError> {
    for var in incoming {
        let wanted = target_id(var);
        let matches = |id: &ResourceId| {
            let effective = if id.namespace.is_empty() {
                "default"
            } else {
                id.namespace.as_str()
            };
            id.name == wanted.name
                && id.gvk == wanted.gvk
                && (wanted.namespace.is_empty() || wanted.namespace == effective)
        };
        let current = |object: &Resource| ResourceId {
            gvk: object.gvk(),
            name: object.name().into(),
            namespace: object.namespace().into(),
        };
        let found: Vec<usize> = objects
            .iter()
            .enumerate()
            .filter(|(_, object)| {
                matches(&current(object)) || object.former_ids().any(|id| matches(&id))
            })
            .map(|(at, _)| at)
            .collect();
        match found.as_slice() {
            [] => {}
            [position] => {
                if let Some(object) = objects.get_mut(*position) {
                    object.variables.push(var.name.clone());
                }
            }
            several => {
                return Err(RenderError::invalid(format!(
                    "found {} objects for var `{}` (unable to disambiguate)",
                    several.len(),
                    var.name
                ))
                .hint("add the namespace to its objref"));
            }
        }
    }
    incoming.iter().try_for_each(|var| add(known, var.clone()))
}

/// Adds one variable.
pub(crate) fn add(known: &mut Variables, var: Var) -> Result<(), RenderError> {
    if known.contains_key(&var.name) {
        return Err(
            RenderError::invalid(format!("var `{}` already encountered", var.name))
                .hint("give each variable its own name"),
        );
    }
    known.insert(var.name.clone(), var);
    Ok(())
}

fn target_id(var: &Var) -> ResourceId {
    let objref = &var.objref;
    let mut gvk = Gvk {
        group: objref.group.clone().into(),
        version: objref.version.clone().into(),
        kind: objref.kind.clone().into(),
    };
    match objref.api_version.split('/').collect::<Vec<_>>().as_slice() {
        [""] => {}
        [version] => gvk.version = (*version).into(),
        [group, version] => {
            gvk.group = (*group).into();
            gvk.version = (*version).into();
        }
        _ => {}
    }
    ResourceId {
        gvk,
        name: objref.name.clone().into(),
        namespace: objref.namespace.clone().into(),
    }
}

/// Replaces every variable by the value that it has now.
pub(crate) fn step<'a>(
    objects: &ResourceMap,
    variables: &'a Variables,
    specs: &'a [FieldSpec],
) -> Result<Step<'a>, RenderError> {
    let mut values = BTreeMap::new();
    for (name, var) in variables {
        values.insert(name.as_str(), value_of(objects, var)?);
    }
    Ok(Step::new(
        "variables",
        &(values.clone(), specs),
        move |object| {
            let gvk = object.gvk();
            let is_for = |spec: &&FieldSpec| gvk.is_selected(&spec.gvk);
            if values.is_empty() || !specs.iter().any(|spec| is_for(&spec)) {
                return Ok(Reach::Passed);
            }
            let object = edit(object);
            for spec in specs.iter().filter(is_for) {
                let replaced =
                    field_path::apply(&mut object.node, &gvk, spec, Create::Never, &mut |node| {
                        replace_in(node, &values)
                    });
                replaced.map_err(|error| {
                    let place = object.describe();
                    RenderError::invalid(format!("cannot replace variables of {place}: {error}"))
                })?;
            }
            object.settle_aliases();
            Ok(Reach::Touched)
        },
    ))
}

/// The value of a variable; `None` for a list or a map, which cannot be put into a text.
fn value_of(objects: &ResourceMap, var: &Var) -> Result<Option<Scalar>, RenderError> {
    let name = &var.name;
    let field = match var.fieldref.field_path.as_str() {
        "" => "metadata.name",
        field => field,
    };
    let object = objects
        .iter()
        .find(|object| object.variables.contains(name))
        .ok_or_else(|| {
            RenderError::invalid(format!(
                "var `{name}` cannot be mapped to a field in the set of known resources"
            ))
            .hint("its objref must name an object that this kustomization or a base of it contains")
        })?;
    let steps = with_indices(path::split(field));
    let value = path::lookup(&object.node, &steps)
        .ok()
        .flatten()
        .ok_or_else(|| {
            RenderError::invalid(format!(
                "field {field} of var `{name}` not found in {}",
                object.describe()
            ))
        })?;
    Ok(match value {
        Node::Scalar(scalar) => Some(scalar.clone()),
        Node::Sequence(_) | Node::Mapping(_) => None,
    })
}

/// `ports[0]` is two steps.
fn with_indices(steps: Vec<String>) -> Vec<String> {
    let mut split = Vec::new();
    for step in steps {
        let index = step
            .strip_suffix(']')
            .and_then(|rest| rest.rsplit_once('['))
            .filter(|(_, at)| !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit()));
        match index {
            Some(("", at)) => split.push(at.to_owned()),
            Some((field, at)) => split.extend([field.to_owned(), at.to_owned()]),
            None => split.push(step),
        }
    }
    split
}

type Values<'a> = BTreeMap<&'a str, Option<Scalar>>;

fn replace_in(node: &mut Node, values: &Values<'_>) -> Result<(), String> {
    match node {
        Node::Scalar(scalar) => {
            if scalar.tag == Tag::Str {
                scalar.replace(expand(&scalar.text, values));
            }
            Ok(())
        }
        Node::Mapping(map) => {
            for (_, value) in map.iter_mut() {
                if let Node::Scalar(scalar @ Scalar { tag: Tag::Str, .. }) = value {
                    scalar.replace(expand(&scalar.text, values));
                }
            }
            Ok(())
        }
        Node::Sequence(items) => items.iter_mut().try_for_each(|item| match item {
            Node::Scalar(scalar @ Scalar { tag: Tag::Str, .. }) => {
                scalar.replace(expand(&scalar.text, values));
                Ok(())
            }
            Node::Scalar(_) | Node::Sequence(_) | Node::Mapping(_) => {
                Err(format!("expected a list of strings, found {}", item.kind()))
            }
        }),
    }
}

/// Replaces `$(NAME)`. A text that is one reference takes the type of the value, `$$` stands for
/// a dollar sign, and what is no variable stays.
fn expand(text: &str, values: &Values<'_>) -> Scalar {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let named = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'));
        let Some((name, tail)) = named else {
            out.push('$');
            continue;
        };
        match values.get(name) {
            Some(Some(value)) if before.is_empty() && out.is_empty() && tail.is_empty() => {
                return typed(value);
            }
            Some(Some(value)) => out.push_str(&typed(value).text),
            Some(None) | None => {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Scalar::string(out)
}

/// A value as it is written in the place of a reference.
fn typed(value: &Scalar) -> Scalar {
    let (text, tag) = match (value.tag, resolve::value_of(&value.text)) {
        (Tag::Int, Typed::Int(number)) => (number.to_string(), Tag::Int),
        (Tag::Int, Typed::Uint(number)) => (number.to_string(), Tag::Int),
        (Tag::Float, Typed::Float(number)) => (format!("{number}"), Tag::Float),
        (Tag::Bool, Typed::Bool(truth)) => (truth.to_string(), Tag::Bool),
        _ => return Scalar::string(value.text.as_str()),
    };
    Scalar {
        text: text.into(),
        tag,
        style: Style::Plain,
        alias: None,
    }
}
