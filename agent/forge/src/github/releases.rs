//! The list of releases of a repository on GitHub.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

use super::Api;
use crate::fault::Fault;
use crate::release::{Release, Releases};
use crate::seam::repository_path;

/// Pages of a hundred releases that are read.
const PAGES: usize = 10;

/// The few fields that are used; GitHub adds and removes others.
#[derive(Deserialize)]
struct Received {
    #[serde(default)]
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    #[serde(default)]
    published_at: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

impl Api {
    /// Reads the releases of a repository, page by page, as far as the thousandth.
    ///
    /// # Errors
    /// If a page cannot be read: a part of a list would hide releases.
    pub async fn releases(&self, owner: &str, name: &str) -> Result<Releases, Fault> {
        let mut path = format!("{}/releases?per_page=100", repository_path(owner, name));
        let mut releases = Releases::default();
        for _ in 0..PAGES {
            let answer = self.call(Method::GET, &path, None).await?;
            let page: Vec<Received> = answer.json()?;
            releases.list.extend(page.into_iter().map(Release::from));
            match self.next_page(&answer) {
                Some(next) => path = next,
                None => return Ok(releases),
            }
        }
        releases.truncated = true;
        Ok(releases)
    }
}

impl From<Received> for Release {
    fn from(received: Received) -> Self {
        let Received {
            tag_name,
            draft,
            prerelease,
            published_at,
            html_url,
            body,
        } = received;
        Self {
            tag: tag_name,
            draft,
            prerelease,
            published_at: published_at.and_then(|text| text.parse::<Timestamp>().ok()),
            url: html_url.unwrap_or_default(),
            notes: body.unwrap_or_default(),
        }
    }
}
