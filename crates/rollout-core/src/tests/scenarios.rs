//! What a rollout does, told as short scripts.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::fixtures::{flag, hours, minutes, parts, person, phase, plan, single};
use super::world::{Link, World};
use crate::{
    Bound, ChangeWindow, Command, Comparison, Criterion, EventKind, FlagName, GapCause, HoldReason,
    Input, Limit, Measured, MissedPolicy, Outcome, PhaseNumber, Plan, PlanParts, Purpose,
    Rejection, RollbackCause, RollbackScope, Rollout, Stage, Status, Verb, Verdict,
};

fn number(number: u8) -> PhaseNumber {
    PhaseNumber::new(number).unwrap()
}

fn stage(rollout: &Rollout, phase: u8) -> Stage {
    rollout.phases()[number(phase).index()].stage
}

fn in_stage(phase: u8, wanted: Stage) -> impl Fn(&Rollout) -> bool {
    move |rollout| stage(rollout, phase) == wanted
}

fn done(rollout: &Rollout) -> bool {
    rollout.status() == Status::Completed
}

/// Why nothing is known about each stretch of time that is missing.
fn gap_causes(world: &World) -> Vec<GapCause> {
    world.events(|event| match &event.kind {
        EventKind::GapRecorded { cause, .. } => Some(cause.clone()),
        _ => None,
    })
}

/// A world in the bake window of the only phase.
fn baking(change: impl FnOnce(&mut PlanParts)) -> World {
    let mut parts = single();
    change(&mut parts);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("baking", in_stage(1, Stage::Baking));
    world
}

fn tick_everything(world: &mut World) {
    world.order(Command::Check { phase: number(3), item: "drill".into() }).unwrap();
    world.order(Command::Approve(number(3))).unwrap();
}

#[test]
fn the_whole_plan_runs_to_its_end() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 concluding", in_stage(3, Stage::Concluding));
    assert!(world.rollout.waits().iter().any(|wait| wait.to_string().contains("RESTART")));
    world.order(Command::Check { phase: number(3), item: "restart".into() }).unwrap();
    world.until("done", done);
    assert_eq!(
        (world.value("RETRY"), world.value("LOGS"), world.value("WORKFLOW")),
        (Some("true"), None, Some("true"))
    );
    assert_eq!(stage(&world.rollout, 2), Stage::Skipped);
    assert_eq!(world.writes.len(), 2, "each flag is written once: {:?}", world.writes);
    let checkpoints = world.events(|event| match &event.kind {
        EventKind::CheckpointJudged { due, .. } => Some(event.at.duration_since(*due)),
        _ => None,
    });
    assert_eq!(
        checkpoints,
        vec![SignedDuration::ZERO; 8],
        "eight checkpoints, each judged at its due time"
    );
    assert_eq!(world.count(|kind| matches!(kind, EventKind::GapRecorded { .. })), 0);
}

#[test]
fn a_breach_rolls_back_in_the_step_that_judges_it() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 baking", in_stage(3, Stage::Baking));
    world.pass(hours(2));
    world.errors = Measured::Number(7.0);
    let seen = world.now;
    world.until("rolled back", in_stage(3, Stage::RolledBack));
    assert!(world.now.duration_since(seen) <= minutes(30), "within one check interval");
    assert_eq!(
        (world.value("WORKFLOW"), world.value("RETRY")),
        (Some("false"), Some("true")),
        "earlier flags stay on"
    );
    world.pass(minutes(15));
    let at = |wanted: fn(&EventKind) -> bool| {
        world.journal.iter().rposition(|event| wanted(&event.kind)).unwrap()
    };
    let judged = at(
        |kind| matches!(kind, EventKind::ReadingTaken { reading, .. } if reading.verdict == Verdict::Breach),
    );
    let started = world
        .journal
        .iter()
        .position(|event| matches!(event.kind, EventKind::RollbackStarted { .. }))
        .unwrap();
    let breach = world.journal.iter().position(|event| {
        matches!(&event.kind, EventKind::ReadingTaken { reading, .. } if reading.verdict == Verdict::Breach)
    });
    assert_eq!(breach, Some(started - 1), "the same step");
    assert!(judged > started, "the echo after the rollback starts no second one");
    assert_eq!(world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. })), 1);
    assert!(world.rollout.is_held());
}

