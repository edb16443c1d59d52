//! Strategic merge patches, as kyaml merges them.
//!
//! The rules are those of kyaml's `merge2` and `walk` packages, odd corners included, because the
//! output must be the same: a patched list shows the patch's elements first; every list of the
//! object that merges by keys is rebuilt even if the patch does not touch it; a value that the
//! patch brings in is merged with itself, which drops its nulls and its directives.
//!
//! Upstream passes pointers around and relies on several names for one node. Here a merge changes
//! `dest` and `origin` in place and says which of the two is the result.

use std::collections::BTreeSet;

use crate::id::field_text;
use crate::schema::{ListShape, Schema, Shape};
use crate::yaml::{Alias, Mapping, Node, Scalar, Style, Tag};

const DIRECTIVE: &str = "$patch";

/// Elements of a keyed list above which a merge is refused: upstream's rules compare every
/// element with every other.
const MAX_KEYED_ELEMENTS: usize = 5_000;

/// Merges `patch` into `object`. `false` if the patch deletes the object.
pub(crate) fn merge(object: &mut Node, mut patch: Node, schema: &Schema) -> Result<bool, String> {
    match (Walker { schema }).merge(Some(object), Origin::Node(&mut patch), None)? {
        Outcome::Dest => Ok(true),
        Outcome::Origin => {
            *object = patch;
            Ok(true)
        }
        Outcome::Clear => Ok(false),
    }
}

/// What a destination is merged with.
enum Origin<'a> {
    /// Nothing.
    Absent,
    /// The destination itself: it came with the patch.
    Same,
    /// A part of the patch.
    Node(&'a mut Node),
}

impl Origin<'_> {
    fn is_null(&self) -> bool {
        matches!(self, Self::Node(node) if node.is_null())
    }
}

/// Which node holds the result.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Dest,
    Origin,
    /// Neither: the value is to be removed.
    Clear,
}

#[derive(Clone, Copy, PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "merge" => Ok(Self::Merge),
            "replace" => Ok(Self::Replace),
            "delete" => Ok(Self::Delete),
            other => Err(format!("unknown patch strategy `{other}` in {DIRECTIVE}")),
        }
    }
}

struct Walker<'s> {
    schema: &'s Schema,
}

impl<'s> Walker<'s> {
    fn merge(
        &self,
        dest: Option<&mut Node>,
        origin: Origin<'_>,
        shape: Option<&'s Shape>,
    ) -> Result<Outcome, String> {
        let dest = dest.filter(|node| !node.is_null() || origin_keeps_null(node, &origin));
        // What kind of value this is, the first that is not null decides.
        let kind = match (&dest, &origin) {
            (Some(dest), Origin::Node(origin)) if dest.is_null() => node_kind(origin),
            (Some(dest), _) => node_kind(dest),
            (None, Origin::Node(origin)) => node_kind(origin),
            (None, Origin::Absent | Origin::Same) => Kind::Null,
        };
        if kind == Kind::Null {
            return Ok(if dest.is_some() {
                Outcome::Dest
            } else {
                Outcome::Clear
            });
        }
        if let Origin::Node(node) = &origin
            && !node.is_null()
            && node_kind(node) != kind
        {
            let found = dest.as_deref().map_or("nothing", Node::kind);
            return Err(format!(
                "the patch has {} where the object has {found}",
                node.kind()
            ));
        }
        let shape = shape.or_else(|| self.shape_of(dest.as_deref(), &origin));
        match kind {
            Kind::Mapping => self.merge_map(dest, origin, shape),
            Kind::Sequence => match shape {
                Some(Shape::List(list)) if list.merges() => self.merge_list(dest, origin, list),
                _ => Ok(replace(&origin)),
            },
            Kind::Scalar | Kind::Null => Ok(replace(&origin)),
        }
    }

