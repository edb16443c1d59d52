//! The programs that make and run virtual machines, and the Debian system that runs in them.
//!
//! QEMU comes from Debian 13 whatever the host is, with its own libraries and its own loader: older
//! releases of QEMU panic when several processors are emulated (7.2 does), and nothing has to be
//! installed on the host. The guest's packages are unpacked and filtered like image layers
//! ([`super::debian`]); none of their scripts runs, so no root is needed and the same packages give
//! the same bytes.

use std::ffi::OsStr;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use super::cache::Cache;
use super::command;
use super::debian::{self, Sources};
use super::manifest::Source;
use super::part::{self, Bench, Made, Wanted};
use super::prerequisites;
use super::recipe::Debian;
use super::tree::SourceTree;
use crate::digest::ListHasher;
use crate::problem::{OrProblem, Problem, Problems};
use crate::reporter::Reporter;

/// Raise it when a change to this file changes what comes out of it.
const FORMAT: &str = "1";
/// The release that everything comes from.
const RELEASE: &str = "trixie";
const PART: &str = "vm";

/// What runs on the host.
const PROGRAMS: [(&str, &str); 3] = [
    ("qemu-system-x86_64", "usr/bin/qemu-system-x86_64"),
    ("qemu-img", "usr/bin/qemu-img"),
    ("mke2fs", "usr/sbin/mke2fs"),
];
/// What QEMU reads when it starts a machine, and the features that mke2fs gives a file system.
const DATA: [&str; 5] = [
    "etc/mke2fs.conf",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot.bin",
    "usr/share/qemu/linuxboot_dma.bin",
    "usr/share/seabios/bios-256k.bin",
];
/// Opened by name when mke2fs is given a tar, so no program lists it.
const ARCHIVE_LIBRARY: &str = "libarchive.so.13";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

const HOST_PACKAGES: &[&str] = &[
    "e2fsprogs",
    "libarchive13t64",
    "qemu-system-x86",
    "qemu-utils",
];

/// The system of a node.
const NODE: Debian = Debian {
    packages: &[
        "base-files",
        "base-passwd",
        "bash",
        "bsdutils",
        "ca-certificates",
        "conntrack",
        "coreutils",
        "dash",
        "ethtool",
        "findutils",
        "grep",
        "gzip",
        "hostname",
        "iproute2",
        "iputils-ping",
        "kmod",
        "linux-image-cloud-amd64",
        "mount",
        "netbase",
        "nftables",
        "procps",
        "runc",
        "sed",
        "systemd",
        "systemd-sysv",
        "tar",
        "udev",
        "util-linux",
        "xz-utils",
    ],
    without: &[
        "boot",
        "etc/apt",
        "etc/cron.daily",
        "etc/default",
        // mmdebstrap copies these two from the host.
        "etc/hostname",
        "etc/resolv.conf",
        "etc/init.d",
        "etc/initramfs-tools",
        "etc/kernel",
        "etc/pam.d",
        "usr/bin/perl*",
        // Kept apart: most of it is for hardware that no virtual machine has.
        "usr/lib/modules",
        "usr/lib/klibc",
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/x86_64-linux-gnu/perl-base",
        "usr/share/bash-completion",
        "usr/share/bug",
        "usr/share/doc",
        "usr/share/info",
        "usr/share/initramfs-tools",
        "usr/share/lintian",
        "usr/share/locale",
        "usr/share/man",
        "usr/share/perl5",
        "usr/share/zsh",
        "var/cache",
        "var/lib/apt",
        "var/lib/dpkg",
        "var/log",
    ],
    layer: "node/system.tar",
    authorities: "node/ca-certificates.crt",
};

/// Kernel modules that a node can use, below `kernel/`.
const MODULES: &[&str] = &[
    "arch",
    "block",
    "crypto",
    "drivers/block",
    "drivers/char",
    "drivers/firmware",
    "drivers/md",
    "drivers/net/",
    "drivers/virtio",
    "fs/autofs",
    "fs/configfs",
    "fs/fat",
    "fs/fuse",
    "fs/nls",
    "fs/overlayfs",
    "lib",
    "net",
];
/// Below the ones above, what no virtual machine has.
const HARDWARE: &[&str] = &[
    "drivers/net/ethernet",
    "drivers/net/wireless",
    "drivers/net/usb",
    "drivers/net/phy",
    "net/bluetooth",
    "net/mac80211",
    "net/wireless",
];

