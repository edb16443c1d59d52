//! `agent`: keeps a Kubernetes cluster equal to a git repository.

mod api;
mod board;
mod cli;
mod cluster;
mod controller;
mod correct;
mod env_vars;
mod events;
mod execute;
mod finalize;
mod git;
mod health;
mod hex;
mod http;
mod immudb_login;
mod inventory_store;
mod kinds;
mod lease;
mod logging;
mod lookup;
mod mailbox;
mod metrics;
mod page;
mod patience;
mod pause;
mod preflight;
mod probe;
mod problem;
mod reconcile;
mod render;
mod report;
mod scope;
mod settings;
mod shared;
mod sighting;
mod source;
mod status;
mod takeover;
mod upgrade;
mod watches;
mod webhook;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
