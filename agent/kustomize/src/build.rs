//! The build itself: kustomizations into each other, step by step in kustomize's order.

use std::sync::Arc;

use crate::configuration;
use crate::configured::configured;
use crate::error::{Place, RenderError};
use crate::explain::Watch;
use crate::field_spec::{FieldSpec, FieldSpecs};
use crate::folder::{Folder, join};
use crate::generate::{self, Generated};
use crate::kustomization::{FILE_NAMES, Kustomization};
use crate::loader::{self, Found, Loader};
use crate::parallel;
use crate::plugin::{self, Generator, Transformer};
use crate::provenance::{self, Agent, Recorded};
use crate::read;
use crate::read_ahead::ReadAhead;
use crate::rendered::{Object, Rendered};
use crate::resource::{Origin, Resource};
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::steps::Steps;
use crate::transform::variables::{self, Variables};
use crate::transform::{hash, name_reference, order, text_map};
use crate::yaml::json;
use crate::yaml::parse::{self, Dialect};
use crate::{Limits, ManagedBy, Options, Tree};

/// What the label of [`ManagedBy::Labelled`] says: the version whose output this library has.
const MANAGED_BY: &str = "kustomize-v5.8.1";

/// Builds the kustomization in `dir`.
pub(crate) fn run(tree: &dyn Tree, dir: &str, options: &Options) -> Result<Rendered, RenderError> {
    let loader = Loader::new(tree, options.load_restriction, &options.limits);
    let root = match loader.find("", dir)? {
        Found::Folder { path } => path,
        Found::File { .. } | Found::Nothing => {
            return Err(RenderError::missing(format!(
                "{dir} is no folder of the tree"
            )));
        }
    };
    let mut build = Build {
        loader: &loader,
        options,
        schema: Schema::built_in(),
        own_schema: false,
        kustomizations: 0,
        recorded: Recorded::default(),
    };
    let folder = build.open(&root, Vec::new(), String::new())?;
    build.recorded = Recorded::new(&folder.kustomization.build_metadata);
    build.use_schema(&folder, SchemaUse::Top)?;
    let mut all = build.accumulate(&folder, Accumulated::default())?;
    let schema = Arc::clone(&build.schema);
    let watch = Watch::start(options.trace, &all.objects);
    hash::apply(&mut all.objects, &schema)?;
    watch.finish("name hash", &mut all.objects);
    if let Some(specs) = &all.specs {
        let watch = Watch::start(options.trace, &all.objects);
        name_reference::apply(&mut all.objects, &specs.name_reference, &schema)?;
        watch.finish("name references", &mut all.objects);
        let watch = Watch::start(options.trace, &all.objects);
        variables::resolve(&mut all.objects, &all.variables, &specs.var_reference)?;
        watch.finish("variables", &mut all.objects);
    }
    all.objects.list_mut().retain(|object| !object.is_local());
    let sort_options = folder.kustomization.sort_options.as_ref();
    order::apply(&mut all.objects, sort_options, options.reorder)?;
    if options.managed_by == ManagedBy::Labelled || build.recorded.managed_by {
        let label = [(
            "app.kubernetes.io/managed-by".to_owned(),
            MANAGED_BY.to_owned(),
        )];
        let labels = [FieldSpec::everywhere("metadata/labels", true)];
        text_map::apply(&mut all.objects, &label.into(), &labels)?;
    }
    let recorded = build.recorded;
    let finished = parallel::shares(all.objects.into_list(), |share| {
        share
            .into_iter()
            .map(|object| finish(object, recorded))
            .collect::<Result<Vec<_>, _>>()
    });
    let finished = finished.ok_or_else(|| RenderError::invalid("a thread of the build failed"))?;
    let objects = finished.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Rendered::new(objects.into_iter().flatten().collect()))
}

/// Turns an object into what is printed.
fn finish(mut object: Resource, recorded: Recorded) -> Result<Object, RenderError> {
    recorded.clean(&mut object)?;
    let name = format!("{} {}", object.kind(), object.name());
    let Resource {
        node,
        origin: Origin { file, line },
        trace,
        ..
    } = object;
    let value = json::into_value(node).map_err(|error| {
        RenderError::invalid(format!("cannot print {name} of {file}:{line}: {error}"))
    })?;
    Ok(Object::new(value, file, line, trace))
}

/// What kustomizations have collected so far.
#[derive(Debug, Default)]
pub(crate) struct Accumulated {
    pub(crate) objects: ResourceMap,
    pub(crate) specs: Option<Arc<FieldSpecs>>,
    pub(crate) variables: Variables,
}

