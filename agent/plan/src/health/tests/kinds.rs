use super::*;

const CONTEXT: HealthContext<'_> = HealthContext {
    now: Timestamp::UNIX_EPOCH,
    applied_generation: None,
    pods: None,
    binding_mode: None,
    status: StatusSubresource::Unknown,
    address: Address::NotExpected,
};

fn status(api_version: &str, kind: &str, status: &Value) -> Value {
    object(api_version, kind, &json!({}), status)
}

fn conditions(list: &[(&str, &str, &str)]) -> Value {
    let list = list
        .iter()
        .map(|(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason}));
    json!({"conditions": list.collect::<Vec<_>>()})
}

#[test]
fn claims_and_volumes() {
    let claim = |phase: &str| status("v1", "PersistentVolumeClaim", &json!({"phase": phase}));
    let volume = |phase: &str| status("v1", "PersistentVolume", &json!({"phase": phase}));
    let first_consumer = HealthContext {
        binding_mode: Some(BindingMode::WaitForFirstConsumer),
        ..CONTEXT
    };
    let immediate = HealthContext {
        binding_mode: Some(BindingMode::Immediate),
        ..CONTEXT
    };
    let waits = Is::InProgress("it is not bound to a volume yet");
    let lost = Is::Failed("the volume it was bound to is gone");
    let cases = [
        ("bound", claim("Bound"), CONTEXT, Is::Current),
        ("pending", claim("Pending"), CONTEXT, waits),
        ("pending, immediate", claim("Pending"), immediate, waits),
        (
            "pending until its pod",
            claim("Pending"),
            first_consumer,
            Is::Current,
        ),
        ("lost", claim("Lost"), first_consumer, lost),
        ("volume", volume("Available"), CONTEXT, Is::Current),
        (
            "volume pending",
            volume("Pending"),
            CONTEXT,
            Is::InProgress("it is not available yet"),
        ),
        (
            "volume failed",
            volume("Failed"),
            CONTEXT,
            Is::Failed("the volume could not be reclaimed"),
        ),
    ];
    for (case, object, context, expected) in cases {
        expect(case, &object, &context, expected);
    }
}

#[test]
fn addresses_are_waited_for_where_somebody_gives_them() {
    let service = |spec: Value, status: Value| object("v1", "Service", &spec, &status);
    let ingress = |addresses: Value| {
        status(
            "networking.k8s.io/v1",
            "Ingress",
            &json!({"loadBalancer": {"ingress": addresses}}),
        )
    };
    let balancer = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"});
    let given = json!([{"ip": "192.0.2.1"}]);
    let expected = HealthContext {
        address: Address::Expected,
        ..CONTEXT
    };
    let waits = Is::InProgress("it has no address yet");
    let cases = [
        (
            "cluster IP",
            service(json!({}), json!({})),
            expected,
            Is::Current,
        ),
        (
            "balancer",
            service(balancer.clone(), json!({})),
            CONTEXT,
            Is::Current,
        ),
        (
            "balancer, nothing given",
            service(balancer.clone(), json!({})),
            expected,
            waits,
        ),
        (
            "balancer, given",
            service(
                balancer,
                json!({"loadBalancer": {"ingress": given.clone()}}),
            ),
            expected,
            Is::Current,
        ),
        (
            "balancer without cluster IP",
            service(json!({"type": "LoadBalancer"}), json!({})),
            CONTEXT,
            Is::InProgress("it has no cluster IP yet"),
        ),
        ("ingress", ingress(json!([])), CONTEXT, Is::Current),
        (
            "ingress, nothing given",
            ingress(json!([])),
            expected,
            waits,
        ),
        ("ingress, given", ingress(given), expected, Is::Current),
    ];
    for (case, object, context, expected) in cases {
        expect(case, &object, &context, expected);
    }
}

#[test]
fn what_extends_the_api() {
    let definition = |list: &[(&str, &str, &str)]| {
        status(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &conditions(list),
        )
    };
    let api = |list: &[(&str, &str, &str)]| {
        status("apiregistration.k8s.io/v1", "APIService", &conditions(list))
    };
    let not_served = Is::InProgress("the API server does not serve it yet");
    let cases = [
        (
            "established",
            definition(&[("Established", "True", "x")]),
            Is::Current,
        ),
        ("new", definition(&[]), not_served),
        (
            "installing",
            definition(&[("Established", "False", "Installing")]),
            not_served,
        ),
        (
            "not established",
            definition(&[("Established", "False", "Broken")]),
            Is::Failed("Broken"),
        ),
        (
            "names taken",
            definition(&[("NamesAccepted", "False", "Conflict")]),
            Is::Failed("Conflict"),
        ),
        ("api", api(&[("Available", "True", "x")]), Is::Current),
        (
            "api away",
            api(&[("Available", "False", "NoEndpoints")]),
            Is::InProgress("NoEndpoints"),
        ),
        (
            "api new",
            api(&[]),
            Is::InProgress("nobody has checked yet whether it is available"),
        ),
        (
            "namespace",
            status("v1", "Namespace", &json!({"phase": "Active"})),
            Is::Current,
        ),
        (
            "namespace going",
            status("v1", "Namespace", &json!({"phase": "Terminating"})),
            Is::Terminating,
        ),
        (
            "namespace new",
            status("v1", "Namespace", &json!({})),
            Is::InProgress("it is not active yet"),
        ),
        (
            "configuration",
            status("v1", "ConfigMap", &json!({})),
            Is::Current,
        ),
        (
            "budget",
            status("policy/v1", "PodDisruptionBudget", &json!({})),
            Is::Current,
        ),
        (
            "cron job",
            status("batch/v1", "CronJob", &json!({})),
            Is::Current,
        ),
    ];
    for (case, object, expected) in cases {
        expect(case, &object, &CONTEXT, expected);
    }
}

