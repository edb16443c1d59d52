//! Turns running machines into a Kubernetes cluster: the files that kubeadm, kubelet, containerd
//! and kube-proxy read, and kubeadm's phases in order.
//!
//! kubeadm writes the static pods, the cluster's own record of its configuration and the DNS
//! addon; certificates and kubeconfigs are ours (see [`crate::pki`]), which it calls external CA
//! mode, and so is starting kubelet, because a machine has no init system that kubeadm knows.

pub mod addons;
pub mod files;
pub mod kubeconfig;
pub mod patience;
mod probes;

use std::time::Duration;

use crate::machine::{Machine, Written};
use crate::pace::Pace;
use crate::pki::Pki;
use crate::pki::plan::Issuer;
use crate::topology::{Node, Role, Topology};
use files::{Surroundings, Versions};
use kubeconfig::Kubeconfig;

/// Where kubeadm's configuration is on the control plane.
const CONFIG: &str = "/etc/kubernetes/kubeadm.yaml";
/// Where kube-proxy's access is in a machine.
pub const KUBE_PROXY_ACCESS: &str = "/var/lib/kube-proxy/kubeconfig";
/// Where the administrator's access is on the control plane.
pub const ADMIN: &str = "/etc/kubernetes/super-admin.conf";

const PHASE_DEADLINE: Duration = Duration::from_secs(90);

/// What changed on a machine that a running kubelet does not notice by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeletNeeds {
    /// Nothing.
    Nothing,
    /// A restart.
    Restart,
}

/// Writes the files that the processes of a machine need, except those that let kubelet and kube-proxy
/// start.
///
/// # Errors
/// When a file cannot be written.
pub fn write_files(
    machine: &dyn Machine,
    topology: &Topology,
    node: &Node,
    pki: &Pki,
    versions: &Versions,
    surroundings: &Surroundings,
) -> anyhow::Result<KubeletNeeds> {
    let put = |path: &str, content: &str| machine.put(path, content.as_bytes(), 0o600);
    put(
        "/etc/containerd/config.toml",
        &files::containerd(versions, surroundings),
    )?;
    put(
        "/etc/cni/net.d/10-immuops.conflist",
        &files::cni(topology, node)?,
    )?;
    put(
        "/var/lib/kube-proxy/config.yaml",
        &files::kube_proxy(topology, node, surroundings),
    )?;

    let ca = pki.authority_certificate(Issuer::Cluster)?;
    put("/etc/kubernetes/pki/ca.crt", &ca)?;
    let server = pki.pair(&format!("nodes/{}/kubelet-server", node.name))?;
    let written = [
        put(
            "/var/lib/kubelet/config.yaml",
            &files::kubelet(topology, node, surroundings),
        )?,
        put("/var/lib/kubelet/pki/server.crt", &server.certificate)?,
        put("/var/lib/kubelet/pki/server.key", &server.key)?,
    ];
    if node.role == Role::ControlPlane {
        write_control_plane_files(machine, topology, node, pki, versions, surroundings)?;
    }
    let restart = written.contains(&Written::New);
    Ok(if restart {
        KubeletNeeds::Restart
    } else {
        KubeletNeeds::Nothing
    })
}

/// Writes the file that a machine's kubelet waits for: its access to the API server.
///
/// # Errors
/// When it cannot be written.
pub fn admit_kubelet(
    machine: &dyn Machine,
    topology: &Topology,
    node: &Node,
    pki: &Pki,
) -> anyhow::Result<Written> {
    let name = format!("nodes/{}/kubelet-client", node.name);
    let config = kubeconfig(topology, pki, &format!("system:node:{}", node.name), &name)?;
    machine.put(
        "/etc/kubernetes/kubelet.conf",
        config.to_string().as_bytes(),
        0o600,
    )
}

/// Writes the file that a machine's kube-proxy waits for: its access to the API server. Once that
/// answers, because a kube-proxy without it does nothing but ask.
///
/// # Errors
/// When it cannot be written.
pub fn admit_kube_proxy(
    machine: &dyn Machine,
    topology: &Topology,
    pki: &Pki,
) -> anyhow::Result<Written> {
    let config = kubeconfig(topology, pki, "kube-proxy", "kube-proxy")?;
    machine.put(KUBE_PROXY_ACCESS, config.to_string().as_bytes(), 0o600)
}

