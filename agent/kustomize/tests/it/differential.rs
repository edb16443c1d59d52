//! Random trees, built by this library and by kustomize itself: the outputs must be equal.
//!
//! The reference is `kubectl kustomize` of the bundle. `KUSTOMIZE_SEEDS` sets how many trees are
//! tried and `KUSTOMIZE_FIRST_SEED` where to start.

use std::path::PathBuf;
use std::process::Command;

use kustomize::{MemoryTree, Options};

use super::random_tree::{self, Files};

/// Trees tried when nothing else is asked for.
const SEEDS: u64 = 300;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn reference() -> PathBuf {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from);
    let cache = || {
        let home = || folder("HOME").expect("HOME is set").join(".cache");
        folder("XDG_CACHE_HOME")
            .unwrap_or_else(home)
            .join("immuops/bundle/current")
    };
    let bundle = folder("IMMUOPS_BUNDLE").unwrap_or_else(cache);
    let binary = bundle.join("bin/kubebox");
    assert!(
        binary.is_file(),
        "the reference {} is missing: build the bundle first (`make bundle`), or set IMMUOPS_BUNDLE",
        binary.display()
    );
    binary
}

/// What the reference prints for the tree; `None` if it fails.
fn expected(reference: &PathBuf, files: &Files) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let output = Command::new(reference)
        .args(["kubectl", "kustomize"])
        .arg(folder.path().join("top"))
        .env("HOME", folder.path())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn found(files: &Files) -> Result<String, String> {
    let mut tree = MemoryTree::new();
    for (path, text) in files {
        tree.add_file(path, text.as_str());
    }
    kustomize::render(&tree, "top", &Options::default())
        .map(|rendered| rendered.to_yaml())
        .map_err(|error| error.to_string())
}

fn shown(files: &Files) -> String {
    let each: Vec<String> = files
        .iter()
        .map(|(path, text)| format!("-- {path} --\n{text}"))
        .collect();
    each.concat()
}

/// The first lines in which two outputs differ.
fn difference(expected: &str, found: &str) -> String {
    let pairs = expected.lines().zip(found.lines());
    let same = pairs
        .take_while(|(expected, found)| expected == found)
        .count();
    let part = |text: &str| -> String {
        let lines = text.lines().skip(same.saturating_sub(3)).take(8);
        lines
            .map(|line| format!("  {line}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    format!(
        "line {}:\n expected\n{} found\n{}",
        same + 1,
        part(expected),
        part(found)
    )
}

#[test]
fn random_trees_build_as_in_kustomize() {
    const SHOWN: usize = 5;
    let reference = reference();
    let first = number("KUSTOMIZE_FIRST_SEED", 0);
    let mut built = 0;
    let mut failures = Vec::new();
    for seed in first..first + number("KUSTOMIZE_SEEDS", SEEDS) {
        let files = random_tree::tree(seed);
        let wrong = match (expected(&reference, &files), found(&files)) {
            (Ok(expected), Ok(found)) => {
                built += 1;
                (expected != found).then(|| difference(&expected, &found))
            }
            (Err(_), Err(_)) => None,
            (Ok(_), Err(error)) => Some(format!("should build: {error}")),
            (Err(error), Ok(_)) => Some(format!("should fail: {error}")),
        };
        if let Some(wrong) = wrong {
            failures.push(format!("seed {seed}: {wrong}\n{}", shown(&files)));
            if failures.len() == SHOWN {
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(built > 0, "no tree builds: the generator is broken");
}
