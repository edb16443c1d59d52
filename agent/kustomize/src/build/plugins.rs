//! Generators, transformers and validators: those of the fields, then those of files.

use std::sync::Arc;

use super::{Accumulated, Build, REPORTED};
use crate::configured::configured;
use crate::error::{Place, RenderError};
use crate::folder::Folder;
use crate::generate::{self, Generated};
use crate::kustomization::{GeneratorArgs, Kustomization};
use crate::plugin::{self, Generator};
use crate::provenance::{self, Agent};
use crate::read;
use crate::resource::Resource;
use crate::resource_map::ORIGIN_ANNOTATION;
use crate::steps::Steps;

impl Build<'_> {
    /// Runs the generators.
    pub(super) fn generate(
        &mut self,
        folder: &Folder,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let Kustomization {
            config_map_generator,
            secret_generator,
            generator_options,
            generators,
            ..
        } = &folder.kustomization;
        let global = generator_options.as_ref();
        let config_maps = config_map_generator
            .iter()
            .map(|args| (Generated::ConfigMap, "configMapGenerator", args));
        let secrets = secret_generator
            .iter()
            .map(|args| (Generated::Secret, "secretGenerator", args));
        let mut number = 0;
        let mut last = "";
        for (generated, field, args) in config_maps.chain(secrets) {
            number = if last == field { number + 1 } else { 0 };
            last = field;
            let mut args = args.clone();
            args.options = generate::merge_options(args.options.as_ref(), global);
            let kind = format!("{}Generator", generated.kind());
            let agent = Agent::built_in(&folder.shown_file(), &kind);
            self.absorb_generated(folder, generated, &args, &agent, all)
                .map_err(|error| error.at(folder.place(&[field, &number.to_string()])))?;
        }
        for object in self.plugin_objects(folder, "generators", generators)? {
            let agent = plugin::agent(&object, &Self::configured_in(&object, folder));
            match plugin::generator(&object)? {
                Generator::Args(generated, args) => {
                    self.absorb_generated(folder, generated, &args, &agent, all)?;
                }
                Generator::Object(node) => {
                    let mut made = Resource::new(node, object.origin.clone());
                    if self.recorded.any {
                        provenance::generated(&mut made, &agent)?;
                    }
                    all.objects.absorb(made, &self.environment.schema)?;
                }
            }
        }
        Ok(())
    }

    fn absorb_generated(
        &mut self,
        folder: &Folder,
        generated: Generated,
        args: &GeneratorArgs,
        agent: &Agent,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let origin = folder.origin();
        let mut object = generate::generate(generated, args, self.loader, &folder.root, origin)?;
        if self.recorded.any {
            provenance::generated(&mut object, agent)?;
        }
        all.objects.absorb(object, &self.environment.schema)
    }

    /// The file that configures a plug-in, as seen from the top kustomization.
    fn configured_in(object: &Resource, folder: &Folder) -> String {
        let origin = object.annotation(ORIGIN_ANNOTATION);
        origin
            .and_then(|origin| origin.trim_end().strip_prefix("path: "))
            .map_or_else(|| folder.shown_file(), str::to_owned)
    }

    /// Reads the objects that configure plug-ins: inline, or in files and folders.
    fn plugin_objects(
        &mut self,
        folder: &Folder,
        field: &str,
        entries: &[String],
    ) -> Result<Vec<Arc<Resource>>, RenderError> {
        let mut all = Accumulated::default();
        let mut paths = Vec::new();
        for entry in entries {
            match read::resources(entry, &folder.file, &self.options.limits) {
                Ok(objects) => {
                    for mut object in objects {
                        if self.recorded.any {
                            provenance::from_file(&mut object, &folder.shown_file())?;
                        }
                        all.objects.append(object, &self.environment.schema)?;
                    }
                }
                Err(_) => paths.push(entry.clone()),
            }
        }
        self.add_resources(folder, field, &paths, &mut all)?;
        Ok(all.objects.into_list())
    }

    /// Runs the transformers.
    pub(super) fn transform(
        &mut self,
        folder: &Folder,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let specs = all.specs.clone().unwrap_or_default();
        let listed = &folder.kustomization.transformers;
        let mut steps = Steps::new(self, folder, &mut all.objects);
        let mut configured = configured(&folder.kustomization, &specs)?.into_iter();
        while let Some((transformer, kind, field)) = configured.next() {
            let agent = Agent::built_in(&folder.shown_file(), kind);
            if let Err(error) = steps.add(transformer, &agent, field) {
                let others = configured.filter_map(|(later, _, field)| steps.fault(later, &field));
                let all = std::iter::once(error).chain(others).take(REPORTED);
                return RenderError::join(all.collect()).map_or(Ok(()), Err);
            }
        }
        steps.finish()?;
        let objects = self.plugin_objects(folder, "transformers", listed)?;
        let mut steps = Steps::new(self, folder, &mut all.objects);
        for object in objects {
            let agent = plugin::agent(&object, &Self::configured_in(&object, folder));
            let transformers = match plugin::transformers(&object) {
                Ok(transformers) => transformers,
                Err(error) => {
                    // What comes before it may fail, too.
                    steps.finish()?;
                    return Err(error);
                }
            };
            for transformer in transformers {
                steps.add(transformer, &agent, Vec::new())?;
            }
        }
        steps.finish()
    }

    /// Runs transformers that may not change anything.
    pub(super) fn validate(
        &mut self,
        folder: &Folder,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        for object in self.plugin_objects(folder, "validators", &folder.kustomization.validators)? {
            let nodes = all.objects.iter().map(|object| object.node.clone());
            let before: Vec<_> = nodes.collect();
            let agent = plugin::agent(&object, &Self::configured_in(&object, folder));
            let mut steps = Steps::validating(self, folder, &mut all.objects);
            for transformer in plugin::transformers(&object)? {
                steps.add(transformer, &agent, Vec::new())?;
            }
            steps.finish()?;
            let after = all.objects.iter().map(|object| &object.node);
            if !after.eq(&before) {
                return Err(RenderError::invalid(format!(
                    "validator {} shouldn't modify the resource map",
                    object.describe()
                ))
                .at(Place::file_only(&object.origin.file)));
            }
        }
        Ok(())
    }
}
