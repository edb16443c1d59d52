//! From the repository to objects: fetch, wait for other Syncs, render.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Reconciler;
use super::sync_step::Failure;
use crate::board::waits_for;
use crate::git::fetcher::Fetched;
use crate::git::revision::Revision;
use crate::render::{self, RenderError, Rendered};
use crate::report::Reason;
use crate::settings::Settings;
use crate::shared::Reader;
use crate::source::{self, Request};

/// Longest time for one fetch, whatever the Sync's timeout for health is.
const LONGEST_FETCH: Duration = Duration::from_mins(5);

impl Reconciler {
    pub(super) async fn fetch(
        &mut self,
        settings: &Settings,
        asked: Option<Instant>,
    ) -> Result<Fetched, Failure> {
        let artifact = |error: source::SourceError| Failure::new(Reason::ArtifactFailed, &error);
        let shared = Arc::clone(&self.shared);
        let found = source::find(&shared.cluster, &shared.namespace, &settings.origin)
            .await
            .map_err(artifact)?;
        let key = source::key(&shared.namespace, &found);
        let reference = found.reference.clone().unwrap_or_default();
        let mailbox = Arc::clone(&self.mailbox);
        let reader = Reader {
            key: key.clone(),
            reference: reference.clone(),
            mailbox,
        };
        shared.readers.set(&self.name, reader);
        let applied = self.status.last_applied_revision.as_deref();
        let applied: Option<Revision> = applied.and_then(|text| text.parse().ok());
        // A poll is content with an answer that another Sync got a moment ago.
        let fresh = asked.unwrap_or_else(|| {
            let now = Instant::now();
            now.checked_sub(settings.interval / 2).unwrap_or(now)
        });
        let request = Request {
            applied: applied.map(|revision| revision.commit),
            not_before: fresh.into_std(),
            timeout: settings.timeout.min(LONGEST_FETCH),
        };
        let fetched = source::fetch(
            &shared.cluster,
            &shared.fetcher,
            &shared.namespace,
            &found,
            request,
        )
        .await
        .map_err(artifact)?;
        if self.memory.fetched.as_ref() != Some(&fetched) {
            tracing::info!(sync = %self.name, revision = %fetched.revision, "new revision");
            if self.memory.fetched.is_some() {
                shared.readers.moved(&self.name, &key, &reference);
            }
            self.memory.fetched = Some(fetched.clone());
        }
        Ok(fetched)
    }

    /// What the Sync waits for, if anything.
    pub(super) fn waits(&self, settings: &Settings, revision: &str) -> Option<String> {
        if settings.depends_on.is_empty() {
            return None;
        }
        let key = self.shared.readers.source(&self.name)?;
        let lines = self.shared.board.lines();
        waits_for(&lines, &self.name, &settings.depends_on, &key, revision)
    }

    /// Whether the Sync has to wait for others still.
    pub(super) fn still_waits(&self) -> bool {
        let (Ok(settings), Some(fetched)) = (Settings::of(&self.sync), &self.memory.fetched) else {
            return false;
        };
        self.waits(&settings, &fetched.revision.to_string())
            .is_some()
    }

    /// Renders, or takes what was rendered before from the same files and settings.
    pub(super) async fn render(
        &mut self,
        settings: &Settings,
        fetched: &Fetched,
    ) -> Result<Rendered, Failure> {
        let memo = (fetched.revision.commit, self.sync.metadata.generation);
        if let (Some(known), Some(rendered)) = (self.memory.rendered_from, &self.memory.rendered)
            && known == memo
        {
            return Ok(rendered.clone());
        }
        if self.shared.cluster.kinds().table().is_empty() {
            self.shared
                .cluster
                .kinds()
                .refresh()
                .await
                .map_err(|problem| Failure::server(&problem))?;
        }
        let rendered = match self.render_once(settings, fetched).await? {
            Err(RenderError::UnknownKinds(_)) => {
                let kinds = self.shared.cluster.kinds();
                kinds
                    .refresh()
                    .await
                    .map_err(|problem| Failure::server(&problem))?;
                self.render_once(settings, fetched).await?
            }
            other => other,
        };
        let rendered = rendered.map_err(|error| Failure::new(Reason::BuildFailed, &error))?;
        self.memory.rendered = Some(rendered.clone());
        self.memory.rendered_from = Some(memo);
        Ok(rendered)
    }

    pub(super) async fn render_once(
        &self,
        settings: &Settings,
        fetched: &Fetched,
    ) -> Result<Result<Rendered, RenderError>, Failure> {
        let task = render::Task {
            mirror: fetched.mirror.clone(),
            commit: fetched.revision.commit,
            path: settings.path.clone(),
            namespace: settings.target_namespace.clone(),
            owner: settings.owner.clone(),
            kinds: self.shared.cluster.kinds().table(),
            memo: Arc::clone(&self.shared.memo),
        };
        tokio::task::spawn_blocking(move || render::render(&task))
            .await
            .map_err(|error| Failure::new(Reason::BuildFailed, &error))
    }
}
