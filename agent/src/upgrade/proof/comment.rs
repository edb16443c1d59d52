//! The comment that tells on a pull request what came of its merge. Pure.

use immudb::State;
use immudb::history::{Record, ServerRecord};
use jiff::{SignedDuration, Timestamp};

use crate::api::upgrade_proof::{ProofPhase, ProofStatus};

/// Databases of a server that are listed; GitHub takes 65,536 characters.
const LISTED: usize = 100;

/// Writes the comment. `policy` is the name of the policy.
pub(crate) fn comment(policy: &str, proof: &ProofStatus) -> String {
    let mut lines = match proof.phase {
        ProofPhase::Proved => proved(proof),
        ProofPhase::Refuted => refuted(policy, proof),
        ProofPhase::Overdue | ProofPhase::Pending | ProofPhase::Recorded => overdue(policy, proof),
    };
    lines.extend(table(proof));
    lines.join("\n")
}

fn proved(proof: &ProofStatus) -> Vec<String> {
    let transactions = proof.transactions.unwrap_or_default();
    let took = took(proof).map_or_else(String::new, |took| {
        format!(" {took} after the merge was seen")
    });
    vec![
        format!(
            "**Proved: nothing is lost.** Primary and replica hold all {transactions} transactions that were \
             recorded before the upgrade, each with the same content and in the same place."
        ),
        String::new(),
        format!(
            "Recorded at {}, before the merge; proved{took}, from the proofs of the servers themselves, which \
             the agent verifies.",
            proof.recorded_at
        ),
    ]
}

fn refuted(policy: &str, proof: &ProofStatus) -> Vec<String> {
    vec![
        "**Not the same history.** A server does not hold what was recorded before the upgrade, or what the other \
         one holds: transactions were lost or changed."
            .to_owned(),
        String::new(),
        format!("> {}", proof.message),
        String::new(),
        "1. Leave the data of both servers as it is, volumes included, and stop what writes to the primary."
            .to_owned(),
        "2. Find out which server is right. `agent verify --since` repeats this comparison with \
         `status.proof.record` of the policy."
            .to_owned(),
        "3. If both are wrong, restore the backup from before the upgrade.".to_owned(),
        acknowledge(4, policy, proof),
    ]
}

fn overdue(policy: &str, proof: &ProofStatus) -> Vec<String> {
    let due = proof.due.as_deref().unwrap_or("now");
    vec![
        format!("**Not proved in time.** Until {due} nobody could tell whether anything is lost."),
        String::new(),
        format!("> {}", proof.message),
        String::new(),
        "1. Remove what it waits for. It is tried again every minute, and this comment then tells the \
         result."
            .to_owned(),
        acknowledge(2, policy, proof),
    ]
}

fn acknowledge(step: u8, policy: &str, proof: &ProofStatus) -> String {
    let number = proof.pull_request.as_ref().map_or(0, |open| open.number);
    format!(
        "{step}. Until then the policy `{policy}` proposes nothing. To let it go on without a proof, set \
         `spec.proof.acknowledged: {number}`."
    )
}

/// One line per server, and one per database of it.
fn table(proof: &ProofStatus) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        "| server | database | recorded before | found after |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ];
    for (name, before) in &proof.record.servers {
        let after = proof.found.as_ref().and_then(|found| server(found, name));
        let version = after.map_or("-", |after| after.version.as_str());
        lines.push(format!("| {name} | | {} | {version} |", before.version));
        let databases = before.databases.iter();
        lines.extend(databases.take(LISTED).map(|(database, state)| {
            let after = after.and_then(|after| after.databases.get(database));
            let after = after.map_or_else(|| "-".to_owned(), shown);
            format!("| {name} | `{database}` | {} | {after} |", shown(state))
        }));
        if before.databases.len() > LISTED {
            let more = before.databases.len() - LISTED;
            lines.push(format!("| {name} | {more} more | | |"));
        }
    }
    lines
}

fn server<'a>(record: &'a Record, name: &str) -> Option<&'a ServerRecord> {
    record.servers.get(name)
}

fn shown(state: &State) -> String {
    format!("tx {} `{}`", state.tx, state.hash)
}

/// From the sight of the merge to the result.
fn took(proof: &ProofStatus) -> Option<String> {
    let at = |text: &Option<String>| text.as_deref()?.parse::<Timestamp>().ok();
    let took = at(&proof.ended_at)?.duration_since(at(&proof.merge_seen_at)?);
    Some(format!("{} s", took.max(SignedDuration::ZERO).as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::proof::tests::{at, judged_proof, recorded_proof};
    use forge::version::Version;
    use immudb::history::Finding;

    #[test]
    fn a_proof_is_told_with_both_hashes() {
        let text = comment("immudb", &judged_proof(&Finding::Contained));
        for part in [
            "**Proved: nothing is lost.**",
            "all 12 transactions",
            "proved 30 s after the merge was seen",
            "| primary | | 1.10.0 | 1.11.1 |",
            "| replica | `defaultdb` | tx 12 `0000",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let refuted = judged_proof(&Finding::Contradicted {
            reason: "the proof is of another transaction".to_owned(),
        });
        let text = comment("immudb", &refuted);
        for part in [
            "**Not the same history.**",
            "primary/defaultdb: tx 12 (00000000) is not in tx 20 (00000000): the proof is of another",
            "volumes included",
            "`spec.proof.acknowledged: 7`",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let late = ProofStatus {
            phase: ProofPhase::Overdue,
            due: Some(at(60).to_string()),
            message: "waiting for Sync a".to_owned(),
            to: Some(Version::new(1, 11, 1).to_string()),
            ..recorded_proof()
        };
        let text = comment("immudb", &late);
        assert!(
            text.contains("> waiting for Sync a") && text.contains("1970-01-01T00:01:00Z"),
            "{text}"
        );
    }
}
