//! The last step: objects as they are printed.

use std::sync::Arc;

use crate::digest::Key;
use crate::error::RenderError;
use crate::memo::{Known, Session};
use crate::parallel;
use crate::provenance::Recorded;
use crate::rendered::{Finished, Object};
use crate::resource::{Origin, Resource, edit, key};
use crate::yaml::{emit, json};

/// Takes out what only the build needed, and makes sure that all objects can be printed.
pub(crate) fn finish(
    objects: Vec<Arc<Resource>>,
    recorded: Recorded,
    memo: Option<Session<'_>>,
) -> Result<Vec<Object>, RenderError> {
    match memo {
        None => each(objects, |object| plainly(object, recorded)),
        Some(memo) => remembering(objects, recorded, memo),
    }
}

/// Calls `work` on each object, several at a time.
fn each<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, RenderError> + Sync,
) -> Result<Vec<R>, RenderError> {
    let shares = parallel::shares(items, |share| {
        share.into_iter().map(&work).collect::<Result<Vec<_>, _>>()
    });
    let shares = shares.ok_or_else(|| RenderError::invalid("a thread of the build failed"))?;
    let shares = shares.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(shares.into_iter().flatten().collect())
}

fn plainly(mut object: Arc<Resource>, recorded: Recorded) -> Result<Object, RenderError> {
    recorded.clean(edit(&mut object))?;
    json::check(&object.node).map_err(complaint(&object))?;
    let Resource {
        node,
        origin: Origin { file, line },
        trace,
        ..
    } = Arc::unwrap_or_clone(object);
    Ok(Object::new(node, file, line, trace))
}

fn complaint(object: &Resource) -> impl FnOnce(String) -> RenderError + use<> {
    let name = format!("{} {}", object.kind(), object.name());
    let Origin { file, line } = object.origin.clone();
    move |error| RenderError::invalid(format!("cannot print {name} of {file}:{line}: {error}"))
}

fn remembering(
    mut objects: Vec<Arc<Resource>>,
    recorded: Recorded,
    memo: Session<'_>,
) -> Result<Vec<Object>, RenderError> {
    let step = Key::of(&("finish", recorded));
    let keys: Vec<Key> = objects
        .iter_mut()
        .map(|object| key(object).then(step))
        .collect();
    let known = memo.find(keys.iter().copied());
    let items = objects.into_iter().zip(known).zip(&keys).collect();
    let finished = each(items, |((mut object, known), of)| {
        if let Some(Known::Finished(finished)) = known {
            return Ok((finished, None));
        }
        recorded.clean(edit(&mut object))?;
        json::check(&object.node).map_err(complaint(&object))?;
        let mut yaml = String::new();
        emit::document(&object.node, &mut yaml);
        let finished = Arc::new(Finished { object, yaml });
        Ok((
            Arc::clone(&finished),
            Some((*of, Known::Finished(finished))),
        ))
    })?;
    let mut rendered = Vec::with_capacity(finished.len());
    let mut found = Vec::new();
    for (finished, new) in finished {
        rendered.push(Object::shared(finished));
        found.extend(new);
    }
    memo.keep(found);
    Ok(rendered)
}
