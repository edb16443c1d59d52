//! What becomes of one object, case by case.

use jiff::Timestamp;
use plan::object::{Desired, ObjectId, Owner, Toggle};
use plan::plan::{Action, Input, KeptReason, Policy, PruneLimit, SkipReason, plan};
use serde_json::{Value, json};

use crate::world::{World, annotate, another, desired, object, owner, policy};

const KEY: &str = "immuops.dev/";

fn map(name: &str, annotations: &[(&str, &str)]) -> Value {
    annotate(
        object("v1", "ConfigMap", &format!("a/{name}"), json!({})),
        annotations,
    )
}

/// What the cluster has of the object.
enum Has {
    Nothing,
    /// Labels of an owner, and one annotation.
    It(Option<fn() -> Owner>, Option<(&'static str, &'static str)>),
    Terminating,
}

fn put(world: &mut World, object: &Desired, has: &Has) {
    let (owner, annotation) = match has {
        Has::Nothing => return,
        Has::It(owner, annotation) => (*owner, *annotation),
        Has::Terminating => (Some(owner as fn() -> Owner), None),
    };
    let owner = owner.map(|owner| owner());
    let labels = owner
        .as_ref()
        .map(|owner| owner.labels().to_vec())
        .unwrap_or_default();
    let key = annotation.map(|(key, value)| (format!("{KEY}{key}"), value));
    let annotations: Vec<_> = key
        .iter()
        .map(|(key, value)| (key.as_str(), *value))
        .collect();
    world.put(object, &labels, &annotations);
    if let Has::Terminating = has {
        world
            .things
            .get_mut(object.id())
            .unwrap()
            .meta
            .deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
    }
}

#[test]
fn an_object_that_git_wants() {
    let id = || ObjectId::new("", "ConfigMap", Some("a"), "x");
    let skip = |reason| Action::Skip { id: id(), reason };
    let ours: Option<fn() -> Owner> = Some(owner);
    let cases = [
        ("absent", vec![], Has::Nothing, Action::Create(id())),
        ("ours", vec![], Has::It(ours, None), Action::Change(id())),
        (
            "nobody's",
            vec![],
            Has::It(None, None),
            Action::Change(id()),
        ),
        (
            "merged",
            vec![("ssa", "Merge")],
            Has::It(ours, None),
            Action::Change(id()),
        ),
        (
            "once, absent",
            vec![("ssa", "IfNotPresent")],
            Has::Nothing,
            Action::Create(id()),
        ),
        (
            "once",
            vec![("ssa", "IfNotPresent")],
            Has::It(ours, None),
            skip(SkipReason::AlreadyPresent),
        ),
        (
            "never, absent",
            vec![("ssa", "Ignore")],
            Has::Nothing,
            skip(SkipReason::Ignored),
        ),
        (
            "never",
            vec![("ssa", "Ignore")],
            Has::It(ours, None),
            skip(SkipReason::Ignored),
        ),
        (
            "paused, absent",
            vec![("reconcile", "disabled")],
            Has::Nothing,
            skip(SkipReason::ReconcileDisabled),
        ),
        (
            "paused",
            vec![("reconcile", "disabled")],
            Has::It(ours, None),
            skip(SkipReason::ReconcileDisabled),
        ),
        (
            "paused by hand",
            vec![],
            Has::It(ours, Some(("reconcile", "disabled"))),
            skip(SkipReason::ReconcileDisabled),
        ),
        (
            "nonsense by hand",
            vec![],
            Has::It(ours, Some(("reconcile", "later"))),
            Action::Change(id()),
        ),
        (
            "terminating",
            vec![],
            Has::Terminating,
            skip(SkipReason::Terminating),
        ),
    ];
    for (case, annotations, has, expected) in cases {
        let objects = desired([map("x", &annotations)]);
        let mut world = World::default();
        put(&mut world, &objects[0], &has);
        let plan = world.plan(&objects, &policy()).unwrap();
        assert_eq!(plan.actions().collect::<Vec<_>>(), [&expected], "{case}");
    }
}

