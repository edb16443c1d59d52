//! The proof after a merge, with two real immudb servers, a real Gitea that the Syncs read too, and an agent
//! that is killed where it hurts.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use immudb::{DatabaseName, State};
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::control_plane_client::PatchKind;
use tests::gitea::Gitea;
use tests::github_emulator::{CLUSTER, GitHubEmulator};
use tests::image_registry::{ImageRegistry, Readers};
use tests::immudb_server::{ImmudbServer, PASSWORD, Role, Version};
use tests::upgrade_policy::condition;
use tests::wait::until;

use super::fixtures::{Person, Policy, file, secret, spec};

const IMAGE: &str = "codenotary/immudb";
/// Transactions before the upgrade.
const WRITTEN: usize = 50;

/// A pair of servers, the forge, and what a policy that watches over both has to say.
struct World {
    agent: Agent,
    person: Person,
    registry: ImageRegistry,
    github: GitHubEmulator,
    primary: ImmudbServer,
    replica: ImmudbServer,
    spec: Value,
}

impl World {
    /// Both servers at 1.10.0, with data, and the repository too; 1.11.1 is out.
    fn new(name: &str) -> Result<Self> {
        let agent = Agent::start(name)?;
        let github = GitHubEmulator::start(&agent.directory)?;
        let gitea = Gitea::start(&agent.directory)?;
        let registry = ImageRegistry::start(&agent.directory, Readers::All)?;
        let person = Person::on_gitea(&gitea.api);
        person.write("main", &file("1.10.0"))?;
        let token = gitea.token("agent", &["write:repository", "write:issue"])?;
        secret(&agent, "forge", &json!({ "token": token }))?;
        let login = json!({ "username": "bot", "password": token });
        secret(&agent, "git", &login)?;
        let login = json!({ "username": "immudb", "password": PASSWORD });
        secret(&agent, "immudb-login", &login)?;
        for name in ["primary", "replica"] {
            folder(&gitea, name)?;
            sync(&agent, &gitea, name)?;
        }
        let primary = ImmudbServer::start("primary", Version::Older, Role::Primary)?;
        let role = Role::Replica {
            primary: primary.port(),
        };
        let replica = ImmudbServer::start("replica", Version::Older, role)?;
        let written = primary.client()?.write("before", WRITTEN)?;
        follows(&replica, written)?;
        let repository = json!({
            "type": "Gitea", "url": gitea.address, "name": CLUSTER, "secretRef": { "name": "forge" },
        });
        let mut spec = spec(&github.api.address, &registry, &repository);
        let server = |server: &ImmudbServer| {
            json!({
                "address": server.address(), "secretRef": { "name": "immudb-login" },
                "syncRef": { "name": server.name },
            })
        };
        let proof = json!({ "primary": server(&primary), "replica": server(&replica) });
        let fields = spec.as_object_mut().context("the spec is no object")?;
        fields.insert("proof".to_owned(), proof);
        let world = Self {
            agent,
            person,
            registry,
            github,
            primary,
            replica,
            spec,
        };
        world.release("1.11.1")?;
        Ok(world)
    }

    fn policy(&self) -> Result<Policy<'_>> {
        Policy::new(&self.agent, &self.spec)
    }

    fn release(&self, version: &str) -> Result<()> {
        let tag = format!("v{version}");
        self.github.announce(&json!({ "tag_name": tag }))?;
        self.registry.push(IMAGE, version).map(drop)
    }

    /// Waits until the agent says this of the proof by itself.
    fn comes_to(&self, phase: &str, message: &str) -> Result<Value> {
        let policy = self.policy()?;
        until(
            &format!("the proof to be {phase}: {message}"),
            LIMIT,
            || {
                let policy = policy.get()?;
                let at = text(&policy, "/status/proof/phase");
                let told = policy.pointer("/status/proof/told") == Some(&json!(true));
                ensure!(
                    at == phase
                        && text(&policy, "/status/proof/message").contains(message)
                        && (told || phase == "Pending"),
                    "{}",
                    policy.get("status").unwrap_or(&Value::Null)
                );
                Ok(policy)
            },
        )
        .with_context(|| format!("see {}", self.agent.log_path().display()))
    }

    /// What the Syncs of a cluster do: primary first, then the replica.
    fn upgrade(&mut self) -> Result<()> {
        for server in [&mut self.primary, &mut self.replica] {
            server.stop()?;
            server.version = Version::Newest;
            server.run()?;
        }
        Ok(())
    }

    /// The one comment about the proof.
    fn comment(&self) -> Result<String> {
        let mut comments = self.person.comments(1)?;
        comments.retain(|text| text.starts_with("<!-- immuops: proof -->"));
        ensure!(comments.len() == 1, "not one comment: {comments:#?}");
        Ok(comments.remove(0))
    }
}

