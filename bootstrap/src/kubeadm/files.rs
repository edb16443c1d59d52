//! The configuration files of a node as text: pure functions of the topology.

use ipnet::Ipv4Net;
use serde_json::json;

use super::patience;
use crate::pace::Pace;
use crate::pki::plan::DOMAIN;
use crate::problem::Problem;
use crate::topology::{Node, Role, Topology};

/// What the bundle has, as kubeadm and containerd need to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Kubernetes, as in `v1.37.2`.
    pub kubernetes: String,
    /// The tag of the etcd image.
    pub etcd: String,
    /// The tag of the `CoreDNS` image.
    pub coredns: String,
    /// The full reference of the pause image.
    pub pause: String,
}

/// Who makes the control groups of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// kubelet and containerd themselves, as directories.
    Files,
    /// The machine's systemd.
    Systemd,
}

/// What differs between kinds of machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Who makes the control groups of pods.
    pub cgroups: Cgroups,
    /// How slow the machines are.
    pub pace: Pace,
    /// Addresses of a machine that node ports answer on, besides the one it has in the nodes'
    /// network.
    pub node_ports: Vec<Ipv4Net>,
}

/// The URL of the API server for nodes.
///
/// # Errors
/// When the topology has no control plane.
pub fn server(topology: &Topology) -> Result<String, Problem> {
    topology
        .control_plane()
        .map(|node| format!("https://{}:6443", node.address))
        .ok_or_else(|| Problem::new("the topology has no control plane"))
}

/// kubeadm's configuration, `kubeadm.k8s.io/v1beta4`.
///
/// # Errors
/// When the topology has no control plane.
pub fn kubeadm(
    topology: &Topology,
    node: &Node,
    versions: &Versions,
    surroundings: &Surroundings,
) -> Result<String, Problem> {
    let endpoint = server(topology)?;
    let endpoint = endpoint.trim_start_matches("https://");
    Ok(format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {address}
  bindPort: 6443
nodeRegistration:
  name: {name}
  criSocket: unix:///run/containerd/containerd.sock
{taints}{init}---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: {cluster}
kubernetesVersion: {kubernetes}
controlPlaneEndpoint: {endpoint}
networking:
  dnsDomain: {DOMAIN}
  serviceSubnet: {services}
etcd:
  local:
    imageTag: {etcd}
{etcd_arguments}{components}dns:
  imageTag: {coredns}
---
{kubelet}",
        address = node.address,
        name = node.name,
        cluster = topology.cluster,
        kubernetes = versions.kubernetes,
        services = topology.ranges.services,
        etcd = versions.etcd,
        coredns = versions.coredns,
        taints = patience::taints(surroundings.pace),
        init = patience::init(surroundings.pace),
        etcd_arguments = patience::etcd(surroundings.pace),
        components = patience::components(surroundings.pace),
        kubelet = kubelet(topology, node, surroundings),
    ))
}

/// kubelet's configuration.
///
/// - `failCgroupV1: false`: hosts with cgroup v1 are supported by this kubelet still.
/// - No image is ever collected as garbage: offline there is nowhere to pull it from again.
/// - Disk limits are absolute: a tenth of a large disk that others fill is no reason to evict.
/// - Certificates are ours, so it neither asks for new ones nor signs its own.
pub fn kubelet(topology: &Topology, node: &Node, surroundings: &Surroundings) -> String {
    let driver = match surroundings.cgroups {
        Cgroups::Files => "cgroupfs",
        Cgroups::Systemd => "systemd",
    };
    let static_pods = match node.role {
        Role::ControlPlane => "staticPodPath: /etc/kubernetes/manifests\n",
        Role::Worker => "",
    };
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
cgroupDriver: {driver}
clusterDNS:
- {dns}
clusterDomain: {DOMAIN}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard:
  imagefs.available: 1Gi
  imagefs.inodesFree: 1%
  memory.available: 100Mi
  nodefs.available: 1Gi
  nodefs.inodesFree: 1%
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
resolvConf: /etc/resolv.conf
rotateCertificates: false
{static_pods}tlsCertFile: /var/lib/kubelet/pki/server.crt
tlsPrivateKeyFile: /var/lib/kubelet/pki/server.key
volumePluginDir: /var/lib/kubelet/volume-plugins
{patience}",
        dns = topology.dns_address(),
        patience = patience::kubelet(surroundings.pace),
    )
}

