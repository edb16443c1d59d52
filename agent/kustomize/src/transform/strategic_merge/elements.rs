//! Lists whose elements have keys.

use super::is_nothing;
use crate::yaml::{Node, Scalar};

/// The key fields of an element with their texts, in the order of the keys.
pub(super) type Key = Vec<(String, String)>;

/// The part of a key that looks an element up: fields without a value do not count, unless none
/// has one.
pub(super) fn with_values(key: &Key) -> Key {
    let given: Key = key
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .cloned()
        .collect();
    if given.is_empty() { key.clone() } else { given }
}

/// The elements of both lists, by number, so that lists of numbers can share them as upstream's
/// lists share pointers.
pub(super) struct Elements<'k> {
    pub(super) nodes: Vec<Node>,
    /// Names of the key fields; one empty name for a list of scalars.
    pub(super) keys: &'k [String],
}

impl Elements<'_> {
    pub(super) fn node(&self, id: usize) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn lend(&mut self, id: usize) -> Option<Node> {
        self.nodes
            .get_mut(id)
            .map(|node| std::mem::replace(node, Node::null()))
    }

    pub(super) fn give_back(&mut self, id: usize, node: Node) {
        if let Some(place) = self.nodes.get_mut(id) {
            *place = node;
        }
    }

    fn is_scalar_list(&self) -> bool {
        self.keys.first().is_none_or(String::is_empty)
    }

    /// The distinct key values of elements, in order.
    pub(super) fn identities<'i>(&self, ids: impl Iterator<Item = &'i usize>) -> Vec<Vec<String>> {
        let mut seen = std::collections::HashSet::new();
        let mut found = Vec::new();
        for node in ids.filter_map(|id| self.nodes.get(*id)) {
            let identity: Vec<String> = if self.is_scalar_list() {
                vec![node.text().unwrap_or_default().to_owned()]
            } else {
                let text = |key: &String| {
                    let value = node.get(key).filter(|value| !value.is_null_or_empty());
                    value.and_then(Node::text).unwrap_or_default().to_owned()
                };
                self.keys.iter().map(text).collect()
            };
            if seen.insert(identity.clone()) {
                found.push(identity);
            }
        }
        found
    }

    /// The keys that some of `among` have a value for, with the values of `identity`; all keys if
    /// none has.
    pub(super) fn effective(&self, among: &[Vec<String>], identity: &[String]) -> Key {
        let used: Vec<bool> = (0..self.keys.len())
            .map(|at| {
                among
                    .iter()
                    .any(|values| values.get(at).is_some_and(|v| !v.is_empty()))
            })
            .collect();
        let none = !used.contains(&true);
        let pairs = self.keys.iter().zip(identity).zip(used);
        pairs
            .filter(|(_, used)| *used || none)
            .map(|((key, value), _)| (key.clone(), value.clone()))
            .collect()
    }

    /// The first element whose key fields have exactly these texts.
    pub(super) fn find(&self, list: &[usize], key: &Key) -> Option<usize> {
        list.iter().copied().find(|id| {
            self.nodes.get(*id).is_some_and(|node| {
                if self.is_scalar_list() {
                    node.text() == key.first().map(|(_, value)| value.as_str())
                } else {
                    node.as_mapping().is_some_and(|map| {
                        key.iter().all(|(name, value)| {
                            map.get(name)
                                .is_some_and(|field| field.text().unwrap_or_default() == value)
                        })
                    })
                }
            })
        })
    }

    /// Gives an element the key fields that it lacks.
    pub(super) fn fill_in(&mut self, id: usize, key: &Key) {
        let Some(map) = self.nodes.get_mut(id).and_then(Node::as_mapping_mut) else {
            return;
        };
        for (name, value) in key {
            if !value.is_empty() && !map.contains(name) {
                map.insert(name.clone(), Node::string(value.clone()));
            }
        }
    }

    /// Puts `element` in the place of every element of `list` with the key, or at the end;
    /// without an element, removes those with the key. Nulls and empty maps go away on the way.
    pub(super) fn set(
        &self,
        list: &mut Vec<usize>,
        element: Option<usize>,
        key: &[(String, String)],
    ) -> Result<(), String> {
        let names: Vec<&str> = key.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<&str> = key.iter().map(|(_, value)| value.as_str()).collect();
        self.set_by(list, element, &names, &values)
    }

    /// [`Elements::set`] with as many values as there are; upstream passes fewer values than
    /// keys for an element that lacks a key, and then every other element is dropped.
    fn set_by(
        &self,
        list: &mut Vec<usize>,
        element: Option<usize>,
        names: &[&str],
        values: &[&str],
    ) -> Result<(), String> {
        let by_field = names.first().is_some_and(|name| !name.is_empty())
            && values.first().is_some_and(|value| !value.is_empty());
        let mut kept = Vec::with_capacity(list.len() + 1);
        let mut placed = false;
        for id in list.iter().copied() {
            let Some(node) = self.nodes.get(id) else {
                continue;
            };
            if is_nothing(node) {
                continue;
            }
            if by_field && node.as_mapping().is_none() {
                kept.push(id);
                continue;
            }
            if has_key(node, names, values)? {
                placed = true;
                kept.extend(element);
            } else if !values.is_empty() {
                kept.push(id);
            }
        }
        if !placed {
            kept.extend(element);
        }
        *list = kept;
        Ok(())
    }

    /// Adds the elements of `from` to `to` by their keys, after what the patch brought.
    pub(super) fn append(
        &self,
        to: &mut Vec<usize>,
        from: &[usize],
        keys: &[&str],
    ) -> Result<(), String> {
        for id in from.iter().copied() {
            let Some(node) = self.nodes.get(id) else {
                continue;
            };
            if self.is_scalar_list() {
                self.set_by(to, Some(id), &[""], &[node.text().unwrap_or_default()])?;
                continue;
            }
            let mut values = Vec::new();
            for key in keys {
                match node.get(key) {
                    None => to.push(id),
                    Some(value) => values.push(value.text().unwrap_or_default()),
                }
            }
            if keys.len() > 1 {
                self.set_by(to, None, keys, &values)?;
            }
            self.set_by(to, Some(id), keys, &values)?;
        }
        Ok(())
    }

    pub(super) fn take(mut self, list: &[usize]) -> Vec<Node> {
        let mut uses = vec![0_usize; self.nodes.len()];
        for id in list {
            if let Some(uses) = uses.get_mut(*id) {
                *uses += 1;
            }
        }
        let mut taken = Vec::with_capacity(list.len());
        for id in list {
            let (Some(node), Some(uses)) = (self.nodes.get_mut(*id), uses.get_mut(*id)) else {
                continue;
            };
            *uses -= 1;
            taken.push(if *uses == 0 {
                std::mem::replace(node, Node::null())
            } else {
                node.clone()
            });
        }
        taken
    }
}

