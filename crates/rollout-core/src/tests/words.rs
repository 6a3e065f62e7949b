//! What a person is told who looks at a rollout: what a changed flag is and should be, who changed it, and what to say next.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::fixtures::{flag, hours, parts, phase, single};
use super::world::World;
use crate::{
    Command, DriftPolicy, Expectation, Plan, PlanParts, Probe, ProbeKind, Scalar, Stage, Status,
};

/// A world in the bake window of the only phase, after two hours of watching.
fn watched(change: impl FnOnce(&mut PlanParts)) -> World {
    let mut parts = single();
    change(&mut parts);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.pass(hours(2));
    world
}

/// The reason of the only hold, and what ends it.
fn held(world: &World) -> (String, String) {
    let [hold] = world.rollout.holds() else { panic!("{:?}", world.rollout.holds()) };
    (world.rollout.hold_words(hold), world.rollout.way_out(hold).unwrap_or_default())
}

fn waits(world: &World) -> Vec<String> {
    world.rollout.waits().iter().map(ToString::to_string).collect()
}

#[test]
fn a_changed_flag_is_told_with_both_values_who_wrote_it_and_the_command_that_sets_it_back() {
    let mut world = watched(|_| {});
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    let (words, way_out) = held(&world);
    assert_eq!(
        words,
        "drift: RETRY is \"maybe\", expected \"true\"; written 2026-11-22 08:00 UTC by bob"
    );
    assert_eq!(
        way_out,
        "set it back with `npx convex env set RETRY true`, then `rolloutctl resume r1 --reason …`; or \
         `rolloutctl rollback r1 --reason …`"
    );
    assert_eq!(waits(&world)[0], alloc::format!("a person: {words}; {way_out}"));
}

#[test]
fn whoever_turned_a_flag_off_is_asked_first_and_what_is_on_too_early_is_turned_off() {
    let mut world = watched(|_| {});
    world.foreign_edit("RETRY", "false");
    world.pass(hours(1));
    let (words, way_out) = held(&world);
    assert!(words.contains("RETRY is \"false\", expected \"true\"; written"), "{words}");
    assert!(way_out.starts_with("find out why it was turned off; then turn it on"), "{way_out}");

    let mut world = World::new(Plan::try_new(parts()).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.foreign_edit("WORKFLOW", "true");
    world.pass(hours(1));
    let (_, way_out) = held(&world);
    assert!(
        way_out.starts_with("turn it off with `npx convex env set WORKFLOW false`"),
        "{way_out}"
    );
    assert!(!way_out.contains("rollback"), "that would turn off another one: {way_out}");
}

#[test]
fn the_words_follow_the_flag_while_it_is_held() {
    let mut world = watched(|_| {});
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    world.foreign_edit("RETRY", "perhaps");
    world.pass(hours(1));
    let (words, _) = held(&world);
    assert!(words.ends_with("written 2026-11-22 09:00 UTC by bob"), "{words}");
    assert!(words.contains("RETRY is \"perhaps\""), "{words}");

    // Nobody tells who did that, so nobody is named.
    world.written.clear();
    world.env.insert(flag("RETRY"), "who knows".into());
    world.pass(hours(1));
    assert_eq!(held(&world).0, "drift: RETRY is \"who knows\", expected \"true\"");

    world.foreign_edit("RETRY", "true");
    world.pass(hours(1));
    let (words, way_out) = held(&world);
    assert_eq!(words, "drift: RETRY was changed by somebody else, and has its value again");
    assert_eq!(way_out, "`rolloutctl resume r1 --reason …`");
    assert_eq!(world.rollout.foreign_value(&flag("RETRY")), None);
}

#[test]
fn a_resume_that_changes_nothing_is_held_again_by_the_reading_that_follows_it() {
    let mut world = watched(|_| {});
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    let before = world.now;
    world.order(Command::Resume).unwrap();
    assert!(world.rollout.foreign_value(&flag("RETRY")).is_some(), "it is known beforehand");
    world.until("held again", |rollout| rollout.is_held());
    assert_eq!(world.now, before, "no planned check was waited for");
    assert!(held(&world).0.ends_with("by bob"), "who did it is not forgotten: {}", held(&world).0);
}

#[test]
fn words_are_the_same_after_a_restart() {
    let mut world = watched(|_| {});
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    let again = crate::Rollout::replay(&world.journal).unwrap();
    assert_eq!(again, world.rollout);
}

/// The app asks which mode it is in, and does not know the adopted one.
#[test]
fn final_checks_that_an_adopted_value_fails_say_what_they_wait_for_and_the_ways_on() {
    let mode = ProbeKind::Function {
        call: super::fixtures::call("dashboard:flags"),
        pointer: "/mode".into(),
        expect: Expectation::Equals(Scalar::Text("workflow".into())),
    };
    let mut world = watched(|parts| {
        parts.drift = DriftPolicy::Adopt;
        parts.phases = alloc::vec![crate::Phase {
            verify: alloc::vec![Probe { name: "mode".into(), kind: mode }],
            ..phase("retry", "RETRY")
        }];
    });
    world.foreign_edit("RETRY", "treu");
    world.pass(hours(1));
    world.mode = "unknown".into();
    world.until("final checks", |rollout| rollout.status() == Status::FinalChecks);
    assert_eq!(world.rollout.unmet(), [""; 0], "nothing was asked yet");
    world.pass(hours(3));
    let told = waits(&world);
    let wanted = "`mode` to hold before the rollout completes; found ";
    assert!(told[0].starts_with(wanted) && told[0].contains("unknown"), "{told:?}");
    assert!(told[1].starts_with("a person: "), "{told:?}");
    for part in [
        "RETRY is \"treu\" by somebody else, and was taken for right",
        "`rolloutctl rollback r1 --all --reason …`",
        "`rolloutctl abort r1 --reason …`",
    ] {
        assert!(told[1].contains(part), "no {part}: {told:?}");
    }
    assert_eq!(world.rollout.unmet().len(), 1);

    // Set to what the app knows it is adopted again, and the rollout goes on by itself.
    world.foreign_edit("RETRY", "true");
    world.mode = "workflow".into();
    world.until("done", |rollout| rollout.status() == Status::Completed);
    assert_eq!(world.rollout.unmet(), [""; 0]);
}
