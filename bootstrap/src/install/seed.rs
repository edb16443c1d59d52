//! The first commit of the cluster repository, and whether a repository that exists can be used.
//!
//! Runs the `git` command: it is a prerequisite already, and it knows the user's proxies,
//! certificates and credential rules, which a library of ours would have to learn again.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fs_err as fs;

use crate::problem::{OrProblem as _, Problem};

/// Where git finds the login. By environment, not by argument: other users of the host can read
/// arguments.
const LOGIN_VARIABLE: &str = "GIT_CONFIG_VALUE_0";

/// Who wrote the first commit.
const AUTHOR: &str = "immuops";

/// A user and a password or token for a repository over HTTP.
#[derive(Clone)]
pub struct Credentials {
    /// The user; forges ignore it for tokens.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Whether `branch` exists at `url`.
pub(crate) fn branch_exists(
    url: &str,
    branch: &str,
    credentials: Option<&Credentials>,
) -> Result<bool, Problem> {
    Ok(branches(url, credentials)?
        .iter()
        .any(|name| name == branch))
}

/// Checks before anything is made that the repository can be read and has the branch.
pub(crate) fn check(
    url: &str,
    branch: &str,
    credentials: Option<&Credentials>,
) -> Result<(), Problem> {
    let existing = branches(url, credentials)?;
    if existing.iter().any(|name| name == branch) {
        return Ok(());
    }
    let existing = if existing.is_empty() {
        "none".to_owned()
    } else {
        existing.join(", ")
    };
    Err(Problem::new(format!(
        "{url} has no branch `{branch}`; it has: {existing}"
    ))
    .hint("name another with --branch, or push the files of cluster-repo/ there first"))
}

/// A copy of the templates in which some files have another content: what only this installation
/// knows.
pub(crate) fn filled(
    templates: &Path,
    files: &[(&str, String)],
) -> Result<tempfile::TempDir, Problem> {
    let failed = || {
        Problem::new(format!(
            "failed to copy the templates {}",
            templates.display()
        ))
    };
    let copy = tempfile::tempdir().or_problem(failed)?;
    copy_tree(templates, copy.path()).or_problem(failed)?;
    for (path, text) in files {
        fs::write(copy.path().join(path), text).or_problem(failed)?;
    }
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Pushes the files of `folder` as the first commit of `branch`, which must not exist.
pub(crate) fn push_first_commit(
    folder: &Path,
    url: &str,
    branch: &str,
    credentials: &Credentials,
) -> Result<(), Problem> {
    // The objects live in a folder of their own: the user's files get no `.git`.
    let git_dir = tempfile::tempdir()
        .or_problem(|| Problem::new("failed to make a folder for the first commit"))?;
    let action = || format!("push the first commit to {url}");
    let run = |arguments: &[&str]| {
        let mut command = git(Some(credentials));
        command
            .arg("--git-dir")
            .arg(git_dir.path())
            .arg("--work-tree")
            .arg(folder)
            .args(arguments);
        run(command, action)
    };
    run(&["init", "--quiet", &format!("--initial-branch={branch}")])?;
    run(&["add", "--all", "--force", "."])?;
    run(&[
        "-c",
        "commit.gpgsign=false",
        "commit",
        "--quiet",
        "--message",
        "cluster: start from the immuops templates",
    ])?;
    // Without --force: a branch that appeared meanwhile is somebody's work.
    run(&["push", "--quiet", url, &format!("HEAD:refs/heads/{branch}")])?;
    Ok(())
}

fn branches(url: &str, credentials: Option<&Credentials>) -> Result<Vec<String>, Problem> {
    let mut command = git(credentials);
    command.args(["ls-remote", "--heads", "--", url]);
    let listing = run(command, || format!("read {url}"))?;
    Ok(listing
        .lines()
        .filter_map(|line| line.split_once("\trefs/heads/"))
        .map(|(_, name)| name.to_owned())
        .collect())
}

fn git(credentials: Option<&Credentials>) -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .env("GIT_AUTHOR_NAME", AUTHOR)
        .env("GIT_AUTHOR_EMAIL", "bootstrap@immuops.invalid")
        .env("GIT_COMMITTER_NAME", AUTHOR)
        .env("GIT_COMMITTER_EMAIL", "bootstrap@immuops.invalid");
    if let Some(Credentials { username, password }) = credentials {
        let pair = BASE64_STANDARD.encode(format!("{username}:{password}").as_bytes());
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env(LOGIN_VARIABLE, format!("Authorization: Basic {pair}"));
    }
    command
}

fn run(mut command: Command, action: impl Fn() -> String) -> Result<String, Problem> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .or_problem(|| Problem::new("failed to run git"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&stderr).trim().replace('\n', "; ");
    // With prompts off, git tells a login that is missing and one that is wrong in the same words.
    let problem = if message.contains("could not read Username") {
        let action = action();
        if has_login(&command) {
            Problem::new(format!("failed to {action}: the login was refused"))
                .hint("check the file given with --git-credentials")
        } else {
            Problem::new(format!("failed to {action}: it wants a login"))
                .hint("give one with --git-credentials FILE")
        }
    } else {
        let problem = Problem::new(format!("failed to {}: git said: {message}", action()));
        match hint(&message) {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    };
    Err(problem)
}

fn has_login(command: &Command) -> bool {
    command.get_envs().any(|(name, _)| name == LOGIN_VARIABLE)
}

/// What to do about the things git says most often.
fn hint(message: &str) -> Option<&'static str> {
    const HINTS: &[(&str, &str)] = &[
        (
            "Authentication failed",
            "check the file given with --git-credentials",
        ),
        ("Could not resolve host", "check the host name in the URL"),
        (
            "not found",
            "check the path in the URL, and that the login may read it",
        ),
        (
            "does not appear to be a git repository",
            "check the path in the URL",
        ),
        (
            "Failed to connect",
            "check that the server runs and the port in the URL",
        ),
    ];
    HINTS
        .iter()
        .find(|(words, _)| message.contains(words))
        .map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let remote = tempfile::tempdir().unwrap();
        let status = Command::new("git")
            .args(["init", "--quiet", "--bare"])
            .arg(remote.path())
            .status()
            .unwrap();
        assert!(status.success());
        remote
    }

