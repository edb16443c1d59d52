use forge::decide::Fate;
use immudb::State as History;
use immudb::history::{Check, Outcome, ServerRecord};

use super::*;
use crate::api::upgrade_policy::PullRequestStatus;

/// A moment.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const DIGITS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn history(tx: u64) -> History {
    History {
        tx,
        hash: DIGITS.parse().unwrap(),
    }
}

fn record(version: &str, tx: u64) -> Record {
    let servers = ["primary", "replica"].map(|name| {
        let held = ServerRecord {
            version: version.to_owned(),
            databases: [("defaultdb".parse().unwrap(), history(tx))].into(),
        };
        (name.to_owned(), held)
    });
    Record {
        servers: servers.into(),
    }
}

fn pull_request(number: u64, state: State) -> PullRequest {
    PullRequest {
        number,
        url: format!("http://forge/{number}"),
        title: "Update immudb to 1.11.1".to_owned(),
        state,
    }
}

fn repository(pull_requests: Vec<PullRequest>) -> Repository {
    Repository {
        pull_requests,
        ..Repository::default()
    }
}

/// Pull request 7 is open; 5 was merged before.
fn open() -> Repository {
    repository(vec![
        pull_request(7, State::Open),
        pull_request(5, State::Merged),
    ])
}

fn testimony(version: &str, tx: u64, finding: Option<&Finding>) -> Testimony {
    Testimony {
        found: record(version, tx),
        agreement: outcome(tx, tx, &Finding::Contained),
        outcome: finding.map(|finding| outcome(12, tx, finding)),
    }
}

fn outcome(recorded: u64, current: u64, finding: &Finding) -> Outcome {
    let checks = ["primary", "replica"].into_iter().map(|server| Check {
        server: server.to_owned(),
        database: "defaultdb".parse().unwrap(),
        recorded: history(recorded),
        current: Some(history(current)),
        finding: finding.clone(),
    });
    Outcome {
        checks: checks.collect(),
    }
}

/// The servers hold what was recorded, and then each what the other does not.
fn divided() -> Testimony {
    Testimony {
        agreement: outcome(20, 20, &refused()),
        ..testimony("1.11.1", 20, Some(&Finding::Contained))
    }
}

/// What is known of a server that says nothing.
fn silence() -> ClientError {
    ClientError::Unreachable {
        server: "immudb:3322".parse().unwrap(),
        reason: "no answer".to_owned(),
    }
}

fn heard(version: &str, tx: u64, finding: &Finding) -> Evidence {
    Evidence::Heard(testimony(version, tx, Some(finding)))
}

fn refused() -> Finding {
    Finding::Contradicted {
        reason: "no".to_owned(),
    }
}

/// A record with an open pull request, made at second 0.
pub(crate) fn recorded_proof() -> ProofStatus {
    let said = Ok(testimony("1.10.0", 12, None));
    recorded(None, said, &open(), &Version::new(1, 10, 0), at(0)).unwrap()
}

/// The merge of it, seen at second 10; due at second 70.
fn pending_proof() -> ProofStatus {
    pending(
        &recorded_proof(),
        &pull_request(7, State::Merged),
        &Version::new(1, 11, 1),
        at(10),
        Duration::from_mins(1),
    )
}

/// What came of comparing at second 40.
pub(crate) fn judged_proof(finding: &Finding) -> ProofStatus {
    judged(&pending_proof(), heard("1.11.1", 20, finding), at(40))
}

#[test]
fn one_thing_comes_next() {
    use ProofPhase::{Overdue, Pending, Proved, Recorded, Refuted};
    for (phase, told, acknowledged, expected) in [
        (Recorded, false, None, Next::Poll),
        (Pending, false, None, Next::Prove),
        (Pending, false, Some(7), Next::Prove),
        (Proved, false, None, Next::Tell),
        (Proved, true, None, Next::Poll),
        (Refuted, false, None, Next::Tell),
        (Refuted, false, Some(7), Next::Tell),
        (Refuted, true, None, Next::Hold),
        (Refuted, true, Some(6), Next::Hold),
        (Refuted, true, Some(7), Next::Poll),
        (Overdue, false, None, Next::Tell),
        (Overdue, true, None, Next::Prove),
        (Overdue, true, Some(7), Next::Poll),
    ] {
        let proof = ProofStatus {
            phase,
            told,
            ..recorded_proof()
        };
        let found = next(Some(&proof), acknowledged);
        assert_eq!(found, expected, "{phase:?}, told {told}, {acknowledged:?}");
    }
    assert_eq!(next(None, None), Next::Poll);
    let unknown = ProofStatus {
        phase: Refuted,
        told: true,
        pull_request: None,
        ..recorded_proof()
    };
    assert_eq!(next(Some(&unknown), None), Next::Hold);
}

