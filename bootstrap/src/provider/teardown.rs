//! Ends and removes clusters of every provider.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::native::machine::NativeMachine;
use super::vm::machine::VmMachine;
use super::{Kind, native, vm};
use crate::machine::{Ending, Machine};
use crate::problem::Problem;
use crate::reporter::{Reporter, Step};
use crate::state::StateDirectory;

/// Ends every machine; `start` and `up` start them again with all their data.
///
/// # Errors
/// When a machine does not end, or the machines are not ours.
pub fn stop(state: &StateDirectory, reporter: &dyn Reporter) -> anyhow::Result<()> {
    let _lock = state.lock()?;
    let file = state.require()?;
    let directories = machines(state)?;
    match file.provider {
        Kind::Native => end_all(&native_machines(&directories)?, Ending::Graceful, reporter),
        Kind::Vm => {
            end_all(&vm_machines(&directories)?, Ending::Graceful, reporter)?;
            vm::disconnect(state)
        }
        Kind::Existing => Err(super::existing::not_ours(&file.topology.cluster).into()),
    }
}

/// Removes a cluster with all its data: every process, mount, control group, link and file. Does
/// nothing where there is none. Of a cluster that others made it only forgets the way there.
///
/// # Errors
/// When something resists; running it again goes on.
pub fn down(state: &StateDirectory, reporter: &dyn Reporter) -> anyhow::Result<()> {
    if !state.path().exists() {
        reporter.note(&format!("no cluster in {}", state.path().display()));
        return Ok(());
    }
    let _lock = state.lock()?;
    let file = state.read()?;
    let directories = machines(state)?;
    if file.is_none() && directories.is_empty() && !is_empty_but_for_lock(state.path())? {
        let message = format!("{} is not the state of a cluster", state.path().display());
        return Err(Problem::refused(message)
            .hint("name another --state-dir")
            .into());
    }
    match file.as_ref().map(|file| file.provider).unwrap_or_default() {
        Kind::Native => {
            let machines = native_machines(&directories)?;
            end_all(&machines, Ending::Immediate, reporter)?;
            native::remove(state, file.as_ref().map(|file| &file.topology), &machines)?;
        }
        Kind::Vm => {
            end_all(&vm_machines(&directories)?, Ending::Immediate, reporter)?;
            vm::disconnect(state)?;
        }
        Kind::Existing => reporter.note(
            "the cluster goes on as it is: its namespaces immuops-system, immudb and git-system \
             hold what `up` installed",
        ),
    }
    state.remove()
}

/// Workers first: their pods may still talk to the control plane while they end.
fn end_all(
    machines: &[impl Machine],
    ending: Ending,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    for machine in machines.iter().rev() {
        let step = Step::start(reporter, format!("machine {}", machine.name()));
        machine.stop(ending)?;
        step.finish("ended");
    }
    Ok(())
}

fn native_machines(directories: &[PathBuf]) -> anyhow::Result<Vec<NativeMachine>> {
    let open = |directory: &PathBuf| NativeMachine::open(directory);
    directories.iter().map(open).collect()
}

fn vm_machines(directories: &[PathBuf]) -> anyhow::Result<Vec<VmMachine>> {
    let open = |directory: &PathBuf| VmMachine::open(directory);
    directories.iter().map(open).collect()
}

/// The directories of the machines that were ever started.
fn machines(state: &StateDirectory) -> anyhow::Result<Vec<PathBuf>> {
    let nodes = state.path().join("nodes");
    if !nodes.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(nodes)? {
        let path = entry?.path();
        if path.join("machine.json").exists() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_empty_but_for_lock(directory: &Path) -> anyhow::Result<bool> {
    let mut names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    Ok(names.try_fold(true, |empty, name: std::io::Result<_>| {
        name.map(|n| empty && n == "lock")
    })?)
}
