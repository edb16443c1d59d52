//! The file system of a machine: its own `/etc`, `/var`, `/run`, `/tmp`, `/proc` and `/sys`, the
//! host's `/usr` (read-only) and `/dev`, and the bundle at `/opt/immuops`.
//!
//! Nothing else of the host is reachable, so a kubelet or containerd of the host and ours never
//! share a path. Everything is mounted in the machine's own mount namespace and goes with it.

use std::os::unix::fs::symlink;
use std::path::Path;

use fs_err as fs;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::spec::Spec;
use crate::problem::{OrProblem, Problem};

/// Top-level directories that are part of `/usr` on merged-usr systems (Debian 12) and directories
/// of their own on others.
const PROGRAM_DIRECTORIES: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What the machine sees of the host's `/etc`: what programs in `/usr` need to start and to
/// verify TLS servers.
const SHARED_ETC: [&str; 5] = [
    "alternatives",
    "ca-certificates",
    "ld.so.cache",
    "ssl",
    "nftables",
];

/// Mounts everything and makes it the root. Runs as the first process of the machine, inside all
/// its namespaces.
///
/// # Errors
/// When the kernel refuses a mount: the error names the path.
pub(super) fn enter(spec: &Spec) -> anyhow::Result<()> {
    let root = spec.directory.join("root");
    fs::create_dir_all(&root)?;
    mount(
        "tmpfs",
        &root,
        "tmpfs",
        MountFlags::NOSUID,
        Some(c"mode=755,size=4m"),
    )
    .or_problem(|| Problem::new(format!("failed to mount a tmpfs at {}", root.display())))?;

    bind_read_only(Path::new("/usr"), &root.join("usr"))?;
    for name in PROGRAM_DIRECTORIES {
        let (host, own) = (Path::new("/").join(name), root.join(name));
        if host.is_symlink() {
            symlink(fs::read_link(&host)?, &own)?;
        } else if host.is_dir() {
            bind_read_only(&host, &own)?;
        }
    }
    for name in ["etc", "var"] {
        bind(&spec.directory.join(name), &root.join(name))?;
    }
    for name in SHARED_ETC {
        let host = Path::new("/etc").join(name);
        if host.exists() {
            bind_read_only(&host, &root.join("etc").join(name))?;
        }
    }
    bind_read_only(&spec.bundle, &root.join("opt/immuops"))?;
    fresh(
        "tmpfs",
        &root.join("run"),
        MountFlags::NOSUID | MountFlags::NODEV,
    )?;
    fresh(
        "tmpfs",
        &root.join("tmp"),
        MountFlags::NOSUID | MountFlags::NODEV,
    )?;
    fs::create_dir_all(root.join("root"))?;

    let dev = root.join("dev");
    fs::create_dir_all(&dev)?;
    mount_bind_recursive("/dev", &dev).or_problem(|| Problem::new("failed to bind /dev"))?;
    let hardened = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    fresh("proc", &root.join("proc"), hardened)?;
    fresh("sysfs", &root.join("sys"), hardened)?;
    spec.cgroup.mount(&root)?;
    protect_host_settings(&root)?;

    chdir(&root)?;
    // Stacks the old root on top of the new one and takes it away again: pivot_root(2), last note.
    pivot_root(".", ".").or_problem(|| Problem::new("failed to change the root"))?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    // Mounts that kubelet makes must reach the containers that are given the directory above.
    mount_change(
        "/",
        MountPropagationFlags::SHARED | MountPropagationFlags::REC,
    )?;
    Ok(())
}

/// Settings of the whole host that kubelet insists on writing.
const PRIVATE_SETTINGS: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Most of `/proc/sys` belongs to the whole host, and a cluster must not change that. Only what the
/// network namespace owns stays writable; what kubelet writes is a private copy of the host's file.
fn protect_host_settings(root: &Path) -> anyhow::Result<()> {
    let settings = root.join("proc/sys");
    let copies = root.join("run/host-settings");
    fs::create_dir_all(&copies)?;
    bind_read_only(&settings, &settings)?;
    let net = settings.join("net");
    bind(&net, &net)?;
    mount_remount(
        &net,
        MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV,
        "",
    )
    .or_problem(|| Problem::new("failed to make /proc/sys/net writable"))?;
    for name in PRIVATE_SETTINGS {
        let setting = settings.join(name);
        if setting.exists() {
            let copy = copies.join(name.replace('/', "."));
            fs::write(&copy, fs::read(&setting)?)?;
            bind(&copy, &setting)?;
        }
    }
    Ok(())
}

fn fresh(kind: &str, target: &Path, flags: MountFlags) -> anyhow::Result<()> {
    fs::create_dir_all(target)?;
    mount(kind, target, kind, flags, None)
        .or_problem(|| Problem::new(format!("failed to mount {kind} at {}", target.display())))?;
    Ok(())
}

fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    if source.is_dir() {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        fs::write(target, "")?;
    }
    mount_bind(source, target)
        .or_problem(|| Problem::new(format!("failed to bind {}", source.display())))?;
    Ok(())
}

fn bind_read_only(source: &Path, target: &Path) -> anyhow::Result<()> {
    bind(source, target)?;
    mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "")
        .or_problem(|| Problem::new(format!("failed to protect {}", target.display())))?;
    Ok(())
}
