//! Walking an object along a field spec.

use smol_str::SmolStr;

use crate::field_spec::{FieldSpec, Step};
use crate::id::Gvk;
use crate::yaml::{Mapping, Node, Scalar, Sequence, Style, Tag};

/// What a spec with `create: true` makes of a missing field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    Never,
    Scalar,
    Mapping,
}

impl Create {
    fn node(self) -> Node {
        match self {
            Self::Mapping => Node::Mapping(Mapping::new()),
            Self::Never | Self::Scalar => Node::Scalar(Scalar {
                text: SmolStr::default(),
                tag: Tag::Str,
                style: Style::Plain,
                alias: None,
            }),
        }
    }
}

/// Calls `set` on each value that `spec` leads to, if the object is of the spec's kind. Lists on
/// the way are entered; a missing field ends the way unless it is to be created.
pub(crate) fn apply(
    object: &mut Node,
    gvk: &Gvk,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    if !gvk.is_selected(&spec.gvk) {
        return Ok(());
    }
    let create = if spec.create { create } else { Create::Never };
    walk(object, spec.steps(), create, set)
        .map_err(|error| format!("field `{}`: {error}", spec.path))
}

/// Whether [`walk`] with [`Create::Never`] would come to a value, or complain.
pub(crate) fn leads_somewhere(node: &Node, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return true;
    };
    match node {
        Node::Scalar(scalar) => scalar.tag != Tag::Null,
        Node::Sequence(items) => items.iter().any(|item| leads_somewhere(item, steps)),
        Node::Mapping(_) if step.name.is_empty() => true,
        Node::Mapping(map) => map
            .get(&step.name)
            .is_some_and(|field| step.is_list || leads_somewhere(field, rest)),
    }
}

/// [`apply`] without the question for the kind.
pub(crate) fn walk(
    node: &mut Node,
    steps: &[Step],
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        return set(node);
    };
    match node {
        Node::Scalar(scalar) if scalar.tag == Tag::Null => Ok(()),
        Node::Scalar(_) => Err(format!("expected a list or a map above `{}`", step.name)),
        Node::Sequence(items) => items
            .iter_mut()
            .try_for_each(|item| walk(item, steps, create, set)),
        Node::Mapping(map) => {
            if step.name.is_empty() {
                return Err("cannot set or create an empty field name".to_owned());
            }
            // What a missing or null field becomes.
            let made = match create {
                _ if step.is_list => None,
                Create::Never => None,
                Create::Scalar | Create::Mapping if rest.is_empty() => Some(create.node()),
                Create::Scalar | Create::Mapping => Some(Node::Mapping(Mapping::new())),
            };
            match (map.get_mut(&step.name), made) {
                (Some(field), made) => {
                    if field.is_null() {
                        if let Some(made) = made {
                            *field = made;
                        } else if step.is_list {
                            *field = Node::Sequence(Sequence::default());
                        }
                    }
                    walk(field, rest, create, set)
                }
                (None, None) => Ok(()),
                (None, Some(made)) => {
                    map.insert(step.name.clone(), made);
                    map.get_mut(&step.name)
                        .map_or(Ok(()), |field| walk(field, rest, create, set))
                }
            }
        }
    }
}
