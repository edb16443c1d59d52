//! Verifies immudb's proofs. Pure: nothing here talks to a server or trusts one.
//!
//! The hash of a transaction commits to two structures at once:
//!
//! - a **chain**: it contains the hash of the transaction before it;
//! - a **tree**: it contains the root of a Merkle tree (RFC 9162) whose leaves are the hashes of the
//!   transactions 1 to n. Today n is the transaction before it; immudb up to 1.4 let the tree lag.
//!
//! A dual proof shows with both that an older state is the beginning of a newer one, without sending
//! what lies between.

mod chain;
mod dual_proof;
mod header;
mod tree;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use dual_proof::{DualProof, Refusal};
pub use header::TxHeader;

/// A message that cannot be what it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {part}")]
pub struct Malformed {
    /// Which part of it.
    pub part: &'static str,
}
