//! Upgrade policies: each one is polled by a task of its own, and what it finds becomes one pull request.
//!
//! `settings` checks the spec, `connection` makes the clients, `poll` looks, decides and acts, `status` says
//! what came of it. The decision itself is in the package `forge`.

pub(crate) mod connection;
pub(crate) mod controller;
pub(crate) mod poll;
pub(crate) mod settings;
pub(crate) mod status;
mod task;
