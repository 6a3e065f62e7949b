//! What others change while a phase is in its window: flags and code, told with time and name, and each policy.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::fixtures::{flag, hours, minutes, phase, single};
use super::world::{Link, World};
use crate::{
    Bound, Calls, Command, Comparison, DriftPolicy, Effect, EventKind, GapCause, HoldReason, Input,
    Limit, LogOptions, Measured, PendingEffect, Phase, PhaseNumber, Plan, PlanParts, PushPolicy,
    RollbackScope, Source, Stage, Status, Unit, Written, log, sentence,
};

/// A world in the bake window of the only phase, after two hours of watching.
fn watched(change: impl FnOnce(&mut PlanParts)) -> World {
    let mut parts = single();
    change(&mut parts);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.pushed_at = Some("2026-11-20T12:00:00Z".parse().unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.pass(hours(2));
    world
}

/// The sentences of the events that `wanted` picks.
fn said(world: &World, wanted: impl Fn(&EventKind) -> bool) -> Vec<String> {
    let picked = world.journal.iter().filter(|event| wanted(&event.kind));
    picked.map(|event| sentence(event, Some(world.rollout.plan()))).collect()
}

fn stage(world: &World) -> Stage {
    world.rollout.phases()[0].stage
}

fn drift_hold() -> HoldReason {
    HoldReason::Drift { flag: flag("RETRY") }
}

/// How long the window is by now.
fn window(world: &World) -> SignedDuration {
    let bake = world.rollout.phases()[0].bake.as_ref().unwrap();
    bake.ends_at().duration_since(bake.started_at)
}

#[test]
fn drift_is_told_with_both_values_the_time_of_the_write_and_who() {
    let mut world = watched(|_| {});
    let edited = world.now;
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    let told = said(&world, |kind| matches!(kind, EventKind::DriftFound { .. }));
    let when = "2026-11-22 08:00 UTC";
    assert_eq!(
        told,
        [format!("drift: RETRY is \"maybe\", expected \"true\"; written {when} by bob")]
    );
    let found = world.journal.iter().find_map(|event| match &event.kind {
        EventKind::DriftFound { written, .. } => written.clone(),
        _ => None,
    });
    assert_eq!(found, Some(Written { at: edited, by: Some("bob".into()) }));
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == drift_hold()));
}

#[test]
fn nothing_is_turned_on_beside_a_foreign_value_because_somebody_said_go_on() {
    let second = Phase { approvals: 1, ..phase("prompt", "PROMPT") };
    let parts = PlanParts { phases: vec![phase("retry", "RETRY"), second], ..single() };
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("gated", |rollout| rollout.phases()[1].stage == Stage::Gated);
    world.foreign_edit("RETRY", "maybe");
    world.until("held", |rollout| rollout.is_held());
    world.order(Command::Approve(PhaseNumber::new(2).unwrap())).unwrap();
    world.order(Command::Resume).unwrap();
    world.pass(hours(1));
    assert_ne!(world.value("PROMPT"), Some("true"), "the flag beside it was not read again");
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == drift_hold()));
    world.foreign_edit("RETRY", "true");
    world.order(Command::Resume).unwrap();
    world.until("on", |rollout| rollout.phases()[1].stage == Stage::Baking);
}

#[test]
fn our_own_writes_are_no_news() {
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("done", |rollout| rollout.status() == Status::Completed);
    let foreign = |kind: &EventKind| {
        matches!(kind, EventKind::DriftFound { .. } | EventKind::FlagRewritten { .. })
    };
    assert_eq!(said(&world, foreign), Vec::<String>::new());
    assert!(!world.written.is_empty(), "the deployment told when the flags were written");
}

#[test]
fn a_flag_that_was_away_and_back_between_two_readings_was_not_observed() {
    let mut world = watched(|_| {});
    let before = window(&world);
    world.foreign_edit("RETRY", "false");
    world.foreign_edit("RETRY", "true");
    world.pass(hours(1));
    let told = said(&world, |kind| matches!(kind, EventKind::FlagRewritten { .. }));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("by bob"), "{told:?}");
    let gaps =
        world.count(|kind| matches!(kind, EventKind::GapRecorded { cause: GapCause::Drift, .. }));
    assert_eq!(gaps, 1);
    assert_eq!(window(&world), before + minutes(30), "one interval nobody can speak for");
    assert!(!world.rollout.is_held(), "the value is as it should be");
}

