//! Clusters of namespaces on this host: `up`, `stop` and `down`.
//!
//! Every step looks at what is there first, so `up` finishes what an earlier run left behind:
//! after a crash, a `stop` or a reboot. The order is chosen for speed: nothing starts before what
//! it needs answers, because the back-off of a process that came too early costs more than the
//! wait (kubelet's is 10 s and longer).

pub mod preflight;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use fs_err as fs;
use time::OffsetDateTime;

use crate::bundle::Bundle;
use crate::cluster::{Cluster, Kubectl};
use crate::kubeadm::files::Versions;
use crate::kubeadm::{self, KubeletNeeds, Phase, addons};
use crate::machine::spec::{Process, Spec};
use crate::machine::supervise::LOGS;
use crate::machine::{Ending, Machine, cgroup};
use crate::network::{Switch, forward};
use crate::pki::Pki;
use crate::poll::{self, Answer};
use crate::problem::Problem;
use crate::reporter::{Reporter, Step};
use crate::state::{ClusterFile, StateDirectory};
use crate::topology::{Node, Role, Topology};

/// Where kubeadm writes the API server's static pod.
const API_SERVER_POD: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

const CONTAINERD_DEADLINE: Duration = Duration::from_mins(1);
const IMPORT_DEADLINE: Duration = Duration::from_mins(5);
const API_DEADLINE: Duration = Duration::from_mins(3);
const READY_DEADLINE: Duration = Duration::from_mins(3);
const KUBECTL_DEADLINE: Duration = Duration::from_mins(1);

/// Whether this run started a machine.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// It ran already.
    RanBefore,
    /// It did, then.
    At(jiff::Timestamp),
}

/// One machine with the node it becomes.
struct Member<'a> {
    node: &'a Node,
    machine: Machine,
}

/// Makes a cluster of `topology`, or finishes it, and returns when every node is Ready and cluster
/// DNS answers.
///
/// # Errors
/// When the host cannot carry it (all reasons at once, nothing is changed), or a step fails; then
/// the next `up` goes on from there and `down` removes what there is.
pub fn up(
    state: &StateDirectory,
    topology: &Topology,
    bundle: &Bundle,
    reporter: &dyn Reporter,
) -> anyhow::Result<Cluster> {
    let host = preflight::check(state, topology)?;
    let _lock = state.lock()?;
    let topology = &agreed(state.read()?, topology)?;
    state.write(&ClusterFile {
        topology: topology.clone(),
        bundle: bundle.directory().to_owned(),
    })?;
    let versions = versions(bundle)?;

    let step = Step::start(reporter, "certificates");
    let pki = Pki::open(state.pki());
    let issued = pki.ensure(topology, OffsetDateTime::now_utc())?;
    let access = kubeadm::kubeconfig(topology, &pki, "kubernetes-super-admin", "super-admin")?;
    let access = access.to_string();
    crate::state::write_atomically(&state.kubeconfig(), access.as_bytes(), 0o600)?;
    step.finish(&format!("{} issued", issued.len()));

    let step = Step::start(reporter, "network");
    let switch = Switch::new(topology, state.path());
    switch.ensure()?;
    step.finish(&format!("{} on {}", topology.ranges.nodes, topology.lan()));

    let members: Vec<_> = topology
        .nodes
        .iter()
        .map(|node| Member {
            node,
            machine: machine(state, topology, node, bundle, &host),
        })
        .collect();
    let starts = in_parallel(&members, |member| {
        start_machine(member, topology, &pki, &versions, &switch, bundle, reporter)
    })?;

    let kubectl = Kubectl::new(&bundle.program("kubectl")?, &state.kubeconfig());
    let (first, workers) = members
        .split_first()
        .ok_or_else(|| Problem::new("the topology has no nodes"))?;
    let step = Step::start(reporter, "control plane");
    start_control_plane(first, topology, &pki, &kubectl, &step)?;
    step.finish("the API server answers");

    let step = Step::start(reporter, "nodes");
    kubectl.apply(
        &serde_json::to_vec(&addons::objects(topology))?,
        KUBECTL_DEADLINE,
    )?;
    for worker in workers {
        kubeadm::admit_kubelet(&worker.machine, topology, worker.node, &pki)?;
    }
    for phase in [Phase::CoreDns, Phase::UploadConfig, Phase::MarkControlPlane] {
        phase.run(&first.machine)?;
    }
    let nodes: Vec<_> = topology.nodes.iter().zip(starts).collect();
    wait_for_nodes(&nodes, &kubectl)?;
    step.finish(&format!("{} Ready", topology.nodes.len()));

    let step = Step::start(reporter, "cluster DNS");
    let timeout = format!("--timeout={}s", READY_DEADLINE.as_secs());
    // One of its two replicas is enough to go on.
    let available = [
        "wait",
        "deployment/coredns",
        "--namespace=kube-system",
        "--for=condition=Available",
        &timeout,
    ];
    kubectl.run(&available, b"", READY_DEADLINE + KUBECTL_DEADLINE)?;
    step.finish("answers");
    Cluster::open(state.clone())
}

