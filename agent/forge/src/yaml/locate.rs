//! Finds the scalar that a rule means: exactly one, or an error that says where the others are.

use granit_parser::ScalarStyle;

use super::field_path::{FieldPath, Step};
use super::tree::{Node, Scalar};
use super::{EditError, FieldRule};
use crate::image::{ImageName, ImageReference};

/// What a scalar holds.
enum Holds {
    /// A tag alone, or an image with one.
    Any,
    /// A tag.
    Tag,
    /// An image with a tag.
    Image,
}

/// A place that a rule may mean.
struct Place<'a> {
    node: &'a Node,
    holds: Holds,
    /// Why it cannot be edited, whatever it holds.
    obstacle: Option<&'static str>,
}

/// Returns the scalar, what stands in it before the tag, and the tag.
pub(super) fn locate(
    file: &str,
    documents: &[Node],
    rule: &FieldRule,
) -> Result<(Scalar, String, String), EditError> {
    let mut places = Vec::new();
    for document in documents {
        match rule {
            FieldRule::Path(path) => follow(document, &path.steps, &mut places),
            FieldRule::Image(image) => search(document, image, &mut places),
        }
    }
    let what = match rule {
        FieldRule::Path(path) => describe(path),
        FieldRule::Image(image) => format!("tag of the image {image}"),
    };
    let file = file.to_owned();
    let place = match places.as_slice() {
        [] => return Err(EditError::NotFound { file, what }),
        [place] => place,
        several => {
            let lines: Vec<String> = several
                .iter()
                .map(|place| first_line(place.node).to_string())
                .collect();
            let lines = lines.join(", ");
            return Err(EditError::Ambiguous { file, what, lines });
        }
    };
    let unusable = |line: usize, problem: &str| EditError::Unusable {
        file: file.clone(),
        line,
        problem: problem.to_owned(),
    };
    let scalar = match place.node {
        Node::Scalar(scalar) => scalar,
        Node::Alias(line) => {
            return Err(unusable(
                *line,
                "the value is an alias, and so shared; hint: name the place of its anchor with keyPath",
            ));
        }
        Node::Mapping(_) | Node::Sequence(_) => {
            let problem = "the value is no scalar; hint: keyPath must end at the tag";
            return Err(unusable(first_line(place.node), problem));
        }
    };
    if let Some(obstacle) = place.obstacle {
        return Err(unusable(scalar.line, obstacle));
    }
    if matches!(scalar.style, ScalarStyle::Literal | ScalarStyle::Folded) {
        let problem = "the value is a block scalar; hint: write it on one line";
        return Err(unusable(scalar.line, problem));
    }
    let reference = ImageReference::split(&scalar.text);
    let is_image = match place.holds {
        Holds::Tag => false,
        Holds::Image => true,
        Holds::Any => scalar.text.contains(['/', ':', '@']),
    };
    if !is_image {
        return Ok((scalar.clone(), String::new(), scalar.text.clone()));
    }
    match reference {
        ImageReference {
            digest: Some(_), ..
        } => Err(unusable(scalar.line, PINNED)),
        ImageReference {
            name,
            tag: Some(tag),
            digest: None,
        } => Ok((scalar.clone(), format!("{name}:"), tag.to_owned())),
        ImageReference {
            tag: None,
            digest: None,
            ..
        } => Err(unusable(
            scalar.line,
            "the image has no tag; hint: write one, as in :1.11.1",
        )),
    }
}

const PINNED: &str =
    "the image is pinned by its digest, which this program does not update; hint: use a tag";

fn describe(path: &FieldPath) -> String {
    format!("value at {path}")
}

/// Line on which a value begins; 0 for an empty collection.
fn first_line(node: &Node) -> usize {
    match node {
        Node::Scalar(scalar) => scalar.line,
        Node::Alias(line) => *line,
        Node::Mapping(entries) => entries.first().map_or(0, |(key, _)| first_line(key)),
        Node::Sequence(elements) => elements.first().map_or(0, first_line),
    }
}

/// Collects what a path leads to. A key that is there twice leads to both.
fn follow<'a>(node: &'a Node, steps: &[Step], places: &mut Vec<Place<'a>>) {
    let Some((step, rest)) = steps.split_first() else {
        places.push(Place {
            node,
            holds: Holds::Any,
            obstacle: None,
        });
        return;
    };
    match (step, node) {
        (Step::Key(wanted), Node::Mapping(entries)) => {
            for (_, value) in entries.iter().filter(|(key, _)| key.is(wanted)) {
                follow(value, rest, places);
            }
        }
        (Step::Key(wanted), Node::Sequence(elements)) => {
            let index = wanted.parse::<usize>().ok();
            if let Some(element) = index.and_then(|index| elements.get(index)) {
                follow(element, rest, places);
            }
        }
        (Step::Match { key, value }, Node::Sequence(elements)) => {
            for element in elements {
                if element.get(key).is_some_and(|found| found.is(value)) {
                    follow(element, rest, places);
                }
            }
        }
        (Step::Match { .. }, Node::Mapping(_)) | (_, Node::Scalar(_) | Node::Alias(_)) => {}
    }
}

/// Collects every place that gives an image its tag.
fn search<'a>(node: &'a Node, image: &ImageName, places: &mut Vec<Place<'a>>) {
    match node {
        Node::Mapping(entries) => {
            let named = |key: &str| {
                let text = node.get(key).and_then(Node::text)?;
                Some(ImageName::parse(text).is_ok_and(|name| name == *image))
            };
            // In a kustomization a new name decides which image it becomes.
            let kustomize = named("newName").or_else(|| named("name")) == Some(true);
            let helm = named("repository") == Some(true);
            let pinned = node.get("digest").is_some_and(|digest| !digest.is(""));
            for (key, value) in entries {
                let holds = match key.text() {
                    Some("newTag") if kustomize => Holds::Tag,
                    Some("tag") if helm => Holds::Tag,
                    Some("image") if is_of(value, image) => Holds::Image,
                    Some(_) | None => {
                        search(value, image, places);
                        continue;
                    }
                };
                let pinned = pinned && matches!(holds, Holds::Tag);
                places.push(Place {
                    node: value,
                    holds,
                    obstacle: pinned.then_some(PINNED),
                });
            }
        }
        Node::Sequence(elements) => {
            for element in elements {
                search(element, image, places);
            }
        }
        Node::Scalar(_) | Node::Alias(_) => {}
    }
}

/// Whether a value is an image of this name that has a tag or digest.
fn is_of(value: &Node, image: &ImageName) -> bool {
    value.text().is_some_and(|text| {
        let ImageReference { name, tag, digest } = ImageReference::split(text);
        (tag.is_some() || digest.is_some())
            && ImageName::parse(name).is_ok_and(|found| found == *image)
    })
}
