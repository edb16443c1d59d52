//! Where a machine's control groups live on this host: decided here and nowhere else.
//!
//! Each machine gets a group of its own and then a cgroup namespace, so that inside it `/` is that
//! group: kubelet and runc need no special root, and two machines cannot see each other's pods.
//! Three kinds of host differ in who may make that group:
//!
//! - cgroup v1: one directory in every mounted hierarchy, at its root;
//! - cgroup v2 under systemd: systemd owns the tree, so a transient scope with `Delegate=yes` is
//!   asked for and the group is made inside it (<https://systemd.io/CGROUP_DELEGATION/>);
//! - cgroup v2 alone: one directory at the root, with the controllers switched on along the way.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use crate::problem::{OrProblem, Problem};
use crate::topology::{ClusterName, NodeName};

/// The v2 controllers that kubelet needs.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Where cgroups are mounted inside a machine.
const MOUNT: &str = "/sys/fs/cgroup";

/// One mounted v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hierarchy {
    /// Where the host has it mounted.
    pub mount: PathBuf,
    /// What is mounted there, as mount options: `cpu,cpuacct` or `none,name=systemd`.
    pub options: String,
}

/// What kind of host this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// cgroup v1, with or without systemd.
    V1(Vec<Hierarchy>),
    /// cgroup v2 that nobody manages, mounted here.
    V2(PathBuf),
    /// cgroup v2 managed by systemd, mounted here.
    V2Systemd(PathBuf),
}

/// Where the group of one machine goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placement {
    /// In each hierarchy of v1, at this path below its mount.
    V1 {
        /// The hierarchies.
        hierarchies: Vec<Hierarchy>,
        /// The path below each mount, as in `immuops/n1`.
        path: PathBuf,
    },
    /// In the v2 tree, at this path below its mount.
    V2 {
        /// Where the tree is mounted.
        mount: PathBuf,
        /// The path below it, as in `immuops/n1`.
        path: PathBuf,
    },
    /// In a scope that systemd makes.
    Scope {
        /// Where the v2 tree is mounted.
        mount: PathBuf,
        /// The first part of the unit, as in `immuops-n1`.
        unit: String,
    },
}

/// Reads what kind of host this is from `/proc/self/mountinfo` and from whether systemd runs
/// (`/run/systemd/system` exists, see `sd_booted(3)`).
///
/// # Errors
/// When no cgroup file system is mounted, or v1 lacks a controller that kubelet needs.
pub fn detect(mountinfo: &str, systemd: bool) -> Result<Host, Problem> {
    let mut hierarchies = Vec::new();
    let mut unified = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount) = left.split(' ').nth(4).map(PathBuf::from) else {
            continue;
        };
        let mut right = right.split(' ');
        match (right.next(), right.nth(1)) {
            (Some("cgroup2"), _) => unified = Some(mount),
            (Some("cgroup"), Some(options)) => {
                let named = options.split(',').any(|option| option.starts_with("name="));
                let options = options
                    .split(',')
                    .filter(|option| is_hierarchy_option(option));
                let options = options.collect::<Vec<_>>().join(",");
                let options = if named {
                    format!("none,{options}")
                } else {
                    options
                };
                hierarchies.push(Hierarchy { mount, options });
            }
            _ => {}
        }
    }
    if hierarchies.is_empty() {
        let mount = unified.ok_or_else(|| {
            Problem::new("no cgroup file system is mounted")
                .hint("mount one: `mount -t cgroup2 none /sys/fs/cgroup`")
        })?;
        return Ok(if systemd {
            Host::V2Systemd(mount)
        } else {
            Host::V2(mount)
        });
    }
    let has = |controller: &str| {
        hierarchies
            .iter()
            .any(|one| one.options.split(',').any(|option| option == controller))
    };
    let missing: Vec<_> = ["cpu", "cpuacct", "cpuset", "memory", "pids"]
        .into_iter()
        .filter(|controller| !has(controller))
        .collect();
    if missing.is_empty() {
        Ok(Host::V1(hierarchies))
    } else {
        Err(
            Problem::new(format!("no cgroup v1 hierarchy has {}", missing.join(", ")))
                .hint("boot a kernel with these controllers, or with cgroup v2"),
        )
    }
}

/// Whether a mount option names a controller or a hierarchy, not a way of mounting.
fn is_hierarchy_option(option: &str) -> bool {
    !matches!(
        option,
        "rw" | "ro" | "xattr" | "clone_children" | "noprefix"
    ) && !option.starts_with("release_agent=")
}

/// Reads what kind of host this one is.
///
/// # Errors
/// As [`detect`].
pub fn detect_here() -> anyhow::Result<Host> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(detect(
        &mountinfo,
        Path::new("/run/systemd/system").exists(),
    )?)
}

