//! References to objects that were renamed.
//!
//! The tables say which fields of which kinds hold the name of which other kind. A reference is
//! an old name; the object it means is found by an index of all names that objects ever had in
//! this build, so the work grows with the number of references, not with objects times
//! references.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::chain::{Reach, Step};
use crate::digest::Key;
use crate::environment::Environment;
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::{FieldSpec, NameReference};
use crate::id::{Gvk, ResourceId};
use crate::resource::{Resource, edit, set_text};
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::yaml::Node;

/// Replaces old names by current ones in every field that the tables name. The names are those
/// that the objects have now.
pub(crate) fn step<'a>(
    objects: &ResourceMap,
    references: &'a [NameReference],
    environment: &Environment,
) -> Step<'a> {
    let schema = Arc::clone(&environment.schema);
    let names = Names::new(objects, &schema);
    let mut fields_by_kind: HashMap<Gvk, Vec<(&Gvk, &FieldSpec)>> = HashMap::new();
    for object in objects.iter() {
        fields_by_kind
            .entry(object.original_id(&schema).gvk)
            .or_insert_with_key(|gvk| {
                let fields = references.iter().flat_map(|reference| {
                    let referrers = reference.referrers.iter();
                    referrers.map(move |spec| (&reference.target, spec))
                });
                fields
                    .filter(|(_, spec)| gvk.is_selected(&spec.gvk))
                    .collect()
            });
    }
    let configuration = (environment.key, Key::of(&names.objects), references);
    Step::new("name references", &configuration, move |object| {
        let fields = fields_by_kind.get(&object.original_id(&schema).gvk);
        let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
            return Ok(Reach::Passed);
        };
        follow(edit(object), fields, &names, &schema)?;
        Ok(Reach::Touched)
    })
}

/// Replaces the names in some fields of one object.
fn follow(
    object: &mut Resource,
    fields: &[(&Gvk, &FieldSpec)],
    names: &Names,
    schema: &Schema,
) -> Result<(), RenderError> {
    let referrer = Referrer::new(object, schema)?;
    for (target, spec) in fields {
        // Most fields are not there, and looking costs less than walking for changes.
        if !field_path::leads_somewhere(&object.node, spec.steps()) {
            continue;
        }
        let search = Search {
            names,
            referrer: &referrer,
            target,
            spec,
        };
        let walked = field_path::walk(&mut object.node, spec.steps(), Create::Never, &mut |node| {
            search.set(node)
        });
        walked.map_err(|error| {
            RenderError::invalid(format!(
                "updating name reference in field `{}` of {}: {error}",
                spec.path,
                object.describe()
            ))
        })?;
    }
    object.settle_aliases();
    Ok(())
}

/// What each object is and was called.
struct Names {
    objects: Vec<Named>,
    /// Positions of the objects that once had a name.
    by_former_name: HashMap<SmolStr, Vec<usize>>,
    by_original_namespace: HashMap<SmolStr, Vec<usize>>,
}

#[derive(Hash)]
struct Named {
    current: ResourceId,
    /// As written in the object.
    namespace: SmolStr,
    former: Vec<ResourceId>,
    prefixes: Vec<SmolStr>,
    suffixes: Vec<SmolStr>,
    original_namespace: SmolStr,
}

impl Names {
    fn new(objects: &ResourceMap, schema: &Schema) -> Self {
        let mut names = Self {
            objects: Vec::with_capacity(objects.len()),
            by_former_name: HashMap::new(),
            by_original_namespace: HashMap::new(),
        };
        for (position, object) in objects.iter().enumerate() {
            let current = object.id(schema);
            let former: Vec<ResourceId> = object.former_ids().collect();
            let original = former.first().unwrap_or(&current).namespace.clone();
            let entry = Named {
                current,
                namespace: object.namespace().into(),
                former,
                prefixes: object.prefixes.clone(),
                suffixes: object.suffixes.clone(),
                original_namespace: original,
            };
            for id in &entry.former {
                let positions = names.by_former_name.entry(id.name.clone()).or_default();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            }
            let namespace = entry.original_namespace.clone();
            names
                .by_original_namespace
                .entry(namespace)
                .or_default()
                .push(position);
            names.objects.push(entry);
        }
        names
    }
}

