//! What this machine must have before a bundle can be built, checked all at once.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::cache::Cache;
use super::debian::Sources;
use super::recipe::{Linking, Part, Recipe};
use crate::problem::{OrProblem, Problem, Problems};

/// Where Debian keeps programs that are not in everybody's `PATH`.
const SYSTEM_PATHS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A program that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prerequisite {
    /// The command.
    pub program: &'static str,
    /// What it is for, as in `to build the agent`.
    pub purpose: &'static str,
    /// How to get it.
    pub remedy: &'static str,
}

const GO: Prerequisite = Prerequisite {
    program: "go",
    purpose: "to build Kubernetes, containerd, CoreDNS, immudb, Prometheus and Gitea",
    remedy: "install Go 1.26 or newer",
};
const CARGO: Prerequisite = Prerequisite {
    program: "cargo",
    purpose: "to build the agent",
    remedy: "install Rust 1.95 or newer with rustup",
};
pub(super) const RUSTC: Prerequisite = Prerequisite {
    program: "rustc",
    purpose: "to build programs of one file",
    remedy: "install Rust 1.95 or newer with rustup",
};
pub(super) const GCC: Prerequisite = Prerequisite {
    program: "gcc",
    purpose: "to link Gitea, the agent and pause",
    remedy: "install the Debian packages gcc and libc6-dev",
};
pub(super) const MMDEBSTRAP: Prerequisite = Prerequisite {
    program: "mmdebstrap",
    purpose: "to unpack Debian packages",
    remedy: "install the Debian package mmdebstrap",
};

const PIP: Prerequisite = Prerequisite {
    program: "pip3",
    purpose: "to get Traefik",
    remedy: "install the Debian package python3-pip",
};

pub(super) const NEWUIDMAP: Prerequisite = Prerequisite {
    program: "newuidmap",
    purpose: "to unpack images without root",
    remedy: "install the Debian package uidmap and give this user a range in /etc/subuid and /etc/subgid",
};

/// The oldest Go that builds every wrapper module.
const GO_VERSION: (u32, u32) = (1, 26);

/// MiB of disk that a cold build takes: parts, archives, and what the compilers keep.
const COLD_DISK: u64 = 9 << 10;
/// MiB of disk to build one part more.
const WARM_DISK: u64 = 3 << 10;

/// Whether the parts in `needed` can be built here.
///
/// # Errors
/// Everything that is missing.
pub(super) fn check(needed: &[&Part], cache: &Cache, debian: &Sources) -> anyhow::Result<()> {
    let mut programs: Vec<Prerequisite> = needed.iter().flat_map(|part| programs(part)).collect();
    programs.sort_unstable();
    programs.dedup();
    let mut problems: Vec<Problem> = programs.iter().filter_map(missing).collect();
    if programs.contains(&GO) && find_program("go").is_some() {
        problems.extend(check_go().err());
    }
    if programs.contains(&GCC) && find_program("gcc").is_some() {
        problems.extend(check_static_c().err());
    }
    if needed
        .iter()
        .any(|part| matches!(part.recipe, Recipe::Debian(_)))
        && debian.is_empty()
    {
        problems.push(
            Problem::new(
                "apt has no sources of a Debian release here, needed to get git for Gitea's image",
            )
            .hint("build on Debian, or add its sources to /etc/apt/sources.list.d"),
        );
    }
    let memory = free_memory()?;
    if let Some(part) = needed
        .iter()
        .filter(|part| part.memory > memory)
        .max_by_key(|part| part.memory)
    {
        let text = format!(
            "{} takes {} MiB of memory to build; {memory} MiB are free",
            part.name, part.memory
        );
        problems.push(Problem::new(text).hint("end other programs or add swap"));
    }
    let disk = if needed.len() > 3 {
        COLD_DISK
    } else {
        WARM_DISK
    };
    let free = free_disk(&cache.directory("")?)?;
    if free < disk {
        let text = format!(
            "building takes {disk} MiB of disk; {} has {free} MiB",
            cache.root().display()
        );
        problems.push(Problem::new(text).hint("free some, or set XDG_CACHE_HOME to another disk"));
    }
    Ok(Problems::check(problems, |n| {
        let things = if n == 1 {
            "prerequisite"
        } else {
            "prerequisites"
        };
        format!("this machine lacks {n} {things} to build the bundle")
    })?)
}

