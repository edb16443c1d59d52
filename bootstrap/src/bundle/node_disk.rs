//! The disk of a node: Debian, the bundle's programs, and containerd's store with every image in it.
//!
//! One file for all machines, never written to: each gets an overlay over it that is new at every
//! start. It is put together as one tar and becomes a file system through `mke2fs -d`, so no root is
//! needed but for filling the image store, where a user namespace does.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use tar::{Builder, EntryType};

use super::cache::Cache;
use super::command;
use super::debian;
use super::manifest::{FileEntry, Source};
use super::part::{self, Bench, Made, Wanted};
use super::recipe::KUBERNETES;
use super::tools::Tools;
use super::tree::SourceTree;
use super::{Bundle, prerequisites};
use crate::digest::{self, ListHasher};
use crate::image::{Layer, Owner};
use crate::problem::{OrProblem, Problem};
use crate::reporter::Reporter;

/// Raise it when a change to this file changes what comes out of it.
const FORMAT: &str = "1";
const DISK: &str = "disk.qcow2";
/// What a machine sees; only what is used takes space.
const SIZE: &str = "8G";
/// Fixed, so that the same files give the same file system.
const UUID: &str = "0b9d5c0e-6d5d-4d39-8a53-1f6f0a3a6d10";
/// Where the static files of a node are in the checkout.
const SOURCES: &str = "bootstrap/bundle/machine";

/// Programs of the bundle that run on nodes.
const PROGRAMS: [&str; 8] = [
    "kubebox",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "host-local",
    "loopback",
    "portmap",
    "ptp",
];

/// How many questions of the host a machine answers at the same time.
pub const LANES: u8 = 3;

/// Units that start with the machine, by the target that wants them.
const ENABLED: [(&str, &str, &str); 7] = [
    (
        "sysinit",
        "seed.service",
        "/etc/systemd/system/seed.service",
    ),
    (
        "sysinit",
        "nftables.service",
        "/usr/lib/systemd/system/nftables.service",
    ),
    (
        "multi-user",
        "systemd-networkd.service",
        "/usr/lib/systemd/system/systemd-networkd.service",
    ),
    (
        "multi-user",
        "console.service",
        "/etc/systemd/system/console.service",
    ),
    ("multi-user", "process@containerd.service", PROCESS),
    ("multi-user", "process@kubelet.service", PROCESS),
    ("multi-user", "process@kube-proxy.service", PROCESS),
];
const PROCESS: &str = "/etc/systemd/system/process@.service";
const EXEC: &str = "/etc/systemd/system/exec@.service";

/// Units that would do nothing useful in a machine whose root is new at every start, and cost
/// seconds where the processor is emulated.
const MASKED: [&str; 32] = [
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@.service",
    "getty.target",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-boot-random-seed.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-networkd-wait-online.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-udev-load-credentials.service",
    "systemd-update-done.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
];

/// The disk that every machine of a bundle starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDisk {
    /// The qcow2 file.
    pub path: PathBuf,
}

impl Bundle {
    /// The node disk of this bundle, found in the cache or made.
    ///
    /// # Errors
    /// When there is no checkout to make it from, or making it fails.
    pub fn node_disk(&self, cache: &Cache, reporter: &dyn Reporter) -> anyhow::Result<NodeDisk> {
        let tools = Tools::ensure(cache, reporter)?;
        let tree = SourceTree::locate()?;
        let key = ListHasher::default()
            .with("format", FORMAT)
            .with("tools", tools.directory().as_os_str().as_encoded_bytes())
            .with("bundle", &self.manifest().key)
            .with("units", format!("{ENABLED:?}{MASKED:?}{PROGRAMS:?}{SIZE}"))
            .with("sources", tree.hash(&[SOURCES.into()])?)
            .finish();
        let wanted = Wanted {
            name: "node-disk",
            key: &key,
            version: &format!("{:.12}", self.manifest().key),
        };
        let directory = part::ensure(cache, &wanted, reporter, |bench| {
            make(bench, self, &tools, &tree)
        })?;
        Ok(NodeDisk {
            path: directory.join(DISK),
        })
    }
}

