//! Which of a server's references a Sync means.

use git2::Oid;

use super::mirror::FetchError;
use super::revision::CommitId;
use crate::api::sync::GitReference;

/// How many existing names an error shows.
const SHOWN: usize = 8;

/// A reference that the server lists.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Full name, as `refs/heads/main`.
    pub(super) name: String,
    /// What it points to.
    pub(super) oid: Oid,
}

/// What to download, and the name it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Full name on the server.
    pub(super) name: String,
    /// What it points to.
    pub(super) oid: Oid,
    /// As it stands in the revision text.
    pub(super) label: Option<String>,
    /// The commit to take instead of the tip.
    pub(super) commit: Option<CommitId>,
}

/// Picks what the user asked for among what the server lists; the last one set of branch, tag,
/// semver, name and commit counts, as in Flux.
pub(super) fn choose(
    url: &str,
    heads: &[Head],
    default: Option<&str>,
    reference: &GitReference,
) -> Result<Choice, FetchError> {
    if heads.is_empty() {
        return Err(FetchError::Empty {
            url: url.to_owned(),
        });
    }
    if let Some(commit) = &reference.commit {
        let name = branch_name(url, heads, default, reference)?;
        let commit = commit.parse().map_err(|_| FetchError::MissingReference {
            url: url.to_owned(),
            what: format!("commit `{commit}`"),
            available: "commit ids of 40 hexadecimal digits".to_owned(),
        })?;
        let mut choice = find(url, heads, &name, None, "reference")?;
        choice.commit = Some(commit);
        return Ok(choice);
    }
    if let Some(name) = &reference.name {
        return find(url, heads, name, Some(name), "reference");
    }
    if let Some(range) = &reference.semver {
        return highest(url, heads, range);
    }
    if let Some(tag) = &reference.tag {
        return find(url, heads, &format!("refs/tags/{tag}"), Some(tag), "tag");
    }
    let name = branch_name(url, heads, default, reference)?;
    let label = name.strip_prefix("refs/heads/").unwrap_or(&name);
    find(url, heads, &name, Some(label), "branch")
}

fn branch_name(
    url: &str,
    heads: &[Head],
    default: Option<&str>,
    reference: &GitReference,
) -> Result<String, FetchError> {
    match (&reference.branch, default) {
        (Some(branch), _) => Ok(format!("refs/heads/{branch}")),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(FetchError::MissingReference {
            url: url.to_owned(),
            what: "default branch".to_owned(),
            available: known(heads, "refs/heads/", "branch"),
        }),
    }
}

fn find(
    url: &str,
    heads: &[Head],
    name: &str,
    label: Option<&str>,
    what: &str,
) -> Result<Choice, FetchError> {
    let Some(head) = heads.iter().find(|head| head.name == name) else {
        let prefix = if what == "tag" {
            "refs/tags/"
        } else {
            "refs/heads/"
        };
        return Err(FetchError::MissingReference {
            url: url.to_owned(),
            what: format!("{what} `{}`", label.unwrap_or(name)),
            available: known(heads, prefix, if what == "tag" { "tag" } else { "branch" }),
        });
    };
    Ok(Choice {
        name: head.name.clone(),
        oid: head.oid,
        label: label.map(str::to_owned),
        commit: None,
    })
}

/// The highest tag inside the range. A leading `v` is allowed; build metadata breaks ties by name.
fn highest(url: &str, heads: &[Head], range: &str) -> Result<Choice, FetchError> {
    let wanted = semver::VersionReq::parse(range).map_err(|error| FetchError::Range {
        range: range.to_owned(),
        reason: error.to_string(),
    })?;
    let best = heads
        .iter()
        .filter_map(|head| {
            let tag = head.name.strip_prefix("refs/tags/")?;
            let version = semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
            wanted.matches(&version).then_some((version, tag, head))
        })
        .max_by(|one, other| one.0.cmp(&other.0).then(one.1.cmp(other.1)));
    match best {
        Some((_, tag, head)) => Ok(Choice {
            name: head.name.clone(),
            oid: head.oid,
            label: Some(tag.to_owned()),
            commit: None,
        }),
        None => Err(FetchError::MissingReference {
            url: url.to_owned(),
            what: format!("tag in the range `{range}`"),
            available: known(heads, "refs/tags/", "tag"),
        }),
    }
}

