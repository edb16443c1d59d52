//! The text of a pull request. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::decide::Target;
use crate::notes::harmless;
use crate::policy::Policy;
use crate::release::{Release, Releases};
use crate::version::{Version, parse_release};

/// Longest notes of one release, in bytes.
const ONE_RELEASE: usize = 12_000;
/// Longest notes of all releases together, in bytes. GitHub takes 65,536 characters for everything.
const ALL_RELEASES: usize = 48_000;
/// Begins the line that programs read.
pub const MARKER: &str = "<!-- immuops: ";

/// What the text is about.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) current: &'a Version,
    pub(crate) target: &'a Target,
    pub(crate) releases: &'a Releases,
    pub(crate) now: Timestamp,
}

/// Writes the text.
pub(crate) fn body(contents: &Contents<'_>) -> String {
    let Contents {
        policy,
        current,
        target,
        releases,
        now,
    } = contents;
    let product = &policy.product;
    let version = &target.candidate.version;
    let release = &target.candidate.release;
    let published = target.candidate.published_at;
    let files: Vec<String> = policy
        .files
        .iter()
        .map(|rule| format!("`{}`", rule.path))
        .collect();
    let age = now.duration_since(published).as_hours() / 24;
    let row = |name: &str, value: &str| format!("| {name} | {value} |");

    let mut lines = vec![
        format!("{product} {version} is out. This repository has {current}."),
        String::new(),
        row("", ""),
        row("---", "---"),
        row("from", &current.to_string()),
        row("to", &linked(&version.to_string(), &release.url)),
        row("update", kind_of_update(current, version)),
        row("published", &format!("{}, {age} days ago", date(published))),
        row("image", &format!("`{}`", target.image)),
    ];
    if let Some(digest) = &target.digest {
        lines.push(row("digest today", &format!("`{digest}`")));
    }
    lines.push(row("files", &files.join(", ")));

    lines.extend(["", "### What happens after the merge", ""].map(str::to_owned));
    let steps = policy.rollout.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("{}. {step}", index + 1)));

    lines.extend(["", "### Before you merge", ""].map(str::to_owned));
    lines.push(format!(
        "- [ ] A backup exists and was read back. {product} does not promise that an older version reads \
         what a newer one has written: the way back is that backup."
    ));
    lines.push("- [ ] The notes below name no setting that is used here and changes.".to_owned());

    lines.extend(["", "### Release notes", ""].map(str::to_owned));
    let mut left = ALL_RELEASES;
    for (version, release) in between(releases, current, version) {
        if left == 0 {
            lines.push("The notes of older releases did not fit.".to_owned());
            lines.push(String::new());
            break;
        }
        let notes = harmless(&release.notes, ONE_RELEASE.min(left));
        left = left.saturating_sub(notes.len());
        section(&mut lines, &version, release, &notes);
    }

    lines.push("---".to_owned());
    lines.push(format!(
        "Opened by the upgrade policy `{}`. A newer release changes this pull request instead of opening a \
         second one. To ignore {version}, close it: neither {version} nor an older version is proposed \
         again. To ignore more, narrow `spec.range` of the policy. A commit of yours on this branch keeps \
         the policy away from it.",
        policy.name
    ));
    let marker = json!({
        "policy": policy.name,
        "from": current.to_string(),
        "to": version.to_string(),
        "image": target.image,
        "digest": target.digest,
    });
    lines.extend([
        String::new(),
        format!("{MARKER}{marker} -->"),
        String::new(),
    ]);
    lines.join("\n")
}

/// The notes of one release. Every line is quoted, so that nothing that is open in them (a code block, a
/// list) reaches into the rest of the text.
fn section(lines: &mut Vec<String>, version: &Version, release: &Release, notes: &str) {
    let title = linked(&version.to_string(), &release.url);
    let when = match release.published_at {
        Some(published) => format!(" ({})", date(published)),
        None => String::new(),
    };
    lines.extend([format!("#### {title}{when}"), String::new()]);
    if notes.trim().is_empty() {
        lines.push("No notes.".to_owned());
    }
    lines.extend(notes.trim().lines().map(|line| format!("> {line}")));
    lines.push(String::new());
}

/// The stable releases after `current` up to `target`, newest first.
fn between<'a>(
    releases: &'a Releases,
    current: &Version,
    target: &Version,
) -> Vec<(Version, &'a Release)> {
    let mut found: Vec<(Version, &Release)> = releases
        .list
        .iter()
        .filter(|release| !release.draft && !release.prerelease)
        .filter_map(|release| Some((parse_release(&release.tag).ok()?, release)))
        .filter(|(version, _)| version.pre.is_empty() && version > current && version <= target)
        .collect();
    found.sort_by(|one, other| other.0.cmp(&one.0));
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

/// A link, if the address is one that can stand in a link.
fn linked(text: &str, url: &str) -> String {
    let is_plain = url.starts_with("https://")
        && url
            .chars()
            .all(|c| c.is_ascii_graphic() && !"()<>[]|`\\".contains(c));
    if is_plain {
        format!("[{text}]({})", harmless(url, 1000))
    } else {
        text.to_owned()
    }
}

fn kind_of_update(current: &Version, version: &Version) -> &'static str {
    if version.major != current.major {
        "major"
    } else if version.minor != current.minor {
        "minor"
    } else {
        "patch"
    }
}

fn date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}
