//! Labels and annotations.

use std::num::NonZeroU32;

use crate::chain::{Reach, Step};
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::kustomization::TextMap;
use crate::resource::{Resource, edit};
use crate::yaml::{Alias, Node, Scalar, resolve};

/// Sets every pair in each field that the specs name.
pub(crate) fn step(pairs: TextMap, specs: Vec<FieldSpec>) -> Step<'static> {
    Step::new(
        "labels or annotations",
        &(pairs.clone(), specs.clone()),
        move |object| {
            if pairs.is_empty() {
                return Ok(Reach::Passed);
            }
            set(edit(object), &pairs, &specs)?;
            Ok(Reach::Touched)
        },
    )
}

fn set(object: &mut Resource, pairs: &TextMap, specs: &[FieldSpec]) -> Result<(), RenderError> {
    let gvk = object.gvk();
    // What one run adds under one key is one scalar, wherever it is added.
    let mut replaced = false;
    let first_group = object.aliases;
    object.aliases += u32::try_from(pairs.len()).unwrap_or(u32::MAX);
    for spec in specs.iter().filter(|spec| gvk.is_selected(&spec.gvk)) {
        let result = field_path::apply(
            &mut object.node,
            &gvk,
            spec,
            Create::Mapping,
            &mut |node| match node {
                Node::Mapping(map) => {
                    for (group, (key, value)) in (first_group + 1..).zip(pairs) {
                        let value = Scalar::string(value.as_str());
                        if let Some(Node::Scalar(existing)) = map.get_mut(key) {
                            existing.replace(Scalar {
                                style: existing.style,
                                ..value
                            });
                            replaced = true;
                            continue;
                        }
                        resolve::bare_key(key)?;
                        let group = NonZeroU32::new(group);
                        let alias = group.map(|group| Alias { group, changes: 0 });
                        map.insert(key.as_str(), Node::Scalar(Scalar { alias, ..value }));
                    }
                    Ok(())
                }
                Node::Scalar(_) if node.is_null() => Ok(()),
                Node::Scalar(_) | Node::Sequence(_) => {
                    Err(format!("expected a map, found {}", node.kind()))
                }
            },
        );
        result.map_err(|error| {
            RenderError::invalid(format!(
                "cannot set labels or annotations of {}: {error}",
                object.describe()
            ))
        })?;
    }
    if replaced {
        object.settle_aliases();
    }
    Ok(())
}