/// Waits until the replica has a state. Its users come with systemdb; before that nobody can log in.
fn follows(replica: &ImmudbServer, state: State) -> Result<()> {
    until("the replica to follow", LIMIT, || {
        let found = replica.client()?.state(&DatabaseName::default_database())?;
        ensure!(found == state, "it is at {found}");
        Ok(())
    })
}

/// A folder of the repository with one object.
fn folder(gitea: &Gitea, name: &str) -> Result<()> {
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n");
    let change = json!({
        "message": "a server", "content": STANDARD.encode(text), "branch": "main",
    });
    let path = format!("/repos/{CLUSTER}/contents/servers/{name}/config.yaml");
    gitea.api.post(&path, &change).map(drop)
}

/// A Sync of that folder.
fn sync(agent: &Agent, gitea: &Gitea, name: &str) -> Result<()> {
    let path = format!(
        "/apis/immuops.dev/v1alpha1/namespaces/{}/syncs/{name}",
        agent.namespace
    );
    let sync = json!({
        "apiVersion": "immuops.dev/v1alpha1", "kind": "Sync", "metadata": { "name": name },
        "spec": {
            "source": {
                "url": format!("{}/{CLUSTER}.git", gitea.address),
                "ref": { "branch": "main" }, "secretRef": { "name": "git" },
            },
            "path": format!("./servers/{name}"), "interval": "1s", "wait": true, "prune": true,
            "targetNamespace": agent.namespace,
        },
    });
    agent
        .client
        .patch(PatchKind::Apply, &path, "test", &sync)
        .map(drop)
}

fn text<'a>(policy: &'a Value, pointer: &str) -> &'a str {
    let found = policy.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

#[test]
fn nothing_is_lost_and_that_is_told_once() -> Result<()> {
    let mut world = World::new("proof-kept")?;

    // Nothing that an upgrade could be compared with: nothing is proposed.
    world.primary.stop()?;
    let silent = world.policy()?.condition("Ready")?;
    ensure!(silent.starts_with("False HistoryFailed: "), "{silent}");
    ensure!(world.person.pull_requests()?.is_empty());
    world.primary.run()?;
    world.policy()?.poll()?;
    let recorded = world.policy()?.poll()?;
    let tx = recorded.pointer("/status/proof/record/servers/primary/databases/defaultdb/tx");
    ensure!(
        text(&recorded, "/status/proof/phase") == "Recorded" && tx == Some(&json!(WRITTEN)),
        "{recorded:#}"
    );
    ensure!(world.person.pull_requests()? == ["1 open Update immudb to 1.11.1"]);

    // Merged by hand while no agent runs; then it is killed again while the proof waits.
    world.agent.kill()?;
    world.person.merge(1)?;
    world.agent.run()?;
    world.comes_to("Pending", "the primary still runs 1.10.0")?;
    world.agent.kill()?;
    world.upgrade()?;
    world.agent.run()?;

    let proved = world.comes_to("Proved", "are on 2 servers after it")?;
    let verdict = condition(&proved, "Proven");
    ensure!(verdict.starts_with("True Proved: "), "{proved:#}");
    let versions = ["record", "found"].map(|record| {
        let path = format!("/status/proof/{record}/servers/replica/version");
        text(&proved, &path)
    });
    ensure!(versions == ["1.10.0", "1.11.1"], "{proved:#}");
    let hash = "/status/proof/record/servers/replica/databases/defaultdb/hash";
    let comment = world.comment()?;
    for part in [
        "**Proved: nothing is lost.**",
        "| primary | | 1.10.0 | 1.11.1 |",
        text(&proved, hash),
    ] {
        ensure!(comment.contains(part), "{part} is not in:\n{comment}");
    }
    let metrics = world.agent.http("/metrics")?;
    let counted = r#"immuops_agent_upgrade_proofs_total{policy="immudb",result="Proved"} 1"#;
    ensure!(metrics.contains(counted), "{metrics}");

    let ready = world.policy()?.condition("Ready")?;
    ensure!(ready.starts_with("True UpToDate: "), "{ready}");
    world.comment().map(drop)
}