/// Ends every machine; `up` starts them again with all their data.
///
/// # Errors
/// When a machine does not end.
pub fn stop(state: &StateDirectory, reporter: &dyn Reporter) -> anyhow::Result<()> {
    let _lock = state.lock()?;
    state.require()?;
    // Workers first: their pods may still talk to the control plane while they end.
    for machine in machines(state)?.iter().rev() {
        let step = Step::start(reporter, format!("machine {}", machine.spec().name));
        machine.stop(Ending::Graceful)?;
        step.finish("stopped");
    }
    Ok(())
}

/// Removes a cluster with all its data: every process, mount, control group, link and file. Does
/// nothing where there is none.
///
/// # Errors
/// When something resists; running it again goes on.
pub fn down(state: &StateDirectory, reporter: &dyn Reporter) -> anyhow::Result<()> {
    if !state.path().exists() {
        reporter.note(&format!("no cluster in {}", state.path().display()));
        return Ok(());
    }
    let _lock = state.lock()?;
    let file = state.read()?;
    let machines = machines(state)?;
    if file.is_none() && machines.is_empty() && !is_empty_but_for_lock(state.path())? {
        let message = format!("{} is not the state of a cluster", state.path().display());
        return Err(Problem::refused(message)
            .hint("name another --state-dir")
            .into());
    }
    for machine in &machines {
        let step = Step::start(reporter, format!("machine {}", machine.spec().name));
        machine.stop(Ending::Immediate)?;
        machine.remove_cgroups()?;
        step.finish("removed");
    }
    if let Some(machine) = machines.first() {
        machine.remove_cluster_cgroups()?;
    }
    if let Some(file) = file {
        forward::remove(&file.topology.cluster)?;
        Switch::new(&file.topology, state.path()).remove()?;
    }
    state.remove()
}

