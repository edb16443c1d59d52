//! Upgrade policies against real parts: the agent with a real API server, a stateful GitHub emulator, a
//! real OCI registry and a real Gitea. What none of them can be made to do is scripted.
#![expect(
    clippy::tests_outside_test_module,
    reason = "this file is the test program"
)]

mod upgrade {
    pub(crate) mod fixtures;

    mod check;
    mod conditions;
    mod faults;
    mod flow;
    mod proof;
}

/// A file that no `mod` line names would neither run nor compile.
#[test]
fn no_file_is_forgotten() -> anyhow::Result<()> {
    tests::modules::all_declared("upgrade", include_str!("upgrade.rs"))
}
