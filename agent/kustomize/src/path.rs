//! Paths with dots: `spec.containers.[name=app].image`, `metadata.annotations.[a.b/c]`,
//! `spec.ports.*.port`, `spec.args.0`.

use smol_str::SmolStr;

use crate::field_spec::path_steps;
use crate::go_regex::GoRegex;
use crate::limits::Limits;
use crate::yaml::parse::{self, Dialect};
use crate::yaml::{Mapping, Node, Scalar, Sequence, Style, Tag};

/// Splits a path at its dots. A dot with a backslash in front, or inside brackets, is part of a
/// step; brackets around a step without `=` only protect its dots.
pub(crate) fn split(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut parts = path_steps(path, '.').into_iter();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            steps.push(part);
            continue;
        }
        let mut joined = part;
        for more in parts.by_ref() {
            joined.push('.');
            joined.push_str(&more);
            if more.ends_with(']') {
                break;
            }
        }
        if joined.contains('=') {
            steps.push(joined);
        } else {
            steps.push(joined.trim_matches(['[', ']']).to_owned());
        }
    }
    steps
}

/// One step, by its form.
enum Step<'a> {
    Index(usize),
    /// `[field=value]`; an empty field means the element itself.
    Element {
        field: &'a str,
        value: &'a str,
    },
    Every,
    Field(&'a str),
}

impl<'a> Step<'a> {
    fn parse(step: &'a str) -> Result<Self, String> {
        if let Ok(index) = step.parse() {
            return Ok(Self::Index(index));
        }
        if step.starts_with('[') && step.ends_with(']') {
            let inner = step.trim_start_matches('[').trim_end_matches(']');
            let (field, value) = inner
                .split_once('=')
                .ok_or_else(|| format!("`{step}` must contain field=value"))?;
            return Ok(Self::Element { field, value });
        }
        Ok(if step == "*" {
            Self::Every
        } else {
            Self::Field(step)
        })
    }

    /// What a missing field becomes when the next step of the path is this.
    fn container(next: Option<&str>, leaf: New) -> Node {
        match next {
            None | Some("") => leaf.node(),
            Some(next) => match Step::parse(next) {
                Ok(Step::Index(_) | Step::Element { .. }) => Node::Sequence(Sequence::default()),
                Ok(Step::Every | Step::Field(_)) | Err(_) => Node::Mapping(Mapping::new()),
            },
        }
    }
}

/// The value at a path; `None` if the path ends early.
pub(crate) fn lookup<'n>(node: &'n Node, steps: &[String]) -> Result<Option<&'n Node>, String> {
    let mut here = node;
    for step in steps
        .iter()
        .map(|step| step.trim())
        .filter(|step| !step.is_empty())
    {
        let next = match (step, here) {
            (_, node) if node.is_null() => None,
            ("-", Node::Sequence(items)) => items.last(),
            _ => match (Step::parse(step)?, here) {
                (Step::Every, _) => return Err("`*` finds no single value".to_owned()),
                (Step::Index(at), Node::Sequence(items)) => items.get(at),
                (Step::Element { field, value }, Node::Sequence(items)) => {
                    items.iter().find(|item| is_element(item, field, value))
                }
                (Step::Field(name), Node::Mapping(map)) => map.get(name),
                (Step::Index(_) | Step::Element { .. }, other) => {
                    return Err(format!("`{step}` needs a list, found {}", other.kind()));
                }
                (Step::Field(_), other) => {
                    return Err(format!("`{step}` needs a map, found {}", other.kind()));
                }
            },
        };
        match next {
            Some(next) => here = next,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

/// [`lookup`] for changes.
pub(crate) fn lookup_mut<'n>(node: &'n mut Node, steps: &[String]) -> Option<&'n mut Node> {
    let mut here = node;
    for step in steps
        .iter()
        .map(|step| step.trim())
        .filter(|step| !step.is_empty())
    {
        here = match (Step::parse(step).ok()?, here) {
            (Step::Index(at), Node::Sequence(items)) => items.get_mut(at)?,
            (Step::Element { field, value }, Node::Sequence(items)) => items
                .iter_mut()
                .find(|item| is_element(item, field, value))?,
            (Step::Field("-"), Node::Sequence(items)) => items.last_mut()?,
            (Step::Field(name), Node::Mapping(map)) => map.get_mut(name)?,
            _ => return None,
        };
    }
    Some(here)
}

