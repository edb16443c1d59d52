//! Files of Debian packages, taken through the apt sources this host already uses.
//!
//! `mmdebstrap --variant=extract` downloads packages with apt, which checks their signatures, and
//! unpacks them without running anything: no root, no chroot, no maintainer scripts. The tar it
//! writes is then filtered into an image layer: fixed owners and times, without documentation and
//! without what differs from run to run. Same packages, same bytes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use tar::Builder;

use super::command::{command, run};
use super::recipe::Debian;
use crate::image::Owner;
use crate::image::tar_header;
use crate::problem::{OrProblem, Problem};

/// Where apt keeps its sources.
const SOURCES: &str = "/etc/apt/sources.list";
const SOURCES_DIRECTORY: &str = "/etc/apt/sources.list.d";
/// Where the tree holds certificate authorities, one file each.
const AUTHORITIES: &str = "usr/share/ca-certificates/mozilla";
/// Where the tree holds what apt downloaded.
const DOWNLOADED: &str = "var/cache/apt/archives";

/// This host's Debian sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The release's code name, as in `bookworm`; empty when the host is not Debian.
    pub(super) release: String,
    /// One-line entries of that release.
    pub(super) lines: String,
    /// deb822 stanzas of that release.
    pub(super) stanzas: String,
}

impl Sources {
    /// Reads `/etc/os-release` and apt's sources.
    pub(super) fn of_host() -> Result<Self, Problem> {
        let read = |path: &Path| {
            fs::read_to_string(path)
                .or_problem(|| Problem::new(format!("cannot read {}", path.display())))
        };
        let os = Path::new("/etc/os-release");
        let mut sources = Self::default();
        if os.is_file() {
            sources.release = release(&read(os)?);
        }
        let mut files = vec![PathBuf::from(SOURCES)];
        if let Ok(directory) = fs::read_dir(SOURCES_DIRECTORY) {
            files.extend(directory.flatten().map(|entry| entry.path()));
        }
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources
                    .lines
                    .push_str(&lines_for(&sources.release, &read(file)?)),
                Some("sources") => {
                    sources
                        .stanzas
                        .push_str(&stanzas_for(&sources.release, &read(file)?));
                }
                Some(_) | None => {}
            }
        }
        Ok(sources)
    }

    /// The same archives with another release.
    pub(super) fn of_release(&self, release: &str) -> Self {
        let rename = |line: &str, words: &mut dyn Iterator<Item = &str>| {
            let renamed = words.map(|word| match word.strip_prefix(&self.release) {
                Some(rest) if of_release(&self.release, word) => format!("{release}{rest}"),
                _ => word.to_owned(),
            });
            let renamed: Vec<String> = renamed.collect();
            let indent = if line.starts_with(' ') { " " } else { "" };
            format!("{indent}{}\n", renamed.join(" "))
        };
        let lines = self.lines.lines();
        let lines = lines.map(|line| rename(line, &mut line.split_whitespace()));
        let stanzas = self.stanzas.lines().map(|line| {
            if line.starts_with("Suites:") {
                rename(line, &mut line.split_whitespace())
            } else {
                format!("{line}\n")
            }
        });
        Self {
            release: release.to_owned(),
            lines: lines.collect(),
            stanzas: stanzas.collect(),
        }
    }

    /// Whether packages can be had at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.stanzas.is_empty()
    }

    /// Writes them as files that mmdebstrap reads.
    pub(super) fn write(&self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for (name, text) in [("host.list", &self.lines), ("host.sources", &self.stanzas)] {
            if !text.is_empty() {
                let path = directory.join(name);
                fs::write(&path, text)?;
                files.push(path);
            }
        }
        Ok(files)
    }
}

