//! Upgrade policies: each one is polled by a task of its own, and what it finds becomes one pull request.
//!
//! `settings` checks the spec, `clients` are whom it names, `poll` looks, decides and acts, `prove` compares
//! what servers hold before and after a merge, `status` says what came of it. What is proposed is decided in
//! the package `forge`, what is proved in `proof`.

mod clients;
pub(crate) mod connection;
pub(crate) mod controller;
mod merge_patch;
pub(crate) mod poll;
pub(crate) mod proof;
mod prove;
pub(crate) mod settings;
pub(crate) mod status;
mod task;
mod witnesses;
