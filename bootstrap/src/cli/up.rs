//! `bootstrap up`: a cluster from nothing with everything on it, or the rest of one.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fs_err as fs;
use ipnet::Ipv4Net;

use super::output;
use super::target::Target;
use crate::bundle::{self, Bundle, Cache};
use crate::cluster::Cluster;
use crate::install::{self, Credentials, FORGE_NODE_PORT, ForgeWay, Installation, Repository};
use crate::network::forward;
use crate::problem::Problem;
use crate::provider::Kind;
use crate::provider::bring_up::{self, Way};
use crate::provider::choose::{self, Asked};
use crate::provider::existing::{self, Platform};
use crate::reporter;
use crate::reporter::Reporter;
use crate::state::StateDirectory;
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
    let repository = repository(args, &state, ForgeWay::Provider)?;
    install::preflight(&repository)?;
    let bundle = Bundle::ensure(&cache, &*reporter)?;
    let way = match repository {
        Repository::BuiltIn { port, .. } => Way::to_forge(port),
        Repository::External { .. } => Way::Outwards,
    };
    let site = bring_up::Site {
        state: &state,
        topology: &topology,
        bundle: &bundle,
        cache: &cache,
    };
    let cluster = bring_up::run(&choice, &site, &way, &*reporter)?;
    if args.cluster_only {
        let kubeconfig = cluster.kubeconfig.display();
        return output::text(&format!("export KUBECONFIG={kubeconfig}\n"));
    }
    let agent_image = bundle.image_reference("agent")?;
    install(args, &cluster, &repository, agent_image, &*reporter)
}

/// The same stack on a cluster that others made.
fn existing_cluster(
    args: &Args,
    kubeconfig: &Path,
    state: &StateDirectory,
    cache: &Cache,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    let mut repository = repository(args, state, ForgeWay::Tunnel)?;
    install::preflight(&repository)?;
    let bundle = Bundle::ensure(cache, reporter)?;
    let platform = Platform {
        storage_class: args.storage_class.clone(),
        registry: args.image_registry.clone(),
    };
    let name = &args.target.name;
    let cluster = existing::connect(state, name, kubeconfig, &platform, &bundle, reporter)?;
    if let Repository::BuiltIn { templates, .. } = &mut repository {
        let own = state.path().join("cluster-repo");
        platform.write_templates(templates, &own, &bundle)?;
        *templates = own;
    }
    let agent_image = platform.image(bundle.image_reference("agent")?);
    install(args, &cluster, &repository, &agent_image, reporter)
}

fn install(
    args: &Args,
    cluster: &Cluster,
    repository: &Repository,
    agent_image: &str,
    reporter: &dyn Reporter,
) -> anyhow::Result<()> {
    if let Repository::BuiltIn { .. } = repository {
        cluster.state.write_forge_port(args.git_port)?;
    }
    let installation = Installation {
        kubectl: &cluster.kubectl,
        agent_image,
        repository,
    };
    install::run(&installation, reporter)?;
    output::text(&summary(cluster, repository))
}

/// The repository that the arguments name, checked as far as that needs no network.
fn repository(args: &Args, state: &StateDirectory, way: ForgeWay) -> anyhow::Result<Repository> {
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
    if state.forge_port()? != Some(args.git_port) {
        forward::check_free(args.git_port, "--git-port")?;
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

/// What a person does next.
fn summary(cluster: &Cluster, repository: &Repository) -> String {
    let kubeconfig = cluster.kubeconfig.display();
    let mut text = String::from("Everything is healthy.\n\n");
    let row = |text: &mut String, name: &str, value: &str| {
        text.extend([
            "  ",
            &format!("{name:<12} "),
            value,
            "
",
        ]);
    };
    let programs = cluster.bundle.join("bin");
    row(
        &mut text,
        "cluster",
        &format!(
            "export KUBECONFIG={kubeconfig} PATH=$PATH:{}",
            programs.display()
        ),
    );
    match repository {
        Repository::BuiltIn { port, way, .. } => {
            if *way == ForgeWay::Tunnel {
                let tunnel = format!("kubectl -n git-system port-forward service/gitea {port}:80");
                row(&mut text, "git server", &tunnel);
            }
            let url = format!("git clone http://127.0.0.1:{port}/immuops/cluster.git");
            row(&mut text, "repository", &url);
            row(&mut text, "  user", "immuops");
            row(
                &mut text,
                "  password",
                "kubectl -n git-system get secret gitea -o go-template='{{index .data \"admin-password\" | base64decode}}'",
            );
        }
        Repository::External { url, branch, .. } => {
            row(&mut text, "repository", &format!("{url}, branch {branch}"));
        }
    }
    row(&mut text, "health", "kubectl -n immuops-system get syncs");
    row(
        &mut text,
        "write",
        "kubectl -n immudb port-forward pod/immudb-primary-0 3322",
    );
    row(
        &mut text,
        "read",
        "kubectl -n immudb port-forward pod/immudb-replica-0 3323:3322",
    );
    text
}