#[test]
fn an_applied_object_is_left_alone_until_git_or_another_hand_changes_it() {
    let (mut world, objects) = (World::default(), desired([map("x", &[])]));
    assert_eq!(world.reconcile(&objects, &policy()).unwrap().writes(), 1);
    assert_eq!(world.reconcile(&objects, &policy()).unwrap().writes(), 0);
    let changed = desired([map("x", &[("note", "changed")])]);
    assert_eq!(world.reconcile(&changed, &policy()).unwrap().writes(), 1);
    world.edit(changed[0].id());
    assert_eq!(world.reconcile(&changed, &policy()).unwrap().writes(), 1);
    // After a restart nothing is remembered; the apply is answered without a write.
    world.applied.clear();
    let version = world.things[changed[0].id()].meta.resource_version.clone();
    assert_eq!(world.reconcile(&changed, &policy()).unwrap().writes(), 1);
    assert_eq!(world.things[changed[0].id()].meta.resource_version, version);
}

/// One object left git, another stays: what becomes of the first.
fn removed(value: Value, has: &Has, uid: Option<&str>, policy: &Policy) -> Option<KeptReason> {
    let (gone, stays) = (desired([value]), desired([map("stays", &[])]));
    let mut world = World::default();
    put(&mut world, &gone[0], has);
    let live = world.uid(gone[0].id()).unwrap_or_default().to_owned();
    world.own(
        &gone[0],
        uid.map(|uid| if uid.is_empty() { live.as_str() } else { uid }),
    );
    let plan = world.plan(&stays, policy).unwrap();
    assert_eq!(plan.kept.len() + plan.prune.len() + plan.gone.len(), 1);
    plan.kept.into_iter().next().map(|kept| kept.reason)
}

/// The uid that the object really has.
const SAME: Option<&str> = Some("");

#[test]
fn an_object_that_left_git() {
    let ours: Option<fn() -> Owner> = Some(owner);
    let foreign = owner().of(&another()
        .labels()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into());
    let nobody = owner().of(&std::collections::BTreeMap::new());
    let it = || map("x", &[]);
    let protected = || object("v1", "Namespace", "kube-system", json!({}));
    let off = Policy {
        prune: Toggle::Disabled,
        ..policy()
    };
    let cases = [
        ("pruned", it(), Has::It(ours, None), SAME, policy(), None),
        (
            "pruned, uid not known",
            it(),
            Has::It(ours, None),
            None,
            policy(),
            None,
        ),
        ("gone", it(), Has::Nothing, SAME, policy(), None),
        (
            "another life",
            it(),
            Has::It(ours, None),
            Some("older"),
            policy(),
            Some(KeptReason::Recreated),
        ),
        (
            "nobody's",
            it(),
            Has::It(None, None),
            SAME,
            policy(),
            Some(KeptReason::NotOurs(nobody)),
        ),
        (
            "another's",
            it(),
            Has::It(Some(another), None),
            SAME,
            policy(),
            Some(KeptReason::NotOurs(foreign)),
        ),
        (
            "off",
            it(),
            Has::It(ours, None),
            SAME,
            off,
            Some(KeptReason::PruneOff),
        ),
        (
            "kept",
            it(),
            Has::It(ours, Some(("prune", "Disabled"))),
            SAME,
            policy(),
            Some(KeptReason::Annotated),
        ),
        (
            "paused",
            it(),
            Has::It(ours, Some(("reconcile", "disabled"))),
            SAME,
            policy(),
            Some(KeptReason::Annotated),
        ),
        (
            "terminating",
            it(),
            Has::Terminating,
            SAME,
            policy(),
            Some(KeptReason::Terminating),
        ),
        (
            "protected",
            protected(),
            Has::It(ours, None),
            SAME,
            policy(),
            Some(KeptReason::Protected),
        ),
    ];
    for (case, value, has, uid, policy, expected) in cases {
        assert_eq!(removed(value, &has, uid, &policy), expected, "{case}");
    }
}

#[test]
fn data_is_deleted_with_consent_alone() {
    let claim = || object("v1", "PersistentVolumeClaim", "a/data", json!({}));
    let has = Has::It(Some(owner), Some(("prune", "enabled")));
    let with = |consent: &str| Policy {
        consent: vec![consent.parse().unwrap()],
        ..policy()
    };
    let cases = [
        ("none", policy(), Some(KeptReason::NeedsConsent)),
        (
            "to another",
            with("PersistentVolumeClaim b/data"),
            Some(KeptReason::NeedsConsent),
        ),
        (
            "to another kind",
            with("PersistentVolume data"),
            Some(KeptReason::NeedsConsent),
        ),
        ("to it", with("PersistentVolumeClaim a/data"), None),
    ];
    for (case, policy, expected) in cases {
        assert_eq!(removed(claim(), &has, SAME, &policy), expected, "{case}");
    }
    let system = object("v1", "Namespace", "kube-system", json!({}));
    let consent = with("Namespace kube-system");
    assert_eq!(
        removed(system, &has, SAME, &consent),
        Some(KeptReason::Protected),
        "consent does not help"
    );
}

