//! What a native cluster could leave on a host, read twice and compared: processes, mounts, links,
//! addresses and routes, control groups, packet filter tables, host-wide settings, and the
//! directories that Kubernetes uses by default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;

use crate::process;

/// Directories that a kubelet or containerd of the host would own; ours must not touch them.
const DIRECTORIES: [&str; 9] = [
    "/etc/cni",
    "/etc/kubernetes",
    "/opt/cni",
    "/run/containerd",
    "/run/netns",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/pods",
];

/// Settings of the whole host that kubelet or a network would change.
const SETTINGS: [&str; 6] = [
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// A host at one moment: one line per thing, as `mount /path nsfs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    lines: BTreeSet<String>,
}

impl HostState {
    /// Reads the host.
    ///
    /// # Errors
    /// When a file of `/proc` cannot be read, or `ip` or `nft` fail.
    pub fn read() -> Result<Self> {
        let mut lines = BTreeSet::new();
        lines.extend(processes()?);
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        lines.extend(mounts(&mountinfo));
        for group in cgroup_mounts(&mountinfo) {
            below(&group, &mut lines)?;
        }
        for (what, command) in [
            ("address", &["ip", "-brief", "address"][..]),
            ("link", &["ip", "-brief", "link"]),
            ("route", &["ip", "route", "show", "table", "all"]),
            ("packet filter", &["nft", "list", "tables"]),
        ] {
            lines.extend(said(what, command)?);
        }
        for name in SETTINGS {
            let value = fs::read_to_string(Path::new("/proc/sys").join(name))?;
            lines.insert(format!("setting {name} = {}", value.trim()));
        }
        let there = DIRECTORIES.iter().filter(|path| Path::new(path).exists());
        lines.extend(there.map(|path| format!("directory {path}")));
        Ok(Self { lines })
    }

    /// Reads the host again and compares it with what it was `before` a cluster came and went.
    ///
    /// # Errors
    /// What has changed, or why the host cannot be read.
    pub fn ensure_unchanged_since(before: &Self) -> Result<()> {
        let after = Self::read()?;
        let changed = [after.added_since(before), after.removed_since(before)].concat();
        ensure!(
            changed.is_empty(),
            "`down` changed the host:\n{}",
            changed.join("\n")
        );
        Ok(())
    }

    /// What is there now and was not `before`.
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.lines.difference(&before.lines).cloned().collect()
    }

    /// What was there `before` and is not now, except processes: those of others may end.
    pub fn removed_since(&self, before: &Self) -> Vec<String> {
        let gone = before.lines.difference(&self.lines);
        gone.filter(|line| !line.starts_with("process "))
            .cloned()
            .collect()
    }
}

/// Processes that are not of this system proper: in other namespaces than this one, or started
/// with a path of ours.
fn processes() -> Result<BTreeSet<String>> {
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}"));
    let (own_mounts, own_pids) = (own("mnt")?, own("pid")?);
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.path();
        let pid = directory.file_name().and_then(|name| name.to_str());
        let Some(pid) = pid.and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while it is looked at, and then is not there.
        let Ok(arguments) = fs::read(directory.join("cmdline")) else {
            continue;
        };
        let namespace = |kind: &str| fs::read_link(directory.join("ns").join(kind)).ok();
        let elsewhere = namespace("mnt").is_some_and(|its| its != own_mounts)
            || namespace("pid").is_some_and(|its| its != own_pids);
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let ours = arguments.contains("immuops") && pid != std::process::id();
        if !arguments.is_empty() && (elsewhere || ours) {
            lines.insert(format!("process {pid} {}", arguments.trim()));
        }
    }
    Ok(lines)
}

/// Mount points with their file systems.
fn mounts(mountinfo: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let (path, kind) = (left.split(' ').nth(4)?, right.split(' ').next()?);
        Some(format!("mount {path} {kind}"))
    };
    mountinfo.lines().filter_map(line).collect()
}

fn cgroup_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let path = left.split(' ').nth(4)?;
        right.starts_with("cgroup").then(|| PathBuf::from(path))
    };
    mountinfo.lines().filter_map(line).collect()
}

/// Every control group below one.
fn below(group: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            lines.insert(format!("cgroup {}", entry.path().display()));
            below(&entry.path(), lines)?;
        }
    }
    Ok(())
}

fn said(what: &str, words: &[&str]) -> Result<BTreeSet<String>> {
    let (program, arguments) = words.split_first().context("an empty command")?;
    let text = process::text(Command::new(program).args(arguments), None)?;
    Ok(text
        .lines()
        .map(|line| format!("{what} {}", line.trim()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_went() {
        let state = |lines: &[&str]| HostState {
            lines: lines.iter().map(ToString::to_string).collect(),
        };
        let before = state(&["link eth0", "link docker0", "process 7 immuops"]);
        let after = state(&["link eth0", "link immuops-lan"]);
        assert_eq!(after.added_since(&before), ["link immuops-lan"]);
        assert_eq!(after.removed_since(&before), ["link docker0"]);
        assert!(before.added_since(&before).is_empty());
    }

    #[test]
    fn mounts_are_named_by_place_and_kind() {
        let mountinfo = "36 25 0:22 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids\n";
        let lines: Vec<_> = mounts(mountinfo).into_iter().collect();
        assert_eq!(lines, ["mount /sys/fs/cgroup/pids cgroup"]);
        assert_eq!(
            cgroup_mounts(mountinfo),
            [PathBuf::from("/sys/fs/cgroup/pids")]
        );
    }
}
