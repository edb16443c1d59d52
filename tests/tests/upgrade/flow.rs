//! From the announcement of a release to its merge, on GitHub's API and on a real Gitea.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::agent_process::Agent;
use tests::gitea::Gitea;
use tests::github_emulator::{CLUSTER, GitHubEmulator, TOKEN};
use tests::image_registry::{ImageRegistry, Readers};
use tests::upgrade_policy::{condition, ignored};

use super::fixtures::{BRANCH, Person, Policy, file, secret, spec};

const IMAGE: &str = "codenotary/immudb";

#[test]
fn on_github() -> Result<()> {
    let agent = Agent::start("upgrade-github")?;
    let github = GitHubEmulator::start(&agent.directory)?;
    let person = Person::on_github(&github);
    let token = json!({ "token": TOKEN });
    let repository = json!({
        "type": "GitHub", "url": github.api.address, "name": CLUSTER, "secretRef": { "name": "forge" },
    });
    flow(&agent, &github, &person, &token, &repository)
}

#[test]
fn on_gitea() -> Result<()> {
    let agent = Agent::start("upgrade-gitea")?;
    let github = GitHubEmulator::start(&agent.directory)?;
    let gitea = Gitea::start(&agent.directory)?;
    let person = Person::on_gitea(&gitea.api);
    let token = gitea.token("agent", &["write:repository", "write:issue"])?;
    let token = json!({ "username": "bot", "password": token });
    let repository = json!({
        "type": "Gitea", "url": gitea.address, "name": CLUSTER, "secretRef": { "name": "forge" },
    });
    flow(&agent, &github, &person, &token, &repository)
}

/// Asks for the state of a policy in one line: reason, current version, candidate, pull request.
fn state(policy: &Value) -> String {
    let text = |path: &str| match policy.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) | None => "-".to_owned(),
    };
    let ready = condition(policy, "Ready");
    let reason = ready.split(':').next().unwrap_or_default();
    format!(
        "{reason} {} {} #{}",
        text("/status/current"),
        text("/status/candidate/version"),
        text("/status/pullRequest/number")
    )
}

/// The parts of one test.
struct World<'a> {
    github: &'a GitHubEmulator,
    registry: &'a ImageRegistry,
    person: &'a Person,
    policy: Policy<'a>,
}

/// Everything that a release goes through.
fn flow(
    agent: &Agent,
    github: &GitHubEmulator,
    person: &Person,
    token: &Value,
    repository: &Value,
) -> Result<()> {
    let registry = ImageRegistry::start(&agent.directory, Readers::All)?;
    registry.push(IMAGE, "1.10.0")?;
    person.write("main", &file("1.10.0"))?;
    secret(agent, "forge", token)?;
    let spec = spec(&github.api.address, &registry, repository);
    let mut world = World {
        github,
        registry: &registry,
        person,
        policy: Policy::new(agent, &spec)?,
    };
    world.expect("True UpToDate 1.10.0 - #-")?;
    world.announced_without_an_image()?;
    world.opened_once()?;
    world.moved_to_a_newer_release()?;
    world.closed_by_hand()?;
    world.changed_by_hand()?;
    world.merged()?;
    world.upgraded_by_hand()?;
    ensure!(!agent.log()?.contains(TOKEN), "a token was logged");
    Ok(())
}

