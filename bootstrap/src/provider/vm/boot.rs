//! How a virtual machine starts: a process that takes the machine's lock, makes what is new at every
//! start, and becomes QEMU, which inherits the lock as its standard input. Called by `up` through
//! `bootstrap machine boot`.

use std::convert::Infallible;
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fs_err as fs;
use rustix::process::setsid;

use super::accelerator::Accelerator;
use super::qemu;
use super::spec::VmSpec;
use crate::bundle::{Tools, make_data_disk};
use crate::command;
use crate::image::Layer;
use crate::kubeadm::addons;
use crate::machine::holder;
use crate::problem::{OrProblem, Problem};

/// What the data of a machine may grow to; it takes space only as it fills.
const DATA_SIZE: &str = "64G";
const OVERLAY_DEADLINE: Duration = Duration::from_secs(30);
/// The machine's files on the host, as a tree.
pub(super) const FILES: &str = "files";

/// What is not a pod gets a quarter of an emulated processor that is wanted by all. kubelet asks ten
/// times a second whether it is registered; beside that an API server needs minutes to answer, and it
/// ends when it has not answered itself 30 s after it listens.
const PODS_FIRST: &str = "[Slice]\nCPUWeight=25\n";

/// Becomes the machine in this file's directory.
///
/// # Errors
/// When it runs already or something of it cannot be made; does not return otherwise.
pub fn run(spec_path: &Path) -> anyhow::Result<Infallible> {
    let directory = spec_path.parent().unwrap_or_else(|| Path::new("."));
    let spec = VmSpec::read(directory)?;
    let own = std::process::id().to_string();
    let lock = holder::take(&spec.lock(), &own, &format!("machine {}", spec.name))?;
    // The terminal that `up` runs on must not end the machine.
    setsid().ok();
    let tools = Tools::at(&spec.tools);
    disks(&spec, &tools)?;
    let credentials = credentials(&spec)?;
    let credentials: Vec<&str> = credentials.iter().map(String::as_str).collect();
    // Names of sockets are short and relative.
    rustix::process::chdir(&spec.sockets)?;
    let error = tools
        .command("qemu-system-x86_64")
        .args(qemu::arguments(&spec, &tools.kernel(), &credentials))
        .stdin(Stdio::from(lock.into_file()))
        .exec();
    Err(Problem::new("failed to run QEMU")
        .because(error)
        .hint("run `bootstrap bundle build --vm`: it makes what is missing or damaged")
        .into())
}

/// The root and the files are new at every start, the data is made once.
fn disks(spec: &VmSpec, tools: &Tools) -> anyhow::Result<()> {
    let mut overlay = tools.command("qemu-img");
    overlay
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .arg(&spec.disk)
        .arg(spec.file("root.qcow2"));
    command::run(&mut overlay, b"", OVERLAY_DEADLINE)
        .or_problem(|| Problem::new(format!("failed to make the root of {}", spec.name)))?;

    let files = spec.file(FILES);
    let seed = fs::File::create(spec.file("seed.tar"))?;
    seed.set_permissions(PermissionsExt::from_mode(0o600))?;
    tree(Layer::new(), &files, Path::new("/"))?.write(BufWriter::new(seed))?;

    let data = spec.file("data.raw");
    if !data.exists() {
        let volumes = (1..=addons::VOLUMES).map(|number| {
            let path = addons::volume_path(number);
            path.replacen("/var/lib/immuops", "", 1)
        });
        let volumes: Vec<String> = volumes.collect();
        let mut directories = vec![("/etcd", 0o700)];
        directories.extend(volumes.iter().map(|path| (path.as_str(), 0o755)));
        make_data_disk(tools, &data, DATA_SIZE, &directories)?;
    }
    Ok(())
}

/// The machine's files with the modes that they have on the host, owned by root.
fn tree(mut layer: Layer, directory: &Path, inside: &Path) -> anyhow::Result<Layer> {
    if !directory.exists() {
        return Ok(layer);
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let inside = inside.join(entry.file_name());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            layer = tree(layer, &entry.path(), &inside)?;
        } else {
            let mode = metadata.permissions().mode() & 0o7777;
            layer = layer.file(&inside.to_string_lossy(), entry.path(), mode);
        }
    }
    Ok(layer)
}

/// Who the machine is and what systemd must know from the start, as files in SMBIOS form; it reads them
/// before anything else (<https://systemd.io/CREDENTIALS/>). Files, so that nothing of it shows in the process list.
fn credentials(spec: &VmSpec) -> anyhow::Result<Vec<String>> {
    let id = spec.file("machine-id");
    if !id.exists() {
        let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let text = text.trim().replace('-', "");
        crate::state::write_atomically(&id, text.as_bytes(), 0o600)?;
    }
    let id = fs::read_to_string(id)?;
    let mut values = vec![
        ("system.hostname", spec.name.as_str()),
        ("system.machine_id", id.as_str()),
    ];
    if spec.accelerator == Accelerator::Tcg {
        values.push(("systemd.unit-dropin.system.slice", PODS_FIRST));
    }
    let mut files = Vec::new();
    for (name, value) in values {
        let value = BASE64_STANDARD.encode(value);
        let text = format!("io.systemd.credential.binary:{name}={value}");
        let file = format!("{name}.smbios");
        crate::state::write_atomically(&spec.file(&file), text.as_bytes(), 0o600)?;
        files.push(file);
    }
    Ok(files)
}
