//! Damaged trees: every outcome but a panic and a hang is right.
//!
//! The corpus is `tests/cases`; each round takes one case and damages some of its files.
//! `KUSTOMIZE_MUTATIONS` sets how many rounds are run and `KUSTOMIZE_FIRST_SEED` where to start.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use kustomize::{MemoryTree, Options, Undefined};

use super::random_tree::Random;

/// Rounds run when nothing else is asked for.
const ROUNDS: u64 = 3_000;

/// What one build may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pieces of the language, put where they do not belong.
const PIECES: &[&str] = &[
    "\n---\n",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "\t",
    "\r",
    "null",
    "~",
    "$patch: delete",
    "$patch: replace",
    "*",
    "..",
    "../",
    ".",
    "${x}",
    "$(X)",
    "\u{feff}",
    "é",
    "\u{0}",
    "1e999",
    "-1",
    "[name=x]",
    "\\",
    "/",
    "metadata",
    "name",
    "kind: List\nitems:\n",
    "99999999999999999999",
];

type Files = Vec<(String, Vec<u8>)>;

fn corpus() -> Vec<(String, Files)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut paths: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut corpus = Vec::new();
    for path in paths {
        let text = fs_err::read_to_string(path).unwrap();
        let mut dir = String::new();
        let mut files: Files = Vec::new();
        for line in text.split_inclusive('\n') {
            let title = line
                .trim_end()
                .strip_prefix("-- ")
                .and_then(|rest| rest.strip_suffix(" --"));
            match (title, files.last_mut()) {
                (Some(title), _) => {
                    let path = title.split(" (").next().unwrap();
                    files.push((path.to_owned(), Vec::new()));
                }
                (None, Some((_, bytes))) => bytes.extend_from_slice(line.as_bytes()),
                (None, None) => {
                    if let Some(value) = line.trim_end().strip_prefix("dir: ") {
                        value.trim_start_matches('.').clone_into(&mut dir);
                    }
                }
            }
        }
        files.retain(|(path, _)| path != "expected" && path != "error");
        corpus.push((dir, files));
    }
    corpus
}

fn damage(random: &mut Random, files: &mut Files) {
    for _ in 0..=random.below(4) {
        let donor = files[random.below(files.len())].1.clone();
        let target = random.below(files.len());
        let bytes = &mut files[target].1;
        let at = if bytes.is_empty() {
            0
        } else {
            random.below(bytes.len())
        };
        match random.below(6) {
            0 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            1 => bytes.truncate(at),
            2 => {
                let end = bytes.len().min(at + 1 + random.below(20));
                bytes.drain(at..end);
            }
            3 => {
                let end = bytes.len().min(at + 1 + random.below(60));
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            4 => {
                let line = random.below(donor.len().max(1));
                let part: Vec<u8> = donor.into_iter().skip(line).take(80).collect();
                bytes.splice(at..at, part);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = b" \n:-[]{}'\"a0#&*!|>%@"[random.below(20)];
                }
            }
        }
    }
}

#[test]
fn damaged_trees_never_panic() {
    let corpus = corpus();
    let number = |variable: &str, default: u64| {
        std::env::var(variable).map_or(default, |text| text.parse().unwrap())
    };
    let first = number("KUSTOMIZE_FIRST_SEED", 0);
    let variables = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
    for seed in first..first + number("KUSTOMIZE_MUTATIONS", ROUNDS) {
        let mut random = Random::new(seed);
        let (dir, mut files) = corpus[random.below(corpus.len())].clone();
        if files.is_empty() {
            continue;
        }
        damage(&mut random, &mut files);
        let mut tree = MemoryTree::new();
        for (path, bytes) in &files {
            tree.add_file(path, bytes.clone());
        }
        let started = Instant::now();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let rendered = kustomize::render(&tree, &dir, &Options::default())?;
            rendered.to_yaml();
            kustomize::substitute(rendered, &variables, Undefined::Refused)
        }));
        let shown = || -> String {
            let each = files.iter();
            each.map(|(path, bytes)| format!("-- {path} --\n{}", String::from_utf8_lossy(bytes)))
                .collect::<Vec<_>>()
                .concat()
        };
        match outcome {
            Err(panic) => panic!("seed {seed} panics ({panic:?}):\n{}", shown()),
            Ok(Err(error)) => assert!(!error.to_string().is_empty()),
            Ok(Ok(_)) => {}
        }
        assert!(
            started.elapsed() < PATIENCE,
            "seed {seed} takes long:\n{}",
            shown()
        );
    }
}