#[test]
fn after_a_rollback_a_person_resolves_then_retries() {
    let mut world = baking(|_| {});
    world.errors = Measured::Number(7.0);
    world.until("rolled back", in_stage(1, Stage::RolledBack));
    let refused = world.order(Command::Retry).unwrap_err();
    let Rejection::NotNow { why, allowed, .. } = refused else { panic!("{refused:?}") };
    assert!(why.contains("incident 1 is open"), "{why}");
    assert!(
        allowed.contains(&Verb::ResolveIncident) && !allowed.contains(&Verb::Retry),
        "{allowed:?}"
    );
    world.errors = Measured::Number(0.1);
    world.order(Command::ResolveIncident(crate::IncidentNumber::new(1).unwrap())).unwrap();
    world.order(Command::Retry).unwrap();
    world.until("done", done);
    assert_eq!(world.rollout.phases()[0].attempt, 2);
    assert_eq!(world.value("RETRY"), Some("true"));
}

#[test]
fn orders_repeated_after_a_lost_answer_find_it_so_already() {
    let mut world = baking(|_| {});
    world.order(Command::Rollback(RollbackScope::All)).unwrap();
    world.pass(minutes(30));
    assert_eq!(stage(&world.rollout, 1), Stage::RolledBack);
    assert_eq!(world.order(Command::Rollback(RollbackScope::All)).unwrap(), []);
    world.order(Command::ResolveIncident(crate::IncidentNumber::new(1).unwrap())).unwrap();
    assert_ne!(world.order(Command::Retry).unwrap(), []);
    assert_eq!(world.order(Command::Retry).unwrap(), []);
    // Where somebody turned a flag on again, "nothing to do" would be wrong.
    let mut foreign = baking(|_| {});
    foreign.order(Command::Rollback(RollbackScope::All)).unwrap();
    foreign.pass(hours(1));
    foreign.env.insert(flag("RETRY"), "true".into());
    foreign.pass(hours(1));
    for scope in [RollbackScope::Latest, RollbackScope::All] {
        foreign.env.insert(flag("RETRY"), "true".into());
        foreign.pass(hours(1));
        foreign.order(Command::Rollback(scope)).unwrap();
        foreign.pass(minutes(10));
        assert_eq!(foreign.value("RETRY"), Some("false"), "{scope:?}");
    }
}

#[test]
fn rollback_all_is_one_batch_in_reverse_order() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 baking", in_stage(3, Stage::Baking));
    let before = world.batches;
    let events = world.order(Command::Rollback(RollbackScope::All)).unwrap();
    let EventKind::RollbackStarted { phases, cause, .. } = &events[0].kind else {
        panic!("{events:?}")
    };
    assert_eq!(
        (phases.as_slice(), cause),
        ([number(3), number(1)].as_slice(), &RollbackCause::Ordered)
    );
    world.until("rolled back", |rollout| rollout.rollback().is_none());
    assert_eq!(world.batches, before + 1, "one atomic batch");
    assert_eq!((world.value("RETRY"), world.value("WORKFLOW")), (Some("false"), Some("false")));
    let again = world.order(Command::Rollback(RollbackScope::All)).unwrap();
    assert_eq!(again, [], "it is so already");
}

