//! The agent against a real API server and real git over HTTP.
#![expect(
    clippy::tests_outside_test_module,
    reason = "this file is the test program"
)]

mod agent {
    pub(crate) mod fixtures;

    mod crash;
    mod drift;
    mod failures;
    mod lifecycle;
    mod safety;
    mod webhook;
}

/// A file that no `mod` line names would neither run nor compile.
#[test]
fn no_file_is_forgotten() -> anyhow::Result<()> {
    tests::modules::all_declared("agent", include_str!("agent.rs"))
}
