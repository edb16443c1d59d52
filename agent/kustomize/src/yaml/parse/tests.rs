//! The reader of manifests beside the general one.

use super::*;
use crate::digest::{self, Key};

/// Damaged documents compared; every document is compared as it is.
const DAMAGED: usize = 20_000;

/// The documents of all cases.
fn documents() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut paths: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let text = fs_err::read_to_string(path).unwrap();
        let mut document = String::new();
        for line in text.split_inclusive('\n') {
            if line.starts_with("-- ") || line.starts_with("---") {
                documents.push(std::mem::take(&mut document));
            } else {
                document.push_str(line);
            }
        }
        documents.push(document);
    }
    documents.sort();
    documents.dedup();
    documents
}

/// Everything that the rest of the build can see of a document.
fn seen(document: &Document) -> (Key, u32) {
    (digest::of_tree(&document.node), document.line)
}

/// Compares the readers; whether the reader of manifests took the text.
fn agree(text: &str) -> bool {
    let limits = Limits {
        nodes: 500,
        depth: 12,
        scalar_bytes: 2_000,
        ..Limits::default()
    };
    let Some(quick) = manifest::read(text, 7, &limits) else {
        return false;
    };
    let first_line = 7;
    let found = general(Chunk { text, first_line }, "file", &limits);
    match found {
        Ok(Some(found)) => assert_eq!(
            seen(&quick),
            seen(&found),
            "read differently:\n{text}\n{quick:?}\n{found:?}"
        ),
        Ok(None) => panic!("the general reader finds nothing:\n{text}"),
        Err(error) => panic!("the general reader says {error}:\n{text}"),
    }
    true
}

#[test]
fn manifests_are_read_as_by_the_general_reader() {
    let documents = documents();
    let taken = documents.iter().filter(|text| agree(text)).count();
    assert!(
        taken * 2 > documents.len(),
        "only {taken} of {} documents are taken",
        documents.len()
    );
}

#[test]
fn damaged_manifests_are_read_as_by_the_general_reader() {
    const PIECES: [&str; 36] = [
        " ", "  ", "\n", "\n\n", "\n ", "\n  ", "- ", "-", ":", ": ", "#", " #", "'", "\"", "{}",
        "[]", "[", "{a: b}", "|", "|-\n", "|+\n", ">", "&a ", "*a", "!!str ", "? ", "%", "...\n",
        "---\n", "~", "null", "12", "\t", "é", "<<: ", "a: b\n",
    ];
    let documents: Vec<String> = documents()
        .into_iter()
        .filter(|text| (1..4_000).contains(&text.len()) && agree(text))
        .collect();
    let mut state = 1_usize;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut taken = 0;
    for _ in 0..DAMAGED {
        let mut text = documents[below(documents.len())].clone();
        for _ in 0..=below(3) {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let line = below(lines.len().max(1));
            let start: usize = lines.iter().take(line).map(|line| line.len()).sum();
            let length = lines.get(line).map_or(0, |line| line.len());
            let mut at = start + below(length + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match below(4) {
                0 => text.insert_str(at, PIECES[below(PIECES.len())]),
                1 => text.insert_str(start, PIECES[below(6)]),
                2 => {
                    text = lines
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| *at != line)
                        .map(|(_, line)| *line)
                        .collect();
                }
                _ => {
                    let end = (at + 1..=text.len()).find(|end| text.is_char_boundary(*end));
                    text.replace_range(at..end.unwrap_or(at), PIECES[below(PIECES.len())]);
                }
            }
        }
        taken += usize::from(agree(&text));
    }
    assert!(taken > DAMAGED / 10, "only {taken} are taken");
}