/// The object whose references are being replaced.
struct Referrer {
    current: ResourceId,
    prefixes: Vec<SmolStr>,
    suffixes: Vec<SmolStr>,
    role: Option<Gvk>,
    /// Namespaces of the service accounts that a role binding names.
    subject_namespaces: HashSet<SmolStr>,
}

impl Referrer {
    fn new(object: &Resource, schema: &Schema) -> Result<Self, RenderError> {
        let current = object.id(schema);
        let mut subject_namespaces = HashSet::new();
        let subjects = (object.kind() == "RoleBinding").then(|| object.node.get("subjects"));
        let subjects = subjects
            .flatten()
            .and_then(Node::as_sequence)
            .unwrap_or_default();
        for subject in subjects {
            let is_account = subject.get("kind").and_then(Node::text) == Some("ServiceAccount");
            let Some(namespace) = subject.get("namespace").filter(|_| is_account) else {
                continue;
            };
            let Some(namespace) = namespace.value() else {
                return Err(RenderError::invalid(format!(
                    "a subject of {current} has a namespace that is blank"
                )));
            };
            subject_namespaces.insert(namespace.into());
        }
        let role = object.node.get("roleRef").and_then(|role| {
            Some(Gvk {
                group: role.get("apiGroup")?.text()?.into(),
                version: SmolStr::default(),
                kind: role.get("kind")?.text()?.into(),
            })
        });
        Ok(Self {
            current,
            prefixes: object.prefixes.clone(),
            suffixes: object.suffixes.clone(),
            role,
            subject_namespaces,
        })
    }
}

/// One field of one object, and the kind that it refers to.
struct Search<'a> {
    names: &'a Names,
    referrer: &'a Referrer,
    target: &'a Gvk,
    spec: &'a FieldSpec,
}

impl<'a> Search<'a> {
    fn set(&self, node: &mut Node) -> Result<(), String> {
        match node {
            Node::Sequence(items) => items.iter_mut().try_for_each(|item| match item {
                Node::Sequence(_) => Err("expected a name or a map, found a list".to_owned()),
                Node::Scalar(_) | Node::Mapping(_) => self.set_one(item),
            }),
            Node::Scalar(_) | Node::Mapping(_) => self.set_one(node),
        }
    }

    fn set_one(&self, node: &mut Node) -> Result<(), String> {
        match node {
            node if node.is_null() => Ok(()),
            Node::Scalar(scalar) => {
                let found = self.find(&scalar.text, |_| true, Same::Name)?;
                if let Some(found) = found
                    && found.current.name != scalar.text
                {
                    scalar.set_text(found.current.name.as_str());
                }
                Ok(())
            }
            Node::Mapping(_) => self.set_mapping(node),
            Node::Sequence(_) => Ok(()),
        }
    }

    /// A reference of name and namespace: both follow.
    fn set_mapping(&self, node: &mut Node) -> Result<(), String> {
        let Some(old) = node
            .get("name")
            .map(|name| name.text().unwrap_or_default().to_owned())
        else {
            return Err("there is no field `name`".to_owned());
        };
        let found = match node.get("namespace") {
            None => self.find(&old, |_| true, Same::NameAndNamespace)?,
            Some(namespace) => {
                let namespace = namespace.text().unwrap_or_default();
                let original = self.names.by_original_namespace.get(namespace);
                let original = original.filter(|_| namespace != crate::id::NO_NAMESPACE);
                if original.is_some_and(|all| all.iter().any(|at| self.may_refer_to(*at))) {
                    self.find(
                        &old,
                        |it| it.original_namespace == namespace,
                        Same::NameAndNamespace,
                    )?
                } else {
                    let here = |it: &Named| it.current.namespace == namespace;
                    self.find(&old, here, Same::NameAndNamespace)?
                }
            }
        };
        let Some(found) = found else { return Ok(()) };
        let Named {
            current, namespace, ..
        } = found;
        if current.name == old && namespace.is_empty() {
            return Ok(());
        }
        if let Some(map) = node.as_mapping_mut() {
            set_text(map, "name", &current.name);
            if !namespace.is_empty() {
                set_text(map, "namespace", namespace);
            }
        }
        Ok(())
    }

