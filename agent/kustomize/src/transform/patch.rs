//! Patches of both kinds: which one a text is, and what it applies to.

use std::hash::Hash;
use std::sync::Arc;

use super::json_patch::JsonPatch;
use super::strategic_merge;
use crate::chain::{Reach, Step};
use crate::environment::Environment;
use crate::error::{Place, RenderError};
use crate::id::ResourceId;
use crate::kustomization::{PatchOptions, Selector};
use crate::limits::Limits;
use crate::read;
use crate::resource::{Resource, edit};
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::selector::Matcher;
use crate::yaml::parse::{self, Dialect};
use crate::yaml::{Mapping, Node, json, resolve};

/// A patch text, and where it was found.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct PatchText<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
}

/// What a patch text turned out to be.
#[derive(Debug)]
enum Parsed {
    Nothing,
    Strategic(Vec<Resource>),
    Json(JsonPatch),
}

/// What one entry asks for.
pub(crate) enum Patches {
    /// A step for every object that the target selects.
    Selected(Step<'static>),
    /// Patches that say themselves which object they are for.
    Named(Vec<Named>),
    Nothing,
}

/// A strategic merge for the one object that it names.
pub(crate) struct Named {
    id: ResourceId,
    file: String,
    /// What to say in errors that it happened in.
    pub(crate) context: Option<String>,
    /// Whether the patch may rename the object.
    pub(crate) renames: bool,
    pub(crate) step: Step<'static>,
}

/// Reads one entry of `patches`.
pub(crate) fn entry(
    patch: PatchText<'_>,
    target: Option<&Selector>,
    options: &PatchOptions,
    environment: &Environment,
) -> Result<Patches, RenderError> {
    let within = |error: RenderError| error.within(format!("the patch {}", patch.file));
    let Environment {
        schema,
        limits,
        key,
    } = environment;
    let configuration = (key, patch, target, options);
    let file = patch.file.to_owned();
    let schema = Arc::clone(schema);
    match (parse(patch, limits).map_err(within)?, target) {
        (Parsed::Nothing, _) => Ok(Patches::Nothing),
        (Parsed::Strategic(patches), None) => {
            let named = patches
                .into_iter()
                .enumerate()
                .map(|(number, patch)| Named {
                    id: patch.id(&schema),
                    file: file.clone(),
                    context: Some(format!("the patch {file}")),
                    renames: options.allow_name_change || options.allow_kind_change,
                    step: merge_step(Ok(patch), options, &(configuration, number), environment),
                });
            Ok(Patches::Named(named.collect()))
        }
        (Parsed::Strategic(patches), Some(target)) => {
            let mut patches = patches.into_iter();
            let (Some(one), None) = (patches.next(), patches.next()) else {
                return Err(within(
                    RenderError::invalid("a patch with a target must be one document")
                        .hint("remove `target`, or make each document an entry of its own"),
                ));
            };
            let target = Matcher::new(target).map_err(within)?;
            let one = with_texts(one);
            let options = options.clone();
            Ok(Patches::Selected(Step::new(
                "patch",
                &configuration,
                move |object| {
                    if !target.selects(object, &schema) {
                        return Ok(Reach::Passed);
                    }
                    one.clone()
                        .and_then(|mut one| {
                            check_new_labels(object, &one)?;
                            one.set_api_version(&object.gvk().api_version());
                            merge(edit(object), one.node, &options, &schema)
                        })
                        .map_err(|error| error.within(format!("the patch {file}")))?;
                    Ok(Reach::Touched)
                },
            )))
        }
        (Parsed::Json(_), None) => Err(within(
            RenderError::invalid("must specify a target for a JSON patch")
                .hint("add `target: {kind: ..., name: ...}` beside the patch"),
        )),
        (Parsed::Json(patch), Some(target)) => {
            let target = Matcher::new(target).map_err(within)?;
            Ok(Patches::Selected(Step::new(
                "JSON patch",
                &configuration,
                move |object| {
                    if !target.selects(object, &schema) {
                        return Ok(Reach::Passed);
                    }
                    let object = edit(object);
                    object.remember_name(&schema);
                    apply_json(object, &patch)
                        .map_err(|error| error.within(format!("the patch {file}")))?;
                    Ok(Reach::Touched)
                },
            )))
        }
    }
}

/// Reads one entry of `patchesJson6902`.
pub(crate) fn json6902(
    patch: PatchText<'_>,
    target: Option<&Selector>,
    environment: &Environment,
) -> Result<Step<'static>, RenderError> {
    let target = target
        .filter(|target| !target.name.is_empty())
        .ok_or_else(|| {
            RenderError::invalid("must specify the target name of a JSON patch")
                .hint("add `target: {kind: ..., name: ...}` beside the patch")
        })?;
    let parsed = parse_json(patch, &environment.limits)?;
    if parsed.is_empty() {
        return Err(RenderError::invalid("the patch appears to be empty"));
    }
    let configuration = (environment.key, patch, target);
    let schema = Arc::clone(&environment.schema);
    let target = Matcher::new(target)?;
    Ok(Step::new(
        "patchesJson6902",
        &configuration,
        move |object| {
            if !target.selects(object, &schema) {
                return Ok(Reach::Passed);
            }
            apply_json(edit(object), &parsed)?;
            Ok(Reach::Touched)
        },
    ))
}

