//! What of a build error may be shown to everybody who can read a Sync, its Events or the log.
//!
//! The renderer quotes the line at fault, and its words may repeat a value. Where that value can be a
//! secret, only the place is kept. The line itself is never shown: the place says where to look.

use kustomize::{ErrorKind, RenderError, Tree};

/// All errors of a build as `file:line:column: what`, one after the other, with hints.
pub(super) fn shown(error: &RenderError, tree: &dyn Tree) -> String {
    let lines: Vec<String> = error.all().map(|one| line(one, tree)).collect();
    lines.join("\n")
}

fn line(error: &RenderError, tree: &dyn Tree) -> String {
    let file = error.place().map(kustomize::Place::file);
    let quotes = match error.kind() {
        ErrorKind::Malformed | ErrorKind::Invalid => true,
        ErrorKind::Missing | ErrorKind::Refused | ErrorKind::Limit | ErrorKind::Tree => false,
    };
    let what = if quotes && file.is_some_and(|file| may_be_secret(file, tree)) {
        "this is not valid (details withheld: the file may hold secrets)"
    } else {
        error.message()
    };
    let mut text = match error.place() {
        Some(place) => format!("{place}: {what}"),
        None => what.to_owned(),
    };
    if let Some(hint) = error.hint_text() {
        text = format!("{text}\nhint: {hint}");
    }
    text
}

/// A file that declares or generates Secrets, or that is no manifest and may be the source of one.
fn may_be_secret(file: &str, tree: &dyn Tree) -> bool {
    let manifest = [".yaml", ".yml", ".json", "Kustomization"]
        .iter()
        .any(|end| file.ends_with(end));
    let Ok(bytes) = tree.read(file) else {
        return true;
    };
    let text = String::from_utf8_lossy(&bytes);
    let declares = |line: &str| line.contains("kind") && line.contains("Secret");
    !manifest || text.contains("secretGenerator") || text.lines().any(declares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kustomize::{MemoryTree, Options};

    fn error(name: &str, text: &str) -> String {
        let mut tree = MemoryTree::new();
        tree.add_file("kustomization.yaml", format!("resources: [{name}]"));
        tree.add_file(name, text);
        let error = kustomize::render(&tree, "", &Options::default()).unwrap_err();
        shown(&error, &tree)
    }

    #[test]
    fn tells_the_place_and_keeps_secrets() {
        let plain = error("map.yaml", "kind: ConfigMap\ndata: {a: [}\n");
        assert!(
            plain.contains("map.yaml:2:") && !plain.contains("withheld"),
            "{plain}"
        );
        let secret = error("s.yaml", "kind: Secret\nstringData: {a: canary]\n");
        assert!(
            secret.contains("s.yaml:2:") && secret.contains("withheld"),
            "{secret}"
        );
        assert!(!secret.contains("canary"), "{secret}");
    }
}
