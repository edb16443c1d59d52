//! The tree that every step of a build works on.
//!
//! A scalar keeps the text it was written with beside its type: a replacement copies the text
//! (`1.10` stays `1.10`), while the output shows the value (`1.1`). Comments, anchors and layout
//! are gone after reading; kustomize's output never shows them.

use std::num::NonZeroU32;
use std::sync::Arc;

use smol_str::SmolStr;

use super::mapping::Mapping;
use super::resolve;

/// One YAML value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Scalar(Scalar),
    Sequence(Sequence),
    Mapping(Mapping),
}

/// How a list or map was written. Objects are printed in blocks whatever they were; a text inside
/// a text keeps its layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    #[default]
    Block,
    Flow,
}

impl Layout {
    /// The layout of a value in this one: everything between brackets is.
    pub(crate) fn or(self, inner: Self) -> Self {
        if self == Self::Flow { self } else { inner }
    }
}

/// A list. Copies share their elements until one of them is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    items: Arc<Vec<Node>>,
    pub(crate) layout: Layout,
}

impl Sequence {
    pub(crate) fn new(items: Vec<Node>, layout: Layout) -> Self {
        let items = Arc::new(items);
        Self { items, layout }
    }

    fn into_items(self) -> Vec<Node> {
        Arc::unwrap_or_clone(self.items)
    }
}

impl PartialEq for Sequence {
    /// Equal elements, in any layout.
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl From<Vec<Node>> for Sequence {
    fn from(items: Vec<Node>) -> Self {
        Self::new(items, Layout::Block)
    }
}

impl FromIterator<Node> for Sequence {
    fn from_iter<I: IntoIterator<Item = Node>>(items: I) -> Self {
        Self::from(Vec::from_iter(items))
    }
}

impl std::ops::Deref for Sequence {
    type Target = Vec<Node>;

    fn deref(&self) -> &Vec<Node> {
        &self.items
    }
}

impl std::ops::DerefMut for Sequence {
    fn deref_mut(&mut self) -> &mut Vec<Node> {
        Arc::make_mut(&mut self.items)
    }
}

impl IntoIterator for Sequence {
    type Item = Node;
    type IntoIter = std::vec::IntoIter<Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_items().into_iter()
    }
}

impl<'a> IntoIterator for &'a Sequence {
    type Item = &'a Node;
    type IntoIter = std::slice::Iter<'a, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<'a> IntoIterator for &'a mut Sequence {
    type Item = &'a mut Node;
    type IntoIter = std::slice::IterMut<'a, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

/// The type a scalar has under the reader's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
    Binary,
    Str,
}

impl Tag {
    /// The name YAML gives the type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool => "!!bool",
            Self::Int => "!!int",
            Self::Float => "!!float",
            Self::Timestamp => "!!timestamp",
            Self::Binary => "!!binary",
            Self::Str => "!!str",
        }
    }
}

/// How a scalar was written. Only a plain one has a type by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
    /// With its type in front of it: `!!int "5"`.
    Tagged,
}

/// A leaf of the tree.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Scalar {
    pub(crate) text: SmolStr,
    pub(crate) tag: Tag,
    pub(crate) style: Style,
    /// Set if other scalars of the object change with this one.
    pub(crate) alias: Option<Alias>,
}

/// Membership in a group of scalars that are one and the same.
///
/// A label that kustomize adds in several places of an object at once is one node with several
/// parents, so a later change in one place shows in all of them: an overlay that changes a label
/// in `metadata` only changes the selector that a base made with it. [`super::alias::settle`]
/// does what shared nodes do by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alias {
    pub(crate) group: NonZeroU32,
    /// Changes to this scalar; the member with the most decides for its group.
    pub(crate) changes: u32,
}

impl Scalar {
    /// A string, whatever its text looks like. It counts as quoted only if it must be.
    pub(crate) fn string(text: impl Into<SmolStr>) -> Self {
        let text = text.into();
        let style = if text.contains('\n') {
            Style::Literal
        } else {
            Style::Plain
        };
        let mut scalar = Self {
            text,
            tag: Tag::Str,
            style,
            alias: None,
        };
        scalar.protect();
        scalar
    }

