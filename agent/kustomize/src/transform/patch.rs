//! Patches of both kinds: which one a text is, and what it applies to.

use std::sync::Arc;

use super::json_patch::JsonPatch;
use super::strategic_merge;
use crate::error::RenderError;
use crate::kustomization::{PatchOptions, Selector};
use crate::limits::Limits;
use crate::read;
use crate::resource::Resource;
use crate::resource_map::ResourceMap;
use crate::schema::Schema;
use crate::selector;
use crate::yaml::parse::{self, Dialect};
use crate::yaml::{Node, json};

/// A patch text, and where it was found.
#[derive(Clone, Copy, Debug)]
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

/// Applies one entry of `patches`.
pub(crate) fn apply(
    objects: &mut ResourceMap,
    patch: PatchText<'_>,
    target: Option<&Selector>,
    options: &PatchOptions,
    schema: &Arc<Schema>,
    limits: &Limits,
) -> Result<(), RenderError> {
    match (parse(patch, limits)?, target) {
        (Parsed::Nothing, _) => Ok(()),
        (Parsed::Strategic(patches), None) => patches.into_iter().try_for_each(|patch| {
            let position = find_target(objects, &patch, schema)?;
            apply_strategic(objects, position, patch, options, schema)
        }),
        (Parsed::Strategic(patches), Some(target)) => {
            let mut patches = patches.into_iter();
            let (Some(one), None) = (patches.next(), patches.next()) else {
                return Err(
                    RenderError::invalid("a patch with a target must be one document")
                        .hint("remove `target`, or make each document an entry of its own"),
                );
            };
            apply_to_selected(
                objects,
                &one,
                &selector::select(objects, target, schema)?,
                options,
                schema,
            )
        }
        (Parsed::Json(_), None) => Err(RenderError::invalid(
            "must specify a target for a JSON patch",
        )
        .hint("add `target: {kind: ..., name: ...}` beside the patch")),
        (Parsed::Json(patch), Some(target)) => {
            for position in selector::select(objects, target, schema)? {
                if let Some(object) = objects.list_mut().get_mut(position) {
                    object.remember_name(schema);
                    apply_json(object, &patch)?;
                }
            }
            Ok(())
        }
    }
    .map_err(|error| error.within(format!("the patch {}", patch.file)))
}

/// Applies one entry of `patchesJson6902`.
pub(crate) fn apply_json6902(
    objects: &mut ResourceMap,
    patch: PatchText<'_>,
    target: Option<&Selector>,
    schema: &Arc<Schema>,
    limits: &Limits,
) -> Result<(), RenderError> {
    let target = target
        .filter(|target| !target.name.is_empty())
        .ok_or_else(|| {
            RenderError::invalid("must specify the target name of a JSON patch")
                .hint("add `target: {kind: ..., name: ...}` beside the patch")
        })?;
    let parsed = parse_json(patch, limits)?;
    if parsed.is_empty() {
        return Err(RenderError::invalid("the patch appears to be empty"));
    }
    for position in selector::select(objects, target, schema)? {
        if let Some(object) = objects.list_mut().get_mut(position) {
            apply_json(object, &parsed)?;
        }
    }
    Ok(())
}

/// Applies one entry of `patchesStrategicMerge`, already read.
pub(crate) fn apply_strategic_merge(
    objects: &mut ResourceMap,
    patches: Vec<Resource>,
    schema: &Arc<Schema>,
) -> Result<(), RenderError> {
    for patch in patches {
        let position = find_target(objects, &patch, schema)?;
        apply_to_selected(
            objects,
            &patch,
            &[position],
            &PatchOptions::default(),
            schema,
        )?;
    }
    Ok(())
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
            Err(error.within(format!(
                "the patch {}, which parses neither as a strategic merge nor as a JSON patch",
                patch.file
            )))
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
            let place =
                crate::error::Place::new(patch.file, patch.text, error.line(), error.column());
            RenderError::malformed(format!("the JSON patch does not parse: {error}")).at(place)
        })?
    } else {
        match parse::single(patch.text, patch.file, Dialect::Configuration, limits)? {
            None => serde_json::Value::Null,
            Some(document) => json::into_value(document.node).map_err(wrong)?,
        }
    };
    JsonPatch::decode(document).map_err(wrong)
}

/// The one object that a patch without a target is for: by group, version, kind, namespace and
/// name, present or former.
fn find_target(
    objects: &mut ResourceMap,
    patch: &Resource,
    schema: &Arc<Schema>,
) -> Result<usize, RenderError> {
    let id = patch.id(schema);
    let mut matches = objects.with_any_id(&id, schema);
    matches.retain(|at| {
        objects
            .get(*at)
            .is_some_and(|object| !object.node.is_null_or_empty())
    });
    match matches.as_slice() {
        [position] => Ok(*position),
        [] => Err(RenderError::invalid(format!("no resource matches strategic merge patch {id}"))
            .at(crate::error::Place::file_only(&patch.origin.file))
            .hint("apiVersion, kind, name and namespace must be those of one resource as it is read; use `target` to select otherwise")),
        several => Err(RenderError::invalid(format!(
            "{} resources match strategic merge patch {id}",
            several.len()
        ))
        .at(crate::error::Place::file_only(&patch.origin.file))
        .hint("use `target` to select one of them")),
    }
}

/// A patch for selected objects: its own name and kind do not matter, and its labels and
/// annotations are taken as strings.
fn apply_to_selected(
    objects: &mut ResourceMap,
    patch: &Resource,
    positions: &[usize],
    options: &PatchOptions,
    schema: &Arc<Schema>,
) -> Result<(), RenderError> {
    for position in positions {
        let Some(object) = objects.get(*position) else {
            continue;
        };
        let mut patch = patch.clone();
        patch.stringify("labels")?;
        patch.stringify("annotations")?;
        patch.set_api_version(&object.gvk().api_version());
        apply_strategic(objects, *position, patch, options, schema)?;
    }
    Ok(())
}

/// Merges a patch into one object. Name, kind and namespace are put back afterwards.
fn apply_strategic(
    objects: &mut ResourceMap,
    position: usize,
    patch: Resource,
    options: &PatchOptions,
    schema: &Arc<Schema>,
) -> Result<(), RenderError> {
    let renames = options.allow_name_change || options.allow_kind_change;
    let object = if renames {
        objects.list_mut().get_mut(position)
    } else {
        objects.get_mut(position)
    };
    let Some(object) = object else { return Ok(()) };
    let (kind, name) = (object.kind().to_owned(), object.name().to_owned());
    let namespace = object.namespace().to_owned();
    if renames {
        object.remember_name(schema);
    }
    let kept = strategic_merge::merge(&mut object.node, patch.node, schema).map_err(|error| {
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
