//! The namespace transformer.

use std::sync::Arc;

use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::{FieldSpec, Step};
use crate::resource::Resource;
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::yaml::{Node, Scalar, Tag};

/// Which subjects of role bindings get the namespace too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Replaced,
    Kept,
}

/// A namespace and where it goes.
#[derive(Debug)]
pub(crate) struct NamespaceChange<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) specs: &'a [FieldSpec],
    pub(crate) existing: Existing,
    pub(crate) subjects: Subjects,
}

impl NamespaceChange<'_> {
    /// Moves every object that has a namespace, and renames Namespace objects.
    pub(crate) fn apply(
        &self,
        objects: &mut ResourceMap,
        schema: &Arc<Schema>,
    ) -> Result<(), RenderError> {
        if self.namespace.is_empty() {
            return Ok(());
        }
        for object in objects
            .list_mut()
            .iter_mut()
            .filter(|object| !object.is_from_helm())
        {
            object.remember_name(schema);
            self.apply_to(object, schema)?;
        }
        objects.check_distinct(schema, "namespace transformation")
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
            for spec in self.specs {
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
            ..Scalar::string(self.namespace)
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

fn step(name: &str) -> Step {
    Step {
        name: name.to_owned(),
        is_list: false,
    }
}