#[test]
fn a_merge_counts_if_it_is_newer_than_the_record() {
    let number = |proof: &ProofStatus, pull_requests: Vec<PullRequest>| {
        let repository = repository(pull_requests);
        merged(Some(proof), &repository).map(|merged| merged.number)
    };
    let record = recorded_proof();
    for (name, pull_requests, expected) in [
        (
            "it is open",
            vec![pull_request(7, State::Open), pull_request(5, State::Merged)],
            None,
        ),
        (
            "it is merged",
            vec![
                pull_request(7, State::Merged),
                pull_request(5, State::Merged),
            ],
            Some(7),
        ),
        (
            "it was closed, and another one merged",
            vec![
                pull_request(8, State::Merged),
                pull_request(7, State::Closed),
            ],
            Some(8),
        ),
        (
            "it was closed",
            vec![
                pull_request(7, State::Closed),
                pull_request(5, State::Merged),
            ],
            None,
        ),
    ] {
        assert_eq!(number(&record, pull_requests), expected, "{name}");
    }
    let ended = judged_proof(&Finding::Contained);
    assert_eq!(number(&ended, vec![pull_request(9, State::Merged)]), None);
}

#[test]
fn a_record_comes_before_whatever_can_be_merged() {
    let open = pull_request(7, State::Open);
    let nothing = Action::Nothing {
        reason: String::new(),
    };
    let close = Action::Close {
        number: 7,
        title: String::new(),
        comment: String::new(),
        branch: Fate::Keep,
    };
    assert!(!needs_record(&nothing, None));
    assert!(needs_record(&nothing, Some(&open)));
    assert!(!needs_record(&close, Some(&open)));
}

#[test]
fn records_are_made_anew_while_they_go_on() {
    let version = Version::new(1, 10, 0);
    let anew = |said: Result<Testimony, ClientError>| {
        recorded(Some(&recorded_proof()), said, &open(), &version, at(99))
    };
    let contained = anew(Ok(testimony("1.10.0", 20, Some(&Finding::Contained)))).unwrap();
    assert_eq!(contained.phase, ProofPhase::Recorded);
    assert_eq!(contained.record, record("1.10.0", 20));
    assert_eq!(contained.recorded_at, at(99).to_string());
    assert_eq!(contained.merged_before, 5);

    // A replica that is late is no reason to keep an old record.
    let behind = anew(Ok(testimony("1.10.0", 20, Some(&Finding::Behind)))).unwrap();
    assert_eq!(behind.record, contained.record);

    let refuted = anew(Ok(testimony("1.10.0", 20, Some(&refused())))).unwrap();
    assert_eq!(refuted.phase, ProofPhase::Refuted);
    assert_eq!(
        refuted.record,
        recorded_proof().record,
        "the evidence stays"
    );
    assert!(
        refuted
            .message
            .starts_with("before the merge: primary/defaultdb")
    );

    let silent = anew(Err(silence())).unwrap();
    assert_eq!(silent.record, recorded_proof().record);
    assert!(silent.message.contains("no answer"), "{}", silent.message);
    let first = recorded(None, Err(silence()), &open(), &version, at(99));
    assert_eq!(first, Err(NoRecord::Silent(silence())));
}

#[test]
fn servers_that_contradict_each_other_are_not_recorded() {
    let record = recorded(None, Ok(divided()), &open(), &Version::new(1, 10, 0), at(0));
    let text = record.unwrap_err().to_string();
    assert!(
        text.contains("disagree before any upgrade: primary/defaultdb"),
        "{text}"
    );
}

