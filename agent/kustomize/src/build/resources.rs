//! The `resources` of a kustomization: files, and folders that are built.

use std::sync::Arc;

use super::{Accumulated, Build, REPORTED, Role, SchemaUse};
use crate::error::RenderError;
use crate::folder::{Folder, join};
use crate::limits::Limits;
use crate::loader::{self, Found};
use crate::provenance;
use crate::read;
use crate::read_ahead::ReadAhead;
use crate::resource::{Resource, edit};

impl Build<'_> {
    /// Adds files and folders in order. Entries do not depend on each other, so the faults of all
    /// of them are reported.
    pub(super) fn add_resources(
        &mut self,
        folder: &Folder,
        field: &str,
        paths: &[String],
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        let mut faults = Vec::new();
        let mut ahead = ReadAhead::default();
        for (number, path) in paths.iter().enumerate() {
            if number % ReadAhead::BATCH == 0 {
                let batch = paths.iter().skip(number).take(ReadAhead::BATCH);
                let (root, environment) = (&folder.root, &self.environment);
                ahead = ReadAhead::new(self.loader, root, environment, self.memo, batch);
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
        read: Option<Result<Vec<Arc<Resource>>, RenderError>>,
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
                let objects = objects.into_iter().map(Arc::new).collect();
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
        objects: Vec<Arc<Resource>>,
        all: &mut Accumulated,
    ) -> Result<(), RenderError> {
        for mut object in objects {
            if self.recorded.any {
                provenance::from_file(edit(&mut object), &join(&folder.shown, path))?;
            }
            all.objects.append(object, &self.environment.schema)?;
        }
        let limit = self.options.limits.objects;
        if all.objects.len() > limit {
            return Err(Limits::exceeded("objects in one build", limit, path));
        }
        Ok(())
    }

    /// Builds a folder and adds what comes out.
    pub(super) fn add_folder(
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
                let schema = Arc::clone(&self.environment.schema);
                all.merge(base, &schema)?;
                Ok(all)
            }
        }
    }
}