    /// The shape by the kind that the value itself claims, for objects inside objects.
    fn shape_of(&self, dest: Option<&Node>, origin: &Origin<'_>) -> Option<&'s Shape> {
        let claimed = |node: &Node| {
            let (version, kind) = (field_text(node, "apiVersion"), field_text(node, "kind"));
            if version.is_empty() || kind.is_empty() {
                None
            } else {
                self.schema.kind(version, kind)
            }
        };
        dest.and_then(claimed).or_else(|| match origin {
            Origin::Node(origin) => claimed(origin),
            Origin::Absent | Origin::Same => None,
        })
    }

    fn merge_map(
        &self,
        dest: Option<&mut Node>,
        origin: Origin<'_>,
        shape: Option<&'s Shape>,
    ) -> Result<Outcome, String> {
        let Some(dest) = dest else {
            let Origin::Node(origin) = origin else {
                return Ok(Outcome::Clear);
            };
            // A directive that is not known stays in the value.
            if map_directive(origin).unwrap_or(Directive::Merge) == Directive::Delete {
                return Ok(Outcome::Clear);
            }
            self.merge_fields(origin, Origin::Same, shape)?;
            return Ok(Outcome::Origin);
        };
        if origin.is_null() {
            return Ok(Outcome::Clear);
        }
        match origin {
            Origin::Absent => self.merge_fields(dest, Origin::Absent, shape)?,
            Origin::Same => {
                if map_directive(dest)? == Directive::Delete {
                    return Ok(Outcome::Clear);
                }
                self.merge_fields(dest, Origin::Same, shape)?;
            }
            Origin::Node(origin) => match map_directive(origin)? {
                Directive::Delete => return Ok(Outcome::Clear),
                Directive::Replace => {
                    self.merge_fields(origin, Origin::Same, shape)?;
                    return Ok(Outcome::Origin);
                }
                Directive::Merge => self.merge_fields(dest, Origin::Node(origin), shape)?,
            },
        }
        Ok(Outcome::Dest)
    }

    fn merge_fields(
        &self,
        dest: &mut Node,
        mut origin: Origin<'_>,
        shape: Option<&'s Shape>,
    ) -> Result<(), String> {
        let Node::Mapping(dest) = dest else {
            return Ok(());
        };
        let mut names: BTreeSet<String> = dest.iter().map(|(key, _)| key.to_owned()).collect();
        if let Origin::Node(Node::Mapping(origin)) = &origin {
            names.extend(origin.iter().map(|(key, _)| key.to_owned()));
        }
        for name in names {
            let shape = shape.and_then(|shape| self.schema.field(shape, &name));
            let theirs = match &mut origin {
                Origin::Absent => None,
                Origin::Same => Some(Origin::Same),
                Origin::Node(node) => node.get_mut(&name).map(Origin::Node),
            };
            let outcome = self
                .merge(dest.get_mut(&name), theirs.unwrap_or(Origin::Absent), shape)
                .map_err(|error| under(&name, &error))?;
            match outcome {
                Outcome::Dest => {
                    if let Some(Node::Scalar(scalar)) = dest.get_mut(&name) {
                        scalar.protect();
                    }
                }
                Outcome::Clear => {
                    dest.remove(&name);
                }
                Outcome::Origin => {
                    if let Origin::Node(node) = &mut origin
                        && let Some(value) = node.get_mut(&name)
                    {
                        set_field(dest, &name, std::mem::replace(value, Node::null()));
                    }
                }
            }
        }
        Ok(())
    }

    fn merge_list(
        &self,
        dest: Option<&mut Node>,
        origin: Origin<'_>,
        list: &'s ListShape,
    ) -> Result<Outcome, String> {
        let Some(dest) = dest else {
            let Origin::Node(origin) = origin else {
                return Ok(Outcome::Clear);
            };
            self.merge_elements(origin, Origin::Same, list)?;
            return Ok(Outcome::Origin);
        };
        if origin.is_null() {
            return Ok(Outcome::Clear);
        }
        match origin {
            Origin::Absent => self.merge_elements(dest, Origin::Absent, list)?,
            Origin::Same => {
                if list_directive(dest)? == Directive::Delete {
                    return Ok(Outcome::Clear);
                }
                self.merge_elements(dest, Origin::Same, list)?;
            }
            Origin::Node(origin) => match list_directive(origin)? {
                Directive::Delete => return Ok(Outcome::Clear),
                Directive::Replace => {
                    self.merge_elements(origin, Origin::Same, list)?;
                    return Ok(Outcome::Origin);
                }
                Directive::Merge => self.merge_elements(dest, Origin::Node(origin), list)?,
            },
        }
        Ok(Outcome::Dest)
    }

    fn merge_elements(
        &self,
        dest: &mut Node,
        mut origin: Origin<'_>,
        list: &'s ListShape,
    ) -> Result<(), String> {
        let Node::Sequence(elements) = dest else {
            return Ok(());
        };
        let mut nodes = std::mem::take(&mut **elements);
        let of_dest: Vec<usize> = (0..nodes.len()).collect();
        let of_origin: Vec<usize> = match &mut origin {
            Origin::Same => of_dest.clone(),
            Origin::Node(Node::Sequence(patch)) => {
                nodes.extend(std::mem::take(patch));
                (of_dest.len()..nodes.len()).collect()
            }
            Origin::Absent | Origin::Node(_) => Vec::new(),
        };
        if nodes.len() > MAX_KEYED_ELEMENTS {
            return Err(format!(
                "more than {MAX_KEYED_ELEMENTS} elements in a list that merges"
            ));
        }
        let scalars = [String::new()];
        let keys = if list.keys().is_empty() {
            scalars.as_slice()
        } else {
            list.keys()
        };
        let mut pool = Elements { nodes, keys };
        let mut identities = pool.identities(of_origin.iter().chain(&of_dest));
        if keys.len() > 1 {
            unify(&mut identities);
        }
        let mut dest_list = of_dest;
        let mut merged: Vec<usize> = Vec::new();
        let mut last_keys = Vec::new();
        for at in 0..identities.len() {
            let Some(identity) = identities.get(at) else {
                break;
            };
            let key = pool.effective(&identities, identity);
            let lookup = with_values(&key);
            let ours = pool.find(&dest_list, &lookup);
            let theirs = pool.find(&of_origin, &lookup);
            let outcome = self.merge_element(&mut pool, ours, theirs, list.element())?;
            let value = match outcome {
                Outcome::Dest => ours,
                Outcome::Origin => theirs,
                Outcome::Clear => None,
            };
            let value = value.filter(|id| pool.node(*id).is_some_and(|node| !is_nothing(node)));
            match value {
                None => pool.set(&mut dest_list, None, &key)?,
                Some(id) => {
                    pool.fill_in(id, &key);
                    pool.set(&mut merged, Some(id), &key)?;
                }
            }
            last_keys = key;
        }
        if !identities.is_empty() {
            let key_names: Vec<&str> = last_keys.iter().map(|(key, _)| key.as_str()).collect();
            pool.append(&mut merged, &dest_list, &key_names)?;
            dest_list = merged;
        }
        **elements = pool.take(&dest_list);
        Ok(())
    }

    fn merge_element(
        &self,
        pool: &mut Elements<'_>,
        ours: Option<usize>,
        theirs: Option<usize>,
        shape: Option<&'s Shape>,
    ) -> Result<Outcome, String> {
        let mut dest = ours.and_then(|id| pool.lend(id));
        let same = ours.is_some() && ours == theirs;
        let mut patch = if same {
            None
        } else {
            theirs.and_then(|id| pool.lend(id))
        };
        let origin = match &mut patch {
            _ if same => Origin::Same,
            Some(node) => Origin::Node(node),
            None => Origin::Absent,
        };
        let outcome = self.merge(dest.as_mut(), origin, shape);
        if let (Some(id), Some(node)) = (ours, dest) {
            pool.give_back(id, node);
        }
        if let (Some(id), Some(node)) = (theirs, patch) {
            pool.give_back(id, node);
        }
        outcome
    }
}

fn under(step: &str, error: &str) -> String {
    match error.strip_prefix("at ") {
        Some(deeper) => format!("at {step}.{deeper}"),
        None => format!("at {step}: {error}"),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Null,
    Scalar,
    Sequence,
    Mapping,
}

fn node_kind(node: &Node) -> Kind {
    match node {
        node if node.is_null() => Kind::Null,
        Node::Scalar(_) => Kind::Scalar,
        Node::Sequence(_) => Kind::Sequence,
        Node::Mapping(_) => Kind::Mapping,
    }
}

/// A null that the patch does not mention stays if it was written out (`null`, `~`).
fn origin_keeps_null(node: &Node, origin: &Origin<'_>) -> bool {
    matches!(origin, Origin::Absent) && node.text().is_some_and(|text| !text.is_empty())
}

/// A value that does not merge: the patch's wins if there is one.
fn replace(origin: &Origin<'_>) -> Outcome {
    match origin {
        Origin::Absent | Origin::Same => Outcome::Dest,
        Origin::Node(node) if node.is_null() => Outcome::Clear,
        Origin::Node(_) => Outcome::Origin,
    }
}

/// Sets a field to a value of the patch. A scalar takes the quotes of the scalar it replaces: a
/// number in the place of a quoted number becomes a string.
fn set_field(map: &mut Mapping, name: &str, mut value: Node) {
    if let Node::Scalar(new) = &mut value {
        new.protect();
    }
    if let (Some(Node::Scalar(old)), Node::Scalar(new)) = (map.get(name), &mut value) {
        new.style = old.style;
        new.alias = old.alias.map(|alias| Alias {
            changes: alias.changes + 1,
            ..alias
        });
        if new.style != Style::Plain {
            new.tag = Tag::Str;
        }
    }
    map.insert(name, value);
}

/// Reads and removes a map's directive.
fn map_directive(node: &mut Node) -> Result<Directive, String> {
    let Some(map) = node.as_mapping_mut() else {
        return Ok(Directive::Merge);
    };
    let Some(value) = map.get(DIRECTIVE) else {
        return Ok(Directive::Merge);
    };
    let directive = Directive::parse(value.text().unwrap_or_default())?;
    map.remove(DIRECTIVE);
    Ok(directive)
}

/// Reads and removes a list's directive: an element that holds nothing else.
fn list_directive(node: &mut Node) -> Result<Directive, String> {
    let Node::Sequence(items) = node else {
        return Ok(Directive::Merge);
    };
    let Some(holder) = items
        .iter()
        .filter_map(Node::as_mapping)
        .find(|item| item.contains(DIRECTIVE))
    else {
        return Ok(Directive::Merge);
    };
    if holder.len() > 1 {
        return Ok(Directive::Merge);
    }
    let text = holder
        .get(DIRECTIVE)
        .and_then(Node::text)
        .unwrap_or_default()
        .to_owned();
    let directive = Directive::parse(&text)?;
    items.retain(|item| {
        !is_nothing(item) && item.get(DIRECTIVE).and_then(Node::text) != Some(text.as_str())
    });
    Ok(directive)
}

fn is_nothing(node: &Node) -> bool {
    node.is_null() || node.as_mapping().is_some_and(Mapping::is_empty)
}

/// The key fields of an element with their texts, in the order of the keys.
type Key = Vec<(String, String)>;

/// The part of a key that looks an element up: fields without a value do not count, unless none
/// has one.
fn with_values(key: &Key) -> Key {
    let given: Key = key
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .cloned()
        .collect();
    if given.is_empty() { key.clone() } else { given }
}

/// The elements of both lists, by number, so that lists of numbers can share them as upstream's
/// lists share pointers.
struct Elements<'k> {
    nodes: Vec<Node>,
    /// Names of the key fields; one empty name for a list of scalars.
    keys: &'k [String],
}

impl Elements<'_> {
    fn node(&self, id: usize) -> Option<&Node> {
        self.nodes.get(id)
    }

    fn lend(&mut self, id: usize) -> Option<Node> {
        self.nodes
            .get_mut(id)
            .map(|node| std::mem::replace(node, Node::null()))
    }

    fn give_back(&mut self, id: usize, node: Node) {
        if let Some(place) = self.nodes.get_mut(id) {
            *place = node;
        }
    }

    fn is_scalar_list(&self) -> bool {
        self.keys.first().is_none_or(String::is_empty)
    }

    /// The distinct key values of elements, in order.
    fn identities<'i>(&self, ids: impl Iterator<Item = &'i usize>) -> Vec<Vec<String>> {
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
    fn effective(&self, among: &[Vec<String>], identity: &[String]) -> Key {
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
    fn find(&self, list: &[usize], key: &Key) -> Option<usize> {
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
    fn fill_in(&mut self, id: usize, key: &Key) {
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
    fn set(
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
    fn append(&self, to: &mut Vec<usize>, from: &[usize], keys: &[&str]) -> Result<(), String> {
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

    fn take(mut self, list: &[usize]) -> Vec<Node> {
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
fn unify(identities: &mut [Vec<String>]) {
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