/// The machines that were ever started, by what is in the state directory.
fn machines(state: &StateDirectory) -> anyhow::Result<Vec<Machine>> {
    let nodes = state.path().join("nodes");
    if !nodes.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(nodes)? {
        let path = entry?.path().join("machine.json");
        if path.exists() {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| Spec::read(path).map(Machine::new))
        .collect()
}

fn is_empty_but_for_lock(directory: &Path) -> anyhow::Result<bool> {
    let mut names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    Ok(names.try_fold(true, |empty, name: std::io::Result<_>| {
        name.map(|n| empty && n == "lock")
    })?)
}

/// An existing cluster keeps its addresses and can only grow.
fn agreed(existing: Option<ClusterFile>, wanted: &Topology) -> Result<Topology, Problem> {
    let Some(existing) = existing else {
        return Ok(wanted.clone());
    };
    let (has, wants) = (existing.topology, wanted);
    if has.ranges != wants.ranges {
        return Err(Problem::refused(format!(
            "cluster {} exists with other address ranges",
            has.cluster
        ))
        .hint("leave the --*-cidr flags as they were, or run `bootstrap down` first"));
    }
    if has.nodes.len() > wants.nodes.len() {
        return Err(Problem::refused(format!(
            "cluster {} has {} nodes, {} were asked for: a node with data is not removed",
            has.cluster,
            has.nodes.len(),
            wants.nodes.len()
        ))
        .hint(format!(
            "use --nodes {}, or run `bootstrap down` first",
            has.nodes.len()
        )));
    }
    Ok(wanted.clone())
}

fn versions(bundle: &Bundle) -> Result<Versions, Problem> {
    let tag = |name: &str| {
        let reference = bundle.image_reference(name)?;
        reference
            .rsplit_once(':')
            .map(|(_, tag)| tag.to_owned())
            .ok_or_else(|| {
                Problem::new(format!("image {reference} of the bundle has no tag"))
                    .hint("run `bootstrap bundle build`")
            })
    };
    Ok(Versions {
        kubernetes: tag("kube-apiserver")?,
        etcd: tag("etcd")?,
        coredns: tag("coredns")?,
        pause: bundle.image_reference("pause")?.to_owned(),
    })
}

/// What runs in a machine.
fn machine(
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
fn start_machine(
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

fn start_control_plane(
    first: &Member<'_>,
    topology: &Topology,
    pki: &Pki,
    kubectl: &Kubectl,
    step: &Step<'_>,
) -> anyhow::Result<()> {
    let Member { node, machine } = first;
    // The manager and the scheduler end when the API server is not there yet, and kubelet then
    // waits 10 s before it starts them again: so they come second.
    kubeadm::admit_kubelet(machine, topology, node, pki)?;
    Phase::Etcd.run(machine)?;
    Phase::ApiServer.run(machine)?;
    step.progress("waiting for the API server");
    let address = SocketAddr::new(node.address.into(), 6443);
    poll::until("the API server", API_DEADLINE, || {
        if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            return Ok(Answer::NotYet(format!("{address}: {error}")));
        }
        Ok(
            match kubectl.run(&["get", "--raw=/readyz"], b"", Duration::from_secs(10)) {
                Ok(_) => Answer::Done(()),
                Err(problem) => Answer::NotYet(problem.to_string()),
            },
        )
    })?;
    Phase::ControllerManager.run(machine)?;
    Phase::Scheduler.run(machine)
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

/// Waits until every node is Ready by its own present word: what it said before its machine was
/// started anew does not count.
fn wait_for_nodes(nodes: &[(&Node, Start)], kubectl: &Kubectl) -> anyhow::Result<()> {
    let deadline = Duration::from_secs(15);
    let get = |what: &[&str]| kubectl.run(&[&["get"], what].concat(), b"", deadline);
    poll::until("the nodes to be Ready", READY_DEADLINE, || {
        let conditions = "--output=jsonpath={range .items[*]}{.metadata.name} \
                          {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let leases = "--output=jsonpath={range .items[*]}{.metadata.name} \
                      {.spec.renewTime}{\"\\n\"}{end}";
        let asked = get(&["nodes", conditions]).and_then(|conditions| {
            let leases = get(&["leases", "--namespace=kube-node-lease", leases])?;
            Ok((conditions.stdout, leases.stdout))
        });
        let (conditions, leases) = match asked {
            Ok(answers) => answers,
            Err(problem) => return Ok(Answer::NotYet(problem.to_string())),
        };
        let missing: Vec<_> = nodes
            .iter()
            .filter(|(node, start)| !is_ready(node, *start, &conditions, &leases))
            .map(|(node, _)| node.name.as_str())
            .collect();
        Ok(if missing.is_empty() {
            Answer::Done(())
        } else {
            let missing = missing.join(", ");
            Answer::NotYet(format!(
                "{missing} not Ready; see `bootstrap logs NODE kubelet`"
            ))
        })
    })
}

/// Whether a node is Ready, by lines of `<name> <status>` and `<name> <time of last renewal>`.
fn is_ready(node: &Node, start: Start, conditions: &str, leases: &str) -> bool {
    let of = |lines: &str| {
        let own = lines.lines().filter_map(|line| line.split_once(' '));
        own.filter(|(name, _)| *name == node.name.as_str())
            .map(|(_, v)| v.to_owned())
            .next()
    };
    let renewed = of(leases).and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let fresh = match start {
        Start::RanBefore => true,
        Start::At(started) => renewed.is_some_and(|renewed| renewed >= started),
    };
    fresh && of(conditions).as_deref() == Some("True")
}

/// Does the same to every member at the same time; the first error wins.
fn in_parallel<'a, T: Send>(
    members: &[Member<'a>],
    work: impl Fn(&Member<'a>) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = members
            .iter()
            .map(|member| scope.spawn(move || work(member)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<T>>| {
            // A panic is a bug and must not look like a failure of the host.
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Ranges;

    #[test]
    fn only_the_present_word_of_a_node_counts() {
        let ranges = Ranges {
            nodes: "10.213.0.0/24".parse().unwrap(),
            pods: "10.214.0.0/16".parse().unwrap(),
            services: "10.215.0.0/16".parse().unwrap(),
        };
        let topology = Topology::plan("immuops".parse().unwrap(), 1, ranges).unwrap();
        let at = |text: &str| Start::At(text.parse().unwrap());
        let lease = "n1 2026-11-24T12:00:05.000000Z\n";
        let cases = [
            ("ran before", Start::RanBefore, "n1 True\n", lease, true),
            ("not ready", Start::RanBefore, "n1 False\n", lease, false),
            ("another node", Start::RanBefore, "n11 True\n", lease, false),
            (
                "spoke since",
                at("2026-11-24T12:00:00Z"),
                "n1 True\n",
                lease,
                true,
            ),
            (
                "spoke before",
                at("2026-11-24T12:00:10Z"),
                "n1 True\n",
                lease,
                false,
            ),
            (
                "never spoke",
                at("2026-11-24T12:00:10Z"),
                "n1 True\n",
                "",
                false,
            ),
        ];
        for (case, start, conditions, leases, expected) in cases {
            let ready = is_ready(&topology.nodes[0], start, conditions, leases);
            assert_eq!(ready, expected, "{case}");
        }
    }

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

    #[test]
    fn a_cluster_can_grow_and_nothing_else() {
        let plan = |count, nodes: &str| {
            let ranges = Ranges {
                nodes: nodes.parse().unwrap(),
                pods: "10.214.0.0/16".parse().unwrap(),
                services: "10.215.0.0/16".parse().unwrap(),
            };
            Topology::plan("immuops".parse().unwrap(), count, ranges).unwrap()
        };
        let existing = || {
            let topology = plan(2, "10.213.0.0/24");
            Some(ClusterFile {
                topology,
                bundle: "/bundle".into(),
            })
        };
        let cases = [
            ("new", None, plan(2, "10.213.0.0/24"), true),
            ("same", existing(), plan(2, "10.213.0.0/24"), true),
            ("larger", existing(), plan(3, "10.213.0.0/24"), true),
            ("smaller", existing(), plan(1, "10.213.0.0/24"), false),
            ("elsewhere", existing(), plan(2, "10.212.0.0/24"), false),
        ];
        for (case, has, wants, accepted) in cases {
            assert_eq!(agreed(has, &wants).is_ok(), accepted, "{case}");
        }
    }
}