/// Whether a list's item is the one that `[field=value]` names; without a field, the item itself is
/// compared.
fn is_element(item: &Node, field: &str, value: &str) -> bool {
    let text = if field.is_empty() {
        item.text()
    } else {
        item.get(field)
            .map(|value| value.text().unwrap_or_default())
    };
    text == Some(value)
}

/// What a missing value is created as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum New {
    Nothing,
    Scalar,
    Sequence,
    Mapping,
}

impl New {
    /// The same kind as a value.
    pub(crate) fn like(node: &Node) -> Self {
        match node {
            Node::Scalar(_) => Self::Scalar,
            Node::Sequence(_) => Self::Sequence,
            Node::Mapping(_) => Self::Mapping,
        }
    }

    fn node(self) -> Node {
        match self {
            Self::Nothing | Self::Scalar => Node::Scalar(Scalar {
                text: SmolStr::default(),
                tag: Tag::Str,
                style: Style::Plain,
                alias: None,
            }),
            Self::Sequence => Node::Sequence(Sequence::default()),
            Self::Mapping => Node::Mapping(Mapping::new()),
        }
    }
}

/// Whether a value was there before or has just been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Existing,
    Created,
}

/// What is done with each value that a path leads to.
pub(crate) type Visit<'v> = dyn FnMut(&mut Node, Found) -> Result<(), String> + 'v;

/// A step of a path for [`visit`], made ready once for many objects.
pub(crate) struct Prepared {
    step: String,
    /// That of `[field=value]`, or what is wrong with it.
    pattern: Option<Result<GoRegex, String>>,
}

/// Makes a path ready. What is wrong with a step counts when an object has a value for it.
pub(crate) fn prepare(steps: &[String]) -> Vec<Prepared> {
    let prepare = |step: &String| {
        let pattern = match Step::parse(step) {
            Ok(Step::Element { value, .. }) => {
                Some(GoRegex::new(value).map_err(|error| error.message().to_owned()))
            }
            Ok(Step::Index(_) | Step::Every | Step::Field(_)) | Err(_) => None,
        };
        let step = step.clone();
        Prepared { step, pattern }
    };
    steps.iter().map(prepare).collect()
}

/// Calls `visit` on every value that a path with wildcards leads to, and returns how many there
/// were. `[field=value]` takes `value` as an expression that must match somewhere in the text.
pub(crate) fn visit(
    node: &mut Node,
    steps: &[Prepared],
    new: New,
    limits: &Limits,
    visit: &mut Visit<'_>,
) -> Result<usize, String> {
    Visitor { new, limits, visit }.walk(node, steps, Found::Existing)
}

struct Visitor<'a, 'v> {
    new: New,
    limits: &'a Limits,
    visit: &'a mut Visit<'v>,
}

impl Visitor<'_, '_> {
    /// What a missing value becomes that the rest of the path leads through.
    fn container(&self, rest: &[Prepared]) -> Node {
        let next = rest.first().map(|next| next.step.as_str());
        Step::container(next, self.new)
    }