/// The code name of a Debian release, else nothing.
fn release(os: &str) -> String {
    let value = |key: &str| {
        let line = os
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    if value("ID") == "debian" {
        value("VERSION_CODENAME")
    } else {
        String::new()
    }
}

/// Whether a suite belongs to the release: `bookworm`, `bookworm-updates`, `bookworm-security`.
fn of_release(release: &str, suite: &str) -> bool {
    let rest = suite.strip_prefix(release).filter(|_| !release.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The one-line entries for binary packages of `release`.
fn lines_for(release: &str, text: &str) -> String {
    let wanted = text.lines().filter(|line| {
        let line = line.trim();
        let Some(rest) = line.strip_prefix("deb ") else {
            return false;
        };
        // Options come in brackets before the address and may contain spaces.
        let rest = rest.trim_start();
        let rest = if rest.starts_with('[') {
            rest.split_once(']').map_or("", |(_, rest)| rest)
        } else {
            rest
        };
        rest.split_whitespace()
            .nth(1)
            .is_some_and(|suite| of_release(release, suite))
    });
    wanted.flat_map(|line| [line, "\n"]).collect()
}

/// The deb822 stanzas of `release`, without comments.
fn stanzas_for(release: &str, text: &str) -> String {
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = text.join("\n");
    let wanted = text.split("\n\n").filter(|stanza| {
        let field = |name: &str| {
            let line = stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default()
        };
        field("Types").split_whitespace().any(|kind| kind == "deb")
            && !field("Enabled").trim().eq_ignore_ascii_case("no")
            && field("Suites")
                .split_whitespace()
                .any(|suite| of_release(release, suite))
    });
    wanted.flat_map(|stanza| [stanza.trim(), "\n\n"]).collect()
}

/// Unpacks packages and what they depend on into a tar, without running anything of theirs.
/// `scratch` is a directory for the sources.
///
/// # Errors
/// When mmdebstrap fails; what it said is in `log`.
pub(super) fn extract(
    packages: &[&str],
    sources: &Sources,
    into: &Path,
    scratch: &Path,
    log: &Path,
) -> anyhow::Result<()> {
    let mut build = command("mmdebstrap");
    build.env("SOURCE_DATE_EPOCH", "0");
    build.args([
        "--variant=extract",
        "--format=tar",
        "--skip=cleanup/apt/cache",
    ]);
    build.arg(format!("--include={}", packages.join(",")));
    // The empty suite: the sources say it.
    build.arg("").arg(into).args(sources.write(scratch)?);
    Ok(run(&mut build, log)?)
}

/// What came out of a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    /// `name=version`, ordered.
    pub(super) packages: Vec<String>,
    /// All certificate authorities, PEM, ordered by name.
    pub(super) authorities: Vec<u8>,
}

/// Copies `tree` (a tar) to `layer` (a tar) without what the recipe leaves out.
///
/// # Errors
/// When the tree cannot be read or the layer cannot be written.
pub(super) fn filter(
    recipe: &Debian,
    tree: impl Read,
    layer: impl Write,
) -> std::io::Result<Filtered> {
    let mut packages = Vec::new();
    let mut authorities: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut out = Builder::new(layer);
    for entry in tar::Archive::new(tree).entries()? {
        let mut entry = entry?;
        let path = plain(&entry.path()?);
        packages.extend(downloaded(&path));
        if path.as_os_str().is_empty() || left_out(recipe, &path) {
            continue;
        }
        let mut header = tar_header(entry.header().mode()?, Owner::default());
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            header.set_entry_type(kind);
            out.append_data(&mut header, path.join(""), std::io::empty())?;
        } else if kind.is_symlink() {
            header.set_entry_type(kind);
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            out.append_link(&mut header, path, target)?;
        } else if kind.is_hard_link() {
            header.set_entry_type(kind);
            let target = plain(&entry.link_name()?.unwrap_or_default());
            if left_out(recipe, &target) {
                let text = format!("{} is a link to what is left out", path.display());
                return Err(std::io::Error::other(text));
            }
            out.append_link(&mut header, path, target)?;
        } else if kind.is_file() && path.starts_with(AUTHORITIES) {
            let mut pem = Vec::new();
            entry.read_to_end(&mut pem)?;
            header.set_size(pem.len() as u64);
            out.append_data(&mut header, &path, pem.as_slice())?;
            authorities.insert(path, pem);
        } else if kind.is_file() {
            header.set_size(entry.size());
            out.append_data(&mut header, path, &mut entry)?;
        }
        // Devices are left out: the container runtime makes its own.
    }
    out.into_inner()?.flush()?;
    packages.sort();
    Ok(Filtered {
        packages,
        authorities: authorities.into_values().flatten().collect(),
    })
}

/// The package, as `name=version`, whose downloaded file this path of a tree is.
pub(super) fn downloaded(path: &Path) -> Option<String> {
    let name = path.strip_prefix(DOWNLOADED).ok()?;
    package(name.to_str()?)
}

/// A path of the tree without the `./` in front.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

fn left_out(recipe: &Debian, path: &Path) -> bool {
    recipe
        .without
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => path.to_string_lossy().starts_with(start),
            None => path.starts_with(pattern),
        })
}

/// `git=1:2.39.5-0+deb12u2` from `git_1%3a2.39.5-0+deb12u2_amd64.deb`.
fn package(file: &str) -> Option<String> {
    let mut words = file.strip_suffix(".deb")?.split('_');
    let (name, version) = (words.next()?, words.next()?);
    Some(format!("{name}={}", version.replace("%3a", ":")))
}

#[cfg(test)]
mod tests;
