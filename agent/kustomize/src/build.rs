//! The build itself: kustomizations into each other, step by step in kustomize's order.

mod open;
mod plugins;
mod resources;

use std::sync::Arc;

use crate::chain::{Chain, Label};
use crate::configuration;
use crate::digest::Key;
use crate::environment::Environment;
use crate::error::RenderError;
use crate::field_spec::{FieldSpec, FieldSpecs};
use crate::finish::finish;
use crate::folder::Folder;
use crate::kustomization::Kustomization;
use crate::loader::{self, Found, Loader};
use crate::memo::Session;
use crate::provenance::Recorded;
use crate::rendered::Rendered;
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::transform::variables::{self, Variables};
use crate::transform::{hash, name_reference, order, text_map};
use crate::{ManagedBy, Memo, Options, Trace, Tree};

/// Independent faults of one kustomization that are reported together, at most.
const REPORTED: usize = 20;

/// What the label of [`ManagedBy::Labelled`] says: the version whose output this library has.
const MANAGED_BY: &str = "kustomize-v5.8.1";

/// Builds the kustomization in `dir`.
pub(crate) fn run(
    tree: &dyn Tree,
    dir: &str,
    options: &Options,
    memo: Option<&Memo>,
) -> Result<Rendered, RenderError> {
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
        environment: Environment {
            schema: Schema::built_in(),
            limits: options.limits.clone(),
            key: Key::of(options),
        },
        own_schema: false,
        kustomizations: 0,
        recorded: Recorded::default(),
        // A memo does not know what a trace tells.
        memo: memo
            .filter(|_| options.trace == Trace::Off)
            .map(Memo::session),
    };
    let folder = build.open(&root, Vec::new(), String::new())?;
    build.recorded = Recorded::new(&folder.kustomization.build_metadata);
    build.use_schema(&folder, SchemaUse::Top)?;
    let mut all = build.accumulate(&folder, Accumulated::default())?;
    build.settle(&folder, &mut all)?;
    let objects = finish(all.objects.into_list(), build.recorded, build.memo)?;
    Ok(Rendered::new(objects, build.environment.schema))
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

    fn merge(&mut self, other: Self, schema: &Schema) -> Result<(), RenderError> {
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

#[derive(Clone, Copy, PartialEq, Hash)]
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
    pub(crate) environment: Environment,
    own_schema: bool,
    kustomizations: usize,
    pub(crate) recorded: Recorded,
    pub(crate) memo: Option<Session<'t>>,
}

impl Build<'_> {
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
        let schema = Arc::clone(&self.environment.schema);
        variables::record(&mut all.objects, &mut all.variables, vars, &schema)
            .map_err(|error| error.at(folder.place(&["vars"])))?;
        Ok(all)
    }

    /// What is done once, when everything is there: name hashes, references, variables, order.
    fn settle(&self, folder: &Folder, all: &mut Accumulated) -> Result<(), RenderError> {
        let Accumulated {
            objects,
            specs,
            variables,
        } = all;
        let titled = |title: &str| Label {
            title: title.to_owned(),
            field: Vec::new(),
        };
        let mut chain = Chain::new(self.options.trace);
        chain.label(titled("name hash"));
        chain.push(hash::step(&self.environment));
        chain.run(objects, self.memo)?;
        if let Some(specs) = specs {
            chain.label(titled("name references"));
            let references = &specs.name_reference;
            chain.push(name_reference::step(objects, references, &self.environment));
            if !variables.is_empty() {
                // Their values are looked up after the references are settled.
                chain.run(objects, self.memo)?;
                chain.label(titled("variables"));
                chain.push(variables::step(objects, variables, &specs.var_reference)?);
            }
            chain.run(objects, self.memo)?;
        }
        objects.list_mut().retain(|object| !object.is_local());
        let sort_options = folder.kustomization.sort_options.as_ref();
        order::apply(objects, sort_options, self.options.reorder)?;
        if self.options.managed_by == ManagedBy::Labelled || self.recorded.managed_by {
            let label = [(
                "app.kubernetes.io/managed-by".to_owned(),
                MANAGED_BY.to_owned(),
            )];
            let labels = [FieldSpec::everywhere("metadata/labels", true)];
            chain.label(titled("managed-by label"));
            chain.push(text_map::step(label.into(), labels.into()));
            chain.run(objects, self.memo)?;
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