    /// Puts a string in quotes that YAML 1.1 reads as something else, as kyaml does whenever it
    /// sets a field.
    pub(crate) fn protect(&mut self) {
        if self.tag == Tag::Str
            && self.style == Style::Plain
            && !self.text.is_empty()
            && resolve::tag_of_v2(&self.text) != Tag::Str
        {
            self.style = Style::Double;
        }
    }

    /// A scalar as if it had been written without quotes.
    pub(crate) fn plain(text: impl Into<SmolStr>) -> Self {
        let text = text.into();
        let tag = resolve::tag_of(&text);
        Self {
            text,
            tag,
            style: Style::Plain,
            alias: None,
        }
    }

    /// Gives the scalar another text. A plain scalar takes the type of its new text (a name
    /// prefix `1` in front of `e3` makes a number, as in kustomize); a quoted one stays a string.
    pub(crate) fn set_text(&mut self, text: impl Into<SmolStr>) {
        let style = self.style;
        self.replace(if style == Style::Plain {
            Self::plain(text)
        } else {
            Self {
                style,
                ..Self::string(text)
            }
        });
    }

    /// Takes another value; the scalar stays in its group.
    pub(crate) fn replace(&mut self, value: Self) {
        let alias = self.alias.map(|Alias { group, changes }| Alias {
            group,
            changes: changes + 1,
        });
        *self = Self { alias, ..value };
    }
}

/// Bytes of a text that are not part of the tree itself: short ones are.
fn heap(text: &SmolStr) -> usize {
    const COUNTERS: usize = 16;
    if text.is_heap_allocated() {
        text.len() + COUNTERS
    } else {
        0
    }
}

impl Node {
    pub(crate) fn string(text: impl Into<SmolStr>) -> Self {
        Self::Scalar(Scalar::string(text))
    }

    pub(crate) fn plain(text: impl Into<SmolStr>) -> Self {
        Self::Scalar(Scalar::plain(text))
    }

    pub(crate) fn null() -> Self {
        Self::Scalar(Scalar {
            text: SmolStr::new_static("null"),
            tag: Tag::Null,
            style: Style::Plain,
            alias: None,
        })
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(scalar) if scalar.tag == Tag::Null)
    }

    /// Null, `{}` or `[]`.
    pub(crate) fn is_null_or_empty(&self) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.tag == Tag::Null,
            Self::Sequence(items) => items.is_empty(),
            Self::Mapping(map) => map.is_empty(),
        }
    }

    /// About how many bytes of memory the value takes beside its copies: what it shares with one
    /// of them counts for nothing.
    pub(crate) fn weight(&self) -> usize {
        const ENTRY: usize = size_of::<(SmolStr, Node)>();
        match self {
            Self::Scalar(scalar) => heap(&scalar.text),
            Self::Sequence(items) if Arc::strong_count(&items.items) > 1 => 0,
            Self::Sequence(items) => {
                let weight = |item: &Self| size_of::<Self>() + item.weight();
                items.iter().map(weight).sum()
            }
            Self::Mapping(map) if map.is_shared() => 0,
            Self::Mapping(map) => {
                let weight = |(key, value): &(SmolStr, Self)| ENTRY + heap(key) + value.weight();
                map.entries().iter().map(weight).sum()
            }
        }
    }

    /// What kind of value this is, in words for an error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "a scalar",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a map",
        }
    }

    /// The text of a scalar; `None` for collections.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(scalar) => Some(&scalar.text),
            Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    /// The text of a scalar that is not null.
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Self::Scalar(scalar) if scalar.tag != Tag::Null => Some(&scalar.text),
            Self::Scalar(_) | Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    pub(crate) fn as_mapping(&self) -> Option<&Mapping> {
        match self {
            Self::Mapping(map) => Some(map),
            Self::Scalar(_) | Self::Sequence(_) => None,
        }
    }

    pub(crate) fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match self {
            Self::Mapping(map) => Some(map),
            Self::Scalar(_) | Self::Sequence(_) => None,
        }
    }

    pub(crate) fn as_sequence(&self) -> Option<&[Self]> {
        match self {
            Self::Sequence(items) => Some(items.as_slice()),
            Self::Scalar(_) | Self::Mapping(_) => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_mapping_mut()?.get_mut(key)
    }
}
