//! Reading and writing YAML the way kustomize's Go libraries do.

pub(crate) mod alias;
pub(crate) mod emit;
pub(crate) mod json;
mod manifest;
mod mapping;
pub(crate) mod node;
pub(crate) mod parse;
pub(crate) mod resolve;
pub(crate) mod timestamp;

pub(crate) use mapping::Mapping;
pub(crate) use node::{Alias, Node, Scalar, Sequence, Style, Tag};