#[test]
fn a_rollback_of_what_has_ended_goes_on_after_a_crash() {
    let mut world = baking(|_| {});
    world.until("done", done);
    world.order(Command::Rollback(RollbackScope::All)).unwrap();
    world.rollout = Rollout::replay(&world.journal).unwrap();
    let events = world.input(Input::EngineResumed { last_seen: world.now }).unwrap();
    assert!(!events.is_empty(), "an event is what makes the engine perform what is pending");
    world.pass(hours(1));
    assert_eq!(
        (world.value("RETRY"), stage(&world.rollout, 1)),
        (Some("false"), Stage::RolledBack)
    );
}

#[test]
fn a_read_back_without_flags_is_asked_again_soon_whatever_health_says() {
    let mut world = baking(|_| {});
    world.order(Command::Rollback(RollbackScope::Latest)).unwrap();
    let restore = world.rollout.pending().remove(0);
    world.perform(&restore);
    world.errors = Measured::Number(9.0);
    world.flags_hidden = true;
    let asked = |rollout: &Rollout| matches!(&rollout.watch().last, Some((_, Purpose::Recovery, reading)) if reading.flags.is_err());
    world.until("read back in vain", asked);
    let wait = world.rollout.next_deadline().unwrap().duration_since(world.now);
    assert!(wait <= minutes(5), "looks again in {wait:?}");
}

#[test]
fn a_rollback_goes_on_through_an_outage_and_a_refused_key() {
    let mut world = baking(|_| {});
    world.errors = Measured::Number(7.0);
    world.until("rolling back", in_stage(1, Stage::RollingBack));
    world.link = Link::Down;
    world.pass(hours(2));
    assert_eq!(stage(&world.rollout, 1), Stage::RollingBack);
    world.link = Link::Refused;
    world.pass(hours(1));
    assert!(
        world
            .rollout
            .holds()
            .iter()
            .any(|hold| matches!(hold.reason, HoldReason::EffectFailed { .. }))
    );
    world.down_for(hours(1));
    world.link = Link::AnswersLost;
    world.pass(minutes(2));
    assert_eq!(world.value("RETRY"), Some("false"), "the write landed though its answer was lost");
    world.link = Link::Up;
    world.until("rolled back", in_stage(1, Stage::RolledBack));
    assert_eq!(world.writes.len(), 2, "on once, off once: {:?}", world.writes);
}

#[test]
fn an_enabling_that_lands_after_its_rollback_is_put_back_again() {
    let mut world = baking(|_| {});
    world.errors = Measured::Number(7.0);
    world.until("rolled back", in_stage(1, Stage::RolledBack));
    world.errors = Measured::Number(0.1);
    world.env.insert(flag("RETRY"), "true".into());
    let landed = world.now;
    world.until("put back", |rollout| {
        rollout.incidents().len() == 2 && rollout.rollback().is_none()
    });
    assert_eq!(world.value("RETRY"), Some("false"));
    assert!(
        world.now.duration_since(landed) <= minutes(6),
        "looked at soon, not at the next planned check"
    );
    world.pass(hours(1));
    world.env.insert(flag("RETRY"), "true".into());
    world.pass(hours(1));
    assert_eq!(
        world.value("RETRY"),
        Some("true"),
        "much later it is somebody else's change, and a drift"
    );
    assert!(
        world.rollout.holds().iter().any(|hold| matches!(hold.reason, HoldReason::Drift { .. }))
    );
}

#[test]
fn an_abort_does_not_end_the_guard_against_late_writes() {
    let mut world = baking(|_| {});
    world.order(Command::Abort).unwrap();
    world.until("aborted", |rollout| rollout.status() == Status::Aborted);
    world.env.insert(flag("RETRY"), "true".into());
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("false"));
    assert_eq!(world.rollout.next_deadline(), None, "and then the watch of an ended rollout ends");
}