/// The programs and files of virtual machines.
#[derive(Clone, Debug)]
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Finds them in the cache or makes them.
    ///
    /// # Errors
    /// When there is no checkout to make them from, or making them fails.
    pub fn ensure(cache: &Cache, reporter: &dyn Reporter) -> anyhow::Result<Self> {
        let tree = SourceTree::locate()?;
        let sources = Sources::of_host()?.of_release(RELEASE);
        let key = ListHasher::default()
            .with("format", FORMAT)
            .with("host", HOST_PACKAGES.join(","))
            .with("node", format!("{NODE:?}{MODULES:?}{HARDWARE:?}"))
            .with("sources", tree.hash(&guest_sources())?)
            .finish();
        let wanted = Wanted {
            name: PART,
            key: &key,
            version: RELEASE,
        };
        let directory = part::ensure(cache, &wanted, reporter, |bench| {
            check(&sources)?;
            make(bench, &tree, &sources)
        })?;
        Ok(Self::at(&directory))
    }

    /// Those in a directory that [`Self::ensure`] gave before.
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Where they are: equal recipes, equal names.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that starts one of the programs: `qemu-system-x86_64`, `qemu-img` or `mke2fs`.
    pub fn command(&self, program: &str) -> Command {
        let tools = self.directory.join("tools");
        let mut command = loaded(&tools.join("lib"), &tools.join("bin").join(program));
        command
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .env("MKE2FS_CONFIG", tools.join("share/mke2fs.conf"))
            // Modules of the host's QEMU are for another version.
            .env("QEMU_MODULE_DIR", tools.join("lib"));
        if let Some(directory) = std::env::var_os("TMPDIR") {
            command.env("TMPDIR", directory);
        }
        if program.starts_with("qemu-system") {
            command.arg("-L").arg(tools.join("share"));
        }
        command
    }

    /// The kernel of guests.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("node/vmlinuz")
    }

    /// A memory disk whose only program says that the guest runs.
    pub fn probe(&self) -> PathBuf {
        self.directory.join("node/probe.cpio")
    }

    /// The program that runs in guests for `bootstrap`.
    pub(super) fn guest(&self) -> PathBuf {
        self.directory.join("node/guest")
    }

    /// The packages of a node, without configuration.
    pub(super) fn system(&self) -> PathBuf {
        self.directory.join(NODE.layer)
    }

    /// The kernel modules of a node.
    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("node/modules.tar")
    }

    /// The certificate authorities of a node.
    pub(super) fn authorities(&self) -> PathBuf {
        self.directory.join(NODE.authorities)
    }
}

/// Where the guest's program is in the checkout.
fn guest_sources() -> [PathBuf; 2] {
    ["guest.rs", "wire.rs"].map(|file| Path::new("bootstrap/bundle/machine").join(file))
}

fn check(sources: &Sources) -> anyhow::Result<()> {
    let wanted = [
        prerequisites::MMDEBSTRAP,
        prerequisites::RUSTC,
        prerequisites::GCC,
    ];
    let mut problems: Vec<Problem> = wanted.iter().filter_map(prerequisites::missing).collect();
    if sources.is_empty() {
        let text =
            "apt has no sources of a Debian release here, needed to get QEMU and the node's system";
        let hint = "build on Debian, or add its sources to /etc/apt/sources.list.d";
        problems.push(Problem::new(text).hint(hint));
    }
    Ok(Problems::check(problems, |count| {
        format!("this machine lacks {count} prerequisites to build virtual machines")
    })?)
}

/// A command that starts a program with libraries of its own.
fn loaded(libraries: &Path, program: &Path) -> Command {
    let mut command = Command::new(libraries.join(LOADER));
    command.arg("--library-path").arg(libraries);
    if let Some(name) = program.file_name() {
        command.arg("--argv0").arg(name);
    }
    command.arg(program);
    command
}

fn make(bench: &Bench<'_>, tree: &SourceTree, sources: &Sources) -> anyhow::Result<Made> {
    let mut files = Vec::new();
    bench.step.progress("QEMU");
    let mut packages = host_programs(bench, sources, &mut files)?;
    bench.step.progress("the node's system");
    packages.extend(node_system(bench, sources, &mut files)?);
    bench.step.progress("the guest's program");
    guest(bench, tree, &mut files)?;
    packages.sort();
    packages.dedup();
    files.sort();
    let source = Source::Debian {
        release: RELEASE.to_owned(),
        packages,
    };
    Ok(Made { source, files })
}

