//! A client for immudb, and the proof that one history of transactions contains another.
//!
//! immudb chains its transactions by hash: the hash of the newest one stands for the whole history.
//! This package reads that hash from a server ([`Client::state`]), asks for proofs and verifies them
//! without trusting the server ([`verification`]), and from that tells whether servers still hold
//! what they held before ([`history`]). It knows nothing of Kubernetes.
//!
//! Works with immudb 1.9.5 and later: the calls it makes did not change since.

mod address;
mod client;
mod database;
mod error;
mod hash;
pub mod history;
mod login;
mod schema;
mod state;
pub mod verification;

pub use address::{Address, InvalidAddress};
pub use client::Client;
pub use database::{DatabaseName, InvalidDatabaseName};
pub use error::ClientError;
pub use hash::{Hash, InvalidHash};
pub use login::Login;
pub use state::State;
