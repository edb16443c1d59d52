//! What the tests and benchmarks share: the real parts, started and asked.

pub mod agent_process;
pub mod bundle;
pub mod chart;
pub mod cluster;
pub mod control_plane;
pub mod control_plane_client;
pub mod dashboard;
pub mod edge;
pub mod git_server;
pub mod gitea;
pub mod github_emulator;
pub mod host_state;
pub mod image_registry;
pub mod immuclient;
pub mod immudb_server;
pub mod json_api;
pub mod link;
pub mod modules;
pub mod outside;
pub mod probe_process;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod scripted_server;
pub mod wait;
pub mod working_copy;
