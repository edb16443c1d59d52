//! `agent run`: the long-running process.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::signals;
use crate::controller::{self, Config};
use crate::env_vars;
use crate::git;
use crate::logging::{self, LogFormat};
use crate::patience::Patience;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address of the HTTP server: health, metrics, status, webhooks.
    #[arg(long, env = env_vars::LISTEN, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Namespace of the Syncs.
    #[arg(long, env = env_vars::NAMESPACE, default_value = plan::object::SYSTEM_NAMESPACE)]
    namespace: String,
    /// Directory for git mirrors; it may be lost at any time.
    #[arg(long, env = env_vars::MIRRORS, default_value = "/var/lib/immuops/mirrors")]
    mirrors: PathBuf,
    /// Kubeconfig to use outside of a cluster.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// File with the token that signs webhooks; without it webhooks are refused.
    #[arg(long, env = env_vars::WEBHOOK_TOKEN_FILE)]
    webhook_token_file: Option<PathBuf>,
    /// Name under which this process holds the lease; must differ between two running agents.
    #[arg(long, env = env_vars::IDENTITY)]
    identity: Option<String>,
    /// How many times as long as usual the API server may take: more than 1 on emulated machines.
    #[arg(long, env = env_vars::PATIENCE, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    patience: u32,
    /// What to log.
    #[arg(long, env = env_vars::LOG, default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, env = env_vars::LOG_FORMAT, default_value = "json")]
    log_format: LogFormat,
}

/// Runs until a signal, or until something that must live has died.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Args {
        listen,
        namespace,
        mirrors,
        kubeconfig,
        webhook_token_file,
        identity,
        patience,
        log,
        log_format,
    } = args;
    logging::start(&log, log_format)?;
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another TLS provider is installed already; this is a bug");
    }
    git::transport::register().context("failed to register the git transport")?;
    fs_err::create_dir_all(&mirrors)
        .context("hint: --mirrors names a directory that can be written")?;
    let identity = identity.unwrap_or_else(|| format!("agent-{}", std::process::id()));
    let config = Config {
        listen,
        namespace,
        mirrors,
        webhook_token_file,
        identity,
        patience: Patience::new(patience),
    };

    signals::run(
        |stop| async move { controller::run(config, client(kubeconfig).await?, stop).await },
    )
}

async fn client(kubeconfig: Option<PathBuf>) -> anyhow::Result<kube::Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(&path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?
        }
        None => kube::Config::incluster()
            .context("this is not a pod of a cluster; hint: name a kubeconfig with --kubeconfig")?,
    };
    kube::Client::try_from(config).context("cannot make a client for the API server")
}