#[test]
fn revert_sets_a_flag_back_and_the_window_grows_by_what_was_not_seen() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("true"));
    assert_eq!(world.count(|kind| matches!(kind, EventKind::DriftReverted { .. })), 1);
    assert!(!world.rollout.is_held() && stage(&world) == Stage::Baking);
    assert_eq!(window(&world), hours(24) + minutes(30));
    world.until("done", |rollout| rollout.status() == Status::Completed);
}

#[test]
fn revert_gives_up_after_three_times_and_asks_a_person() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    for _ in 0..4 {
        world.foreign_edit("RETRY", "maybe");
        world.pass(hours(1));
    }
    assert_eq!(world.count(|kind| matches!(kind, EventKind::RevertStarted { .. })), 3);
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == drift_hold()));
    assert_eq!(world.value("RETRY"), Some("maybe"), "the fourth time it is left as it is");
}

#[test]
fn a_breach_goes_before_a_revert_and_a_revert_never_undoes_a_rollback() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "other");
    world.link = Link::Up;
    world.until("reverting", |rollout| {
        rollout.pending().iter().any(|pending| matches!(pending.effect, Effect::SetFlags { .. }))
    });
    let late = world.rollout.pending().remove(0);
    world.order(crate::Command::Rollback(crate::RollbackScope::Latest)).unwrap();
    world.until("rolled back", |rollout| rollout.phases()[0].stage == Stage::RolledBack);
    world.perform(&late);
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("false"), "the late write was put back");
}

#[test]
fn a_revert_that_waited_for_hours_asks_a_person() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    world.link = Link::Up;
    world.until("reverting", |rollout| {
        rollout.pending().iter().any(|pending| matches!(pending.effect, Effect::SetFlags { .. }))
    });
    world.down_for(hours(3));
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("maybe"), "perhaps it was set on purpose");
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == drift_hold()));
}

#[test]
fn adopt_takes_another_value_for_right_and_never_the_safe_one() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Adopt);
    world.foreign_edit("RETRY", "true-v2");
    world.pass(hours(1));
    assert!(!world.rollout.is_held());
    assert_eq!(world.count(|kind| matches!(kind, EventKind::DriftAdopted { .. })), 1);
    world.foreign_edit("RETRY", "false");
    world.pass(hours(1));
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == drift_hold()));
    assert_eq!(world.count(|kind| matches!(kind, EventKind::DriftAdopted { .. })), 1);
}

#[test]
fn a_push_of_code_in_a_window_holds_by_default() {
    let mut world = watched(|_| {});
    let pushed_at = world.now;
    world.pushed_at = Some(pushed_at);
    world.pass(hours(1));
    let phase = crate::PhaseNumber::from_index(0).unwrap();
    let reason = HoldReason::CodePush { phase, pushed_at };
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == reason));
    world.order(crate::Command::Resume).unwrap();
    world.until("done", |rollout| rollout.status() == Status::Completed);
    assert_eq!(world.count(|kind| matches!(kind, EventKind::CodePushed { .. })), 1);
}

#[test]
fn a_push_of_code_extends_the_window_by_all_that_was_seen_before() {
    let mut world = watched(|parts| parts.code_push = PushPolicy::Extend);
    world.pushed_at = Some(world.now);
    world.pass(hours(1));
    assert!(!world.rollout.is_held());
    assert_eq!(window(&world), hours(24) + hours(2) + minutes(30));
    world.until("done", |rollout| rollout.status() == Status::Completed);
}

#[test]
fn a_push_of_code_begins_the_window_anew() {
    let mut world = watched(|parts| parts.code_push = PushPolicy::Rebaseline);
    let first: Timestamp = world.rollout.phases()[0].bake.as_ref().unwrap().started_at;
    world.pushed_at = Some(world.now);
    world.pass(hours(1));
    let again = world.rollout.phases()[0].bake.as_ref().unwrap();
    assert_eq!(again.started_at.duration_since(first), hours(2) + minutes(30));
    assert!(again.checkpoints.iter().all(|checkpoint| checkpoint.judged.is_none()));
    world.until("done", |rollout| rollout.status() == Status::Completed);
}

#[test]
fn a_push_before_the_first_phase_or_known_since_the_start_is_nothing() {
    let mut world = watched(|_| {});
    world.until("done", |rollout| rollout.status() == Status::Completed);
    assert_eq!(world.count(|kind| matches!(kind, EventKind::CodePushed { .. })), 0);
}

