//! `agent verify`: proves that servers hold the history they should.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use immudb::history::{self, Outcome, Record, Server, Verdict};
use immudb::{Address, Client};
use serde::Serialize;

use super::output::Output;
use super::signals;
use crate::api::period::Period;
use crate::immudb_login::Credentials;

/// The primary's name in records.
const PRIMARY: &str = "primary";

/// Proves that replicas hold the beginning of the primary's history and, with `--since`, that all servers
/// still hold what was recorded. Every proof is verified here; no server is trusted.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The primary.
    #[arg(long)]
    primary: Address,
    /// A replica, or a server with a restored backup. May be given several times.
    #[arg(long = "replica")]
    replicas: Vec<Address>,
    /// Write the present state of all servers into this file, to compare with later.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Compare with the states in this file.
    #[arg(long)]
    since: Option<PathBuf>,
    #[command(flatten)]
    credentials: Credentials,
    /// Longest wait for one answer of a server.
    #[arg(long, value_parser = Period::parse, default_value = "10s")]
    timeout: Period,
    /// How the result looks.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The result.
#[derive(Debug, Serialize)]
struct Verification {
    verdict: Verdict,
    /// What the servers hold now.
    record: Record,
    /// What was checked, and what came out.
    outcome: Outcome,
}

/// Prints what was proved; an error if that is not everything.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    signals::run(|stop| async move {
        tokio::select! {
            result = verify(args) => result,
            () = stop.cancelled() => bail!("interrupted"),
        }
    })
}

async fn verify(args: Args) -> anyhow::Result<()> {
    let Args {
        primary,
        replicas,
        record: record_path,
        since,
        credentials,
        timeout,
        output,
    } = args;
    let before = since
        .map(|path| -> anyhow::Result<Record> {
            let text = fs_err::read_to_string(&path)?;
            serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is no record; hint: `agent verify --record` writes one",
                    path.display()
                )
            })
        })
        .transpose()?;
    let login = credentials.login()?;
    let addresses = std::iter::once((PRIMARY.to_owned(), primary)).chain(
        (1..)
            .zip(replicas)
            .map(|(number, address)| (format!("replica-{number}"), address)),
    );
    let mut servers = Vec::new();
    for (name, address) in addresses {
        let client = Client::new(&address, login.clone(), timeout.duration())?;
        servers.push(Server { name, client });
    }

    let record = history::record(&mut servers).await?;
    let mut checks = Vec::new();
    if let Some(before) = before {
        checks = history::compare(&before, &mut servers).await?.checks;
    }
    if let [primary, _, ..] = servers.as_mut_slice() {
        // What any of them holds must be in the primary.
        let primary = std::slice::from_mut(primary);
        checks.extend(history::compare(&record, primary).await?.checks);
    }
    for Server { client, .. } in servers {
        // The work is done; a session that is not closed ends by itself.
        drop(client.close().await);
    }
    if let Some(path) = record_path {
        let text = serde_json::to_string_pretty(&record).context("failed to write JSON")?;
        fs_err::write(path, format!("{text}\n"))?;
    }

    let outcome = Outcome { checks };
    let verdict = outcome.verdict();
    let verification = Verification {
        verdict,
        record,
        outcome,
    };
    super::print(&match output {
        Output::Text => verification.text()?,
        Output::Json => {
            let json =
                serde_json::to_string_pretty(&verification).context("failed to write JSON")?;
            format!("{json}\n")
        }
    })?;
    match verdict {
        Verdict::Proved => Ok(()),
        Verdict::Open if verification.outcome.checks.is_empty() => Ok(()),
        Verdict::Open => bail!(
            "not everything is proved: a server has not come far enough; hint: wait for the replica, and \
             verify again"
        ),
        Verdict::Refuted => {
            bail!("a server holds another history; hint: keep its data as it is until you know why")
        }
    }
}

impl Verification {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for (name, held) in &self.record.servers {
            writeln!(text, "{name}: immudb {}", held.version)?;
            for (database, state) in &held.databases {
                writeln!(text, "  {database} {state}")?;
            }
        }
        for check in &self.outcome.checks {
            writeln!(text, "{check}")?;
        }
        if !self.outcome.checks.is_empty() {
            let verdict = match self.verdict {
                Verdict::Proved => "proved",
                Verdict::Open => "open",
                Verdict::Refuted => "refuted",
            };
            let transactions = self.outcome.transactions();
            let databases = self.outcome.databases();
            writeln!(
                text,
                "{verdict}: {transactions} transactions in {databases} databases"
            )?;
        }
        Ok(text)
    }
}
