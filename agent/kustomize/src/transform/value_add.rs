//! `ValueAddTransformer`: a value written into fields, or inserted into paths in them.

use std::sync::Arc;

use super::namespace::{Existing, NamespaceChange, Subjects};
use crate::chain::{Reach, Step};
use crate::environment::Environment;
use crate::error::RenderError;
use crate::field_spec::path_steps;
use crate::plugin::ValueTarget;
use crate::resource::edit;
use crate::selector::Matcher;
use crate::yaml::{Mapping, Node};

/// Writes the value into one target.
pub(crate) fn step(
    value: String,
    target: &ValueTarget,
    environment: &Environment,
) -> Result<Step<'static>, RenderError> {
    let configuration = (environment.key, value.clone(), target.clone());
    let ValueTarget {
        selector,
        field_path,
        file_path_position,
    } = target;
    if field_path.is_empty() {
        return Err(RenderError::invalid("fieldPath cannot be empty"));
    }
    let position = usize::try_from(*file_path_position).map_err(|_| {
        RenderError::invalid(format!(
            "value of filePathPosition ({file_path_position}) cannot be negative"
        ))
    })?;
    let selector = selector.as_ref().map(Matcher::new).transpose()?;
    let steps = path_steps(field_path, '/');
    let namespace = (field_path == "metadata/namespace").then(|| NamespaceChange {
        namespace: value.clone(),
        specs: Vec::new(),
        existing: Existing::Replaced,
        subjects: Subjects::Default,
    });
    let schema = Arc::clone(&environment.schema);
    let field_path = field_path.clone();
    Ok(Step::new("value", &configuration, move |object| {
        if selector
            .as_ref()
            .is_some_and(|selector| !selector.selects(object, &schema))
        {
            return Ok(Reach::Passed);
        }
        let object = edit(object);
        if let Some(change) = &namespace {
            change.apply_to(object, &schema)?;
            return Ok(Reach::Touched);
        }
        let place = object.describe();
        write(&mut object.node, &steps, &value, position).map_err(|error| {
            RenderError::invalid(format!("cannot set {field_path} of {place}: {error}"))
        })?;
        Ok(Reach::Touched)
    }))
}

fn write(node: &mut Node, steps: &[String], value: &str, position: usize) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        let Node::Scalar(scalar) = node else {
            return Err(format!("expected a scalar, found {}", node.kind()));
        };
        let text = match position.checked_sub(1) {
            None => value.to_owned(),
            Some(position) => inserted(&scalar.text, position, value),
        };
        scalar.set_text(text);
        return Ok(());
    };
    if let (Ok(index), Node::Sequence(items)) = (step.parse::<usize>(), &mut *node) {
        return match items.get_mut(index) {
            Some(item) => write(item, rest, value, position),
            None => Err(format!("there is no element {index}")),
        };
    }
    let Node::Mapping(map) = node else {
        return Err(format!("`{step}` needs a map, found {}", node.kind()));
    };
    let field = map.entry(step, || {
        if rest.is_empty() {
            Node::string("")
        } else {
            Node::Mapping(Mapping::new())
        }
    });
    write(field, rest, value, position)
}

/// A path with a step put in at a position; an absolute path stays absolute.
fn inserted(path: &str, position: usize, step: &str) -> String {
    if step.is_empty() {
        return path.to_owned();
    }
    let cleaned = path.trim_matches('/');
    let mut steps: Vec<&str> = if cleaned.is_empty() {
        Vec::new()
    } else {
        cleaned.split('/').collect()
    };
    steps.insert(position.min(steps.len()), step);
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", steps.join("/"))
}
