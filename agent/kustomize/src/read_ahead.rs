//! Reading files before their turn.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::digest::Key;
use crate::environment::Environment;
use crate::error::RenderError;
use crate::loader::Loader;
use crate::memo::{Known, Parsed, Session};
use crate::resource::Resource;
use crate::{parallel, read};

/// Files of one kustomization that are read by several threads before their turn comes, or known
/// from an earlier build. Anything but a readable file is left to its turn, so that errors come
/// in order.
#[derive(Default)]
pub(crate) struct ReadAhead(HashMap<String, Result<Vec<Arc<Resource>>, RenderError>>);

/// A file that is there.
struct Candidate<'t> {
    /// As the kustomization names it.
    named: String,
    /// Path in the tree.
    file: String,
    size: u64,
    /// `None` as long as nobody had to read it.
    text: Option<Cow<'t, str>>,
    key: Option<Key>,
}

impl ReadAhead {
    /// Files held at a time.
    pub(crate) const BATCH: usize = 256;

    pub(crate) fn new<'p>(
        loader: &Loader<'_>,
        root: &str,
        environment: &Environment,
        memo: Option<Session<'_>>,
        paths: impl Iterator<Item = &'p String>,
    ) -> Self {
        let candidates = paths
            .filter(|path| !path.contains("://"))
            .filter_map(|path| {
                let (file, size) = loader.locate(root, path).ok()?;
                Candidate::new(path, (file, size), loader, environment, memo)
            });
        let candidates: Vec<Candidate> = candidates.collect();
        let known = match memo {
            Some(memo) => memo.find(candidates.iter().filter_map(|candidate| candidate.key)),
            None => Vec::new(),
        };
        let mut known = known.into_iter();
        let mut files = HashMap::with_capacity(candidates.len());
        let mut texts = Vec::new();
        for candidate in candidates {
            let known = candidate.key.and_then(|_| known.next().flatten());
            let Candidate {
                named,
                file,
                size,
                text,
                key,
            } = candidate;
            match (known, text) {
                (Some(Known::File(parsed)), text) => {
                    let counted = match text {
                        Some(_) => Ok(()),
                        None => loader.count(&file, parsed.size),
                    };
                    files.insert(named, counted.map(|()| parsed.objects.clone()));
                }
                (_, Some(text)) => texts.push((named, file, text, key)),
                (_, None) => {
                    if let Ok(text) = loader.text(&file, size) {
                        texts.push((named, file, text, key));
                    }
                }
            }
        }
        let read = parallel::shares_by(
            texts,
            |(_, _, text, _)| text.len(),
            |share| {
                let each = share.into_iter();
                each.map(|(named, file, text, key)| {
                    let objects = objects(&text, &file, key, environment);
                    (named, text.len() as u64, key, objects)
                })
                .collect::<Vec<_>>()
            },
        );
        // A share that is lost leaves its files to their turn.
        let read: Vec<_> = read.into_iter().flatten().flatten().collect();
        if let Some(memo) = memo {
            memo.keep(read.iter().filter_map(|(_, size, key, objects)| {
                let (size, objects) = (*size, objects.as_ref().ok()?.clone());
                Some((((*key)?), Known::File(Arc::new(Parsed { size, objects }))))
            }));
        }
        files.extend(
            read.into_iter()
                .map(|(named, _, _, objects)| (named, objects)),
        );
        Self(files)
    }

    pub(crate) fn take(&mut self, path: &str) -> Option<Result<Vec<Arc<Resource>>, RenderError>> {
        self.0.remove(path)
    }
}

impl<'t> Candidate<'t> {
    fn new(
        named: &str,
        (file, size): (String, u64),
        loader: &Loader<'t>,
        environment: &Environment,
        memo: Option<Session<'_>>,
    ) -> Option<Self> {
        let mut text = None;
        let key = if memo.is_none() {
            None
        } else if let Some(id) = loader.content(&file).ok()? {
            Some(Key::of(&("id", environment.key, &file, id)))
        } else {
            let read = loader.text(&file, size).ok()?;
            let key = Key::of(&("text", environment.key, &file, &*read));
            text = Some(read);
            Some(key)
        };
        let named = named.to_owned();
        Some(Self {
            named,
            file,
            size,
            text,
            key,
        })
    }
}

/// Reads the objects of a file; those of a file with a key have keys, too.
fn objects(
    text: &str,
    file: &str,
    key: Option<Key>,
    environment: &Environment,
) -> Result<Vec<Arc<Resource>>, RenderError> {
    let objects = read::resources(text, file, &environment.limits)?;
    let numbered = objects.into_iter().enumerate();
    let keyed = numbered.map(|(number, object)| {
        let key = key.map(|key| Key::of(&(key, number)));
        Arc::new(Resource { key, ..object })
    });
    Ok(keyed.collect())
}
