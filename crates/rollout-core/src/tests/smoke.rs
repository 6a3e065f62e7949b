//! The smoke test: what it does when it fails, when nobody knows whether it ran, and what an app recognises a run by.

use super::fixtures::{hours, minutes, parts, single};
use super::world::World;
use crate::{Command, Effect, Plan, PlanParts, Rollout, Smoke, SmokeRepeat, Status};

fn done(rollout: &Rollout) -> bool {
    rollout.status() == Status::Completed
}

#[test]
fn a_smoke_test_that_fails_holds_and_can_be_run_again() {
    let mut world =
        World::new(Plan::try_new(PlanParts { smoke: parts().smoke, ..single() }).unwrap());
    world.task = "failed".into();
    world.until("held", Rollout::is_held);
    world.task = "success".into();
    world.order(Command::Resume).unwrap();
    world.until("done", done);
    assert_eq!(world.invocations, 2);
}

#[test]
fn the_key_of_a_smoke_test_is_of_one_run_alone() {
    let key_of = |rollout: &Rollout| {
        let mut pending = rollout.pending().into_iter();
        pending.find_map(|pending| match pending.effect {
            Effect::Invoke { bindings, .. } => bindings.get("$key").cloned(),
            _ => None,
        })
    };
    let mut world =
        World::new(Plan::try_new(PlanParts { smoke: parts().smoke, ..single() }).unwrap());
    world.until("creating", |rollout| matches!(rollout.smoke(), Smoke::Creating { .. }));
    let key = key_of(&world.rollout).unwrap();
    let run = key.split_once("-s").and_then(|(of, rest)| Some((of, rest.split_once('-')?)));
    let (of, (place, _moment)) = run.unwrap();
    let (id, seq) = (world.rollout.id(), world.rollout.seq());
    assert_eq!((of.parse(), place.parse()), (Ok(id), Ok(seq.get())), "{key}");
    // Whoever folds the same journal asks under the same key; the same things in another store are another run.
    let replayed = Rollout::replay(&world.journal).unwrap();
    assert_eq!(key_of(&replayed), Some(key.clone()));
    let mut elsewhere = world.journal.clone();
    elsewhere.iter_mut().for_each(|event| event.at += hours(5));
    let other = Rollout::replay(&elsewhere).unwrap();
    assert_eq!((other.id(), other.seq()), (id, seq));
    assert!(key_of(&other).is_some_and(|other| other != key), "it would find what r1 created");
}

#[test]
fn a_function_that_may_not_run_twice_is_not_called_again_after_a_lost_answer() {
    let once = parts().smoke.map(|test| crate::SmokeTest { repeat: SmokeRepeat::Never, ..test });
    let mut world = World::new(Plan::try_new(PlanParts { smoke: once, ..single() }).unwrap());
    let creating = |rollout: &Rollout| {
        rollout.pending().iter().any(|pending| matches!(pending.effect, Effect::Invoke { .. }))
    };
    world.until("creating", creating);
    world.down_for(minutes(1));
    assert!(world.rollout.is_held() && !creating(&world.rollout), "nobody knows whether it ran");
    world.order(Command::Resume).unwrap();
    world.until("done", done);
    assert_eq!(world.invocations, 1);
}
