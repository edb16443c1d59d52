//! The header of a transaction, and the hash that stands for it and everything before it.

use super::{Malformed, chain};
use crate::hash::Hash;
use crate::schema;
use crate::state::State;

/// Longest metadata that a transaction may carry besides a truncation mark, in bytes (immudb
/// `embedded/store/tx_metadata.go`).
const LONGEST_EXTRA: usize = 256;
/// Marks the metadata attribute "values up to this transaction were removed".
const TRUNCATED: u8 = 0;
/// Marks the metadata attribute "bytes of the application".
const EXTRA: u8 = 1;

/// The header of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxHeader {
    pub(super) id: u64,
    /// Seconds since 1970.
    pub(super) timestamp: i64,
    pub(super) content: Content,
    /// Root of the tree of the transaction's entries.
    pub(super) entries_root: Hash,
    /// Hash of the transaction before this one.
    pub(super) previous: Hash,
    /// How many transactions are in the tree that this one commits to: always those from 1.
    pub(super) tree_size: u64,
    pub(super) tree_root: Hash,
}

/// What differs between the versions of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Written by immudb 1.0 and 1.1.
    V0 { entries: u16 },
    /// Written since 1.2.
    V1 { entries: u32, metadata: Vec<u8> },
}

impl TxHeader {
    /// Number of the transaction.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The state of the database when this was its newest transaction.
    pub fn state(&self) -> State {
        State {
            tx: self.id,
            hash: self.hash(),
        }
    }

    /// The accumulative hash (immudb: Alh): `sha256(id ‖ hash of the transaction before ‖ inner hash)`.
    pub fn hash(&self) -> Hash {
        chain::link(self.id, &self.previous, &self.inner_hash())
    }

    /// The hash of everything in the header that the chain does not hold already.
    pub(super) fn inner_hash(&self) -> Hash {
        let content = match &self.content {
            Content::V0 { entries } => [&[0, 0][..], &entries.to_be_bytes()].concat(),
            Content::V1 { entries, metadata } => {
                // Its length was checked against `LONGEST_EXTRA`.
                let length = u16::try_from(metadata.len()).unwrap_or(u16::MAX);
                [
                    &[0, 1][..],
                    &length.to_be_bytes(),
                    metadata,
                    &entries.to_be_bytes(),
                ]
                .concat()
            }
        };
        Hash::of(&[
            &self.timestamp.to_be_bytes(),
            &content,
            self.entries_root.as_bytes(),
            &self.tree_size.to_be_bytes(),
            self.tree_root.as_bytes(),
        ])
    }
}

impl TryFrom<schema::TxHeader> for TxHeader {
    type Error = Malformed;

    fn try_from(header: schema::TxHeader) -> Result<Self, Self::Error> {
        let schema::TxHeader {
            id,
            prev_alh,
            ts,
            nentries,
            e_h,
            bl_tx_id,
            bl_root,
            version,
            metadata,
        } = header;
        let hash = |bytes: &[u8], part| Hash::try_from(bytes).map_err(|_| Malformed { part });
        let metadata = metadata_bytes(metadata.unwrap_or_default())?;
        let entries = Malformed {
            part: "number of entries",
        };
        let content = match version {
            0 if metadata.is_empty() => Content::V0 {
                entries: u16::try_from(nentries).map_err(|_| entries)?,
            },
            1 => Content::V1 {
                entries: u32::try_from(nentries).map_err(|_| entries)?,
                metadata,
            },
            _ => {
                return Err(Malformed {
                    part: "version of a header",
                });
            }
        };
        if id == 0 || bl_tx_id >= id {
            return Err(Malformed {
                part: "transaction number",
            });
        }
        Ok(Self {
            id,
            timestamp: ts,
            content,
            entries_root: hash(&e_h, "hash of the entries")?,
            previous: hash(&prev_alh, "hash of the transaction before")?,
            tree_size: bl_tx_id,
            tree_root: hash(&bl_root, "root of the tree")?,
        })
    }
}

/// The metadata as it is hashed.
fn metadata_bytes(metadata: schema::TxMetadata) -> Result<Vec<u8>, Malformed> {
    let schema::TxMetadata {
        truncated_tx_id,
        extra,
    } = metadata;
    let mut bytes = Vec::new();
    if truncated_tx_id > 0 {
        bytes.push(TRUNCATED);
        bytes.extend(truncated_tx_id.to_be_bytes());
    }
    if !extra.is_empty() {
        let length = u16::try_from(extra.len()).ok();
        let Some(length) = length.filter(|_| extra.len() <= LONGEST_EXTRA) else {
            return Err(Malformed {
                part: "metadata of a transaction",
            });
        };
        bytes.push(EXTRA);
        bytes.extend(length.to_be_bytes());
        bytes.extend(extra);
    }
    Ok(bytes)
}
