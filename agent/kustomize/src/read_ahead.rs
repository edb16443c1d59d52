//! Reading files before their turn.

use std::collections::HashMap;

use crate::error::RenderError;
use crate::limits::Limits;
use crate::loader::{Found, Loader};
use crate::resource::Resource;
use crate::{parallel, read};

/// Files of one kustomization that are read by several threads before their turn comes. Anything
/// but a readable file is left to its turn, so that errors come in order.
#[derive(Default)]
pub(crate) struct ReadAhead(HashMap<String, Result<Vec<Resource>, RenderError>>);

impl ReadAhead {
    /// Files held at a time.
    pub(crate) const BATCH: usize = 256;
    pub(crate) fn new<'p>(
        loader: &Loader<'_>,
        root: &str,
        limits: &Limits,
        paths: impl Iterator<Item = &'p String>,
    ) -> Self {
        let mut texts = Vec::new();
        for path in paths.filter(|path| !path.contains("://")) {
            if let Ok(Found::File { .. }) = loader.find(root, path)
                && let Ok((file, text)) = loader.load_text(root, path)
            {
                texts.push((path.clone(), file, text));
            }
        }
        let read = parallel::shares_by(
            texts,
            |(_, _, text)| text.len(),
            |share| {
                let each = share.into_iter();
                each.map(|(path, file, text)| (path, read::resources(&text, &file, limits)))
                    .collect::<Vec<_>>()
            },
        );
        // A share that is lost leaves its files to their turn.
        Self(read.into_iter().flatten().flatten().collect())
    }

    pub(crate) fn take(&mut self, path: &str) -> Option<Result<Vec<Resource>, RenderError>> {
        self.0.remove(path)
    }
}
