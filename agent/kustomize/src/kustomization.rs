//! The kustomization file: its fields, their older spellings and what they default to.

use std::collections::BTreeMap;

use crate::decode::{Decode, DecodeError, Unknown, configuration};
use crate::error::{Place, RenderError};
use crate::limits::Limits;
use crate::yaml::Node;
use crate::yaml::parse::{self, Dialect};

/// Names that a kustomization file may have; a folder must hold exactly one of them.
pub(crate) const FILE_NAMES: [&str; 3] =
    ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const KUSTOMIZATION: (&str, &str) = ("Kustomization", "kustomize.config.k8s.io/v1beta1");
const COMPONENT: (&str, &str) = ("Component", "kustomize.config.k8s.io/v1alpha1");

pub(crate) type TextMap = BTreeMap<String, String>;

configuration! {
    /// A kustomization as written.
    Kustomization {
        api_version: String = "apiVersion",
        kind: String = "kind",
        metadata: Option<ObjectMeta> = "metadata",
        openapi: TextMap = "openapi",
        name_prefix: String = "namePrefix",
        name_suffix: String = "nameSuffix",
        namespace: String = "namespace",
        common_labels: TextMap = "commonLabels",
        labels: Vec<Label> = "labels",
        common_annotations: TextMap = "commonAnnotations",
        patches_strategic_merge: Vec<String> = "patchesStrategicMerge",
        patches_json6902: Vec<Patch> = "patchesJson6902",
        patches: Vec<Patch> = "patches",
        images: Vec<Image> = "images",
        image_tags: Vec<Image> = "imageTags",
        replacements: Vec<ReplacementField> = "replacements",
        replicas: Vec<Replica> = "replicas",
        vars: Vec<Var> = "vars",
        sort_options: Option<SortOptions> = "sortOptions",
        resources: Vec<String> = "resources",
        components: Vec<String> = "components",
        crds: Vec<String> = "crds",
        bases: Vec<String> = "bases",
        config_map_generator: Vec<GeneratorArgs> = "configMapGenerator",
        secret_generator: Vec<GeneratorArgs> = "secretGenerator",
        helm_globals: Option<Anything> = "helmGlobals",
        helm_charts: Vec<Anything> = "helmCharts",
        helm_chart_inflation_generator: Vec<Anything> = "helmChartInflationGenerator",
        generator_options: Option<GeneratorOptions> = "generatorOptions",
        configurations: Vec<String> = "configurations",
        generators: Vec<String> = "generators",
        transformers: Vec<String> = "transformers",
        validators: Vec<String> = "validators",
        build_metadata: Vec<String> = "buildMetadata",
    }
}

configuration! {
    /// Metadata of a kustomization or of a plug-in's configuration.
    ObjectMeta {
        name: String = "name",
        namespace: String = "namespace",
        labels: TextMap = "labels",
        annotations: TextMap = "annotations",
    }
}

configuration! {
    /// `labels` entry.
    Label {
        pairs: TextMap = "pairs",
        include_selectors: bool = "includeSelectors",
        include_templates: bool = "includeTemplates",
        /// Not in 5.8.1, which refuses it.
        include_volume_claim_templates: bool = "includeVolumeClaimTemplates",
        fields: Vec<FieldSpecConfig> = "fields",
    }
}

configuration! {
    /// A field spec as written.
    FieldSpecConfig {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        path: String = "path",
        create: bool = "create",
    }
}

configuration! {
    /// `patches` or `patchesJson6902` entry.
    Patch {
        path: String = "path",
        text: String = "patch",
        target: Option<Selector> = "target",
        options: Option<PatchOptions> = "options",
    }
}

configuration! {
    /// What a patch may change beyond contents.
    PatchOptions {
        allow_name_change: bool = "allowNameChange",
        allow_kind_change: bool = "allowKindChange",
    }
}

configuration! {
    /// Which objects something applies to.
    Selector {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        annotations: String = "annotationSelector",
        labels: String = "labelSelector",
    }
}