/// The health source of the plan counts executions over a quarter of an hour.
fn counts_calls(parts: &mut PlanParts) {
    let (functions, callers) = (vec!["messages:send".into()], vec![]);
    let calls = Calls { functions, callers, over: minutes(15), calls_min: 20 };
    parts.sources.insert("health".into(), Source::Executions(calls));
}

#[test]
fn calls_from_before_the_flip_are_never_asked_about() {
    let mut parts = single();
    counts_calls(&mut parts);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    let mut asked = Vec::new();
    let seen = |world: &World| {
        let bake = world.rollout.phases()[0].bake.as_ref();
        bake.is_some_and(|bake| bake.observed >= hours(2))
    };
    while !seen(&world) {
        for pending in world.rollout.pending() {
            if let Effect::Observe(wanted) = pending.effect {
                asked.push(wanted.sources[0].span);
            }
        }
        assert!(world.step());
    }
    let flipped = world.journal.iter().find_map(|event| match event.kind {
        EventKind::FlagsSet { .. } => Some(event.at),
        _ => None,
    });
    let flipped = flipped.unwrap();
    let after: Vec<_> = asked.iter().filter(|span| span.to > flipped).collect();
    assert!(after.len() > 4, "{asked:?}");
    assert!(after.iter().all(|span| span.from >= flipped), "{after:?}");
}

#[test]
fn news_of_a_breach_is_looked_at_at_once_and_only_while_a_flag_is_on() {
    let mut world = watched(counts_calls);
    world.errors = Measured::Number(7.0);
    let before = world.now;
    world.input(Input::Stirred).unwrap();
    world.until("rolled back", |rollout| rollout.phases()[0].stage == Stage::RolledBack);
    assert_eq!(world.now, before, "no planned check was waited for");
    world.errors = Measured::Number(0.1);
    assert_eq!(world.input(Input::Stirred).unwrap(), [], "nothing is on");
}

fn held(world: &World, reason: &HoldReason) -> bool {
    world.rollout.holds().iter().any(|hold| hold.reason == *reason)
}

#[test]
fn what_was_turned_off_is_never_turned_on_again_without_a_person() {
    for policy in [DriftPolicy::Hold, DriftPolicy::Revert, DriftPolicy::Adopt] {
        let mut world = watched(|parts| parts.drift = policy);
        // As by a rollback that could not be recorded before a crash, or by a person in an emergency.
        world.foreign_edit("RETRY", "false");
        world.down_for(minutes(10));
        world.pass(hours(1));
        assert_eq!(world.value("RETRY"), Some("false"), "{policy:?}");
        assert!(held(&world, &drift_hold()), "{policy:?}");
    }
}

#[test]
fn nothing_is_set_back_while_the_rollout_is_held() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.order(Command::Hold).unwrap();
    world.foreign_edit("RETRY", "maybe");
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("maybe"));
    assert!(held(&world, &drift_hold()));
}

/// Where nothing but readings is performed, as on the reserve or behind a hold.
#[test]
fn a_revert_that_cannot_begin_grows_too_old() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    let sets = |pending: &PendingEffect| matches!(pending.effect, Effect::SetFlags { .. });
    world.until("reverting", |rollout| rollout.pending().iter().any(sets));
    let end = world.now + hours(2);
    while world.now < end {
        match world.rollout.pending().into_iter().find(|pending| !sets(pending)) {
            Some(reading) => world.perform(&reading),
            None => {
                world.now = world.now.max(world.rollout.next_deadline().unwrap());
                world.input(Input::DeadlineReached).unwrap();
            }
        }
    }
    assert!(!world.rollout.pending().iter().any(sets));
    assert!(held(&world, &drift_hold()));
}

#[test]
fn a_flag_of_a_phase_that_is_off_is_never_adopted() {
    let mut parts = super::fixtures::parts();
    parts.drift = DriftPolicy::Adopt;
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.foreign_edit("WORKFLOW", "true");
    world.pass(hours(1));
    assert!(held(&world, &HoldReason::Drift { flag: flag("WORKFLOW") }), "on before its gates");
    let mut world = watched(|parts| parts.drift = DriftPolicy::Adopt);
    world.order(Command::Rollback(RollbackScope::Latest)).unwrap();
    world.until("rolled back", |rollout| rollout.phases()[0].stage == Stage::RolledBack);
    world.pass(hours(3));
    world.foreign_edit("RETRY", "true");
    world.pass(hours(1));
    assert_eq!(world.count(|kind| matches!(kind, EventKind::DriftAdopted { .. })), 0);
}

