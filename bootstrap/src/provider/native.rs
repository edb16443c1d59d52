//! Machines that are namespaces on this host: no virtual machine, but root is needed.

pub mod cgroup;
mod log;
pub mod machine;
pub mod preflight;
mod root;
pub mod spec;
pub mod stage;
mod supervise;
mod supervised;

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;

use super::{Kind, Provider, Start};
use crate::bundle::Bundle;
use crate::kubeadm::addons;
use crate::kubeadm::files::{Cgroups, Surroundings};
use crate::machine::process::Process;
use crate::machine::{Ending, Machine};
use crate::network::forward::Forward;
use crate::network::{self, Outbound, Switch, host_table, outbound};
use crate::pace::Pace;
use crate::problem::Problem;
use crate::reporter::Step;
use crate::state::StateDirectory;
use crate::topology::{Node, Topology};
use machine::NativeMachine;
use spec::Spec;
use supervise::LOGS;

const IMPORT_DEADLINE: Duration = Duration::from_mins(5);

/// The machines of one cluster on this host.
#[derive(Debug)]
pub struct Native<'a> {
    /// Where the cluster's files are.
    pub state: &'a StateDirectory,
    /// The cluster on paper.
    pub topology: &'a Topology,
    /// What the machines run.
    pub bundle: &'a Bundle,
    /// What kind of control groups this host has.
    pub host: cgroup::Host,
}

impl Provider for Native<'_> {
    type Machine = NativeMachine;

    fn kind(&self) -> Kind {
        Kind::Native
    }

    fn pace(&self) -> Pace {
        Pace::USUAL
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            cgroups: Cgroups::Files,
            pace: Pace::USUAL,
            node_ports: Vec::new(),
        }
    }

    fn api(&self) -> anyhow::Result<SocketAddrV4> {
        let node = self.topology.control_plane();
        let node = node.ok_or_else(|| Problem::new("the topology has no control plane"))?;
        Ok(SocketAddrV4::new(node.address, 6443))
    }

    fn connect(&self) -> anyhow::Result<String> {
        self.switch().ensure()?;
        let range = self.topology.ranges.nodes;
        Ok(format!("{range} on {}", self.topology.lan()))
    }

    fn machine(&self, node: &Node, processes: Vec<Process>) -> anyhow::Result<NativeMachine> {
        Ok(NativeMachine::new(Spec {
            name: node.name.clone(),
            directory: self.state.node(node.name.as_str()),
            bundle: self.bundle.directory().to_owned(),
            cgroup: self.host.place(&self.topology.cluster, &node.name),
            processes,
        }))
    }

    fn put_own_files(&self, machine: &NativeMachine) -> anyhow::Result<()> {
        for path in ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"] {
            if Path::new(path).exists() {
                machine.put(path, &fs::read(path)?, 0o644)?;
            }
        }
        if !machine.host_path("/etc/machine-id").exists() {
            let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.replace('-', "");
            machine.put("/etc/machine-id", id.as_bytes(), 0o444)?;
        }
        let name = &machine.spec().name;
        machine.put("/etc/hostname", format!("{name}\n").as_bytes(), 0o644)?;
        machine.put("/etc/resolv.conf", resolv_conf()?.as_bytes(), 0o644)?;
        for directory in [
            "log/immuops",
            "lib/containerd",
            "lib/kubelet",
            "lib/etcd",
            "log/pods",
        ] {
            fs::create_dir_all(machine.host_path(&format!("/var/{directory}")))?;
        }
        fs::create_dir_all(machine.host_path(LOGS))?;
        for number in 1..=addons::VOLUMES {
            fs::create_dir_all(machine.host_path(&addons::volume_path(number)))?;
        }
        Ok(())
    }

    fn start(
        &self,
        node: &Node,
        machine: &NativeMachine,
        step: &Step<'_>,
    ) -> anyhow::Result<Start> {
        let before = Spec::read(&machine.spec().directory.join("machine.json")).ok();
        if before.as_ref() != Some(machine.spec()) {
            // It runs another bundle or other processes: it is started anew, its data stays.
            machine.stop(Ending::Graceful)?;
        }
        let switch = self.switch();
        if let Some(pid) = machine.pid()? {
            switch.route(node, pid)?;
            return Ok(Start::RanBefore);
        }
        step.progress("starting");
        let start = Start::At(jiff::Timestamp::now());
        machine.start(|pid| switch.plug(node, pid))?;
        Ok(start)
    }

    /// Imports every image archive, unless this containerd has those of this bundle.
    fn provide_images(&self, machine: &NativeMachine, step: &Step<'_>) -> anyhow::Result<()> {
        step.progress("importing images");
        // Beside the images, so that both are kept or lost together.
        let marker = "/var/lib/containerd/immuops-images";
        let wanted = &self.bundle.manifest().key;
        if fs::read_to_string(machine.host_path(marker)).is_ok_and(|has| has == *wanted) {
            return Ok(());
        }
        for archive in &self.bundle.images() {
            let path = archive.path.strip_prefix(self.bundle.directory())?;
            let inside = Path::new("/opt/immuops").join(path);
            let inside = inside.to_string_lossy();
            machine.run(
                &[
                    "ctr",
                    "--namespace=k8s.io",
                    "images",
                    "import",
                    "--local",
                    "--no-unpack",
                    &inside,
                ],
                b"",
                IMPORT_DEADLINE,
            )?;
        }
        machine.put(marker, wanted.as_bytes(), 0o644)?;
        Ok(())
    }

    fn open(&self, forwards: &[Forward], outbound: Outbound) -> anyhow::Result<()> {
        network::connect(self.topology, self.state.path(), forwards, outbound)
    }
}

