//! Processes, and what they cost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kustomize::{MemoryTree, Options};

use crate::Failure;

/// Builds of one tree; wall time is that of the fastest, processor time the mean of all.
const ROUNDS: u32 = 5;

/// What one build costs, in seconds and KiB.
pub(crate) struct Measured {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
    pub(crate) peak_kib: u64,
}

/// Measures builds of a folder in a process of its own.
pub(crate) fn measured(folder: &Path) -> Result<Measured, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--build")
        .arg(folder)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace();
    let mut next = || numbers.next().ok_or("the measuring process failed");
    Ok(Measured {
        wall: next()?.parse()?,
        processor: next()?.parse()?,
        peak_kib: next()?.parse()?,
    })
}

/// The measuring process: its memory is the files, one build and its output.
pub(crate) fn build(folder: &Path) -> Result<(), Failure> {
    let mut tree = MemoryTree::new();
    for part in ["base", "overlay"] {
        for entry in fs_err::read_dir(folder.join(part))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            tree.add_file(&format!("{part}/{name}"), fs_err::read(entry.path())?);
        }
    }
    let before = processor()?;
    let mut wall = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        kustomize::render(&tree, "overlay", &Options::default())?.to_yaml();
        wall = wall.min(started.elapsed());
    }
    let processor = (processor()? - before) / f64::from(ROUNDS);
    let line = format!("{} {processor} {}\n", wall.as_secs_f64(), peak_kib()?);
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())?;
    Ok(())
}

/// Wall time of a command whose output nobody reads, in seconds; the better of two runs.
pub(crate) fn wall(words: &[&Path]) -> Result<f64, Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("no command".into());
    };
    let mut best = f64::INFINITY;
    for _ in 0..2 {
        let started = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!("{} ends with {status}", program.display()).into());
        }
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Processor time of this process and its threads so far, in seconds, to a hundredth.
pub(crate) fn processor() -> Result<f64, Failure> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs_err::read_to_string("/proc/self/stat")?;
    // Behind the name in brackets, which may hold anything; fields 14 and 15 of the file.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn peak_kib() -> Result<u64, Failure> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or("the kernel does not say VmHWM")?.parse()?)
}
