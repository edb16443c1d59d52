//! The fuzz targets with damaged pieces of the cases: a plain mutation engine on stable Rust, which
//! learns nothing from what it sees. `fuzz/run` does, with the same targets.
//!
//! `KUSTOMIZE_MUTATIONS` sets how many rounds each target gets and `KUSTOMIZE_FIRST_SEED` where to
//! start. With `KUSTOMIZE_WRITE_CORPUS=DIR` the pieces are written to `DIR/TARGET/` instead.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use super::corpus::{Files, corpus, damage};
use super::mutations::PATIENCE;
use super::number;
use super::random::Random;
use super::targets::TARGETS;

/// Rounds for each target when nothing else is asked for.
const ROUNDS: u64 = 2_000;

/// The pieces of the cases that a target eats.
fn pieces(target: &str, cases: &[(String, Files)]) -> Files {
    let all = cases.iter().flat_map(|(_, files)| files);
    let is_kustomization = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case("kustomization.yaml") || name == "Kustomization"
    };
    let holds = |bytes: &[u8], word: &str| String::from_utf8_lossy(bytes).contains(word);
    let paths = |bytes: &[u8]| -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        let fields = text.split(['\n', ',', '[', ']']).map(str::trim);
        let fields = fields.filter_map(|field| {
            let field = field.strip_prefix("- ").unwrap_or(field);
            let field = field.strip_prefix("fieldPath: ").unwrap_or(field);
            (field.contains('.') && !field.contains(": ")).then_some(field)
        });
        fields.collect::<Vec<_>>().join("\n").into_bytes()
    };
    let mut found: Files = match target {
        "kustomization" => all
            .filter(|(path, _)| is_kustomization(path))
            .cloned()
            .collect(),
        "patch" => all
            .filter(|(path, bytes)| path.contains("patch") || holds(bytes, "op: "))
            .filter(|(path, _)| !is_kustomization(path))
            .cloned()
            .collect(),
        "replacement" => all
            .filter(|(_, bytes)| holds(bytes, "fieldPath"))
            .map(|(path, bytes)| (path.clone(), paths(bytes)))
            .collect(),
        "substitution" => SUBSTITUTIONS
            .iter()
            .map(|text| ("text".to_owned(), text.as_bytes().to_vec()))
            .collect(),
        _ => all
            .filter(|(path, _)| path.contains(".y") && !is_kustomization(path))
            .cloned()
            .collect(),
    };
    found.retain(|(_, bytes)| !bytes.is_empty());
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found.dedup_by(|a, b| a.1 == b.1);
    assert!(!found.is_empty(), "no case has anything for {target}");
    found
}

const SUBSTITUTIONS: &[&str] = &[
    "${x}",
    "a${x}b${number}c",
    "${x:-default}",
    "${x:=default}",
    "${missing:-${x}}",
    "${x:1}",
    "${x:1:2}",
    "${x/a/b}",
    "${x//a/b}",
    "${x/#v/w}",
    "${x/%e/f}",
    "$${x}",
    "${empty}",
    "${#x}",
    "${x^^}",
    "${x,,}",
    "${x%e}",
    "${x##*a}",
    "$x",
    "${",
    "${}",
    "price: 5$",
];

#[test]
fn damaged_pieces_never_panic() {
    let cases = corpus();
    let first = number("KUSTOMIZE_FIRST_SEED", 0);
    let rounds = number("KUSTOMIZE_MUTATIONS", ROUNDS);
    if let Some(folder) = std::env::var_os("KUSTOMIZE_WRITE_CORPUS") {
        write(std::path::Path::new(&folder), &cases);
        return;
    }
    for (name, target) in TARGETS {
        let pieces = pieces(name, &cases);
        for (_, bytes) in &pieces {
            run(name, target, bytes);
        }
        for seed in first..first + rounds {
            let mut random = Random::new(seed);
            let (piece, other) = (random.below(pieces.len()), random.below(pieces.len()));
            // A second piece is there to be cut from.
            let mut files = vec![pieces[piece].clone(), pieces[other].clone()];
            damage(&mut random, &mut files);
            run(&format!("{name}, seed {seed}"), target, &files[0].1);
        }
    }
}

fn run(what: &str, target: fn(&[u8]), bytes: &[u8]) {
    let started = Instant::now();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let text = || String::from_utf8_lossy(bytes).into_owned();
    assert!(outcome.is_ok(), "{what}: panics with\n{}", text());
    let taken = started.elapsed();
    assert!(taken < PATIENCE, "{what}: takes {taken:?} with\n{}", text());
}

fn write(folder: &std::path::Path, cases: &[(String, Files)]) {
    for (name, _) in TARGETS {
        let folder = folder.join(name);
        fs_err::create_dir_all(&folder).unwrap();
        for (number, (_, bytes)) in pieces(name, cases).into_iter().enumerate() {
            fs_err::write(folder.join(format!("{number:04}")), bytes).unwrap();
        }
    }
}
