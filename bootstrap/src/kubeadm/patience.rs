//! What the components of a slow cluster are told, so that none gives up on another while it waits
//! for a processor. Pieces of kubeadm's files, all empty at the usual pace.
//!
//! Each setting answers a failure seen on emulated machines: lost leader elections (one control
//! plane needs none), liveness probes of an API server that was only late, etcd members that missed
//! heartbeats, nodes declared lost.

use crate::pace::Pace;

/// Where the patches are on the control plane.
const PATCHES: &str = "/etc/kubernetes/patches";

/// The rest of kubeadm's `InitConfiguration`.
pub(super) fn init(pace: Pace) -> String {
    if !pace.is_slow() {
        return String::new();
    }
    let minutes = 2 * pace.factor();
    format!(
        "patches:
  directory: {PATCHES}
timeouts:
  controlPlaneComponentHealthCheck: {minutes}m0s
  kubernetesAPICall: {minutes}m0s
  etcdAPICall: {minutes}m0s
"
    )
}

/// The rest of `etcd.local`.
pub(super) fn etcd(pace: Pace) -> &'static str {
    if pace.is_slow() {
        "    extraArgs:
    - name: heartbeat-interval
      value: \"1000\"
    - name: election-timeout
      value: \"10000\"
"
    } else {
        ""
    }
}

/// Components of the control plane.
pub(super) fn components(pace: Pace) -> &'static str {
    if pace.is_slow() {
        "apiServer:
  extraArgs:
  - name: profiling
    value: \"false\"
controllerManager:
  extraArgs:
  - name: leader-elect
    value: \"false\"
  - name: node-monitor-grace-period
    value: 5m0s
scheduler:
  extraArgs:
  - name: leader-elect
    value: \"false\"
"
    } else {
        ""
    }
}

/// The rest of kubelet's configuration.
pub(super) fn kubelet(pace: Pace) -> &'static str {
    if pace.is_slow() {
        "nodeLeaseDurationSeconds: 120
nodeStatusUpdateFrequency: 20s
runtimeRequestTimeout: 10m0s
"
    } else {
        ""
    }
}

/// Strategic patches of static pods, by the names that kubeadm looks for. Every probe waits several
/// times as long as kubeadm's own.
pub(super) fn patches(pace: Pace) -> Vec<(String, String)> {
    if !pace.is_slow() {
        return Vec::new();
    }
    let patch = |component: &str| {
        let text = format!(
            "spec:
  containers:
  - name: {component}
    livenessProbe:
      periodSeconds: 30
      timeoutSeconds: 60
      failureThreshold: 20
    startupProbe:
      periodSeconds: 5
      timeoutSeconds: 30
      failureThreshold: 180
"
        );
        (format!("{component}+strategic.yaml"), text)
    };
    [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ]
    .map(patch)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_pace_needs_no_patience() {
        let usual = Pace::USUAL;
        let said = [init(usual), etcd(usual).into(), components(usual).into()];
        assert_eq!(said.concat() + kubelet(usual), "");
        assert!(patches(usual).is_empty());
    }
}
