//! Real parts for the end-to-end tests: each one is started by the test that needs it.

pub mod agent_process;
pub mod control_plane;
pub mod control_plane_client;
pub mod git_server;
pub mod patience;
