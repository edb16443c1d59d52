//! Built-in generators and transformers given as objects of their own, in the files that
//! `generators:`, `transformers:` and `validators:` name.

use crate::configuration::specs;
use crate::decode::{Decode, Unknown, configuration};
use crate::error::{Place, RenderError};
use crate::field_spec::FieldSpec;
use crate::generate::Generated;
use crate::kustomization::{
    FieldSpecConfig, GeneratorArgs, Image, ObjectMeta, PatchOptions, ReplacementField, Replica,
    Selector, TextMap,
};
use crate::provenance::Agent;
use crate::resource::Resource;
use crate::transform::namespace::{Existing, NamespaceChange, Subjects};
use crate::yaml::{Mapping, Node};

/// A generator that an object configures.
#[derive(Debug)]
pub(crate) enum Generator {
    Args(Generated, Box<GeneratorArgs>),
    /// An object that is known already.
    Object(Node),
}

/// A transformer that an object configures.
#[derive(Debug)]
pub(crate) enum Transformer {
    TextMap(TextMap, Vec<FieldSpec>),
    Hash,
    Image(Image, Vec<FieldSpec>),
    Namespace(NamespaceChange),
    Json6902 {
        patch: PatchSource,
        target: Option<Selector>,
    },
    /// Entries are patches or the paths of files with patches.
    StrategicMerge(Vec<String>),
    Patch {
        patch: PatchSource,
        target: Option<Selector>,
        options: PatchOptions,
    },
    Prefix(String, Vec<FieldSpec>),
    Suffix(String, Vec<FieldSpec>),
    Replacements(Vec<ReplacementField>),
    Replica(Replica, Vec<FieldSpec>),
    ValueAdd {
        value: String,
        targets: Vec<ValueTarget>,
        target_file: String,
    },
}

/// A patch, inline or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatchSource {
    pub(crate) path: String,
    pub(crate) text: String,
}

configuration! {
    /// Every field that some built-in plug-in has; each plug-in looks at its own.
    PluginConfig {
        metadata: Option<ObjectMeta> = "metadata",
        annotations: TextMap = "annotations",
        labels: TextMap = "labels",
        field_specs: Option<Vec<FieldSpecConfig>> = "fieldSpecs",
        image_tag: Image = "imageTag",
        unset_only: bool = "unsetOnly",
        set_role_binding_subjects: String = "setRoleBindingSubjects",
        target: Option<Selector> = "target",
        path: String = "path",
        json_op: String = "jsonOp",
        patch: String = "patch",
        options: Option<PatchOptions> = "options",
        paths: Vec<String> = "paths",
        patches: String = "patches",
        prefix: String = "prefix",
        suffix: String = "suffix",
        replacements: Vec<ReplacementField> = "replacements",
        replica: Replica = "replica",
        value: String = "value",
        targets: Vec<ValueTarget> = "targets",
        target_file_path: String = "targetFilePath",
        cloud: String = "cloud",
        kubernetes_service: KubernetesService = "kubernetesService",
        service_account: ServiceAccount = "serviceAccount",
    }
}

configuration! {
    /// Where a `ValueAddTransformer` puts its value.
    ValueTarget {
        selector: Option<Selector> = "selector",
        field_path: String = "fieldPath",
        file_path_position: i64 = "filePathPosition",
    }
}

configuration! {
    /// A file of targets.
    ValueTargets {
        targets: Vec<ValueTarget> = "targets",
    }
}

configuration! {
    /// The account in the cluster.
    KubernetesService {
        name: String = "name",
        namespace: String = "namespace",
    }
}

configuration! {
    /// The account in the cloud.
    ServiceAccount {
        name: String = "name",
        project_id: String = "projectId",
    }
}

/// Who to name in `buildMetadata` annotations.
pub(crate) fn agent(object: &Resource, configured_in: &str) -> Agent {
    Agent {
        configured_in: configured_in.to_owned(),
        api_version: object.gvk().api_version().to_string(),
        kind: object.kind().to_owned(),
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
    }
}

fn place(object: &Resource) -> Place {
    Place::file_only(&object.origin.file)
}

fn decode<T: Decode>(node: &Node, object: &Resource) -> Result<T, RenderError> {
    T::decode(node, Unknown::Ignored).map_err(|faults| {
        let errors = faults.into_iter().map(|fault| {
            let field = fault.path.join(".");
            RenderError::invalid(format!(
                "{} fails configuration: {} in {field}",
                object.describe(),
                fault.message
            ))
            .at(place(object))
        });
        RenderError::join(errors.collect())
            .unwrap_or_else(|| RenderError::invalid("plug-in fails configuration"))
    })
}

/// Fails unless kustomize itself has the plug-in.
fn check_built_in(object: &Resource) -> Result<(), RenderError> {
    let gvk = object.gvk();
    if gvk.group.is_empty() && gvk.version == "builtin" {
        return Ok(());
    }
    Err(RenderError::refused(format!(
        "{} would run a plug-in or a function, which a build never does",
        object.describe()
    ))
    .at(place(object))
    .hint("use a built-in (apiVersion: builtin), or commit what the plug-in makes"))
}

