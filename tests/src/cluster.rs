//! A real cluster, made and removed by the `bootstrap` command as a user would.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err::{self as fs, File};
use serde_json::Value;

use crate::bundle;
use crate::process;

/// Address ranges and ports that are not the defaults, so that tests run beside a user's cluster.
const APART: &[&str] = &[
    "--provider=native",
    "--node-cidr=10.217.0.0/24",
    "--pod-cidr=10.218.0.0/16",
    "--service-cidr=10.219.0.0/16",
    "--https-port=30311",
    "--http-port=30312",
];
const FORGE: &[&str] = &["--git-port=30310"];

/// The cluster of one test run, and the only one of its name: its state is always in the same place,
/// so that a run that was killed is cleaned up by the next one.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    state: PathBuf,
    _claim: File,
}

impl Cluster {
    /// Names a cluster that does not exist yet; [`Cluster::up`] makes it. One that an earlier run
    /// left behind is removed.
    ///
    /// # Errors
    /// When another run has a cluster of this name, or the old one cannot be removed.
    pub fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join("immuops-tests");
        fs::create_dir_all(&folder)?;
        let claim = File::create(folder.join(format!("{name}.lock")))?;
        claim.file().try_lock().with_context(|| {
            format!("another test run on this host has the cluster {name}: wait until it ends")
        })?;
        let cluster = Self {
            name: name.to_owned(),
            state: folder.join(name),
            _claim: claim,
        };
        cluster.down()?;
        Ok(cluster)
    }

    /// A `bootstrap` command aimed at this cluster.
    ///
    /// # Errors
    /// When the program has not been built.
    pub fn bootstrap(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(bootstrap_program()?);
        command
            .args(arguments)
            .arg("--name")
            .arg(&self.name)
            .arg("--state-dir")
            .arg(self.state_dir());
        Ok(command)
    }

    /// Runs a command on a node, as `bootstrap exec` does, and gives its stdout.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub fn exec(&self, node: &str, words: &[&str]) -> Result<String> {
        let mut command = self.bootstrap(&["exec"])?;
        process::text(command.arg(node).arg("--").args(words), None)
    }

    /// Where `bootstrap` keeps this cluster's files.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// Makes the cluster, or finishes it, with `more` arguments to `bootstrap up`.
    ///
    /// # Errors
    /// What `bootstrap up` said when it failed.
    pub fn up(&self, more: &[&str]) -> Result<String> {
        let arguments = [&["up"], &defaults(more)[..]].concat();
        process::text(&mut self.bootstrap(&arguments)?, None)
    }

    /// `bootstrap up` with these arguments and none of ours; gives what it reported while it worked.
    ///
    /// # Errors
    /// What `bootstrap up` said when it failed.
    pub fn up_as(&self, arguments: &[&str]) -> Result<String> {
        logged(&mut self.bootstrap(&[&["up"], arguments].concat())?)
    }

    /// `bootstrap up` as somebody runs it who has changed files of the source tree; gives what it reported
    /// while it worked.
    ///
    /// # Errors
    /// What `bootstrap up` said when it failed.
    pub fn up_from(&self, source: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = self.bootstrap(&[&["up"], arguments].concat())?;
        logged(command.current_dir(source))
    }

    /// [`Cluster::up`], giving what it reported while it worked.
    ///
    /// # Errors
    /// What `bootstrap up` said when it failed.
    pub fn up_logged(&self, more: &[&str]) -> Result<String> {
        self.up_as(&defaults(more))
    }

    /// [`Cluster::up_as`], killed as by `kill -9` once it reports `step`.
    ///
    /// # Errors
    /// When it ends before that, with what it reported.
    pub fn up_killed_at(&self, arguments: &[&str], step: &str) -> Result<()> {
        let kill = |child: &mut Child| Ok(child.kill()?);
        self.up_until(arguments, step, kill).map(drop)
    }

    /// [`Cluster::up_as`] while something happens once it reports `step`.
    ///
    /// # Errors
    /// What `bootstrap up` said when it failed, or that it did not come to `step`.
    pub fn up_while(
        &self,
        arguments: &[&str],
        step: &str,
        happens: impl FnOnce() -> Result<()>,
    ) -> Result<String> {
        let (status, log) = self.up_until(arguments, step, |_| happens())?;
        ensure!(status.success(), "`up` failed:\n{log}");
        Ok(log)
    }

    /// Runs `bootstrap up` to its end, with `then` once it reports `step`.
    fn up_until(
        &self,
        arguments: &[&str],
        step: &str,
        then: impl FnOnce(&mut Child) -> Result<()>,
    ) -> Result<(ExitStatus, String)> {
        let mut command = self.bootstrap(&[&["up"], arguments].concat())?;
        let mut then = Some(then);
        let (status, log) = reported(&mut command, |child, line| {
            match then.take_if(|_| line.contains(step)) {
                Some(then) => then(child),
                None => Ok(()),
            }
        })?;
        ensure!(
            then.is_none(),
            "`up` ended before `{step}`, {status}:\n{log}"
        );
        Ok((status, log))
    }

    /// Removes the cluster.
    ///
    /// # Errors
    /// What `bootstrap down` said when it failed.
    pub fn down(&self) -> Result<String> {
        process::text(&mut self.bootstrap(&["down"])?, None)
    }

    /// A `kubectl` of the bundle with this cluster's administrator credentials.
    ///
    /// # Errors
    /// When the bundle or the cluster is missing.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let kubeconfig = self.kubeconfig()?;
        let mut command = Command::new(bundle::program("kubebox")?);
        command
            .arg("kubectl")
            .args(arguments)
            .env("KUBECONFIG", kubeconfig);
        Ok(command)
    }

    /// The path of the administrator's kubeconfig.
    ///
    /// # Errors
    /// When the cluster does not exist.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.state_dir().join("kubeconfig");
        if !path.is_file() {
            bail!("{} is missing: the cluster is not up", path.display());
        }
        Ok(path)
    }

    /// Runs `kubectl` and gives its stdout.
    ///
    /// # Errors
    /// What kubectl said when it failed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        process::text(&mut self.kubectl(arguments)?, None)
    }

    /// `kubectl ... -o json`.
    ///
    /// # Errors
    /// What kubectl said when it failed, or that it did not answer with JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let text = self.run(&all)?;
        serde_json::from_str(&text)
            .with_context(|| format!("kubectl {} did not print JSON", arguments.join(" ")))
    }

    /// Where the built-in forge answers on this host.
    ///
    /// # Errors
    /// When `bootstrap status` does not name it.
    pub fn forge_url(&self) -> Result<String> {
        let text = process::text(&mut self.bootstrap(&["status", "--output", "json"])?, None)?;
        let status: Value =
            serde_json::from_str(&text).context("bootstrap status did not print JSON")?;
        let url = status.pointer("/urls/git").and_then(Value::as_str);
        url.map(str::to_owned)
            .with_context(|| format!("bootstrap status names no forge: {text}"))
    }

    /// What a person would look at first when the cluster does not come up.
    pub fn diagnosis(&self) -> String {
        let questions: &[&[&str]] = &[
            &["get", "nodes", "-o", "wide"],
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "syncs.immuops.dev", "-A", "-o", "yaml"],
            &["get", "upgradepolicies.immuops.dev", "-A", "-o", "yaml"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["-n", "immuops-system", "logs", "deploy/agent", "--tail=60"],
        ];
        let answer = |question: &&[&str]| {
            let text = self
                .run(question)
                .unwrap_or_else(|error| format!("{error:#}"));
            format!("$ kubectl {}\n{text}", question.join(" "))
        };
        questions.iter().map(answer).collect::<Vec<_>>().join("\n")
    }

    /// One value of a Secret, decoded.
    ///
    /// # Errors
    /// When the Secret or the key is missing.
    pub fn secret(&self, namespace: &str, name: &str, key: &str) -> Result<String> {
        let template = format!("{{{{index .data \"{key}\" | base64decode}}}}");
        self.run(&[
            "-n",
            namespace,
            "get",
            "secret",
            name,
            "-o",
            &format!("go-template={template}"),
        ])
    }
}

