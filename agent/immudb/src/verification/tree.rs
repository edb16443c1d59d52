//! Proofs of the Merkle tree over the hashes of transactions, which has the shape and prefixes of RFC 9162.
//!
//! Leaves are numbered from 1 here, as transactions are. Every proof must have exactly as many terms as
//! the sizes demand: nothing is skipped, nothing is left over.

use crate::hash::Hash;

/// The hash of a leaf (RFC 9162, 2.1.1).
fn leaf(hash: &Hash) -> Hash {
    Hash::of(&[&[0], hash.as_bytes()])
}

/// The hash of a node.
fn node(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// Whether leaf `index` of a tree of `size` leaves is the transaction with this hash (RFC 9162, 2.1.3.2).
pub(super) fn includes(
    path: &[Hash],
    index: u64,
    size: u64,
    transaction: &Hash,
    root: &Hash,
) -> bool {
    if index == 0 || index > size {
        return false;
    }
    let (mut at, mut last) = (index - 1, size - 1);
    let mut hash = leaf(transaction);
    for term in path {
        if last == 0 {
            return false;
        }
        if is_right(at) || at == last {
            hash = node(term, &hash);
            (at, last) = to_right_child(at, last);
        } else {
            hash = node(&hash, term);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether the tree of `size` leaves with root `root` is what the tree of `old_size` leaves with root
/// `old_root` grew to (RFC 9162, 2.1.4.2). Unlike in the RFC, the proof always begins with a node that both
/// trees have, and for trees of equal size it holds the two children of the root.
pub(super) fn is_consistent(
    path: &[Hash],
    (old_size, old_root): (u64, &Hash),
    (size, root): (u64, &Hash),
) -> bool {
    if old_size == 0 || old_size > size {
        return false;
    }
    if old_size == size {
        return old_root == root
            && match path {
                [] => size == 1,
                [right, left] => size > 1 && node(left, right) == *root,
                _ => false,
            };
    }
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    let levels = (old_size - 1).trailing_ones();
    let (mut at, mut last) = ((old_size - 1) >> levels, (size - 1) >> levels);
    let (mut old, mut new) = (*first, *first);
    for term in rest {
        if last == 0 {
            return false;
        }
        if is_right(at) || at == last {
            old = node(term, &old);
            new = node(term, &new);
            (at, last) = to_right_child(at, last);
        } else {
            new = node(&new, term);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old == *old_root && new == *root
}

fn is_right(at: u64) -> bool {
    at & 1 == 1
}

/// On the right edge, levels where a node has no sibling are skipped.
fn to_right_child(mut at: u64, mut last: u64) -> (u64, u64) {
    while !is_right(at) && at != 0 {
        (at, last) = (at >> 1, last >> 1);
    }
    (at, last)
}
