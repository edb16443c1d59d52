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
fn no_file_is_forgotten() {
    let program = include_str!("immudb.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/immudb");
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            program.contains(&format!("mod {name};")),
            "{name} is not declared"
        );
    }
}
