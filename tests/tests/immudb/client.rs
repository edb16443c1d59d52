//! The client and the proofs of live servers.

use anyhow::Result;
use immudb::{ClientError, DatabaseName, State};
use tests::immudb_server::{ImmudbServer, LIMIT, Role, Version};
use tests::wait::until;

#[test]
fn reads_what_it_writes_and_outlives_a_restart() -> Result<()> {
    let mut server = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    let database = DatabaseName::default_database();
    let mut client = server.client()?;
    client.write("a", 3)?;
    // The session of before is unknown to the new process; nobody has to care. The first call may find
    // the connection broken.
    server.stop()?;
    server.run()?;
    until("the client to come back", LIMIT, || client.state(&database))?;
    let (found, missing) = client.run(async |client| {
        let found = client.get(&database, b"a-2").await?;
        Ok((found, client.get(&database, b"b").await?))
    })?;
    assert_eq!((found.as_deref(), missing), (Some(&b"value"[..]), None));

    let names = client.run(async |client| client.databases().await)?;
    assert_eq!(names, [database.clone(), DatabaseName::system()]);
    let unknown: DatabaseName = "unknown".parse()?;
    let error = client.run(async |client| Ok(client.state(&unknown).await.unwrap_err()))?;
    assert!(
        matches!(error, ClientError::NoSuchDatabase { .. }),
        "{error}"
    );
    assert_eq!(client.run(async |client| client.version().await)?, "1.11.1");
    let beyond = client.run(async |client| client.header(&database, 1000).await)?;
    assert_eq!(beyond, None);
    Ok(())
}

#[test]
fn a_live_server_proves_its_history_and_no_other() -> Result<()> {
    for version in [Version::Newest, Version::Older] {
        let server = ImmudbServer::start("primary", version, Role::Primary)?;
        let mut client = server.client()?;
        client.write("a", 20)?;
        for database in [DatabaseName::default_database(), DatabaseName::system()] {
            let current = client.state(&database)?;
            for source in 1..=current.tx {
                let (header, proof) = client.run(async |client| {
                    let header = client.header(&database, source).await?;
                    Ok((header, client.proof(&database, source, current.tx).await?))
                })?;
                let recorded = header.unwrap().state();
                assert_eq!(proof.verify(&recorded, &current), Ok(()));
                let other = State {
                    hash: current.hash,
                    ..recorded
                };
                assert_eq!(proof.verify(&other, &current).is_ok(), other == recorded);
            }
        }
    }
    Ok(())
}
