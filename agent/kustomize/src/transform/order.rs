//! The order of the output.

use std::cmp::Ordering;

use crate::id::{Gvk, ORDER_FIRST, ORDER_LAST, kind_rank};
use crate::kustomization::SortOptions;
use crate::resource_map::ResourceMap;
use crate::{Reorder, error::RenderError};

/// Sorts the objects as the top kustomization says, else as the caller says.
pub(crate) fn apply(
    objects: &mut ResourceMap,
    options: Option<&SortOptions>,
    reorder: Reorder,
) -> Result<(), RenderError> {
    let Some(SortOptions {
        order,
        legacy_sort_options,
    }) = options
    else {
        if reorder == Reorder::Legacy {
            sort(objects, &ORDER_FIRST, &ORDER_LAST);
        }
        return Ok(());
    };
    match (order.as_str(), legacy_sort_options) {
        ("fifo", None) => {}
        ("fifo", Some(_)) => {
            return Err(RenderError::invalid(
                "the field `sortOptions.legacySortOptions` is set but the order is fifo",
            )
            .hint("set `order: legacy`, or remove legacySortOptions"));
        }
        ("legacy", None) => sort(objects, &ORDER_FIRST, &ORDER_LAST),
        ("legacy", Some(lists)) => sort(objects, &lists.order_first, &lists.order_last),
        _ => {
            return Err(RenderError::invalid(
                "the field `sortOptions.order` must be one of fifo, legacy",
            ));
        }
    }
    Ok(())
}

struct Key {
    rank: i32,
    gvk: Gvk,
    gvk_text: String,
    name_text: String,
}

fn sort<S: AsRef<str>>(objects: &mut ResourceMap, first: &[S], last: &[S]) {
    let or = |text: &str, absent: &str| {
        if text.is_empty() {
            absent.to_owned()
        } else {
            text.to_owned()
        }
    };
    let unsorted = objects.list_mut();
    let mut keyed: Vec<_> = std::mem::take(unsorted)
        .into_iter()
        .map(|object| {
            let gvk = object.gvk();
            let key = Key {
                rank: kind_rank(&gvk.kind, first, last),
                gvk_text: gvk.sort_text(),
                name_text: format!(
                    "{}|{}",
                    or(object.namespace(), "~X"),
                    or(object.name(), "~N")
                ),
                gvk,
            };
            (key, object)
        })
        .collect();
    keyed.sort_by(|(a, _), (b, _)| compare(a, b));
    unsorted.extend(keyed.into_iter().map(|(_, object)| object));
}

fn compare(a: &Key, b: &Key) -> Ordering {
    if a.gvk == b.gvk {
        return a.name_text.cmp(&b.name_text);
    }
    // Namespaces of the core group come before others that are called so.
    let namespaces = a.gvk.kind == "Namespace"
        && b.gvk.kind == "Namespace"
        && (a.gvk.group.is_empty() || b.gvk.group.is_empty());
    let by_kind = a.gvk_text.cmp(&b.gvk_text);
    a.rank.cmp(&b.rank).then(if namespaces {
        by_kind.reverse()
    } else {
        by_kind
    })
}
