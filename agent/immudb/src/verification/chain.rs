//! The chain of transactions.

use super::tree;
use crate::hash::Hash;

/// The hash of transaction `id`, from that of the one before and its own inner hash.
pub(super) fn link(id: u64, previous: &Hash, inner: &Hash) -> Hash {
    Hash::of(&[&id.to_be_bytes(), previous.as_bytes(), inner.as_bytes()])
}

/// A stretch of the chain from one transaction to a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinearProof {
    pub(super) source: u64,
    pub(super) target: u64,
    /// The hash of the source, then the inner hash of every later transaction.
    pub(super) terms: Vec<Hash>,
}

impl LinearProof {
    /// Whether the stretch leads from `source` with its hash to `target` with its hash.
    pub(super) fn connects(&self, source: (u64, Hash), target: (u64, Hash)) -> bool {
        let Some((first, inner)) = self.terms.split_first() else {
            return false;
        };
        (self.source, *first) == source
            && self.target == target.0
            && source.0 > 0
            && is_count(inner.len(), source.0, target.0)
            && (source.0 + 1..)
                .zip(inner)
                .fold(*first, |hash, (id, inner)| link(id, &hash, inner))
                == target.1
    }
}

/// Shows that what an old tree did not cover yet is in a newer tree exactly as the chain has it. Without
/// it, a server could show one history in the chain and another in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdvanceProof {
    /// The hash of the first transaction after the old tree, then inner hashes up to the last one.
    pub(super) terms: Vec<Hash>,
    /// For each of these transactions but the last, where it is in the newer tree.
    pub(super) inclusions: Vec<Vec<Hash>>,
}

/// Whether the transactions after `old_size` up to `end` with its hash are in the tree of `size` leaves.
/// The last one is shown to be there by other parts of a dual proof, and a single one needs nothing else.
pub(super) fn advances(
    proof: Option<&AdvanceProof>,
    old_size: u64,
    end: (u64, Hash),
    root: &Hash,
    size: u64,
) -> bool {
    if end.0 < old_size {
        return false;
    }
    let Some(proof) = proof else {
        return end.0 - old_size <= 1;
    };
    let Some((first, inner)) = proof.terms.split_first() else {
        return false;
    };
    if end.0 - old_size <= 1
        || !is_count(inner.len(), old_size + 1, end.0)
        || inner.len() != proof.inclusions.len()
    {
        return false;
    }
    let mut hash = *first;
    for ((id, inner), path) in (old_size + 1..).zip(inner).zip(&proof.inclusions) {
        if !tree::includes(path, id, size, &hash, root) {
            return false;
        }
        hash = link(id + 1, &hash, inner);
    }
    hash == end.1
}

/// Whether there are as many as transactions after `source` up to `target`.
fn is_count(count: usize, source: u64, target: u64) -> bool {
    target.checked_sub(source) == u64::try_from(count).ok()
}
