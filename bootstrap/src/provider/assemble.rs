//! From machines to a cluster: the same for every provider that makes machines.
//!
//! Every step looks at what is there first, so `up` finishes what an earlier run left behind:
//! after a crash, a `stop` or a reboot. The order is chosen for speed: nothing starts before what
//! it needs answers, because the back-off of a process that came too early costs more than the
//! wait (kubelet's is 10 s and longer).

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use time::OffsetDateTime;

use super::member::{self, Member};
use super::readiness::wait_for_nodes;
use super::{Kind, Provider};
use crate::bundle::Bundle;
use crate::cluster::{Cluster, Kubectl};
use crate::kubeadm::files::Versions;
use crate::kubeadm::{self, Phase, addons};
use crate::machine::Machine;
use crate::pki::Pki;
use crate::poll::{self, Answer};
use crate::problem::Problem;
use crate::reporter::{Reporter, Step};
use crate::state::{ClusterFile, StateDirectory, write_atomically};
use crate::topology::Topology;

const API_DEADLINE: Duration = Duration::from_mins(3);
const READY_DEADLINE: Duration = Duration::from_mins(3);
const KUBECTL_DEADLINE: Duration = Duration::from_mins(1);

/// Makes a cluster of `topology`, or finishes it, and returns when every node is Ready and cluster
/// DNS answers. The host has been checked before.
///
/// # Errors
/// When the cluster exists as something else, or a step fails; then the next `up` goes on from there
/// and `down` removes what there is.
pub fn up<P: Provider>(
    provider: &P,
    state: &StateDirectory,
    topology: &Topology,
    bundle: &Bundle,
    reporter: &dyn Reporter,
) -> anyhow::Result<Cluster> {
    let _lock = state.lock()?;
    agree(state.read()?.as_ref(), provider.kind(), topology)?;
    state.write(&ClusterFile {
        provider: provider.kind(),
        pace: provider.pace(),
        topology: topology.clone(),
        bundle: bundle.directory().to_owned(),
    })?;
    let versions = versions(bundle)?;

    let step = Step::start(reporter, "certificates");
    let pki = Pki::open(state.pki());
    let issued = pki.ensure(topology, OffsetDateTime::now_utc())?;
    let mut access = kubeadm::kubeconfig(topology, &pki, "kubernetes-super-admin", "super-admin")?;
    access.server = format!("https://{}", provider.api()?);
    write_atomically(&state.kubeconfig(), access.to_string().as_bytes(), 0o600)?;
    step.finish(&format!("{} issued", issued.len()));

    let step = Step::start(reporter, "network");
    step.finish(&provider.connect()?);

    let members = topology.nodes.iter().map(|node| {
        let machine = provider.machine(node, member::processes(node, provider.pace()))?;
        Ok(Member { node, machine })
    });
    let members = members.collect::<anyhow::Result<Vec<_>>>()?;
    let (first, workers) = members
        .split_first()
        .ok_or_else(|| Problem::new("the topology has no nodes"))?;
    let start = |members: &[Member<'_, P::Machine>]| {
        in_parallel(members, |member| {
            member::start(provider, member, topology, &pki, &versions, reporter)
        })
    };
    // Slow machines that all boot at once starve the API server, and then everything waits for it.
    let (before, after) = if provider.pace().is_slow() {
        members.split_at(1)
    } else {
        members.split_at(members.len())
    };
    let mut starts = start(before)?;

    let kubectl =
        Kubectl::new(&bundle.program("kubectl")?, &state.kubeconfig()).paced(provider.pace());
    let step = Step::start(reporter, "control plane");
    start_control_plane(provider, first, topology, &pki, &kubectl, &step)?;
    kubeadm::admit_kube_proxy(&first.machine, topology, &pki)?;
    step.finish("the API server answers");
    starts.extend(start(after)?);

    let step = Step::start(reporter, "nodes");
    kubectl.apply(
        "bootstrap",
        &serde_json::to_vec(&addons::objects(topology, provider.pace()))?,
        KUBECTL_DEADLINE,
    )?;
    for worker in workers {
        kubeadm::admit_kubelet(&worker.machine, topology, worker.node, &pki)?;
        kubeadm::admit_kube_proxy(&worker.machine, topology, &pki)?;
    }
    for phase in [Phase::CoreDns, Phase::UploadConfig, Phase::MarkControlPlane] {
        phase.run(&first.machine, provider.pace())?;
    }
    let ready = provider.pace().scale(READY_DEADLINE);
    let nodes: Vec<_> = topology.nodes.iter().zip(starts).collect();
    wait_for_nodes(&nodes, &kubectl, ready)?;
    step.finish(&format!("{} Ready", topology.nodes.len()));

    let step = Step::start(reporter, "cluster DNS");
    let timeout = format!("--timeout={}s", ready.as_secs());
    // One of its two replicas is enough to go on.
    let available = [
        "wait",
        "deployment/coredns",
        "--namespace=kube-system",
        "--for=condition=Available",
        &timeout,
    ];
    kubectl.ask(&available, b"", READY_DEADLINE + KUBECTL_DEADLINE)?;
    step.finish("answers");
    Cluster::open(state.clone())
}