/// What a part is built with.
fn programs(part: &Part) -> Vec<Prerequisite> {
    match &part.recipe {
        Recipe::Go(go) if go.linking == Linking::StaticC => vec![GO, GCC],
        Recipe::Go(_) => vec![GO],
        Recipe::Rustc(_) => vec![RUSTC, GCC],
        Recipe::Cargo(_) => vec![CARGO, GCC],
        Recipe::Debian(_) => vec![MMDEBSTRAP],
        Recipe::Wheel(_) => vec![PIP],
    }
}

/// The problem, if `wanted` is not here.
pub fn missing(wanted: &Prerequisite) -> Option<Problem> {
    let Prerequisite {
        program,
        purpose,
        remedy,
    } = wanted;
    find_program(program)
        .is_none()
        .then(|| Problem::new(format!("no program `{program}`, needed {purpose}")).hint(*remedy))
}

/// Looks a program up as a shell would, and where Debian keeps those of administrators.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    places
        .map(|directory| directory.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn check_go() -> Result<(), Problem> {
    let problem = || Problem::new("cannot ask `go` for its version").hint(GO.remedy);
    let output = super::command::command("go")
        .arg("version")
        .output()
        .or_problem(problem)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = go_version(&text).ok_or_else(problem)?;
    if version >= GO_VERSION {
        return Ok(());
    }
    Err(Problem::new(format!("Go {}.{} is too old", version.0, version.1)).hint(GO.remedy))
}

/// Every program is linked statically, so the C library must be there as an archive.
fn check_static_c() -> Result<(), Problem> {
    let problem = || Problem::new("cannot ask `gcc` for its libraries").hint(GCC.remedy);
    let mut ask = super::command::command("gcc");
    let output = ask
        .arg("-print-file-name=libc.a")
        .output()
        .or_problem(problem)?;
    // It answers with the bare name when it finds nothing.
    if Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_absolute() {
        return Ok(());
    }
    Err(
        Problem::new("no static C library `libc.a`, needed to link programs that run on any host")
            .hint("install the Debian package libc6-dev"),
    )
}

/// Major and minor from `go version go1.26.8 linux/amd64`.
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .split_whitespace()
        .nth(2)?
        .strip_prefix("go")?
        .split('.');
    let digits = |word: &str| {
        word.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    };
    Some((
        numbers.next()?.parse().ok()?,
        digits(numbers.next()?).parse().ok()?,
    ))
}

/// MiB of memory that programs can still get, swap included.
pub(super) fn free_memory() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    Ok(["MemAvailable:", "SwapFree:"]
        .iter()
        .map(|name| kibibytes(&text, name))
        .sum::<u64>()
        >> 10)
}

fn kibibytes(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// MiB that are free where `directory` lies.
fn free_disk(directory: &Path) -> anyhow::Result<u64> {
    let disk = rustix::fs::statvfs(directory)
        .or_problem(|| Problem::new(format!("cannot see how full {} is", directory.display())))?;
    Ok((disk.f_bavail * disk.f_frsize) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go() {
        let cases = [
            ("go version go1.26.8 linux/amd64\n", Some((1, 26))),
            ("go version go1.27rc1 linux/amd64", Some((1, 27))),
            ("go version devel", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(go_version(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_missing_program_says_what_it_is_for() {
        let wanted = Prerequisite {
            program: "no-such-program",
            ..MMDEBSTRAP
        };
        let problem = missing(&wanted).unwrap();
        assert_eq!(
            problem.to_string(),
            "no program `no-such-program`, needed to unpack Debian packages"
        );
        assert_eq!(
            problem.hint_text(),
            Some("install the Debian package mmdebstrap")
        );
        assert_eq!(
            missing(&Prerequisite {
                program: "sh",
                ..MMDEBSTRAP
            })
            .map(|p| p.to_string()),
            None
        );
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        let text = "MemTotal: 100 kB\nMemAvailable:    2048 kB\nSwapFree: 1024 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), 2048);
        assert_eq!(kibibytes(text, "Absent:"), 0);
        assert!(free_memory().unwrap() > 0);
    }
}