impl Native<'_> {
    fn switch(&self) -> Switch<'_> {
        Switch::new(self.topology, self.state.path())
    }
}

/// Removes what the machines in `machines` and their network leave on this host; none may run.
///
/// # Errors
/// When something resists; running it again goes on.
pub(super) fn remove(
    state: &StateDirectory,
    topology: Option<&Topology>,
    machines: &[NativeMachine],
) -> anyhow::Result<()> {
    for machine in machines {
        machine.remove_cgroups()?;
    }
    if let Some(machine) = machines.first() {
        machine.remove_cluster_cgroups()?;
    }
    if let Some(topology) = topology {
        host_table::remove(&topology.cluster)?;
        outbound::restore(state.path())?;
        Switch::new(topology, state.path()).remove()?;
    }
    Ok(())
}

/// The host's name servers as far as a machine can use them. `CoreDNS` refuses to start without any
/// and with one on loopback, so where the host has no other the host itself stands in: it may not
/// answer, and then names outside the cluster do not resolve, as offline.
fn resolv_conf() -> anyhow::Result<String> {
    // systemd-resolved lists the real servers here and itself in /etc/resolv.conf.
    let candidates = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    let path = candidates.into_iter().find(|path| Path::new(path).exists());
    let text = path
        .map(fs::read_to_string)
        .transpose()?
        .unwrap_or_default();
    Ok(usable_name_servers(&text))
}

fn usable_name_servers(resolv_conf: &str) -> String {
    let servers = resolv_conf.lines().filter_map(|line| {
        let server = line.trim().strip_prefix("nameserver")?.trim();
        let address: std::net::IpAddr = server.parse().ok()?;
        (!address.is_loopback()).then(|| format!("nameserver {address}\n"))
    });
    let servers: String = servers.take(3).collect();
    // TEST-NET-1 (RFC 5737) belongs to nobody.
    if servers.is_empty() {
        "nameserver 192.0.2.1\n".into()
    } else {
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_that_a_machine_can_use() {
        let cases = [
            ("nameserver 10.0.0.2\nsearch lan\n", "nameserver 10.0.0.2\n"),
            (
                "nameserver 127.0.0.53\nnameserver 9.9.9.9\n",
                "nameserver 9.9.9.9\n",
            ),
            ("nameserver ::1\n", "nameserver 192.0.2.1\n"),
            ("", "nameserver 192.0.2.1\n"),
        ];
        for (host, machine) in cases {
            assert_eq!(usable_name_servers(host), machine, "{host:?}");
        }
    }
}
