//! Namespaces, services, and what extends the API itself.

use super::view::View;
use super::{Address, Health};

/// A namespace.
pub(super) fn namespace(namespace: View<'_>) -> Health {
    match namespace.text("/status/phase") {
        Some("Terminating") => Health::Terminating,
        Some("Active") => Health::Current,
        Some(_) | None => Health::progress("it is not active yet"),
    }
}

/// A service.
pub(super) fn service(service: View<'_>, address: Address) -> Health {
    if service.text("/spec/type") != Some("LoadBalancer") {
        Health::Current
    } else if !service.has("/spec/clusterIP") {
        Health::progress("it has no cluster IP yet")
    } else {
        published(service, address)
    }
}

/// An ingress.
pub(super) fn ingress(ingress: View<'_>, address: Address) -> Health {
    published(ingress, address)
}

fn published(object: View<'_>, address: Address) -> Health {
    let has_one = object
        .items("/status/loadBalancer/ingress")
        .next()
        .is_some();
    match address {
        Address::Expected if !has_one => Health::progress("it has no address yet"),
        Address::Expected | Address::NotExpected => Health::Current,
    }
}

/// A custom resource definition.
pub(super) fn definition(definition: View<'_>) -> Health {
    if let Some(names) = definition
        .condition("NamesAccepted")
        .filter(|names| names.is_false())
    {
        return Health::failed(names.text());
    }
    match definition.condition("Established") {
        Some(established) if established.is_true() => Health::Current,
        Some(established) if established.is_false() && established.reason() != "Installing" => {
            Health::failed(established.text())
        }
        Some(_) | None => Health::progress("the API server does not serve it yet"),
    }
}

/// An aggregated API.
pub(super) fn api_service(service: View<'_>) -> Health {
    match service.condition("Available") {
        Some(available) if available.is_true() => Health::Current,
        Some(available) => Health::progress(available.text()),
        None => Health::progress("nobody has checked yet whether it is available"),
    }
}