/// Programs, the libraries they list, and their data.
fn host_programs(
    bench: &Bench<'_>,
    sources: &Sources,
    files: &mut Vec<PathBuf>,
) -> anyhow::Result<Vec<String>> {
    let tar = bench.scratch.join("host.tar");
    debian::extract(HOST_PACKAGES, sources, &tar, bench.scratch, bench.log)?;
    let root = bench.scratch.join("host");
    let packages = unpack(&tar, &root, |path| {
        path.starts_with(LIBRARIES)
            || DATA.iter().any(|file| path == Path::new(file))
            || PROGRAMS.iter().any(|(_, file)| path == Path::new(file))
    })?;
    let libraries = root.join(LIBRARIES);
    let mut needed = vec![LOADER.to_owned()];
    let archive = Path::new(LIBRARIES).join(ARCHIVE_LIBRARY);
    let mut asked: Vec<&Path> = PROGRAMS.iter().map(|(_, file)| Path::new(file)).collect();
    asked.push(&archive);
    for program in asked {
        let listing = bench.scratch.join("libraries");
        fs::write(&listing, "")?;
        let mut list = Command::new(libraries.join(LOADER));
        list.arg("--library-path").arg(&libraries);
        list.arg("--list").arg(root.join(program));
        command::run(&mut list, &listing)?;
        needed.extend(listed(&fs::read_to_string(&listing)?));
    }
    needed.push(ARCHIVE_LIBRARY.to_owned());
    needed.sort();
    needed.dedup();
    let mut keep = |from: PathBuf, to: &str| -> anyhow::Result<()> {
        let to = Path::new("tools").join(to);
        place(&from.canonicalize()?, &bench.into.join(&to))?;
        files.push(to);
        Ok(())
    };
    for name in needed {
        keep(libraries.join(&name), &format!("lib/{name}"))?;
    }
    for (name, file) in PROGRAMS {
        keep(root.join(file), &format!("bin/{name}"))?;
    }
    for file in DATA {
        let name = Path::new(file).file_name().unwrap_or_default();
        keep(
            root.join(file),
            &format!("share/{}", name.to_string_lossy()),
        )?;
    }
    Ok(packages)
}

/// The names in what a loader lists: `libz.so.1 => /…/libz.so.1 (0x…)`.
fn listed(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().split_once(" => "));
    let names = lines.map(|(name, _)| name);
    names
        .filter(|name| !name.contains('/'))
        .map(str::to_owned)
        .collect()
}

/// The system as a layer, the kernel, and the modules that are worth keeping.
fn node_system(
    bench: &Bench<'_>,
    sources: &Sources,
    files: &mut Vec<PathBuf>,
) -> anyhow::Result<Vec<String>> {
    let tar = bench.scratch.join("node.tar");
    debian::extract(NODE.packages, sources, &tar, bench.scratch, bench.log)?;
    fs::create_dir_all(bench.into.join("node"))?;
    let layer = BufWriter::new(fs::File::create(bench.into.join(NODE.layer))?);
    let filtered = debian::filter(&NODE, BufReader::new(fs::File::open(&tar)?), layer)?;
    fs::write(bench.into.join(NODE.authorities), &filtered.authorities)?;

    let root = bench.scratch.join("node");
    unpack(&tar, &root, |path| {
        let kernel = path.strip_prefix("usr/lib/modules").ok();
        path.starts_with(LIBRARIES)
            || path.starts_with("boot")
            || ["usr/bin/kmod", "usr/bin/xz"]
                .iter()
                .any(|file| path == Path::new(file))
            || kernel.is_some_and(|path| is_useful(&path.iter().skip(1).collect::<PathBuf>()))
    })?;
    let release = only_entry(&root.join("usr/lib/modules"))?;
    let image = root.join("boot").join(format!("vmlinuz-{release}"));
    place(&image, &bench.into.join("node/vmlinuz"))?;
    modules(bench, &root, &release)?;
    files.extend(
        [
            NODE.layer,
            NODE.authorities,
            "node/vmlinuz",
            "node/modules.tar",
        ]
        .map(Into::into),
    );
    Ok(filtered.packages)
}

/// Whether a file of a kernel's module directory goes into the node.
fn is_useful(path: &Path) -> bool {
    let Ok(module) = path.strip_prefix("kernel") else {
        // The lists of what is built in, which depmod reads.
        return true;
    };
    let under = |places: &[&str]| places.iter().any(|place| module.starts_with(place));
    under(MODULES) && !under(HARDWARE)
}