configuration! {
    /// `images` entry.
    Image {
        name: String = "name",
        new_name: String = "newName",
        tag_suffix: String = "tagSuffix",
        new_tag: String = "newTag",
        digest: String = "digest",
    }
}

configuration! {
    /// `replicas` entry.
    Replica {
        name: String = "name",
        count: i64 = "count",
    }
}

configuration! {
    /// `replacements` entry: inline, or the path of a file.
    ReplacementField {
        path: String = "path",
        source: Option<Source> = "source",
        targets: Option<Vec<Target>> = "targets",
        source_value: Option<String> = "sourceValue",
    }
}

configuration! {
    /// Where a replacement takes its value.
    Source {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        field_path: String = "fieldPath",
        options: Option<FieldOptions> = "options",
    }
}

configuration! {
    /// Where a replacement puts its value.
    Target {
        select: Option<Selector> = "select",
        reject: Vec<Selector> = "reject",
        field_paths: Vec<String> = "fieldPaths",
        options: Option<FieldOptions> = "options",
    }
}

configuration! {
    /// How a replacement cuts up a text.
    FieldOptions {
        delimiter: String = "delimiter",
        index: i64 = "index",
        encoding: String = "encoding",
        create: bool = "create",
    }
}

configuration! {
    /// `vars` entry.
    Var {
        name: String = "name",
        objref: VarTarget = "objref",
        fieldref: VarField = "fieldref",
    }
}

configuration! {
    /// The object a variable reads.
    VarTarget {
        api_version: String = "apiVersion",
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
    }
}

configuration! {
    /// The field a variable reads.
    VarField {
        field_path: String = "fieldPath",
    }
}

configuration! {
    /// `sortOptions`.
    SortOptions {
        order: String = "order",
        legacy_sort_options: Option<LegacySortOptions> = "legacySortOptions",
    }
}

configuration! {
    /// Kinds that come first and last.
    LegacySortOptions {
        order_first: Vec<String> = "orderFirst",
        order_last: Vec<String> = "orderLast",
    }
}

configuration! {
    /// `configMapGenerator` or `secretGenerator` entry.
    GeneratorArgs {
        namespace: String = "namespace",
        name: String = "name",
        behavior: String = "behavior",
        literals: Vec<String> = "literals",
        files: Vec<String> = "files",
        envs: Vec<String> = "envs",
        env: String = "env",
        options: Option<GeneratorOptions> = "options",
        /// Secrets only.
        secret_type: String = "type",
    }
}

configuration! {
    /// `generatorOptions`, or the `options` of one generator.
    GeneratorOptions {
        labels: TextMap = "labels",
        annotations: TextMap = "annotations",
        disable_name_suffix_hash: bool = "disableNameSuffixHash",
        immutable: bool = "immutable",
    }
}

/// A value that is only looked at to refuse it.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(crate) struct Anything;

impl Decode for Anything {
    fn decode(_: &Node, _: Unknown) -> crate::decode::Decoded<Self> {
        Ok(Self)
    }
}

impl Kustomization {
    /// Reads a kustomization file and applies the defaults.
    pub(crate) fn read(text: &str, file: &str, limits: &Limits) -> Result<Self, RenderError> {
        let document = parse::single(text, file, Dialect::Configuration, limits)?;
        let Some(document) = document else {
            return Err(empty(file));
        };
        let mut read = Self::decode(&document.node, Unknown::Refused)
            .map_err(|faults| decode_failed(faults, text, file, "invalid kustomization"))?;
        read.check_secret_only_fields(text, file)?;
        read.apply_defaults();
        if says_nothing(&document.node) {
            return Err(empty(file));
        }
        read.check_type(text, file)?;
        read.check_supported(text, file)?;
        Ok(read)
    }

