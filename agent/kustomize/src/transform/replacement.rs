//! Replacements: a value of one object copied into fields of others.

use smol_str::SmolStr;

use crate::chain::{Chain, Reach, Step};
use crate::digest;
use crate::environment::Environment;
use crate::error::RenderError;
use crate::id::{Gvk, ResourceId};
use crate::kustomization::{FieldOptions, ReplacementField, Source, Target};
use crate::limits::Limits;
use crate::path::{self, Found, New, Prepared};
use crate::resource::{Resource, edit};
use crate::resource_map::ResourceMap;
use crate::selector::Matcher;
use crate::yaml::parse::{self, Dialect};
use crate::yaml::{Node, Scalar, emit, json};

const NAME: &str = "metadata.name";

/// Adds the steps of one replacement to a chain. Its value is taken now, so nothing may wait in
/// the chain that changes it.
pub(crate) fn push(
    chain: &mut Chain<'static>,
    objects: &ResourceMap,
    replacement: &ReplacementField,
    environment: &Environment,
) -> Result<(), RenderError> {
    let ReplacementField {
        path: _,
        source,
        targets,
        source_value,
    } = replacement;
    let Some(targets) = targets else {
        return Err(RenderError::invalid(
            "replacements must specify a source and at least one target",
        ));
    };
    let value = match (source, source_value) {
        (None, None) => {
            return Err(RenderError::invalid(
                "replacements must specify a source and at least one target",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(RenderError::invalid(
                "source and sourceValue are mutually exclusive",
            ));
        }
        (None, Some(text)) => Node::plain(text.as_str()),
        (Some(source), None) => source_value_of(objects, source)?,
    };
    for target in targets {
        chain.push(step(&value, target, environment)?);
    }
    Ok(())
}

/// Ids as replacements see them: namespaces as they are written.
fn ids(object: &Resource) -> Vec<(ResourceId, SmolStr)> {
    let current = ResourceId {
        gvk: object.gvk(),
        name: object.name().into(),
        namespace: object.namespace().into(),
    };
    let all = std::iter::once(current).chain(object.former_ids());
    all.map(|id| (id.clone(), id.namespace)).collect()
}

fn source_value_of(objects: &ResourceMap, source: &Source) -> Result<Node, RenderError> {
    let Source {
        group,
        version,
        kind,
        name,
        namespace,
        field_path,
        options,
    } = source;
    let wanted = Gvk {
        group: group.clone().into(),
        version: version.clone().into(),
        kind: kind.clone().into(),
    };
    let effective = |namespace: &str| {
        if namespace.is_empty() {
            "default"
        } else {
            namespace
        }
        .to_owned()
    };
    let selects = |(id, written): &(ResourceId, SmolStr)| {
        (name.is_empty() || *name == id.name)
            && (namespace.is_empty() || effective(namespace) == effective(written))
            && id.gvk.is_selected(&wanted)
    };
    // Most objects are told apart by their names alone.
    let is_called_so = |object: &&Resource| {
        name.is_empty()
            || object.name() == name
            || object.former.iter().any(|former| former.name == *name)
    };
    let mut matches = objects
        .iter()
        .filter(is_called_so)
        .filter(|object| ids(object).iter().any(selects));
    let described = || {
        let parts = [kind, name, namespace].map(String::as_str);
        parts
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let object = match (matches.next(), matches.next()) {
        (Some(object), None) => object,
        (None, _) => {
            return Err(RenderError::invalid(format!(
                "nothing selected by replacement source {}",
                described()
            ))
            .hint("the source must name one object of this kustomization"));
        }
        (Some(first), Some(second)) => {
            return Err(RenderError::invalid(format!(
                "multiple matches for replacement source {}: {} and {}",
                described(),
                first.describe(),
                second.describe()
            )));
        }
    };
    let field = if field_path.is_empty() {
        NAME
    } else {
        field_path
    };
    let value = path::lookup(&object.node, &path::split(field)).map_err(|error| {
        RenderError::invalid(format!(
            "error looking up replacement source {field} of {}: {error}",
            object.describe()
        ))
    })?;
    let Some(value) = value.filter(|value| !value.is_null_or_empty()) else {
        return Err(RenderError::invalid(format!(
            "fieldPath `{field}` is missing for replacement source {}",
            object.describe()
        )));
    };
    match options
        .as_ref()
        .filter(|options| !options.delimiter.is_empty())
    {
        None => Ok(value.clone()),
        Some(options) => part_of(value, options),
    }
}

/// The part of a text between delimiters that `index` counts.
fn part_of(value: &Node, options: &FieldOptions) -> Result<Node, RenderError> {
    let Node::Scalar(scalar) = value else {
        return Err(RenderError::invalid(
            "delimiter option can only be used with scalar nodes",
        ));
    };
    let part = usize::try_from(options.index)
        .ok()
        .and_then(|index| scalar.text.split(&options.delimiter).nth(index));
    let Some(part) = part else {
        return Err(RenderError::invalid(format!(
            "options.index {} is out of bounds for value {}",
            options.index, scalar.text
        )));
    };
    Ok(Node::Scalar(Scalar {
        text: part.into(),
        ..scalar.clone()
    }))
}

/// A field to copy into.
struct Field {
    path: String,
    steps: Vec<String>,
    prepared: Vec<Prepared>,
}

impl Field {
    fn new(path: &str) -> Self {
        let steps = path::split(path);
        let prepared = path::prepare(&steps);
        let path = path.to_owned();
        Self {
            path,
            steps,
            prepared,
        }
    }
}

fn step(
    value: &Node,
    target: &Target,
    environment: &Environment,
) -> Result<Step<'static>, RenderError> {
    let Some(select) = &target.select else {
        return Err(RenderError::invalid(
            "a replacement target must specify resources to select",
        ));
    };
    let select = Matcher::new(select)?;
    let reject: Vec<Matcher> = target
        .reject
        .iter()
        .map(Matcher::new)
        .collect::<Result<_, _>>()?;
    let name = [NAME.to_owned()];
    let fields = if target.field_paths.is_empty() {
        &name[..]
    } else {
        &target.field_paths
    };
    let fields: Vec<Field> = fields.iter().map(|field| Field::new(field)).collect();
    let configuration = (environment.key, digest::of_tree(value), target);
    let (value, options) = (value.clone(), target.options.clone());
    let limits = environment.limits.clone();
    Ok(Step::new("replacement", &configuration, move |object| {
        if !is_selected(object, &select, &reject) {
            return Ok(Reach::Passed);
        }
        let object = edit(object);
        for field in &fields {
            let options = options.as_ref();
            let copied = copy(&mut object.node, &value, field, options, &limits);
            copied.map_err(|error| {
                RenderError::invalid(format!("{error} of {}", object.describe()))
            })?;
        }
        object.settle_aliases();
        Ok(Reach::Touched)
    }))
}

fn is_selected(object: &Resource, select: &Matcher, reject: &[Matcher]) -> bool {
    let ids = ids(object);
    let any = |matcher: &Matcher| {
        ids.iter()
            .any(|(id, namespace)| matcher.matches_id(id, namespace))
    };
    select.matches_labels(object)
        && any(select)
        && !reject.iter().any(|matcher| {
            (matcher.has_labels() && matcher.matches_labels(object))
                || (matcher.has_id() && any(matcher))
        })
}

fn copy(
    target: &mut Node,
    value: &Node,
    field: &Field,
    options: Option<&FieldOptions>,
    limits: &Limits,
) -> Result<(), String> {
    let creates = options.is_some_and(|options| options.create);
    let new = if creates {
        New::like(value)
    } else {
        New::Nothing
    };
    if set_inside_text(target, value, field, new, options, limits).is_some() {
        return Ok(());
    }
    let not_found = || {
        let verb = if creates { "find or create" } else { "find" };
        format!(
            "unable to {verb} field `{}` in replacement target",
            field.path
        )
    };
    let count = path::visit(target, &field.prepared, new, limits, &mut |node, found| {
        set(node, found, value, options)
    })
    .map_err(|error| format!("{}: {error}", not_found()))?;
    if count == 0 { Err(not_found()) } else { Ok(()) }
}

/// Puts a value in a field. A scalar keeps its type and takes the text; a list or map becomes the
/// value.
fn set(
    target: &mut Node,
    found: Found,
    value: &Node,
    options: Option<&FieldOptions>,
) -> Result<(), String> {
    let mut value = value.clone();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let Node::Scalar(old) = &*target else {
            return Err("delimiter option can only be used with scalar nodes".to_owned());
        };
        let text = value.value().unwrap_or_default();
        let mut parts: Vec<&str> = old.text.split(&options.delimiter).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, text),
            Ok(index) => match parts.get_mut(index) {
                Some(part) => *part = text,
                None => parts.push(text),
            },
        }
        let joined = parts.join(&options.delimiter);
        if let Node::Scalar(scalar) = &mut value {
            scalar.text = joined.into();
        }
    }
    match target {
        Node::Scalar(scalar) => {
            let text = value.text().unwrap_or_default();
            match found {
                Found::Created => *target = Node::plain(text),
                Found::Existing => scalar.replace(Scalar {
                    text: text.into(),
                    ..scalar.clone()
                }),
            }
        }
        Node::Sequence(_) | Node::Mapping(_) => *target = value,
    }
    Ok(())
}

