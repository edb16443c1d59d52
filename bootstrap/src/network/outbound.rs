//! The way from pods to the world outside this host, for clusters that follow a repository there.
//!
//! A cluster with the built-in git server needs none and gets none. The host has to forward packets
//! for it: when it does not do so yet, that is switched on and its former value kept, so that
//! `down` can put it back.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::topology::Topology;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Lets the host forward for the machines of a cluster and gives the chains with which they reach
/// what the host reaches. `state` is the cluster's state
/// directory.
///
/// # Errors
/// When the kernel refuses, naming the command or the file.
pub(super) fn prepare(topology: &Topology, state: &Path) -> anyhow::Result<String> {
    let former = fs::read_to_string(FORWARDING)?;
    if former.trim() != "1" {
        // The note first: a crash between the two lines must not lose the former value.
        fs::write(note(state), &former)?;
        fs::write(FORWARDING, "1")?;
    }
    Ok(chains(topology))
}

/// Puts the host's forwarding back if a cluster changed it. The rules go with the cluster's table.
///
/// # Errors
/// When the setting cannot be written.
pub fn restore(state: &Path) -> anyhow::Result<()> {
    let note = note(state);
    if note.exists() {
        fs::write(FORWARDING, fs::read_to_string(&note)?)?;
        fs::remove_file(note)?;
    }
    Ok(())
}

fn note(state: &Path) -> PathBuf {
    state.join("former-ip-forward")
}

/// Pods leave their machine with its address already; the host puts its own in place of that.
fn chains(topology: &Topology) -> String {
    let (lan, nodes) = (topology.lan(), topology.ranges.nodes);
    format!(
        "\tchain outbound {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         \t\tip saddr {nodes} oifname != \"{lan}\" masquerade\n\
         \t}}\n"
    )
}
