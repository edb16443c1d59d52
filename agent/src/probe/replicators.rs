//! Whether the replication of a server lives, from its own metrics: `immudb_replication_replicators` is 0
//! for a database whose replication has ended for good, which happens without a word in the log that
//! would name the reason. Nothing else tells (immudb `pkg/replication/metrics.go`).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use immudb::{Address, DatabaseName};

use super::report::Replicator;

/// Time between two looks.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
/// Most bytes that are read; the page has half a megabyte.
const LARGEST_PAGE: u64 = 16 << 20;
/// The gauge, with its one label.
const GAUGE: &str = "immudb_replication_replicators{db=\"";

/// Reads the page line by line, so that it is never held as a whole.
pub(crate) async fn read(
    server: &Address,
    timeout: Duration,
) -> anyhow::Result<BTreeMap<DatabaseName, Replicator>> {
    let url = format!("http://{server}/metrics");
    tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .build()
            .into();
        let mut answer = agent.get(&url).call()?;
        let page = BufReader::new(answer.body_mut().as_reader().take(LARGEST_PAGE));
        let mut found = BTreeMap::new();
        for line in page.lines() {
            found.extend(replicator(&line?));
        }
        Ok(found)
    })
    .await?
}

/// Reads `immudb_replication_replicators{db="defaultdb"} 10`.
fn replicator(line: &str) -> Option<(DatabaseName, Replicator)> {
    let (name, value) = line.strip_prefix(GAUGE)?.split_once("\"} ")?;
    let state = match value.trim() {
        "0" => Replicator::Stopped,
        _ => Replicator::Running,
    };
    Some((name.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines() {
        for (line, expected) in [
            (
                "immudb_replication_replicators{db=\"defaultdb\"} 10",
                Some(("defaultdb", Replicator::Running)),
            ),
            (
                "immudb_replication_replicators{db=\"systemdb\"} 0",
                Some(("systemdb", Replicator::Stopped)),
            ),
            ("# TYPE immudb_replication_replicators gauge", None),
            ("immudb_replication_replicators_active{db=\"app\"} 0", None),
            ("immudb_replication_lag{db=\"app\"} 0", None),
        ] {
            let expected = expected.map(|(name, state)| (name.parse().unwrap(), state));
            assert_eq!(replicator(line), expected, "{line}");
        }
    }
}