impl Accumulated {
    fn merge_specs(&mut self, more: &Arc<FieldSpecs>) -> Result<(), RenderError> {
        // Merging into nothing is more than a copy: a general spec goes if a special one with
        // its path sorts before it. Nothing in the built-in tables does.
        let is_built_in = Arc::ptr_eq(more, &FieldSpecs::built_in());
        self.specs = Some(match &self.specs {
            None if is_built_in => Arc::clone(more),
            None => Arc::<FieldSpecs>::default().merged(more)?,
            Some(known) => known.merged(more)?,
        });
        Ok(())
    }

    fn merge(&mut self, other: Self, schema: &Arc<Schema>) -> Result<(), RenderError> {
        let Self {
            objects,
            specs,
            variables,
        } = other;
        self.objects.append_all(objects, schema)?;
        if let Some(specs) = &specs {
            self.merge_specs(specs)?;
        }
        variables
            .into_values()
            .try_for_each(|var| variables::add(&mut self.variables, var))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum SchemaUse {
    Top,
    Nested,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Base,
    Component,
}

/// One build.
pub(crate) struct Build<'t> {
    pub(crate) loader: &'t Loader<'t>,
    pub(crate) options: &'t Options,
    pub(crate) schema: Arc<Schema>,
    own_schema: bool,
    kustomizations: usize,
    pub(crate) recorded: Recorded,
}

impl Build<'_> {
    /// Reads the kustomization of a folder.
    fn open(
        &mut self,
        root: &str,
        ancestors: Vec<String>,
        shown: String,
    ) -> Result<Folder, RenderError> {
        let limits = &self.options.limits;
        self.kustomizations += 1;
        if self.kustomizations > limits.kustomizations {
            return Err(Limits::exceeded(
                "kustomizations",
                limits.kustomizations,
                root,
            ));
        }
        if ancestors.len() > limits.kustomization_depth {
            return Err(Limits::exceeded(
                "nested kustomizations",
                limits.kustomization_depth,
                root,
            ));
        }
        let mut found = None;
        for name in FILE_NAMES {
            if !matches!(self.loader.find(root, name)?, Found::File { .. }) {
                continue;
            }
            if found.replace(name).is_some() {
                return Err(RenderError::invalid(format!(
                    "found multiple kustomization files under {}",
                    loader::shown(root)
                ))
                .hint(format!("keep one of {}", FILE_NAMES.join(", "))));
            }
        }
        let Some(name) = found else {
            return Err(RenderError::missing(format!(
                "there is no kustomization file in {}",
                loader::shown(root)
            ))
            .hint(format!("add one of {}", FILE_NAMES.join(", "))));
        };
        let (file, text) = self.loader.load_text(root, name)?;
        let kustomization = Kustomization::read(&text, &file, limits)?;
        let (root, text) = (root.to_owned(), text.into_owned());
        Ok(Folder {
            root,
            file,
            name,
            text,
            kustomization,
            ancestors,
            shown,
        })
    }

    fn use_schema(&mut self, folder: &Folder, role: SchemaUse) -> Result<(), RenderError> {
        let openapi = &folder.kustomization.openapi;
        let place = || folder.place(&["openapi"]);
        let (path, version) = (openapi.get("path"), openapi.get("version"));
        if path.is_none() && version.is_none() {
            return Ok(());
        }
        let text = match path {
            None => None,
            Some(path) => Some(
                self.loader
                    .load_text(&folder.root, path)
                    .map_err(|error| error.at(place()))?,
            ),
        };
        if self.own_schema {
            return Ok(());
        }
        if path.is_some() && version.is_some() {
            return Err(RenderError::invalid(
                "builtin version and custom schema provided, cannot use both",
            )
            .at(place()));
        }
        let Some((file, text)) = text else {
            if version.is_some_and(|version| !["", "v1.21.2"].contains(&version.as_str())) {
                return Err(
                    RenderError::invalid("the specified OpenAPI version is not built in")
                        .at(place())
                        .hint("the built-in version is v1.21.2"),
                );
            }
            return Ok(());
        };
        let document = parse::single(&text, &file, Dialect::Configuration, &self.options.limits)?;
        let swagger = match document {
            None => serde_json::Value::Null,
            Some(document) => json::into_value(document.node).map_err(RenderError::malformed)?,
        };
        let mut schema = match role {
            SchemaUse::Top => self.schema.scopes_only(),
            SchemaUse::Nested => Schema::clone(&self.schema),
        };
        schema.add_swagger(&swagger);
        self.schema = Arc::new(schema);
        self.own_schema = true;
        Ok(())
    }

