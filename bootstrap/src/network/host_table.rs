//! The cluster's own table of the host's packet filter: replaced as a whole or removed, so that
//! nothing of the host's other rules is ever touched.

use std::process::Command;
use std::time::Duration;

use crate::command::run;
use crate::problem::Problem;
use crate::topology::ClusterName;

const DEADLINE: Duration = Duration::from_secs(20);

/// Makes the table hold exactly these chains, in one transaction.
///
/// # Errors
/// When the kernel refuses, naming the command.
pub(super) fn replace(cluster: &ClusterName, chains: &str) -> Result<(), Problem> {
    load(&replacement(cluster, chains))
}

/// Removes the table, if it is there.
///
/// # Errors
/// When the kernel refuses, naming the command.
pub(crate) fn remove(cluster: &ClusterName) -> Result<(), Problem> {
    load(&deletion(cluster))
}

fn replacement(cluster: &ClusterName, chains: &str) -> String {
    let name = name(cluster);
    format!("{}table ip {name} {{\n{chains}}}\n", deletion(cluster))
}

/// The first line makes the second succeed where there is no such table.
fn deletion(cluster: &ClusterName) -> String {
    let name = name(cluster);
    format!("table ip {name}\ndelete table ip {name}\n")
}

fn name(cluster: &ClusterName) -> String {
    format!("immuops-{cluster}")
}

fn load(rules: &str) -> Result<(), Problem> {
    run(
        Command::new("nft").args(["-f", "-"]),
        rules.as_bytes(),
        DEADLINE,
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_table_goes_and_the_new_one_comes() {
        let rules = replacement(&"demo".parse().unwrap(), "\tchain leaving {\n\t}\n");
        // The first line: a deletion of what is not there would fail.
        assert_eq!(
            rules,
            "table ip immuops-demo\ndelete table ip immuops-demo\n\
             table ip immuops-demo {\n\tchain leaving {\n\t}\n}\n"
        );
    }
}
