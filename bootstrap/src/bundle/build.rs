//! Builds what is missing of a bundle, several parts at once as memory and cores allow.
//!
//! Parts are finished one by one and kept, so an interrupted build continues where it stopped; a
//! part whose files are not what was built is built again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use fs_err as fs;

use super::cache::Cache;
use super::debian::Sources;
use super::images::{ImageSet, image_sets};
use super::make::{self, Site};
use super::manifest::{FileEntry, Manifest};
use super::prerequisites;
use super::recipe::{PARTS, Part, Planned};
use super::tree::SourceTree;
use crate::digest::ListHasher;
use crate::problem::{OrProblem, Problem, Problems};
use crate::reporter::{Reporter, Step};

/// Raise it when the bytes of an archive or the layout of a bundle change for the same parts.
const FORMAT: &str = "1";

/// What the source tree asks for.
struct Plan {
    parts: Vec<Planned>,
    /// Each with its key.
    sets: Vec<(ImageSet, String)>,
    key: String,
    debian: Sources,
}

impl Plan {
    fn of(tree: &SourceTree) -> Result<Self, Problem> {
        let debian = Sources::of_host()?;
        let parts: Vec<_> = PARTS
            .iter()
            .map(|part| part.plan(tree, &debian))
            .collect::<Result<_, _>>()?;
        let part_key = |hasher: ListHasher, name: &str| {
            let key = parts.iter().find(|planned| planned.part.name == name);
            hasher.with(name, key.map_or("", |planned| planned.key.as_str()))
        };
        let mut sets = Vec::new();
        let mut all = ListHasher::default().with("format", FORMAT);
        for set in image_sets(tree)? {
            let hasher = ListHasher::default()
                .with("format", FORMAT)
                .with("set", format!("{set:?}"));
            let key = set
                .inputs
                .iter()
                .fold(hasher, |hasher, name| part_key(hasher, name))
                .finish();
            all = all.with(set.name, &key);
            sets.push((set, key));
        }
        let key = parts
            .iter()
            .fold(all, |hasher, planned| part_key(hasher, planned.part.name));
        Ok(Self {
            key: key.finish(),
            parts,
            sets,
            debian,
        })
    }
}

/// The directory of the tree's bundle, complete and verified.
pub(super) fn ensure(
    cache: &Cache,
    tree: &SourceTree,
    reporter: &dyn Reporter,
) -> anyhow::Result<PathBuf> {
    let plan = Plan::of(tree)?;
    let directory = cache.bundle(&plan.key);
    if directory.is_dir() {
        match verify(&directory, reporter) {
            Ok(_) => {
                cache.set_current(&directory)?;
                return Ok(directory);
            }
            Err(damage) => {
                let damaged = damage
                    .downcast_ref::<Problems>()
                    .map_or(&[][..], Problems::list);
                for problem in damaged {
                    reporter.note(&problem.to_string());
                }
                reporter.note(&format!("building again: {damage:#}"));
            }
        }
    }
    let _lock = cache.lock(reporter)?;
    // Under the lock nobody else works there: what lies in it was interrupted.
    let scratch = cache.directory("tmp")?;
    fs::remove_dir_all(&scratch)?;
    fs::create_dir_all(&scratch)?;

    make_parts(&plan, cache, tree, reporter)?;
    for (set, key) in &plan.sets {
        make_images(set, key, &plan, cache, reporter)?;
    }
    assemble(&plan, cache, &directory)?;
    verify(&directory, reporter)?;
    cache.set_current(&directory)?;
    Ok(directory)
}

/// Reads a bundle's manifest and hashes every file.
pub(super) fn verify(directory: &Path, reporter: &dyn Reporter) -> anyhow::Result<Manifest> {
    let step = Step::start(reporter, "verify bundle");
    let manifest = Manifest::read(directory)?;
    manifest.verify(directory)?;
    step.finish(&format!("{} files", manifest.files.len()));
    Ok(manifest)
}

