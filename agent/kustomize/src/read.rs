//! Files to objects.

use std::sync::Arc;

use crate::error::{Place, RenderError};
use crate::id::{field_text, meta_text};
use crate::limits::Limits;
use crate::resource::{Origin, Resource};
use crate::yaml::parse::{self, Document};
use crate::yaml::{Node, json};

/// Reads the objects of a text. Lists are replaced by their items, which come after the other
/// objects of the text.
pub(crate) fn resources(
    text: &str,
    file: &str,
    limits: &Limits,
) -> Result<Vec<Resource>, RenderError> {
    let file_name: Arc<str> = file.into();
    let mut documents = parse::documents(text, file, limits)?;
    let is_list = |node: &Node| matches!(field_text(node, "kind"), "List" | "ResourceList");
    if let [Document { node, line }] = documents.as_mut_slice()
        && is_list(node)
        && let Some(Node::Sequence(items)) =
            node.as_mapping_mut().and_then(|list| list.remove("items"))
    {
        let line = *line;
        documents = items
            .into_iter()
            .map(|node| Document { node, line })
            .collect();
    }
    let mut queue: std::collections::VecDeque<Document> = documents.into();
    let mut found = Vec::new();
    while let Some(Document { node, line }) = queue.pop_front() {
        if node.is_null_or_empty() {
            continue;
        }
        let at = |message: String| {
            RenderError::malformed(message).at(Place::new(file, text, line as usize, 1))
        };
        check_identity(&node).map_err(|(message, hint)| at(message).hint(hint))?;
        if field_text(&node, "kind").ends_with("List") {
            match node.get("items") {
                Some(Node::Sequence(items)) => {
                    for item in items {
                        // Items go through JSON on their way.
                        let value = json::to_value(item).map_err(at)?;
                        queue.push_back(Document {
                            node: json::from_value(value),
                            line,
                        });
                    }
                    if queue.len() + found.len() > limits.objects {
                        return Err(Limits::exceeded(
                            "objects in one file",
                            limits.objects,
                            file,
                        ));
                    }
                    continue;
                }
                Some(other) if other.is_null() => continue,
                Some(other) => {
                    let kind = field_text(&node, "kind");
                    let message =
                        format!("expected a list in {kind}/items, found {}", other.kind());
                    return Err(at(message));
                }
                None => {}
            }
        }
        let origin = Origin {
            file: Arc::clone(&file_name),
            line,
        };
        found.push(Resource::new(node, origin));
    }
    Ok(found)
}

/// Every object has a kind and, lists apart, a name.
fn check_identity(node: &Node) -> Result<(), (String, &'static str)> {
    const HINT: &str = "every document of a resource file is one Kubernetes object";
    if node.as_mapping().is_none() {
        return Err((
            format!("expected a Kubernetes object, found {}", node.kind()),
            HINT,
        ));
    }
    let kind = node.get("kind").and_then(Node::value).unwrap_or_default();
    if kind.is_empty() {
        return Err(("missing kind in object".to_owned(), HINT));
    }
    if !kind.ends_with("List") && meta_text(node, "name").is_empty() {
        return Err((
            format!("missing metadata.name in object of kind {kind}"),
            HINT,
        ));
    }
    Ok(())
}
