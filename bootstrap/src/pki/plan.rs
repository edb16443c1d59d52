//! Which certificates a cluster needs. Names, groups and subjects are kubeadm's:
//! <https://kubernetes.io/docs/setup/best-practices/certificates/>.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::edge::Edge;
use crate::topology::{Node, Role, Topology};

/// The domain of Services.
pub const DOMAIN: &str = "cluster.local";

/// One of the authorities. None of them trusts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// Signs the API server, kubelets and users.
    Cluster,
    /// Signs the proxy that passes requests on to extension API servers.
    FrontProxy,
    /// Signs etcd and its clients.
    Etcd,
    /// Signs what people outside see. Only names below the edge's domain.
    Edge,
}

impl Issuer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::FrontProxy, Self::Etcd, Self::Edge];

    /// The name of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd/ca",
            Self::Edge => "edge-ca",
        }
    }

    /// Its common name.
    pub fn common_name(self) -> &'static str {
        match self {
            Self::Cluster => "kubernetes",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
            Self::Edge => "immuops edge",
        }
    }
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To prove who a client is.
    Client,
    /// To prove who a server is.
    Server,
    /// Both: etcd's servers talk to each other with one certificate.
    Both,
}

/// A certificate that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name of its files, as in `etcd/server`.
    pub name: String,
    /// Who signs it.
    pub issuer: Issuer,
    /// The user or server it names.
    pub common_name: String,
    /// The group of that user.
    pub organization: Option<&'static str>,
    /// What it is for.
    pub usage: Usage,
    /// DNS names it is valid for.
    pub names: BTreeSet<String>,
    /// Addresses it is valid for.
    pub addresses: BTreeSet<IpAddr>,
}

impl Request {
    fn client(name: &str, common_name: &str, organization: Option<&'static str>) -> Self {
        Self {
            name: name.into(),
            issuer: Issuer::Cluster,
            common_name: common_name.into(),
            organization,
            usage: Usage::Client,
            names: BTreeSet::new(),
            addresses: BTreeSet::new(),
        }
    }
}

/// Every certificate that `topology` needs, apart from the authorities' own.
pub fn requests(topology: &Topology) -> Vec<Request> {
    let admins = Some("kubeadm:cluster-admins");
    let mut requests = vec![
        Request::client(
            "apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            admins,
        ),
        Request::client("admin", "kubernetes-admin", admins),
        Request::client(
            "super-admin",
            "kubernetes-super-admin",
            Some("system:masters"),
        ),
        Request::client("controller-manager", "system:kube-controller-manager", None),
        Request::client("scheduler", "system:kube-scheduler", None),
        Request::client("kube-proxy", "system:kube-proxy", None),
        Request {
            issuer: Issuer::FrontProxy,
            ..Request::client("front-proxy-client", "front-proxy-client", None)
        },
    ];
    for node in &topology.nodes {
        if node.role == Role::ControlPlane {
            requests.extend(control_plane(topology, node));
        }
        requests.extend(kubelet(node));
    }
    requests
}

/// The certificate of the edge: one for all its names.
pub fn edge(edge: &Edge) -> Request {
    Request {
        issuer: Issuer::Edge,
        usage: Usage::Server,
        names: edge.names(),
        ..Request::client("edge", edge.domain.as_str(), None)
    }
}

fn control_plane(topology: &Topology, node: &Node) -> Vec<Request> {
    let local = Ipv4Addr::LOCALHOST;
    let etcd = |name: &str, usage| Request {
        issuer: Issuer::Etcd,
        usage,
        ..Request::client(&format!("etcd/{name}"), node.name.as_str(), None)
    };
    let etcd_server = |name: &str| Request {
        names: ["localhost", node.name.as_str()].map(String::from).into(),
        addresses: [node.address.into(), local.into()].into(),
        ..etcd(name, Usage::Both)
    };
    let service = "kubernetes.default.svc";
    vec![
        Request {
            usage: Usage::Server,
            names: [
                "kubernetes",
                "kubernetes.default",
                service,
                "localhost",
                node.name.as_str(),
            ]
            .map(String::from)
            .into_iter()
            .chain([format!("{service}.{DOMAIN}")])
            .collect(),
            addresses: [
                node.address.into(),
                topology.kubernetes_service_address().into(),
                local.into(),
            ]
            .into(),
            ..Request::client("apiserver", "kube-apiserver", None)
        },
        etcd_server("server"),
        etcd_server("peer"),
        Request {
            common_name: "kube-etcd-healthcheck-client".into(),
            ..etcd("healthcheck-client", Usage::Client)
        },
        Request {
            issuer: Issuer::Etcd,
            ..Request::client("apiserver-etcd-client", "kube-apiserver-etcd-client", None)
        },
    ]
}

fn kubelet(node: &Node) -> [Request; 2] {
    let directory = format!("nodes/{}", node.name);
    let user = format!("system:node:{}", node.name);
    let request =
        |name: &str| Request::client(&format!("{directory}/{name}"), &user, Some("system:nodes"));
    [
        request("kubelet-client"),
        Request {
            usage: Usage::Server,
            names: [node.name.to_string()].into(),
            addresses: [node.address.into()].into(),
            ..request("kubelet-server")
        },
    ]
}