/// The generator that an object configures.
pub(crate) fn generator(object: &Resource) -> Result<Generator, RenderError> {
    check_built_in(object)?;
    let generated = match object.kind() {
        "ConfigMapGenerator" => Generated::ConfigMap,
        "SecretGenerator" => Generated::Secret,
        "IAMPolicyGenerator" => return iam_policy(object).map(Generator::Object),
        "HelmChartInflationGenerator" => {
            return Err(RenderError::refused(format!(
                "{} would run helm, which a build never does",
                object.describe()
            ))
            .at(place(object))
            .hint("render the chart with `helm template` and commit the result"));
        }
        other => {
            return Err(
                RenderError::invalid(format!("{other} is no built-in generator")).at(place(object)),
            );
        }
    };
    let mut args: GeneratorArgs = decode(&object.node, object)?;
    if args.name.is_empty() {
        object.name().clone_into(&mut args.name);
    }
    if args.namespace.is_empty() {
        object.namespace().clone_into(&mut args.namespace);
    }
    if !args.env.is_empty() {
        args.envs.push(std::mem::take(&mut args.env));
    }
    Ok(Generator::Args(generated, Box::new(args)))
}

fn iam_policy(object: &Resource) -> Result<Node, RenderError> {
    let config: PluginConfig = decode(&object.node, object)?;
    if config.cloud != "gke" {
        return Err(RenderError::invalid(format!(
            "cloud provider {} not supported yet",
            config.cloud
        ))
        .at(place(object)));
    }
    let ServiceAccount {
        name: account,
        project_id,
    } = &config.service_account;
    let KubernetesService { name, namespace } = &config.kubernetes_service;
    let email = format!("{account}@{project_id}.iam.gserviceaccount.com");
    let map = |entries: Vec<(&str, Node)>| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Node::Mapping(entries.collect::<Mapping>())
    };
    let mut metadata = vec![
        (
            "annotations",
            map(vec![("iam.gke.io/gcp-service-account", Node::plain(email))]),
        ),
        ("name", Node::plain(name.as_str())),
    ];
    if !namespace.is_empty() {
        metadata.push(("namespace", Node::plain(namespace.as_str())));
    }
    Ok(map(vec![
        ("apiVersion", Node::plain("v1")),
        ("kind", Node::plain("ServiceAccount")),
        ("metadata", map(metadata)),
    ]))
}

/// The transformers that an object configures: two for `PrefixSuffixTransformer`, else one.
pub(crate) fn transformers(object: &Resource) -> Result<Vec<Transformer>, RenderError> {
    check_built_in(object)?;
    let config: PluginConfig = decode(&object.node, object)?;
    let fields = specs(config.field_specs.as_deref().unwrap_or_default());
    let wrong = |message: &str| {
        RenderError::invalid(format!(
            "{} fails configuration: {message}",
            object.describe()
        ))
        .at(place(object))
    };
    let needs_fields = || match config.field_specs {
        Some(_) => Ok(()),
        None => Err(wrong("fieldSpecs is not expected to be nil")),
    };
    Ok(vec![match object.kind() {
        "AnnotationsTransformer" => Transformer::TextMap(config.annotations, fields),
        "LabelTransformer" => Transformer::TextMap(config.labels, fields),
        "HashTransformer" => Transformer::Hash,
        "ImageTagTransformer" => Transformer::Image(config.image_tag, fields),
        "NamespaceTransformer" => Transformer::Namespace(NamespaceChange {
            namespace: config
                .metadata
                .map(|metadata| metadata.namespace)
                .unwrap_or_default(),
            specs: fields,
            existing: if config.unset_only {
                Existing::Kept
            } else {
                Existing::Replaced
            },
            subjects: Subjects::parse(&config.set_role_binding_subjects)?,
        }),
        "PatchJson6902Transformer" => Transformer::Json6902 {
            patch: PatchSource {
                path: config.path,
                text: config.json_op,
            },
            target: config.target,
        },
        "PatchStrategicMergeTransformer" => {
            let mut entries = config.paths;
            if !config.patches.is_empty() {
                entries.push(config.patches);
            }
            if entries.is_empty() {
                return Err(wrong("empty file path and empty patch content"));
            }
            Transformer::StrategicMerge(entries)
        }
        "PatchTransformer" => Transformer::Patch {
            patch: PatchSource {
                path: config.path,
                text: config.patch,
            },
            target: config.target,
            options: config.options.unwrap_or_default(),
        },
        "PrefixTransformer" => {
            needs_fields()?;
            Transformer::Prefix(config.prefix, fields)
        }
        "SuffixTransformer" => {
            needs_fields()?;
            Transformer::Suffix(config.suffix, fields)
        }
        "PrefixSuffixTransformer" => {
            needs_fields()?;
            return Ok(vec![
                Transformer::Prefix(config.prefix, fields.clone()),
                Transformer::Suffix(config.suffix, fields),
            ]);
        }
        "ReplacementTransformer" => Transformer::Replacements(config.replacements),
        "ReplicaCountTransformer" => Transformer::Replica(config.replica, fields),
        "ValueAddTransformer" => Transformer::ValueAdd {
            value: config.value.trim().to_owned(),
            targets: config.targets,
            target_file: config.target_file_path,
        },
        other => {
            return Err(
                RenderError::invalid(format!("{other} is no built-in transformer"))
                    .at(place(object)),
            );
        }
    }])
}
