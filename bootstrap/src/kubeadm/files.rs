//! The configuration files of a node as text: pure functions of the topology.

use serde_json::json;

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

/// The URL of the API server.
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
pub fn kubeadm(topology: &Topology, node: &Node, versions: &Versions) -> Result<String, Problem> {
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
  taints: []
---
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
dns:
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
        kubelet = kubelet(topology, node),
    ))
}

/// kubelet's configuration.
///
/// - `failCgroupV1: false`: hosts with cgroup v1 are supported by this kubelet still.
/// - No image is ever collected as garbage: offline there is nowhere to pull it from again.
/// - Disk limits are absolute: a tenth of a large disk that others fill is no reason to evict.
/// - Certificates are ours, so it neither asks for new ones nor signs its own.
pub fn kubelet(topology: &Topology, node: &Node) -> String {
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
cgroupDriver: cgroupfs
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
",
        dns = topology.dns_address(),
    )
}

/// kube-proxy's configuration. Connection tracking limits are the host's: 0 leaves them alone.
pub fn kube_proxy(topology: &Topology, node: &Node) -> String {
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
",
        pods = topology.ranges.pods,
        name = node.name,
    )
}

/// containerd's configuration.
///
/// `restrict_oom_score_adj`: without `CAP_SYS_RESOURCE` (containers, hardened hosts) a lower score
/// than the own is refused and no pod would start.
pub fn containerd(versions: &Versions) -> String {
    format!(
        "version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/opt/immuops/bin']
conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
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

    #[test]
    fn kubeadm_is_told_where_everything_is() {
        let topology = topology();
        insta::assert_snapshot!(kubeadm(&topology, &topology.nodes[0], &versions()).unwrap());
    }

    #[test]
    fn only_the_control_plane_has_static_pods() {
        let topology = topology();
        assert!(kubelet(&topology, &topology.nodes[0]).contains("staticPodPath"));
        assert!(!kubelet(&topology, &topology.nodes[1]).contains("staticPodPath"));
    }

    #[test]
    fn pods_of_a_node_get_addresses_of_its_range() {
        let topology = topology();
        insta::assert_snapshot!(cni(&topology, &topology.nodes[1]).unwrap());
    }
}
