//! Keys of the memo: what something was made of, in 32 bytes.
//!
//! Trees are not trusted, so the keys are SHA-256: nobody can make two different inputs meet.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};

use crate::yaml::{Node, Scalar};

/// The identity of a value by the contents of everything that it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(parts: &impl Hash) -> Self {
        let mut digester = Digester::default();
        parts.hash(&mut digester);
        digester.key()
    }

    /// The key of what a step makes of this.
    pub(crate) fn then(self, step: Self) -> Self {
        Self::of(&(self, step))
    }
}

/// A hasher whose result is a [`Key`]. Derived `Hash` implementations feed it in such a way that
/// different values of one type never give the same bytes.
#[derive(Default)]
pub(crate) struct Digester(Sha256);

impl Digester {
    pub(crate) fn key(self) -> Key {
        Key(self.0.finalize().into())
    }
}

impl Hasher for Digester {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The key of a tree by itself.
pub(crate) fn of_tree(node: &Node) -> Key {
    let mut digester = Digester::default();
    tree(node, &mut digester);
    digester.key()
}

/// Feeds a tree: everything that a later step can see of it.
pub(crate) fn tree(node: &Node, digester: &mut Digester) {
    match node {
        Node::Scalar(Scalar {
            text,
            tag,
            style,
            alias,
        }) => (0_u8, text, tag, style, alias).hash(digester),
        Node::Sequence(items) => {
            (1_u8, items.layout, items.len()).hash(digester);
            for item in items {
                tree(item, digester);
            }
        }
        Node::Mapping(map) => {
            (2_u8, map.layout, map.len()).hash(digester);
            for (key, value) in map.iter() {
                key.hash(digester);
                tree(value, digester);
            }
        }
    }
}
