//! Random trees, built by this library and by kustomize itself: the outputs must be equal.
//!
//! `KUSTOMIZE_SEEDS` sets how many trees are tried and `KUSTOMIZE_FIRST_SEED` where to start.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kustomize::{MemoryTree, Options};

use super::number;
use super::random_tree::{self, Files};
use super::reference::Reference;

/// Trees tried when nothing else is asked for.
const SEEDS: u64 = 300;
/// Failures shown; the run ends with the last of them.
const SHOWN: usize = 5;

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

/// What a run has seen.
#[derive(Default)]
struct Seen {
    trees: u64,
    built: u64,
    failures: Vec<String>,
}

#[test]
fn random_trees_build_as_in_kustomize() {
    let reference = Reference::find();
    let first = number("KUSTOMIZE_FIRST_SEED", 0);
    let end = first + number("KUSTOMIZE_SEEDS", SEEDS);
    let next = AtomicU64::new(first);
    let tally = Mutex::new(Seen::default());
    let compare = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || tally.lock().unwrap().failures.len() >= SHOWN {
                return;
            }
            let files = random_tree::tree(seed);
            let expected = reference.build(&files);
            let found = found(&files);
            let wrong = match (&expected, &found) {
                (Ok(expected), Ok(found)) => {
                    (expected != found).then(|| difference(expected, found))
                }
                (Err(_), Err(_)) => None,
                (Ok(_), Err(error)) => Some(format!("should build: {error}")),
                (Err(error), Ok(_)) => Some(format!("should fail: {error}")),
            };
            let mut sums = tally.lock().unwrap();
            sums.trees += 1;
            sums.built += u64::from(expected.is_ok());
            if sums.trees % 500 == 0 {
                println!("{} trees compared", sums.trees);
            }
            if let Some(wrong) = wrong {
                let failure = format!("seed {seed}: {wrong}\n{}", shown(&files));
                sums.failures.push(failure);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(compare);
        }
    });
    let Seen {
        trees,
        built,
        failures,
    } = tally.into_inner().unwrap();
    println!("seeds {first} to {}: {trees} trees, {built} build", end - 1);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(built > 0, "no tree builds: the generator is broken");
}