#[test]
fn a_record_without_a_pull_request_binds_nobody() {
    let version = Version::new(1, 10, 0);
    let none = repository(vec![]);
    let said = Ok(testimony("1.10.0", 12, None));
    let before = recorded(None, said, &none, &version, at(0)).unwrap();
    assert_eq!(
        (before.pull_request.as_ref(), before.merged_before),
        (None, 0)
    );
    let said = Ok(testimony("1.10.0", 3, Some(&refused())));
    let after = recorded(Some(&before), said, &none, &version, at(9)).unwrap();
    assert_eq!(after.phase, ProofPhase::Recorded);
    assert_eq!(after.record, record("1.10.0", 3));
}

#[test]
fn evidence_decides() {
    use ProofPhase::{Overdue, Pending, Proved, Refuted};
    let missing = || Evidence::Missing("waiting".to_owned());
    for (name, evidence, second, phase, word) in [
        ("nothing yet", missing(), 40, Pending, "waiting"),
        ("too late", missing(), 70, Overdue, "waiting"),
        (
            "all is there, and then two histories",
            Evidence::Heard(divided()),
            40,
            Refuted,
            "primary/defaultdb",
        ),
        (
            "all is there",
            heard("1.11.1", 20, &Finding::Contained),
            40,
            Proved,
            "12 transactions in 1 databases",
        ),
        (
            "late, but all is there",
            heard("1.11.1", 20, &Finding::Contained),
            90,
            Proved,
            "12 transactions",
        ),
        (
            "not far enough",
            heard("1.11.1", 3, &Finding::Behind),
            40,
            Pending,
            "not there yet",
        ),
        (
            "not the new version",
            heard("1.10.0", 20, &Finding::Contained),
            40,
            Pending,
            "the primary still runs 1.10.0",
        ),
        (
            "another history",
            heard("1.10.0", 20, &refused()),
            40,
            Refuted,
            "is not in",
        ),
        (
            "a version that nobody can read",
            heard("dev", 20, &Finding::Contained),
            40,
            Proved,
            "12 transactions",
        ),
    ] {
        let found = judged(&pending_proof(), evidence, at(second));
        assert_eq!(found.phase, phase, "{name}: {found:?}");
        assert!(found.message.contains(word), "{name}: {}", found.message);
        assert!(!found.told, "{name}");
    }
}

#[test]
fn being_late_is_told_once() {
    let late = judged(&pending_proof(), Evidence::Missing("a".to_owned()), at(80));
    let told = ProofStatus { told: true, ..late };
    let still = judged(&told, Evidence::Missing("b".to_owned()), at(90));
    assert!(still.told && still.message == "b", "{still:?}");
    let proved = judged(&still, heard("1.11.1", 20, &Finding::Contained), at(95));
    assert_eq!((proved.phase, proved.told), (ProofPhase::Proved, false));
}

#[test]
fn syncs_arrive() {
    let name = SyncName::new("immudb-primary".to_owned());
    let line = |standing, revision: Option<&str>| Entry {
        standing,
        revision: revision.map(str::to_owned),
        message: "rolling out".to_owned(),
        ..Entry::default()
    };
    let at = |line: &Entry| arrived(&name, Some(line)).map(str::to_owned);
    let ready = line(Standing::Ready, Some("main@sha1:abc"));
    assert_eq!(at(&ready), Ok("abc".to_owned()));
    let moving = at(&line(Standing::Progressing, Some("main@sha1:abc"))).unwrap_err();
    assert!(moving.contains("rolling out"), "{moving}");
    let suspended = at(&line(Standing::Suspended, None)).unwrap_err();
    assert!(suspended.contains("hint:"), "{suspended}");
    let none = arrived(&name, None).unwrap_err();
    assert!(none.contains("does not exist"), "{none}");
}

#[test]
fn a_pull_request_is_listed() {
    let expected = PullRequestStatus {
        number: 7,
        url: "http://forge/7".to_owned(),
        title: "Update immudb to 1.11.1".to_owned(),
    };
    assert_eq!(recorded_proof().pull_request, Some(expected.clone()));
    assert_eq!(pending_proof().pull_request, Some(expected));
}
