//! Image names, tags and digests.

use crate::chain::{Reach, Step};
use crate::error::RenderError;
use crate::field_path::{self, Create};
use crate::field_spec::FieldSpec;
use crate::go_regex::GoRegex;
use crate::kustomization::Image;
use crate::resource::edit;
use crate::yaml::Node;

/// Changes one image wherever it is used: in every list of containers at any depth, then in the
/// fields that the specs name.
pub(crate) fn step(image: Image, specs: Vec<FieldSpec>) -> Step<'static> {
    let change = Change::new(image.clone());
    Step::new("image", &(image, specs.clone()), move |object| {
        if object.kind() == "CustomResourceDefinition" {
            return Ok(Reach::Passed);
        }
        let object = edit(object);
        let gvk = object.gvk();
        let containers = if change.concerns(&object.node) {
            change.in_containers(&mut object.node)
        } else {
            Ok(())
        };
        containers
            .and_then(|()| {
                specs.iter().try_for_each(|spec| {
                    field_path::apply(&mut object.node, &gvk, spec, Create::Never, &mut |node| {
                        change.set(node)
                    })
                })
            })
            .map_err(|error| {
                RenderError::invalid(format!(
                    "cannot set image {} in {}: {error}",
                    change.image.name,
                    object.describe()
                ))
            })?;
        Ok(Reach::Touched)
    })
}

struct Change {
    image: Image,
    /// `None` if the name makes no expression: then it matches nothing.
    pattern: Option<GoRegex>,
}

impl Change {
    fn new(image: Image) -> Self {
        // The name is a part of the expression: upstream does not escape it.
        let pattern = GoRegex::new(&format!(
            "^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$",
            image.name
        ))
        .ok();
        Self { image, pattern }
    }

    /// Whether [`Change::in_containers`] would find anything to do or to complain about. Most
    /// images are not in most objects, and looking costs less than walking for changes.
    fn concerns(&self, node: &Node) -> bool {
        let is_image = |image: &Node| image.text().is_none_or(|image| self.is_for(image));
        let is_container = |container: &Node| match container {
            Node::Mapping(map) => map.get("image").is_some_and(is_image),
            other @ (Node::Scalar(_) | Node::Sequence(_)) => !other.is_null(),
        };
        match node {
            Node::Scalar(_) => false,
            Node::Sequence(items) => items.iter().any(|item| self.concerns(item)),
            Node::Mapping(map) => map.iter().any(|(key, value)| match value {
                Node::Scalar(_) => false,
                Node::Sequence(items)
                    if matches!(key, "containers" | "initContainers")
                        && items.iter().any(is_container) =>
                {
                    true
                }
                Node::Sequence(_) | Node::Mapping(_) => self.concerns(value),
            }),
        }
    }

    fn is_for(&self, image: &str) -> bool {
        let pattern = self.pattern.as_ref();
        pattern.is_some_and(|pattern| pattern.is_match(image))
    }

    fn in_containers(&self, node: &mut Node) -> Result<(), String> {
        match node {
            Node::Scalar(_) => Ok(()),
            Node::Sequence(items) => items
                .iter_mut()
                .try_for_each(|item| self.in_containers(item)),
            Node::Mapping(map) => {
                for (key, value) in map.iter_mut() {
                    self.in_containers(value)?;
                    if !matches!(key, "containers" | "initContainers") {
                        continue;
                    }
                    let Node::Sequence(containers) = value else {
                        continue;
                    };
                    for container in containers {
                        match container {
                            Node::Mapping(map) => {
                                if let Some(image) = map.get_mut("image") {
                                    self.set(image)?;
                                }
                            }
                            other @ (Node::Scalar(_) | Node::Sequence(_)) => {
                                if !other.is_null() {
                                    return Err(format!("a container is {}", other.kind()));
                                }
                            }
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn set(&self, node: &mut Node) -> Result<(), String> {
        let Node::Scalar(scalar) = node else {
            return Err(format!("an image is {}", node.kind()));
        };
        if self.is_for(&scalar.text) {
            let changed = self.changed(&scalar.text);
            scalar.set_text(changed);
        }
        Ok(())
    }

    fn changed(&self, text: &str) -> String {
        let Image {
            name: _,
            new_name,
            tag_suffix,
            new_tag,
            digest: new_digest,
        } = &self.image;
        let (name, tag, digest) = split(text);
        let name = if new_name.is_empty() { name } else { new_name };
        let (tag, digest) = match (new_tag.as_str(), new_digest.as_str(), tag_suffix.as_str()) {
            ("", "", "") => (tag.to_owned(), digest),
            ("", "", suffix) => (format!("{tag}{suffix}"), ""),
            (new_tag, new_digest, _) => (new_tag.to_owned(), new_digest),
        };
        let mut changed = name.to_owned();
        for (mark, part) in [(':', tag.as_str()), ('@', digest)] {
            if !part.is_empty() {
                changed.push(mark);
                changed.push_str(part);
            }
        }
        changed
    }
}

/// Name, tag and digest of an image; a colon before the first slash belongs to a port.
fn split(image: &str) -> (&str, &str, &str) {
    let host = image.find('/').unwrap_or(0);
    let tail = image.get(host..).unwrap_or_default();
    let find = |mark: char| tail.find(mark).map(|at| at + host);
    let part = |from: usize, to: usize| image.get(from..to).unwrap_or_default();
    match (find(':'), find('@')) {
        (None, None) => (image, "", ""),
        (Some(colon), None) => (part(0, colon), part(colon + 1, image.len()), ""),
        (Some(colon), Some(at)) if colon < at => (
            part(0, colon),
            part(colon + 1, at),
            part(at + 1, image.len()),
        ),
        (_, Some(at)) => (part(0, at), "", part(at + 1, image.len())),
    }
}
