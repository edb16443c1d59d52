//! Labels and annotations.

use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::kustomization::TextMap;
use crate::resource_map::ResourceMap;
use crate::yaml::Node;

/// Sets every pair in each field that the specs name.
pub(crate) fn apply(
    objects: &mut ResourceMap,
    pairs: &TextMap,
    specs: &[FieldSpec],
) -> Result<(), RenderError> {
    if pairs.is_empty() {
        return Ok(());
    }
    for object in objects.contents_mut() {
        let gvk = object.gvk();
        for spec in specs.iter().filter(|spec| gvk.is_selected(&spec.gvk)) {
            let result =
                field_path::apply(&mut object.node, &gvk, spec, Create::Mapping, &mut |node| {
                    match node {
                        Node::Mapping(map) => {
                            for (key, value) in pairs {
                                map.insert(key.as_str(), Node::string(value.as_str()));
                            }
                            Ok(())
                        }
                        Node::Scalar(_) if node.is_null() => Ok(()),
                        Node::Scalar(_) | Node::Sequence(_) => {
                            Err(format!("expected a map, found {}", node.kind()))
                        }
                    }
                });
            result.map_err(|error| {
                RenderError::invalid(format!(
                    "cannot set labels or annotations of {}: {error}",
                    object.describe()
                ))
            })?;
        }
    }
    Ok(())
}
