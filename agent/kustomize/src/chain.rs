//! Steps that change each object by itself, run together.
//!
//! Most of a build is of this kind: a step looks at one object and its own configuration, never at
//! another object. Such steps need no order among objects. Each object is taken through the whole
//! chain at once, several objects at a time, and where a memo knows what a chain makes of an
//! object, it is not taken through at all. What comes out is what step after step would give,
//! errors included.

use std::hash::Hash;
use std::sync::Arc;

use crate::digest::Key;
use crate::error::RenderError;
use crate::memo::{Changed, Known, Session};
use crate::resource::{Resource, edit, key};
use crate::resource_map::ResourceMap;
use crate::{Trace, explain, parallel};

/// Whether a step was for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No: the object is as it was.
    Passed,
    Touched,
}

type Change<'a> = dyn Fn(&mut Arc<Resource>) -> Result<Reach, RenderError> + Send + Sync + 'a;

/// A change to single objects.
pub(crate) struct Step<'a> {
    key: Key,
    change: Box<Change<'a>>,
    /// The complaint if the step was for no object.
    unused: Option<RenderError>,
    label: Arc<Label>,
}

/// Who asks for a step.
#[derive(Debug, Default)]
pub(crate) struct Label {
    /// What to call it when a build is explained.
    pub(crate) title: String,
    /// The way to its entry in the kustomization, for errors; empty if there is none.
    pub(crate) field: Vec<String>,
}

impl<'a> Step<'a> {
    /// A step that is determined by its name and configuration: `change` may look at nothing else
    /// but its object, and must say so if it changes it. No step sees an empty object.
    pub(crate) fn new(
        name: &'static str,
        configuration: &impl Hash,
        change: impl Fn(&mut Arc<Resource>) -> Result<Reach, RenderError> + Send + Sync + 'a,
    ) -> Self {
        Self {
            key: Key::of(&(name, configuration)),
            change: Box::new(change),
            unused: None,
            label: Arc::default(),
        }
    }

    /// Makes it an error if the step is for no object.
    pub(crate) fn or_unused(mut self, error: RenderError) -> Self {
        self.unused = Some(error);
        self
    }
}

/// Steps waiting to be run.
pub(crate) struct Chain<'a> {
    steps: Vec<Step<'a>>,
    /// Who asks for the steps that come next.
    label: Arc<Label>,
    trace: Trace,
}

/// An error, and who asked for what failed, if that is known.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: RenderError,
    pub(crate) label: Option<Arc<Label>>,
}

impl From<RenderError> for Failed {
    fn from(error: RenderError) -> Self {
        Self { error, label: None }
    }
}

impl From<Failed> for RenderError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// What became of one object.
struct Taken {
    object: Arc<Resource>,
    /// The steps, by number, that were for it.
    by: Vec<usize>,
}

