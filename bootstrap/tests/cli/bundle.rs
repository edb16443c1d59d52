//! `bootstrap bundle`.

use std::path::Path;

use fs_err as fs;

use crate::program::bootstrap;

/// A bundle of one program and one image, as a build would leave it.
fn bundle(home: &Path) {
    let bundle = home.join(".cache/immuops/bundle");
    fs::create_dir_all(bundle.join("0123456789abcdef/bin")).unwrap();
    fs::write(bundle.join("0123456789abcdef/bin/tool"), "abc").unwrap();
    let manifest = r#"{
      "key": "0123456789abcdef",
      "parts": [{
        "name": "tool", "version": "1.2.3", "key": "fedcba9876543210",
        "source": { "kind": "go-module", "module": "example.org/tool", "version": "v1.2.3", "sum": "h1:x=" }
      }],
      "files": [{
        "part": "tool", "path": "bin/tool", "size": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "aliases": []
      }],
      "images": [{
        "name": "tool", "reference": "example.org/tool:1.2.3", "digest": "sha256:00112233445566778899",
        "archive": "images/tool.tar"
      }]
    }"#;
    fs::write(bundle.join("0123456789abcdef/manifest.json"), manifest).unwrap();
    std::os::unix::fs::symlink("0123456789abcdef", bundle.join("current")).unwrap();
}

#[test]
fn without_a_bundle_it_says_how_to_get_one() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(bootstrap(home.path(), &["bundle", "list"]));
}

#[test]
fn list_shows_files_and_images() {
    let home = tempfile::tempdir().unwrap();
    bundle(home.path());
    insta::assert_snapshot!(bootstrap(home.path(), &["bundle", "list"]));
}

#[test]
fn list_as_json_is_the_manifest() {
    let home = tempfile::tempdir().unwrap();
    bundle(home.path());
    insta::assert_snapshot!(bootstrap(
        home.path(),
        &["bundle", "list", "--output", "json"]
    ));
}

#[test]
fn a_damaged_bundle_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    bundle(home.path());
    fs::write(
        home.path().join(".cache/immuops/bundle/current/bin/tool"),
        "abd",
    )
    .unwrap();
    insta::assert_snapshot!(bootstrap(home.path(), &["bundle", "verify"]));
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(bootstrap(
        home.path(),
        &["bundle", "list", "--output", "yaml"]
    ));
}