fn make(
    bench: &Bench<'_>,
    bundle: &Bundle,
    tools: &Tools,
    tree: &SourceTree,
) -> anyhow::Result<Made> {
    let sources = tree.recipe_input("machine");
    bench.step.progress("importing images");
    let store = image_store(bench, bundle, &sources)?;
    bench.step.progress("writing the file system");
    let tar = bench.scratch.join("disk.tar");
    write_tar(&tar, bundle, tools, &sources, &store)?;
    let raw = bench.scratch.join("disk.raw");
    let mut mke2fs = tools.command("mke2fs");
    // Nothing of the root outlives the machine's start: a journal would only cost writes.
    mke2fs
        .env("SOURCE_DATE_EPOCH", "0")
        .args([
            "-q",
            "-t",
            "ext4",
            "-O",
            "^has_journal,^metadata_csum,^resize_inode",
        ])
        .args(["-m", "0", "-N", "262144", "-L", "root", "-U", UUID])
        .args(["-E", &format!("hash_seed={UUID},lazy_itable_init=1")])
        .arg("-d")
        .args([&tar, &raw])
        .arg(SIZE);
    command::run(&mut mke2fs, bench.log)?;
    let mut convert = tools.command("qemu-img");
    convert
        .args([
            "convert",
            "-c",
            "-O",
            "qcow2",
            "-o",
            "compression_type=zstd",
        ])
        .args([&raw, &bench.into.join(DISK)]);
    command::run(&mut convert, bench.log)?;
    let parts = bundle.manifest().parts.iter();
    Ok(Made {
        source: Source::Bundle {
            parts: parts.map(|part| part.name.clone()).collect(),
        },
        files: vec![DISK.into()],
    })
}

/// A tar of containerd's directory with every image of the bundle imported and unpacked.
fn image_store(bench: &Bench<'_>, bundle: &Bundle, sources: &Path) -> anyhow::Result<PathBuf> {
    let directory = bench.scratch.join("store");
    fs::create_dir(&directory)?;
    let mut import = Command::new("unshare");
    import.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        if let Some(problem) = prerequisites::missing(&prerequisites::NEWUIDMAP) {
            return Err(problem.into());
        }
        import.args(["--user", "--map-root-user", "--map-auto"]);
    }
    import
        .arg("--")
        .arg(sources.join("import-images"))
        .arg(bundle.directory().join("bin"))
        .arg(&directory)
        .arg(bundle.image_reference("pause")?)
        .args(bundle.images().iter().map(|archive| &archive.path));
    command::run(&mut import, bench.log)?;
    Ok(directory.join("store.tar"))
}

/// Everything that is on the disk, as one tar.
fn write_tar(
    path: &Path,
    bundle: &Bundle,
    tools: &Tools,
    sources: &Path,
    store: &Path,
) -> anyhow::Result<()> {
    let mut out = Builder::new(BufWriter::new(fs::File::create(path)?));
    let accounts = Accounts::read(&tools.system())?;
    append(&mut out, &tools.system(), Path::new(""), &[])?;
    append(&mut out, &tools.modules(), Path::new(""), &[])?;
    let own = path.with_extension("own");
    own_files(bundle, tools, sources, &accounts)?.write(BufWriter::new(fs::File::create(&own)?))?;
    append(&mut out, &own, Path::new(""), &[])?;
    let programs = PROGRAMS.map(|name| program(bundle, name));
    let programs = programs.into_iter().collect::<Result<Vec<_>, _>>()?;
    append(&mut out, store, Path::new("var/lib/containerd"), &programs)?;
    out.into_inner()?.flush()?;
    Ok(())
}

fn program<'a>(bundle: &'a Bundle, name: &str) -> Result<&'a FileEntry, Problem> {
    let path = Path::new("bin").join(name);
    let found = bundle
        .manifest()
        .files
        .iter()
        .find(|file| file.path == path);
    found.ok_or_else(|| Problem::new(format!("the bundle has no program {name}")))
}

/// Copies a tar to below a directory of another. A file that is one of `programs` becomes a link to
/// that: the node keeps one copy of it on disk and in memory.
fn append(
    out: &mut Builder<impl Write>,
    tar: &Path,
    below: &Path,
    programs: &[&FileEntry],
) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(BufReader::new(fs::File::open(tar)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let inside = debian::plain(&entry.path()?);
        let path = below.join(&inside);
        if path.as_os_str().is_empty() {
            continue;
        }
        let mut header = entry.header().clone();
        let kind = header.entry_type();
        if kind.is_symlink() {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            out.append_link(&mut header, path, target)?;
        } else if kind.is_hard_link() {
            let target = below.join(debian::plain(&entry.link_name()?.unwrap_or_default()));
            out.append_link(&mut header, path, target)?;
        } else if let Some(program) = programs.iter().find(|one| one.size == entry.size())
            && kind.is_file()
        {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            if digest::of_bytes(&content) == program.sha256 {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                out.append_link(
                    &mut header,
                    path,
                    Path::new("opt/immuops").join(&program.path),
                )?;
            } else {
                out.append_data(&mut header, path, content.as_slice())?;
            }
        } else if kind.is_dir() {
            out.append_data(&mut header, path.join(""), std::io::empty())?;
        } else if kind.is_file() {
            out.append_data(&mut header, path, &mut entry)?;
        }
    }
    Ok(())
}

