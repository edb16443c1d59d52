//! The network between the machines of a native cluster and the host.
//!
//! ```text
//!   host                    switch (a network namespace)         machine n1
//!   <cluster>-lan ───veth─── host ┐
//!    .1                           ├ bridge lan ┬ n1 ───veth─── eth0 .11
//!                                 ┘            └ n2 ───veth─── eth0 .12   (machine n2)
//! ```
//!
//! The bridge has a namespace of its own, so frames between machines never pass the host's packet
//! filter: a host whose `FORWARD` policy is `DROP` (Docker sets it) needs no rule for us, and the
//! host shows one link, which goes when the switch goes. Machines plug in when they start; the
//! kernel removes their cable when they end.

pub mod clash;
pub mod forward;
pub(crate) mod host_table;
pub mod outbound;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Pid;

use crate::command::run;
use crate::problem::{OrProblem, Problem};
use crate::topology::{Node, Topology};

const DEADLINE: Duration = Duration::from_secs(20);

/// Whether a cluster may reach what its host reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// No: everything it needs is inside.
    Closed,
    /// Yes: it follows a repository out there.
    Open,
}

/// Makes the host's rules for a cluster exactly these: its forwarded ports and its way out. `state`
/// is the cluster's state directory.
///
/// # Errors
/// When the kernel refuses, naming the command or the file.
pub fn connect(
    topology: &Topology,
    state: &Path,
    forwards: &[forward::Forward],
    outbound: Outbound,
) -> anyhow::Result<()> {
    let mut chains = forward::prepare(forwards, topology)?;
    if outbound == Outbound::Open {
        chains += &outbound::prepare(topology, state)?;
    }
    Ok(host_table::replace(&topology.cluster, &chains)?)
}

/// The switch of one cluster.
#[derive(Debug)]
pub struct Switch<'a> {
    topology: &'a Topology,
    /// The file that keeps the namespace.
    namespace: PathBuf,
}

impl<'a> Switch<'a> {
    /// The switch of the cluster in `state`; makes nothing.
    pub fn new(topology: &'a Topology, state: &Path) -> Self {
        Self {
            topology,
            namespace: state.join("switch"),
        }
    }

    /// Whether the switch and the host's link are there.
    pub fn exists(&self) -> bool {
        is_namespace(&self.namespace) && link_exists(&self.topology.lan())
    }

    /// Makes the switch and plugs the host in, unless that is done.
    ///
    /// # Errors
    /// When the kernel refuses, naming the command.
    pub fn ensure(&self) -> anyhow::Result<()> {
        if self.exists() {
            return Ok(());
        }
        // Half a switch is of no use: begin from nothing.
        self.remove()?;
        fs::write(&self.namespace, "")?;
        let mut file = std::ffi::OsString::from("--net=");
        file.push(&self.namespace);
        run(Command::new("unshare").arg(file).arg("true"), b"", DEADLINE)?;
        let lan = self.topology.lan();
        let own = std::process::id();
        self.ip(&format!(
            "link add lan type bridge forward_delay 0 stp_state 0\n\
             link set lan up\n\
             link add host type veth peer name {lan} netns {own}\n\
             link set host master lan up\n"
        ))?;
        let address = self.topology.host_address();
        let prefix = self.topology.ranges.nodes.prefix_len();
        let batch = format!("addr add {address}/{prefix} dev {lan}\nlink set {lan} up\n");
        run(
            Command::new("ip").args(["-batch", "-"]),
            batch.as_bytes(),
            DEADLINE,
        )?;
        Ok(())
    }

    /// Plugs in a machine whose first process is `pid`: cable, address, routes to the other
    /// machines' pods, and masquerading of what pods send to anything that is not a pod.
    ///
    /// # Errors
    /// When the kernel refuses, naming the command.
    pub fn plug(&self, node: &Node, pid: Pid) -> anyhow::Result<()> {
        let name = &node.name;
        self.ip(&format!(
            "link add {name} type veth peer name eth0 netns {}\n\
             link set {name} master lan up\n",
            pid.as_raw_nonzero()
        ))?;
        inside(
            pid,
            &["ip", "-batch", "-"],
            &machine_links(self.topology, node),
        )?;
        inside(pid, &["nft", "-f", "-"], &masquerading(self.topology))?;
        self.route(node, pid)
    }