#[test]
fn a_clock_that_is_set_forward_does_not_end_the_guard_against_late_writes() {
    let mut world = baking(|_| {});
    world.order(Command::Abort).unwrap();
    world.until("aborted", |rollout| rollout.status() == Status::Aborted);
    world.pass(minutes(1));
    world.now += hours(1);
    world.input(Input::ClockJumped { by: hours(1) }).unwrap();
    world.pass(minutes(3));
    world.env.insert(flag("RETRY"), "true".into());
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("false"), "four minutes after the rollback, really");
    assert_eq!(world.rollout.next_deadline(), None, "and then the watch of an ended rollout ends");
    assert_eq!(world.input(Input::ClockJumped { by: hours(1) }).unwrap(), []);
}

#[test]
fn a_write_that_landed_while_nobody_could_look_is_put_back_however_late() {
    let mut world = baking(|_| {});
    world.order(Command::Abort).unwrap();
    world.until("aborted", |rollout| rollout.status() == Status::Aborted);
    world.env.insert(flag("RETRY"), "true".into());
    world.down_for(hours(72));
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("false"));
}

#[test]
fn a_breach_that_goes_on_after_a_rollback_reaches_the_phase_before() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 baking", in_stage(3, Stage::Baking));
    world.errors = Measured::Number(7.0);
    world.until("phase 3 rolled back", in_stage(3, Stage::RolledBack));
    let back = world.now;
    world.until("phase 1 rolled back", in_stage(1, Stage::RolledBack));
    let after = world.now.duration_since(back);
    assert!(after >= hours(1) && after <= hours(2), "not its echo, and not never: {after:?}");
}

#[test]
fn a_rollback_ordered_twice_goes_no_further_back() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 baking", in_stage(3, Stage::Baking));
    world.order(Command::Rollback(RollbackScope::Latest)).unwrap();
    world.until("rolled back", in_stage(3, Stage::RolledBack));
    assert_eq!(world.order(Command::Rollback(RollbackScope::Latest)).unwrap(), []);
    assert_eq!(stage(&world.rollout, 1), Stage::Completed);
}

#[test]
fn a_flag_seen_off_again_and_again_is_not_counted_as_watched() {
    let mut world = baking(|_| {});
    world.pass(hours(2));
    for _ in 0..8 {
        world.env.insert(flag("RETRY"), "false".into());
        world.pass(minutes(30));
        world.env.insert(flag("RETRY"), "true".into());
        world.order(Command::Resume).unwrap();
        world.pass(minutes(1));
    }
    let gaps = gap_causes(&world);
    assert_eq!(gaps, vec![GapCause::Drift; 8]);
    world.until("done", done);
    let bake = world.rollout.phases()[0].bake.as_ref().unwrap();
    assert!(bake.unobserved >= hours(4) && bake.extension == bake.unobserved, "{bake:?}");
}

#[test]
fn what_was_not_seen_is_told_when_the_window_is_given_up() {
    for command in [Command::Promote, Command::Rollback(RollbackScope::Latest)] {
        let mut world = baking(|_| {});
        world.pass(hours(1));
        world.link = Link::Down;
        world.pass(hours(8));
        world.order(command).unwrap();
        assert_eq!(gap_causes(&world), [GapCause::Unreadable("connection refused".into())]);
    }
}

#[test]
fn a_verification_that_nobody_can_answer_is_told_and_asked_less_and_less() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("verifying", in_stage(3, Stage::Verifying));
    world.unanswered = true;
    world.pass(hours(24));
    assert_eq!(stage(&world.rollout, 3), Stage::Verifying);
    assert!(
        world.rollout.holds().iter().any(|hold| hold.reason.words().contains("no such function"))
    );
    let readings = world.count(|kind| matches!(kind, EventKind::ReadingTaken { purpose, .. } if *purpose == Purpose::Verification(number(3))));
    assert!(readings < 100, "{readings} readings in a day");
    world.unanswered = false;
    world.until("baking", in_stage(3, Stage::Baking));
    assert!(!world.rollout.is_held());
}

