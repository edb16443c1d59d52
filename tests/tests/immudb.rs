//! The immudb client, the probe and the proofs against real immudb servers of two versions.
#![expect(
    clippy::tests_outside_test_module,
    reason = "this file is the test program"
)]

mod immudb {
    mod client;
    mod history;
    mod outages;
    mod readiness;
    mod verify;
}

/// A file that no `mod` line names would neither run nor compile.
#[test]
fn no_file_is_forgotten() -> anyhow::Result<()> {
    tests::modules::all_declared("immudb", include_str!("immudb.rs"))
}
