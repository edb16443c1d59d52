//! Kubernetes Events on Syncs and upgrade policies, for `kubectl describe` and `kubectl events`.
//!
//! Events are news, not state: a few per second at most, and one that cannot be sent is dropped.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use plan::object::FIELD_MANAGER;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::sync::Sync;
use crate::lease::Authority;

/// Longest wait for one Event.
const CALL: Duration = Duration::from_secs(5);
/// Events that may be under way at once.
const PARALLEL: usize = 4;
/// The API server's bound on a note, in bytes.
const NOTE_LIMIT: usize = 1000;

/// Sends Events.
pub(crate) struct Events {
    recorder: Recorder,
    authority: Authority,
    under_way: Semaphore,
}

/// How an Event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Events {
    /// `instance` tells agents apart.
    pub(crate) fn new(client: Client, authority: Authority, instance: &str) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            authority,
            under_way: Semaphore::new(PARALLEL),
        }
    }

    /// Tells about a Sync. `reason` is one word from a closed set.
    pub(crate) async fn send(&self, sync: &Sync, tone: Tone, reason: &str, note: &str) {
        self.tell(&sync.object_ref(&()), tone, reason, note).await;
    }

    /// Tells about any object.
    pub(crate) async fn tell(&self, about: &ObjectReference, tone: Tone, reason: &str, note: &str) {
        let Ok(_place) = self.under_way.try_acquire() else {
            return;
        };
        if !self.authority.is_held() {
            return;
        }
        let event = Event {
            type_: match tone {
                Tone::Normal => EventType::Normal,
                Tone::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(shorten(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        match timeout(CALL, self.recorder.publish(&event, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an event was dropped"),
            Err(_) => tracing::debug!("an event was dropped: no answer"),
        }
    }
}

fn shorten(note: &str) -> String {
    let mut short = String::new();
    for letter in note.chars() {
        if short.len() + letter.len_utf8() > NOTE_LIMIT {
            short.push('…');
            break;
        }
        short.push(letter);
    }
    short
}
