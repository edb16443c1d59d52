//! Maps of a tree.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::node::{Layout, Node};

/// Positions of the keys of a large map.
#[derive(Clone, Debug)]
struct Index(HashMap<SmolStr, usize>);

/// A map with its keys in reading order. Small maps, nearly all of them, are searched; a large
/// one carries an index, so that no operation on a huge `ConfigMap` is quadratic. Copies share
/// their entries until one of them is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    shared: Arc<Entries>,
    pub(crate) layout: Layout,
}

/// The entries of a map that is being made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    list: Vec<(SmolStr, Node)>,
    index: Option<Box<Index>>,
}

impl Entries {
    const SEARCHED: usize = 24;

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.0.get(key).copied(),
            None => self.list.iter().position(|(name, _)| name == key),
        }
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// The value of a key that is there.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let position = self.position(key)?;
        self.list.get_mut(position).map(|(_, value)| value)
    }

    /// Adds a key that is known to be new.
    pub(crate) fn push(&mut self, key: SmolStr, value: Node) {
        let Self { list, index } = self;
        if let Some(index) = index {
            index.0.insert(key.clone(), list.len());
        }
        list.push((key, value));
        if index.is_none() && list.len() > Self::SEARCHED {
            let names = list.iter().map(|(name, _)| name.clone());
            let positions = names.zip(0..).collect();
            *index = Some(Box::new(Index(positions)));
        }
    }

    pub(crate) fn into_mapping(self, layout: Layout) -> Mapping {
        let shared = Arc::new(self);
        Mapping { shared, layout }
    }
}

impl PartialEq for Mapping {
    /// Equal keys with equal values, in any order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(key, value)| other.get(key).is_some_and(|theirs| theirs == value))
    }
}

impl Mapping {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn len(&self) -> usize {
        self.shared.list.len()
    }

    /// Whether another copy shares the entries.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    pub(crate) fn entries(&self) -> &[(SmolStr, Node)] {
        &self.shared.list
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shared.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        let entries = self.shared.list.iter();
        entries.map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        let entries = Arc::make_mut(&mut self.shared).list.iter_mut();
        entries.map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.shared.position(key).is_some()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let position = self.shared.position(key)?;
        self.shared.list.get(position).map(|(_, value)| value)
    }

    /// The value of `key` for a change. Entries that another copy shares are copied, unless the
    /// key is missing.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let position = self.shared.position(key)?;
        let entries = Arc::make_mut(&mut self.shared);
        entries.list.get_mut(position).map(|(_, value)| value)
    }

    /// Sets a value; the key keeps its place if it was there.
    pub(crate) fn insert(&mut self, key: impl Into<SmolStr>, value: Node) {
        let key = key.into();
        if let Some(existing) = self.get_mut(&key) {
            *existing = value;
            return;
        }
        self.push(key, value);
    }

    /// Adds a key that is known to be new.
    pub(crate) fn push(&mut self, key: SmolStr, value: Node) {
        Arc::make_mut(&mut self.shared).push(key, value);
    }

    /// The value of `key`, which is set to `default` first if the key is missing.
    pub(crate) fn entry(&mut self, key: &str, default: impl FnOnce() -> Node) -> &mut Node {
        let position = self.shared.position(key).unwrap_or_else(|| {
            self.push(key.into(), default());
            self.len() - 1
        });
        #[expect(
            clippy::indexing_slicing,
            reason = "the position was found or appended above"
        )]
        &mut Arc::make_mut(&mut self.shared).list[position].1
    }

    /// Takes a key out. The last entry takes its place, so that removal never costs more than a
    /// look-up; the order of keys shows nowhere in the output.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Node> {
        let position = self.shared.position(key)?;
        let Entries { list, index } = Arc::make_mut(&mut self.shared);
        let (_, value) = list.swap_remove(position);
        if let Some(index) = index {
            index.0.remove(key);
            if let Some((moved, _)) = list.get(position) {
                index.0.insert(moved.clone(), position);
            }
        }
        Some(value)
    }

    pub(crate) fn into_entries(self) -> Vec<(SmolStr, Node)> {
        Arc::unwrap_or_clone(self.shared).list
    }
}

impl<K: Into<SmolStr>> FromIterator<(K, Node)> for Mapping {
    fn from_iter<I: IntoIterator<Item = (K, Node)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}
