//! Gateway API: what a gateway's controller accepted and programmed. Its conditions carry the generation they speak of.

use super::Health;
use super::view::{Condition, View};

/// A class of gateways.
pub(super) fn class(class: View<'_>) -> Health {
    accepted(class, class.condition("Accepted")).unwrap_or(Health::Current)
}

/// A gateway.
pub(super) fn gateway(gateway: View<'_>) -> Health {
    if let Some(health) = accepted(gateway, gateway.condition("Accepted")) {
        return health;
    }
    match current(gateway, gateway.condition("Programmed")) {
        Some(programmed) if programmed.is_true() => Health::Current,
        Some(programmed) => Health::progress(programmed.text()),
        None => Health::progress("the gateway is not programmed yet"),
    }
}

/// A route of any protocol: every gateway it names has to accept it.
pub(super) fn route(route: View<'_>) -> Health {
    let mut parents = route.items("/status/parents").peekable();
    if parents.peek().is_none() {
        return Health::progress("no gateway has looked at it yet");
    }
    let mut waiting = None;
    for parent in parents {
        let condition = |kind| parent.condition_at("/conditions", kind);
        match accepted(route, condition("Accepted")) {
            Some(failed @ Health::Failed { .. }) => return failed,
            Some(other) => waiting = Some(other),
            None => {
                let resolved = condition("ResolvedRefs").filter(|refs| refs.is_false());
                waiting = resolved
                    .map(|refs| Health::progress(refs.text()))
                    .or(waiting);
            }
        }
    }
    waiting.unwrap_or(Health::Current)
}

/// What stands against an object being accepted.
fn accepted(object: View<'_>, condition: Option<Condition<'_>>) -> Option<Health> {
    match current(object, condition) {
        Some(accepted) if accepted.is_true() => None,
        Some(accepted) if accepted.is_false() && accepted.reason() != "Pending" => {
            Some(Health::failed(accepted.text()))
        }
        Some(_) | None => Some(Health::progress("no controller has accepted it yet")),
    }
}

/// The condition, unless it speaks of an older generation.
fn current<'a>(object: View<'_>, condition: Option<Condition<'a>>) -> Option<Condition<'a>> {
    let generation = object.integer("/metadata/generation");
    condition.filter(|condition| {
        let observed = condition.observed_generation();
        generation
            .zip(observed)
            .is_none_or(|(generation, observed)| observed >= generation)
    })
}
