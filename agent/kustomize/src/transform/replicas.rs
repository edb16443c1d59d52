//! Replica counts.

use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::kustomization::Replica;
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::yaml::{Node, Scalar, Style, Tag};

/// Sets the count of every object that has or had the name, of the kinds in the specs. No such
/// object is an error.
pub(crate) fn apply(
    objects: &mut ResourceMap,
    replica: &Replica,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), RenderError> {
    let mut found = false;
    for object in objects.contents_mut() {
        let current = object.id(schema);
        let ids: Vec<_> = object
            .former_ids()
            .chain([current])
            .filter(|id| id.name == replica.name)
            .collect();
        if ids.is_empty() {
            continue;
        }
        let gvk = object.gvk();
        for spec in specs
            .iter()
            .filter(|spec| ids.iter().any(|id| id.gvk.is_selected(&spec.gvk)))
        {
            found = true;
            field_path::apply(
                &mut object.node,
                &gvk,
                spec,
                Create::Scalar,
                &mut |node| match node {
                    Node::Scalar(scalar) => {
                        // A count in quotes stays in quotes, as in kustomize.
                        let tag = match scalar.style {
                            Style::Plain => Tag::Int,
                            Style::Single | Style::Double | Style::Literal | Style::Folded => {
                                Tag::Str
                            }
                        };
                        let style = scalar.style;
                        let text = replica.count.to_string();
                        scalar.replace(Scalar {
                            text,
                            tag,
                            style,
                            alias: None,
                        });
                        Ok(())
                    }
                    Node::Sequence(_) | Node::Mapping(_) => {
                        Err(format!("expected a number, found {}", node.kind()))
                    }
                },
            )
            .map_err(|error| {
                RenderError::invalid(format!("cannot set replicas of {}: {error}", replica.name))
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<&str> = specs.iter().map(|spec| spec.gvk.kind.as_str()).collect();
    Err(RenderError::invalid(format!(
        "resource with name {} does not match a config with the following GVK {}",
        replica.name,
        kinds.join(", ")
    ))
    .hint("name an object of one of these kinds as it is called in its file"))
}
