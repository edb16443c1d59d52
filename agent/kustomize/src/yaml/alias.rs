//! Scalars that are one and the same in several places of an object.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::node::{Alias, Node, Scalar};

/// Gives every group of aliased scalars the value that was set last.
pub(crate) fn settle(node: &mut Node) {
    let mut groups: HashMap<NonZeroU32, Group> = HashMap::new();
    collect(node, &mut groups);
    groups.retain(|_, group| !group.agree);
    if !groups.is_empty() {
        spread(node, &groups);
    }
}

struct Group {
    newest: Scalar,
    changes: u32,
    agree: bool,
}

fn collect(node: &Node, groups: &mut HashMap<NonZeroU32, Group>) {
    match node {
        Node::Mapping(map) => map.iter().for_each(|(_, value)| collect(value, groups)),
        Node::Sequence(items) => items.iter().for_each(|item| collect(item, groups)),
        Node::Scalar(scalar) => {
            let Some(Alias { group, changes }) = scalar.alias else {
                return;
            };
            let known = groups.entry(group).or_insert_with(|| Group {
                newest: scalar.clone(),
                changes,
                agree: true,
            });
            known.agree &= known.changes == changes && known.newest == *scalar;
            // Of two changes in one step the later place in the object is the later change.
            if changes >= known.changes {
                known.newest.clone_from(scalar);
                known.changes = changes;
            }
        }
    }
}

fn spread(node: &mut Node, groups: &HashMap<NonZeroU32, Group>) {
    match node {
        Node::Mapping(map) => map.iter_mut().for_each(|(_, value)| spread(value, groups)),
        Node::Sequence(items) => items.iter_mut().for_each(|item| spread(item, groups)),
        Node::Scalar(scalar) => {
            if let Some(group) = scalar.alias.and_then(|alias| groups.get(&alias.group)) {
                scalar.clone_from(&group.newest);
            }
        }
    }
}
