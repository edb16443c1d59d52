//! Reading and writing YAML the way kustomize's Go libraries do.

pub(crate) mod alias;
pub(crate) mod emit;
pub(crate) mod json;
pub(crate) mod node;
pub(crate) mod parse;
pub(crate) mod resolve;
pub(crate) mod timestamp;

pub(crate) use node::{Alias, Mapping, Node, Scalar, Sequence, Style, Tag};
