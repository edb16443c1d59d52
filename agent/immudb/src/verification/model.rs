//! A database made up for the tests: it can prove anything about itself, and lie.
//!
//! Written after the recursive definitions of RFC 9162, so it shares nothing with what it tests but the
//! hash of a header.

use super::chain::{AdvanceProof, LinearProof};
use super::dual_proof::DualProof;
use super::header::{Content, TxHeader};
use crate::hash::Hash;
use crate::schema;
use crate::state::State;

/// What is free to choose in a transaction.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// How many transactions before it are not in its tree; at least 1, as the newest never is.
    pub(super) lag: u64,
    pub(super) timestamp: i64,
    pub(super) content: Content,
    pub(super) entries: u64,
}

/// Transactions 1 to n.
#[derive(Clone, Debug)]
pub(super) struct History {
    headers: Vec<TxHeader>,
    /// What the tree says the hashes are.
    leaves: Vec<Hash>,
}

impl History {
    /// An honest history.
    pub(super) fn new(choices: &[Choice]) -> Self {
        Self::with_lies(choices, |_, hash| hash)
    }

    /// A history whose tree has what `lie` makes of each transaction's number and hash.
    pub(super) fn with_lies(choices: &[Choice], lie: impl Fn(u64, Hash) -> Hash) -> Self {
        let mut history = Self {
            headers: Vec::new(),
            leaves: Vec::new(),
        };
        for (id, choice) in (1..).zip(choices) {
            let before = history.headers.last();
            let tree_size = (id - choice.lag.clamp(1, id)).max(before.map_or(0, |b| b.tree_size));
            let header = TxHeader {
                id,
                timestamp: choice.timestamp,
                content: choice.content.clone(),
                entries_root: Hash::of(&[&choice.entries.to_be_bytes()]),
                previous: before.map_or_else(|| Hash::of(&[]), TxHeader::hash),
                tree_size,
                tree_root: history.root(tree_size),
            };
            history.leaves.push(lie(id, header.hash()));
            history.headers.push(header);
        }
        history
    }

    pub(super) fn state(&self, id: u64) -> State {
        self.header(id).state()
    }

    pub(super) fn header(&self, id: u64) -> &TxHeader {
        &self.headers[at(id)]
    }

    /// The proof of a server with this history.
    pub(super) fn prove(&self, source: u64, target: u64) -> DualProof {
        let (source, target) = (self.header(source), self.header(target));
        let size = target.tree_size;
        let tree = &self.leaves[..at(size + 1)];
        let from = source.id.max(size);
        let covered = source.id.min(size);
        DualProof {
            inclusion: if source.id < size {
                path(at(source.id), tree)
            } else {
                Vec::new()
            },
            consistency: if source.tree_size == 0 {
                Vec::new()
            } else {
                consistency(at(source.tree_size + 1), tree)
            },
            last_leaf: if size == 0 {
                Hash::ZERO
            } else {
                self.header(size).hash()
            },
            last_inclusion: if size == 0 {
                Vec::new()
            } else {
                path(at(size), tree)
            },
            linear: LinearProof {
                source: from,
                target: target.id,
                terms: self.stretch(from, target.id),
            },
            advance: (covered > source.tree_size + 1).then(|| AdvanceProof {
                terms: self.stretch(source.tree_size + 1, covered),
                inclusions: (source.tree_size + 1..covered)
                    .map(|id| path(at(id), tree))
                    .collect(),
            }),
            source: source.clone(),
            target: target.clone(),
        }
    }

    fn stretch(&self, from: u64, to: u64) -> Vec<Hash> {
        let inner = (from + 1..=to).map(|id| self.header(id).inner_hash());
        std::iter::once(self.header(from).hash())
            .chain(inner)
            .collect()
    }

    fn root(&self, size: u64) -> Hash {
        if size == 0 {
            Hash::ZERO
        } else {
            merkle(&self.leaves[..at(size + 1)])
        }
    }
}

/// The index of a transaction.
fn at(id: u64) -> usize {
    usize::try_from(id - 1).unwrap()
}

/// MTH of RFC 9162, 2.1.1.
fn merkle(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => Hash::of(&[&[0], leaf.as_bytes()]),
        _ => {
            let (left, right) = leaves.split_at(half(leaves.len()));
            Hash::of(&[&[1], merkle(left).as_bytes(), merkle(right).as_bytes()])
        }
    }
}

/// PATH of RFC 9162, 2.1.3.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let half = half(leaves.len());
    let (left, right) = leaves.split_at(half);
    let (mut path, sibling) = if index < half {
        (path(index, left), merkle(right))
    } else {
        (path(index - half, right), merkle(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 9162, 2.1.4.1, with the known node always sent, and immudb's own form for equal sizes.
fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    fn subproof(old: usize, leaves: &[Hash]) -> Vec<Hash> {
        if old == leaves.len() {
            return vec![merkle(leaves)];
        }
        let half = half(leaves.len());
        let (left, right) = leaves.split_at(half);
        let (mut proof, sibling) = if old <= half {
            (subproof(old, left), merkle(right))
        } else {
            (subproof(old - half, right), merkle(left))
        };
        proof.push(sibling);
        proof
    }
    if old < leaves.len() {
        subproof(old, leaves)
    } else if old == 1 {
        Vec::new()
    } else {
        let (left, right) = leaves.split_at(half(old));
        vec![merkle(right), merkle(left)]
    }
}

/// The largest power of two smaller than `size`.
fn half(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// The message a server would send.
pub(super) fn message(proof: &DualProof) -> schema::DualProof {
    let bytes = |hash: &Hash| hash.as_bytes().to_vec();
    let list = |hashes: &[Hash]| hashes.iter().map(bytes).collect::<Vec<_>>();
    schema::DualProof {
        source_tx_header: Some(header_message(&proof.source)),
        target_tx_header: Some(header_message(&proof.target)),
        inclusion_proof: list(&proof.inclusion),
        consistency_proof: list(&proof.consistency),
        target_bl_tx_alh: bytes(&proof.last_leaf),
        last_inclusion_proof: list(&proof.last_inclusion),
        linear_proof: Some(schema::LinearProof {
            source_tx_id: proof.linear.source,
            target_tx_id: proof.linear.target,
            terms: list(&proof.linear.terms),
        }),
        linear_advance_proof: proof
            .advance
            .as_ref()
            .map(|advance| schema::LinearAdvanceProof {
                linear_proof_terms: list(&advance.terms),
                inclusion_proofs: advance
                    .inclusions
                    .iter()
                    .map(|path| schema::InclusionProof { terms: list(path) })
                    .collect(),
            }),
    }
}

fn header_message(header: &TxHeader) -> schema::TxHeader {
    let (version, entries, extra) = match &header.content {
        Content::V0 { entries } => (0, i32::from(*entries), Vec::new()),
        Content::V1 { entries, metadata } => (
            1,
            i32::try_from(*entries).unwrap(),
            // Its mark and length go.
            metadata.get(3..).unwrap_or_default().to_vec(),
        ),
    };
    schema::TxHeader {
        id: header.id,
        prev_alh: header.previous.as_bytes().to_vec(),
        ts: header.timestamp,
        nentries: entries,
        e_h: header.entries_root.as_bytes().to_vec(),
        bl_tx_id: header.tree_size,
        bl_root: header.tree_root.as_bytes().to_vec(),
        version,
        metadata: Some(schema::TxMetadata {
            truncated_tx_id: 0,
            extra,
        }),
    }
}

/// Metadata of bytes of the application, as it is hashed.
pub(super) fn extra(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[1][..], &length, bytes].concat()
}
