//! Replica counts.

use std::sync::Arc;

use crate::chain::{Reach, Step};
use crate::environment::Environment;
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::kustomization::Replica;
use crate::resource::{Resource, edit};
use crate::yaml::{Node, Scalar, Style, Tag};

/// Sets the count of every object that has or had the name, of the kinds in the specs. No such
/// object is an error.
pub(crate) fn step(
    replica: Replica,
    specs: Vec<FieldSpec>,
    environment: &Environment,
) -> Step<'static> {
    let kinds: Vec<&str> = specs.iter().map(|spec| spec.gvk.kind.as_str()).collect();
    let unused = RenderError::invalid(format!(
        "resource with name {} does not match a config with the following GVK {}",
        replica.name,
        kinds.join(", ")
    ))
    .hint("name an object of one of these kinds as it is called in its file");
    let configuration = (environment.key, replica.clone(), specs.clone());
    let schema = Arc::clone(&environment.schema);
    let step = Step::new("replicas", &configuration, move |object| {
        let is_called_so = object.name() == replica.name
            || object
                .former
                .iter()
                .any(|former| former.name == replica.name);
        if !is_called_so {
            return Ok(Reach::Passed);
        }
        let ids = object.former_ids().chain([object.id(&schema)]);
        let kinds: Vec<_> = ids
            .filter(|id| id.name == replica.name)
            .map(|id| id.gvk)
            .collect();
        let is_for = |spec: &&FieldSpec| kinds.iter().any(|gvk| gvk.is_selected(&spec.gvk));
        let mut reach = Reach::Passed;
        for spec in specs.iter().filter(is_for) {
            reach = Reach::Touched;
            set(edit(object), replica.count, spec).map_err(|error| {
                RenderError::invalid(format!("cannot set replicas of {}: {error}", replica.name))
            })?;
        }
        Ok(reach)
    });
    step.or_unused(unused)
}

fn set(object: &mut Resource, count: i64, spec: &FieldSpec) -> Result<(), String> {
    let gvk = object.gvk();
    field_path::apply(&mut object.node, &gvk, spec, Create::Scalar, &mut |node| {
        let Node::Scalar(scalar) = node else {
            return Err(format!("expected a number, found {}", node.kind()));
        };
        // A count in quotes stays in quotes, as in kustomize.
        let tag = match scalar.style {
            Style::Plain | Style::Tagged => Tag::Int,
            Style::Single | Style::Double | Style::Literal | Style::Folded => Tag::Str,
        };
        let style = scalar.style;
        let text = count.to_string();
        scalar.replace(Scalar {
            text: text.into(),
            tag,
            style,
            alias: None,
        });
        Ok(())
    })
}