    fn walk(&mut self, node: &mut Node, steps: &[Prepared], found: Found) -> Result<usize, String> {
        let Some((Prepared { step, pattern }, rest)) = steps.split_first() else {
            (self.visit)(node, found)?;
            return Ok(1);
        };
        let is_null = node.is_null();
        let needs =
            |kind: &str, node: &Node| Err(format!("`{step}` needs {kind}, found {}", node.kind()));
        match Step::parse(step)? {
            Step::Index(_) | Step::Element { .. } | Step::Every if is_null => Ok(0),
            Step::Index(at) => match node {
                Node::Sequence(items) => self.index(items, at, rest),
                other @ (Node::Scalar(_) | Node::Mapping(_)) => needs("a list", other),
            },
            Step::Element { field, value } => match node {
                Node::Sequence(items) => match pattern {
                    Some(Ok(pattern)) => self.elements(items, (field, value), pattern, rest),
                    Some(Err(error)) => Err(error.clone()),
                    None => Ok(0),
                },
                other @ (Node::Scalar(_) | Node::Mapping(_)) => needs("a list", other),
            },
            Step::Every => match node {
                Node::Sequence(items) => {
                    let mut count = 0;
                    for item in items {
                        count += self.walk(item, rest, Found::Existing)?;
                    }
                    Ok(count)
                }
                other @ (Node::Scalar(_) | Node::Mapping(_)) => needs("a list", other),
            },
            Step::Field(name) => match node {
                Node::Mapping(map) => self.field(map, name, rest),
                Node::Scalar(_) if is_null && self.new == New::Nothing => Ok(0),
                other @ (Node::Scalar(_) | Node::Sequence(_)) => needs("a map", other),
            },
        }
    }

    fn field(&mut self, map: &mut Mapping, name: &str, rest: &[Prepared]) -> Result<usize, String> {
        let mut found = Found::Existing;
        if !map.contains(name) {
            if self.new == New::Nothing {
                return Ok(0);
            }
            found = Found::Created;
            map.insert(name, self.container(rest));
        }
        match map.get_mut(name) {
            Some(Node::Scalar(scalar)) if !rest.is_empty() && scalar.tag != Tag::Null => {
                // The text may hold YAML or JSON. A value in there counts as found, but a change
                // to it is lost: upstream changes a copy.
                let parsed =
                    parse::single(&scalar.text, "the text", Dialect::Resource, self.limits)
                        .map_err(|error| error.message().to_owned())?;
                let Some(mut parsed) = parsed else {
                    return Ok(0);
                };
                let (new, limits) = (self.new, self.limits);
                visit(&mut parsed.node, rest, new, limits, &mut |_, _| Ok(()))
            }
            Some(value) => self.walk(value, rest, found),
            None => Ok(0),
        }
    }

    fn index(
        &mut self,
        items: &mut Vec<Node>,
        at: usize,
        rest: &[Prepared],
    ) -> Result<usize, String> {
        let mut found = Found::Existing;
        if at == items.len() && self.new != New::Nothing {
            found = Found::Created;
            items.push(self.container(rest));
        }
        let length = items.len();
        let item = items
            .get_mut(at)
            .ok_or_else(|| format!("index {at} specified but only {length} elements found"))?;
        self.walk(item, rest, found)
    }

    fn elements(
        &mut self,
        items: &mut Vec<Node>,
        (field, value): (&str, &str),
        pattern: &GoRegex,
        rest: &[Prepared],
    ) -> Result<usize, String> {
        let mut count = self.matching_elements(items, field, pattern, rest)?;
        if count == 0 && self.new != New::Nothing {
            let made = Node::plain(value);
            items.push(if field.is_empty() {
                made
            } else {
                Node::Mapping([(field.to_owned(), made)].into_iter().collect())
            });
            count = self.matching_elements(items, field, pattern, rest)?;
        }
        Ok(count)
    }

    fn matching_elements(
        &mut self,
        items: &mut [Node],
        field: &str,
        pattern: &GoRegex,
        rest: &[Prepared],
    ) -> Result<usize, String> {
        let mut count = 0;
        for item in items {
            if field.is_empty() {
                if item.text().is_some_and(|text| pattern.is_match(text)) {
                    (self.visit)(item, Found::Existing)?;
                    count += 1;
                }
                continue;
            }
            let text = item.get(field).and_then(Node::text);
            if text.is_some_and(|text| pattern.is_match(text)) {
                count += self.walk(item, rest, Found::Existing)?;
            }
        }
        Ok(count)
    }
}