#[test]
fn replaced_data_is_told_loudly() -> Result<()> {
    let mut world = World::new("proof-replaced")?;
    world.policy()?.poll()?;
    world.person.merge(1)?;

    // More transactions than before, but others.
    world.primary.stop()?;
    world.primary.lose_data()?;
    world.upgrade_of_what_is_left()?;

    let refuted = world.comes_to("Refuted", "primary/defaultdb: ")?;
    let proven = condition(&refuted, "Proven");
    ensure!(proven.starts_with("False Refuted: "), "{refuted:#}");
    let stalled = condition(&refuted, "Stalled");
    ensure!(
        stalled.starts_with("True ProofRefuted: ") && stalled.contains("hint: "),
        "{stalled}"
    );
    let comment = world.comment()?;
    for part in [
        "**Not the same history.**",
        "> primary/defaultdb: tx 50 ",
        "`spec.proof.acknowledged: 1`",
    ] {
        ensure!(comment.contains(part), "{part} is not in:\n{comment}");
    }
    world.alarm_is(1)?;

    // Nothing more is proposed until a person has dealt with it: here, by a replica of what is left.
    world.release("1.11.2")?;
    let held = world.policy()?.condition("Ready")?;
    ensure!(held.starts_with("False ProofRefuted: "), "{held}");
    ensure!(world.person.pull_requests()? == ["1 merged Update immudb to 1.11.1"]);
    world.replica.stop()?;
    world.replica.lose_data()?;
    world.replica.run()?;
    let left = world
        .primary
        .client()?
        .state(&DatabaseName::default_database())?;
    follows(&world.replica, left)?;
    let proof = world
        .spec
        .pointer_mut("/proof")
        .and_then(Value::as_object_mut);
    let proof = proof.context("no proof")?;
    proof.insert("acknowledged".to_owned(), json!(1));
    let ready = world.policy()?.condition("Ready")?;
    ensure!(ready.starts_with("True PullRequestOpen: "), "{ready}");
    world.alarm_is(0)?;
    let expected = [
        "1 merged Update immudb to 1.11.1",
        "2 open Update immudb to 1.11.2",
    ];
    ensure!(world.person.pull_requests()? == expected);
    Ok(())
}

impl World {
    /// The primary starts on empty data, and takes writes.
    fn upgrade_of_what_is_left(&mut self) -> Result<()> {
        self.primary.version = Version::Newest;
        self.primary.run()?;
        self.primary.client()?.write("after", 2 * WRITTEN)?;
        self.replica.stop()?;
        self.replica.version = Version::Newest;
        self.replica.run()
    }

    /// The gauge that the alert is about.
    fn alarm_is(&self, value: u8) -> Result<()> {
        let line = format!("immuops_agent_upgrade_unproved{{policy=\"immudb\"}} {value}");
        until(&line, LIMIT, || {
            let metrics = self.agent.http("/metrics")?;
            ensure!(metrics.contains(&line), "{metrics}");
            Ok(())
        })
    }
}