impl Host {
    /// Decides where the group of a machine goes.
    pub fn place(&self, cluster: &ClusterName, node: &NodeName) -> Placement {
        let path = Path::new(cluster.as_str()).join(node.as_str());
        match self {
            Self::V1(hierarchies) => Placement::V1 {
                hierarchies: hierarchies.clone(),
                path,
            },
            Self::V2(mount) => Placement::V2 {
                mount: mount.clone(),
                path,
            },
            Self::V2Systemd(mount) => Placement::Scope {
                mount: mount.clone(),
                unit: format!("{cluster}-{node}"),
            },
        }
    }
}

impl Placement {
    /// The words to put before the command that starts the machine. `launcher` is the process id of
    /// whoever starts it: a scope that is just ending keeps its name for a moment, so each start
    /// uses another.
    pub fn launcher(&self, launcher: u32) -> Vec<String> {
        match self {
            Self::V1 { .. } | Self::V2 { .. } => Vec::new(),
            Self::Scope { unit, .. } => {
                let unit = format!("--unit={unit}-{launcher}.scope");
                [
                    "systemd-run",
                    "--scope",
                    "--quiet",
                    "--collect",
                    "--property=Delegate=yes",
                ]
                .into_iter()
                .chain([unit.as_str()])
                .map(String::from)
                .collect()
            }
        }
    }

    /// The directories that are the machine's group.
    ///
    /// # Errors
    /// When the group that this process is in cannot be read.
    fn groups(&self) -> anyhow::Result<Vec<PathBuf>> {
        Ok(match self {
            Self::V1 { hierarchies, path } => {
                hierarchies.iter().map(|one| one.mount.join(path)).collect()
            }
            Self::V2 { mount, path } => vec![mount.join(path)],
            // The launcher moved into `launcher`, beside the machine's own group.
            Self::Scope { mount, .. } => vec![scope(mount)?.join("machine")],
        })
    }

    /// Makes the group. Runs in the launched process, before its namespaces.
    ///
    /// # Errors
    /// When the kernel refuses; on v2 mostly because the group above still has processes in it.
    pub fn make(&self) -> anyhow::Result<()> {
        if let Self::Scope { mount, .. } = self {
            // No processes beside groups: the scope itself must become empty first.
            let launcher = scope(mount)?.join("launcher");
            fs::create_dir_all(&launcher)?;
            fs::write(launcher.join("cgroup.procs"), "0")?;
        }
        for group in self.groups()? {
            fs::create_dir_all(&group)?;
            match self {
                Self::V1 { .. } => fill_cpuset(&group)?,
                Self::V2 { mount, .. } => enable_controllers_down_to(mount, &group)?,
                Self::Scope { .. } => {
                    enable_controllers(group.parent().unwrap_or(&group))?;
                }
            }
        }
        Ok(())
    }

    /// Moves this process into the group. Works across PID namespaces: 0 means "me".
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> anyhow::Result<()> {
        for group in self.groups()? {
            fs::write(group.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Mounts the group as the whole tree of the machine at `<root>/sys/fs/cgroup`. Runs inside the
    /// machine's cgroup namespace.
    ///
    /// # Errors
    /// When the kernel refuses a mount.
    pub fn mount(&self, root: &Path) -> anyhow::Result<()> {
        let at = root.join(MOUNT.trim_start_matches('/'));
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match self {
            Self::V1 { hierarchies, .. } => {
                mount("tmpfs", &at, "tmpfs", flags, Some(c"mode=755,size=1m"))?;
                for hierarchy in hierarchies {
                    let Some(name) = hierarchy.mount.file_name() else {
                        continue;
                    };
                    let directory = at.join(name);
                    fs::create_dir_all(&directory)?;
                    let options = std::ffi::CString::new(hierarchy.options.as_str())?;
                    mount(
                        "cgroup",
                        &directory,
                        "cgroup",
                        flags,
                        Some(options.as_c_str()),
                    )
                    .or_problem(|| {
                        Problem::new(format!("failed to mount cgroup {}", hierarchy.options))
                    })?;
                }
            }
            Self::V2 { .. } | Self::Scope { .. } => {
                mount("cgroup2", &at, "cgroup2", flags, None)
                    .or_problem(|| Problem::new("failed to mount cgroup2"))?;
                // kubelet makes groups in `/`, so no process may stay in it.
                let own = at.join("machine");
                fs::create_dir_all(&own)?;
                fs::write(own.join("cgroup.procs"), "0")?;
                enable_controllers(&at)?;
            }
        }
        Ok(())
    }

    /// The directories to remove when the machine is gone, seen from the host: the machine's own
    /// group in every hierarchy. A scope is removed by systemd.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        match self {
            Self::V1 { hierarchies, path } => {
                hierarchies.iter().map(|one| one.mount.join(path)).collect()
            }
            Self::V2 { mount, path } => vec![mount.join(path)],
            Self::Scope { .. } => Vec::new(),
        }
    }
}

/// The directory of the scope that this process was started in, or below which it has moved.
fn scope(mount: &Path) -> anyhow::Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let path = unified_path(&own)
        .ok_or_else(|| Problem::new("this process is in no cgroup of the v2 tree"))?;
    let path = path.strip_suffix("/launcher").unwrap_or(path);
    Ok(mount.join(path.trim_start_matches('/')))
}