    /// Runs one kustomization on what is there already: nothing for a base, the objects of its
    /// parent for a component.
    fn accumulate(
        &mut self,
        folder: &Folder,
        mut all: Accumulated,
    ) -> Result<Accumulated, RenderError> {
        let Kustomization {
            resources,
            components,
            configurations,
            crds,
            vars,
            ..
        } = &folder.kustomization;
        self.add_resources(folder, "resources", resources, &mut all)?;
        let limits = &self.options.limits;
        let specs = configuration::load(configurations, self.loader, &folder.root, limits)
            .map_err(|error| error.at(folder.place(&["configurations"])))?;
        all.merge_specs(&specs)?;
        let crds = configuration::from_crds(crds, self.loader, &folder.root, limits)
            .map_err(|error| error.at(folder.place(&["crds"])))?;
        if let Some(crds) = &crds {
            all.merge_specs(crds)?;
        }
        self.generate(folder, &mut all)?;
        for (number, path) in components.iter().enumerate() {
            let place = || folder.place(&["components", &number.to_string()]);
            let found = self
                .loader
                .find(&folder.root, path)
                .map_err(|e| e.at(place()))?;
            let Found::Folder { path: root } = found else {
                return Err(no_folder(path).at(place()));
            };
            all = self
                .add_folder(folder, &root, path, Role::Component, all)
                .map_err(|error| error.at(place()))?;
        }
        self.transform(folder, &mut all)?;
        self.validate(folder, &mut all)?;
        let schema = Arc::clone(&self.schema);
        variables::record(&mut all.objects, &mut all.variables, vars, &schema)
            .map_err(|error| error.at(folder.place(&["vars"])))?;
        Ok(all)
    }

    /// Adds files and folders in order. Entries do not depend on each other, so the faults of all
    /// of them are reported.
    fn add_resources(
        &mut self,
        folder: &Folder,
        field: &str,
        paths: &[String],
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        const REPORTED: usize = 20;
        let mut faults = Vec::new();
        let mut ahead = ReadAhead::default();
        for (number, path) in paths.iter().enumerate() {
            if number % ReadAhead::BATCH == 0 {
                let batch = paths.iter().skip(number).take(ReadAhead::BATCH);
                ahead = ReadAhead::new(self.loader, &folder.root, &self.options.limits, batch);
            }
            if let Err(error) = self.add_resource(folder, path, ahead.take(path), all) {
                faults.push(error.at(folder.place(&[field, &number.to_string()])));
                if faults.len() == REPORTED {
                    break;
                }
            }
        }
        RenderError::join(faults).map_or(Ok(()), Err)
    }

    fn add_resource(
        &mut self,
        folder: &Folder,
        path: &str,
        read: Option<Result<Vec<Resource>, RenderError>>,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        if let Some(objects) = read {
            return self.add_objects(folder, path, objects?, all);
        }
        if path.contains("://") {
            return Err(loader::refused_remote(path));
        }
        match self.loader.find(&folder.root, path)? {
            Found::Folder { path: root } => {
                let taken = std::mem::take(all);
                *all = self.add_folder(folder, &root, path, Role::Base, taken)?;
                Ok(())
            }
            Found::File { .. } => {
                let (file, text) = self.loader.load_text(&folder.root, path)?;
                let objects = read::resources(&text, &file, &self.options.limits)?;
                self.add_objects(folder, path, objects, all)
            }
            Found::Nothing if loader::is_remote(path) => Err(loader::refused_remote(path)),
            Found::Nothing => Err(RenderError::missing(format!(
                "`{path}` does not exist in {}",
                loader::shown(&folder.root)
            ))
            .hint("resources are files or folders, relative to the kustomization that lists them")),
        }
    }

    fn add_objects(
        &self,
        folder: &Folder,
        path: &str,
        objects: Vec<Resource>,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        for mut object in objects {
            if self.recorded.any {
                provenance::from_file(&mut object, &join(&folder.shown, path))?;
            }
            all.objects.append(object, &self.schema)?;
        }
        let limit = self.options.limits.objects;
        if all.objects.len() > limit {
            return Err(Limits::exceeded("objects in one build", limit, path));
        }
        Ok(())
    }

