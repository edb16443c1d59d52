//! `bootstrap up`: a cluster from nothing with everything on it, or the rest of one.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fs_err as fs;
use ipnet::Ipv4Net;
use time::OffsetDateTime;

use super::target::Target;
use super::{output, ports, summary};
use crate::bundle::{self, Bundle, Cache};
use crate::cluster::Cluster;
use crate::edge::{self, Domain, Edge};
use crate::install::{self, Credentials, FORGE_NODE_PORT, Installation, Repository};
use crate::network::forward::Forward;
use crate::network::{self, Outbound};
use crate::pki::Pki;
use crate::problem::Problem;
use crate::provider::native;
use crate::reporter;
use crate::state::{Published, StateDirectory};
use crate::topology::{Ranges, Topology};

/// Makes the cluster and what runs on it, or finishes and starts what is there of it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// What makes the machines
    #[arg(long, value_enum, default_value_t, value_name = "PROVIDER")]
    provider: ProviderName,
    /// How many nodes: the first is the control plane, primary and replica need one each
    #[arg(long, default_value_t = 2, value_name = "N")]
    nodes: u8,
    /// Addresses of the nodes
    #[arg(long, default_value = "10.213.0.0/24", value_name = "RANGE")]
    node_cidr: Ipv4Net,
    /// Addresses of pods
    #[arg(long, default_value = "10.214.0.0/16", value_name = "RANGE")]
    pod_cidr: Ipv4Net,
    /// Addresses of Services
    #[arg(long, default_value = "10.215.0.0/16", value_name = "RANGE")]
    service_cidr: Ipv4Net,
    /// Follow this git repository (http or https) instead of a built-in one
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// The branch of --repo
    #[arg(long, requires = "repo", default_value = "main", value_name = "BRANCH")]
    branch: String,
    /// How to log in to --repo: a file with the lines `username=...` and `password=...`
    #[arg(long, requires = "repo", value_name = "FILE")]
    git_credentials: Option<PathBuf>,
    /// The port of 127.0.0.1 that leads to the built-in git server
    #[arg(long, conflicts_with = "repo", default_value_t = FORGE_NODE_PORT, value_name = "PORT")]
    git_port: u16,
    /// The domain of the cluster's names: rw.DOMAIN, status.DOMAIN and so on. The repository has it
    /// too, in edge/site/site.yaml
    #[arg(long, default_value = "immuops.localhost", value_name = "DOMAIN")]
    domain: Domain,
    /// The port of 127.0.0.1 that leads to the TLS edge
    #[arg(long, default_value_t = 8443, value_name = "PORT")]
    https_port: u16,
    /// The port of 127.0.0.1 that redirects plain HTTP to the TLS edge
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    http_port: u16,
    /// Where built parts are kept [default: `$XDG_CACHE_HOME/immuops`, else `~/.cache/immuops`]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// What makes the machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    /// The best that works here
    #[default]
    Auto,
    /// Namespaces on this host; needs root
    Native,
}

/// Runs `bootstrap up`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let reporter = reporter::for_stderr();
    let ranges = Ranges {
        nodes: args.node_cidr.trunc(),
        pods: args.pod_cidr.trunc(),
        services: args.service_cidr.trunc(),
    };
    let topology = Topology::plan(args.target.name.clone(), args.nodes, ranges)?;
    let state = args.target.state()?;
    match args.provider {
        ProviderName::Auto => reporter.note("provider native: the only one there is"),
        ProviderName::Native => {}
    }
    // Before the bundle, which may take minutes: what is wrong with the host or the repository is
    // said at once.
    native::preflight::check(&state, &topology)?;
    let published = published(args, &state)?;
    let repository = repository(args)?;
    install::preflight(&repository)?;
    let cache = args
        .cache_dir
        .clone()
        .map_or_else(Cache::locate, |path| Ok(Cache::at(path)))?;
    let bundle = Bundle::ensure(&cache, &*reporter)?;
    let cluster = native::up(&state, &topology, &bundle, &*reporter)?;
    let outbound = match repository {
        Repository::BuiltIn { .. } => Outbound::Closed,
        Repository::External { .. } => Outbound::Open,
    };
    let forwards = forwards(&published, &cluster)?;
    // The record first: a port that is ours must not look taken to the next run.
    state.write_published(&published)?;
    network::connect(&cluster.topology, state.path(), &forwards, outbound)?;
    let edge = &published.edge;
    let pki = Pki::open(state.pki());
    for reason in pki.ensure_edge(edge, OffsetDateTime::now_utc())? {
        reporter.note(&format!("issued the certificate {reason}"));
    }
    let installation = Installation {
        kubectl: &cluster.kubectl,
        agent_image: bundle.image_reference("agent")?,
        repository: &repository,
        edge,
        certificate: &pki.pair("edge")?,
    };
    install::run(&installation, &*reporter)?;
    output::text(&summary::text(&cluster, &repository, edge))
}

/// What the arguments ask for, unless it cannot be had.
fn published(args: &Args, state: &StateDirectory) -> anyhow::Result<Published> {
    let wanted = Published {
        git: args.repo.is_none().then_some(args.git_port),
        edge: Edge {
            domain: args.domain.clone(),
            https: args.https_port,
            http: args.http_port,
        },
    };
    ports::check(state.published()?.as_ref(), &wanted)?;
    Ok(wanted)
}

/// How the host's ports lead into the cluster: through the first node, which knows every Service.
fn forwards(published: &Published, cluster: &Cluster) -> anyhow::Result<Vec<Forward>> {
    let node = cluster.topology.nodes.first();
    let node = node.ok_or_else(|| Problem::new("the cluster has no nodes"))?;
    let Published { git, edge } = published;
    let ports = [
        (*git, FORGE_NODE_PORT),
        (Some(edge.https), edge::HTTPS_NODE_PORT),
        (Some(edge.http), edge::HTTP_NODE_PORT),
    ];
    Ok(ports
        .into_iter()
        .filter_map(|(port, target)| {
            let to = SocketAddrV4::new(node.address, target);
            port.map(|port| Forward { port, to })
        })
        .collect())
}

/// The repository that the arguments name, checked as far as that needs no network.
fn repository(args: &Args) -> anyhow::Result<Repository> {
    if let Some(url) = &args.repo {
        let credentials = args
            .git_credentials
            .as_deref()
            .map(read_credentials)
            .transpose()?;
        return Ok(Repository::External {
            url: url.clone(),
            branch: args.branch.clone(),
            credentials,
        });
    }
    Ok(Repository::BuiltIn {
        templates: bundle::source_root()?.join("cluster-repo"),
        url: format!("http://127.0.0.1:{}", args.git_port),
    })
}

/// Reads the lines that git's credential helpers print (git-credential(1)).
fn read_credentials(path: &Path) -> anyhow::Result<Credentials> {
    let text = fs::read_to_string(path)?;
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(str::to_owned).ok_or_else(|| {
            Problem::new(format!("{} has no line `{key}=...`", path.display()))
                .hint("write two lines: username=NAME and password=PASSWORD-OR-TOKEN")
        })
    };
    Ok(Credentials {
        username: value("username")?,
        password: value("password")?,
    })
}
