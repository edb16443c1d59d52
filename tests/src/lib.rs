//! What the tests and benchmarks share: the real parts, started and asked.

pub mod agent_process;
pub mod bundle;
pub mod cluster;
pub mod control_plane;
pub mod control_plane_client;
pub mod git_server;
pub mod gitea;
pub mod github_emulator;
pub mod host_state;
pub mod image_registry;
pub mod immuclient;
pub mod json_api;
pub mod process;
pub mod scripted_server;
pub mod wait;
pub mod working_copy;
