//! Strategic merge patches, as kyaml merges them.
//!
//! The rules are those of kyaml's `merge2` and `walk` packages, odd corners included, because the
//! output must be the same: a patched list shows the patch's elements first; every list of the
//! object that merges by keys is rebuilt even if the patch does not touch it; a value that the
//! patch brings in is merged with itself, which drops its nulls and its directives.
//!
//! Upstream passes pointers around and relies on several names for one node. Here a merge changes
//! `dest` and `origin` in place and says which of the two is the result.

use smol_str::SmolStr;

use self::elements::{Elements, unify, with_values};
use crate::id::field_text;
use crate::schema::{ListShape, Schema, Shape};
use crate::yaml::{Alias, Mapping, Node, Style, Tag};

mod elements;

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
        let mut names: Vec<SmolStr> = keys(dest).collect();
        if let Origin::Node(Node::Mapping(origin)) = &origin {
            names.extend(keys(origin));
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            let shape = shape.and_then(|shape| self.schema.field(shape, &name));
            let theirs = match &mut origin {
                Origin::Absent => None,
                Origin::Same => Some(Origin::Same),
                Origin::Node(node) => node.get_mut(&name).map(Origin::Node),
            };
            let mut ours = dest.get_mut(&name);
            let outcome = self
                .merge(ours.as_deref_mut(), theirs.unwrap_or(Origin::Absent), shape)
                .map_err(|error| under(&name, &error))?;
            match outcome {
                Outcome::Dest => {
                    if let Some(Node::Scalar(scalar)) = ours {
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

fn keys(map: &Mapping) -> impl Iterator<Item = SmolStr> {
    map.entries().iter().map(|(key, _)| key.clone())
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
        // A type that is written out belongs to the value, quotes belong to the field.
        if !matches!(new.style, Style::Plain | Style::Tagged) {
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
