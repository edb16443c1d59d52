//! What the page shows and no task of the agent knows: the servers of immudb as their own probes see
//! them, and the upgrade policies. Looked up when somebody asks, so that it costs nothing while nobody
//! does.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::api::upgrade_policy::UpgradePolicy;
use crate::api::upgrade_proof::ProofPhase;
use crate::cluster::Cluster;
use crate::problem::chain;

/// What was seen is shown for this long before it is looked up again.
const FRESH: Duration = Duration::from_secs(2);
/// Longest wait for one list of the API server. Whoever asks waits with it.
const LIST: Duration = Duration::from_secs(3);
/// Longest wait for one probe.
const PROBE: Duration = Duration::from_secs(2);
/// Most servers and policies that are shown.
const MOST: u32 = 50;
/// Largest answer of a probe that is read, in bytes.
const LARGEST_REPORT: u64 = 64 << 10;
/// The servers of immudb, by the label that the cluster repository gives their pods.
const SERVERS: &str = "immuops.dev/role in (primary, replica)";
/// Port of the probe in such a pod, by name.
const PROBE_PORT: &str = "probe";

/// Looks up, and remembers for a moment.
#[derive(Debug, Default)]
pub(crate) struct Lookup(Mutex<Option<(Instant, Seen)>>);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seen {
    /// Servers of immudb by pod, as `immudb/immudb-replica-0`.
    pub(crate) servers: BTreeMap<String, Server>,
    /// Upgrade policies by name.
    pub(crate) upgrades: BTreeMap<String, Upgrade>,
    /// What could not be looked up, and why.
    pub(crate) problems: Vec<String>,
}

/// A server of immudb, in the words of its probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Server {
    /// Whether clients are sent to it.
    pub(crate) ready: bool,
    /// `primary` or `replica`.
    pub(crate) role: String,
    /// Why it is ready or not, in one word.
    pub(crate) reason: String,
    /// The same for people.
    pub(crate) message: String,
    /// Its databases.
    pub(crate) databases: Vec<Database>,
}

/// A database of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Database {
    /// Its name.
    pub(crate) name: String,
    /// The last transaction that the server has, if it told.
    pub(crate) transaction: Option<u64>,
    /// How many transactions it is behind the primary; only of a replica whose primary answers.
    pub(crate) lag: Option<u64>,
    /// Whether its history is the beginning of the primary's; only of a replica that was compared.
    pub(crate) state_match: Option<bool>,
}

/// An upgrade policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upgrade {
    /// It looks at nothing.
    pub(crate) suspended: bool,
    /// Whether its last look went well; absent before the first.
    pub(crate) ready: Option<bool>,
    /// What came of it.
    pub(crate) message: String,
    /// The version in the repository.
    pub(crate) current: Option<String>,
    /// The version that should come next.
    pub(crate) candidate: Option<String>,
    /// The open pull request.
    pub(crate) pull_request: Option<PullRequest>,
    /// How far it is proved that the last upgrade lost nothing.
    pub(crate) proof: Option<Proof>,
    /// When it looks again, in RFC 3339.
    pub(crate) next_poll: Option<String>,
}

/// The proof of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Proof {
    /// How far it has come.
    pub(crate) phase: ProofPhase,
    /// The same in a sentence.
    pub(crate) message: String,
}

/// An open pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PullRequest {
    /// Its title.
    pub(crate) title: String,
    /// Its page.
    pub(crate) url: String,
}

impl Lookup {
    /// What is there now, or was a moment ago. Never fails: what could not be looked up is told in it.
    pub(crate) async fn seen(&self, cluster: &Cluster, namespace: &str) -> Seen {
        // Held while looking: those who ask meanwhile get the same answer.
        let mut last = self.0.lock().await;
        if let Some((at, seen)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return seen.clone();
        }
        let (servers, upgrades) = tokio::join!(servers(cluster), upgrades(cluster, namespace));
        let mut problems = Vec::new();
        let mut found = |problem: String| problems.push(problem);
        let (servers, silent) = servers.unwrap_or_else(|problem| {
            found(format!("the servers of immudb: {problem}"));
            Default::default()
        });
        let upgrades = upgrades.unwrap_or_else(|problem| {
            found(format!("the upgrade policies: {problem}"));
            BTreeMap::new()
        });
        problems.extend(silent);
        let seen = Seen {
            servers,
            upgrades,
            problems,
        };
        *last = Some((Instant::now(), seen.clone()));
        seen
    }
}

/// The servers that answer, and what is the matter with the others.
async fn servers(cluster: &Cluster) -> Result<(BTreeMap<String, Server>, Vec<String>), String> {
    let api: Api<Pod> = Api::all(cluster.client());
    let params = ListParams::default().labels(SERVERS).limit(MOST);
    let pods = listed(api.list(&params)).await?;
    let asked = pods.into_iter().map(async |pod| {
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let answer = match probe_address(&pod) {
            Some(address) => report(address).await,
            None => Err("its probe has no address yet".to_owned()),
        };
        (name, answer)
    });
    let mut found = BTreeMap::new();
    let mut silent = Vec::new();
    for (name, answer) in join_all(asked).await {
        match answer {
            Ok(server) => drop(found.insert(name, server)),
            Err(problem) => silent.push(format!("{name}: {problem}")),
        }
    }
    Ok((found, silent))
}