/// Follows a path into YAML or JSON that is the text of a scalar on the way. `None` if there is
/// no such text, or nothing at the end of the path.
fn set_inside_text(
    target: &mut Node,
    value: &Node,
    field: &Field,
    new: New,
    options: Option<&FieldOptions>,
    limits: &Limits,
) -> Option<()> {
    let Field {
        path: _,
        steps,
        prepared,
    } = field;
    let (_, above) = steps.split_last()?;
    let mut here = &*target;
    let mut split = None;
    for (number, step) in above.iter().enumerate() {
        here = path::lookup(here, std::slice::from_ref(step)).ok()??;
        if let Node::Scalar(scalar) = here
            && parse::single(&scalar.text, "the text", Dialect::Resource, limits).is_ok()
        {
            split = Some(number + 1);
            break;
        }
    }
    let split = split?;
    let (outer, inner) = (steps.get(..split)?, prepared.get(split..)?);
    let Node::Scalar(scalar) = path::lookup_mut(target, outer)? else {
        return None;
    };
    let mut document = parse::single(&scalar.text, "the text", Dialect::Resource, limits)
        .ok()??
        .node;
    let count = path::visit(&mut document, inner, new, limits, &mut |node, found| {
        // 5.8.1 forgets the options here and puts the whole value; later versions do not.
        set(node, found, value, options)
    })
    .ok()?;
    if count == 0 {
        return None;
    }
    scalar.text = written(&document, &scalar.text)?.into();
    Some(())
}

/// The changed document in the form of the text it came from.
fn written(document: &Node, original: &str) -> Option<String> {
    let json = json::to_value(document).ok()?;
    if !original.trim_start().starts_with(['{', '[']) {
        return Some(emit::ordered(document).trim().to_owned());
    }
    if original.contains('\n') && original.contains("  ") {
        let pretty = serde_json::to_string_pretty(&json).ok()?;
        return Some(super::hash::escape_html(&pretty));
    }
    Some(super::hash::go_json(&json))
}
