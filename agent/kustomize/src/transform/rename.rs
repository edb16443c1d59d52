//! Prefixes and suffixes.

use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::id::Gvk;
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::yaml::Node;

/// What is put around a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affix<'a> {
    Prefix(&'a str),
    Suffix(&'a str),
}

impl Affix<'_> {
    fn around(self, name: &str) -> String {
        match self {
            Self::Prefix(prefix) => format!("{prefix}{name}"),
            Self::Suffix(suffix) => format!("{name}{suffix}"),
        }
    }

    fn is_empty(self) -> bool {
        match self {
            Self::Prefix(text) | Self::Suffix(text) => text.is_empty(),
        }
    }
}

/// Kinds whose names mean something outside the build.
fn keeps_its_name(gvk: &Gvk) -> bool {
    matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io")
}

/// Renames every object, and remembers the old name for references to it.
pub(crate) fn apply(
    objects: &mut ResourceMap,
    affix: Affix<'_>,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), RenderError> {
    for object in objects.list_mut() {
        let original = object.original_id(schema);
        if keeps_its_name(&original.gvk) {
            continue;
        }
        for spec in specs
            .iter()
            .filter(|spec| original.gvk.is_selected(&spec.gvk))
        {
            if spec.path == "metadata/name" && !affix.is_empty() {
                match affix {
                    Affix::Prefix(text) => object.prefixes.push(text.to_owned()),
                    Affix::Suffix(text) => object.suffixes.push(text.to_owned()),
                }
                object.remember_name(schema);
            }
            let gvk = object.gvk();
            let renamed =
                field_path::apply(&mut object.node, &gvk, spec, Create::Scalar, &mut |node| {
                    match node {
                        Node::Scalar(scalar) => {
                            let renamed = affix.around(&scalar.text);
                            scalar.set_text(renamed);
                            Ok(())
                        }
                        Node::Sequence(_) | Node::Mapping(_) => {
                            Err(format!("expected a name, found {}", node.kind()))
                        }
                    }
                });
            renamed.map_err(|error| {
                RenderError::invalid(format!("cannot rename {}: {error}", object.describe()))
            })?;
        }
    }
    Ok(())
}