/// The patches of a text of `patchesStrategicMerge`, already read.
pub(crate) fn strategic_merges(
    text: PatchText<'_>,
    patches: Vec<Resource>,
    environment: &Environment,
) -> Vec<Named> {
    let options = PatchOptions::default();
    let named = patches
        .into_iter()
        .enumerate()
        .map(|(number, patch)| Named {
            id: patch.id(&environment.schema),
            file: text.file.to_owned(),
            context: None,
            renames: false,
            step: merge_step(with_texts(patch), &options, &(text, number), environment),
        });
    named.collect()
}

fn merge_step(
    patch: Result<Resource, RenderError>,
    options: &PatchOptions,
    configuration: &impl Hash,
    environment: &Environment,
) -> Step<'static> {
    let (options, schema) = (options.clone(), Arc::clone(&environment.schema));
    let configuration = (environment.key, configuration);
    Step::new("strategic merge", &configuration, move |object| {
        merge(edit(object), patch.clone()?.node, &options, &schema)?;
        Ok(Reach::Touched)
    })
}

/// A text is tried as both kinds and must be exactly one.
fn parse(patch: PatchText<'_>, limits: &Limits) -> Result<Parsed, RenderError> {
    let strategic = read::resources(patch.text, patch.file, limits);
    let json = parse_json(patch, limits);
    match (strategic, json) {
        (Ok(strategic), Ok(json)) if !strategic.is_empty() && !json.is_empty() => Err(
            RenderError::invalid("the text is both a strategic merge and a JSON patch"),
        ),
        (Ok(strategic), _) if strategic.is_empty() => Ok(Parsed::Nothing),
        (Ok(strategic), _) => Ok(Parsed::Strategic(strategic)),
        (Err(_), Ok(json)) => Ok(Parsed::Json(json)),
        (Err(strategic), Err(json)) => {
            // What the text looks like decides whose complaint helps.
            let looks_like_json = patch.text.trim_start().starts_with(['[', '-']);
            let error = if looks_like_json { json } else { strategic };
            Err(error.within("a text that parses neither as a strategic merge nor as a JSON patch"))
        }
    }
}

fn parse_json(patch: PatchText<'_>, limits: &Limits) -> Result<JsonPatch, RenderError> {
    let wrong = |message: String| RenderError::malformed(format!("{message} in {}", patch.file));
    if patch.text.is_empty() {
        return Err(wrong("empty JSON patch".to_owned()));
    }
    let document = if patch.text.starts_with('[') {
        serde_json::from_str(patch.text).map_err(|error| {
            let place = Place::new(patch.file, patch.text, error.line(), error.column());
            RenderError::malformed(format!("the JSON patch does not parse: {error}")).at(place)
        })?
    } else {
        match parse::single(patch.text, patch.file, Dialect::Configuration, limits)? {
            None => serde_json::Value::Null,
            Some(document) => json::to_value(&document.node).map_err(wrong)?,
        }
    };
    JsonPatch::decode(document).map_err(wrong)
}

