//! The files of one machine that its node disk does not have: its links, and what runs in it. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::machine::process::Process;
use crate::topology::{Node, NodeName, Topology};

/// QEMU's own name server on the link to the host; it answers only where machines reach outwards, and
/// then names outside the cluster resolve as they do on the host. `CoreDNS` refuses to start without
/// any.
pub(super) const RESOLV_CONF: &str = "nameserver 10.0.2.3\n";

/// The machine's address on the link to the host, the same in every machine: nobody else is on it.
pub(super) const HOST_LINK_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The host's address there.
const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The network of the link to the host.
pub(super) fn host_network() -> Ipv4Net {
    Ipv4Net::new_assert(HOST_LINK_ADDRESS, 24).trunc()
}

/// The hardware address of a link; `link` is 0 for the one to the host and 1 for the one to the
/// other machines.
pub(super) fn hardware_address(name: &NodeName, link: u8) -> String {
    let number: u8 = name.as_str().trim_start_matches('n').parse().unwrap_or(0);
    format!("52:54:00:00:{link:02x}:{number:02x}")
}

/// The link to the host. Only where machines reach outwards does it lead anywhere else: what QEMU
/// would pass on before kube-proxy has its rules goes nowhere instead.
pub(super) fn host_link(node: &Node, outbound: bool) -> String {
    let gateway = if outbound {
        format!("Gateway={HOST_ADDRESS}\n")
    } else {
        String::new()
    };
    format!(
        "[Match]
MACAddress={}

[Network]
Address={HOST_LINK_ADDRESS}/24
{gateway}LinkLocalAddressing=no
IPv6AcceptRA=no
",
        hardware_address(&node.name, 0)
    )
}

/// The link to the other machines, and the way to their pods and to Services.
///
/// Traffic of the machine itself to a Service takes its source address from the route: without one it
/// would be that of the link to the host, which is the same everywhere, and no answer would return.
pub(super) fn lan_link(topology: &Topology, node: &Node) -> String {
    let text = format!(
        "[Match]
MACAddress={mac}

[Network]
Address={address}/{prefix}
LinkLocalAddressing=no
IPv6AcceptRA=no
ConfigureWithoutCarrier=yes
IgnoreCarrierLoss=yes

[Route]
Destination={services}
Scope=link
PreferredSource={address}

[Route]
Destination={own}
Type=blackhole
",
        mac = hardware_address(&node.name, 1),
        address = node.address,
        prefix = topology.ranges.nodes.prefix_len(),
        services = topology.ranges.services,
        // A pod's own route is longer; an address of no pod must not leave the machine.
        own = node.pods,
    );
    let others = topology
        .nodes
        .iter()
        .filter(|other| other.name != node.name);
    others.fold(text, |text, other| {
        format!(
            "{text}\n[Route]\nDestination={}\nGateway={}\n",
            other.pods, other.address
        )
    })
}

/// What the guest's program reads to become a process: one word per line.
pub(super) fn process(process: &Process) -> String {
    let Process {
        name: _,
        command,
        prepare,
        requires,
    } = process;
    let requires = requires
        .iter()
        .map(|path| format!("require {}\n", path.display()));
    let prepare = prepare
        .iter()
        .flatten()
        .map(|word| format!("prepare {word}\n"));
    let command = command.iter().map(|word| format!("command {word}\n"));
    requires.chain(prepare).chain(command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_knows_the_way_to_all_others() {
        let topology = Topology::example(3);
        insta::assert_snapshot!(lan_link(&topology, &topology.nodes[1]));
    }

    #[test]
    fn only_clusters_that_need_it_reach_outwards() {
        let topology = Topology::example(1);
        let node = &topology.nodes[0];
        assert!(!host_link(node, false).contains("Gateway"));
        assert!(host_link(node, true).contains("Gateway=10.0.2.2\n"));
    }

    #[test]
    fn a_process_is_one_word_per_line() {
        let kubelet = Process {
            name: "kubelet".into(),
            command: vec!["kubelet".into(), "--config=a b".into()],
            prepare: Some(vec![
                "nft".into(),
                "add table ip x; delete table ip x".into(),
            ]),
            requires: vec!["/etc/kubernetes/kubelet.conf".into()],
        };
        assert_eq!(
            process(&kubelet),
            "require /etc/kubernetes/kubelet.conf\n\
             prepare nft\nprepare add table ip x; delete table ip x\n\
             command kubelet\ncommand --config=a b\n"
        );
    }
}