/// The accounts of a Debian system before any package has added its own.
#[derive(Debug, Default)]
struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    fn read(system: &Path) -> anyhow::Result<Self> {
        let mut accounts = Self::default();
        let mut archive = tar::Archive::new(BufReader::new(fs::File::open(system)?));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = debian::plain(&entry.path()?);
            if path == Path::new("usr/share/base-passwd/passwd.master") {
                entry.read_to_string(&mut accounts.users)?;
            } else if path == Path::new("usr/share/base-passwd/group.master") {
                entry.read_to_string(&mut accounts.groups)?;
            }
        }
        // What the packages of a node would add themselves.
        accounts
            .users
            .push_str("systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin\n");
        accounts
            .groups
            .push_str("systemd-journal:x:999:\nsystemd-network:x:998:\n");
        Ok(accounts)
    }
}

/// What is on the disk besides Debian's own files and the images.
fn own_files(
    bundle: &Bundle,
    tools: &Tools,
    sources: &Path,
    accounts: &Accounts,
) -> anyhow::Result<Layer> {
    let Accounts { users, groups } = accounts;
    let root = Owner::default();
    let mut layer = Layer::new()
        .tree("/etc", &sources.join("root/etc"))?
        .bytes("/etc/passwd", users.as_str(), 0o644)
        .bytes("/etc/group", groups.as_str(), 0o644)
        .bytes(
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
            0o644,
        )
        // Empty: each machine is told its own.
        .bytes("/etc/machine-id", "", 0o444)
        .file(
            "/etc/ssl/certs/ca-certificates.crt",
            tools.authorities(),
            0o644,
        )
        .link(
            "/etc/systemd/system/default.target",
            "/usr/lib/systemd/system/multi-user.target",
        )
        .file("/opt/immuops/bin/guest", tools.guest(), 0o755)
        .directory("/root", 0o700, root)
        .directory("/tmp", 0o1777, root)
        .directory("/var/lib/etcd", 0o700, root)
        .directory("/var/lib/immuops", 0o755, root)
        .directory("/var/lib/kubelet", 0o750, root)
        .directory("/var/log/pods", 0o755, root)
        .directory("/var/tmp", 0o1777, root);
    for name in ["dev", "proc", "run", "sys"] {
        layer = layer.directory(&format!("/{name}"), 0o755, root);
    }
    for name in PROGRAMS {
        layer = layer.file(
            &format!("/opt/immuops/bin/{name}"),
            bundle.program(name)?,
            0o755,
        );
    }
    for name in KUBERNETES {
        layer = layer.link(&format!("/opt/immuops/bin/{name}"), "kubebox");
    }
    for (target, unit, file) in ENABLED {
        let wants = format!("/etc/systemd/system/{target}.target.wants/{unit}");
        layer = layer.link(&wants, file);
    }
    for lane in 0..LANES {
        let wants = format!("/etc/systemd/system/multi-user.target.wants/exec@{lane}.service");
        layer = layer.link(&wants, EXEC);
    }
    for unit in MASKED {
        layer = layer.link(&format!("/etc/systemd/system/{unit}"), "/dev/null");
    }
    Ok(layer)
}

/// The file system that a machine's data lives in, on a new disk at `path` that is `size` large
/// (as mke2fs reads it) and takes space only as it fills.
///
/// # Errors
/// When it cannot be made; then there is no file.
pub fn make_data_disk(
    tools: &Tools,
    path: &Path,
    size: &str,
    directories: &[(&str, u32)],
) -> anyhow::Result<()> {
    let scratch = path.with_extension("tar");
    let fresh = path.with_extension("new");
    let mut layer = Layer::new();
    for (directory, mode) in directories {
        layer = layer.directory(directory, *mode, Owner::default());
    }
    layer.write(BufWriter::new(fs::File::create(&scratch)?))?;
    let mut mke2fs = tools.command("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-m", "0", "-L", "data", "-d"]);
    mke2fs.args([&scratch, &fresh]).arg(size);
    crate::command::run(&mut mke2fs, b"", std::time::Duration::from_mins(2))
        .or_problem(|| Problem::new(format!("failed to make the disk {}", path.display())))?;
    fs::remove_file(scratch)?;
    Ok(fs::rename(fresh, path)?)
}
