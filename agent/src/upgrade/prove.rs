//! One try to prove a merge: have the Syncs carried it out, and do the servers hold what they held before?

use std::collections::BTreeMap;

use forge::version::{Version, parse_release};
use jiff::Timestamp;

use super::clients::Clients;
use super::proof::{Evidence, arrived, judged};
use super::settings::ProofSettings;
use crate::api::upgrade_proof::ProofStatus;
use crate::board::Lines;
use crate::problem::chain;

/// Tries once. What is not there yet is no error: it is waited for until the proof is overdue.
pub(super) async fn prove(
    mut clients: Clients<'_>,
    settings: &ProofSettings,
    lines: &Lines,
    proof: &ProofStatus,
) -> ProofStatus {
    let evidence = match rolled_out(&clients, settings, lines, proof).await {
        Err(reason) => Evidence::Missing(reason),
        Ok(()) => match clients.ask(Some(&proof.record)).await {
            Some(Ok(testimony)) => Evidence::Heard(testimony),
            Some(Err(error)) => Evidence::Missing(chain(&error)),
            None => Evidence::Missing("no server is named in spec.proof".to_owned()),
        },
    };
    judged(proof, evidence, Timestamp::now())
}

/// Whether every Sync is healthy at a commit that has the new version.
async fn rolled_out(
    clients: &Clients<'_>,
    settings: &ProofSettings,
    lines: &Lines,
    proof: &ProofStatus,
) -> Result<(), String> {
    let to = proof.to.as_deref().and_then(|to| parse_release(to).ok());
    let mut versions: BTreeMap<&str, Version> = BTreeMap::new();
    for server in &settings.servers {
        let sync = &server.sync;
        let commit = arrived(sync, lines.get(sync))?;
        let version = match versions.get(commit) {
            Some(version) => version.clone(),
            None => clients.version_at(commit).await.map_err(|error| {
                format!(
                    "cannot tell which version Sync {sync} is at: {}",
                    chain(&error)
                )
            })?,
        };
        if to.as_ref().is_some_and(|to| version < *to) {
            return Err(format!("waiting for Sync {sync}, which is at {version}"));
        }
        versions.insert(commit, version);
    }
    Ok(())
}