#[test]
fn too_much_at_once_is_kept_until_git_consents() {
    let maps =
        |names: std::ops::Range<usize>| desired(names.map(|name| map(&name.to_string(), &[])));
    let cases = [
        ("five of ten", 5..10, PruneLimit::Default, 5),
        ("six of ten", 6..10, PruneLimit::Default, 0),
        ("six of ten, with consent", 6..10, PruneLimit::Objects(6), 6),
        ("everything", 0..0, PruneLimit::Default, 0),
        (
            "everything, with consent",
            0..0,
            PruneLimit::Percent(100),
            10,
        ),
        ("all replaced", 10..20, PruneLimit::Default, 0),
    ];
    for (case, left, limit, pruned) in cases {
        let mut world = World::default();
        world.reconcile(&maps(0..10), &policy()).unwrap();
        let policy = Policy { limit, ..policy() };
        // Asking again must not wear the limit down.
        for _ in 0..3 {
            world.applied.clear();
            let plan = world.plan(&maps(left.clone()), &policy).unwrap();
            assert_eq!(plan.prune.len(), pruned, "{case}");
            world.execute(
                &plan,
                &maps(left.clone()),
                plan.writes() - plan.prune.len() + 1,
            );
        }
    }
}

#[test]
fn a_failed_delete_and_a_limit_stay_in_the_inventory_and_a_release_leaves_it() {
    let mut world = World::default();
    let all = desired([
        map("failed", &[]),
        map("annotated", &[("prune", "disabled")]),
        map("gone", &[]),
    ]);
    world.reconcile(&all, &policy()).unwrap();
    world.things.remove(all[2].id());
    let plan = world
        .plan(&desired([map("stays", &[])]), &policy())
        .unwrap();
    let left = plan.finish(&std::collections::BTreeMap::new());
    let names: Vec<_> = left.entries.keys().map(|id| id.name.as_str()).collect();
    assert_eq!(names, ["failed", "stays"]);
}

#[test]
fn a_secret_leaves_no_hash_in_the_inventory() {
    let mut world = World::default();
    let secret = object(
        "v1",
        "Secret",
        "a/x",
        json!({"stringData": {"password": "secret"}}),
    );
    let objects = desired([secret, map("x", &[])]);
    for _ in 0..2 {
        world.reconcile(&objects, &policy()).unwrap();
        let hash = |index: usize| world.inventory.entries[objects[index].id()].hash;
        assert_eq!((hash(0), hash(1)), (None, Some(objects[1].hash())));
    }
}

/// An object deleted behind our back is created again; killed before the new uid is written down, the agent must still know
/// the new life for its own.
#[test]
fn a_recreated_object_is_still_pruned_after_a_crash() {
    let mut world = World::default();
    let both = desired([map("x", &[]), map("stays", &[])]);
    world.reconcile(&both, &policy()).unwrap();
    world.things.remove(both[0].id());
    let plan = world.plan(&both, &policy()).unwrap();
    world.execute(&plan, &both, 2);
    assert!(world.things.contains_key(both[0].id()));
    let one = &both[1..];
    let plan = world.reconcile(one, &policy()).unwrap();
    assert_eq!(plan.prune.len(), 1, "{plan:?}");
}

#[test]
fn refusals_are_reported_at_once() {
    let owner = owner();
    let wave = |name, wave| map(name, &[("wave", wave)]);
    let objects = desired([
        map("foreign", &[]),
        map("twice", &[]),
        map("twice", &[]),
        map("unknown", &[("depends-on", "Deployment a/none")]),
        map("circle", &[("depends-on", "ConfigMap a/ring")]),
        map("ring", &[("depends-on", "ConfigMap a/circle")]),
        annotate(wave("early", "-1"), &[("depends-on", "ConfigMap a/late")]),
        wave("late", "1"),
        map("unobserved", &[]),
    ]);
    let mut world = World::default();
    put(&mut world, &objects[0], &Has::It(Some(another), None));
    let mut live = world.live(&objects);
    live.remove(objects[8].id());
    let input = Input {
        owner: &owner,
        desired: &objects,
        inventory: &world.inventory,
        live: &live,
        applied: &world.applied,
        policy: &policy(),
    };
    insta::assert_snapshot!(plan(&input).unwrap_err());
}
