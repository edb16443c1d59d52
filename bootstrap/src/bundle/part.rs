//! Makes one part of what only some clusters need, once, and keeps it in the cache.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::build;
use super::cache::Cache;
use super::manifest::{FileEntry, Manifest, PartEntry, Source};
use crate::digest;
use crate::problem::{OrProblem, Problem};
use crate::reporter::{Reporter, Step};

/// What a part is, before it is made.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Unique; also the name of its log.
    pub(super) name: &'a str,
    /// Equal keys, equal recipe and sources.
    pub(super) key: &'a str,
    /// The version of what it is made from.
    pub(super) version: &'a str,
}

/// What came out, relative to where it was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) source: Source,
    pub(super) files: Vec<PathBuf>,
}

/// Where a part is being made.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    /// Becomes the part.
    pub(super) into: &'a Path,
    /// Gone afterwards.
    pub(super) scratch: &'a Path,
    /// Where programs write to.
    pub(super) log: &'a Path,
    /// Says what is being done.
    pub(super) step: &'a Step<'a>,
}

/// The directory of a part: found whole in the cache, or made now by `make`.
///
/// # Errors
/// When it cannot be made.
pub(super) fn ensure(
    cache: &Cache,
    wanted: &Wanted<'_>,
    reporter: &dyn Reporter,
    make: impl FnOnce(&Bench<'_>) -> anyhow::Result<Made>,
) -> anyhow::Result<PathBuf> {
    let Wanted { name, key, version } = *wanted;
    let place = cache.part(name, key);
    if build::is_whole(&place) {
        return Ok(place);
    }
    let _lock = cache.lock(reporter)?;
    if build::is_whole(&place) {
        return Ok(place);
    }
    let step = Step::start(reporter, name);
    let log = cache.log(name)?;
    let problem = || Problem::new(format!("failed to build {name} {version}"));
    fs::write(&log, "")?;
    let into = cache.directory("tmp")?.join(name);
    if into.exists() {
        fs::remove_dir_all(&into)?;
    }
    fs::create_dir(&into)?;
    let scratch = tempfile::tempdir_in(&into)?;
    let bench = Bench {
        into: &into,
        scratch: scratch.path(),
        log: &log,
        step: &step,
    };
    let Made { source, files } = make(&bench).or_problem(problem)?;
    scratch.close()?;
    let file = |path: PathBuf| -> anyhow::Result<FileEntry> {
        let sum = digest::of_file(&into.join(&path))?;
        Ok(FileEntry {
            part: name.to_owned(),
            path,
            size: sum.size,
            sha256: sum.hex,
            aliases: Vec::new(),
        })
    };
    Manifest {
        key: key.to_owned(),
        parts: vec![PartEntry {
            name: name.to_owned(),
            version: version.to_owned(),
            key: key.to_owned(),
            source,
        }],
        files: files.into_iter().map(file).collect::<Result<_, _>>()?,
        images: Vec::new(),
    }
    .write(&into)?;
    cache.publish(&into, &place)?;
    step.finish(version);
    Ok(place)
}
