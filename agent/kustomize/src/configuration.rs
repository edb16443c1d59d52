//! Field specs of the user's own: `configurations:` files and what `crds:` files say.

use std::sync::Arc;

use serde_json::Value;

use smol_str::SmolStr;

use crate::decode::{Decode as _, Unknown, configuration};
use crate::error::RenderError;
use crate::field_spec::{self, FieldSpec, FieldSpecs, NameReference};
use crate::id::Gvk;
use crate::kustomization::{FieldSpecConfig, decode_failed};
use crate::limits::Limits;
use crate::loader::Loader;
use crate::yaml::json;
use crate::yaml::parse::{self, Dialect};

configuration! {
    /// A `configurations:` file.
    SpecsFile {
        name_prefix: Vec<FieldSpecConfig> = "namePrefix",
        name_suffix: Vec<FieldSpecConfig> = "nameSuffix",
        namespace: Vec<FieldSpecConfig> = "namespace",
        common_labels: Vec<FieldSpecConfig> = "commonLabels",
        labels: Vec<FieldSpecConfig> = "labels",
        template_labels: Vec<FieldSpecConfig> = "templateLabels",
        /// Not in 5.8.1, which refuses it.
        volume_claim_template_labels: Vec<FieldSpecConfig> = "volumeClaimTemplateLabels",
        common_annotations: Vec<FieldSpecConfig> = "commonAnnotations",
        name_reference: Vec<NameReferenceConfig> = "nameReference",
        var_reference: Vec<FieldSpecConfig> = "varReference",
        images: Vec<FieldSpecConfig> = "images",
        replicas: Vec<FieldSpecConfig> = "replicas",
    }
}

configuration! {
    /// A kind, and the fields that refer to it.
    NameReferenceConfig {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        field_specs: Vec<FieldSpecConfig> = "fieldSpecs",
    }
}

/// Field specs as the transformers use them.
pub(crate) fn specs(configs: &[FieldSpecConfig]) -> Vec<FieldSpec> {
    configs
        .iter()
        .map(
            |FieldSpecConfig {
                 group,
                 version,
                 kind,
                 path,
                 create,
             }| {
                let gvk = Gvk {
                    group: group.clone().into(),
                    version: version.clone().into(),
                    kind: kind.clone().into(),
                };
                FieldSpec::new(gvk, path, *create)
            },
        )
        .collect()
}

impl SpecsFile {
    fn into_specs(self) -> FieldSpecs {
        let name_reference = self
            .name_reference
            .into_iter()
            .map(
                |NameReferenceConfig {
                     group,
                     version,
                     kind,
                     field_specs,
                 }| NameReference {
                    target: Gvk {
                        group: group.into(),
                        version: version.into(),
                        kind: kind.into(),
                    },
                    referrers: specs(&field_specs),
                },
            )
            .collect();
        let mut all = FieldSpecs {
            name_prefix: specs(&self.name_prefix),
            name_suffix: specs(&self.name_suffix),
            namespace: specs(&self.namespace),
            common_labels: specs(&self.common_labels),
            labels: specs(&self.labels),
            template_labels: specs(&self.template_labels),
            volume_claim_template_labels: specs(&self.volume_claim_template_labels),
            common_annotations: specs(&self.common_annotations),
            name_reference,
            var_reference: specs(&self.var_reference),
            images: specs(&self.images),
            replicas: specs(&self.replicas),
        };
        all.sort();
        all
    }
}

/// The built-in specs with those of the files.
pub(crate) fn load(
    paths: &[String],
    loader: &Loader<'_>,
    root: &str,
    limits: &Limits,
) -> Result<Arc<FieldSpecs>, RenderError> {
    let mut all = FieldSpecs::built_in();
    let mut own: Option<Arc<FieldSpecs>> = None;
    for path in paths {
        let (file, text) = loader.load_text(root, path)?;
        let document = parse::single(&text, &file, Dialect::Configuration, limits)?;
        let read = match document {
            None => SpecsFile::default(),
            Some(document) => {
                SpecsFile::decode(&document.node, Unknown::Refused).map_err(|faults| {
                    decode_failed(faults, &text, &file, "invalid transformer configuration")
                })?
            }
        };
        let read = Arc::new(read.into_specs());
        own = Some(match own {
            None => read,
            Some(known) => known.merged(&read)?,
        });
    }
    if let Some(own) = own {
        all = all.merged(&own)?;
    }
    Ok(all)
}

