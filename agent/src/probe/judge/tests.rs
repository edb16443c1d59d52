//! What is seen, round after round, and the verdict it gets.

use super::*;

const LIMITS: Limits = Limits {
    max_lag: 100,
    patience: Duration::from_mins(3),
};

fn state(tx: u64) -> State {
    fork(tx, "history")
}

/// A state of another history.
fn fork(tx: u64, name: &str) -> State {
    let digit = char::from_digit(u32::try_from(name.len() % 16).unwrap(), 16).unwrap();
    let digits: String = std::iter::repeat_n(digit, 48).collect();
    State {
        tx,
        hash: format!("{digits}{tx:016x}").parse().unwrap(),
    }
}

fn address() -> immudb::Address {
    "immudb-primary".parse().unwrap()
}

fn absent() -> ClientError {
    ClientError::Unreachable {
        server: address(),
        reason: "connection refused".to_owned(),
    }
}

fn login_refused() -> ClientError {
    ClientError::LoginRefused {
        server: address(),
        username: "immudb".to_owned(),
    }
}

fn name() -> DatabaseName {
    DatabaseName::default_database()
}

/// What a replica's round sees of one database: its own state, and the primary's newest. The primary's
/// history is `history`.
fn round(own: State, primary: u64) -> Round {
    let at_own = (1..=primary).contains(&own.tx).then(|| state(own.tx));
    let seen = PrimaryState {
        current: state(primary),
        at_own,
    };
    Round {
        own: Ok([(name(), own)].into()),
        primary: Some(Ok([(name(), seen)].into())),
        replicators: [(name(), Replicator::Running)].into(),
        versions: None,
    }
}

fn without_primary(own: State) -> Round {
    Round {
        primary: Some(Err(absent())),
        ..round(own, 0)
    }
}

fn stopped(own: State, primary: u64) -> Round {
    Round {
        replicators: [(name(), Replicator::Stopped)].into(),
        versions: Some(Versions {
            own: "1.10.0".to_owned(),
            primary: "1.11.1".to_owned(),
        }),
        ..round(own, primary)
    }
}

fn unanswered(own: ClientError, primary: Option<ClientError>) -> Round {
    let seen = round(state(1), 1).primary;
    Round {
        own: Err(own),
        primary: primary.map_or(seen, |error| Some(Err(error))),
        replicators: BTreeMap::new(),
        versions: None,
    }
}

fn replica() -> Judge {
    let role = Role::Replica { primary: address() };
    Judge::new(role, LIMITS)
}

#[test]
fn one_round_of_a_replica() {
    let cases = [
        ("equal", round(state(20), 20), Reason::Ready),
        ("a little behind", round(state(20), 120), Reason::Ready),
        (
            "too far behind",
            round(state(20), 121),
            Reason::TooFarBehind,
        ),
        ("both empty", round(state(0), 0), Reason::Ready),
        ("nothing yet", round(state(0), 5), Reason::NeverSynced),
        // Two writes of its own while the primary made one more: only the hash tells.
        (
            "another history",
            round(fork(23, "x"), 24),
            Reason::StateDiffers,
        ),
        (
            "another history, same number",
            round(fork(24, "x"), 24),
            Reason::StateDiffers,
        ),
        (
            "more than the primary",
            round(state(25), 24),
            Reason::AheadOfPrimary,
        ),
        (
            "replication stopped",
            stopped(state(20), 21),
            Reason::ReplicationStopped,
        ),
        (
            "stopped, nothing missed yet",
            stopped(state(20), 20),
            Reason::ReplicationStopped,
        ),
        (
            "different and stopped",
            stopped(fork(20, "x"), 21),
            Reason::StateDiffers,
        ),
        (
            "primary never seen",
            without_primary(state(20)),
            Reason::NeverCompared,
        ),
        (
            "own server gone",
            unanswered(absent(), None),
            Reason::ServerUnreachable,
        ),
        (
            "no users yet",
            unanswered(login_refused(), None),
            Reason::NeverSynced,
        ),
        (
            "wrong password",
            unanswered(login_refused(), Some(login_refused())),
            Reason::LoginRefused,
        ),
    ];
    for (case, round, expected) in cases {
        let report = replica().judge(&round, Instant::now());
        assert_eq!(report.reason, expected, "{case}: {}", report.message);
        assert_eq!(report.ready, expected == Reason::Ready, "{case}");
    }
}