/// Access to the cluster's API server with a certificate of the plan.
///
/// # Errors
/// When the certificate is not there.
pub fn kubeconfig(
    topology: &Topology,
    pki: &Pki,
    user: &str,
    certificate: &str,
) -> anyhow::Result<Kubeconfig> {
    Ok(Kubeconfig {
        cluster: topology.cluster.to_string(),
        server: files::server(topology)?,
        authority: pki.authority_certificate(Issuer::Cluster)?,
        user: user.into(),
        pair: pki.pair(certificate)?,
    })
}

fn write_control_plane_files(
    machine: &dyn Machine,
    topology: &Topology,
    node: &Node,
    pki: &Pki,
    versions: &Versions,
    surroundings: &Surroundings,
) -> anyhow::Result<()> {
    let put = |path: &str, content: &str| {
        machine.put(
            &format!("/etc/kubernetes/{path}"),
            content.as_bytes(),
            0o600,
        )
    };
    for name in [
        "apiserver",
        "apiserver-kubelet-client",
        "apiserver-etcd-client",
        "front-proxy-client",
        "etcd/server",
        "etcd/peer",
        "etcd/healthcheck-client",
    ] {
        let pair = pki.pair(name)?;
        put(&format!("pki/{name}.crt"), &pair.certificate)?;
        put(&format!("pki/{name}.key"), &pair.key)?;
    }
    put(
        "pki/front-proxy-ca.crt",
        &pki.authority_certificate(Issuer::FrontProxy)?,
    )?;
    put("pki/etcd/ca.crt", &pki.authority_certificate(Issuer::Etcd)?)?;
    let (private, public) = pki.service_account_key()?;
    put("pki/sa.key", &private)?;
    put("pki/sa.pub", &public)?;
    for (file, user) in [
        ("admin", "kubernetes-admin"),
        ("super-admin", "kubernetes-super-admin"),
        ("controller-manager", "system:kube-controller-manager"),
        ("scheduler", "system:kube-scheduler"),
    ] {
        let config = kubeconfig(topology, pki, user, file)?;
        put(&format!("{file}.conf"), &config.to_string())?;
    }
    put(
        "kubeadm.yaml",
        &files::kubeadm(topology, node, versions, surroundings)?,
    )?;
    for (file, patch) in patience::patches(surroundings.pace) {
        put(&format!("patches/{file}"), &patch)?;
    }
    Ok(())
}

/// A phase of `kubeadm init` that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Writes etcd's static pod.
    Etcd,
    /// Writes the API server's static pod.
    ApiServer,
    /// Writes the controller manager's static pod.
    ControllerManager,
    /// Writes the scheduler's static pod.
    Scheduler,
    /// Stores the configuration in the cluster, for `kubeadm upgrade`.
    UploadConfig,
    /// Labels the node as a control plane.
    MarkControlPlane,
    /// Installs `CoreDNS`.
    CoreDns,
}

impl Phase {
    /// How `kubeadm init phase` calls it.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Etcd => &["etcd", "local"],
            Self::ApiServer => &["control-plane", "apiserver"],
            Self::ControllerManager => &["control-plane", "controller-manager"],
            Self::Scheduler => &["control-plane", "scheduler"],
            Self::UploadConfig => &["upload-config", "all"],
            Self::MarkControlPlane => &["mark-control-plane"],
            Self::CoreDns => &["addon", "coredns"],
        }
    }

    /// Runs it on the control plane. Every phase can be run again.
    ///
    /// # Errors
    /// When kubeadm fails or takes longer than 90 s, scaled by the pace.
    pub fn run(self, machine: &dyn Machine, pace: Pace) -> anyhow::Result<()> {
        let mut words = vec!["kubeadm", "init", "phase"];
        words.extend(self.words());
        words.extend(["--config", CONFIG]);
        machine
            .run(&words, b"", pace.scale(PHASE_DEADLINE))
            .map(drop)
    }
}
