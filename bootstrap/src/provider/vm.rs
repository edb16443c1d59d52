//! Machines that are QEMU virtual machines: no root, no libvirt, nothing installed on the host.
//!
//! ```text
//! host loopback ──forwards──▶ eth0 10.0.2.15  ┐
//!                                             │ n1 ─ eth1 .11 ─┐
//!                                                              ├─ switch (a process, unix sockets)
//!                                               n2 ─ eth1 .12 ─┘
//! ```
//!
//! A machine's root is an overlay over the bundle's node disk and new at every start; what must last
//! is on its data disk, what it is told comes from the host on a third disk at every start. Each
//! machine and the switch are processes that hold a lock; they outlive `up`.

pub mod accelerator;
pub mod boot;
mod exec;
mod files;
mod forwards;
pub mod machine;
pub mod preflight;
mod qemu;
mod qmp;
mod sockets;
pub mod spec;
pub mod switch;
mod terminal;
#[path = "../../bundle/machine/wire.rs"]
mod wire;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{Kind, Provider, Start};
use crate::bundle::{NodeDisk, Tools};
use crate::kubeadm::files::{Cgroups, Surroundings};
use crate::machine::process::Process;
use crate::machine::{Ending, Machine, Written, holder};
use crate::network::Outbound;
use crate::network::forward::Forward;
use crate::pace::Pace;
use crate::problem::{OrProblem, Problem};
use crate::reporter::Step;
use crate::state::{StateDirectory, read_port, write_port};
use crate::topology::{Node, Role, Topology};
use accelerator::Verdict;
use machine::VmMachine;
use spec::VmSpec;

/// Where the API server listens on the control plane.
const API_PORT: u16 = 6443;
const SWITCH_DEADLINE: Duration = Duration::from_secs(10);

/// The machines of one cluster as virtual machines.
#[derive(Debug)]
pub struct Vm<'a> {
    /// Where the cluster's files are.
    pub state: &'a StateDirectory,
    /// The cluster on paper.
    pub topology: &'a Topology,
    /// What makes and runs them.
    pub tools: &'a Tools,
    /// What runs their processors.
    pub verdict: &'a Verdict,
    /// The disk they start from.
    pub disk: &'a NodeDisk,
    /// Whether they reach what the host reaches.
    pub outbound: Outbound,
}

impl Provider for Vm<'_> {
    type Machine = VmMachine;

    fn kind(&self) -> Kind {
        Kind::Vm
    }

    fn pace(&self) -> Pace {
        self.verdict.pace
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            cgroups: Cgroups::Systemd,
            pace: self.verdict.pace,
            node_ports: vec![files::host_network()],
        }
    }

    /// A port of the loopback, chosen once; again when something else has taken it meanwhile.
    fn api(&self) -> anyhow::Result<SocketAddrV4> {
        let path = self.state.api_port();
        let address = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let first = self.topology.control_plane();
        let first = first.ok_or_else(|| Problem::new("the topology has no control plane"))?;
        if let Some(port) = read_port(&path)? {
            let runs = VmMachine::is_running(&self.state.node(first.name.as_str()))?;
            if runs || TcpListener::bind(address(port)).is_ok() {
                return Ok(address(port));
            }
        }
        let free = TcpListener::bind(address(0))
            .or_problem(|| Problem::new("no port of 127.0.0.1 is free"))?;
        let port = free.local_addr()?.port();
        write_port(&path, port)?;
        Ok(address(port))
    }

    fn connect(&self) -> anyhow::Result<String> {
        switch::ensure(&self.state.sockets())?;
        Ok(format!("{} on a switch", self.topology.ranges.nodes))
    }

    fn machine(&self, node: &Node, processes: Vec<Process>) -> anyhow::Result<VmMachine> {
        let directory = self.state.node(node.name.as_str());
        let accelerator = self.verdict.accelerator;
        let cores = thread::available_parallelism()?.get();
        let processors = spec::processors(accelerator, node.role, cores, self.topology.nodes.len());
        let size = spec::Size::of(node.role, accelerator, processors);
        VmMachine::new(
            VmSpec {
                name: node.name.clone(),
                directory,
                sockets: self.state.sockets(),
                tools: self.tools.directory().to_owned(),
                disk: self.disk.path.clone(),
                accelerator,
                size,
                outbound: self.outbound == Outbound::Open,
            },
            processes,
        )
    }

    fn put_own_files(&self, machine: &VmMachine) -> anyhow::Result<()> {
        let node = self.topology.nodes.iter();
        let node = node.clone().find(|node| node.name == *machine.name());
        let node = node.ok_or_else(|| Problem::new("the machine is of another cluster"))?;
        machine.put("/etc/resolv.conf", files::RESOLV_CONF.as_bytes(), 0o644)?;
        let rules = crate::network::masquerading(self.topology);
        machine.put("/etc/nftables.conf", rules.as_bytes(), 0o644)?;
        for process in machine.planned() {
            let path = format!("/etc/immuops/processes/{}", process.name);
            machine.put(&path, files::process(process).as_bytes(), 0o644)?;
        }
        let host = files::host_link(node, self.outbound == Outbound::Open);
        let lan = files::lan_link(self.topology, node);
        let links = "/etc/systemd/network";
        let written = [
            machine.put(&format!("{links}/10-host.network"), host.as_bytes(), 0o644)?,
            machine.put(&format!("{links}/20-lan.network"), lan.as_bytes(), 0o644)?,
        ];
        if written.contains(&Written::New) && machine.pid()?.is_some() {
            machine.reload_network()?;
        }
        Ok(())
    }

    fn start(&self, node: &Node, machine: &VmMachine, step: &Step<'_>) -> anyhow::Result<Start> {
        let before = VmSpec::read(&machine.spec().directory).ok();
        if before.as_ref() != Some(machine.spec()) {
            machine.stop(Ending::Graceful)?;
        }
        let start = if machine.pid()?.is_some() {
            Start::RanBefore
        } else {
            step.progress("starting");
            let start = Start::At(jiff::Timestamp::now());
            machine.start(step)?;
            start
        };
        if node.role == Role::ControlPlane {
            let api = self.api()?;
            forwards::add(machine.spec(), api.port(), API_PORT)?;
        }
        Ok(start)
    }

    /// They are on the disk that every machine starts from.
    fn provide_images(&self, _: &VmMachine, _: &Step<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    /// Machines are started with their way out, see [`Vm::outbound`].
    fn open(&self, wanted: &[Forward], _: Outbound) -> anyhow::Result<()> {
        let first = self.topology.control_plane();
        let first = first.ok_or_else(|| Problem::new("the topology has no control plane"))?;
        let spec = VmSpec::read(&self.state.node(first.name.as_str()))?;
        let ports = wanted.iter().map(|one| (one.port, one.to.port()));
        let api = (self.api()?.port(), API_PORT);
        forwards::make(&spec, &ports.chain([api]).collect::<Vec<_>>())
    }
}

/// Ends the switch of a cluster whose machines have ended.
///
/// # Errors
/// When it does not end.
pub(super) fn disconnect(state: &StateDirectory) -> anyhow::Result<()> {
    let lock = switch::lock(&state.sockets());
    holder::end(&lock, "the switch", Signal::TERM, SWITCH_DEADLINE)
}