impl Named {
    /// The position of the one object that the patch is for: by group, version, kind, namespace
    /// and name, present or former.
    pub(crate) fn find(
        &self,
        objects: &mut ResourceMap,
        schema: &Schema,
    ) -> Result<usize, RenderError> {
        let Self {
            id, file, context, ..
        } = self;
        let matches = objects.with_any_id(id, schema);
        let (what, hint) = match matches.as_slice() {
            [position] => return Ok(*position),
            [] => (
                "no resource matches".to_owned(),
                "apiVersion, kind, name and namespace must be those of one resource as it is read; use `target` to select otherwise",
            ),
            several => (
                format!("{} resources match", several.len()),
                "use `target` to select one of them",
            ),
        };
        let error = RenderError::invalid(format!("{what} strategic merge patch {id}"));
        let error = error.at(Place::file_only(file)).hint(hint);
        Err(within(error, context.as_deref()))
    }
}

/// Says of an error in which patch it happened.
pub(crate) fn within(error: RenderError, context: Option<&str>) -> RenderError {
    match context {
        Some(context) => error.within(context),
        None => error,
    }
}

/// A patch for selected objects has its labels and annotations taken as strings.
fn with_texts(mut patch: Resource) -> Result<Resource, RenderError> {
    patch.stringify("labels")?;
    patch.stringify("annotations")?;
    Ok(patch)
}

/// The labels of a patch for selected objects have lost their quotes; those that an object already
/// has keep the ones there.
fn check_new_labels(object: &Resource, patch: &Resource) -> Result<(), RenderError> {
    let labels = patch
        .node
        .get("metadata")
        .and_then(|meta| meta.get("labels"));
    let labels = labels
        .and_then(Node::as_mapping)
        .into_iter()
        .flat_map(Mapping::iter);
    let mut new = labels.filter(|(key, _)| object.label(key).is_none());
    new.try_for_each(|(key, _)| resolve::bare_key(key))
        .map_err(|error| {
            let place = object.describe();
            RenderError::invalid(format!("cannot print the labels of {place}: {error}"))
        })
}

/// Merges a patch into one object. Name, kind and namespace are put back afterwards.
fn merge(
    object: &mut Resource,
    patch: Node,
    options: &PatchOptions,
    schema: &Schema,
) -> Result<(), RenderError> {
    let (kind, name) = (object.kind().to_owned(), object.name().to_owned());
    let namespace = object.namespace().to_owned();
    if options.allow_name_change || options.allow_kind_change {
        object.remember_name(schema);
    }
    let kept = strategic_merge::merge(&mut object.node, patch, schema).map_err(|error| {
        RenderError::invalid(format!("cannot patch {}: {error}", object.describe()))
    })?;
    if !kept {
        object.node = Node::null();
    }
    if object.node.is_null_or_empty() {
        return Ok(());
    }
    if !options.allow_kind_change {
        object.set_kind(&kind);
    }
    if !options.allow_name_change {
        object.set_name(&name)?;
    }
    object.set_namespace(&namespace)?;
    object.settle_aliases();
    Ok(())
}

fn apply_json(object: &mut Resource, patch: &JsonPatch) -> Result<(), RenderError> {
    let place = object.describe();
    let wrong = |error: String| RenderError::invalid(format!("cannot patch {place}: {error}"));
    let mut document = json::to_value(&object.node).map_err(wrong)?;
    patch.apply(&mut document).map_err(wrong)?;
    if !document.is_object() {
        return Err(wrong("the patch leaves no map".to_owned()));
    }
    object.node = json::from_value(document);
    object.stringify("annotations")
}