async fn upgrades(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, Upgrade>, String> {
    let api: Api<DeserializeGuard<UpgradePolicy>> = Api::namespaced(cluster.client(), namespace);
    let policies = listed(api.list(&ListParams::default().limit(MOST))).await?;
    let upgrades = policies.into_iter().map(|policy| {
        let name = policy.name_any();
        let upgrade = match policy.0 {
            Ok(policy) => Upgrade::of(policy),
            Err(invalid) => Upgrade::unreadable(&invalid.error),
        };
        (name, upgrade)
    });
    Ok(upgrades.collect())
}

async fn listed<K: Clone>(
    call: impl Future<Output = kube::Result<kube::core::ObjectList<K>>>,
) -> Result<kube::core::ObjectList<K>, String> {
    match timeout(LIST, call).await {
        Ok(Ok(list)) => Ok(list),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no answer within {} s", LIST.as_secs())),
    }
}

fn probe_address(pod: &Pod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let ports = pod.spec.as_ref()?.containers.iter();
    let port = ports
        .filter_map(|container| container.ports.as_ref())
        .flatten()
        .find(|port| port.name.as_deref() == Some(PROBE_PORT))?;
    Some(SocketAddr::new(ip, port.container_port.try_into().ok()?))
}

/// The report of one probe. A server that is not ready has one, too.
async fn report(address: SocketAddr) -> Result<Server, String> {
    let url = format!("http://{address}/readyz");
    let asked = tokio::task::spawn_blocking(move || -> Result<Server, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PROBE))
            .http_status_as_error(false)
            .build()
            .into();
        let mut answer = agent.get(&url).call().map_err(|error| chain(&error))?;
        let body = answer.body_mut().as_reader().take(LARGEST_REPORT);
        let report: Report = serde_json::from_reader(body)
            .map_err(|error| format!("what its probe says is no report: {error}"))?;
        Ok(report.into())
    });
    asked.await.map_err(|error| chain(&error))?
}

/// What a probe says of its server; see `probe/report.rs`.
#[derive(Deserialize)]
struct Report {
    ready: bool,
    role: String,
    reason: String,
    message: String,
    databases: Vec<DatabaseReport>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatabaseReport {
    name: String,
    own: Option<immudb::State>,
    lag: Option<u64>,
    state_match: Option<bool>,
}

impl From<Report> for Server {
    fn from(report: Report) -> Self {
        let databases = report.databases.into_iter();
        Self {
            ready: report.ready,
            role: report.role,
            reason: report.reason,
            message: report.message,
            databases: databases
                .map(|database| Database {
                    name: database.name,
                    transaction: database.own.map(|state| state.tx),
                    lag: database.lag,
                    state_match: database.state_match,
                })
                .collect(),
        }
    }
}

impl Upgrade {
    fn of(policy: UpgradePolicy) -> Self {
        let status = policy.status.unwrap_or_default();
        let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
        let suspended = policy.spec.suspend;
        Self {
            suspended,
            ready: ready.map(|condition| condition.status == "True"),
            message: match ready {
                _ if suspended => "suspended by its specification".to_owned(),
                Some(condition) => condition.message.clone(),
                None => "not looked at yet".to_owned(),
            },
            current: status.current,
            candidate: status.candidate.map(|candidate| candidate.version),
            pull_request: status.pull_request.map(|pull| PullRequest {
                title: pull.title,
                url: pull.url,
            }),
            proof: status.proof.map(|proof| Proof {
                phase: proof.phase,
                message: proof.message,
            }),
            next_poll: status.next_poll.filter(|_| !suspended),
        }
    }

    fn unreadable(error: &str) -> Self {
        Self {
            suspended: false,
            ready: Some(false),
            message: format!("it cannot be read: {error}"),
            current: None,
            candidate: None,
            pull_request: None,
            proof: None,
            next_poll: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_of_a_probe_is_understood() {
        let hash = "00".repeat(32);
        let report: Report = serde_json::from_value(json!({
            "ready": false, "role": "replica", "reason": "TooFarBehind", "message": "behind",
            "databases": [
                {"name": "defaultdb", "own": {"tx": 7, "hash": hash}, "primary": {"tx": 12, "hash": hash},
                 "lag": 5, "stateMatch": true, "replicator": "running"},
                {"name": "systemdb", "own": null, "primary": null, "lag": null, "stateMatch": null,
                 "replicator": null},
            ],
        }))
        .unwrap();
        let server = Server::from(report);
        let told: Vec<_> = server
            .databases
            .iter()
            .map(|one| (one.transaction, one.lag, one.state_match))
            .collect();
        assert_eq!(told, [(Some(7), Some(5), Some(true)), (None, None, None)]);
    }

    #[test]
    fn a_probe_is_found_by_the_name_of_its_port() {
        let pod = |ip: &str, port: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "immudb-primary-0"},
                "spec": {"containers": [
                    {"name": "immudb", "ports": [{"name": "grpc", "containerPort": 3322}]},
                    {"name": "probe", "ports": [{"name": port, "containerPort": 9498}]},
                ]},
                "status": {"podIP": ip},
            }))
            .unwrap()
        };
        let found = probe_address(&pod("10.4.0.7", PROBE_PORT));
        assert_eq!(found, Some("10.4.0.7:9498".parse().unwrap()));
        assert_eq!(probe_address(&pod("10.4.0.7", "other")), None);
        assert_eq!(probe_address(&pod("", PROBE_PORT)), None);
    }
}