#[test]
fn revert_turns_off_what_somebody_turned_on_before_its_turn() {
    let mut parts = super::fixtures::parts();
    parts.drift = DriftPolicy::Revert;
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.foreign_edit("WORKFLOW", "true");
    world.pass(hours(1));
    assert_eq!(world.value("WORKFLOW"), Some("false"));
    assert!(!world.rollout.is_held());
}

/// Seed 456 of the simulator: one flag turned off and another one changed, found by one reading.
#[test]
fn nothing_is_set_back_beside_a_flag_that_was_turned_off() {
    let mut parts = super::fixtures::parts();
    parts.drift = DriftPolicy::Revert;
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world.foreign_edit("RETRY", "false");
    world.foreign_edit("WORKFLOW", "true");
    world.pass(hours(1));
    assert_eq!(world.count(|kind| matches!(kind, EventKind::RevertStarted { .. })), 0);
    assert_eq!(world.value("WORKFLOW"), Some("true"), "a person looks at both");
    assert!(held(&world, &HoldReason::Drift { flag: flag("WORKFLOW") }));
    assert!(held(&world, &drift_hold()));
}

/// Seed 3288 of the simulator: the reading that shows the drift shows a push of code as well.
#[test]
fn nothing_is_set_back_while_a_push_holds() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    world.pushed_at = Some(world.now);
    world.pass(hours(1));
    assert!(
        world.rollout.holds().iter().any(|hold| matches!(hold.reason, HoldReason::CodePush { .. }))
    );
    assert_eq!(world.value("RETRY"), Some("maybe"));
    assert!(held(&world, &drift_hold()), "it waited for too long");
}

/// Seed 2796 of the simulator: the process dies when a foreign value was replaced, before it hears of it.
#[test]
fn setting_back_is_no_foreign_write_after_a_crash() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    let sets = |pending: &PendingEffect| matches!(pending.effect, Effect::SetFlags { .. });
    world.until("reverting", |rollout| rollout.pending().iter().any(sets));
    // It lands, and nobody is told.
    world.foreign_edit("RETRY", "true");
    world.down_for(hours(1));
    world.pass(hours(1));
    assert!(held(&world, &drift_hold()), "what waited for an hour is a person's");
    assert_eq!(world.count(|kind| matches!(kind, EventKind::FlagRewritten { .. })), 0);
}

#[test]
fn a_rollback_is_read_back_without_asking_any_source() {
    let mut world = watched(counts_calls);
    world.order(Command::Rollback(RollbackScope::Latest)).unwrap();
    world.until("reading back", |rollout| {
        rollout.phases()[0].stage == Stage::Recovering && rollout.watch().observing.is_some()
    });
    let asked = world.rollout.pending().into_iter().find_map(|pending| match pending.effect {
        Effect::Observe(wanted) => Some((wanted.flags.len(), wanted.sources.len())),
        _ => None,
    });
    assert_eq!(asked, Some((1, 0)));
    world.until("rolled back", |rollout| rollout.phases()[0].stage == Stage::RolledBack);
}

#[test]
fn after_a_restart_a_question_is_about_now() {
    let mut world = watched(counts_calls);
    world.until("observing", |rollout| rollout.watch().observing.is_some());
    world.down_for(hours(8));
    let asked = world.rollout.pending().into_iter().find_map(|pending| match pending.effect {
        Effect::Observe(wanted) => Some(wanted.sources[0].span.to),
        _ => None,
    });
    assert_eq!(asked, Some(world.now));
}

/// Where the first source counts from, in the next reading.
fn counts_from(world: &mut World) -> Timestamp {
    world.until("observing", |rollout| rollout.watch().observing.is_some());
    let asked = world.rollout.pending().into_iter().find_map(|pending| match pending.effect {
        Effect::Observe(wanted) => Some(wanted.sources[0].span.from),
        _ => None,
    });
    asked.unwrap()
}

fn counts_an_hour(parts: &mut PlanParts) {
    counts_calls(parts);
    if let Some(Source::Executions(calls)) = parts.sources.get_mut("health") {
        calls.over = hours(1);
    }
}

