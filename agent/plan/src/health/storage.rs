//! Volumes and claims to them.

use super::view::View;
use super::{BindingMode, Health};

/// A claim. One that is bound only when a pod uses it must not hold up that pod.
pub(super) fn claim(claim: View<'_>, binding_mode: Option<BindingMode>) -> Health {
    match claim.text("/status/phase") {
        Some("Bound") => Health::Current,
        Some("Lost") => Health::failed("the volume it was bound to is gone"),
        Some(_) | None if binding_mode == Some(BindingMode::WaitForFirstConsumer) => {
            Health::Current
        }
        Some(_) | None => Health::progress("it is not bound to a volume yet"),
    }
}

/// A volume.
pub(super) fn volume(volume: View<'_>) -> Health {
    match volume.text("/status/phase") {
        Some("Failed") => {
            let message = volume.text("/status/message");
            Health::failed(message.unwrap_or("the volume could not be reclaimed"))
        }
        Some("Available" | "Bound" | "Released") => Health::Current,
        Some(_) | None => Health::progress("it is not available yet"),
    }
}
