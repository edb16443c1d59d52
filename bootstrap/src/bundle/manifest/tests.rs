//! A bundle is used only when every byte is what was built.

use super::*;

fn bundle() -> (tempfile::TempDir, Manifest) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("bin")).unwrap();
    let mut files = Vec::new();
    for name in ["ctr", "kubebox"] {
        let path = Path::new("bin").join(name);
        fs::write(directory.path().join(&path), format!("the program {name}")).unwrap();
        let sum = digest::of_file(&directory.path().join(&path)).unwrap();
        files.push(FileEntry {
            part: name.to_owned(),
            path,
            size: sum.size,
            sha256: sum.hex,
            aliases: Vec::new(),
        });
    }
    files[1].aliases = vec!["kubectl".to_owned()];
    std::os::unix::fs::symlink("kubebox", directory.path().join("bin/kubectl")).unwrap();
    let manifest = Manifest {
        key: "k".to_owned(),
        parts: Vec::new(),
        files,
        images: Vec::new(),
    };
    manifest.write(directory.path()).unwrap();
    (directory, manifest)
}

fn problems(directory: &Path) -> Vec<String> {
    let manifest = Manifest::read(directory).unwrap();
    let problems = manifest.verify(directory).unwrap_err();
    let root = directory.display().to_string();
    problems
        .list()
        .iter()
        .map(|problem| problem.to_string().replace(&root, "…"))
        .collect()
}

#[test]
fn an_untouched_bundle_is_accepted() {
    let (directory, manifest) = bundle();
    assert_eq!(Manifest::read(directory.path()).unwrap(), manifest);
    manifest.verify(directory.path()).unwrap();
}

#[test]
fn a_flipped_byte_names_the_file() {
    let (directory, _) = bundle();
    fs::write(directory.path().join("bin/ctr"), "the program ctR").unwrap();
    let found = problems(directory.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("…/bin/ctr has sha256 "), "{found:?}");
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let (directory, _) = bundle();
    fs::remove_file(directory.path().join("bin/ctr")).unwrap();
    fs::remove_file(directory.path().join("bin/kubectl")).unwrap();
    std::os::unix::fs::symlink("ctr", directory.path().join("bin/kubectl")).unwrap();
    assert_eq!(
        problems(directory.path()),
        ["cannot check …/bin/ctr", "…/bin/kubectl leads to ctr",]
    );
}

#[test]
fn a_manifest_cannot_name_files_outside() {
    let (directory, mut manifest) = bundle();
    manifest.files[0].path = PathBuf::from("../etc/shadow");
    manifest.write(directory.path()).unwrap();
    let problem = Manifest::read(directory.path()).unwrap_err();
    let cause = std::error::Error::source(&problem).unwrap().to_string();
    assert_eq!(cause, "../etc/shadow leads out of the bundle");
}
