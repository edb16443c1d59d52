//! Which fields a transformer touches: the built-in tables, `configurations:` and `crds:`.

use std::sync::{Arc, LazyLock};

use smol_str::SmolStr;

use crate::error::RenderError;
use crate::id::Gvk;

/// One field of objects of some kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FieldSpec {
    /// Empty parts match any kind.
    pub(crate) gvk: Gvk,
    /// Steps separated by `/`; `\/` is a slash inside a step, `[]` behind a step marks a list.
    pub(crate) path: String,
    pub(crate) create: bool,
    steps: Vec<Step>,
}

/// One step of a field spec's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub(crate) name: SmolStr,
    /// Whether the path says `[]`: the field is a list, and never created.
    pub(crate) is_list: bool,
}

impl FieldSpec {
    pub(crate) fn new(gvk: Gvk, path: &str, create: bool) -> Self {
        let steps = path_steps(path, '/')
            .into_iter()
            .map(|step| match step.strip_suffix("[]") {
                Some(name) => Step {
                    name: name.into(),
                    is_list: true,
                },
                None => Step {
                    name: step.into(),
                    is_list: false,
                },
            })
            .collect();
        Self {
            gvk,
            path: path.to_owned(),
            create,
            steps,
        }
    }

    /// A field of every kind.
    pub(crate) fn everywhere(path: &str, create: bool) -> Self {
        Self::new(Gvk::default(), path, create)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Splits a path at a delimiter; a backslash in front of the delimiter takes its meaning away.
/// A delimiter at the very start counts for nothing.
pub(crate) fn path_steps(path: &str, delimiter: char) -> Vec<String> {
    let path = path.strip_prefix(delimiter).unwrap_or(path);
    let mut steps: Vec<String> = Vec::new();
    let mut joins = false;
    for part in path.split(delimiter) {
        match steps.last_mut() {
            Some(last) if joins => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => steps.push(part.to_owned()),
        }
        joins = part.ends_with('\\');
    }
    steps
}

/// Adds `more` to `list`, leaving out what `list` already covers.
pub(crate) fn merge(list: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<(), RenderError> {
    for spec in more {
        let known = list
            .iter()
            .find(|x| x.gvk.is_selected(&spec.gvk) && x.path == spec.path);
        match known {
            None => list.push(spec.clone()),
            Some(known) if known.create == spec.create => {}
            Some(_) => {
                return Err(RenderError::invalid(format!(
                    "conflicting field specs for {}: one creates the field, the other does not",
                    spec.path
                ))
                .hint("give both the same `create`"));
            }
        }
    }
    Ok(())
}

/// References to objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameReference {
    /// The kind referred to.
    pub(crate) target: Gvk,
    /// The fields that hold its name.
    pub(crate) referrers: Vec<FieldSpec>,
}

/// The fields of every transformer in one kustomization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSpecs {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) volume_claim_template_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_reference: Vec<NameReference>,
    pub(crate) var_reference: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
}

static BUILT_IN: LazyLock<Arc<FieldSpecs>> = LazyLock::new(|| {
    Arc::new(FieldSpecs::from_table(include_str!(
        "../tables/field_specs.txt"
    )))
});

impl FieldSpecs {
    /// kustomize's own tables.
    pub(crate) fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }

    /// These and `other`. The built-in tables, which every kustomization starts from, merge with
    /// themselves at no cost.
    pub(crate) fn merged(self: &Arc<Self>, other: &Arc<Self>) -> Result<Arc<Self>, RenderError> {
        if Arc::ptr_eq(self, other) {
            return Ok(Arc::clone(self));
        }
        let mut all = Self::clone(self);
        let Self {
            name_prefix,
            name_suffix,
            namespace,
            common_labels,
            labels,
            template_labels,
            volume_claim_template_labels,
            common_annotations,
            name_reference,
            var_reference,
            images,
            replicas,
        } = &**other;
        merge(&mut all.name_prefix, name_prefix)?;
        merge(&mut all.name_suffix, name_suffix)?;
        merge(&mut all.namespace, namespace)?;
        merge(&mut all.common_labels, common_labels)?;
        merge(&mut all.labels, labels)?;
        merge(&mut all.template_labels, template_labels)?;
        merge(
            &mut all.volume_claim_template_labels,
            volume_claim_template_labels,
        )?;
        merge(&mut all.common_annotations, common_annotations)?;
        merge(&mut all.var_reference, var_reference)?;
        merge(&mut all.images, images)?;
        merge(&mut all.replicas, replicas)?;
        for reference in name_reference {
            all.add_name_reference(reference)?;
        }
        all.sort();
        Ok(Arc::new(all))
    }

    pub(crate) fn add_name_reference(
        &mut self,
        reference: &NameReference,
    ) -> Result<(), RenderError> {
        let known = self
            .name_reference
            .iter_mut()
            .find(|known| known.target == reference.target);
        if let Some(known) = known {
            return merge(&mut known.referrers, &reference.referrers);
        }
        self.name_reference.push(reference.clone());
        Ok(())
    }

    pub(crate) fn sort(&mut self) {
        for list in [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.volume_claim_template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ] {
            list.sort_by_cached_key(|spec| spec.gvk.rank());
        }
        self.name_reference
            .sort_by_cached_key(|reference| reference.target.rank());
    }

    fn section(&mut self, name: &str) -> Option<&mut Vec<FieldSpec>> {
        Some(match name {
            "namePrefix" => &mut self.name_prefix,
            "nameSuffix" => &mut self.name_suffix,
            "namespace" => &mut self.namespace,
            "commonLabels" => &mut self.common_labels,
            "labels" => &mut self.labels,
            "templateLabels" => &mut self.template_labels,
            "volumeClaimTemplateLabels" => &mut self.volume_claim_template_labels,
            "commonAnnotations" => &mut self.common_annotations,
            "varReference" => &mut self.var_reference,
            "images" => &mut self.images,
            "replicas" => &mut self.replicas,
            _ => return None,
        })
    }

    /// Reads the built-in table, whose header describes it.
    fn from_table(table: &str) -> Self {
        let part = |word: Option<&str>| match word {
            None | Some("*") => String::new(),
            Some(word) => word.to_owned(),
        };
        let mut specs = Self::default();
        let mut section = "";
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            if let Some(header) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = header;
                if let Some(target) = header.strip_prefix("nameReference ") {
                    let mut words = target.split(' ');
                    let kind = part(words.next());
                    let target = Gvk {
                        kind: kind.into(),
                        group: part(words.next()).into(),
                        version: part(words.next()).into(),
                    };
                    let reference = NameReference {
                        target,
                        referrers: Vec::new(),
                    };
                    specs.name_reference.push(reference);
                }
                continue;
            }
            let mut words = line.split(' ');
            let path = part(words.next());
            let kind = part(words.next());
            let gvk = Gvk {
                kind: kind.into(),
                group: part(words.next()).into(),
                version: part(words.next()).into(),
            };
            let spec = FieldSpec::new(gvk, &path, words.next() == Some("create"));
            match specs.section(section) {
                Some(list) => list.push(spec),
                None => {
                    if let Some(reference) = specs.name_reference.last_mut() {
                        reference.referrers.push(spec);
                    }
                }
            }
        }
        specs.sort();
        specs
    }
}
