//! Scalars that are one and the same in several places of an object.

use std::num::NonZeroU32;

use super::node::{Alias, Node, Scalar};

/// Gives every group of aliased scalars the value that was set last.
pub(crate) fn settle(node: &mut Node) {
    let mut members = Vec::new();
    collect(node, &mut members);
    // Stable: of two changes in one step the later place in the object is the later change.
    members.sort_by_key(|(alias, _)| alias.group);
    let groups = members.chunk_by(|(a, _), (b, _)| a.group == b.group);
    let newest: Vec<(NonZeroU32, Scalar)> = groups
        .filter(|group| group.windows(2).any(differ))
        .filter_map(|group| group.iter().max_by_key(|(alias, _)| alias.changes))
        .map(|(alias, scalar)| (alias.group, (*scalar).clone()))
        .collect();
    if !newest.is_empty() {
        spread(node, &newest);
    }
}

type Member<'n> = (Alias, &'n Scalar);

fn differ(pair: &[Member<'_>]) -> bool {
    matches!(pair, [(_, a), (_, b)] if a != b)
}

fn collect<'n>(node: &'n Node, members: &mut Vec<Member<'n>>) {
    match node {
        Node::Mapping(map) => map.iter().for_each(|(_, value)| collect(value, members)),
        Node::Sequence(items) => items.iter().for_each(|item| collect(item, members)),
        Node::Scalar(scalar) => members.extend(scalar.alias.map(|alias| (alias, scalar))),
    }
}

fn spread(node: &mut Node, newest: &[(NonZeroU32, Scalar)]) {
    match node {
        Node::Mapping(map) => map.iter_mut().for_each(|(_, value)| spread(value, newest)),
        Node::Sequence(items) => items.iter_mut().for_each(|item| spread(item, newest)),
        Node::Scalar(scalar) => {
            let Some(Alias { group, .. }) = scalar.alias else {
                return;
            };
            let found = newest.binary_search_by_key(&group, |(group, _)| *group);
            if let Some((_, newest)) = found.ok().and_then(|at| newest.get(at)) {
                scalar.clone_from(newest);
            }
        }
    }
}
