//! What changes objects, one transformer per file.

pub(crate) mod hash;
pub(crate) mod images;
pub(crate) mod json_patch;
pub(crate) mod name_reference;
pub(crate) mod namespace;
pub(crate) mod order;
pub(crate) mod patch;
pub(crate) mod rename;
pub(crate) mod replacement;
pub(crate) mod replicas;
pub(crate) mod strategic_merge;
pub(crate) mod text_map;
pub(crate) mod value_add;
pub(crate) mod variables;
