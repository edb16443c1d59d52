//! Every decision, from facts written down.

use std::time::Duration;

use super::*;
use crate::facts::{Branch, FileMode};
use crate::image::ImageName;
use crate::policy::{FileRule, Range};
use crate::release::{Release, Releases};
use crate::yaml::FieldRule;

const PATH: &str = "immudb/version/kustomization.yaml";

fn policy() -> Policy {
    let image = ImageName::parse("docker.io/codenotary/immudb").unwrap();
    Policy {
        name: "immudb".to_owned(),
        product: "immudb".to_owned(),
        image: image.clone(),
        range: None,
        minimum_age: Duration::from_hours(24 * 3),
        files: vec![FileRule {
            path: PATH.to_owned(),
            field: FieldRule::Image(image),
        }],
        rollout: vec![
            "The primary restarts.".to_owned(),
            "Once it is healthy, the replica restarts.".to_owned(),
        ],
    }
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn now() -> Timestamp {
    "2026-11-24T20:00:00Z".parse().unwrap()
}

fn release(tag: &str, published_at: Option<&str>) -> Release {
    Release {
        tag: tag.to_owned(),
        draft: false,
        prerelease: false,
        published_at: published_at.map(|text| text.parse().unwrap()),
        url: format!("https://github.com/codenotary/immudb/releases/tag/{tag}"),
        notes: format!(
            "## Changes in {tag}\n* fix a crash (#2100), thanks @someone\n```\nunclosed"
        ),
    }
}

/// What immudb's list looks like, and a few odd ones.
fn releases() -> Releases {
    let old = Some("2026-06-25T10:00:00Z");
    Releases {
        list: vec![
            Release {
                draft: true,
                ..release("v1.12.0", None)
            },
            release("v1.11.2", Some("2026-11-23T10:00:00Z")),
            release("v1.11.1", old),
            release("v1.11.0", Some("2026-04-20T10:00:00Z")),
            Release {
                prerelease: true,
                ..release("v1.11.9", old)
            },
            release("v1.11.0-RC2", old),
            release("v2.0.0-RC1", Some("2025-05-20T10:00:00Z")),
            release("v1.9DOM.2", old),
            release("v1.10.0", old),
            release("v1.9.7", old),
            release("v1.13.0", None),
        ],
        truncated: false,
    }
}

fn file(tag: &str) -> File {
    File {
        text: format!("images:\n  - name: docker.io/codenotary/immudb\n    newTag: {tag}\n"),
        blob: format!("blob-{tag}"),
        mode: FileMode::Plain,
    }
}

fn repository(tag: &str) -> Repository {
    Repository {
        base: "base".to_owned(),
        files: [(PATH.to_owned(), file(tag))].into(),
        branch: None,
        pull_requests: Vec::new(),
    }
}

fn upstream(images: &[(&str, bool)]) -> Upstream {
    let digest = Some(format!("sha256:{}", "0".repeat(64)));
    let images = images
        .iter()
        .map(|(text, there)| {
            let presence = if *there {
                let digest = digest.clone();
                Presence::Present { digest }
            } else {
                Presence::Missing
            };
            (version(text), presence)
        })
        .collect();
    Upstream {
        releases: releases(),
        images,
    }
}

fn pull_request(number: u64, title: &str, state: State) -> PullRequest {
    PullRequest {
        number,
        url: format!("https://git.example.com/pulls/{number}"),
        title: title.to_owned(),
        state,
    }
}

/// Our branch with our commit for a version.
fn branch(tag: &str) -> Branch {
    let files: BTreeMap<String, String> = [(PATH.to_owned(), file(tag).text)].into();
    let title = policy().title(&version(tag));
    Branch {
        head: format!("commit-{tag}"),
        message: facts::message(&policy(), &title, &files),
        files,
    }
}

/// A repository in which the pull request for a version is open.
fn proposed(current: &str, tag: &str) -> Repository {
    Repository {
        branch: Some(branch(tag)),
        pull_requests: vec![pull_request(
            7,
            &format!("Update immudb to {tag}"),
            State::Open,
        )],
        ..repository(current)
    }
}

fn decided(repository: &Repository, upstream: &Upstream) -> Decision {
    decide(&policy(), repository, upstream, now()).unwrap()
}

/// One line that tells which decision it is.
fn shown(decision: &Decision) -> String {
    match &decision.action {
        Action::Nothing { reason } => format!("nothing: {reason}"),
        Action::Blocked { reason } => format!("blocked: {reason}"),
        Action::Open(proposal) => format!("open: {}", proposal.title),
        Action::Update {
            number, proposal, ..
        } => {
            let commit = proposal.commit.as_ref().map_or("", |_| " with a commit");
            format!("update #{number}: {}{commit}", proposal.title)
        }
        Action::Close {
            number,
            title,
            comment,
            branch,
        } => format!("close #{number} as `{title}`, {branch:?}: {comment}"),
    }
}

#[test]
fn odd_tags_are_ignored_and_say_why() {
    let decision = decided(&repository("1.10.0"), &upstream(&[("1.11.1", true)]));
    let ignored: Vec<String> = decision
        .ignored
        .iter()
        .map(|ignored| format!("{}: {}", ignored.tag, ignored.reason))
        .collect();
    assert_eq!(
        ignored,
        [
            "v1.12.0: it is a draft",
            "v1.11.2: it is too young until 2026-11-26T10:00:00Z",
            "v1.11.9: it is a pre-release",
            "v1.11.0-RC2: it is a pre-release",
            "v2.0.0-RC1: it is a pre-release",
            "v1.9DOM.2: its tag is no semantic version",
            "v1.13.0: it has no date, so its age is not known",
        ]
    );
    assert_eq!(shown(&decision), "open: Update immudb to 1.11.1");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn decisions() {
    let there = upstream(&[("1.11.1", true)]);
    let missing = upstream(&[("1.11.1", false), ("1.11.0", false)]);
    let lower = upstream(&[("1.11.1", false), ("1.11.0", true)]);
    let closed = |number, title: &str| pull_request(number, title, State::Closed);
    let with =
        |current: &str, pull_requests: Vec<PullRequest>, branch: Option<Branch>| Repository {
            branch,
            pull_requests,
            ..repository(current)
        };
    let touched = |tag: &str| Branch {
        message: "my own work".to_owned(),
        ..branch(tag)
    };
    let amended = |tag: &str| Branch {
        files: [(PATH.to_owned(), "other: 1\n".to_owned())].into(),
        ..branch(tag)
    };
    let cases: Vec<(&str, Repository, &Upstream, &str)> = vec![
        (
            "up to date",
            repository("1.11.1"),
            &there,
            "nothing: no other release than 1.11.1 may be",
        ),
        (
            "image missing",
            repository("1.10.0"),
            &missing,
            "nothing: no other release than 1.10.0 may be",
        ),
        (
            "image of the next best",
            repository("1.10.0"),
            &lower,
            "open: Update immudb to 1.11.0",
        ),
        (
            "second poll",
            proposed("1.10.0", "1.11.1"),
            &there,
            "nothing: pull request #7 for 1.11.1 is open",
        ),
        (
            "newer release",
            proposed("1.10.0", "1.11.0"),
            &there,
            "update #7: Update immudb to 1.11.1 with a commit",
        ),
        (
            "died after the commit, before the title",
            Repository {
                branch: Some(branch("1.11.1")),
                ..proposed("1.10.0", "1.11.0")
            },
            &there,
            "update #7: Update immudb to 1.11.1",
        ),
        (
            "died before the pull request",
            with("1.10.0", vec![], Some(branch("1.11.1"))),
            &there,
            "open: Update immudb to 1.11.1",
        ),
        (
            "closed by hand",
            with(
                "1.10.0",
                vec![closed(7, "Update immudb to 1.11.1")],
                Some(branch("1.11.1")),
            ),
            &there,
            "nothing: no other release than 1.10.0 may be",
        ),
        (
            "closed by hand, an older version",
            with(
                "1.10.0",
                vec![closed(7, "Update immudb to 1.11.0")],
                Some(branch("1.11.0")),
            ),
            &there,
            "open: Update immudb to 1.11.1",
        ),
        (
            "closed by this program",
            with(
                "1.10.0",
                vec![closed(7, "Update immudb to 1.11.1 (no longer needed)")],
                None,
            ),
            &there,
            "open: Update immudb to 1.11.1",
        ),
        (
            "closed and renamed: asked for again",
            with(
                "1.10.0",
                vec![closed(7, "old: Update immudb to 1.11.1")],
                None,
            ),
            &there,
            "open: Update immudb to 1.11.1",
        ),
        (
            "merged before",
            with(
                "1.10.0",
                vec![pull_request(7, "Update immudb to 1.10.0", State::Merged)],
                Some(branch("1.10.0")),
            ),
            &there,
            "open: Update immudb to 1.11.1",
        ),
        (
            "upgraded by hand",
            proposed("1.11.1", "1.11.1"),
            &there,
            "close #7 as `Update immudb to 1.11.1 (no longer needed)`, Delete: Closed: immudb has reached 1.11.1",
        ),
        (
            "somebody's commit",
            Repository {
                branch: Some(touched("1.11.0")),
                ..proposed("1.10.0", "1.11.0")
            },
            &there,
            "blocked: somebody else changed the branch of pull request #7",
        ),
        (
            "somebody's amended commit",
            Repository {
                branch: Some(amended("1.11.0")),
                ..proposed("1.10.0", "1.11.0")
            },
            &there,
            "blocked: somebody else changed the branch of pull request #7",
        ),
        (
            "somebody's branch",
            with("1.10.0", vec![], Some(touched("1.11.0"))),
            &there,
            "blocked: the branch immuops/upgrade-immudb has commits of somebody else",
        ),
        (
            "upgraded by hand, somebody's commit",
            Repository {
                branch: Some(touched("1.11.1")),
                ..proposed("1.11.1", "1.11.1")
            },
            &there,
            "close #7 as `Update immudb to 1.11.1 (no longer needed)`, Keep: Closed",
        ),
        (
            "the image is gone for a moment",
            proposed("1.10.0", "1.11.1"),
            &missing,
            "nothing: pull request #7 is open; its image is not",
        ),
        (
            "the image is gone for a moment, a lower one is there",
            proposed("1.10.0", "1.11.1"),
            &lower,
            "nothing: pull request #7 is open and asks for more than 1.11.0",
        ),
        (
            "the release was withdrawn",
            proposed("1.10.0", "1.11.8"),
            &missing,
            "close #7 as `Update immudb to 1.11.8 (no longer needed)`, Delete: Closed: the version that it",
        ),
        (
            "the release was withdrawn, a lower one is there",
            proposed("1.10.0", "1.11.8"),
            &there,
            "update #7: Update immudb to 1.11.1 with a commit",
        ),
    ];
    let titled = |repository: Repository| Repository {
        pull_requests: vec![pull_request(7, "immudb!", State::Open)],
        ..repository
    };
    let own = [
        (
            "nothing new",
            titled(proposed("1.10.0", "1.11.1")),
            &there,
            "nothing: pull request #7 for 1.11.1 is open",
        ),
        (
            "image gone",
            titled(proposed("1.10.0", "1.11.1")),
            &missing,
            "nothing: pull request #7 is open; its image",
        ),
        (
            "newer",
            titled(proposed("1.10.0", "1.11.0")),
            &there,
            "update #7: Update immudb to 1.11.1 with a commit",
        ),
        (
            "merged",
            titled(proposed("1.11.1", "1.11.1")),
            &there,
            "close #7 as `immudb! (no longer needed)`",
        ),
    ];
    for (name, repository, upstream, expected) in cases.into_iter().chain(own) {
        let found = shown(&decided(&repository, upstream));
        assert!(found.starts_with(expected), "{name}: {found}");
    }
}

#[test]
fn a_change_of_the_file_renews_the_commit() {
    let mut repository = proposed("1.10.0", "1.11.1");
    let comment = format!("# new\n{}", file("1.10.0").text);
    repository
        .files
        .get_mut(PATH)
        .unwrap()
        .text
        .clone_from(&comment);
    let decision = decided(&repository, &upstream(&[("1.11.1", true)]));
    let Action::Update {
        proposal,
        comment: said,
        ..
    } = decision.action
    else {
        panic!("{:?}", decision.action);
    };
    assert_eq!(said, None, "nobody is told that nothing changed");
    let commit = proposal.commit.unwrap();
    assert_eq!(commit.changes[PATH].1, comment.replace("1.10.0", "1.11.1"));
    assert_eq!(commit.base, "base");
    assert_eq!(commit.replaces.as_deref(), Some("commit-1.11.1"));
}

#[test]
fn a_range_and_an_age_hold_back() {
    let mut policy = policy();
    policy.range = Some(Range::parse("~1.11.0").unwrap());
    policy.minimum_age = Duration::ZERO;
    let upstream = upstream(&[("1.11.2", true)]);
    let decision = decide(&policy, &repository("1.10.0"), &upstream, now()).unwrap();
    assert_eq!(shown(&decision), "open: Update immudb to 1.11.2");
    policy.range = Some(Range::parse("~1.10").unwrap());
    let decision = decide(&policy, &repository("1.10.0"), &upstream, now()).unwrap();
    assert!(shown(&decision).starts_with("nothing: "));
    let reason = &decision
        .ignored
        .iter()
        .find(|one| one.tag == "v1.11.1")
        .unwrap()
        .reason;
    assert_eq!(reason.to_string(), "it is outside of the range ~1.10");
}

#[test]
fn files_must_exist_and_agree() {
    let mut policy = policy();
    policy.files.push(FileRule {
        path: "other.yaml".to_owned(),
        ..policy.files[0].clone()
    });
    let mut repository = repository("1.10.0");
    let upstream = upstream(&[("1.11.1", true)]);
    let error = decide(&policy, &repository, &upstream, now()).unwrap_err();
    assert!(
        error.to_string().contains("no file other.yaml; hint:"),
        "{error}"
    );
    repository
        .files
        .insert("other.yaml".to_owned(), file("1.9.7"));
    let error = decide(&policy, &repository, &upstream, now())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("kustomization.yaml has 1.10.0, other.yaml has 1.9.7; hint:"),
        "{error}"
    );
    repository
        .files
        .insert("other.yaml".to_owned(), file("v1.10.0"));
    let decision = decide(&policy, &repository, &upstream, now()).unwrap();
    let Action::Open(proposal) = decision.action else {
        panic!("{:?}", decision.action);
    };
    let commit = proposal.commit.unwrap();
    assert!(commit.changes["other.yaml"].1.contains("newTag: v1.11.1\n"));
    assert!(commit.changes[PATH].1.contains("newTag: 1.11.1\n"));
}

#[test]
fn the_text_of_a_pull_request() {
    let decision = decided(&repository("1.10.0"), &upstream(&[("1.11.1", true)]));
    let Action::Open(proposal) = decision.action else {
        panic!("{:?}", decision.action);
    };
    insta::assert_snapshot!(proposal.body);
}

#[test]
fn a_long_text_keeps_its_marker() {
    let mut upstream = upstream(&[("1.11.1", true)]);
    for release in &mut upstream.releases.list {
        release.notes = "word @name ".repeat(100_000);
    }
    let decision = decided(&repository("1.9.7"), &upstream);
    let Action::Open(proposal) = decision.action else {
        panic!("{:?}", decision.action);
    };
    assert!(proposal.body.len() < 60_000, "{}", proposal.body.len());
    let last = proposal.body.trim_end().lines().last().unwrap();
    assert!(
        last.starts_with(body::MARKER) && last.ends_with("-->"),
        "{last}"
    );
}
