//! One machine of a cluster: what runs in it, and the way to where its containerd has every image.

use std::path::Path;
use std::time::Duration;

use fs_err as fs;

use crate::bundle::Bundle;
use crate::kubeadm::files::Versions;
use crate::kubeadm::{self, KubeletNeeds, addons};
use crate::machine::spec::{Process, Spec};
use crate::machine::supervise::LOGS;
use crate::machine::{Ending, Machine, cgroup};
use crate::network::Switch;
use crate::pki::Pki;
use crate::poll::{self, Answer};
use crate::reporter::{Reporter, Step};
use crate::state::StateDirectory;
use crate::topology::{Node, Role, Topology};

/// Where kubeadm writes the API server's static pod.
const API_SERVER_POD: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

const CONTAINERD_DEADLINE: Duration = Duration::from_mins(1);
const IMPORT_DEADLINE: Duration = Duration::from_mins(5);

/// Whether this run started a machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// It ran already.
    RanBefore,
    /// It did, then.
    At(jiff::Timestamp),
}

/// One machine with the node it becomes.
pub(super) struct Member<'a> {
    pub(super) node: &'a Node,
    pub(super) machine: Machine,
}

/// What runs in a machine.
pub(super) fn machine(
    state: &StateDirectory,
    topology: &Topology,
    node: &Node,
    bundle: &Bundle,
    host: &cgroup::Host,
) -> Machine {
    let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
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
    let processes = vec![
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
            requires: [kube_proxy, "/etc/kubernetes/kubelet.conf"]
                .map(Into::into)
                .into(),
        },
    ];
    Machine::new(Spec {
        name: node.name.clone(),
        directory: state.node(node.name.as_str()),
        bundle: bundle.directory().to_owned(),
        cgroup: host.place(&topology.cluster, &node.name),
        processes,
    })
}

/// Brings one machine to where containerd runs with every image of the bundle.
pub(super) fn start(
    member: &Member<'_>,
    topology: &Topology,
    pki: &Pki,
    versions: &Versions,
    switch: &Switch<'_>,
    bundle: &Bundle,
    reporter: &dyn Reporter,
) -> anyhow::Result<Start> {
    let Member { node, machine } = member;
    let step = Step::start(reporter, format!("machine {}", node.name));
    write_host_files(machine, topology)?;
    let needs = kubeadm::write_files(machine, topology, node, pki, versions)?;
    let before = Spec::read(&machine.spec().directory.join("machine.json")).ok();
    if before.as_ref() != Some(machine.spec()) {
        // It runs another bundle or other processes: it is started anew, its data stays.
        machine.stop(Ending::Graceful)?;
    }
    let mut start = Start::RanBefore;
    match machine.pid()? {
        None => {
            step.progress("starting");
            start = Start::At(jiff::Timestamp::now());
            machine.start(|pid| switch.plug(node, pid))?;
        }
        Some(pid) => {
            switch.route(node, pid)?;
            if needs == KubeletNeeds::Restart {
                restart_kubelet(machine)?;
            }
        }
    }
    step.progress("waiting for containerd");
    poll::until(
        &format!("containerd on {}", node.name),
        CONTAINERD_DEADLINE,
        || {
            let asked = machine.run(&["ctr", "version"], b"", Duration::from_secs(10));
            Ok(match asked {
                Ok(_) => Answer::Done(()),
                Err(error) => Answer::NotYet(error.to_string()),
            })
        },
    )?;
    step.progress("importing images");
    import_images(machine, bundle)?;
    step.finish(&format!("runs at {}", node.address));
    Ok(start)
}

/// The files that every machine has and no part of Kubernetes writes.
fn write_host_files(machine: &Machine, topology: &Topology) -> anyhow::Result<()> {
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
    let hosts = topology
        .nodes
        .iter()
        .fold("127.0.0.1 localhost\n".to_owned(), |all, node| {
            format!("{all}{} {}\n", node.address, node.name)
        });
    machine.put("/etc/hosts", hosts.as_bytes(), 0o644)?;
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

/// Imports every image archive, unless this containerd has those of this bundle.
fn import_images(machine: &Machine, bundle: &Bundle) -> anyhow::Result<()> {
    let archives = bundle.images();
    // Beside the images, so that both are kept or lost together.
    let marker = "/var/lib/containerd/immuops-images";
    let wanted = &bundle.manifest().key;
    if fs::read_to_string(machine.host_path(marker)).is_ok_and(|has| has == *wanted) {
        return Ok(());
    }
    for archive in &archives {
        let inside = Path::new("/opt/immuops").join(archive.path.strip_prefix(bundle.directory())?);
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

/// Ends kubelet; its supervisor starts it again with the new files. Pods do not notice.
fn restart_kubelet(machine: &Machine) -> anyhow::Result<()> {
    let status = machine.status()?;
    let kubelet = status.and_then(|status| {
        status
            .processes
            .into_iter()
            .find(|one| one.name == "kubelet")
    });
    if let Some(pid) = kubelet.and_then(|kubelet| kubelet.pid) {
        machine.run(
            &["sh", "-c", &format!("kill {pid}")],
            b"",
            Duration::from_secs(10),
        )?;
    }
    Ok(())
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