#[test]
fn a_primary_needs_no_other() {
    let seen = |own| Round {
        own,
        primary: None,
        replicators: BTreeMap::new(),
        versions: None,
    };
    for (own, expected) in [
        (Ok([(name(), state(3))].into()), Reason::Ready),
        (Err(login_refused()), Reason::LoginRefused),
        (Err(absent()), Reason::ServerUnreachable),
    ] {
        let report = Judge::new(Role::Primary, LIMITS).judge(&seen(own), Instant::now());
        assert_eq!(
            (report.ready, report.reason),
            (expected == Reason::Ready, expected)
        );
    }
}

#[test]
fn without_the_primary_the_last_verdict_stands() {
    for (before, ready, reason) in [
        (round(state(20), 20), true, Reason::NotCompared),
        (round(fork(20, "x"), 20), false, Reason::StateDiffers),
        (stopped(state(20), 21), false, Reason::ReplicationStopped),
        (round(state(20), 500), false, Reason::TooFarBehind),
    ] {
        let mut judge = replica();
        let now = Instant::now();
        judge.judge(&before, now);
        // However long it takes.
        for hours in 0..3 {
            let later = now + Duration::from_hours(hours);
            let report = judge.judge(&without_primary(state(20)), later);
            assert_eq!(
                (report.ready, report.reason),
                (ready, reason),
                "{}",
                report.message
            );
        }
        // Its own failures count all the same, and the primary's return as well.
        assert!(
            !judge
                .judge(&unanswered(absent(), Some(absent())), now)
                .ready
        );
        assert_eq!(
            judge.judge(&round(state(20), 20), now).reason,
            Reason::Ready
        );
    }
}

#[test]
fn standing_still_behind_the_primary_is_found_after_a_while() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut judge = replica();
    let mut reason =
        |own, primary, seconds| judge.judge(&round(state(own), primary), at(seconds)).reason;
    assert_eq!(reason(20, 20, 0), Reason::Ready);
    // An hour of quiet is no standstill.
    assert_eq!(reason(20, 21, 3600), Reason::Ready);
    assert_eq!(reason(20, 25, 3780), Reason::Ready);
    assert_eq!(reason(20, 25, 3781), Reason::StandsStill);
    // Any progress begins a new wait, and arriving ends it.
    assert_eq!(reason(22, 30, 3782), Reason::Ready);
    assert_eq!(reason(22, 30, 3963), Reason::StandsStill);
    assert_eq!(reason(30, 30, 3964), Reason::Ready);
    assert_eq!(reason(30, 31, 9000), Reason::Ready);
}

#[test]
fn the_worst_database_decides() {
    let other: DatabaseName = "app".parse().unwrap();
    let mut seen = round(state(20), 20);
    let (Ok(own), Some(Ok(primary))) = (&mut seen.own, &mut seen.primary) else {
        panic!("both answer");
    };
    own.insert(other.clone(), fork(5, "x"));
    let differs = PrimaryState {
        current: state(9),
        at_own: Some(state(5)),
    };
    primary.insert(other, differs);
    let report = replica().judge(&seen, Instant::now());
    assert_eq!(report.reason, Reason::StateDiffers);
    assert!(report.message.starts_with("app "), "{}", report.message);
    let matches: Vec<_> = report
        .databases
        .iter()
        .map(|database| database.state_match)
        .collect();
    assert_eq!(matches, [Some(false), Some(true)]);
}

#[test]
fn a_stopped_replication_names_the_versions() {
    let report = replica().judge(&stopped(state(20), 21), Instant::now());
    for words in ["1.10.0", "1.11.1", "1 transactions behind", "hint: "] {
        assert!(report.message.contains(words), "{}", report.message);
    }
}
