//! Reading a kustomization, and the schema that it brings.

use std::sync::Arc;

use super::{Build, SchemaUse};
use crate::digest::Key;
use crate::environment::Environment;
use crate::error::RenderError;
use crate::folder::Folder;
use crate::kustomization::{FILE_NAMES, Kustomization};
use crate::limits::Limits;
use crate::loader::{self, Found};
use crate::schema::Schema;
use crate::yaml::json;
use crate::yaml::parse::{self, Dialect};

impl Build<'_> {
    /// Reads the kustomization of a folder.
    pub(super) fn open(
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

    /// Takes the schema that a kustomization brings, if it is the first to bring one.
    pub(super) fn use_schema(
        &mut self,
        folder: &Folder,
        role: SchemaUse,
    ) -> Result<(), RenderError> {
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
            Some(document) => json::to_value(&document.node).map_err(RenderError::malformed)?,
        };
        let Environment { schema, key, .. } = &mut self.environment;
        let mut changed = match role {
            SchemaUse::Top => schema.scopes_only(),
            SchemaUse::Nested => Schema::clone(schema),
        };
        changed.add_swagger(&swagger);
        *schema = Arc::new(changed);
        *key = Key::of(&(*key, role, &*text));
        self.own_schema = true;
        Ok(())
    }
}