    /// Whether the object at a position is near enough to be referred to: in the same namespace,
    /// in none, or in one that a role binding names.
    fn may_refer_to(&self, position: usize) -> bool {
        let referrer = self.referrer;
        let Some(candidate) = self.names.objects.get(position) else {
            return false;
        };
        referrer.current.is_cluster_scoped()
            || candidate.current.is_cluster_scoped()
            || candidate.current.namespace == referrer.current.namespace
            || self
                .referrer
                .subject_namespaces
                .contains(&candidate.namespace)
    }

    fn find(
        &self,
        old: &str,
        also: impl Fn(&Named) -> bool,
        same: Same,
    ) -> Result<Option<&'a Named>, String> {
        let (names, referrer) = (self.names, self.referrer);
        let Some(positions) = names.by_former_name.get(old) else {
            return Ok(None);
        };
        let role = self
            .referrer
            .role
            .as_ref()
            .filter(|_| self.spec.path.ends_with("roleRef/name"));
        let was = |candidate: &Named, gvk: &Gvk| {
            candidate.former.iter().any(|id| id.gvk.is_selected(gvk))
        };
        let mut found: Vec<&Named> = positions
            .iter()
            .filter(|position| self.may_refer_to(**position))
            .filter_map(|position| names.objects.get(*position))
            .filter(|candidate| {
                also(candidate)
                    && was(candidate, self.target)
                    && role.is_none_or(|role| was(candidate, role))
                    && (referrer.current.is_cluster_scoped()
                        || candidate.current.is_cluster_scoped()
                        || candidate.current.gvk.kind == "ServiceAccount"
                        || candidate.current.namespace == referrer.current.namespace)
            })
            .collect();
        if let [one] = found.as_slice() {
            return Ok(Some(one));
        }
        found.retain(|it| {
            let open = |mine: &[SmolStr], theirs: &[SmolStr]| mine.is_empty() || theirs.is_empty();
            (open(&it.prefixes, &referrer.prefixes)
                || same_ending(&it.prefixes, &referrer.prefixes))
                && (open(&it.suffixes, &referrer.suffixes)
                    || same_ending(&it.suffixes, &referrer.suffixes))
        });
        if found.len() > 1 {
            found.retain(|it| {
                same_ending(&it.prefixes, &referrer.prefixes)
                    && same_ending(&it.suffixes, &referrer.suffixes)
            });
        }
        let Some((first, others)) = found.split_first() else {
            return Ok(None);
        };
        let identical = others.iter().all(|other| {
            other.current.name == first.current.name
                && (same == Same::Name || other.namespace == first.namespace)
        });
        if identical {
            return Ok(Some(first));
        }
        let ids: Vec<String> = found.iter().map(|it| it.current.to_string()).collect();
        Err(format!(
            "found multiple possible referrals to `{old}`: {}",
            ids.join(", ")
        ))
    }
}

/// In what several candidates must agree to count as one.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    Name,
    NameAndNamespace,
}

/// Whether two histories of prefixes end the same way.
fn same_ending(a: &[SmolStr], b: &[SmolStr]) -> bool {
    if a.is_empty() || b.is_empty() {
        return a.len() == b.len();
    }
    a.iter().rev().zip(b.iter().rev()).all(|(a, b)| a == b)
}