/// An error of a step.
struct Fault {
    step: usize,
    error: RenderError,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            steps: Vec::new(),
            label: Arc::default(),
            trace,
        }
    }

    /// Says who asks for the steps that come next.
    pub(crate) fn label(&mut self, label: Label) {
        self.label = Arc::new(label);
    }

    /// Says which field of the kustomization the steps that come next are in.
    pub(crate) fn enter(&mut self, field: &[&str]) {
        let title = self.label.title.clone();
        let field = field.iter().map(|step| (*step).to_owned()).collect();
        self.label(Label { title, field });
    }

    pub(crate) fn push(&mut self, step: Step<'a>) {
        let label = Arc::clone(&self.label);
        self.steps.push(Step { label, ..step });
    }

    /// The error with the present label, unless it has one.
    pub(crate) fn labelled(&self, failed: Failed) -> Failed {
        let label = failed.label.or_else(|| Some(Arc::clone(&self.label)));
        Failed { label, ..failed }
    }

    /// Runs the waiting steps on all objects; those that are emptied go.
    pub(crate) fn run(
        &mut self,
        objects: &mut ResourceMap,
        memo: Option<Session<'_>>,
    ) -> Result<(), Failed> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let list = std::mem::take(objects.list_mut());
        let (list, outcome) = self.take(list, memo);
        *objects.list_mut() = list;
        self.steps.clear();
        outcome
    }

    /// Runs one step at once, on one object only.
    pub(crate) fn run_on(
        &mut self,
        step: Step<'a>,
        objects: &mut ResourceMap,
        position: usize,
        memo: Option<Session<'_>>,
    ) -> Result<(), Failed> {
        self.push(step);
        let Some(object) = objects.get(position).cloned() else {
            return Ok(());
        };
        let (mut list, outcome) = self.take(vec![object], memo);
        self.steps.clear();
        match list.pop() {
            Some(object) => objects.replace(position, object),
            None => {
                objects.list_mut().remove(position);
            }
        }
        outcome
    }

    fn take(
        &self,
        list: Vec<Arc<Resource>>,
        memo: Option<Session<'_>>,
    ) -> (Vec<Arc<Resource>>, Result<(), Failed>) {
        let mut used = vec![false; self.steps.len()];
        let (list, fault) = match memo {
            None => self.plainly(list, &mut used),
            Some(memo) => self.remembering(list, &mut used, memo),
        };
        let end = fault.as_ref().map_or(self.steps.len(), |fault| fault.step);
        let mut unused = self.steps.iter().zip(used).take(end).enumerate();
        let unused = unused.find_map(|(step, (Step { unused, .. }, used))| {
            let error = unused.as_ref().filter(|_| !used)?.clone();
            Some(Fault { step, error })
        });
        let Some(Fault { step, error }) = unused.or(fault) else {
            return (list, Ok(()));
        };
        let label = self.steps.get(step).map(|step| Arc::clone(&step.label));
        (list, Err(Failed { error, label }))
    }

    fn plainly(
        &self,
        list: Vec<Arc<Resource>>,
        used: &mut [bool],
    ) -> (Vec<Arc<Resource>>, Option<Fault>) {
        let (taken, fault) = self.all(list);
        let left = taken.into_iter().filter_map(|Taken { object, by }| {
            note(used, &by);
            (!object.node.is_null_or_empty()).then_some(object)
        });
        (left.collect(), fault)
    }

    /// Takes only those objects through the steps for which the memo does not know the result.
    fn remembering(
        &self,
        mut list: Vec<Arc<Resource>>,
        used: &mut [bool],
        memo: Session<'_>,
    ) -> (Vec<Arc<Resource>>, Option<Fault>) {
        let chain = Key::of(&self.steps.iter().map(|step| step.key).collect::<Vec<_>>());
        let keys: Vec<Key> = list
            .iter_mut()
            .map(|object| key(object).then(chain))
            .collect();
        let known = memo.find(keys.iter().copied());
        let mut results = Vec::with_capacity(list.len());
        let (mut missing, mut at) = (Vec::new(), Vec::new());
        for ((object, known), key) in list.into_iter().zip(known).zip(keys) {
            results.push(match known {
                Some(Known::Changed(Changed::Same)) => Some(object),
                Some(Known::Changed(Changed::To { object, by })) => {
                    note(used, &by);
                    object
                }
                Some(Known::File(_) | Known::Finished(_)) | None => {
                    at.push((results.len(), key));
                    missing.push(object);
                    None
                }
            });
        }
        let (taken, fault) = self.all(missing);
        let mut found = Vec::with_capacity(taken.len());
        for (Taken { mut object, by }, (at, key)) in taken.into_iter().zip(at) {
            note(used, &by);
            let (result, changed) = if by.is_empty() {
                (Some(object), Changed::Same)
            } else if object.node.is_null_or_empty() {
                let (object, by) = (None, by.into());
                (None, Changed::To { object, by })
            } else {
                Arc::make_mut(&mut object).key = Some(key);
                let (kept, by) = (Some(Arc::clone(&object)), by.into());
                (Some(object), Changed::To { object: kept, by })
            };
            found.push((key, Known::Changed(changed)));
            if let Some(place) = results.get_mut(at) {
                *place = result;
            }
        }
        if fault.is_none() {
            memo.keep(found);
        }
        (results.into_iter().flatten().collect(), fault)
    }

    /// Takes objects through all steps, several at a time. Of the errors only the one counts that
    /// step after step would have met first; the objects are of no use then.
    fn all(&self, list: Vec<Arc<Resource>>) -> (Vec<Taken>, Option<Fault>) {
        let count = list.len();
        let Some(shares) = parallel::shares(list, |share| self.share(share)) else {
            let error = RenderError::invalid("a thread of the build failed");
            return (Vec::new(), Some(Fault { step: 0, error }));
        };
        let mut taken = Vec::with_capacity(count);
        let mut first: Option<Fault> = None;
        for (share, fault) in shares {
            taken.extend(share);
            first = match (first, fault) {
                (Some(first), Some(fault)) if fault.step < first.step => Some(fault),
                (Some(first), _) => Some(first),
                (None, fault) => fault,
            };
        }
        (taken, first)
    }

    fn share(&self, share: Vec<Arc<Resource>>) -> (Vec<Taken>, Option<Fault>) {
        let mut taken = Vec::with_capacity(share.len());
        let mut fault: Option<Fault> = None;
        for mut object in share {
            let mut by = Vec::new();
            // After an error only the steps before it can still bring one that comes first.
            let end = fault.as_ref().map_or(self.steps.len(), |fault| fault.step);
            for (number, step) in self.steps.iter().enumerate().take(end) {
                if object.node.is_null_or_empty() {
                    break;
                }
                match self.one(step, &mut object) {
                    Ok(Reach::Passed) => {}
                    Ok(Reach::Touched) => by.push(number),
                    Err(error) => {
                        let step = number;
                        fault = Some(Fault { step, error });
                        break;
                    }
                }
            }
            taken.push(Taken { object, by });
        }
        (taken, fault)
    }

    fn one(&self, step: &Step<'_>, object: &mut Arc<Resource>) -> Result<Reach, RenderError> {
        let before = match self.trace {
            Trace::Off => None,
            Trace::On => Some(object.node.clone()),
        };
        let reach = (step.change)(object)?;
        if let (Some(before), Reach::Touched) = (before, reach) {
            explain::note(&step.label.title, &before, edit(object));
        }
        Ok(reach)
    }
}

fn note(used: &mut [bool], by: &[usize]) {
    for step in by {
        if let Some(used) = used.get_mut(*step) {
            *used = true;
        }
    }
}