#[test]
fn what_a_deployment_says_is_bounded_in_the_journal() {
    let mut world = baking(|_| {});
    world.env.insert(flag("RETRY"), "x".repeat(300_000));
    world.pass(hours(1));
    let (_, _, reading) = world.rollout.watch().last.as_ref().unwrap();
    let value = reading.flags.as_ref().unwrap()[&flag("RETRY")].as_ref().unwrap();
    assert!(value.len() < 1_100 && value.ends_with("(300000 bytes)"), "{value}");
}

#[test]
fn two_hours_without_the_deployment_are_a_gap_and_nothing_worse() {
    let mut world = baking(|_| {});
    world.pass(hours(5));
    world.link = Link::Down;
    world.pass(hours(2));
    assert!(
        matches!(world.rollout.holds(), [hold] if matches!(hold.reason, HoldReason::Blind { .. }))
    );
    world.link = Link::Up;
    world.until("done", done);
    assert_eq!(world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. })), 0);
    let gaps = world.events(|event| match &event.kind {
        EventKind::GapRecorded { from, to, cause, .. } => {
            Some((to.duration_since(*from), cause.clone()))
        }
        _ => None,
    });
    let [(gap, cause)] = gaps.as_slice() else { panic!("one gap: {gaps:?}") };
    assert!(*gap >= minutes(90) && *gap <= minutes(150), "{gap:?}");
    assert_eq!(*cause, GapCause::Unreadable("connection refused".into()));
    let bake = world.rollout.phases()[0].bake.as_ref().unwrap();
    assert_eq!(
        bake.ends_at().duration_since(bake.started_at),
        hours(24) + *gap,
        "the window grew by the gap"
    );
    let (judged, _) = bake.checkpoints[1].judged.unwrap();
    assert!(judged > bake.checkpoints[1].due + minutes(5), "T+6h was judged late, and says so");
}

#[test]
fn engine_down_for_eight_hours_settles_two_checkpoints_late_and_in_order() {
    let mut world = baking(|_| {});
    world.pass(hours(5));
    world.down_for(hours(8));
    world.until("done", done);
    let judged = world.events(|event| match &event.kind {
        EventKind::CheckpointJudged { offset, due, .. } => {
            Some((*offset, event.at.duration_since(*due) > minutes(5)))
        }
        _ => None,
    });
    assert_eq!(
        judged,
        [(hours(1), false), (hours(6), true), (hours(12), true), (hours(24), false)]
    );
    assert_eq!(gap_causes(&world), [GapCause::EngineDown]);
}

#[test]
fn a_machine_that_slept_is_not_called_a_stopped_engine() {
    let mut world = baking(|_| {});
    world.pass(hours(2));
    world.now += hours(3);
    world.until("done", done);
    assert_eq!(gap_causes(&world), [GapCause::Asleep]);
}

#[test]
fn restarts_cause_no_extra_and_no_early_step() {
    let due_times = |world: &World| {
        world.events(|event| match &event.kind {
            EventKind::ReadingStarted { .. } => Some(event.at),
            _ => None,
        })
    };
    let mut straight = baking(|_| {});
    straight.until("done", done);
    let mut restarted = baking(|_| {});
    for _ in 0..5 {
        restarted.pass(hours(3));
        restarted.down_for(minutes(1));
    }
    restarted.until("done", done);
    assert_eq!(due_times(&restarted), due_times(&straight));
}

#[test]
fn strange_health_is_neither_a_breach_nor_a_pass() {
    for (strange, verdict) in [
        (Measured::Number(f64::NAN), Verdict::NoData),
        (Measured::Missing("null at /errors".into()), Verdict::NoData),
        (Measured::Text("0.1".into()), Verdict::Error),
        (Measured::Failed("Uncaught Error: boom".into()), Verdict::Error),
    ] {
        let mut world = baking(|_| {});
        world.errors = strange.clone();
        world.pass(hours(48));
        assert_eq!(stage(&world.rollout, 1), Stage::Baking, "{strange:?} ended the window");
        let (_, _, reading) = world.rollout.watch().last.as_ref().unwrap();
        assert_eq!(reading.verdict, verdict, "{strange:?}");
        assert!(reading.trouble().is_some());
        assert_eq!(world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. })), 0);
        assert_eq!(world.count(|kind| matches!(kind, EventKind::CheckpointJudged { .. })), 0);
        world.errors = Measured::Number(0.2);
        world.until("done", done);
    }
}

