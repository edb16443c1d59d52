//! Damaged trees: every outcome but a panic and a hang is right.
//!
//! The corpus is `tests/cases`; each round takes one case and damages some of its files.
//! `KUSTOMIZE_MUTATIONS` sets how many rounds are run and `KUSTOMIZE_FIRST_SEED` where to start.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use kustomize::{Options, Undefined};

use super::corpus::{corpus, damage, shown, tree};
use super::number;
use super::random::Random;

/// Rounds run when nothing else is asked for.
const ROUNDS: u64 = 3_000;

/// What one build may take in a debug build on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn damaged_trees_never_panic() {
    let corpus = corpus();
    let first = number("KUSTOMIZE_FIRST_SEED", 0);
    let variables = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
    for seed in first..first + number("KUSTOMIZE_MUTATIONS", ROUNDS) {
        let mut random = Random::new(seed);
        let (dir, mut files) = corpus[random.below(corpus.len())].clone();
        if files.is_empty() {
            continue;
        }
        damage(&mut random, &mut files);
        let tree = tree(&files);
        let started = Instant::now();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let rendered = kustomize::render(&tree, &dir, &Options::default())?;
            rendered.to_yaml();
            kustomize::substitute(rendered, &variables, Undefined::Refused)
        }));
        match outcome {
            Err(panic) => panic!("seed {seed} panics ({panic:?}):\n{}", shown(&files)),
            Ok(Err(error)) => assert!(!error.to_string().is_empty()),
            Ok(Ok(_)) => {}
        }
        assert!(
            started.elapsed() < PATIENCE,
            "seed {seed} takes long:\n{}",
            shown(&files)
        );
    }
}
