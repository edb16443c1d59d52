//! `buildMetadata`: annotations that say where an object came from and what changed it.

use crate::chain::{Reach, Step};
use crate::error::RenderError;
use crate::resource::{Resource, edit};
use crate::resource_map::ORIGIN_ANNOTATION;
use crate::yaml::{Mapping, Node, Scalar, Style, Tag, emit};

const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// What the top kustomization wants recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the options are independent of each other"
)]
pub(crate) struct Recorded {
    pub(crate) origins: bool,
    pub(crate) transformers: bool,
    pub(crate) managed_by: bool,
    /// Whether any option is given: then everything is recorded, and what was not asked for is
    /// taken out at the end.
    pub(crate) any: bool,
}

impl Recorded {
    pub(crate) fn new(options: &[String]) -> Self {
        let asked = |name: &str| options.iter().any(|option| option == name);
        Self {
            origins: asked("originAnnotations"),
            transformers: asked("transformerAnnotations"),
            managed_by: asked("managedByLabel"),
            any: !options.is_empty(),
        }
    }

    /// Takes out what was recorded without being asked for.
    pub(crate) fn clean(self, object: &mut Resource) -> Result<(), RenderError> {
        if !self.origins {
            object.remove_annotation(ORIGIN_ANNOTATION);
        }
        if !self.transformers {
            object.remove_annotation(TRANSFORMATIONS);
        }
        object.finish()
    }
}

/// A generator or transformer, and the file that configures it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    pub(crate) configured_in: String,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl Agent {
    /// A field of a kustomization.
    pub(crate) fn built_in(kustomization: &str, kind: &str) -> Self {
        Self {
            configured_in: kustomization.to_owned(),
            api_version: "builtin".to_owned(),
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    fn node(&self) -> Node {
        let Self {
            configured_in,
            api_version,
            kind,
            name,
            namespace,
        } = self;
        let by: Mapping = [
            ("apiVersion", api_version),
            ("kind", kind),
            ("name", name),
            ("namespace", namespace),
        ]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), unquoted(text)))
        .collect();
        let mut map = Mapping::new();
        if !configured_in.is_empty() {
            map.insert("configuredIn", unquoted(configured_in));
        }
        map.insert("configuredBy", Node::Mapping(by));
        Node::Mapping(map)
    }
}

/// A string that is written without quotes where YAML allows it.
fn unquoted(text: &str) -> Node {
    Node::Scalar(Scalar {
        text: text.into(),
        tag: Tag::Str,
        style: Style::Plain,
        alias: None,
    })
}

/// Records the file that an object was read from.
pub(crate) fn from_file(object: &mut Resource, path: &str) -> Result<(), RenderError> {
    let node = Node::Mapping([("path".to_owned(), unquoted(path))].into_iter().collect());
    object.annotate(ORIGIN_ANNOTATION, emit::ordered(&node))
}

/// Records what generated an object.
pub(crate) fn generated(object: &mut Resource, agent: &Agent) -> Result<(), RenderError> {
    if object.annotation(ORIGIN_ANNOTATION).is_none() {
        object.annotate(ORIGIN_ANNOTATION, emit::ordered(&agent.node()))?;
    }
    Ok(())
}

/// Records a transformer on every object, changed or not.
pub(crate) fn step(agent: &Agent) -> Step<'static> {
    let origin = emit::ordered(&agent.node());
    let entry = emit::ordered(&Node::Sequence(vec![agent.node()].into()));
    Step::new("record", agent, move |object| {
        let object = edit(object);
        // Unlike the place an object was read from, this goes through a map of strings upstream.
        object.stringify("annotations")?;
        if object.annotation(ORIGIN_ANNOTATION).is_none() {
            object.annotate(ORIGIN_ANNOTATION, origin.clone())?;
            return Ok(Reach::Touched);
        }
        let before = object.annotation(TRANSFORMATIONS).unwrap_or_default();
        let all = format!("{before}{entry}");
        object.annotate(TRANSFORMATIONS, all)?;
        Ok(Reach::Touched)
    })
}