/// Whether an element has each key field with the value given; an empty value only asks for the
/// field, a missing one repeats the answer for the field before.
fn has_key(node: &Node, names: &[&str], values: &[&str]) -> Result<bool, String> {
    let mut found = false;
    for (at, name) in names.iter().enumerate() {
        if let Some(value) = values.get(at) {
            found = if name.is_empty() {
                let Node::Scalar(Scalar { text, .. }) = node else {
                    return Err(format!("{} in a list of scalars", node.kind()));
                };
                text == value
            } else {
                let Some(map) = node.as_mapping() else {
                    return Err(format!("{} in a list of maps", node.kind()));
                };
                map.get(name).is_some_and(|field| {
                    value.is_empty() || field.text().unwrap_or_default() == *value
                })
            };
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fills the gaps of two-part keys from each other: `80/` and `80/TCP` are one element.
pub(super) fn unify(identities: &mut [Vec<String>]) {
    for i in 0..identities.len() {
        let Some(first) = identities.get(i).cloned() else {
            return;
        };
        for j in 0..identities.len() {
            let Some(united) = identities.get(j).and_then(|second| unite(&first, second)) else {
                continue;
            };
            for at in [i, j] {
                if let Some(identity) = identities.get_mut(at) {
                    identity.clone_from(&united);
                }
            }
        }
    }
}

fn unite(first: &[String], second: &[String]) -> Option<Vec<String>> {
    let mut common = false;
    let mut united = Vec::with_capacity(first.len());
    for (a, b) in first.iter().zip(second) {
        if a == b {
            common = true;
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        }
        united.push(if a.is_empty() { b.clone() } else { a.clone() });
    }
    common.then_some(united)
}
