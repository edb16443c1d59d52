//! An upgrade of immudb from the announcement of a release to the proof that nothing is lost, on a cluster
//! of its own: releases from a stateful emulator of GitHub, images from a real registry, the built-in Gitea
//! as the forge, and people who write all the while with a client that is not ours.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Duration;

    use anyhow::{Context as _, Result, bail, ensure};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use fs_err as fs;
    use serde_json::{Value, json};
    use tempfile::TempDir;
    use tests::cluster::Cluster;
    use tests::edge::Edge;
    use tests::github_emulator::GitHubEmulator;
    use tests::host_state::HostState;
    use tests::image_registry::{ImageRegistry, Readers};
    use tests::json_api::JsonApi;
    use tests::link::Link;
    use tests::process;
    use tests::upgrade_policy::{condition, ignored};
    use tests::wait::until;
    use tests::working_copy::WorkingCopy;
    use tests::writers::{Writers, written};

    const ARGUMENTS: [&str; 8] = [
        "--provider=native",
        "--nodes=2",
        "--node-cidr=10.226.0.0/24",
        "--pod-cidr=10.227.0.0/16",
        "--service-cidr=10.228.0.0/16",
        "--git-port=30320",
        "--https-port=30321",
        "--http-port=30322",
    ];
    /// The host, as the nodes of that range see it.
    const HOST: &str = "10.226.0.1";
    const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    const VERSION: &str = "immudb/version/kustomization.yaml";
    const POLICY: &str = "upgrades/immudb.yaml";
    const IMAGE: &str = "codenotary/immudb";
    const REPOSITORY: &str = "/repos/immuops/cluster";
    /// How many people write, and how much each of them before the upgrade: 5,000 transactions.
    const WRITERS: u8 = 5;
    const EACH: u32 = 1_000;
    /// A poll, on a busy machine.
    const SOON: Duration = Duration::from_mins(1);
    /// Both servers restarted and compared.
    const ROLLOUT: Duration = Duration::from_mins(4);

    #[test]
    fn from_a_release_to_the_proof_that_nothing_is_lost() -> Result<()> {
        let files = TempDir::new()?;
        let github = GitHubEmulator::start(files.path())?;
        let registry = ImageRegistry::start(files.path(), Readers::All)?;
        let cluster = Cluster::new("upgrade")?;
        let before = HostState::read()?;
        let source = TempDir::new()?;
        older(source.path())?;
        let checked = cluster
            .up_from(source.path(), &ARGUMENTS)
            .and_then(|_| World::new(&cluster, &github, &registry)?.upgrade())
            .map_err(|error| error.context(cluster.diagnosis()));
        let down = cluster.down();
        checked?;
        down?;
        HostState::ensure_unchanged_since(&before)
    }

    /// The source tree of somebody who starts with immudb 1.10.0: all is as it is here but that line.
    fn older(tree: &Path) -> Result<()> {
        for entry in fs::read_dir(TREE)? {
            let name = entry?.file_name();
            if name != "target" && name != ".git" && name != "cluster-repo" {
                symlink(
                    Path::new(TREE).join(&name).canonicalize()?,
                    tree.join(&name),
                )?;
            }
        }
        let mut copy = Command::new("cp");
        copy.arg("-R").arg(Path::new(TREE).join("cluster-repo"));
        process::text(copy.arg(tree), None)?;
        let file = tree.join("cluster-repo").join(VERSION);
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains("newTag: 1.11.1\n"), "{text}");
        Ok(fs::write(
            &file,
            text.replace("newTag: 1.11.1\n", "newTag: 1.10.0\n"),
        )?)
    }

    /// The cluster, the forge as its administrator uses it, and what is outside.
    struct World<'a> {
        cluster: &'a Cluster,
        github: &'a GitHubEmulator,
        registry: &'a ImageRegistry,
        releases: Link,
        images: Link,
        forge: JsonApi,
        polls: u32,
    }

    impl<'a> World<'a> {
        fn new(
            cluster: &'a Cluster,
            github: &'a GitHubEmulator,
            registry: &'a ImageRegistry,
        ) -> Result<Self> {
            let host: IpAddr = HOST.parse()?;
            let password = cluster.secret("git-system", "gitea", "admin-password")?;
            let login = STANDARD.encode(format!("immuops:{password}"));
            let api = format!("{}/api/v1", cluster.forge_url()?);
            Ok(Self {
                releases: Link::from(host, port(&github.api.address)?)?,
                images: Link::from(host, port(&registry.host)?)?,
                forge: JsonApi::new(&api, &format!("Basic {login}")),
                cluster,
                github,
                registry,
                polls: 0,
            })
        }

        fn upgrade(mut self) -> Result<()> {
            until("the policy to say that it is suspended", SOON, || {
                let policy = self.policy()?;
                let ready = condition(&policy, "Ready");
                ensure!(ready.starts_with("True Suspended: "), "{policy:#}");
                Ok(())
            })?;
            self.versions_are("1.10.0")?;
            let mut writers = Writers::start(Edge::of(self.cluster)?, WRITERS, EACH)?;
            self.switched_on()?;
            self.announced_without_an_image()?;
            writers.enough()?;
            let body = self.opened_once()?;
            self.kill_agent()?;
            self.merge()?;
            self.phase_is(&["Pending", "Proved"])?;
            self.kill_agent()?;
            let proved = self.phase_is(&["Proved"])?;
            let comment = self.told(&proved)?;
            self.primary_came_first()?;
            self.versions_are("1.11.1")?;
            self.everything_is_there(&writers.stop()?)?;
            keep(&body, &comment)
        }

        /// As docs/upgrades.md says, with the addresses of this test.
        fn switched_on(&mut self) -> Result<()> {
            let copy = WorkingCopy::of_built_in_forge(self.cluster)?;
            let releases = format!(
                "    github: codenotary/immudb\n    apiUrl: http://{HOST}:{}\n    insecure: true\n",
                self.releases.port()
            );
            let images = format!(
                "    repository: {}\n    insecure: true\n  range",
                self.repository()
            );
            for (from, to) in [
                ("  suspend: true\n", ""),
                ("    github: codenotary/immudb\n", releases.as_str()),
                (
                    "    repository: docker.io/codenotary/immudb\n  range",
                    &images,
                ),
                ("minimumAge: 72h", "minimumAge: 1s"),
            ] {
                copy.replace(POLICY, from, to)?;
            }
            copy.push("upgrades: switched on")?;
            until("the policy to poll", SOON, || {
                let policy = self.policy()?;
                let ready = condition(&policy, "Ready");
                ensure!(ready.starts_with("True UpToDate: "), "{policy:#}");
                Ok(())
            })
        }

        /// Where images are, as the nodes see it.
        fn repository(&self) -> String {
            format!("{HOST}:{}/{IMAGE}", self.images.port())
        }

        /// The image comes later than the release. Beside it, what never counts.
        fn announced_without_an_image(&mut self) -> Result<()> {
            self.registry.push(IMAGE, "1.10.0")?;
            let notes =
                "## Changes\n\n- Fixed two crashes of the server (#2100), thanks @somebody\n";
            for release in [
                json!({ "tag_name": "v1.11.1", "body": notes }),
                json!({ "tag_name": "v2.0.0-RC1" }),
                json!({ "tag_name": "v1.9DOM.2" }),
                json!({ "tag_name": "v1.12.0", "draft": true }),
            ] {
                self.github.announce(&release)?;
            }
            // A release must have been out for a second. GitHub shows a draft to nobody without a token.
            let expected = [
                format!(
                    "v1.11.1: the registry has no image {}:1.11.1 yet",
                    self.repository()
                ),
                "v1.9DOM.2: its tag is no semantic version".to_owned(),
                "v2.0.0-RC1: it is a pre-release".to_owned(),
            ];
            until("the releases to be sorted", SOON, || {
                let policy = self.poll()?;
                let ignored = ignored(&policy);
                ensure!(ignored == expected, "{ignored:#?}");
                let ready = condition(&policy, "Ready");
                ensure!(ready.starts_with("True UpToDate: "), "{ready}");
                Ok(())
            })?;
            ensure!(self.pull_requests()?.is_empty(), "a pull request is open");
            Ok(())
        }

        /// One pull request, and nothing more at the next poll. Gives its text.
        fn opened_once(&mut self) -> Result<String> {
            self.registry.push(IMAGE, "1.11.1")?;
            for _ in 0..2 {
                let policy = self.poll()?;
                let ready = condition(&policy, "Ready");
                ensure!(ready.starts_with("True PullRequestOpen: "), "{policy:#}");
                ensure!(self.pull_requests()? == ["1 open Update immudb to 1.11.1"]);
                let tx = "/status/proof/record/servers/primary/databases/defaultdb/tx";
                let tx = policy.pointer(tx).and_then(Value::as_u64);
                let written = u64::from(WRITERS) * u64::from(EACH);
                ensure!(tx >= Some(written), "{policy:#}");
            }
            let opened = self.forge.get(&format!("{REPOSITORY}/pulls/1"))?;
            Ok(text(&opened, "/body").to_owned())
        }

        /// Gitea first has to find out whether that is possible.
        fn merge(&self) -> Result<()> {
            let path = format!("{REPOSITORY}/pulls/1/merge");
            until("the merge", SOON, || {
                self.forge.post(&path, &json!({ "Do": "merge" })).map(drop)
            })
        }

        /// Waits until the proof has come to one of these phases, and is told if it is the last one.
        fn phase_is(&self, wanted: &[&str]) -> Result<Value> {
            until(&format!("the proof to be {wanted:?}"), ROLLOUT, || {
                let policy = self.policy()?;
                let phase = text(&policy, "/status/proof/phase");
                let told = policy.pointer("/status/proof/told") == Some(&Value::Bool(true));
                ensure!(
                    wanted.contains(&phase) && (phase == "Pending" || told),
                    "{}",
                    policy.get("status").unwrap_or(&Value::Null)
                );
                Ok(policy)
            })
        }

        /// The status and one comment have the same story. Gives the comment.
        fn told(&self, proved: &Value) -> Result<String> {
            let verdict = condition(proved, "Proven");
            ensure!(verdict.starts_with("True Proved: "), "{proved:#}");
            let path = format!("{REPOSITORY}/issues/1/comments");
            let comments = self.forge.get(&path)?;
            let [comment] = comments.as_array().map_or(&[][..], Vec::as_slice) else {
                bail!("not one comment: {comments:#}");
            };
            let comment = text(comment, "/body");
            for server in ["primary", "replica"] {
                let state = format!("/status/proof/record/servers/{server}/databases/defaultdb");
                let state = proved.pointer(&state).context("no state")?;
                let tx = state.get("tx").and_then(Value::as_u64).context("no tx")?;
                let hash = text(state, "/hash");
                for part in [
                    format!("| {server} | | 1.10.0 | 1.11.1 |"),
                    format!("| {server} | `defaultdb` | tx {tx} `{hash}` |"),
                ] {
                    ensure!(comment.contains(&part), "{part} is not in:\n{comment}");
                }
            }
            ensure!(comment.contains("Proved: nothing is lost."), "{comment}");
            Ok(comment.to_owned())
        }

        /// The pod of the replica is younger than that of the primary.
        fn primary_came_first(&self) -> Result<()> {
            let started = |role| -> Result<String> {
                let pod = format!("immudb-{role}-0");
                let pod = self
                    .cluster
                    .json(&["-n", "immudb", "get", "pod", pod.as_str()])?;
                // RFC 3339 in UTC: as text they are in order.
                Ok(text(&pod, "/metadata/creationTimestamp").to_owned())
            };
            let (primary, replica) = (started("primary")?, started("replica")?);
            ensure!(primary < replica, "primary {primary}, replica {replica}");
            Ok(())
        }

        /// What both servers run.
        fn versions_are(&self, version: &str) -> Result<()> {
            for role in ["primary", "replica"] {
                let pod = format!("immudb-{role}-0");
                let pod = self
                    .cluster
                    .json(&["-n", "immudb", "get", "pod", pod.as_str()])?;
                let image = text(&pod, "/spec/containers/0/image");
                let expected = format!("docker.io/{IMAGE}:{version}");
                ensure!(image == expected, "the {role} runs {image}");
            }
            Ok(())
        }

        /// Every key that somebody was told is kept is on both servers, with its value.
        fn everything_is_there(&self, acknowledged: &BTreeMap<String, u64>) -> Result<()> {
            let least = usize::try_from(u32::from(WRITERS) * EACH)?;
            ensure!(
                acknowledged.len() > least,
                "only {} writes were acknowledged",
                acknowledged.len()
            );
            for pod in ["pod/immudb-primary-0", "pod/immudb-replica-0"] {
                // An idle replica asks its primary with growing pauses of up to two minutes.
                until(&format!("{pod} to have every key"), ROLLOUT, || {
                    let found = written(self.cluster, pod)?;
                    let missing: Vec<&String> = acknowledged
                        .keys()
                        .filter(|key| found.get(*key) != Some(&format!("value of {key}")))
                        .collect();
                    ensure!(
                        missing.is_empty(),
                        "{} of {} keys are missing: {:?}",
                        missing.len(),
                        acknowledged.len(),
                        missing.iter().take(5).collect::<Vec<_>>()
                    );
                    Ok(())
                })?;
            }
            Ok(())
        }

        /// kill -9, as the kernel would for want of memory.
        fn kill_agent(&self) -> Result<()> {
            let kill = "-n immuops-system delete pod -l app.kubernetes.io/name=agent --grace-period=0 --force";
            let words: Vec<&str> = kill.split(' ').collect();
            self.cluster.run(&words).map(drop)
        }

        fn policy(&self) -> Result<Value> {
            let get = ["-n", "immuops-system", "get", "upgradepolicy", "immudb"];
            self.cluster.json(&get)
        }

        /// Asks for a poll and waits until it was made.
        fn poll(&mut self) -> Result<Value> {
            self.polls += 1;
            let wanted = self.polls.to_string();
            let request = format!("reconcile.immuops.dev/requestedAt={wanted}");
            let mut words = vec!["-n", "immuops-system", "annotate", "--overwrite"];
            words.extend(["upgradepolicy/immudb", request.as_str()]);
            self.cluster.run(&words)?;
            until(&format!("poll {wanted}"), SOON, || {
                let policy = self.policy()?;
                ensure!(
                    text(&policy, "/status/lastHandledReconcileAt") == wanted,
                    "{}",
                    policy.get("status").unwrap_or(&Value::Null)
                );
                Ok(policy)
            })
        }

        /// All pull requests as `number state title`.
        fn pull_requests(&self) -> Result<Vec<String>> {
            let list = self.forge.get(&format!("{REPOSITORY}/pulls?state=all"))?;
            let list = list.as_array().context("no list")?.iter();
            let shown = |one: &Value| {
                let number = one.get("number").and_then(Value::as_u64).unwrap_or(0);
                format!("{number} {} {}", text(one, "/state"), text(one, "/title"))
            };
            Ok(list.map(shown).collect())
        }
    }

    /// Writes `target/pictures/upgrade-pull-request.md`, or into `$IMMUOPS_PICTURES`.
    fn keep(body: &str, comment: &str) -> Result<()> {
        let folder = std::env::var_os("IMMUOPS_PICTURES")
            .map_or_else(|| Path::new(TREE).join("target/pictures"), PathBuf::from);
        fs::create_dir_all(&folder)?;
        let text = format!("{}\n\n---\n\n{}\n", body.trim_end(), comment.trim_end());
        Ok(fs::write(folder.join("upgrade-pull-request.md"), text)?)
    }

    fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
        let found = value.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default()
    }

    /// The port at the end of an address.
    fn port(address: &str) -> Result<u16> {
        let port = address.rsplit(':').next().context("no port")?;
        Ok(port.parse()?)
    }
}