/// Runs a command and gives its stderr.
fn logged(command: &mut Command) -> Result<String> {
    let (status, log) = reported(command, |_, _| Ok(()))?;
    ensure!(
        status.success(),
        "`{}` failed:\n{log}",
        process::shown(command)
    );
    Ok(log)
}

/// Runs a command, shows each line of its stderr to `each` and to whoever watches the test, and gives how
/// it ended and all that it said.
#[expect(
    clippy::print_stderr,
    reason = "what this macro prints belongs to the test that runs: kept back unless it fails or is watched"
)]
fn reported(
    command: &mut Command,
    mut each: impl FnMut(&mut Child, &str) -> Result<()>,
) -> Result<(ExitStatus, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start `{}`", process::shown(command)))?;
    let reports = child.stderr.take().context("it has no stderr")?;
    let mut log = String::new();
    for line in BufReader::new(reports).lines() {
        let line = line?;
        eprintln!("{line}");
        each(&mut child, &line)?;
        log += &line;
        log.push('\n');
    }
    Ok((child.wait()?, log))
}

/// A cluster that follows an outside repository has no forge and takes no port for it.
pub fn defaults<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let forge = if more.contains(&"--repo") { &[] } else { FORGE };
    [APART, forge, more].concat()
}

/// The release build that `make test` makes first; `$IMMUOPS_BOOTSTRAP` names another.
///
/// # Errors
/// When it has not been built.
pub fn bootstrap_program() -> Result<PathBuf> {
    let path = std::env::var_os("IMMUOPS_BOOTSTRAP").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/bootstrap"),
        PathBuf::from,
    );
    path.canonicalize().with_context(|| {
        format!(
            "{} is missing\nhint: `make bootstrap` builds it",
            path.display()
        )
    })
}
