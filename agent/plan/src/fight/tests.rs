use super::*;
use proptest::prelude::*;

fn id(name: &str) -> ObjectId {
    ObjectId::new("", "ConfigMap", Some("a"), name)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn fights() -> Fights {
    Fights::new(FightPolicy::default())
}

#[test]
fn a_few_corrections_are_no_fight() {
    let mut fights = fights();
    for second in 0..4 {
        assert_eq!(fights.corrected(&id("x"), "kubectl", at(second)), None);
    }
    // Slow repetition is none either.
    for minute in 1..100 {
        assert_eq!(fights.corrected(&id("y"), "cron", at(minute * 60)), None);
    }
    assert_eq!(fights.active(at(0)).count(), 0);
}

#[test]
fn holds_grow_to_a_cap_and_name_the_writer() {
    let mut fights = fights();
    let mut now = 0;
    let mut holds = Vec::new();
    while holds.len() < 10 {
        if let Some(fight) = fights.corrected(&id("x"), "operator", at(now)) {
            assert_eq!(fight.writer, "operator");
            assert_eq!(
                fights.verdict(&id("x"), at(now)),
                Verdict::Hold(fight.clone())
            );
            let until = fight.until.as_second();
            holds.push(until - now);
            now = until;
            assert_eq!(fights.verdict(&id("x"), at(now)), Verdict::Correct);
        }
        now += 1;
    }
    assert_eq!(holds, [10, 20, 40, 80, 160, 320, 640, 900, 900, 900]);
    assert_eq!(fights.verdict(&id("y"), at(now)), Verdict::Correct);
}

#[test]
fn quiet_ends_a_fight() {
    let mut fights = fights();
    let started = (0..5)
        .filter_map(|second| fights.corrected(&id("x"), "a", at(second)))
        .last();
    let until = started.unwrap().until.as_second();
    assert_eq!(fights.corrected(&id("x"), "a", at(until + 60)), None);
}

#[test]
fn another_writer_is_another_story() {
    let mut fights = fights();
    for second in 0..20 {
        let writer = if second % 2 == 0 { "a" } else { "b" };
        assert_eq!(
            fights.corrected(&id("x"), writer, at(second)),
            None,
            "{second}"
        );
    }
}

#[test]
fn a_held_object_is_forgotten_last() {
    let policy = FightPolicy {
        corrections: 1,
        capacity: 2,
        ..FightPolicy::default()
    };
    let mut fights = Fights::new(policy);
    fights.corrected(&id("held"), "a", at(0)).unwrap();
    let mut fights = Fights {
        policy: FightPolicy {
            corrections: 5,
            ..policy
        },
        ..fights
    };
    fights.corrected(&id("x"), "a", at(1));
    fights.corrected(&id("y"), "a", at(2));
    let held: Vec<_> = fights
        .active(at(3))
        .map(|(id, _)| id.name.clone())
        .collect();
    assert_eq!(held, ["held"]);
    fights.forget(&id("held"));
    assert_eq!(fights.active(at(3)).count(), 0);
}

proptest! {
    #[test]
    fn bounded_in_memory_and_time(
        steps in prop::collection::vec((0usize..8, 0usize..3, 0i64..40), 0..200),
    ) {
        let policy = FightPolicy { capacity: 4, ..FightPolicy::default() };
        let mut fights = Fights::new(policy);
        let mut now = 0;
        for (object, writer, wait) in steps {
            now += wait;
            let id = id(&object.to_string());
            if fights.verdict(&id, at(now)) == Verdict::Correct
                && let Some(fight) = fights.corrected(&id, &writer.to_string(), at(now))
            {
                prop_assert!(fight.until > at(now));
                prop_assert!(fight.until <= at(now + policy.longest_hold.as_secs()));
            }
            prop_assert!(fights.objects.len() <= policy.capacity);
            prop_assert!(fights.objects.values().all(|object| object.recent.len() <= policy.corrections));
        }
    }
}