/// kube-proxy's configuration. Connection tracking limits are the host's: 0 leaves them alone.
pub fn kube_proxy(topology: &Topology, node: &Node, surroundings: &Surroundings) -> String {
    // Without a list it is the node's own address alone.
    let node_ports = match surroundings.node_ports.as_slice() {
        [] => String::new(),
        more => {
            let own = Ipv4Net::from(node.address);
            [&[own], more]
                .concat()
                .iter()
                .fold("nodePortAddresses:\n".to_owned(), |all, range| {
                    format!("{all}- {range}\n")
                })
        }
    };
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection:
  kubeconfig: /var/lib/kube-proxy/kubeconfig
clusterCIDR: {pods}
conntrack:
  maxPerCore: 0
  min: 0
  tcpCloseWaitTimeout: 0s
  tcpEstablishedTimeout: 0s
healthzBindAddress: 127.0.0.1:10256
hostnameOverride: {name}
metricsBindAddress: 127.0.0.1:10249
mode: nftables
{node_ports}",
        pods = topology.ranges.pods,
        name = node.name,
    )
}

/// containerd's configuration.
///
/// `restrict_oom_score_adj`: without `CAP_SYS_RESOURCE` (containers, hardened hosts) a lower score
/// than the own is refused and no pod would start.
///
/// `stats_collect_period`: every container's use of the processor is asked for as often as kubelet looks
/// at it. containerd's own choice, every second, is the larger part of what an idle machine does.
pub fn containerd(versions: &Versions, surroundings: &Surroundings) -> String {
    let systemd = surroundings.cgroups == Cgroups::Systemd;
    format!(
        "version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
stats_collect_period = '10s'
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/opt/immuops/bin']
conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = {systemd}
",
        pause = versions.pause,
    )
}

/// The network of a node's pods. Each pod has a routed cable of its own (`ptp`) instead of a port
/// on a bridge: traffic between two pods of one node then passes the packet filter on hosts
/// without `br_netfilter` too, which Services need.
///
/// # Errors
/// When the text cannot be made.
pub fn cni(topology: &Topology, node: &Node) -> anyhow::Result<String> {
    let list = json!({
        "cniVersion": "1.0.0",
        "name": topology.cluster,
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{ "subnet": node.pods }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            {
                "type": "portmap",
                "capabilities": { "portMappings": true },
                "backend": "nftables",
            },
        ],
    });
    Ok(serde_json::to_string_pretty(&list)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology::example(2)
    }

    fn versions() -> Versions {
        Versions {
            kubernetes: "v1.37.2".into(),
            etcd: "3.7.0-0".into(),
            coredns: "v1.14.6".into(),
            pause: "registry.k8s.io/pause:3.10.2".into(),
        }
    }

    fn usual() -> Surroundings {
        Surroundings {
            cgroups: Cgroups::Files,
            pace: Pace::USUAL,
            node_ports: Vec::new(),
        }
    }

    fn emulated() -> Surroundings {
        Surroundings {
            cgroups: Cgroups::Systemd,
            pace: Pace::slower(6),
            node_ports: vec!["10.0.2.0/24".parse().unwrap()],
        }
    }

    #[test]
    fn slow_machines_are_patient_with_each_other() {
        let topology = topology();
        let node = &topology.nodes[0];
        insta::assert_snapshot!(kubeadm(&topology, node, &versions(), &emulated()).unwrap());
    }

    #[test]
    fn node_ports_answer_where_the_host_comes_in() {
        let topology = topology();
        let node = &topology.nodes[0];
        let text = kube_proxy(&topology, node, &emulated());
        let list = "nodePortAddresses:\n- 10.213.0.11/32\n- 10.0.2.0/24\n";
        assert!(text.ends_with(list), "{text}");
        assert!(!kube_proxy(&topology, node, &usual()).contains("nodePortAddresses"));
    }

    #[test]
    fn kubeadm_is_told_where_everything_is() {
        let topology = topology();
        insta::assert_snapshot!(
            kubeadm(&topology, &topology.nodes[0], &versions(), &usual()).unwrap()
        );
    }

    #[test]
    fn only_the_control_plane_has_static_pods() {
        let topology = topology();
        assert!(kubelet(&topology, &topology.nodes[0], &usual()).contains("staticPodPath"));
        assert!(!kubelet(&topology, &topology.nodes[1], &usual()).contains("staticPodPath"));
    }

    #[test]
    fn pods_of_a_node_get_addresses_of_its_range() {
        let topology = topology();
        insta::assert_snapshot!(cni(&topology, &topology.nodes[1]).unwrap());
    }
}
