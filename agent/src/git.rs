//! Git: one bare mirror per source, fetched over our own HTTP transport on one thread, read as
//! trees of a pinned commit. Nothing is ever checked out, and no hook, submodule or filter runs.

pub(crate) mod access;
pub(crate) mod fetcher;
pub(crate) mod mirror;
mod reference;
pub(crate) mod revision;
pub(crate) mod transport;
pub(crate) mod tree;