#[test]
fn custom_resources() {
    let thing = |list: &[(&str, &str, &str)]| status("example.com/v1", "Thing", &conditions(list));
    let mut bare = thing(&[]);
    bare.as_object_mut().unwrap().remove("status");
    let looked_at = HealthContext {
        status: StatusSubresource::Present,
        ..CONTEXT
    };
    let never = HealthContext {
        status: StatusSubresource::Absent,
        ..CONTEXT
    };
    let cases = [
        (
            "ready",
            thing(&[("Ready", "True", "x")]),
            looked_at,
            Is::Current,
        ),
        (
            "not ready",
            thing(&[("Ready", "False", "Waiting")]),
            looked_at,
            Is::InProgress("Waiting"),
        ),
        (
            "unknown",
            thing(&[("Ready", "Unknown", "")]),
            looked_at,
            Is::InProgress("Ready is Unknown"),
        ),
        (
            "other conditions",
            thing(&[("Synced", "False", "x")]),
            looked_at,
            Is::Current,
        ),
        ("no status", bare.clone(), CONTEXT, Is::Current),
        (
            "no status and none to come",
            bare.clone(),
            never,
            Is::Current,
        ),
        (
            "no status yet",
            bare,
            looked_at,
            Is::InProgress("nobody has written its status yet"),
        ),
    ];
    for (case, object, context, expected) in cases {
        expect(case, &object, &context, expected);
    }
}

#[test]
fn gateways() {
    const API: &str = "gateway.networking.k8s.io/v1";
    let gateway = |list: &[(&str, &str, &str)]| status(API, "Gateway", &conditions(list));
    let route = |parents: &[&[(&str, &str, &str)]]| {
        let parents: Vec<_> = parents.iter().map(|list| conditions(list)).collect();
        status(API, "TLSRoute", &json!({"parents": parents}))
    };
    let accepted = ("Accepted", "True", "Accepted");
    let refused = ("Accepted", "False", "NoMatchingParent");
    let pending = ("Accepted", "Unknown", "Pending");
    let unresolved = ("ResolvedRefs", "False", "BackendNotFound");
    let waits = Is::InProgress("no controller has accepted it yet");
    let mut old = gateway(&[accepted, ("Programmed", "True", "x")]);
    old["status"]["conditions"][1]["observedGeneration"] = json!(1);
    let cases = [
        (
            "class",
            status(API, "GatewayClass", &conditions(&[accepted])),
            Is::Current,
        ),
        (
            "class refused",
            status(API, "GatewayClass", &conditions(&[refused])),
            Is::Failed("NoMatchingParent"),
        ),
        (
            "programmed",
            gateway(&[accepted, ("Programmed", "True", "x")]),
            Is::Current,
        ),
        (
            "programmed before the last change",
            old,
            Is::InProgress("the gateway is not programmed yet"),
        ),
        (
            "not programmed",
            gateway(&[accepted, ("Programmed", "False", "NoAddress")]),
            Is::InProgress("NoAddress"),
        ),
        ("gateway pending", gateway(&[pending]), waits),
        (
            "gateway refused",
            gateway(&[refused]),
            Is::Failed("NoMatchingParent"),
        ),
        ("route", route(&[&[accepted]]), Is::Current),
        (
            "route nobody saw",
            route(&[]),
            Is::InProgress("no gateway has looked at it yet"),
        ),
        (
            "route refused by one",
            route(&[&[accepted], &[refused]]),
            Is::Failed("NoMatchingParent"),
        ),
        (
            "route pending with one",
            route(&[&[pending], &[accepted]]),
            waits,
        ),
        (
            "route to nowhere",
            route(&[&[accepted, unresolved]]),
            Is::InProgress("BackendNotFound"),
        ),
    ];
    for (case, object, expected) in cases {
        expect(case, &object, &CONTEXT, expected);
    }
}