#[test]
fn a_hold_stops_the_advance_and_not_the_watch() {
    let mut world = baking(|_| {});
    world.order(Command::Hold).unwrap();
    assert_eq!(world.order(Command::Hold).unwrap(), [], "idempotent");
    world.pass(hours(30));
    assert_eq!(stage(&world.rollout, 1), Stage::Baking);
    assert!(
        world.count(|kind| matches!(kind, EventKind::CheckpointJudged { .. })) == 4,
        "checkpoints are judged all the same"
    );
    world.errors = Measured::Number(9.0);
    world.until("rolled back", in_stage(1, Stage::RolledBack));
}

#[test]
fn drift_holds_and_its_time_is_not_counted_as_seen() {
    let mut world = baking(|_| {});
    world.pass(hours(2));
    world.env.insert(flag("RETRY"), "false".into());
    world.pass(hours(3));
    assert!(
        world
            .rollout
            .holds()
            .iter()
            .any(|hold| hold.reason == HoldReason::Drift { flag: flag("RETRY") })
    );
    assert_eq!(world.value("RETRY"), Some("false"), "somebody else's change is not overwritten");
    assert_eq!(world.count(|kind| matches!(kind, EventKind::DriftFound { .. })), 1, "told once");
    world.env.insert(flag("RETRY"), "true".into());
    world.order(Command::Resume).unwrap();
    world.until("done", done);
    assert_eq!(gap_causes(&world), [GapCause::Drift]);
}

#[test]
fn a_lost_answer_is_read_back_and_never_written_twice() {
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("enabling", in_stage(1, Stage::Enabling));
    world.link = Link::AnswersLost;
    world.pass(minutes(5));
    world.link = Link::Up;
    world.until("done", done);
    assert_eq!(world.writes.len(), 1, "{:?}", world.writes);
}

#[test]
fn a_refused_key_needs_a_person_and_then_goes_on() {
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("enabling", in_stage(1, Stage::Enabling));
    world.link = Link::Refused;
    world.pass(hours(1));
    assert!(world.rollout.holds().iter().any(|hold| hold.reason.words().contains("BadAdminKey")));
    world.link = Link::Up;
    world.order(Command::Resume).unwrap();
    world.until("done", done);
}

#[test]
fn late_and_repeated_outcomes_are_data() {
    let mut world = baking(|_| {});
    world.until("reading", |rollout| !rollout.pending().is_empty());
    let pending = world.rollout.pending().remove(0);
    world.perform(&pending);
    let outcome = Outcome::Observed(crate::Reading::of(Ok(<_>::default()), vec![], vec![]));
    let late = Input::EffectEnded { key: pending.key, outcome };
    assert_eq!(world.input(late).unwrap(), []);
}

#[test]
fn a_verification_that_says_no_three_times_rolls_back() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.mode = "direct".into();
    world.until("rolled back", in_stage(3, Stage::RolledBack));
    let cause = &world.rollout.incidents()[0].cause;
    assert_eq!(
        *cause,
        RollbackCause::Verification { what: "mode".into(), found: "\"direct\"".into() }
    );
}

#[test]
fn a_verification_that_cannot_be_asked_waits() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("verifying", in_stage(3, Stage::Verifying));
    world.link = Link::Down;
    world.pass(hours(10));
    assert_eq!(stage(&world.rollout, 3), Stage::Verifying);
    world.link = Link::Up;
    world.until("baking", in_stage(3, Stage::Baking));
}