    /// Builds a folder and adds what comes out.
    fn add_folder(
        &mut self,
        parent: &Folder,
        root: &str,
        path: &str,
        role: Role,
        mut all: Accumulated,
    ) -> Result<Accumulated, RenderError> {
        let mut ancestors = parent.ancestors.clone();
        ancestors.push(parent.root.clone());
        if let Some(visited) = ancestors
            .iter()
            .find(|visited| loader::is_below(visited, root))
        {
            return Err(RenderError::invalid(format!(
                "cycle detected: {} contains {}, which is being built",
                loader::shown(root),
                loader::shown(visited)
            ))
            .hint("a kustomization may not include itself or a folder above it"));
        }
        let within = |error: RenderError| error.within(format!("the kustomization in {root}"));
        let folder = self
            .open(root, ancestors, join(&parent.shown, path))
            .map_err(within)?;
        self.use_schema(&folder, SchemaUse::Nested)?;
        match (role, folder.kustomization.is_component()) {
            (Role::Component, false) => Err(RenderError::invalid(format!(
                "expected kind Component for path `{path}` but got {}",
                folder.kustomization.kind
            ))
            .hint("list it under `resources`")),
            (Role::Base, true) => Err(RenderError::invalid(format!(
                "expected kind other than Component for path `{path}`"
            ))
            .hint("list it under `components`")),
            (Role::Component, true) => self.accumulate(&folder, all).map_err(within),
            (Role::Base, false) => {
                let base = self
                    .accumulate(&folder, Accumulated::default())
                    .map_err(within)?;
                let schema = Arc::clone(&self.schema);
                all.merge(base, &schema)?;
                Ok(all)
            }
        }
    }

    fn generate(&mut self, folder: &Folder, all: &mut Accumulated) -> Result<(), RenderError> {
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
                    all.objects.absorb(made, &self.schema)?;
                }
            }
        }
        Ok(())
    }

    fn absorb_generated(
        &mut self,
        folder: &Folder,
        generated: Generated,
        args: &crate::kustomization::GeneratorArgs,
        agent: &Agent,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let origin = folder.origin();
        let mut object = generate::generate(generated, args, self.loader, &folder.root, origin)?;
        if self.recorded.any {
            provenance::generated(&mut object, agent)?;
        }
        all.objects.absorb(object, &self.schema)
    }

    /// The file that configures a plug-in, as seen from the top kustomization.
    fn configured_in(object: &Resource, folder: &Folder) -> String {
        let origin = object.annotation(crate::resource_map::ORIGIN_ANNOTATION);
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
    ) -> Result<Vec<Resource>, RenderError> {
        let mut all = Accumulated::default();
        let mut paths = Vec::new();
        for entry in entries {
            match read::resources(entry, &folder.file, &self.options.limits) {
                Ok(objects) => {
                    for mut object in objects {
                        if self.recorded.any {
                            provenance::from_file(&mut object, &folder.shown_file())?;
                        }
                        all.objects.append(object, &self.schema)?;
                    }
                }
                Err(_) => paths.push(entry.clone()),
            }
        }
        self.add_resources(folder, field, &paths, &mut all)?;
        Ok(all.objects.into_list())
    }

    fn transform(&mut self, folder: &Folder, all: &mut Accumulated) -> Result<(), RenderError> {
        let specs = all.specs.clone().unwrap_or_default();
        for (transformer, kind, field) in configured(&folder.kustomization, &specs)? {
            let agent = Agent::built_in(&folder.shown_file(), kind);
            self.step(folder, transformer, &agent, all)
                .map_err(|error| {
                    let path: Vec<&str> = field.iter().map(String::as_str).collect();
                    error.at(folder.place(&path))
                })?;
        }
        for object in
            self.plugin_objects(folder, "transformers", &folder.kustomization.transformers)?
        {
            let agent = plugin::agent(&object, &Self::configured_in(&object, folder));
            for transformer in plugin::transformers(&object)? {
                self.step(folder, transformer, &agent, all)?;
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        folder: &Folder,
        transformer: Transformer,
        agent: &Agent,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let watch = Watch::start(self.options.trace, &all.objects);
        Steps {
            build: self,
            folder,
        }
        .run(transformer, &mut all.objects)?;
        watch.finish(
            &format!("{} of {}", agent.kind, folder.file),
            &mut all.objects,
        );
        if self.recorded.any {
            provenance::transformed(&mut all.objects, agent)?;
        }
        all.objects.drop_empty();
        Ok(())
    }

    /// Runs transformers that may not change anything.
    fn validate(&mut self, folder: &Folder, all: &mut Accumulated) -> Result<(), RenderError> {
        for object in self.plugin_objects(folder, "validators", &folder.kustomization.validators)? {
            let before: Vec<_> = all
                .objects
                .iter()
                .map(|object| object.node.clone())
                .collect();
            for transformer in plugin::transformers(&object)? {
                Steps {
                    build: self,
                    folder,
                }
                .run(transformer, &mut all.objects)?;
            }
            let same = before.len() == all.objects.len()
                && before
                    .iter()
                    .zip(all.objects.iter())
                    .all(|(node, object)| *node == object.node);
            if !same {
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

fn no_folder(path: &str) -> RenderError {
    if loader::is_remote(path) {
        return loader::refused_remote(path);
    }
    RenderError::missing(format!("`{path}` is no folder"))
        .hint("a component is a folder with a kustomization of kind Component")
}