/// What the `OpenAPI` definitions of custom resources say about labels, annotations, names and
/// references; `None` if there are none.
pub(crate) fn from_crds(
    paths: &[String],
    loader: &Loader<'_>,
    root: &str,
    limits: &Limits,
) -> Result<Option<Arc<FieldSpecs>>, RenderError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut all = FieldSpecs::default();
    for path in paths {
        let (file, text) = loader.load_text(root, path)?;
        let document = parse::single(&text, &file, Dialect::Configuration, limits)?;
        let definitions = match document {
            None => Value::Null,
            Some(document) => json::to_value(&document.node).map_err(RenderError::malformed)?,
        };
        let Value::Object(definitions) = definitions else {
            return Err(RenderError::malformed(format!(
                "unable to parse open API definition from `{file}`"
            ))
            .hint("a crds file maps type names to {Schema: ...}; list CustomResourceDefinition objects under `resources`"));
        };
        for (name, definition) in &definitions {
            let is_object = properties(definition).is_some_and(|properties| {
                ["kind", "apiVersion", "metadata"]
                    .iter()
                    .all(|key| properties.contains_key(*key))
            });
            if is_object {
                let kind = name.rsplit('.').next().unwrap_or(name).to_owned();
                let gvk = Gvk {
                    kind: kind.into(),
                    ..Gvk::default()
                };
                let crd = Crd {
                    gvk: &gvk,
                    definitions: &definitions,
                };
                crd.collect(name, &mut Vec::new(), &mut all)?;
            }
        }
    }
    all.sort();
    Ok(Some(Arc::new(all)))
}

type Properties = serde_json::Map<String, Value>;

fn properties(definition: &Value) -> Option<&Properties> {
    let schema = definition
        .as_object()?
        .iter()
        .find_map(|(key, value)| key.eq_ignore_ascii_case("schema").then_some(value))?;
    schema.get("properties")?.as_object()
}

struct Crd<'a> {
    gvk: &'a Gvk,
    definitions: &'a Properties,
}

impl Crd<'_> {
    /// Walks the fields of one type, entering the types that they refer to.
    fn collect(
        &self,
        type_name: &str,
        path: &mut Vec<String>,
        specs: &mut FieldSpecs,
    ) -> Result<(), RenderError> {
        const DEEPEST: usize = 32;
        if path.len() > DEEPEST {
            return Err(RenderError::invalid(format!(
                "type {type_name} contains itself"
            )));
        }
        let Some(properties) = self.definitions.get(type_name).and_then(properties) else {
            return Ok(());
        };
        for (name, property) in properties {
            let text = |key: &str| property.get(key).and_then(Value::as_str);
            path.push(name.clone());
            let here = path.join("/");
            let spec = FieldSpec::new(self.gvk.clone(), &here, false);
            if text("x-kubernetes-annotation").is_some() {
                field_spec::merge(&mut specs.common_annotations, std::slice::from_ref(&spec))?;
            }
            if text("x-kubernetes-label-selector").is_some() {
                field_spec::merge(&mut specs.common_labels, std::slice::from_ref(&spec))?;
            }
            if text("x-kubernetes-identity").is_some() {
                field_spec::merge(&mut specs.name_prefix, std::slice::from_ref(&spec))?;
            }
            if let (Some(version), Some(kind)) = (
                text("x-kubernetes-object-ref-api-version"),
                text("x-kubernetes-object-ref-kind"),
            ) {
                let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
                let field = FieldSpec::new(self.gvk.clone(), &format!("{here}/{key}"), false);
                specs.add_name_reference(&NameReference {
                    target: Gvk {
                        group: SmolStr::default(),
                        version: version.into(),
                        kind: kind.into(),
                    },
                    referrers: vec![field],
                })?;
            }
            if let Some(reference) = text("$ref") {
                self.collect(reference, path, specs)?;
            }
            path.pop();
        }
        Ok(())
    }
}
