//! The namespace transformer.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::chain::{Reach, Step as Link};
use crate::environment::Environment;
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::{FieldSpec, Step};
use crate::resource::{Resource, edit};
use crate::schema::Schema;
use crate::yaml::{Node, Scalar, Tag};

/// Which subjects of role bindings get the namespace too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Subjects {
    /// Those named `default`.
    #[default]
    Default,
    /// Every service account.
    ServiceAccounts,
    None,
}

impl Subjects {
    pub(crate) fn parse(text: &str) -> Result<Self, RenderError> {
        match text {
            "" | "defaultOnly" => Ok(Self::Default),
            "allServiceAccounts" => Ok(Self::ServiceAccounts),
            "none" => Ok(Self::None),
            other => Err(RenderError::invalid(format!(
                "invalid value `{other}` for setRoleBindingSubjects: must be one of defaultOnly, none, allServiceAccounts"
            ))),
        }
    }
}

/// Whether a namespace that an object already has is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Existing {
    Replaced,
    Kept,
}

/// A namespace and where it goes.
#[derive(Clone, Debug, Hash)]
pub(crate) struct NamespaceChange {
    pub(crate) namespace: String,
    pub(crate) specs: Vec<FieldSpec>,
    pub(crate) existing: Existing,
    pub(crate) subjects: Subjects,
}

impl NamespaceChange {
    /// Moves every object that has a namespace, and renames Namespace objects.
    pub(crate) fn step(self, environment: &Environment) -> Link<'static> {
        let schema = Arc::clone(&environment.schema);
        Link::new(
            "namespace",
            &(environment.key, self.clone()),
            move |object| {
                if self.namespace.is_empty() || object.is_from_helm() {
                    return Ok(Reach::Passed);
                }
                let object = edit(object);
                object.remember_name(&schema);
                self.apply_to(object, &schema)?;
                Ok(Reach::Touched)
            },
        )
    }

    /// Moves one object.
    pub(crate) fn apply_to(
        &self,
        object: &mut Resource,
        schema: &Schema,
    ) -> Result<(), RenderError> {
        let gvk = object.gvk();

        let is_binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        let mut set = |node: &mut Node| self.set(node);
        let own = [step("metadata"), step("namespace")];
        let mut change = || {
            if !schema.is_cluster_scoped(&gvk) {
                field_path::walk(&mut object.node, &own, Create::Scalar, &mut set)?;
            }
            if is_binding {
                self.set_subjects(&mut object.node)?;
            }
            for spec in &self.specs {
                // The first is done above, the second is for Namespace objects alone, and the
                // third has rules of its own.
                let skipped = spec.path == "metadata/namespace"
                    || (spec.path == "metadata/name"
                        && !(gvk.group.is_empty() && gvk.version == "v1"))
                    || (is_binding
                        && spec.path == "subjects/namespace"
                        && matches!(spec.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding"));
                if !skipped {
                    field_path::apply(&mut object.node, &gvk, spec, Create::Scalar, &mut set)?;
                }
            }
            Ok(())
        };
        let changed: Result<(), String> = change();
        changed.map_err(|error| {
            let place = object.describe();
            RenderError::invalid(format!("cannot set the namespace of {place}: {error}"))
        })
    }

    fn set(&self, node: &mut Node) -> Result<(), String> {
        let Node::Scalar(scalar) = node else {
            return Err(format!(
                "a namespace must be a scalar, found {}",
                node.kind()
            ));
        };
        if self.existing == Existing::Kept && scalar.tag != Tag::Null && !scalar.text.is_empty() {
            return Ok(());
        }
        let style = scalar.style;
        scalar.replace(Scalar {
            style,
            ..Scalar::string(self.namespace.as_str())
        });
        Ok(())
    }

    fn set_subjects(&self, binding: &mut Node) -> Result<(), String> {
        let (field, wanted) = match self.subjects {
            Subjects::None => return Ok(()),
            Subjects::Default => ("name", "default"),
            Subjects::ServiceAccounts => ("kind", "ServiceAccount"),
        };
        let subjects = match binding.get_mut("subjects") {
            None => return Ok(()),
            Some(subjects) if subjects.is_null() => return Ok(()),
            Some(Node::Sequence(subjects)) => subjects,
            Some(other) => return Err(format!("subjects must be a list, found {}", other.kind())),
        };
        for subject in subjects {
            let selected = subject.get(field).and_then(Node::value) == Some(wanted);
            if let (true, Node::Mapping(subject)) = (selected, subject) {
                let namespace = subject.entry("namespace", || Node::string(""));
                self.set(namespace)?;
            }
        }
        Ok(())
    }
}

fn step(name: &'static str) -> Step {
    Step {
        name: SmolStr::new_static(name),
        is_list: false,
    }
}
