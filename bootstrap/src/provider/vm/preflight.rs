//! Checks whether this host can carry a cluster of virtual machines, and says everything that is
//! wrong at once. Changes nothing.

use std::path::Path;

use fs_err as fs;

use super::accelerator::Verdict;
use super::files::host_network;
use super::machine::VmMachine;
use super::spec::Size;
use crate::problem::{Problem, Problems};
use crate::provider::room;
use crate::state::StateDirectory;
use crate::topology::{Topology, overlap};

/// Disk that a machine needs in MiB: what its containers write and room for data.
const DISK_PER_MACHINE: u64 = 4 << 10;

/// Checks everything.
///
/// # Errors
/// All problems, each with what to do.
pub fn check(state: &StateDirectory, topology: &Topology, verdict: &Verdict) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let (mut memory, mut disk) = (0, 0);
    for node in &topology.nodes {
        let directory = state.node(node.name.as_str());
        if !VmMachine::is_running(&directory)? {
            let size = Size::of(node.role, verdict.accelerator, 1);
            memory += u64::from(size.host_memory());
        }
        if !directory.join("data.raw").exists() {
            disk += DISK_PER_MACHINE;
        }
    }
    problems.extend(too_little_memory(
        &fs::read_to_string("/proc/meminfo")?,
        memory,
    ));
    problems.extend(too_little_disk(state.path(), disk));
    for (what, range) in topology.ranges.named() {
        let own = host_network();
        if overlap(range, own) {
            let flag = what.trim_end_matches('s').to_lowercase();
            problems.push(
                Problem::new(format!(
                    "range {range} of the {what} overlaps {own}, over which machines reach the host"
                ))
                .hint(format!("choose another range: --{flag}-cidr")),
            );
        }
    }
    Ok(Problems::check(problems, |count| match count {
        1 => "this host cannot carry the machines for one reason".into(),
        _ => format!("this host cannot carry the machines for {count} reasons"),
    })?)
}

fn too_little_memory(meminfo: &str, needed: u64) -> Option<Problem> {
    let available = room::memory(meminfo)?;
    (available < needed).then(|| {
        Problem::new(format!(
            "{available} MiB of memory are free, the machines need {needed} MiB"
        ))
        .hint("end other programs, or use fewer machines: --nodes N")
    })
}

fn too_little_disk(state: &Path, needed: u64) -> Option<Problem> {
    let (free, place) = room::disk(state)?;
    (free < needed).then(|| {
        Problem::new(format!(
            "{free} MiB of disk are free in {}, the machines need {needed} MiB",
            place.display()
        ))
        .hint("make room, or use another disk: --state-dir DIR")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_before_a_machine_is_made() {
        let cases = [
            ("MemAvailable:    8388608 kB\n", 8192, None),
            (
                "MemAvailable:    4194304 kB\n",
                8192,
                Some("4096 MiB of memory are free, the machines need 8192 MiB"),
            ),
            // A kernel that does not say is no reason to refuse.
            ("MemTotal: 1 kB\n", 8192, None),
        ];
        for (meminfo, needed, expected) in cases {
            let problem = too_little_memory(meminfo, needed).map(|problem| problem.to_string());
            assert_eq!(problem.as_deref(), expected, "{meminfo:?}");
        }
    }
}
