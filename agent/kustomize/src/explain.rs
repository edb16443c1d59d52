//! Which step of a build changed what.

use crate::resource::Resource;
use crate::yaml::Node;

/// Fields named for one step and object; the rest is counted.
const SHOWN: usize = 20;

/// Notes on an object the step and the fields that it changed, never their values: those may be
/// secrets.
pub(crate) fn note(step: &str, before: &Node, object: &mut Resource) {
    let mut changed = Vec::new();
    compare(before, &object.node, &mut String::new(), &mut changed);
    if changed.is_empty() {
        return;
    }
    let more = changed.len().saturating_sub(SHOWN);
    changed.truncate(SHOWN);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    object
        .trace
        .push(format!("{step}: {}{rest}", changed.join(", ")));
}

fn compare(before: &Node, after: &Node, path: &mut String, changed: &mut Vec<String>) {
    let length = path.len();
    match (before, after) {
        (Node::Mapping(old), Node::Mapping(new)) => {
            let added = new
                .iter()
                .filter(|(key, _)| !old.contains(key))
                .map(|(key, _)| key);
            for key in old.iter().map(|(key, _)| key).chain(added) {
                path.push_str(if length == 0 { "" } else { "." });
                path.push_str(key);
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => compare(old, new, path, changed),
                    _ => changed.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        (Node::Sequence(old), Node::Sequence(new)) if old.len() == new.len() => {
            for (number, (old, new)) in old.iter().zip(new.iter()).enumerate() {
                path.extend(["[", &number.to_string(), "]"]);
                compare(old, new, path, changed);
                path.truncate(length);
            }
        }
        (Node::Scalar(old), Node::Scalar(new)) if old.text == new.text && old.tag == new.tag => {}
        _ => changed.push(path.clone()),
    }
}
