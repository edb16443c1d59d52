//! One machine of a cluster: what runs in it, and the way to where its containerd has every image.

use std::time::Duration;

use super::{Provider, Start};
use crate::kubeadm::files::Versions;
use crate::kubeadm::{self, KubeletNeeds, patience};
use crate::machine::Machine;
use crate::machine::process::Process;
use crate::pace::Pace;
use crate::pki::Pki;
use crate::poll::{self, Answer};
use crate::reporter::{Reporter, Step};
use crate::topology::{Node, Role, Topology};

/// Where kubeadm writes the API server's static pod.
const API_SERVER_POD: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

const CONTAINERD_DEADLINE: Duration = Duration::from_mins(1);

/// Asks containerd for its version once it listens; `ctr` alone would cost a slow machine a second for
/// each time that it asks too early.
const CONTAINERD_ANSWERS: &str = "test -S /run/containerd/containerd.sock || \
                                  { echo it does not listen yet >&2; exit 1; }; \
                                  exec ctr version";

/// One machine with the node it becomes.
pub(super) struct Member<'a, M> {
    pub(super) node: &'a Node,
    pub(super) machine: M,
}

/// What runs in a machine.
pub(super) fn processes(node: &Node, pace: Pace) -> Vec<Process> {
    let environment = patience::garbage(pace).map(|(name, value)| format!("{name}={value}"));
    let words = |line: &str| -> Vec<String> {
        let environment = environment.iter().flat_map(|setting| ["env", setting]);
        environment
            .chain(line.split(' '))
            .map(String::from)
            .collect()
    };
    // Tables of a kube-proxy that ended are not taken over reliably by the next one. `add` before
    // `delete` makes this work when there are none.
    let tables = "add table ip kube-proxy; delete table ip kube-proxy; \
                  add table ip6 kube-proxy; delete table ip6 kube-proxy";
    let containerd = "/etc/containerd/config.toml";
    let kube_proxy = "/var/lib/kube-proxy/config.yaml";
    let mut kubelet_requires = vec![
        "/etc/kubernetes/kubelet.conf",
        "/run/containerd/containerd.sock",
    ];
    if node.role == Role::ControlPlane {
        // Until this static pod is there, kubelet would only ask an API server that never comes.
        kubelet_requires.push(API_SERVER_POD);
    }
    vec![
        Process {
            name: "containerd".into(),
            command: words(&format!("containerd --config {containerd}")),
            prepare: None,
            requires: vec![containerd.into()],
        },
        Process {
            name: "kubelet".into(),
            command: words(&format!(
                "kubelet --config=/var/lib/kubelet/config.yaml \
                 --kubeconfig=/etc/kubernetes/kubelet.conf --hostname-override={} --node-ip={}",
                node.name, node.address
            )),
            prepare: None,
            requires: kubelet_requires.into_iter().map(Into::into).collect(),
        },
        Process {
            name: "kube-proxy".into(),
            command: words(&format!("kube-proxy --config={kube_proxy}")),
            prepare: Some(vec!["nft".into(), tables.into()]),
            requires: [kube_proxy, kubeadm::KUBE_PROXY_ACCESS]
                .map(Into::into)
                .into(),
        },
    ]
}

/// Brings one machine to where containerd runs with every image of the bundle.
pub(super) fn start<P: Provider>(
    provider: &P,
    member: &Member<'_, P::Machine>,
    topology: &Topology,
    pki: &Pki,
    versions: &Versions,
    reporter: &dyn Reporter,
) -> anyhow::Result<Start> {
    let Member { node, machine } = member;
    let step = Step::start(reporter, format!("machine {}", node.name));
    provider.put_own_files(machine)?;
    machine.put("/etc/hosts", hosts(topology).as_bytes(), 0o644)?;
    let surroundings = provider.surroundings();
    let needs = kubeadm::write_files(machine, topology, node, pki, versions, &surroundings)?;
    let start = provider.start(node, machine, &step)?;
    if start == Start::RanBefore && needs == KubeletNeeds::Restart {
        machine.restart("kubelet")?;
    }
    let pace = provider.pace();
    step.progress("waiting for containerd");
    poll::sparingly(
        &format!("containerd on {}", node.name),
        pace.scale(CONTAINERD_DEADLINE),
        || {
            let limit = pace.scale(Duration::from_secs(10));
            Ok(
                match machine.run(&["sh", "-c", CONTAINERD_ANSWERS], b"", limit) {
                    Ok(_) => Answer::Done(()),
                    Err(error) => Answer::NotYet(error.to_string()),
                },
            )
        },
    )?;
    provider.provide_images(machine, &step)?;
    step.finish(&format!("runs at {}", node.address));
    Ok(start)
}

/// Every machine knows all others by name.
fn hosts(topology: &Topology) -> String {
    topology
        .nodes
        .iter()
        .fold("127.0.0.1 localhost\n".to_owned(), |all, node| {
            format!("{all}{} {}\n", node.address, node.name)
        })
}