/// Decompresses the modules once instead of at every load in a slow guest, and lists what needs what.
fn modules(bench: &Bench<'_>, root: &Path, release: &str) -> anyhow::Result<()> {
    let libraries = root.join(LIBRARIES);
    let directory = root.join("usr/lib/modules").join(release);
    let mut compressed = Vec::new();
    find(&directory, OsStr::new("xz"), &mut compressed)?;
    if !compressed.is_empty() {
        let mut xz = loaded(&libraries, &root.join("usr/bin/xz"));
        xz.arg("--decompress").args(&compressed);
        command::run(&mut xz, bench.log)?;
    }
    // kmod is depmod when it is called so.
    let mut depmod = Command::new(libraries.join(LOADER));
    depmod.arg("--library-path").arg(&libraries);
    depmod
        .args(["--argv0", "depmod"])
        .arg(root.join("usr/bin/kmod"));
    depmod
        .arg("-b")
        .arg(root)
        .args(["-m", "/usr/lib/modules", release]);
    command::run(&mut depmod, bench.log)?;
    let tar = BufWriter::new(fs::File::create(bench.into.join("node/modules.tar"))?);
    let inside = format!("/usr/lib/modules/{release}");
    let layer = crate::image::Layer::new().tree(&inside, &directory)?;
    layer.write(tar)?;
    Ok(())
}

fn find(directory: &Path, extension: &OsStr, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find(&path, extension, found)?;
        } else if path.extension() == Some(extension) {
            found.push(path);
        }
    }
    Ok(())
}

fn only_entry(directory: &Path) -> anyhow::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(Problem::new(format!("expected one kernel, found {}", names.join(", "))).into()),
    }
}

/// The guest's program, and the memory disk that holds nothing else.
fn guest(bench: &Bench<'_>, tree: &SourceTree, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let program = bench.into.join("node/guest");
    let source = tree.recipe_input("machine").join("guest.rs");
    super::make::static_rust(&source, &program, bench.log)?;
    let mut cpio = BufWriter::new(fs::File::create(bench.into.join("node/probe.cpio"))?);
    cpio.write_all(&initramfs(&fs::read(&program)?))?;
    cpio.flush()?;
    files.extend(["node/guest", "node/probe.cpio"].map(Into::into));
    Ok(())
}

/// A memory disk with one program, `/init`, in the kernel's newc format
/// (<https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>). `/dev/console` is in
/// the one that every kernel has built in.
fn initramfs(program: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (number, name, mode, content) in [
        (1, "init", 0o100_755, program),
        (0, "TRAILER!!!", 0, &[][..]),
    ] {
        let size = content.len();
        // Magic, then inode, mode, uid, gid, links, time, size, four device numbers, the length of
        // the name with its end, and a checksum that this format does not use.
        let fields = [
            number,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        archive.extend_from_slice(b"070701");
        for field in fields {
            archive.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// Unpacks what is wanted of a tree that apt made; gives the packages in it as `name=version`.
fn unpack(tar: &Path, into: &Path, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Vec<String>> {
    fs::create_dir_all(into)?;
    let mut archive = tar::Archive::new(BufReader::new(fs::File::open(tar)?));
    archive.set_preserve_permissions(true);
    let mut packages = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = debian::plain(&entry.path()?);
        packages.extend(debian::downloaded(&path));
        if wanted(&path) {
            entry
                .unpack_in(into)
                .or_problem(|| Problem::new(format!("failed to unpack {}", path.display())))?;
        }
    }
    Ok(packages)
}

/// Copies a file, with the directories above it.
fn place(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_loaders_list() {
        let text = "\tlinux-vdso.so.1 (0x00007fff)\n\
                    \tlibz.so.1 => /root/libz.so.1 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 => /root/ld.so (0x00007f)\n";
        assert_eq!(listed(text), ["libz.so.1"]);
    }

    #[test]
    fn modules_for_hardware_stay_behind() {
        let cases = [
            ("modules.builtin", true),
            ("kernel/net/netfilter/nf_tables.ko.xz", true),
            ("kernel/drivers/net/veth.ko.xz", true),
            ("kernel/drivers/net/ethernet/intel/e1000/e1000.ko.xz", false),
            ("kernel/sound/core/snd.ko.xz", false),
        ];
        for (path, expected) in cases {
            assert_eq!(is_useful(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_memory_disk_is_what_the_kernel_reads() {
        let archive = initramfs(b"elf");
        let text = String::from_utf8_lossy(&archive);
        assert!(text.starts_with("07070100000001000081ed"), "{text}");
        assert!(text.contains("init\0"), "{text}");
        assert!(text.contains("TRAILER!!!\0"), "{text}");
        assert!(archive.len().is_multiple_of(4));
    }
}
