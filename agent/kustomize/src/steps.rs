//! From the transformers of a kustomization to the steps that run: loading what they name.

use crate::build::Build;
use crate::chain::{Chain, Failed, Label, Step};
use crate::decode::{Decode as _, Unknown};
use crate::environment::Environment;
use crate::error::RenderError;
use crate::folder::Folder;
use crate::kustomization::{PatchOptions, ReplacementField, Selector, decode_failed};
use crate::plugin::{PatchSource, Transformer, ValueTarget, ValueTargets};
use crate::provenance::{self, Agent};
use crate::read;
use crate::resource_map::ResourceMap;
use crate::transform::patch::{self, Named, PatchText, Patches};
use crate::transform::rename::{self, Affix};
use crate::transform::{hash, images, replacement, replicas, text_map, value_add};
use crate::yaml::Node;
use crate::yaml::parse::{self, Dialect};

/// The transformers of one kustomization, on their way to its objects. Steps wait as long as they
/// can, so that many run together.
pub(crate) struct Steps<'b, 't> {
    build: &'b Build<'t>,
    folder: &'b Folder,
    objects: &'b mut ResourceMap,
    chain: Chain<'static>,
    /// Whether each transformer is recorded on the objects.
    records: bool,
}

impl<'b, 't> Steps<'b, 't> {
    pub(crate) fn new(
        build: &'b Build<'t>,
        folder: &'b Folder,
        objects: &'b mut ResourceMap,
    ) -> Self {
        Self {
            build,
            folder,
            objects,
            chain: Chain::new(build.options.trace),
            records: build.recorded.any,
        }
    }

    /// Steps that nobody will see, because they must change nothing.
    pub(crate) fn validating(
        build: &'b Build<'t>,
        folder: &'b Folder,
        objects: &'b mut ResourceMap,
    ) -> Self {
        Self {
            records: false,
            ..Self::new(build, folder, objects)
        }
    }

    /// Adds one transformer, configured by `agent` in a field of the kustomization.
    pub(crate) fn add(
        &mut self,
        transformer: Transformer,
        agent: &Agent,
        field: Vec<String>,
    ) -> Result<(), RenderError> {
        let title = format!("{} of {}", agent.kind, self.folder.file);
        self.chain.label(Label { title, field });
        if let Err(failed) = self.prepare(transformer) {
            let failed = self.chain.labelled(failed);
            // What waits comes before what failed.
            self.run().map_err(|earlier| self.placed(earlier))?;
            return Err(self.placed(failed));
        }
        if self.records {
            self.chain.push(provenance::step(agent));
        }
        Ok(())
    }

    /// Runs what still waits.
    pub(crate) fn finish(mut self) -> Result<(), RenderError> {
        self.run().map_err(|failed| self.placed(failed))
    }

    fn run(&mut self) -> Result<(), Failed> {
        self.chain.run(self.objects, self.build.memo)
    }

    /// The error with its place in the kustomization.
    fn placed(&self, failed: Failed) -> RenderError {
        let Failed { error, label } = failed;
        match label.filter(|label| !label.field.is_empty()) {
            None => error,
            Some(label) => {
                let field: Vec<&str> = label.field.iter().map(String::as_str).collect();
                error.at(self.folder.place(&field))
            }
        }
    }

    fn prepare(&mut self, transformer: Transformer) -> Result<(), Failed> {
        let environment = &self.build.environment;
        let step = match transformer {
            Transformer::TextMap(pairs, specs) => text_map::step(pairs, specs),
            Transformer::Hash => hash::step(environment),
            Transformer::Image(image, specs) => images::step(image, specs),
            Transformer::Namespace(change) => {
                let moves = !change.namespace.is_empty();
                self.chain.push(change.step(environment));
                if moves {
                    self.run()?;
                    let cause = "namespace transformation";
                    self.objects.check_distinct(&environment.schema, cause)?;
                }
                return Ok(());
            }
            Transformer::Json6902 { patch, target } => self.json6902(&patch, target.as_ref())?,
            Transformer::StrategicMerge(entries) => return self.strategic_merge(&entries),
            Transformer::Patch {
                patch,
                target,
                options,
            } => match self.patch(&patch, target.as_ref(), &options)? {
                Patches::Selected(step) => step,
                Patches::Named(patches) => return self.named(patches),
                Patches::Nothing => return Ok(()),
            },
            Transformer::Prefix(prefix, specs) => {
                rename::step(Affix::Prefix(prefix), specs, environment)
            }
            Transformer::Suffix(suffix, specs) => {
                rename::step(Affix::Suffix(suffix), specs, environment)
            }
            Transformer::Replacements(list) => return self.replacements(&list),
            Transformer::Replica(replica, specs) => replicas::step(replica, specs, environment),
            Transformer::ValueAdd {
                value,
                targets,
                target_file,
            } => return self.value_add(value, targets, &target_file),
        };
        self.chain.push(step);
        Ok(())
    }

