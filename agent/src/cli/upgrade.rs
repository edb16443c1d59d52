//! `agent upgrade`: what an upgrade policy would do, without a cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use forge::decide::{Action, Decision, decide};
use forge::facts::{File, FileMode, Repository};
use forge::round;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::Output;
use super::signals;
use crate::api::upgrade_policy::UpgradePolicySpec;
use crate::upgrade::connection::{AnyForge, Identity, Upstream};
use crate::upgrade::settings::Settings;

/// Longest time for all requests together.
const DEADLINE: Duration = Duration::from_mins(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what would be proposed, and why nothing else. Changes nothing.
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// File with an upgrade policy.
    policy: PathBuf,
    /// Read the files from this directory and ask no forge: pull requests are then unknown.
    #[arg(long, value_name = "DIRECTORY")]
    repository: Option<PathBuf>,
    /// File with the token for the release list.
    #[arg(long, value_name = "FILE")]
    releases_token: Option<PathBuf>,
    /// File with the token for the registry.
    #[arg(long, value_name = "FILE")]
    image_token: Option<PathBuf>,
    /// File with the token for the forge.
    #[arg(long, value_name = "FILE")]
    repository_token: Option<PathBuf>,
    /// File with the certificate authorities to trust instead of those of the web.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Args {
        command: Command::Check(check),
    } = args;
    signals::run(|stop| async move {
        tokio::select! {
            result = print_decision(&check) => result,
            () = stop.cancelled() => bail!("interrupted"),
        }
    })
}

async fn print_decision(check: &Check) -> anyhow::Result<()> {
    let (name, spec) = read_policy(&check.policy)?;
    let settings = Settings::of(&name, &spec)
        .with_context(|| format!("cannot use {}", check.policy.display()))?;
    let decision = tokio::time::timeout(DEADLINE, look(check, &settings))
        .await
        .with_context(|| format!("no end after {} s", DEADLINE.as_secs()))??;
    match check.output {
        Output::Text => super::print(&text(&settings, &decision)?),
        Output::Json => super::print(&format!("{:#}\n", json(&decision))),
    }
}

async fn look(check: &Check, settings: &Settings) -> anyhow::Result<Decision> {
    let policy = &settings.policy;
    let ca = check.ca.as_deref();
    let releases = identity(check.releases_token.as_deref(), ca)?;
    let images = identity(check.image_token.as_deref(), ca)?;
    let upstream = Upstream::new(settings, &releases, &images)?;
    let repository = if let Some(directory) = &check.repository {
        directory_facts(settings, directory)?
    } else {
        let forge = identity(check.repository_token.as_deref(), ca)?;
        AnyForge::new(settings, &forge)?.look(policy).await?
    };
    let now = Timestamp::now();
    let releases = upstream.releases().await?;
    let upstream = round::upstream(releases, &upstream.registry, policy, &repository, now).await?;
    Ok(decide(policy, &repository, &upstream, now)?)
}

/// Takes the first `UpgradePolicy` of a file.
fn read_policy(path: &Path) -> anyhow::Result<(String, UpgradePolicySpec)> {
    let text = fs_err::read_to_string(path)?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .with_context(|| format!("{} is no YAML", path.display()))?;
    for document in documents {
        if document.get("kind").and_then(Value::as_str) != Some("UpgradePolicy") {
            continue;
        }
        let name = document.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or("unnamed").to_owned();
        let spec = document.get("spec").cloned().unwrap_or_default();
        let spec = serde_json::from_value(spec)
            .with_context(|| format!("the spec of {name} in {}", path.display()))?;
        return Ok((name, spec));
    }
    bail!(
        "{} has no UpgradePolicy; hint: its kind must be UpgradePolicy",
        path.display()
    )
}

fn identity(token: Option<&Path>, ca: Option<&Path>) -> anyhow::Result<Identity> {
    let mut data = BTreeMap::new();
    if let Some(path) = token {
        let token = fs_err::read_to_string(path)?;
        data.insert("token".to_owned(), token.trim().as_bytes().to_vec());
    }
    if let Some(path) = ca {
        data.insert("ca.crt".to_owned(), fs_err::read(path)?);
    }
    if data.is_empty() {
        return Ok(Identity::default());
    }
    Ok(Identity::of(&data)?)
}

/// What a directory says. It has no branches and no pull requests.
fn directory_facts(settings: &Settings, directory: &Path) -> anyhow::Result<Repository> {
    let mut files = BTreeMap::new();
    for rule in &settings.policy.files {
        let path = directory.join(&rule.path);
        if !path.is_file() {
            continue;
        }
        let file = File {
            text: fs_err::read_to_string(&path)?,
            blob: String::new(),
            mode: FileMode::Plain,
        };
        files.insert(rule.path.clone(), file);
    }
    Ok(Repository {
        files,
        ..Repository::default()
    })
}

/// The decision in one word and one sentence.
fn action(decision: &Decision) -> (&'static str, String) {
    match &decision.action {
        Action::Nothing { reason } => ("nothing", reason.clone()),
        Action::Blocked { reason } => ("blocked", reason.clone()),
        Action::Open(proposal) => ("open", format!("a pull request: {}", proposal.title)),
        Action::Update {
            number, proposal, ..
        } => (
            "update",
            format!("pull request #{number}: {}", proposal.title),
        ),
        Action::Close {
            number, comment, ..
        } => ("close", format!("pull request #{number}. {comment}")),
    }
}

fn text(settings: &Settings, decision: &Decision) -> anyhow::Result<String> {
    let (word, sentence) = action(decision);
    let mut text = String::new();
    let product = &settings.policy.product;
    writeln!(text, "{product} {} is in the repository", decision.current)?;
    writeln!(text, "decision: {word} {sentence}")?;
    if let Some(target) = &decision.target {
        let candidate = &target.candidate;
        writeln!(text, "candidate: {}", candidate.version)?;
        writeln!(text, "  image      {}", target.image)?;
        if let Some(digest) = &target.digest {
            writeln!(text, "  digest     {digest}")?;
        }
        writeln!(text, "  published  {}", candidate.published_at)?;
        writeln!(text, "  notes      {}", candidate.release.url)?;
    }
    if !decision.ignored.is_empty() {
        writeln!(text, "ignored:")?;
    }
    for ignored in &decision.ignored {
        writeln!(text, "  {}: {}", ignored.tag, ignored.reason)?;
    }
    Ok(text)
}

fn json(decision: &Decision) -> Value {
    let (word, sentence) = action(decision);
    let candidate = decision.target.as_ref().map(|target| {
        json!({
            "version": target.candidate.version.to_string(),
            "image": target.image,
            "digest": target.digest,
            "publishedAt": target.candidate.published_at.to_string(),
            "url": target.candidate.release.url,
        })
    });
    json!({
        "current": decision.current.to_string(),
        "decision": word,
        "reason": sentence,
        "candidate": candidate,
        "pullRequest": decision.open,
        "ignored": decision.ignored,
    })
}
