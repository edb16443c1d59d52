//! A kustomization and where it is.

use crate::error::Place;
use crate::kustomization::Kustomization;
use crate::resource::Origin;
use crate::yaml::parse;

/// A folder with a kustomization.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Path in the tree, without links.
    pub(crate) root: String,
    /// Path of the kustomization file in the tree.
    pub(crate) file: String,
    /// Its name.
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) kustomization: Kustomization,
    /// The folders that led here, outermost first.
    pub(crate) ancestors: Vec<String>,
    /// Path as seen from the top kustomization, for `buildMetadata`.
    pub(crate) shown: String,
}

impl Folder {
    /// The place of an entry in the kustomization file.
    pub(crate) fn place(&self, path: &[&str]) -> Place {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        parse::locate(&self.text, &self.file, &path).unwrap_or_else(|| Place::file_only(&self.file))
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            file: self.file.as_str().into(),
            line: 0,
        }
    }

    /// Path of the kustomization file as seen from the top one.
    pub(crate) fn shown_file(&self) -> String {
        join(&self.shown, self.name)
    }
}

/// Go's `filepath.Join` for a path that may start with `..`.
pub(crate) fn join(base: &str, path: &str) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for step in base.split('/').chain(path.split('/')) {
        match step {
            "" | "." => {}
            ".." if steps.last().is_some_and(|last| *last != "..") => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}