/// Lists a few existing names for a hint.
fn known(heads: &[Head], prefix: &str, what: &str) -> String {
    let mut names: Vec<&str> = heads
        .iter()
        .filter_map(|head| head.name.strip_prefix(prefix))
        .filter(|name| !name.ends_with("^{}"))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    match (names.as_slice(), more) {
        ([], _) => format!("no {what}"),
        (names, 0) => format!("{what} {}", names.join(", ")),
        (names, more) => format!("{what} {} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://git.example.com/cluster.git";

    fn heads() -> Vec<Head> {
        let names = [
            "HEAD",
            "refs/heads/main",
            "refs/heads/next",
            "refs/tags/v1.2.0",
            "refs/tags/v1.10.0",
            "refs/tags/v1.10.0^{}",
            "refs/tags/2.0.0-rc.1",
            "refs/tags/nightly",
        ];
        names
            .iter()
            .zip(1_u8..)
            .map(|(name, byte)| Head {
                name: (*name).to_owned(),
                oid: Oid::from_bytes(&[byte; 20]).unwrap(),
            })
            .collect()
    }

    fn pick(reference: &GitReference) -> Result<(String, Option<String>), String> {
        choose(URL, &heads(), Some("refs/heads/main"), reference)
            .map(|choice| (choice.name, choice.label))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn takes_the_last_one_that_is_set() {
        let some = |text: &str| Some(text.to_owned());
        let mut reference = GitReference::default();
        assert_eq!(
            pick(&reference),
            Ok(("refs/heads/main".into(), some("main")))
        );
        reference.branch = some("next");
        assert_eq!(
            pick(&reference),
            Ok(("refs/heads/next".into(), some("next")))
        );
        reference.tag = some("nightly");
        assert_eq!(
            pick(&reference),
            Ok(("refs/tags/nightly".into(), some("nightly")))
        );
        reference.semver = some("^1.2");
        assert_eq!(
            pick(&reference),
            Ok(("refs/tags/v1.10.0".into(), some("v1.10.0")))
        );
        reference.name = some("refs/heads/main");
        assert_eq!(
            pick(&reference),
            Ok(("refs/heads/main".into(), some("refs/heads/main")))
        );
        reference.commit = some("0123456789abcdef0123456789abcdef01234567");
        assert_eq!(pick(&reference), Ok(("refs/heads/next".into(), None)));
    }

    #[test]
    fn says_what_there_is_instead() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            (
                GitReference {
                    branch: some("mian"),
                    ..GitReference::default()
                },
                "branch main, next",
            ),
            (
                GitReference {
                    tag: some("v9"),
                    ..GitReference::default()
                },
                "tag v1.2.0, v1.10.0",
            ),
            (
                GitReference {
                    semver: some(">=3"),
                    ..GitReference::default()
                },
                "tag v1.2.0",
            ),
            (
                GitReference {
                    semver: some("x y"),
                    ..GitReference::default()
                },
                "hint: write it like",
            ),
        ];
        for (reference, expected) in cases {
            let error = pick(&reference).unwrap_err();
            assert!(error.contains(expected), "{reference:?}: {error}");
        }
        let error = choose(URL, &[], None, &GitReference::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is empty"), "{error}");
    }

    #[test]
    fn pre_releases_count_only_when_asked_for() {
        let range = |range: &str| GitReference {
            semver: Some(range.to_owned()),
            ..GitReference::default()
        };
        assert_eq!(pick(&range("*")).unwrap().0, "refs/tags/v1.10.0");
        assert_eq!(pick(&range(">=2.0.0-0")).unwrap().0, "refs/tags/2.0.0-rc.1");
    }
}
