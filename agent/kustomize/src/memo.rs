//! What one build leaves behind so that the next is cheap.
//!
//! A build is a chain of pure functions over single objects, joined by a few that look at all of
//! them. The memo keeps the results of the former by what went in: the contents of a file, or an
//! object and the steps it went through. A key that is found stands for a result that would come
//! out the same, so a build with a memo gives what it gives without one, and an entry is never
//! out of date; it can only be of no more use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Key;
use crate::rendered::Finished;
use crate::resource::Resource;

/// Results of earlier builds, for [`crate::render_with_memo`]. The caller owns it; it may be used for any
/// number of trees and by several threads at a time.
///
/// ```
/// use kustomize::{Memo, MemoryTree, Options};
///
/// let mut tree = MemoryTree::from([
///     ("kustomization.yaml", "resources: [a.yaml, b.yaml]\n"),
///     ("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"),
///     ("b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: b}\n"),
/// ]);
/// let memo = Memo::new(1 << 20);
/// let options = Options::default();
/// kustomize::render_with_memo(&tree, "", &options, &memo)?;
/// tree.add_file("b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: c}\n");
/// // Reads and transforms `b.yaml` only.
/// let rendered = kustomize::render_with_memo(&tree, "", &options, &memo)?;
/// assert_eq!(rendered.objects()[1].name(), "c");
/// # Ok::<(), kustomize::Error>(())
/// ```
pub struct Memo {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Sum over the entries.
    bytes: usize,
    /// Builds started.
    builds: u64,
    /// The last build that alone takes all the room.
    full: u64,
}

struct Entry {
    known: Known,
    bytes: usize,
    /// The last build that asked for it.
    used: u64,
}

/// A result.
#[derive(Clone)]
pub(crate) enum Known {
    /// What a file holds.
    File(Arc<Parsed>),
    /// What some steps made of an object.
    Changed(Changed),
    /// What is printed of an object.
    Finished(Arc<Finished>),
}

/// The objects of a file.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// Size of the file, in bytes.
    pub(crate) size: u64,
    pub(crate) objects: Vec<Arc<Resource>>,
}

/// What some steps made of an object.
#[derive(Clone, Debug)]
pub(crate) enum Changed {
    /// Nothing: none of them was for it.
    Same,
    To {
        /// `None` if they took it away.
        object: Option<Arc<Resource>>,
        /// Which of them, by number, were for it.
        by: Arc<[usize]>,
    },
}

impl Known {
    /// About how many bytes of memory it takes beside what it shares with others.
    fn weight(&self) -> usize {
        match self {
            Self::File(parsed) => parsed.objects.iter().map(|object| object.weight()).sum(),
            Self::Changed(Changed::Same | Changed::To { object: None, .. }) => 0,
            Self::Changed(Changed::To {
                object: Some(object),
                by,
            }) => object.weight() + size_of_val(&**by),
            Self::Finished(finished) => finished.weight(),
        }
    }
}

/// What an entry takes beside its contents, in bytes.
const OVERHEAD: usize = 160;

impl Memo {
    /// A memo that holds about `limit` bytes at most. A Deployment under a full overlay takes
    /// about 22,000.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// About how many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Every change to the state is complete in itself, so a panic elsewhere leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a build.
    pub(crate) fn session(&self) -> Session<'_> {
        let mut state = self.state();
        state.builds += 1;
        Session {
            memo: self,
            build: state.builds,
        }
    }
}

impl fmt::Debug for Memo {
    /// How much it holds; never the contents, which may be Secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        out.debug_struct("Memo")
            .field("limit", &self.limit)
            .field("bytes", &state.bytes)
            .field("entries", &state.entries.len())
            .finish_non_exhaustive()
    }
}

/// The memo as one build uses it.
#[derive(Clone, Copy)]
pub(crate) struct Session<'m> {
    memo: &'m Memo,
    build: u64,
}

impl Session<'_> {
    /// What is known under each key.
    pub(crate) fn find(&self, keys: impl IntoIterator<Item = Key>) -> Vec<Option<Known>> {
        let mut state = self.memo.state();
        let find = |key| {
            let entry = state.entries.get_mut(&key)?;
            entry.used = self.build;
            Some(entry.known.clone())
        };
        keys.into_iter().map(find).collect()
    }

    /// Keeps results, as far as there is room. What was not used for the
    /// longest time makes room, but nothing that this build used: if one build alone does not
    /// fit, a part of it is kept instead of all of it in turn.
    pub(crate) fn keep(&self, results: impl IntoIterator<Item = (Key, Known)>) {
        let mut state = self.memo.state();
        for (key, known) in results {
            let bytes = known.weight() + OVERHEAD;
            if state.bytes + bytes > self.memo.limit {
                state.make_room(self.memo.limit, self.build);
                if state.bytes + bytes > self.memo.limit {
                    continue;
                }
            }
            let used = self.build;
            let entry = Entry { known, bytes, used };
            state.bytes += bytes;
            if let Some(old) = state.entries.insert(key, entry) {
                state.bytes -= old.bytes;
            }
        }
    }
}

impl State {
    /// Drops the builds that were longest ago, until half of the limit is free or only entries of
    /// `build` are left.
    fn make_room(&mut self, limit: usize, build: u64) {
        if self.full == build {
            return;
        }
        let mut by_build: HashMap<u64, usize> = HashMap::new();
        for entry in self.entries.values().filter(|entry| entry.used != build) {
            *by_build.entry(entry.used).or_default() += entry.bytes;
        }
        let mut builds: Vec<_> = by_build.into_iter().collect();
        builds.sort_unstable();
        let mut left = self.bytes;
        let mut dropped = None;
        for (used, bytes) in builds {
            if left <= limit / 2 {
                break;
            }
            left -= bytes;
            dropped = Some(used);
        }
        let Some(last) = dropped else {
            self.full = build;
            return;
        };
        self.entries
            .retain(|_, entry| entry.used > last || entry.used == build);
        self.bytes = left;
    }
}