/// Whether a part or archive is in the cache as it was built.
pub(super) fn is_whole(directory: &Path) -> bool {
    Manifest::read(directory).is_ok_and(|manifest| manifest.verify(directory).is_ok())
}

fn make_parts(
    plan: &Plan,
    cache: &Cache,
    tree: &SourceTree,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    let place = |planned: &Planned| cache.part(planned.part.name, &planned.key);
    let mut missing: Vec<_> = plan
        .parts
        .iter()
        .filter(|planned| !is_whole(&place(planned)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let needed: Vec<&Part> = missing.iter().map(|planned| planned.part).collect();
    prerequisites::check(&needed, cache, &plan.debian)?;
    let kept = cache.directory("build")?;
    let site = Site {
        tree,
        debian: &plan.debian,
        kept: &kept,
    };
    let budget = Budget::of_host()?;
    let mut problems = Vec::new();

    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        let mut running = BTreeMap::new();
        loop {
            // After a failure what runs may end, but nothing new starts.
            while problems.is_empty() {
                let memory: Vec<u64> = running.values().map(|(memory, _)| *memory).collect();
                let next = missing
                    .iter()
                    .position(|next| budget.admits(next.part.memory, &memory));
                let Some(next) = next else { break };
                let planned = missing.remove(next);
                let (site, sender) = (&site, sender.clone());
                let worker = scope.spawn(move || {
                    // Tells that the thread ended, also if by a panic.
                    let _ending = Ending(planned.part.name, sender);
                    make_part(planned, site, cache, reporter)
                });
                running.insert(planned.part.name, (planned.part.memory, worker));
            }
            if running.is_empty() {
                break;
            }
            let Ok(name) = ended.recv() else { break };
            if let Some((_, worker)) = running.remove(name) {
                match worker.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(problem)) => problems.push(problem),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
    });
    match (problems.pop(), problems.is_empty()) {
        (None, _) => Ok(()),
        (Some(only), true) => Err(only.into()),
        (Some(last), false) => {
            problems.push(last);
            Ok(Problems::check(problems, |n| {
                format!("{n} parts of the bundle failed to build")
            })?)
        }
    }
}

/// Sends its name when it is dropped.
struct Ending(&'static str, mpsc::Sender<&'static str>);

impl Drop for Ending {
    fn drop(&mut self) {
        // The receiver lives until every worker has ended; were it gone, nobody would wait.
        self.1.send(self.0).unwrap_or_default();
    }
}

fn make_part(
    planned: &Planned,
    site: &Site<'_>,
    cache: &Cache,
    reporter: &dyn Reporter,
) -> Result<(), Problem> {
    let name = planned.part.name;
    let step = Step::start(reporter, name);
    let problem = || Problem::new(format!("failed to build {name} {}", planned.version));
    let log = cache.log(name)?;
    step.progress(&format!(
        "building {}, log {}",
        planned.version,
        log.display()
    ));
    // Each build has the log for itself.
    fs::write(&log, "").or_problem(problem)?;
    let into = cache.directory("tmp")?.join(name);
    fs::create_dir(&into).or_problem(problem)?;
    make::part(planned, site, &into, &log).or_problem(problem)?;
    cache.publish(&into, &cache.part(name, &planned.key))?;
    step.finish(&planned.version);
    Ok(())
}

fn make_images(
    set: &ImageSet,
    key: &str,
    plan: &Plan,
    cache: &Cache,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    let name = format!("images-{}", set.name);
    let place = cache.part(&name, key);
    if is_whole(&place) {
        return Ok(());
    }
    let step = Step::start(reporter, &name);
    let mut files: BTreeMap<PathBuf, (PathBuf, FileEntry)> = BTreeMap::new();
    for planned in plan
        .parts
        .iter()
        .filter(|planned| set.inputs.contains(&planned.part.name))
    {
        let directory = cache.part(planned.part.name, &planned.key);
        for file in Manifest::read(&directory)?.files {
            files.insert(file.path.clone(), (directory.join(&file.path), file));
        }
    }
    let find = |file: &Path| {
        let found = files.get(file).cloned();
        found.ok_or_else(|| Problem::new(format!("no part of {name} has {}", file.display())))
    };
    let into = cache.directory("tmp")?.join(&name);
    fs::create_dir(&into)?;
    make::images(set, key, &into, find)
        .or_problem(|| Problem::new(format!("failed to write the image archive {}", set.name)))?;
    cache.publish(&into, &place)?;
    step.finish(&format!("{} images", set.images.len()));
    Ok(())
}

/// Links the files of all parts into one directory. Layers stay behind: the archives hold them.
fn assemble(plan: &Plan, cache: &Cache, directory: &Path) -> anyhow::Result<()> {
    let into = cache.directory("tmp")?.join("bundle");
    let parts = plan
        .parts
        .iter()
        .map(|planned| cache.part(planned.part.name, &planned.key));
    let sets = plan
        .sets
        .iter()
        .map(|(set, key)| cache.part(&format!("images-{}", set.name), key));
    let key = plan.key.clone();
    let mut bundle = Manifest {
        key,
        parts: Vec::new(),
        files: Vec::new(),
        images: Vec::new(),
    };
    for place in parts.chain(sets) {
        let Manifest {
            key: _,
            parts,
            files,
            images,
        } = Manifest::read(&place)?;
        for file in files
            .into_iter()
            .filter(|file| !file.path.starts_with("layer"))
        {
            let to = into.join(&file.path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::hard_link(place.join(&file.path), to)?;
            let target = file.path.file_name().unwrap_or_default();
            for alias in file.alias_paths() {
                std::os::unix::fs::symlink(target, into.join(alias))?;
            }
            bundle.files.push(file);
        }
        bundle.parts.extend(parts);
        bundle.images.extend(images);
    }
    bundle.files.sort_by(|a, b| a.path.cmp(&b.path));
    bundle.write(&into)?;
    Ok(cache.publish(&into, directory)?)
}

/// How much may be built at once.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// MiB that are free now.
    memory: u64,
    /// Compilers use every core themselves; two at once on a small machine are not faster.
    slots: usize,
}

impl Budget {
    fn of_host() -> anyhow::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            memory: prerequisites::free_memory()?,
            slots: (cores / 2).max(1),
        })
    }

    /// Whether a build that takes `memory` may start beside the running ones. One always may.
    fn admits(self, memory: u64, running: &[u64]) -> bool {
        let used: u64 = running.iter().sum();
        running.is_empty() || (running.len() < self.slots && used + memory <= self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_cores_bound_what_runs() {
        let budget = |memory, slots| Budget { memory, slots };
        let cases: &[(Budget, u64, &[u64], bool)] = &[
            (budget(1000, 1), 3500, &[], true),
            (budget(8000, 1), 1000, &[3500], false),
            (budget(8000, 4), 1000, &[3500], true),
            (budget(4000, 4), 1000, &[3500], false),
            (budget(64_000, 2), 100, &[100, 100], false),
        ];
        for (budget, memory, running, expected) in cases {
            assert_eq!(
                budget.admits(*memory, running),
                *expected,
                "{budget:?} {memory} {running:?}"
            );
        }
    }

    #[test]
    fn keys_are_stable_and_cover_every_part_and_image() {
        let tree = SourceTree::locate().unwrap();
        let (one, two) = (Plan::of(&tree).unwrap(), Plan::of(&tree).unwrap());
        assert_eq!(one.key, two.key);
        let mut keys: Vec<&str> = one
            .parts
            .iter()
            .map(|planned| planned.key.as_str())
            .collect();
        keys.extend(one.sets.iter().map(|(_, key)| key.as_str()));
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all);
        for (set, _) in &one.sets {
            for input in set.inputs {
                assert!(
                    PARTS.iter().any(|part| part.name == *input),
                    "{input} is no part"
                );
            }
        }
    }
}
