//! How soon a failed write is tried again: as the outside asks, whatever was asked before, rollbacks included.

use jiff::SignedDuration;

use super::fixtures::single;
use super::world::World;
use crate::{
    Command, EventKind, Fault, FaultClass, HoldReason, Input, Outcome, Pace, Plan, RollbackScope,
    Stage,
};

/// Lets the pending write fail in this way, and says how long the core waits before the next try.
fn wait_after(world: &mut World, class: FaultClass, pace: Pace) -> SignedDuration {
    let pending = world.rollout.pending().into_iter().next().expect("a write is pending");
    let outcome = Outcome::Failed { fault: Fault::new(class, None, "no"), pace };
    let events = world.input(Input::EffectEnded { key: pending.key, outcome }).unwrap();
    let again = events.iter().find_map(|event| match event.kind {
        EventKind::EffectFailed { retry_at, .. } => retry_at,
        _ => None,
    });
    let again = again.expect("it is tried again");
    let wait = again.duration_since(world.now);
    world.now = again;
    world.input(Input::DeadlineReached).unwrap();
    wait
}

/// Checks that a wait is `secs` with at most a fifth on top.
fn assert_about(wait: SignedDuration, secs: i64) {
    let least = SignedDuration::from_secs(secs);
    assert!(wait >= least && wait <= least + least / 5, "{wait:?} is not about {secs} s");
}

#[test]
fn a_rollback_is_tried_again_at_the_pace_that_the_deployment_asks_for() {
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.order(Command::Rollback(RollbackScope::Latest)).unwrap();
    for (pace, secs) in [
        (Pace::Overloaded, 3),
        (Pace::Overloaded, 6),
        (Pace::Restarting, 4),
        (Pace::Usual, 16),
        (Pace::Overloaded, 16),
        (Pace::Restarting, 16),
        (Pace::Usual, 30),
    ] {
        assert_about(wait_after(&mut world, FaultClass::Transient, pace), secs);
    }
    // A rollback goes on for ever, also when only a person can help; who is told once.
    for _ in 0..100 {
        assert_about(wait_after(&mut world, FaultClass::Permanent, Pace::Overloaded), 16);
    }
    let held = world
        .count(|kind| matches!(kind, EventKind::Held { hold: HoldReason::EffectFailed { .. } }));
    assert_eq!(held, 1);
    world.until("rolled back", |rollout| rollout.phases()[0].stage == Stage::RolledBack);
}