/// The v2 path in the text of `/proc/self/cgroup`.
fn unified_path(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

/// A new v1 cpuset is empty and takes no process until it names CPUs and memory nodes.
fn fill_cpuset(group: &Path) -> anyhow::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = group.join(file);
        if !own.exists() {
            continue;
        }
        // The group above is new as well: fill from the top down.
        let above = group.parent().map(Path::to_owned).unwrap_or_default();
        let mut value = fs::read_to_string(above.join(file))?;
        if value.trim().is_empty() {
            fill_cpuset(&above)?;
            value = fs::read_to_string(above.join(file))?;
        }
        if fs::read_to_string(&own)?.trim().is_empty() {
            fs::write(&own, value.trim())?;
        }
    }
    Ok(())
}

fn enable_controllers_down_to(mount: &Path, group: &Path) -> anyhow::Result<()> {
    let mut above: Vec<&Path> = group
        .ancestors()
        .skip(1)
        .take_while(|directory| directory.starts_with(mount))
        .collect();
    above.reverse();
    above.into_iter().try_for_each(enable_controllers)
}

/// Switches on every controller that kubelet needs for the groups below `group`.
fn enable_controllers(group: &Path) -> anyhow::Result<()> {
    let available = fs::read_to_string(group.join("cgroup.controllers"))?;
    let wanted = CONTROLLERS
        .iter()
        .filter(|wanted| available.split_whitespace().any(|one| one == **wanted))
        .map(|controller| format!("+{controller}"))
        .collect::<Vec<_>>()
        .join(" ");
    fs::write(group.join("cgroup.subtree_control"), wanted).or_problem(|| {
        Problem::new(format!("failed to switch on cgroup controllers in {}", group.display()))
            .hint("move the processes of that group into one below it; a container needs a cgroup namespace of its own that is empty at the top")
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
24 22 0:21 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
27 24 0:24 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
28 24 0:25 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
29 24 0:26 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
30 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
31 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const V2: &str = "\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
24 22 0:21 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn kinds_of_hosts() {
        let cases = [
            ("v2 with systemd", V2, true, "V2Systemd(\"/sys/fs/cgroup\")"),
            ("v2 without systemd", V2, false, "V2(\"/sys/fs/cgroup\")"),
        ];
        for (case, mountinfo, systemd, expected) in cases {
            let host = detect(mountinfo, systemd).unwrap();
            assert_eq!(format!("{host:?}"), expected, "{case}");
        }
        // A v1 host with systemd is hybrid: the controllers are in v1, so v1 it is.
        for systemd in [false, true] {
            let Host::V1(hierarchies) = detect(V1, systemd).unwrap() else {
                panic!("v1, systemd {systemd}");
            };
            let options: Vec<_> = hierarchies.iter().map(|one| one.options.as_str()).collect();
            let expected = [
                "cpu,cpuacct",
                "cpuset",
                "memory",
                "pids",
                "none,name=systemd",
            ];
            assert_eq!(options, expected, "systemd {systemd}");
        }
    }

    #[test]
    fn hosts_that_cannot_work_say_why() {
        let without_pids = V1.replace("rw,pids", "rw,net_cls");
        let cases = [
            ("", "no cgroup file system is mounted"),
            (without_pids.as_str(), "no cgroup v1 hierarchy has pids"),
        ];
        for (mountinfo, message) in cases {
            assert_eq!(detect(mountinfo, true).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn each_machine_has_its_own_place() {
        let cluster = "immuops".parse().unwrap();
        let node = "n2".parse().unwrap();
        let place = |mountinfo, systemd| detect(mountinfo, systemd).unwrap().place(&cluster, &node);
        let v1 = place(V1, false);
        assert_eq!(v1.launcher(7), Vec::<String>::new());
        assert!(
            v1.leftovers()
                .contains(&PathBuf::from("/sys/fs/cgroup/pids/immuops/n2"))
        );
        let v2 = place(V2, false);
        assert_eq!(v2.leftovers(), [PathBuf::from("/sys/fs/cgroup/immuops/n2")]);
        let scope = place(V2, true);
        assert_eq!(
            scope.launcher(7).join(" "),
            "systemd-run --scope --quiet --collect --property=Delegate=yes --unit=immuops-n2-7.scope"
        );
        assert!(scope.leftovers().is_empty());
    }

    #[test]
    fn the_own_group_is_the_unified_line() {
        assert_eq!(
            unified_path("1:cpu:/\n0::/user.slice/a.scope\n"),
            Some("/user.slice/a.scope")
        );
        assert_eq!(unified_path("1:cpu:/\n"), None);
    }
}
