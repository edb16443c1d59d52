//! The agent dies at any moment and nothing is lost, leaked or half done.

use anyhow::{bail, ensure};
use serde_json::json;
use tests::agent_process::{Agent, LIMIT};
use tests::git_server::{Access, GitServer};
use tests::wait::until;

use super::fixtures::{config_map, namespace, spec, with};

/// Objects of one sync: enough that a kill hits the middle of it.
const OBJECTS: usize = 150;

#[test]
fn a_kill_at_any_moment_leaks_nothing() -> anyhow::Result<()> {
    let mut agent = Agent::install("crash")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    git.push(&[("namespace.yaml", &namespace("crash"))])?;
    agent.sync(
        "app",
        &with(spec(&git, "."), json!({ "pruneLimit": "100%" })),
    )?;
    // Each round has other objects than the one before, so whatever a killed round created and the
    // next does not want has to be found and pruned.
    for (round, delay) in [0_u64, 40, 90, 150, 220, 300, 400].into_iter().enumerate() {
        let mut files = Vec::new();
        for number in 0..OBJECTS {
            let name = format!("r{round}-{number}");
            files.push((format!("{name}.yaml"), config_map(&name, "crash", "one")));
            if round > 0 {
                files.push((format!("r{}-{number}.yaml", round - 1), String::new()));
            }
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        git.push(&files)?;
        let fetched = |agent: &Agent| {
            agent
                .log()
                .unwrap_or_default()
                .matches("new revision")
                .count()
        };
        let before = fetched(&agent);
        agent.run()?;
        until("the agent to start a sync", LIMIT, || {
            if fetched(&agent) > before {
                Ok(())
            } else {
                bail!("not yet")
            }
        })?;
        // Where in the sync this hits depends on the machine; over the rounds it hits everywhere.
        std::thread::park_timeout(std::time::Duration::from_millis(delay));
        agent.kill()?;
    }
    let tip = git.git(&["rev-parse", "HEAD"])?;
    agent.run()?;
    agent.ready("app", &tip)?;
    let list = agent.client.get("/api/v1/namespaces/crash/configmaps")?;
    let names: Vec<&str> = list
        .pointer("/items")
        .and_then(|items| items.as_array())
        .into_iter()
        .flatten()
        .filter_map(|item| item.pointer("/metadata/name")?.as_str())
        .collect();
    let wanted = |name: &&&str| name.starts_with("r6-");
    ensure!(
        names.iter().filter(wanted).count() == OBJECTS,
        "objects are missing"
    );
    let leaked: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with('r') && !wanted(name))
        .collect();
    ensure!(leaked.is_empty(), "leaked: {leaked:?}");
    ensure!(agent.inventory("app")?.len() == OBJECTS + 1);
    Ok(())
}
