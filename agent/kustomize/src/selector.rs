//! Which objects a patch, replacement or value applies to.

use std::collections::HashMap;

use crate::error::RenderError;
use crate::go_regex::GoRegex;
use crate::id::{Gvk, ResourceId};
use crate::kustomization::Selector;
use crate::resource::Resource;
use crate::schema::Schema;

/// A selector ready for use: each part is an expression that must match as a whole, an empty part
/// matches anything.
#[derive(Debug)]
pub(crate) struct Matcher {
    group: Part,
    version: Part,
    kind: Part,
    name: Part,
    namespace: Part,
    annotations: LabelSelector,
    labels: LabelSelector,
    /// Whether any of the five parts says something.
    has_id: bool,
}

#[derive(Debug)]
enum Part {
    Any,
    /// Plain characters, nearly always.
    Text(String),
    Pattern(GoRegex),
}

impl Part {
    fn new(pattern: &str) -> Result<Self, RenderError> {
        let literal = pattern
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte));
        Ok(if pattern.is_empty() {
            Self::Any
        } else if literal {
            Self::Text(pattern.to_owned())
        } else {
            Self::Pattern(GoRegex::anchored(pattern)?)
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(wanted) => wanted == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

impl Matcher {
    pub(crate) fn new(selector: &Selector) -> Result<Self, RenderError> {
        let Selector {
            group,
            version,
            kind,
            name,
            namespace,
            annotations,
            labels,
        } = selector;
        let parts = [group, version, kind, name, namespace];
        Ok(Self {
            group: Part::new(group)?,
            version: Part::new(version)?,
            kind: Part::new(kind)?,
            name: Part::new(name)?,
            namespace: Part::new(namespace)?,
            annotations: LabelSelector::parse(annotations)?,
            labels: LabelSelector::parse(labels)?,
            has_id: parts.iter().any(|part| !part.is_empty()),
        })
    }

    pub(crate) fn matches_gvk(&self, gvk: &Gvk) -> bool {
        self.group.matches(&gvk.group)
            && self.version.matches(&gvk.version)
            && self.kind.matches(&gvk.kind)
    }

    /// Whether one id has the name, namespace and kind asked for. `namespace` is the one written
    /// in the object, which may be empty.
    pub(crate) fn matches_id(&self, id: &ResourceId, namespace: &str) -> bool {
        self.matches_gvk(&id.gvk)
            && self.name.matches(&id.name)
            && self.namespace.matches(namespace)
    }

    pub(crate) fn has_id(&self) -> bool {
        self.has_id
    }

    pub(crate) fn has_labels(&self) -> bool {
        !(self.annotations.0.is_empty() && self.labels.0.is_empty())
    }

    pub(crate) fn matches_labels(&self, object: &Resource) -> bool {
        self.labels.matches(|key| object.label(key))
            && self.annotations.matches(|key| object.annotation(key))
    }

    /// Whether a patch or value with this selector applies: name and namespace may be the
    /// original or the current one, those in between do not count.
    pub(crate) fn selects(&self, object: &Resource, schema: &Schema) -> bool {
        if !self.kind.matches(object.kind()) || !self.matches_gvk(&object.gvk()) {
            return false;
        }
        let current = object.id(schema);
        let original = object.original_id(schema);
        (self.namespace.matches(&original.namespace) || self.namespace.matches(&current.namespace))
            && (self.name.matches(&original.name) || self.name.matches(&current.name))
            && self.matches_labels(object)
    }
}

/// A Kubernetes label selector: requirements that must all hold.
#[derive(Debug, Default)]
struct LabelSelector(Vec<Requirement>);

#[derive(Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    fn parse(text: &str) -> Result<Self, RenderError> {
        let wrong = |why: &str| {
            RenderError::invalid(format!("`{text}` is no label selector: {why}"))
                .hint("write it like `app=web,tier in (a, b),!legacy`")
        };
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err(wrong("a requirement is empty"));
            }
            let requirement = requirement(part).ok_or_else(|| wrong("it does not parse"))?;
            if !is_label_key(&requirement.key) {
                return Err(wrong("a key is not a label name"));
            }
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }

    fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        let mut seen = HashMap::new();
        self.0.iter().all(|Requirement { key, test }| {
            let value = *seen.entry(key.as_str()).or_insert_with(|| value(key));
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
                Test::Greater(bound) => number().is_some_and(|number| number > *bound),
                Test::Less(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement {
            key: key.trim().to_owned(),
            test: Test::Missing,
        });
    }
    let end = part
        .find(|c: char| c.is_whitespace() || "=!<>(".contains(c))
        .unwrap_or(part.len());
    let (key, rest) = part.split_at_checked(end)?;
    let rest = rest.trim();
    let value = |text: &str| {
        let text = text.trim();
        (!text.contains(|c: char| c.is_whitespace() || "=!<>()".contains(c)))
            .then(|| text.to_owned())
    };
    let test = if rest.is_empty() {
        Test::Exists
    } else if let Some(set) = rest.strip_prefix("notin") {
        Test::NotIn(set_values(set)?)
    } else if let Some(set) = rest.strip_prefix("in") {
        Test::In(set_values(set)?)
    } else if let Some(wanted) = rest.strip_prefix("!=") {
        Test::NotIn(vec![value(wanted)?])
    } else if let Some(wanted) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        Test::In(vec![value(wanted)?])
    } else if let Some(bound) = rest.strip_prefix('>') {
        Test::Greater(bound.trim().parse().ok()?)
    } else if let Some(bound) = rest.strip_prefix('<') {
        Test::Less(bound.trim().parse().ok()?)
    } else {
        return None;
    };
    Some(Requirement {
        key: key.to_owned(),
        test,
    })
}

fn set_values(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(
        inner
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect(),
    )
}

/// `[prefix/]name`, as Kubernetes takes them.
fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) if !prefix.is_empty() => name,
        Some(_) => return false,
        None => key,
    };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.iter().copied().all(inner)
        && ends(bytes.first())
        && ends(bytes.last())
}
