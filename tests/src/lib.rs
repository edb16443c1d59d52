//! What the end-to-end tests and benchmarks share: the real parts, started and asked.

pub mod bundle;
pub mod cluster;
pub mod host_state;
pub mod immuclient;
pub mod process;
pub mod wait;
pub mod working_copy;