    fn nobody() -> Credentials {
        Credentials {
            username: "nobody".to_owned(),
            password: "secret-canary".to_owned(),
        }
    }

    #[test]
    fn first_commit_arrives_once_and_never_overwrites() {
        let remote = repository();
        let url = remote.path().to_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "a: 1\n").unwrap();
        assert!(!branch_exists(url, "main", None).unwrap());
        push_first_commit(folder.path(), url, "main", &nobody()).unwrap();
        assert!(branch_exists(url, "main", None).unwrap());
        assert!(!folder.path().join(".git").exists());
        // Same content, but another root commit: git must refuse it.
        fs::write(folder.path().join("b.yaml"), "b: 1\n").unwrap();
        let error = push_first_commit(folder.path(), url, "main", &nobody()).unwrap_err();
        assert!(error.to_string().contains("rejected"), "{error}");
    }

    #[test]
    fn filling_leaves_the_templates_alone() {
        let templates = tempfile::tempdir().unwrap();
        fs::create_dir(templates.path().join("a")).unwrap();
        fs::write(templates.path().join("a/b.yaml"), "b: 1\n").unwrap();
        fs::write(templates.path().join("c.yaml"), "c: 1\n").unwrap();
        let copy = filled(templates.path(), &[("a/b.yaml", "b: 2\n".to_owned())]).unwrap();
        let read = |root: &Path, path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read(copy.path(), "a/b.yaml"), "b: 2\n");
        assert_eq!(read(copy.path(), "c.yaml"), "c: 1\n");
        assert_eq!(read(templates.path(), "a/b.yaml"), "b: 1\n");
    }

    #[test]
    fn a_missing_branch_is_named_with_those_that_exist() {
        let remote = repository();
        let url = remote.path().to_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "a: 1\n").unwrap();
        push_first_commit(folder.path(), url, "trunk", &nobody()).unwrap();
        let error = check(url, "main", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{url} has no branch `main`; it has: trunk")
        );
    }

    #[test]
    fn credentials_do_not_show_in_debug_output() {
        assert!(!format!("{:?}", nobody()).contains("secret-canary"));
    }
}