#[test]
fn the_log_tells_the_checkpoints_of_the_code_that_runs() {
    for policy in [PushPolicy::Extend, PushPolicy::Rebaseline] {
        let mut world = watched(|parts| parts.code_push = policy);
        world.pass(minutes(7));
        world.pushed_at = Some(world.now);
        world.until("done", |rollout| rollout.status() == Status::Completed);
        let judged = world.events(|event| match &event.kind {
            EventKind::CheckpointJudged { offset, due, .. } if event.at == *due => Some(*offset),
            _ => None,
        });
        assert_eq!(judged.iter().filter(|offset| **offset == hours(1)).count(), 2, "{judged:?}");
        let page = log(&world.journal, LogOptions::default());
        let row = |label| page.lines().find(|line| line.starts_with(label)).unwrap().to_string();
        assert!(!row("| T+6h ").contains("late"), "{}", row("| T+6h "));
        let last = world.events(|event| match &event.kind {
            EventKind::CheckpointJudged { offset, .. } if *offset == hours(1) => Some(event.at),
            _ => None,
        });
        let shown = last[1].strftime("%H:%M").to_string();
        assert!(row("| T+1h ").contains(&shown), "{shown}: {}", row("| T+1h "));
    }
}

/// Fewer than ten calls are a breach. There were twelve until the flag was set.
fn on_where_ten_calls_are_expected(mut parts: PlanParts) -> World {
    let too_few = |comparison| Some(Bound { comparison, limit: Limit::Number(10.0) });
    parts.criteria[0].unit = Unit::Count;
    parts.criteria[0].target = too_few(Comparison::GreaterOrEqual);
    parts.criteria[0].alert = too_few(Comparison::Less);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.errors = Measured::Number(12.0);
    world.until("on", |rollout| rollout.phases()[0].stage == Stage::Verifying);
    world
}

#[test]
fn too_few_calls_since_the_flip_are_no_breach_before_their_time() {
    let mut parts = single();
    counts_calls(&mut parts);
    let mut world = on_where_ten_calls_are_expected(parts);
    world.errors = Measured::Number(0.0);
    world.pass(minutes(10));
    assert_eq!(world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. })), 0);
    assert_ne!(stage(&world), Stage::Baking, "nobody can say yet that it is well");
    world.pass(minutes(30));
    assert_eq!(world.value("RETRY"), Some("false"), "too few in the whole quarter of an hour");
}

#[test]
fn too_few_calls_in_some_of_the_minutes_of_metrics_are_no_breach() {
    let mut parts = single();
    counts_calls(&mut parts);
    let Some(Source::Executions(calls)) = parts.sources.remove("health") else { panic!("none") };
    let calls = Calls { over: minutes(5), ..calls };
    parts.sources.insert("health".into(), Source::AppMetrics(calls));
    let mut world = on_where_ten_calls_are_expected(parts);
    // Three of the four minutes that count: as many in each as before.
    world.errors = Measured::Number(9.0);
    let look = |world: &mut World, by| {
        world.now += by;
        world.input(Input::Stirred).unwrap();
        let pending = world.rollout.pending().remove(0);
        world.perform(&pending);
        world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. }))
    };
    assert_eq!(look(&mut world, minutes(0)), 0, "nothing is told yet");
    assert_eq!(look(&mut world, minutes(5) - minutes(1) / 2), 0, "there is a minute to come");
    assert_eq!(look(&mut world, minutes(1)), 1, "and here all four are told");
}

#[test]
fn a_call_counts_when_it_ended_however_long_it_ran() {
    let mut world = watched(counts_calls);
    let flipped = world.now;
    world.pass(hours(2));
    // How far back is looked for the ends of calls, the source itself knows.
    assert!(
        counts_from(&mut world) <= flipped,
        "a call that runs for longer than that never counts"
    );
}

#[test]
fn a_clock_that_is_set_forward_brings_no_calls_from_before_the_flip() {
    let mut world = watched(counts_an_hour);
    let flipped = counts_from(&mut world);
    let by = hours(50);
    world.now += by;
    world.input(Input::ClockJumped { by }).unwrap();
    world.pass(minutes(1));
    assert_eq!(counts_from(&mut world), flipped + by);
}

