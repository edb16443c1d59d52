//! Recorded states, compared after an upgrade, and what happens when a history is not the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use immudb::DatabaseName;
use immudb::history::{self, Finding, Outcome, Record, Verdict};
use tests::immudb_server::{ImmudbServer, LIMIT, Role, Version, record, together};
use tests::wait::{ensure, until};

/// Clients that write at the same time.
const WRITERS: usize = 4;
/// Fewest transactions that have to be acknowledged before the upgrade begins.
const BEFORE: u64 = 500;

fn compare(record: &Record, servers: &[&ImmudbServer]) -> Result<Outcome> {
    together(servers, async |servers| {
        history::compare(record, servers).await
    })
}

/// Writes keys of its own until told to stop, and gives those that were acknowledged. A refused or
/// unanswered write is tried again under the next key.
fn write(server: &str, writer: usize, stop: &AtomicBool) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let login = immudb::Login::new("immudb", tests::immudb_server::PASSWORD);
        let timeout = std::time::Duration::from_secs(2);
        let mut client = immudb::Client::new(&server.parse()?, login, timeout)?;
        let database = DatabaseName::default_database();
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("{writer}-{number}");
            if client
                .set(&database, key.as_bytes(), key.as_bytes())
                .await
                .is_ok()
            {
                acknowledged.push(key);
            }
        }
        Ok(acknowledged)
    })
}

#[test]
fn an_upgrade_under_writers_loses_nothing() -> Result<()> {
    let mut primary = ImmudbServer::start("primary", Version::Older, Role::Primary)?;
    let role = Role::Replica {
        primary: primary.port(),
    };
    let mut replica = ImmudbServer::start("replica", Version::Older, role)?;
    let database = DatabaseName::default_database();
    let stop = AtomicBool::new(false);
    let address = primary.address();
    let (acknowledged, before) = thread::scope(|scope| -> Result<_> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let (address, stop) = (&address, &stop);
                    move || write(address, writer, stop)
                })
            })
            .collect();
        let upgraded = upgrade(&mut primary, &mut replica);
        stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for writer in writers {
            let keys = writer
                .join()
                .map_err(|_| anyhow::anyhow!("a writer died"))??;
            acknowledged.extend(keys);
        }
        Ok((acknowledged, upgraded?))
    })?;

    assert_eq!(before.servers["primary"].version, "1.10.0");
    let state = primary.client()?.state(&database)?;
    replica.reaches(&database, state)?;
    let outcome = compare(&before, &[&primary, &replica])?;
    assert_eq!(outcome.verdict(), Verdict::Proved, "{:#?}", outcome.checks);
    assert!(
        outcome.transactions() >= BEFORE,
        "{}",
        outcome.transactions()
    );
    assert_eq!((outcome.databases(), outcome.servers()), (2, 2));
    assert!(acknowledged.len() > usize::try_from(BEFORE)?);
    for server in [&primary, &replica] {
        let mut client = server.client()?;
        assert_eq!(client.run(async |client| client.version().await)?, "1.11.1");
        client.run(async |client| {
            for key in &acknowledged {
                let value = client.get(&database, key.as_bytes()).await?;
                assert_eq!(
                    value.as_deref(),
                    Some(key.as_bytes()),
                    "{key} on {}",
                    server.name
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Primary first, then the replica; gives what was recorded before.
fn upgrade(primary: &mut ImmudbServer, replica: &mut ImmudbServer) -> Result<Record> {
    let database = DatabaseName::default_database();
    let mut client = primary.client()?;
    until("the writers", LIMIT, || {
        let state = client.state(&database)?;
        ensure(state.tx >= BEFORE, || format!("the primary is at {state}"))
    })?;
    until("the replica's users", LIMIT, || {
        replica.client()?.state(&database)
    })?;
    let before = record(&[primary, replica])?;
    for server in [primary, replica] {
        server.stop()?;
        server.version = Version::Newest;
        server
            .run()
            .with_context(|| format!("{} after the upgrade", server.name))?;
    }
    Ok(before)
}

#[test]
fn what_is_not_the_same_history_is_refuted() -> Result<()> {
    let primary = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    let database = DatabaseName::default_database();
    let mut client = primary.client()?;
    client.write("a", 10)?;
    let honest = record(&[&primary])?;
    client.write("b", 10)?;
    let verdict =
        |record: &Record| -> Result<Verdict> { Ok(compare(record, &[&primary])?.verdict()) };
    assert_eq!(verdict(&honest)?, Verdict::Proved);

    let changed = |change: &dyn Fn(&mut immudb::State)| {
        let mut record = honest.clone();
        let held = record.servers.get_mut("primary").unwrap();
        change(held.databases.get_mut(&database).unwrap());
        record
    };
    // One bit of the recorded hash; the hash of another transaction; more than there is.
    let flipped = changed(&|state| {
        let mut bytes = state.hash.as_bytes().to_vec();
        bytes[31] ^= 1;
        state.hash = bytes.as_slice().try_into().unwrap();
    });
    assert_eq!(verdict(&flipped)?, Verdict::Refuted);
    assert_eq!(verdict(&changed(&|state| state.tx -= 1))?, Verdict::Refuted);
    assert_eq!(verdict(&changed(&|state| state.tx += 1000))?, Verdict::Open);

    // Another server with as many transactions.
    let other = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    other.client()?.write("a", 20)?;
    let outcome = compare(&honest, &[&other])?;
    assert_eq!(outcome.verdict(), Verdict::Refuted);
    assert_eq!(outcome.transactions(), 0, "{outcome:#?}");

    // A database that is gone.
    let mut more = honest.clone();
    let held = more.servers.get_mut("primary").unwrap();
    let state = held.databases[&database];
    held.databases.insert("app".parse()?, state);
    let outcome = compare(&more, &[&primary])?;
    let missing = outcome.checks.iter().find(|check| check.current.is_none());
    assert!(
        matches!(
            missing.map(|check| &check.finding),
            Some(Finding::Contradicted { .. })
        ),
        "{outcome:#?}"
    );
    Ok(())
}
