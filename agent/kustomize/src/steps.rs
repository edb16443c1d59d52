//! Running one transformer: loading what it names, then changing the objects.

use std::sync::Arc;

use crate::build::Build;
use crate::decode::{Decode as _, Unknown};
use crate::error::RenderError;
use crate::folder::Folder;
use crate::kustomization::{ReplacementField, decode_failed};
use crate::plugin::{PatchSource, Transformer, ValueTarget, ValueTargets};
use crate::read;
use crate::resource_map::ResourceMap;
use crate::transform::namespace::NamespaceChange;
use crate::transform::patch::{self, PatchText};
use crate::transform::rename::{self, Affix};
use crate::transform::{hash, images, replacement, replicas, text_map, value_add};
use crate::yaml::Node;
use crate::yaml::parse::{self, Dialect};

/// The transformers of one kustomization.
pub(crate) struct Steps<'b, 't> {
    pub(crate) build: &'b Build<'t>,
    pub(crate) folder: &'b Folder,
}

impl Steps<'_, '_> {
    /// Runs one transformer.
    pub(crate) fn run(
        &self,
        transformer: Transformer,
        objects: &mut ResourceMap,
    ) -> Result<(), RenderError> {
        let schema = Arc::clone(&self.build.schema);
        match transformer {
            Transformer::TextMap(pairs, specs) => text_map::apply(objects, &pairs, &specs),
            Transformer::Hash => hash::apply(objects, &schema),
            Transformer::Image(image, specs) => images::apply(objects, &image, &specs),
            Transformer::Namespace {
                namespace,
                specs,
                existing,
                subjects,
            } => {
                let change = NamespaceChange {
                    namespace: &namespace,
                    specs: &specs,
                    existing,
                    subjects,
                };
                change.apply(objects, &schema)
            }
            Transformer::Json6902 { patch, target } => {
                let limits = &self.build.options.limits;
                let (file, text) = self.patch_text(&patch)?;
                let patch = PatchText {
                    text: &text,
                    file: &file,
                };
                patch::apply_json6902(objects, patch, target.as_ref(), &schema, limits)
            }
            Transformer::StrategicMerge(entries) => self.strategic_merge(&entries, objects),
            Transformer::Patch {
                patch,
                target,
                options,
            } => {
                let PatchSource { path, text } = patch;
                let patch = PatchSource {
                    path,
                    text: text.trim().to_owned(),
                };
                let limits = &self.build.options.limits;
                let (file, text) = self.patch_text(&patch)?;
                let patch = PatchText {
                    text: &text,
                    file: &file,
                };
                patch::apply(objects, patch, target.as_ref(), &options, &schema, limits)
            }
            Transformer::Prefix(prefix, specs) => {
                rename::apply(objects, Affix::Prefix(&prefix), &specs, &schema)
            }
            Transformer::Suffix(suffix, specs) => {
                rename::apply(objects, Affix::Suffix(&suffix), &specs, &schema)
            }
            Transformer::Replacements(list) => self.replacements(&list, objects),
            Transformer::Replica(replica, specs) => {
                replicas::apply(objects, &replica, &specs, &schema)
            }
            Transformer::ValueAdd {
                value,
                targets,
                target_file,
            } => self.value_add(value, targets, &target_file, objects),
        }
    }

    /// The text of a patch, and what to call it in errors.
    fn patch_text(&self, patch: &PatchSource) -> Result<(String, String), RenderError> {
        match (patch.path.as_str(), patch.text.as_str()) {
            ("", "") => Err(RenderError::invalid("must specify one of patch and path")),
            ("", text) => Ok((format!("{} (inline)", self.folder.file), text.to_owned())),
            (file, "") => {
                let (found, text) = self.build.loader.load_text(&self.folder.root, file)?;
                Ok((found, text.into_owned()))
            }
            _ => Err(RenderError::invalid(
                "patch and path can't be set at the same time",
            )),
        }
    }

    /// Entries are patches themselves, or the paths of files.
    fn strategic_merge(
        &self,
        entries: &[String],
        objects: &mut ResourceMap,
    ) -> Result<(), RenderError> {
        let limits = &self.build.options.limits;
        let mut patches = Vec::new();
        for entry in entries {
            if let Ok(inline) = read::resources(entry, &self.folder.file, limits) {
                patches.extend(inline);
            } else {
                let (file, text) = self.build.loader.load_text(&self.folder.root, entry)?;
                patches.extend(read::resources(&text, &file, limits)?);
            }
        }
        if patches.is_empty() {
            return Err(RenderError::invalid("patch appears to be empty"));
        }
        patch::apply_strategic_merge(objects, patches, &self.build.schema)
    }

    fn replacements(
        &self,
        list: &[ReplacementField],
        objects: &mut ResourceMap,
    ) -> Result<(), RenderError> {
        let limits = &self.build.options.limits;
        for (number, entry) in list.iter().enumerate() {
            let place = || self.folder.place(&["replacements", &number.to_string()]);
            let loaded;
            let replacements = if entry.path.is_empty() {
                std::slice::from_ref(entry)
            } else {
                if entry.source.is_some() || entry.targets.as_ref().is_some_and(|t| !t.is_empty()) {
                    return Err(RenderError::invalid(
                        "cannot specify both path and inline replacement",
                    )
                    .at(place()));
                }
                loaded = self
                    .replacement_file(&entry.path)
                    .map_err(|error| error.at(place()))?;
                &loaded
            };
            for replacement in replacements {
                replacement::apply(objects, replacement, &self.build.schema, limits)
                    .map_err(|error| error.at(place()))?;
            }
        }
        Ok(())
    }

    /// A file holds one replacement or a list of them.
    fn replacement_file(&self, path: &str) -> Result<Vec<ReplacementField>, RenderError> {
        let (file, text) = self.build.loader.load_text(&self.folder.root, path)?;
        let limits = &self.build.options.limits;
        let node = parse::single(&text, &file, Dialect::Configuration, limits)?
            .map_or_else(Node::null, |document| document.node);
        let failed = |faults| decode_failed(faults, &text, &file, "invalid replacement");
        match &node {
            Node::Sequence(_) => Vec::decode(&node, Unknown::Ignored).map_err(failed),
            Node::Mapping(_) => ReplacementField::decode(&node, Unknown::Ignored)
                .map(|one| vec![one])
                .map_err(failed),
            Node::Scalar(_) => Err(RenderError::invalid(format!(
                "unsupported replacement type encountered within replacement path: {}",
                node.kind()
            ))),
        }
    }

    fn value_add(
        &self,
        value: String,
        mut targets: Vec<ValueTarget>,
        target_file: &str,
        objects: &mut ResourceMap,
    ) -> Result<(), RenderError> {
        let limits = &self.build.options.limits;
        let root = self.folder.root.as_str();
        // Without a value, the name of the folder is the value.
        let value = if value.is_empty() {
            root.rsplit('/').next().unwrap_or(root).to_owned()
        } else {
            value
        };
        if !target_file.is_empty() {
            let (file, text) = self.build.loader.load_text(root, target_file)?;
            if let Some(document) = parse::single(&text, &file, Dialect::Configuration, limits)? {
                let more = ValueTargets::decode(&document.node, Unknown::Ignored)
                    .map_err(|faults| decode_failed(faults, &text, &file, "invalid targets"))?;
                targets.extend(more.targets);
            }
        }
        if targets.is_empty() {
            return Err(RenderError::invalid("must specify at least one target"));
        }
        for target in &targets {
            value_add::apply(objects, &value, target, &self.build.schema)?;
        }
        Ok(())
    }
}