#[test]
fn abort_puts_the_running_phase_back_and_leaves_completed_ones() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 baking", in_stage(3, Stage::Baking));
    world.order(Command::Abort).unwrap();
    world.until("aborted", |rollout| rollout.status() == Status::Aborted);
    assert_eq!((world.value("WORKFLOW"), world.value("RETRY")), (Some("false"), Some("true")));
    assert!(!world.rollout.is_over(), "its incident is open");
    world.order(Command::Rollback(RollbackScope::All)).unwrap();
    world.until("rolled back", |rollout| rollout.rollback().is_none());
    assert_eq!(world.value("RETRY"), Some("false"), "even an ended rollout can be rolled back");
    assert_eq!(world.rollout.status(), Status::Aborted, "and stays ended");
    assert!(matches!(world.order(Command::Retry), Err(Rejection::NotNow { .. })));
    world.pass(hours(1));
    for incident in 1..=2 {
        world
            .order(Command::ResolveIncident(crate::IncidentNumber::new(incident).unwrap()))
            .unwrap();
    }
    assert!(world.rollout.is_over());
}

#[test]
fn promote_ends_the_window_and_is_no_resume() {
    let mut world = baking(|_| {});
    world.pass(hours(2));
    world.order(Command::Hold).unwrap();
    assert!(matches!(world.order(Command::Promote), Err(Rejection::NotNow { .. })));
    world.order(Command::Resume).unwrap();
    assert_eq!(stage(&world.rollout, 1), Stage::Baking, "resume skips nothing");
    world.order(Command::Promote).unwrap();
    world.until("done", done);
    assert!(matches!(world.order(Command::Promote), Err(Rejection::NotNow { .. })));
}

#[test]
fn a_baseline_with_a_flag_on_or_an_alert_holds() {
    let mut world = World::new(plan());
    world.env.insert(flag("RETRY"), "true".into());
    world.until("held", Rollout::is_held);
    assert!(world.rollout.holds()[0].reason.words().contains("RETRY is \"true\""));
    world.order(Command::Resume).unwrap();
    world.until("held again", Rollout::is_held);
    world.env.insert(flag("RETRY"), "false".into());
    world.order(Command::Resume).unwrap();
    world.until("running", |rollout| rollout.status() == Status::Running);
}

#[test]
fn a_refused_key_holds_before_anything_is_touched() {
    let mut world = World::new(plan());
    world.link = Link::Refused;
    world.until("held", Rollout::is_held);
    assert!(world.rollout.holds()[0].reason.words().contains("BadAdminKey"));
    world.link = Link::Up;
    world.order(Command::Resume).unwrap();
    world.until("running", |rollout| rollout.status() == Status::Running);
}

#[test]
fn a_warning_in_the_baseline_can_be_accepted_by_a_person() {
    let mut world = World::new(plan());
    world.errors = Measured::Number(2.0);
    world.until("held", Rollout::is_held);
    world.order(Command::Resume).unwrap();
    world.until("running", |rollout| rollout.status() == Status::Running);
}

#[test]
fn a_waiver_accepts_warnings_and_no_breach_beside_them() {
    let mut parts = single();
    let above_one = Bound { comparison: Comparison::Greater, limit: Limit::Number(1.0) };
    let warns = Criterion {
        name: "calls".into(),
        target: Some(above_one),
        alert: None,
        ..parts.criteria[0].clone()
    };
    parts.criteria.insert(0, warns);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("held", Rollout::is_held);
    world.errors = Measured::Number(9.0);
    world.order(Command::Resume).unwrap();
    world.pass(hours(1));
    assert_eq!(world.rollout.status(), Status::Baseline);
    assert!(world.rollout.holds()[0].reason.words().contains("errors is 9"));
}

