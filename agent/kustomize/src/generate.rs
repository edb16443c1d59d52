//! `ConfigMaps` and Secrets made from literals, files and environment files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Place, RenderError};
use crate::kustomization::{GeneratorArgs, GeneratorOptions, TextMap};
use crate::loader::Loader;
use crate::resource::{Behavior, Origin, Resource};
use crate::yaml::{Mapping, Node, Scalar, Style, resolve};

/// Which kind a generator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generated {
    ConfigMap,
    Secret,
}

impl Generated {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Makes one object. Files are read relative to the kustomization in `root`.
pub(crate) fn generate(
    generated: Generated,
    args: &GeneratorArgs,
    loader: &Loader<'_>,
    root: &str,
    origin: Origin,
) -> Result<Resource, RenderError> {
    let kind = generated.kind();
    if args.name.is_empty() {
        return Err(
            RenderError::invalid(format!("a generated {kind} must have a name"))
                .hint("give the generator a `name`"),
        );
    }
    let data = pairs(args, loader, root)
        .map_err(|error| error.within(format!("the generator of {kind} {}", args.name)))?;
    let keys = data.iter().map(|(key, _)| key.as_str());
    let no_options = GeneratorOptions::default();
    let options = args.options.as_ref().unwrap_or(&no_options);
    let texts = options.labels.keys().chain(options.annotations.keys());
    let mut keys = keys.chain(texts.map(String::as_str));
    keys.try_for_each(resolve::bare_key).map_err(|error| {
        RenderError::invalid(format!("cannot print {kind} {}: {error}", args.name))
            .hint("give it another key")
    })?;
    let mut metadata = Mapping::new();
    metadata.insert("name", Node::string(args.name.as_str()));
    if !args.namespace.is_empty() {
        metadata.insert("namespace", Node::string(args.namespace.as_str()));
    }
    for (field, texts) in [
        ("labels", &options.labels),
        ("annotations", &options.annotations),
    ] {
        if !texts.is_empty() {
            metadata.insert(field, text_map(texts));
        }
    }
    let mut object = Mapping::new();
    object.insert("apiVersion", Node::string("v1"));
    object.insert("kind", Node::string(kind));
    object.insert("metadata", Node::Mapping(metadata));
    match generated {
        Generated::ConfigMap => {
            for (key, bytes) in data {
                let (field, value) = match String::from_utf8(bytes) {
                    Ok(text) => ("data", text),
                    Err(error) => ("binaryData", base64(error.as_bytes())),
                };
                let map = object.entry(field, || Node::Mapping(Mapping::new()));
                if let Some(map) = map.as_mapping_mut() {
                    map.insert(key, Node::string(value));
                }
            }
        }
        Generated::Secret => {
            let secret_type = if args.secret_type.is_empty() {
                "Opaque"
            } else {
                &args.secret_type
            };
            object.insert("type", Node::string(secret_type));
            let data = data
                .into_iter()
                .map(|(key, bytes)| (key, Node::string(base64(&bytes))));
            object.insert("data", Node::Mapping(data.collect()));
        }
    }
    if options.immutable {
        object.insert("immutable", Node::plain("true"));
    }
    let mut resource = Resource::new(Node::Mapping(object), origin);
    resource.needs_hash = !options.disable_name_suffix_hash;
    resource.behavior = Behavior::parse(&args.behavior);
    Ok(resource)
}

/// The options of one generator together with those of all: what is set locally wins in the maps,
/// a global `true` cannot be undone.
pub(crate) fn merge_options(
    local: Option<&GeneratorOptions>,
    global: Option<&GeneratorOptions>,
) -> Option<GeneratorOptions> {
    let Some(global) = global else {
        return local.cloned();
    };
    let mut merged = local.cloned().unwrap_or_default();
    for (ours, theirs) in [
        (&mut merged.labels, &global.labels),
        (&mut merged.annotations, &global.annotations),
    ] {
        for (key, value) in theirs {
            ours.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    merged.disable_name_suffix_hash |= global.disable_name_suffix_hash;
    merged.immutable |= global.immutable;
    Some(merged)
}

/// Labels and annotations of generators are written in quotes, which later patches keep.
fn single_quoted(text: &str) -> Node {
    Node::Scalar(Scalar {
        style: Style::Single,
        ..Scalar::string(text)
    })
}

fn text_map(texts: &TextMap) -> Node {
    Node::Mapping(
        texts
            .iter()
            .map(|(key, text)| (key.clone(), single_quoted(text)))
            .collect(),
    )
}

/// Environment files first, then literals, then files; a key may come once only.
fn pairs(
    args: &GeneratorArgs,
    loader: &Loader<'_>,
    root: &str,
) -> Result<Vec<(String, Vec<u8>)>, RenderError> {
    let mut pairs = Vec::new();
    for path in &args.envs {
        let (file, bytes) = loader.load(root, path)?;
        env_lines(&bytes, &file, &mut pairs)?;
    }
    for literal in &args.literals {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                RenderError::invalid(format!(
                    "invalid literal source {literal}, expected key=value"
                ))
            })?;
        pairs.push((key.to_owned(), without_quotes(value).as_bytes().to_vec()));
    }
    for source in &args.files {
        let (key, path) = file_source(source)?;
        let (_, bytes) = loader.load(root, path)?;
        pairs.push((key.to_owned(), bytes.into_owned()));
    }
    // A stable sort: of two pairs with one key the later stands right behind the first.
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(key) = pairs
        .iter()
        .zip(pairs.iter().skip(1))
        .find_map(|(a, b)| (a.0 == b.0).then_some(&a.0))
    {
        return Err(RenderError::invalid(format!(
            "{} illegally repeats the key `{key}`",
            args.name
        ))
        .hint("remove one of the two sources"));
    }
    Ok(pairs)
}

fn env_lines(
    bytes: &[u8],
    file: &str,
    pairs: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), RenderError> {
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| {
            RenderError::malformed("a line of an environment file is not UTF-8").at(Place::new(
                file,
                "",
                number + 1,
                1,
            ))
        })?;
        let line = if number == 0 {
            line.strip_prefix('\u{feff}').unwrap_or(line)
        } else {
            line
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if !key.is_empty() {
            pairs.push((key.to_owned(), value.as_bytes().to_vec()));
        }
    }
    Ok(())
}

fn without_quotes(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// `key=path`, or a path whose last step is the key.
fn file_source(source: &str) -> Result<(&str, &str), RenderError> {
    let wrong = |why: &str| RenderError::invalid(format!("{why} in file source `{source}`"));
    match source.split_once('=') {
        None => {
            let trimmed = source.trim_end_matches('/');
            Ok((trimmed.rsplit('/').next().unwrap_or(trimmed), source))
        }
        Some((_, path)) if path.contains('=') => Err(wrong("key name or file path contains `=`")),
        Some(("", _)) => Err(wrong("missing key name")),
        Some((_, "")) => Err(wrong("missing file path")),
        Some((key, path)) => Ok((key, path)),
    }
}

/// Base64 in lines of 70 characters; what fits one line has no line feed.
fn base64(bytes: &[u8]) -> String {
    const LINE: usize = 70;
    let encoded = STANDARD.encode(bytes);
    if encoded.len() < LINE {
        return encoded;
    }
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines.push('\n');
    lines
}
