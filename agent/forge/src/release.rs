//! A release as its publisher announced it, and the list of them.

use jiff::Timestamp;

/// One release. Nothing about it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Name of its git tag.
    pub tag: String,
    /// Not published yet.
    pub draft: bool,
    /// Marked as a pre-release by the publisher.
    pub prerelease: bool,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Page of the release.
    pub url: String,
    /// Release notes in Markdown, as untrusted as everything else here.
    pub notes: String,
}

/// All releases that a source tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Releases {
    /// In the order of the source.
    pub list: Vec<Release>,
    /// Whether the source has more than were read.
    pub truncated: bool,
}