    /// `type` belongs to secrets; the two generators share one struct.
    fn check_secret_only_fields(&self, text: &str, file: &str) -> Result<(), RenderError> {
        let wrong = self
            .config_map_generator
            .iter()
            .position(|args| !args.secret_type.is_empty());
        let Some(at) = wrong else { return Ok(()) };
        let path = vec![
            "configMapGenerator".to_owned(),
            at.to_string(),
            "type".to_owned(),
        ];
        let fault = DecodeError {
            path,
            message: "unknown field `type`".to_owned(),
            hint: None,
        };
        Err(decode_failed(
            vec![fault],
            text,
            file,
            "invalid kustomization",
        ))
    }

    fn apply_defaults(&mut self) {
        if self.kind.is_empty() {
            KUSTOMIZATION.0.clone_into(&mut self.kind);
        }
        if self.api_version.is_empty() {
            self.required_version().clone_into(&mut self.api_version);
        }
        self.resources.append(&mut self.bases);
        self.images.append(&mut self.image_tags);
        for args in self
            .config_map_generator
            .iter_mut()
            .chain(&mut self.secret_generator)
        {
            if !args.env.is_empty() {
                args.envs.push(std::mem::take(&mut args.env));
            }
        }
    }

    pub(crate) fn is_component(&self) -> bool {
        self.kind == COMPONENT.0
    }

    fn required_version(&self) -> &'static str {
        if self.is_component() {
            COMPONENT.1
        } else {
            KUSTOMIZATION.1
        }
    }

    fn check_type(&self, text: &str, file: &str) -> Result<(), RenderError> {
        let fault = if ![KUSTOMIZATION.0, COMPONENT.0].contains(&self.kind.as_str()) {
            (
                "kind",
                format!("kind should be {} or {}", KUSTOMIZATION.0, COMPONENT.0),
            )
        } else if self.api_version != self.required_version() {
            let message = format!(
                "apiVersion for {} should be {}",
                self.kind,
                self.required_version()
            );
            ("apiVersion", message)
        } else {
            return Ok(());
        };
        let (field, message) = fault;
        let place = parse::locate(text, file, &[field.to_owned()]);
        Err(RenderError::invalid(message).at(place.unwrap_or_else(|| Place::file_only(file))))
    }

    /// Refuses what kustomize would run a program for.
    fn check_supported(&self, text: &str, file: &str) -> Result<(), RenderError> {
        let field = if !self.helm_charts.is_empty() {
            "helmCharts"
        } else if !self.helm_chart_inflation_generator.is_empty() {
            "helmChartInflationGenerator"
        } else {
            return Ok(());
        };
        let place = parse::locate(text, file, &[field.to_owned()]);
        Err(RenderError::refused(format!("`{field}` would run helm, which a build never does"))
            .at(place.unwrap_or_else(|| Place::file_only(file)))
            .hint("render the chart with `helm template`, commit the result and list it under `resources`"))
    }
}

/// Whether only the type is given; an empty list counts as something.
fn says_nothing(node: &Node) -> bool {
    node.as_mapping().is_none_or(|map| {
        map.iter().all(|(key, value)| {
            key.eq_ignore_ascii_case("apiVersion")
                || key.eq_ignore_ascii_case("kind")
                || value.is_null()
                || value.text() == Some("")
        })
    })
}

fn empty(file: &str) -> RenderError {
    RenderError::invalid("the kustomization file is empty")
        .at(Place::file_only(file))
        .hint("list at least one entry under `resources`")
}

/// Turns the faults of a decoder into errors with places.
pub(crate) fn decode_failed(
    faults: Vec<DecodeError>,
    text: &str,
    file: &str,
    what: &str,
) -> RenderError {
    let errors = faults
        .into_iter()
        .map(
            |DecodeError {
                 path,
                 message,
                 hint,
             }| {
                let field = if path.is_empty() || message.contains('`') {
                    String::new()
                } else {
                    format!(" in {}", path.join("."))
                };
                let place = parse::locate(text, file, &path);
                let error = RenderError::invalid(format!("{what}: {message}{field}"))
                    .at(place.unwrap_or_else(|| Place::file_only(file)));
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            },
        )
        .collect();
    RenderError::join(errors).unwrap_or_else(|| RenderError::invalid(what.to_owned()))
}
