//! One file changed, and everything built again.

use std::time::{Duration, Instant};

use kustomize::{Memo, MemoryTree, Options};

use crate::Failure;
use crate::process::processor;
use crate::tree::{self, Shape};

/// Changes, each followed by a build; wall time is the median, processor time the mean.
const CHANGES: u32 = 31;

/// One row: changes of an environment variable in one file after the other.
pub(crate) fn measure(shape: Shape) -> Result<String, Failure> {
    let files = tree::files(shape)?;
    let mut tree = MemoryTree::new();
    for (path, text) in &files {
        tree.add_file(path, text.as_str());
    }
    let options = Options::default();
    let memo = Memo::new(1 << 30);
    kustomize::render_with_memo(&tree, "overlay", &options, &memo)?;
    let before = processor()?;
    let mut walls = Vec::new();
    let mut last = String::new();
    let deployments = files
        .iter()
        .filter(|(path, _)| path.contains("deployments-"));
    for (number, (path, text)) in (1..=CHANGES).zip(deployments.cycle()) {
        tree.add_file(
            path,
            text.replace("--listen=:8080", &format!("--listen=:{number}")),
        );
        let started = Instant::now();
        last = kustomize::render_with_memo(&tree, "overlay", &options, &memo)?.to_yaml();
        walls.push(started.elapsed());
    }
    let processor = (processor()? - before) / f64::from(CHANGES);
    walls.sort_unstable();
    let median = walls.get(walls.len() / 2).copied().unwrap_or(Duration::MAX);
    let started = Instant::now();
    let plain = kustomize::render(&tree, "overlay", &options)?.to_yaml();
    let without = started.elapsed();
    if plain != last {
        return Err("with the memo another output comes out".into());
    }
    Ok(format!(
        "| {} Deployments, full overlay, {} to a file | {:.1} ms | {:.1} ms | {} MiB | {:.1} ms |",
        shape.objects,
        shape.per_file,
        median.as_secs_f64() * 1e3,
        processor * 1e3,
        memo.bytes() >> 20,
        without.as_secs_f64() * 1e3,
    ))
}
