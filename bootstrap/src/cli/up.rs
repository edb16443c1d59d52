//! `bootstrap up`: a cluster from nothing with everything on it, or the rest of one.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fs_err as fs;
use ipnet::Ipv4Net;
use time::OffsetDateTime;

use super::target::Target;
use super::{output, ports, summary};
use crate::bundle::{self, Bundle, Cache};
use crate::cluster::Cluster;
use crate::edge::{Domain, Edge};
use crate::install::{self, Credentials, FORGE_NODE_PORT, ForgeWay, Installation, Repository};
use crate::pki::Pki;
use crate::problem::Problem;
use crate::provider::Kind;
use crate::provider::bring_up;
use crate::provider::choose::{self, Asked};
use crate::provider::existing::{self, Platform};
use crate::reporter;
use crate::reporter::Reporter;
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
    /// Make the cluster and install nothing on it
    #[arg(long, conflicts_with_all = ["repo", "kubeconfig"])]
    cluster_only: bool,
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
    /// With --provider existing: the access to the cluster
    #[arg(long, value_name = "FILE", required_if_eq("provider", "existing"))]
    kubeconfig: Option<PathBuf>,
    /// With --provider existing: the storage class of all volumes [default: the cluster's default]
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    storage_class: Option<String>,
    /// With --provider existing: the registry, with a path if it has one, that has the bundle's
    /// images [default: nodes have them, or get them from where they are published]
    #[arg(long, value_name = "REGISTRY", requires = "kubeconfig")]
    image_registry: Option<String>,
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
    /// QEMU virtual machines, with KVM where it works
    Vm,
    /// A cluster that exists: installs only
    Existing,
}

impl ProviderName {
    fn asked(self) -> Asked {
        match self {
            Self::Auto => Asked::Auto,
            Self::Native => Asked::For(Kind::Native),
            Self::Vm => Asked::For(Kind::Vm),
            Self::Existing => Asked::For(Kind::Existing),
        }
    }
}

/// Runs `bootstrap up`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let reporter = reporter::for_stderr();
    let state = args.target.state()?;
    let cache = Cache::choose(args.cache_dir.as_deref())?;
    if let (ProviderName::Existing, Some(kubeconfig)) = (args.provider, &args.kubeconfig) {
        return existing_cluster(args, kubeconfig, &state, &cache, &*reporter);
    }
    let ranges = Ranges {
        nodes: args.node_cidr.trunc(),
        pods: args.pod_cidr.trunc(),
        services: args.service_cidr.trunc(),
    };
    let topology = Topology::plan(args.target.name.clone(), args.nodes, ranges)?;
    let asked = args.provider.asked();
    let choice = choose::choose(asked, state.read()?.as_ref(), &cache, &*reporter)?;
    // Before the bundle, which may take minutes: what is wrong with the host or the repository is
    // said at once.
    bring_up::preflight(&choice, &state, &topology)?;
    let published = published(args, &state)?;
    let repository = repository(args, ForgeWay::Provider)?;
    install::preflight(&repository)?;
    let bundle = Bundle::ensure(&cache, &*reporter)?;
    let site = bring_up::Site {
        state: &state,
        topology: &topology,
        bundle: &bundle,
        cache: &cache,
    };
    let cluster = bring_up::run(&choice, &site, &published, &*reporter)?;
    if args.cluster_only {
        let kubeconfig = cluster.kubeconfig.display();
        return output::text(&format!("export KUBECONFIG={kubeconfig}\n"));
    }
    let agent_image = bundle.image_reference("agent")?;
    install(
        &cluster,
        &repository,
        &published.edge,
        agent_image,
        &*reporter,
    )
}

/// The same stack on a cluster that others made.
fn existing_cluster(
    args: &Args,
    kubeconfig: &Path,
    state: &StateDirectory,
    cache: &Cache,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    let published = published(args, state)?;
    let mut repository = repository(args, ForgeWay::Tunnel)?;
    install::preflight(&repository)?;
    let bundle = Bundle::ensure(cache, reporter)?;
    let platform = Platform {
        storage_class: args.storage_class.clone(),
        registry: args.image_registry.clone(),
    };
    let name = &args.target.name;
    let cluster = existing::connect(state, name, kubeconfig, &platform, &bundle, reporter)?;
    state.write_published(&published)?;
    if let Repository::BuiltIn { templates, .. } = &mut repository {
        let own = state.path().join("cluster-repo");
        platform.write_templates(templates, &own, &bundle)?;
        *templates = own;
    }
    let agent_image = platform.image(bundle.image_reference("agent")?);
    install(
        &cluster,
        &repository,
        &published.edge,
        &agent_image,
        reporter,
    )
}

fn install(
    cluster: &Cluster,
    repository: &Repository,
    edge: &Edge,
    agent_image: &str,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    let pki = Pki::open(cluster.state.pki());
    for reason in pki.ensure_edge(edge, OffsetDateTime::now_utc())? {
        reporter.note(&format!("issued the certificate {reason}"));
    }
    let installation = Installation {
        kubectl: &cluster.kubectl,
        agent_image,
        repository,
        edge,
        certificate: &pki.pair("edge")?,
    };
    install::run(&installation, reporter)?;
    output::text(&summary::text(cluster, repository, edge))
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

/// The repository that the arguments name, checked as far as that needs no network.
fn repository(args: &Args, way: ForgeWay) -> anyhow::Result<Repository> {
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
        port: args.git_port,
        way,
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