    /// Reads the patch of a transformer that will not run, because one before it failed: what is
    /// wrong with its text is another fault.
    pub(crate) fn fault(&self, transformer: Transformer, field: &[String]) -> Option<RenderError> {
        let read = if let Transformer::Patch {
            patch,
            target,
            options,
        } = transformer
        {
            self.patch(&patch, target.as_ref(), &options).map(|_| ())
        } else if let Transformer::Json6902 { patch, target } = transformer {
            self.json6902(&patch, target.as_ref()).map(|_| ())
        } else {
            Ok(())
        };
        let field: Vec<&str> = field.iter().map(String::as_str).collect();
        Some(read.err()?.at(self.folder.place(&field)))
    }

    fn patch(
        &self,
        patch: &PatchSource,
        target: Option<&Selector>,
        options: &PatchOptions,
    ) -> Result<Patches, RenderError> {
        let trimmed = PatchSource {
            path: patch.path.clone(),
            text: patch.text.trim().to_owned(),
        };
        let (file, text) = self.patch_text(&trimmed)?;
        let (file, text) = (file.as_str(), text.as_str());
        patch::entry(
            PatchText { text, file },
            target,
            options,
            &self.build.environment,
        )
    }

    fn json6902(
        &self,
        patch: &PatchSource,
        target: Option<&Selector>,
    ) -> Result<Step<'static>, RenderError> {
        let (file, text) = self.patch_text(patch)?;
        let (file, text) = (file.as_str(), text.as_str());
        patch::json6902(PatchText { text, file }, target, &self.build.environment)
    }

    /// Runs patches that name their objects, each on its object alone.
    fn named(&mut self, patches: Vec<Named>) -> Result<(), Failed> {
        self.run()?;
        for patch in patches {
            let position = patch.find(self.objects, &self.build.environment.schema)?;
            if patch.renames {
                // The positions by id are made again when somebody asks.
                self.objects.list_mut();
            }
            let Named { step, context, .. } = patch;
            self.chain
                .run_on(step, self.objects, position, self.build.memo)
                .map_err(|failed| Failed {
                    error: patch::within(failed.error, context.as_deref()),
                    ..failed
                })?;
        }
        Ok(())
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
    fn strategic_merge(&mut self, entries: &[String]) -> Result<(), Failed> {
        let environment = &self.build.environment;
        let mut patches = Vec::new();
        for entry in entries {
            let inline = read::resources(entry, &self.folder.file, &environment.limits);
            let (file, text, found) = if let Ok(found) = inline {
                (self.folder.file.clone(), entry.clone(), found)
            } else {
                let loader = self.build.loader;
                let (file, text) = loader.load_text(&self.folder.root, entry)?;
                let found = read::resources(&text, &file, &environment.limits)?;
                (file, text.into_owned(), found)
            };
            let (text, file) = (text.as_str(), file.as_str());
            patches.extend(patch::strategic_merges(
                PatchText { text, file },
                found,
                environment,
            ));
        }
        if patches.is_empty() {
            return Err(RenderError::invalid("patch appears to be empty").into());
        }
        self.named(patches)
    }

    fn replacements(&mut self, list: &[ReplacementField]) -> Result<(), Failed> {
        for (number, entry) in list.iter().enumerate() {
            let number = number.to_string();
            let place = || self.folder.place(&["replacements", &number]);
            let loaded;
            let replacements = if entry.path.is_empty() {
                std::slice::from_ref(entry)
            } else {
                if entry.source.is_some() || entry.targets.as_ref().is_some_and(|t| !t.is_empty()) {
                    return Err(RenderError::invalid(
                        "cannot specify both path and inline replacement",
                    )
                    .at(place())
                    .into());
                }
                loaded = self
                    .replacement_file(&entry.path)
                    .map_err(|error| error.at(place()))?;
                &loaded
            };
            self.chain.enter(&["replacements", &number]);
            for replacement in replacements {
                // Its source may be what the one before it made.
                self.run()?;
                let environment = &self.build.environment;
                replacement::push(&mut self.chain, self.objects, replacement, environment)?;
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
        &mut self,
        value: String,
        mut targets: Vec<ValueTarget>,
        target_file: &str,
    ) -> Result<(), Failed> {
        let Environment { limits, .. } = &self.build.environment;
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
            return Err(RenderError::invalid("must specify at least one target").into());
        }
        for target in &targets {
            let environment = &self.build.environment;
            self.chain
                .push(value_add::step(value.clone(), target, environment)?);
        }
        Ok(())
    }
}