    /// Tells a machine the way to the pods of all others. Done again when the cluster has grown.
    ///
    /// # Errors
    /// When the kernel refuses, naming the command.
    pub fn route(&self, node: &Node, pid: Pid) -> anyhow::Result<()> {
        let routes = pod_routes(self.topology, node);
        Ok(inside(pid, &["ip", "-batch", "-"], &routes)?)
    }

    /// Removes the switch with every cable in it, if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        if is_namespace(&self.namespace) {
            // The host's link goes with its peer; asked for explicitly because a namespace is
            // taken apart in the background.
            if link_exists(&self.topology.lan()) {
                self.ip("link del host\n")?;
            }
            unmount(&self.namespace, UnmountFlags::DETACH).or_problem(|| {
                Problem::new(format!("failed to release {}", self.namespace.display()))
            })?;
        }
        match fs::remove_file(&self.namespace) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Runs a batch of `ip` inside the switch.
    fn ip(&self, batch: &str) -> Result<(), Problem> {
        let mut file = std::ffi::OsString::from("--net=");
        file.push(&self.namespace);
        let mut command = Command::new("nsenter");
        command.arg(file).args(["--", "ip", "-batch", "-"]);
        run(&mut command, batch.as_bytes(), DEADLINE).map(drop)
    }
}

/// Runs a command of the host in the network of a process.
fn inside(pid: Pid, words: &[&str], input: &str) -> Result<(), Problem> {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{}/ns/net", pid.as_raw_nonzero()))
        .arg("--")
        .args(words);
    run(&mut command, input.as_bytes(), DEADLINE).map(drop)
}

/// Whether a link of this name is on the host.
pub fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Whether a network namespace is mounted on this file.
fn is_namespace(file: &Path) -> bool {
    // From the kernel's linux/magic.h; rustix has no name for it.
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    rustix::fs::statfs(file).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(NSFS_MAGIC))
}

/// The `ip` commands that configure a machine's links.
fn machine_links(topology: &Topology, node: &Node) -> String {
    let address = node.address;
    let prefix = topology.ranges.nodes.prefix_len();
    format!(
        "link set lo up\n\
         addr add {address}/{prefix} dev eth0\n\
         link set eth0 up\n\
         route add default via {host}\n\
         route add blackhole {own_pods}\n",
        host = topology.host_address(),
        // A pod's own route is longer; an address of no pod must not leave the machine.
        own_pods = node.pods,
    )
}

/// The `ip` commands that lead a machine to the pods of all others.
fn pod_routes(topology: &Topology, node: &Node) -> String {
    let others = topology
        .nodes
        .iter()
        .filter(|other| other.name != node.name);
    let route = |other: &Node| format!("route replace {} via {}\n", other.pods, other.address);
    others.map(route).collect()
}

/// The `nft` rules that let pods reach the nodes' network and the host, which have no route back
/// to pods.
pub(crate) fn masquerading(topology: &Topology) -> String {
    let pods = topology.ranges.pods;
    format!(
        "table ip immuops {{\n\
        \tchain leaving {{\n\
        \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
        \t\tip saddr {pods} ip daddr != {pods} masquerade\n\
        \t}}\n\
        }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology::example(3)
    }

    #[test]
    fn a_machine_knows_the_way_to_all_other_pods() {
        let topology = topology();
        assert_eq!(
            machine_links(&topology, &topology.nodes[1]),
            "link set lo up\n\
             addr add 10.213.0.12/24 dev eth0\n\
             link set eth0 up\n\
             route add default via 10.213.0.1\n\
             route add blackhole 10.214.2.0/24\n"
        );
        assert_eq!(
            pod_routes(&topology, &topology.nodes[1]),
            "route replace 10.214.1.0/24 via 10.213.0.11\n\
             route replace 10.214.3.0/24 via 10.213.0.13\n"
        );
    }

    #[test]
    fn traffic_between_pods_keeps_its_address() {
        assert!(
            masquerading(&topology()).contains("ip saddr 10.214.0.0/16 ip daddr != 10.214.0.0/16")
        );
    }
}
