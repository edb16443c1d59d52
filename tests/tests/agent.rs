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
fn no_file_is_forgotten() {
    let program = include_str!("agent.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent");
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            program.contains(&format!("mod {name};")),
            "{name} is not declared"
        );
    }
}
