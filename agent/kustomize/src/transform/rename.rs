//! Prefixes and suffixes.

use std::sync::Arc;

use crate::chain::{Reach, Step};
use crate::environment::Environment;
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::id::Gvk;
use crate::resource::{Resource, edit};
use crate::schema::Schema;
use crate::yaml::Node;

/// What is put around a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Affix {
    Prefix(String),
    Suffix(String),
}

impl Affix {
    fn around(&self, name: &str) -> String {
        match self {
            Self::Prefix(prefix) => format!("{prefix}{name}"),
            Self::Suffix(suffix) => format!("{name}{suffix}"),
        }
    }

    fn is_empty(&self) -> bool {
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
pub(crate) fn step(
    affix: Affix,
    specs: Vec<FieldSpec>,
    environment: &Environment,
) -> Step<'static> {
    let configuration = (environment.key, affix.clone(), specs.clone());
    let schema = Arc::clone(&environment.schema);
    Step::new("affix", &configuration, move |object| {
        let original = object.original_id(&schema).gvk;
        let is_for = |spec: &&FieldSpec| original.is_selected(&spec.gvk);
        if keeps_its_name(&original) || !specs.iter().any(|spec| is_for(&spec)) {
            return Ok(Reach::Passed);
        }
        let object = edit(object);
        for spec in specs.iter().filter(is_for) {
            rename(object, &affix, spec, &schema)?;
        }
        Ok(Reach::Touched)
    })
}

fn rename(
    object: &mut Resource,
    affix: &Affix,
    spec: &FieldSpec,
    schema: &Schema,
) -> Result<(), RenderError> {
    if spec.path == "metadata/name" && !affix.is_empty() {
        match affix {
            Affix::Prefix(text) => object.prefixes.push(text.clone().into()),
            Affix::Suffix(text) => object.suffixes.push(text.clone().into()),
        }
        object.remember_name(schema);
    }
    let gvk = object.gvk();
    let renamed = field_path::apply(&mut object.node, &gvk, spec, Create::Scalar, &mut |node| {
        let Node::Scalar(scalar) = node else {
            return Err(format!("expected a name, found {}", node.kind()));
        };
        let renamed = affix.around(&scalar.text);
        scalar.set_text(renamed);
        Ok(())
    });
    renamed.map_err(|error| {
        RenderError::invalid(format!("cannot rename {}: {error}", object.describe()))
    })
}
