//! Tests of the package from outside; those that need a server are in the package `tests`.
#![expect(clippy::tests_outside_test_module, reason = "this is the test program")]

mod generated;

/// A file that no `mod` line names would neither run nor compile.
#[test]
fn no_file_is_forgotten() {
    let program = include_str!("main.rs");
    for entry in fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            name == "main" || program.contains(&format!("mod {name};")),
            "{name} is not declared"
        );
    }
}
