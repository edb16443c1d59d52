//! Clusters of namespaces on this host: `up`, `stop` and `down`.
//!
//! Every step looks at what is there first, so `up` finishes what an earlier run left behind:
//! after a crash, a `stop` or a reboot. The order is chosen for speed: nothing starts before what
//! it needs answers, because the back-off of a process that came too early costs more than the
//! wait (kubelet's is 10 s and longer).

mod member;
pub mod preflight;
mod readiness;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use fs_err as fs;
use time::OffsetDateTime;

use crate::bundle::Bundle;
use crate::cluster::{Cluster, Kubectl};
use crate::kubeadm::files::Versions;
use crate::kubeadm::{self, Phase, addons};
use crate::machine::spec::Spec;
use crate::machine::{Ending, Machine};
use crate::network::{Switch, host_table, outbound};
use crate::pki::Pki;
use crate::poll::{self, Answer};
use crate::problem::Problem;
use crate::reporter::{Reporter, Step};
use crate::state::{ClusterFile, StateDirectory};
use crate::topology::Topology;
use member::Member;
use readiness::wait_for_nodes;

const API_DEADLINE: Duration = Duration::from_mins(3);
const READY_DEADLINE: Duration = Duration::from_mins(3);
const KUBECTL_DEADLINE: Duration = Duration::from_mins(1);

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
            machine: member::machine(state, topology, node, bundle, &host),
        })
        .collect();
    let starts = in_parallel(&members, |member| {
        member::start(member, topology, &pki, &versions, &switch, bundle, reporter)
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
        host_table::remove(&file.topology.cluster)?;
        outbound::restore(state.path())?;
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