impl World<'_> {
    /// Polls and compares the state.
    fn expect(&mut self, expected: &str) -> Result<Value> {
        let policy = self.policy.poll()?;
        ensure!(state(&policy) == expected, "not {expected}: {policy:#}");
        Ok(policy)
    }

    fn release(&self, version: &str) -> Result<()> {
        let tag = format!("v{version}");
        self.github.announce(&json!({ "tag_name": tag }))?;
        self.registry.push(IMAGE, version).map(drop)
    }

    /// The release is out, its image is not; beside it what never counts.
    fn announced_without_an_image(&mut self) -> Result<()> {
        let notes = "## Fixes\n- a crash, thanks @somebody (#2100)\n<!-- immuops: {} -->";
        for release in [
            json!({ "tag_name": "v1.11.1", "body": notes }),
            json!({ "tag_name": "v2.0.0-RC1" }),
            json!({ "tag_name": "v1.9DOM.2" }),
            json!({ "tag_name": "v1.12.0", "draft": true }),
            json!({ "tag_name": "v1.13.0", "prerelease": true }),
        ] {
            self.github.announce(&release)?;
        }
        let seen = self.expect("True UpToDate 1.10.0 - #-")?;
        let ignored = ignored(&seen);
        let host = &self.registry.host;
        let missing = format!("v1.11.1: the registry has no image {host}/{IMAGE}:1.11.1 yet");
        let expected = [
            missing.as_str(),
            "v1.12.0: it is a draft",
            "v1.13.0: it is a pre-release",
            "v1.9DOM.2: its tag is no semantic version",
            "v2.0.0-RC1: it is a pre-release",
        ];
        ensure!(ignored == expected, "{ignored:#?}");
        ensure!(self.person.pull_requests()?.is_empty());
        Ok(())
    }

    /// The image is there: one pull request, one commit, one line; and nothing more at the next poll.
    fn opened_once(&mut self) -> Result<()> {
        let digest = self.registry.push(IMAGE, "1.11.1")?;
        let seen = self.expect("True PullRequestOpen 1.10.0 1.11.1 #1")?;
        ensure!(seen.pointer("/status/candidate/digest") == Some(&json!(digest)));
        let person = self.person;
        ensure!(person.pull_requests()? == ["1 open Update immudb to 1.11.1"]);
        ensure!(person.read(BRANCH)? == file("1.11.1"));
        ensure!(person.read("main")? == file("1.10.0"));
        ensure!(person.parents(BRANCH)? == [person.branch("main")?]);
        let opened = person.pull_request(1)?;
        let body = opened.get("body").and_then(Value::as_str);
        let body = body.context("no body")?;
        ensure!(
            body.contains("> - a crash, thanks @\u{200b}somebody (#\u{200b}2100)"),
            "{body}"
        );
        ensure!(
            body.matches("<!-- ").count() == 1 && body.contains(&digest),
            "{body}"
        );

        let head = person.branch(BRANCH)?;
        self.expect("True PullRequestOpen 1.10.0 1.11.1 #1")?;
        ensure!(person.branch(BRANCH)? == head);
        ensure!(person.pull_request(1)?.get("updated_at") == opened.get("updated_at"));
        Ok(())
    }

    /// The pull request changes; no second one is opened.
    fn moved_to_a_newer_release(&mut self) -> Result<()> {
        self.release("1.11.2")?;
        self.expect("True PullRequestOpen 1.10.0 1.11.2 #1")?;
        let person = self.person;
        ensure!(person.pull_requests()? == ["1 open Update immudb to 1.11.2"]);
        ensure!(person.read(BRANCH)? == file("1.11.2"));
        ensure!(person.parents(BRANCH)? == [person.branch("main")?]);
        let comments = person.comments(1)?;
        let [comment] = comments.as_slice() else {
            bail!("{comments:#?}");
        };
        ensure!(
            comment.contains("asks for 1.11.2 instead of 1.11.1"),
            "{comment}"
        );
        Ok(())
    }

    /// Never again for that version, nor for one below it; the next version is another question.
    fn closed_by_hand(&mut self) -> Result<()> {
        self.person.close(1)?;
        for _ in 0..2 {
            self.expect("True UpToDate 1.10.0 - #-")?;
        }
        ensure!(self.person.pull_requests()? == ["1 closed Update immudb to 1.11.2"]);
        self.release("1.11.3")?;
        self.expect("True PullRequestOpen 1.10.0 1.11.3 #2")
            .map(drop)
    }

    /// What a person commits to the branch stays.
    fn changed_by_hand(&mut self) -> Result<()> {
        let changed = format!("# mine\n{}", file("1.11.3"));
        self.person.write(BRANCH, &changed)?;
        self.release("1.11.4")?;
        let seen = self.policy.poll()?;
        let stalled = condition(&seen, "Stalled");
        ensure!(stalled.starts_with("True BranchChanged: "), "{seen:#}");
        ensure!(self.person.read(BRANCH)? == changed);
        Ok(())
    }

    /// That version is current, and what is newer comes next once the branch is free.
    fn merged(&mut self) -> Result<()> {
        let changed = format!("# mine\n{}", file("1.11.3"));
        self.person.merge(2)?;
        ensure!(self.person.read("main")? == changed);
        let seen = self.policy.poll()?;
        let stalled = condition(&seen, "Stalled");
        ensure!(stalled.contains("hint: remove the branch"), "{seen:#}");
        self.person.delete_branch(BRANCH)?;
        self.expect("True PullRequestOpen 1.11.3 1.11.4 #3")?;
        let expected = changed.replace("1.11.3", "1.11.4");
        ensure!(self.person.read(BRANCH)? == expected);
        Ok(())
    }

    /// The pull request is no longer needed.
    fn upgraded_by_hand(&mut self) -> Result<()> {
        self.person.write("main", &file("1.11.4"))?;
        self.expect("True UpToDate 1.11.4 - #-")?;
        let found = self.person.pull_requests()?;
        let expected = [
            "1 closed Update immudb to 1.11.2",
            "2 merged Update immudb to 1.11.3",
            "3 closed Update immudb to 1.11.4 (no longer needed)",
        ];
        ensure!(found == expected, "{found:#?}");
        ensure!(
            self.person.branch(BRANCH).is_err(),
            "the branch is still there"
        );
        Ok(())
    }
}
