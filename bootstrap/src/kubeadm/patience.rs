//! What the components of a slow cluster are told, so that none gives up on another while it waits
//! for a processor. Pieces of kubeadm's files, all empty at the usual pace.
//!
//! Each setting answers a failure seen on emulated machines: lost leader elections (one control
//! plane needs none), liveness probes of an API server that was only late, etcd members that missed
//! heartbeats, nodes declared lost, requests that the API server itself ended after its minute. At its
//! usual level etcd tells of every request that took longer than a tenth of a second, which here is each,
//! and every five seconds it tells the API server how far each of its hundred watches is.
//! And Go programs collect garbage less often, see [`garbage`].

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

/// Which pods the control plane takes: all, but where it is slow only those that fit nowhere else. Of an
/// emulated processor its own components need most even when nothing happens.
pub(super) fn taints(pace: Pace) -> &'static str {
    if pace.is_slow() {
        "  taints:
  - key: node-role.kubernetes.io/control-plane
    effect: PreferNoSchedule
"
    } else {
        "  taints: []
"
    }
}

/// The rest of `etcd.local`.
pub(super) fn etcd(pace: Pace) -> &'static str {
    if pace.is_slow() {
        "    extraArgs:
    - name: heartbeat-interval
      value: \"1000\"
    - name: election-timeout
      value: \"10000\"
    - name: log-level
      value: warn
    - name: watch-progress-notify-interval
      value: 1m
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
  - name: request-timeout
    value: 5m0s
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

/// How a Go program is told to let its memory grow to five times what it needs between two collections
/// instead of twice: an API server that starts so needs a quarter less of a processor.
pub fn garbage(pace: Pace) -> Option<(&'static str, &'static str)> {
    pace.is_slow().then_some(("GOGC", "400"))
}

/// A static pod of the control plane.
struct Component {
    name: &'static str,
    /// What it asks for of the processor, in thousandths: its share when all want more than there is.
    processor: u32,
    /// Whether kubeadm asks it if it is ready: the patch of a probe that is not there would be refused.
    readiness: bool,
}

const COMPONENTS: [Component; 4] = [
    Component {
        name: "etcd",
        processor: 50,
        readiness: true,
    },
    Component {
        name: "kube-apiserver",
        processor: 200,
        readiness: true,
    },
    Component {
        name: "kube-controller-manager",
        processor: 25,
        readiness: false,
    },
    Component {
        name: "kube-scheduler",
        processor: 25,
        readiness: true,
    },
];

/// Strategic patches of static pods, by the names that kubeadm looks for. Every probe waits several
/// times as long as kubeadm's own: that asks three of them every second whether they are ready
/// (`cmd/kubeadm/app/util/staticpod/utils.go`), each time over a new connection.
///
/// Together they ask for half of what kubeadm lets them ask for: they share one processor, on which a
/// cluster of one machine has all its other pods too. Nearly all of it is the API server's, which ends
/// every write after 34 s (`requestTimeoutUpperBound` in `apiserver/pkg/endpoints/handlers/rest.go`): with
/// 50m it needed longer for a large definition, with 250m 12 s, beside the same other work.
pub(super) fn patches(pace: Pace) -> Vec<(String, String)> {
    let Some((variable, value)) = garbage(pace) else {
        return Vec::new();
    };
    let patch = |component: Component| {
        let Component {
            name,
            processor,
            readiness,
        } = component;
        let readiness = if readiness {
            "    readinessProbe:
      periodSeconds: 30
      timeoutSeconds: 60
      failureThreshold: 10
"
        } else {
            ""
        };
        let text = format!(
            "spec:
  containers:
  - name: {name}
    env:
    - name: {variable}
      value: \"{value}\"
    resources:
      requests:
        cpu: {processor}m
    livenessProbe:
      periodSeconds: 30
      timeoutSeconds: 60
      failureThreshold: 20
{readiness}    startupProbe:
      periodSeconds: 5
      timeoutSeconds: 30
      failureThreshold: 180
"
        );
        (format!("{name}+strategic.yaml"), text)
    };
    COMPONENTS.map(patch).into()
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

    #[test]
    fn the_api_server_comes_first_and_only_what_has_a_probe_gets_it_patched() {
        for (name, patch) in patches(Pace::slower(8)) {
            let first = name.starts_with("kube-apiserver");
            assert_eq!(patch.contains("cpu: 200m"), first, "{name}");
            let manager = name.starts_with("kube-controller-manager");
            assert_eq!(patch.contains("readinessProbe"), !manager, "{name}");
        }
    }
}