/// An existing cluster keeps its provider and its addresses and can only grow.
fn agree(existing: Option<&ClusterFile>, kind: Kind, wants: &Topology) -> Result<(), Problem> {
    let Some(existing) = existing else {
        return Ok(());
    };
    let has = &existing.topology;
    let first_down = "run `bootstrap down` first, which removes its data, or choose another --name";
    if existing.provider != kind {
        return Err(Problem::refused(format!(
            "cluster {} exists and was made by the provider {}",
            has.cluster, existing.provider
        ))
        .hint(format!(
            "use --provider {}; else {first_down}",
            existing.provider
        )));
    }
    if has.ranges != wants.ranges {
        return Err(Problem::refused(format!(
            "cluster {} exists with other address ranges",
            has.cluster
        ))
        .hint(format!(
            "leave the --*-cidr flags as they were; else {first_down}"
        )));
    }
    if has.nodes.len() > wants.nodes.len() {
        return Err(Problem::refused(format!(
            "cluster {} has {} nodes, {} were asked for: a node with data is not removed",
            has.cluster,
            has.nodes.len(),
            wants.nodes.len()
        ))
        .hint(format!(
            "use --nodes {}; else {first_down}",
            has.nodes.len()
        )));
    }
    Ok(())
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

fn start_control_plane<P: Provider>(
    provider: &P,
    first: &Member<'_, P::Machine>,
    topology: &Topology,
    pki: &Pki,
    kubectl: &Kubectl,
    step: &Step<'_>,
) -> anyhow::Result<()> {
    let Member { node, machine } = first;
    let pace = provider.pace();
    // The manager and the scheduler end when the API server is not there yet, and kubelet then
    // waits 10 s before it starts them again: so they come second.
    kubeadm::admit_kubelet(machine, topology, node, pki)?;
    Phase::Etcd.run(machine, pace)?;
    Phase::ApiServer.run(machine, pace)?;
    step.progress("waiting for the API server");
    let address = provider.api()?.into();
    poll::sparingly("the API server", pace.scale(API_DEADLINE), || {
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
    Phase::ControllerManager.run(machine, pace)?;
    Phase::Scheduler.run(machine, pace)
}

/// Does the same to every member at the same time; the first error wins.
fn in_parallel<'a, M: Machine, T: Send>(
    members: &[Member<'a, M>],
    work: impl Fn(&Member<'a, M>) -> anyhow::Result<T> + Sync,
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
    use crate::pace::Pace;
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
        let existing = ClusterFile {
            provider: Kind::Native,
            pace: Pace::USUAL,
            topology: plan(2, "10.213.0.0/24"),
            bundle: "/bundle".into(),
        };
        let native = Kind::Native;
        let cases = [
            ("new", None, native, plan(2, "10.213.0.0/24"), true),
            ("same", Some(()), native, plan(2, "10.213.0.0/24"), true),
            ("larger", Some(()), native, plan(3, "10.213.0.0/24"), true),
            ("smaller", Some(()), native, plan(1, "10.213.0.0/24"), false),
            (
                "elsewhere",
                Some(()),
                native,
                plan(2, "10.212.0.0/24"),
                false,
            ),
            (
                "of another kind",
                Some(()),
                Kind::Vm,
                plan(2, "10.213.0.0/24"),
                false,
            ),
        ];
        for (case, has, kind, wants, accepted) in cases {
            let has = has.map(|()| &existing);
            assert_eq!(agree(has, kind, &wants).is_ok(), accepted, "{case}");
        }
    }
}
