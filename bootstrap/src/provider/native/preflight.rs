//! Checks whether this host can carry a native cluster, and says everything that is wrong at once.
//! Changes nothing.

use std::path::Path;

use fs_err as fs;

use super::cgroup;
use crate::network::{Switch, clash, link_exists};
use crate::problem::{Problem, Problems};
use crate::provider::room;
use crate::state::StateDirectory;
use crate::topology::Topology;

/// Memory in MiB that a new cluster needs: about 1.3 GiB are in use when it idles.
const MEMORY: u64 = 2 << 10;
/// Disk in MiB that a new cluster needs: images and their containers on two nodes, and room for data.
const DISK: u64 = 5 << 10;

/// Programs of the host that are used, and the Debian package that has each.
const PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("kill", "procps"),
    ("mount", "mount"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
];

/// Checks everything and returns what kind of control groups the host has.
///
/// # Errors
/// All problems, each with what to do.
pub fn check(state: &StateDirectory, topology: &Topology) -> anyhow::Result<cgroup::Host> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            Problem::new("the native provider needs root: it makes namespaces and mounts")
                .hint("run it with sudo")
                .into(),
        );
    }
    let mut problems = Vec::new();
    problems.extend(missing_programs());
    problems.extend(kernel()?);
    let exists = state.read()?.is_some();
    if !exists {
        problems.extend(memory(&fs::read_to_string("/proc/meminfo")?));
        problems.extend(disk(state.path()));
        let lan = topology.lan();
        if link_exists(&lan) && !Switch::new(topology, state.path()).exists() {
            problems.push(
                Problem::new(format!(
                    "a link {lan} is on this host and belongs to something else"
                ))
                .hint(format!(
                    "choose another --name, or remove it: `ip link del {lan}`"
                )),
            );
        }
    }
    if problems
        .iter()
        .all(|problem| !problem.to_string().starts_with("no program `ip`"))
    {
        for clash in clash::with_this_host(&topology.ranges, &topology.lan())? {
            let clash::Clash {
                what,
                range,
                host,
                link,
            } = clash;
            let flag = what.trim_end_matches('s').to_lowercase();
            problems.push(
                Problem::new(format!(
                    "range {range} of the {what} is in use: this host has {host} on {link}"
                ))
                .hint(format!("choose a free range: --{flag}-cidr")),
            );
        }
    }
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let systemd = Path::new("/run/systemd/system").exists();
    let host = match cgroup::detect(&mountinfo, systemd) {
        Ok(host) => Some(host),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    Problems::check(problems, |count| match count {
        1 => "this host cannot carry the cluster for one reason".into(),
        _ => format!("this host cannot carry the cluster for {count} reasons"),
    })?;
    Ok(host.ok_or_else(|| Problem::new("no control groups"))?)
}

fn missing_programs() -> impl Iterator<Item = Problem> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let exists = move |program: &str| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    PROGRAMS
        .into_iter()
        .filter(move |(program, _)| !exists(program))
        .map(|(program, package)| {
            Problem::new(format!("no program `{program}`")).hint(format!(
                "install the Debian package {package}, or add /usr/sbin to PATH"
            ))
        })
}

/// Kernel features without which nothing would start, each asked for without changing anything.
fn kernel() -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let filesystems = fs::read_to_string("/proc/filesystems")?;
    let has = |wanted: &str| filesystems.split_whitespace().any(|name| name == wanted);
    if !has("overlay") && !module_exists("overlay") {
        problems.push(
            Problem::new("the kernel has no overlay file system, which containers need")
                .hint("load it: `modprobe overlay`"),
        );
    }
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        if !Path::new("/proc/self/ns").join(kind).exists() {
            problems.push(
                Problem::new(format!("the kernel has no {kind} namespaces"))
                    .hint("boot a kernel with namespaces, as Debian's"),
            );
        }
    }
    Ok(problems)
}

/// Whether the kernel can load a module when it is first asked for.
fn module_exists(name: &str) -> bool {
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else {
        return false;
    };
    let list = Path::new("/lib/modules")
        .join(release.trim())
        .join("modules.dep");
    fs::read_to_string(list).is_ok_and(|text| text.contains(&format!("/{name}.ko")))
}

fn memory(meminfo: &str) -> Option<Problem> {
    let available = room::memory(meminfo)?;
    (available < MEMORY).then(|| {
        Problem::new(format!(
            "{available} MiB of memory are free, {MEMORY} MiB are needed"
        ))
        .hint("end other programs, or use a larger host")
    })
}

fn disk(state: &Path) -> Option<Problem> {
    let (free, place) = room::disk(state)?;
    (free < DISK).then(|| {
        Problem::new(format!(
            "{free} MiB of disk are free in {}, {DISK} MiB are needed",
            place.display()
        ))
        .hint("make room, or use another disk: --state-dir DIR")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory() {
        let cases = [
            ("MemTotal: 1 kB\nMemAvailable:    2097152 kB\n", None),
            (
                "MemAvailable:    1048576 kB\n",
                Some("1024 MiB of memory are free, 2048 MiB are needed"),
            ),
            // A kernel that does not say is not a reason to refuse.
            ("MemTotal: 1 kB\n", None),
        ];
        for (meminfo, expected) in cases {
            let problem = memory(meminfo).map(|problem| problem.to_string());
            assert_eq!(problem.as_deref(), expected, "{meminfo:?}");
        }
    }
}
