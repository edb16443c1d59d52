//! The transformers that the fields of a kustomization stand for.

use crate::configuration;
use crate::error::RenderError;
use crate::field_spec::{self, FieldSpec, FieldSpecs};
use crate::kustomization::{Kustomization, Label, Selector};
use crate::plugin::{PatchSource, Transformer};
use crate::transform::namespace::{Existing, NamespaceChange, Subjects};

/// A transformer, its kind, and the steps to the entry that configures it.
pub(crate) type Configured = (Transformer, &'static str, Vec<String>);

/// The transformers that the fields of a kustomization configure, in kustomize's order.
pub(crate) fn configured(
    k: &Kustomization,
    specs: &FieldSpecs,
) -> Result<Vec<Configured>, RenderError> {
    let mut list: Vec<Configured> = Vec::new();
    let at = |field: &str, number: usize| vec![field.to_owned(), number.to_string()];
    let whole = |field: &str| vec![field.to_owned()];
    if !k.patches_strategic_merge.is_empty() {
        let patches = Transformer::StrategicMerge(k.patches_strategic_merge.clone());
        let field = whole("patchesStrategicMerge");
        list.push((patches, "PatchStrategicMergeTransformer", field));
    }
    for (number, patch) in k.patches.iter().enumerate() {
        let transformer = Transformer::Patch {
            patch: PatchSource {
                path: patch.path.clone(),
                text: patch.text.clone(),
            },
            target: patch.target.clone(),
            options: patch.options.clone().unwrap_or_default(),
        };
        list.push((transformer, "PatchTransformer", at("patches", number)));
    }
    if !k.namespace.is_empty() {
        let transformer = Transformer::Namespace(NamespaceChange {
            namespace: k.namespace.clone(),
            specs: specs.namespace.clone(),
            existing: Existing::Replaced,
            subjects: Subjects::Default,
        });
        list.push((transformer, "NamespaceTransformer", whole("namespace")));
    }
    if !k.name_prefix.is_empty() {
        let transformer = Transformer::Prefix(k.name_prefix.clone(), specs.name_prefix.clone());
        list.push((transformer, "PrefixTransformer", whole("namePrefix")));
    }
    if !k.name_suffix.is_empty() {
        let transformer = Transformer::Suffix(k.name_suffix.clone(), specs.name_suffix.clone());
        list.push((transformer, "SuffixTransformer", whole("nameSuffix")));
    }
    if !(k.labels.is_empty() && k.common_labels.is_empty()) {
        for (number, label) in k.labels.iter().enumerate() {
            let transformer = Transformer::TextMap(label.pairs.clone(), label_specs(label, specs)?);
            list.push((transformer, "LabelTransformer", at("labels", number)));
        }
        let common = Transformer::TextMap(k.common_labels.clone(), specs.common_labels.clone());
        list.push((common, "LabelTransformer", whole("commonLabels")));
    }
    if !k.common_annotations.is_empty() {
        let transformer = Transformer::TextMap(
            k.common_annotations.clone(),
            specs.common_annotations.clone(),
        );
        list.push((
            transformer,
            "AnnotationsTransformer",
            whole("commonAnnotations"),
        ));
    }
    for (number, patch) in k.patches_json6902.iter().enumerate() {
        let transformer = Transformer::Json6902 {
            patch: PatchSource {
                path: patch.path.clone(),
                text: patch.text.clone(),
            },
            target: Some(patch.target.clone().unwrap_or_else(Selector::default)),
        };
        list.push((
            transformer,
            "PatchJson6902Transformer",
            at("patchesJson6902", number),
        ));
    }
    for (number, replica) in k.replicas.iter().enumerate() {
        let transformer = Transformer::Replica(replica.clone(), specs.replicas.clone());
        list.push((
            transformer,
            "ReplicaCountTransformer",
            at("replicas", number),
        ));
    }
    for (number, image) in k.images.iter().enumerate() {
        let transformer = Transformer::Image(image.clone(), specs.images.clone());
        list.push((transformer, "ImageTagTransformer", at("images", number)));
    }
    if !k.replacements.is_empty() {
        let transformer = Transformer::Replacements(k.replacements.clone());
        list.push((transformer, "ReplacementTransformer", whole("replacements")));
    }
    Ok(list)
}

/// The fields that one `labels` entry goes into.
fn label_specs(label: &Label, specs: &FieldSpecs) -> Result<Vec<FieldSpec>, RenderError> {
    let mut fields = configuration::specs(&label.fields);
    field_spec::merge(&mut fields, &specs.labels)?;
    if label.include_selectors {
        field_spec::merge(&mut fields, &specs.common_labels)?;
    } else {
        if label.include_templates {
            field_spec::merge(&mut fields, &specs.template_labels)?;
        }
        if label.include_volume_claim_templates {
            field_spec::merge(&mut fields, &specs.volume_claim_template_labels)?;
        }
        field_spec::merge(
            &mut fields,
            &[FieldSpec::everywhere("metadata/labels", true)],
        )?;
    }
    Ok(fields)
}