#[test]
fn gates_open_for_people_and_the_calendar_only() {
    let window = ChangeWindow { cron: "0 9 * * *".into(), lasts: hours(2), zone: "UTC".into() };
    let gated = PlanParts {
        phases: vec![crate::Phase {
            before: vec![person("runbook")],
            approvals: 2,
            change_window: Some(window),
            ..phase("retry", "RETRY")
        }],
        smoke: None,
        ..parts()
    };
    let mut world = World::new(Plan::try_new(gated).unwrap());
    world.until("gated", in_stage(1, Stage::Gated));
    world.order(Command::Check { phase: number(1), item: "runbook".into() }).unwrap();
    world.order(Command::Approve(number(1))).unwrap();
    assert_eq!(
        world.order(Command::Approve(number(1))).unwrap(),
        [],
        "the same person counts once"
    );
    world.pass(hours(26));
    assert_eq!(stage(&world.rollout, 1), Stage::Gated);
    let order = crate::Order {
        command: Command::Approve(number(1)),
        actor: "bob".into(),
        reason: "ok".into(),
    };
    world.input(Input::Ordered(order)).unwrap();
    world.until("enabled", in_stage(1, Stage::Baking));
    let (opens, closes) = world.rollout.phases()[0].window.unwrap();
    let wrote = world.writes[0].0;
    assert!(opens <= wrote && wrote < closes, "{opens} {wrote} {closes}");
}

#[test]
fn too_little_seen_under_the_hold_policy_waits_for_a_person() {
    let mut world = baking(|parts| parts.missed = MissedPolicy::Hold);
    world.pass(hours(5));
    world.link = Link::Down;
    world.pass(hours(8));
    world.link = Link::Up;
    world.pass(minutes(11 * 60 + 30));
    let missed = world
        .rollout
        .holds()
        .iter()
        .filter(|hold| matches!(hold.reason, HoldReason::Missed { .. }))
        .count();
    assert_eq!(missed, 2);
    world.order(Command::Resume).unwrap();
    world.pass(hours(1));
    assert!(
        world
            .rollout
            .holds()
            .iter()
            .any(|hold| matches!(hold.reason, HoldReason::CoverageShort { .. }))
    );
    assert!(matches!(world.order(Command::Resume), Err(Rejection::NotNow { .. })));
    world.order(Command::Promote).unwrap();
    world.until("done", done);
}

#[test]
fn a_breach_between_phases_rolls_back_the_one_completed_last() {
    let mut world = World::new(plan());
    world.until("phase 3 gated", in_stage(3, Stage::Gated));
    world.errors = Measured::Number(8.0);
    world.until("rolled back", in_stage(1, Stage::RolledBack));
    assert_eq!(world.value("RETRY"), Some("false"));
}

#[test]
fn the_clock_going_backward_holds_and_the_journal_does_not_follow() {
    let mut world = baking(|_| {});
    let before: Timestamp = world.now;
    world.now -= hours(3);
    let events = world.input(Input::ClockJumped { by: -hours(3) }).unwrap();
    assert!(events.iter().all(|event| event.at >= before));
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == HoldReason::ClockJump));
}

#[test]
fn commands_want_a_reason_and_a_known_target() {
    let mut world = World::new(plan());
    let order = crate::Order { command: Command::Hold, actor: "ada".into(), reason: " ".into() };
    assert_eq!(world.input(Input::Ordered(order)).unwrap_err(), Rejection::NoReason);
    let unknown =
        world.order(Command::Check { phase: number(3), item: "nope".into() }).unwrap_err();
    assert!(unknown.to_string().contains("its items are: drill, restart"), "{unknown}");
    let unknown = world.order(Command::Approve(number(9))).unwrap_err();
    assert!(unknown.to_string().contains("the plan has 3"), "{unknown}");
}

#[test]
fn replay_gives_the_same_state() {
    let mut world = World::new(plan());
    tick_everything(&mut world);
    world.until("phase 3 baking", in_stage(3, Stage::Baking));
    assert_eq!(Rollout::replay(&world.journal).unwrap(), world.rollout);
    let names: Vec<FlagName> = world.rollout.plan().flags();
    assert_eq!(names.len(), 3);
}
