//! What a database's history is at one moment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// The newest transaction of a database and its hash, which commits to every transaction before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Number of the newest transaction. They are numbered from 1 without gaps; 0 is an empty database.
    pub tx: u64,
    /// Its accumulative hash (immudb: Alh).
    pub hash: Hash,
}

impl State {
    /// Whether nothing was ever written: such a history is the beginning of every other.
    pub fn is_empty(&self) -> bool {
        self.tx == 0
    }
}

impl fmt::Display for State {
    /// `tx 12 (3f6a0b91)`: enough of the hash to tell states apart by eye.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.hash.to_string();
        write!(f, "tx {} ({digits:.8})", self.tx)
    }
}