#[test]
fn a_clock_that_was_set_back_and_is_put_right_hides_no_call() {
    let mut world = watched(counts_an_hour);
    // The engine's time follows neither: it waits for the wall clock, and is there already when that is put right.
    world.input(Input::ClockJumped { by: -hours(3) }).unwrap();
    world.order(Command::Resume).unwrap();
    world.pass(minutes(10));
    let put_right = world.now;
    world.input(Input::ClockJumped { by: hours(3) }).unwrap();
    world.pass(hours(1));
    assert!(counts_from(&mut world) <= put_right, "an hour of calls, and any breach in it");
}

#[test]
fn calls_of_the_old_code_and_of_a_flag_that_was_off_do_not_count() {
    let mut world = watched(|parts| {
        counts_an_hour(parts);
        parts.code_push = PushPolicy::Rebaseline;
    });
    let pushed = world.now;
    world.pushed_at = Some(pushed);
    world.until("restarted", |rollout| rollout.phases()[0].stage == Stage::Verifying);
    assert!(counts_from(&mut world) >= pushed);

    let mut world = watched(counts_an_hour);
    world.foreign_edit("RETRY", "false");
    world.pass(hours(2));
    world.foreign_edit("RETRY", "true");
    let back = world.now;
    world.order(Command::Resume).unwrap();
    world.pass(minutes(1));
    assert!(counts_from(&mut world) >= back);
}

#[test]
fn pushes_hold_once_and_never_fail_a_phase_whose_flag_is_already_held() {
    let mut world = watched(|_| {});
    for _ in 0..20 {
        world.pushed_at = Some(world.now);
        world.pass(hours(1));
    }
    assert_eq!(world.rollout.holds().len(), 1);
    let mut world = watched(|parts| parts.code_push = PushPolicy::Rebaseline);
    world.foreign_edit("RETRY", "other");
    world.pass(hours(1));
    world.pushed_at = Some(world.now);
    world.pass(hours(1));
    assert_eq!(world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. })), 0);
}

#[test]
fn extend_judges_every_checkpoint_on_the_new_code() {
    let mut world = watched(|parts| parts.code_push = PushPolicy::Extend);
    world.pass(hours(19));
    world.pushed_at = Some(world.now);
    world.pass(hours(1));
    let bake = world.rollout.phases()[0].bake.as_ref().unwrap();
    assert!(bake.checkpoints.iter().all(|checkpoint| checkpoint.judged.is_none()));
    world.until("done", |rollout| rollout.status() == Status::Completed);
}

/// Whoever turned a flag off while a foreign value was to be set back is not overruled.
#[test]
fn what_is_turned_off_while_setting_back_waits_behind_a_hold_stays_off() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    world.pushed_at = Some(world.now);
    world.until("held by the push", |rollout| rollout.is_held());
    assert!(held(&world, &drift_hold()), "it is a person's at once");
    world.now += minutes(1);
    world.foreign_edit("RETRY", "false");
    world.now += minutes(1);
    world.order(Command::Resume).unwrap();
    world.pass(minutes(10));
    assert_eq!(world.value("RETRY"), Some("false"));
    assert!(held(&world, &drift_hold()), "and again once it is seen to be off");
}

#[test]
fn what_is_turned_off_after_setting_back_failed_stays_off() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    let sets = |pending: &PendingEffect| matches!(pending.effect, Effect::SetFlags { .. });
    world.until("reverting", |rollout| rollout.pending().iter().any(sets));
    let write = world.rollout.pending().into_iter().find(sets).unwrap();
    let fault = crate::Fault::new(crate::FaultClass::Transient, None, "503");
    let outcome = crate::Outcome::failed(fault);
    world.input(Input::EffectEnded { key: write.key, outcome }).unwrap();
    assert!(held(&world, &drift_hold()));
    world.foreign_edit("RETRY", "false");
    world.pass(minutes(10));
    assert_eq!(world.value("RETRY"), Some("false"));
}

#[test]
fn what_is_turned_off_before_a_restart_is_not_set_back_after_it() {
    let mut world = watched(|parts| parts.drift = DriftPolicy::Revert);
    world.foreign_edit("RETRY", "maybe");
    let sets = |pending: &PendingEffect| matches!(pending.effect, Effect::SetFlags { .. });
    world.until("reverting", |rollout| rollout.pending().iter().any(sets));
    world.foreign_edit("RETRY", "false");
    world.down_for(minutes(2));
    world.pass(minutes(2));
    assert_eq!(world.value("RETRY"), Some("false"));
    assert!(held(&world, &drift_hold()));
}
