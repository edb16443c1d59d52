//! The proof that one state of a database is the beginning of another.

use super::chain::{self, AdvanceProof, LinearProof};
use super::header::TxHeader;
use super::{Malformed, tree};
use crate::hash::Hash;
use crate::schema;
use crate::state::State;

/// What a server offers as proof that the history up to one transaction is the beginning of the history
/// up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DualProof {
    pub(super) source: TxHeader,
    pub(super) target: TxHeader,
    /// Where the source is in the target's tree, if it is in there.
    pub(super) inclusion: Vec<Hash>,
    /// That the source's tree grew to be the target's.
    pub(super) consistency: Vec<Hash>,
    /// The hash of the last transaction in the target's tree, zero if the tree is empty.
    pub(super) last_leaf: Hash,
    /// That it is the last one.
    pub(super) last_inclusion: Vec<Hash>,
    /// The chain from the source, or from the last transaction in the target's tree, to the target.
    pub(super) linear: LinearProof,
    /// That the tree has what the chain has after the source's tree.
    pub(super) advance: Option<AdvanceProof>,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The proof is about another older transaction, or the older history differs.
    #[error("the older transaction is not the one that was recorded")]
    Source,
    /// The proof is about another newer transaction, or the newer history differs.
    #[error("the newer transaction is not the one that the server stands for")]
    Target,
    /// The older transaction is not older.
    #[error("the transactions are in the wrong order")]
    Order,
    /// The older transaction is not in the tree.
    #[error("the older transaction is not in the newer Merkle tree")]
    Inclusion,
    /// The tree was rewritten.
    #[error("the newer Merkle tree did not grow from the older one")]
    Consistency,
    /// The end of the tree is not what the chain starts from.
    #[error("the newest leaf of the Merkle tree is another transaction")]
    LastInclusion,
    /// The chain does not arrive.
    #[error("the chain of hashes does not lead to the newer transaction")]
    Linear,
    /// Tree and chain differ.
    #[error("the Merkle tree and the chain of hashes tell different histories")]
    Advance,
}

impl DualProof {
    /// Verifies that the history with the newest transaction `source` is the beginning of the one with
    /// `target`.
    ///
    /// The rules are those of immudb since 1.4.1 (`VerifyDualProof`, advisory GHSA-672p-m5jq-mrh8). What a
    /// proof does not need must not be in it.
    ///
    /// # Errors
    /// The part that fails.
    pub fn verify(&self, source: &State, target: &State) -> Result<(), Refusal> {
        let holds = |truth, refusal| if truth { Ok(()) } else { Err(refusal) };
        holds(self.source.state() == *source, Refusal::Source)?;
        holds(self.target.state() == *target, Refusal::Target)?;
        holds(source.tx <= target.tx, Refusal::Order)?;
        holds(self.includes_source(), Refusal::Inclusion)?;
        holds(self.is_consistent(), Refusal::Consistency)?;
        holds(self.ends_tree(), Refusal::LastInclusion)?;
        holds(self.follows_chain(), Refusal::Linear)?;
        holds(self.advances(), Refusal::Advance)
    }

    /// Whether the source is a leaf of the target's tree. Then the chain need not reach back to it.
    fn is_in_tree(&self) -> bool {
        self.source.id < self.target.tree_size
    }

    fn includes_source(&self) -> bool {
        let TxHeader {
            tree_size,
            tree_root,
            ..
        } = &self.target;
        if self.is_in_tree() {
            let hash = self.source.hash();
            tree::includes(
                &self.inclusion,
                self.source.id,
                *tree_size,
                &hash,
                tree_root,
            )
        } else {
            self.inclusion.is_empty()
        }
    }

    fn is_consistent(&self) -> bool {
        let (old, new) = (&self.source, &self.target);
        if old.tree_size == 0 {
            return self.consistency.is_empty();
        }
        tree::is_consistent(
            &self.consistency,
            (old.tree_size, &old.tree_root),
            (new.tree_size, &new.tree_root),
        )
    }

    fn ends_tree(&self) -> bool {
        let TxHeader {
            tree_size,
            tree_root,
            ..
        } = &self.target;
        if *tree_size == 0 {
            return self.last_inclusion.is_empty() && self.last_leaf == Hash::ZERO;
        }
        let path = &self.last_inclusion;
        tree::includes(path, *tree_size, *tree_size, &self.last_leaf, tree_root)
    }

    fn follows_chain(&self) -> bool {
        let from = if self.is_in_tree() {
            (self.target.tree_size, self.last_leaf)
        } else {
            (self.source.id, self.source.hash())
        };
        self.linear
            .connects(from, (self.target.id, self.target.hash()))
    }

    fn advances(&self) -> bool {
        let TxHeader {
            tree_size,
            tree_root,
            ..
        } = &self.target;
        let end = if self.is_in_tree() {
            (self.source.id, self.source.hash())
        } else {
            (*tree_size, self.last_leaf)
        };
        let old_size = self.source.tree_size;
        chain::advances(self.advance.as_ref(), old_size, end, tree_root, *tree_size)
    }
}

impl TryFrom<schema::DualProof> for DualProof {
    type Error = Malformed;

    fn try_from(proof: schema::DualProof) -> Result<Self, Self::Error> {
        let schema::DualProof {
            source_tx_header,
            target_tx_header,
            inclusion_proof,
            consistency_proof,
            target_bl_tx_alh,
            last_inclusion_proof,
            linear_proof,
            linear_advance_proof,
        } = proof;
        let header = |header: Option<schema::TxHeader>, part| {
            header
                .ok_or(Malformed { part })
                .and_then(TxHeader::try_from)
        };
        let schema::LinearProof {
            source_tx_id,
            target_tx_id,
            terms,
        } = linear_proof.ok_or(Malformed {
            part: "linear proof",
        })?;
        let last_leaf = Hash::try_from(target_bl_tx_alh.as_slice()).map_err(|_| Malformed {
            part: "hash of the last leaf",
        })?;
        Ok(Self {
            source: header(source_tx_header, "header of the older transaction")?,
            target: header(target_tx_header, "header of the newer transaction")?,
            inclusion: hashes(&inclusion_proof, "inclusion proof")?,
            consistency: hashes(&consistency_proof, "consistency proof")?,
            last_leaf,
            last_inclusion: hashes(&last_inclusion_proof, "inclusion proof of the last leaf")?,
            linear: LinearProof {
                source: source_tx_id,
                target: target_tx_id,
                terms: hashes(&terms, "linear proof")?,
            },
            advance: linear_advance_proof
                .map(AdvanceProof::try_from)
                .transpose()?,
        })
    }
}

impl TryFrom<schema::LinearAdvanceProof> for AdvanceProof {
    type Error = Malformed;

    fn try_from(proof: schema::LinearAdvanceProof) -> Result<Self, Self::Error> {
        let schema::LinearAdvanceProof {
            linear_proof_terms,
            inclusion_proofs,
        } = proof;
        let part = "linear advance proof";
        Ok(Self {
            terms: hashes(&linear_proof_terms, part)?,
            inclusions: inclusion_proofs
                .iter()
                .map(|proof| hashes(&proof.terms, part))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn hashes(terms: &[Vec<u8>], part: &'static str) -> Result<Vec<Hash>, Malformed> {
    terms
        .iter()
        .map(|term| Hash::try_from(term.as_slice()).map_err(|_| Malformed { part }))
        .collect()
}
