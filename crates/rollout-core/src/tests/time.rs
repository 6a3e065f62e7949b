//! Time as the state machine sees it: what is missed and what becomes of it, gaps in words, clocks that jump.

use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::fixtures::{hours, minutes, ranged, single};
use super::world::{Link, World};
use crate::{
    ChangeWindow, Command, Coverage, EventKind, GapCause, HoldReason, Input, LogOptions, Measured,
    MissedPolicy, Plan, PlanParts, Purpose, RollbackCause, Rollout, Stage, Status, Verdict, log,
};

/// A world in the bake window of the only phase.
fn baking(change: impl FnOnce(&mut PlanParts)) -> World {
    let mut parts = single();
    change(&mut parts);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("baking", |rollout| rollout.phases()[0].stage == Stage::Baking);
    world
}

fn done(rollout: &Rollout) -> bool {
    rollout.status() == Status::Completed
}

/// Offset and verdict of each judged checkpoint, and how late it was judged.
fn judged(world: &World) -> Vec<(SignedDuration, Verdict, SignedDuration)> {
    world.events(|event| match &event.kind {
        EventKind::CheckpointJudged { offset, verdict, due, .. } => {
            Some((*offset, *verdict, event.at.duration_since(*due)))
        }
        _ => None,
    })
}

/// Each stretch of which nothing is known, how long it was, and why.
fn gaps(world: &World) -> Vec<(SignedDuration, GapCause)> {
    world.events(|event| match &event.kind {
        EventKind::GapRecorded { from, to, cause, .. } => {
            Some((to.duration_since(*from), cause.clone()))
        }
        _ => None,
    })
}

/// Each stretch that the sources told about afterwards.
fn backfilled(world: &World) -> Vec<(SignedDuration, GapCause)> {
    world.events(|event| match &event.kind {
        EventKind::GapBackfilled { from, to, cause, .. } => {
            Some((to.duration_since(*from), cause.clone()))
        }
        _ => None,
    })
}

fn looks_back(world: &World) -> usize {
    world.count(|kind| matches!(kind, EventKind::ReadingStarted { purpose: Purpose::Backfill(_) }))
}

fn window(world: &World) -> SignedDuration {
    let bake = world.rollout.phases()[0].bake.as_ref().unwrap();
    bake.ends_at().duration_since(bake.started_at)
}

/// The log as its reader sees it, from "Gaps" on.
fn told(world: &World) -> String {
    let page = log(&world.journal, LogOptions::default());
    let at = page.find("### Gaps").expect("every window has its gaps told");
    page[at..].lines().take(6).collect::<Vec<_>>().join("\n")
}

#[test]
fn down_from_t5h_to_t13h_is_settled_by_each_policy_in_its_own_way() {
    let run = |missed| {
        let mut world = baking(|parts| match missed {
            MissedPolicy::Backfill => ranged(parts),
            MissedPolicy::Extend | MissedPolicy::Hold | MissedPolicy::Fail => parts.missed = missed,
        });
        world.pass(hours(5));
        world.down_for(hours(8));
        world.pass(hours(1));
        world
    };
    let extended = run(MissedPolicy::Extend);
    assert!(matches!(gaps(&extended)[..], [(gap, GapCause::EngineDown)] if gap == hours(8)));
    assert_eq!(window(&extended), hours(32), "the window grew by what was not observed");
    assert_eq!(
        judged(&extended)[1..],
        [(hours(6), Verdict::Pass, hours(7)), (hours(12), Verdict::Pass, hours(1))]
    );

    let held = run(MissedPolicy::Hold);
    assert_eq!(window(&held), hours(24));
    let missed = |hold: &&crate::Hold| matches!(hold.reason, HoldReason::Missed { .. });
    assert_eq!(held.rollout.holds().iter().filter(missed).count(), 2);

    let told_afterwards = run(MissedPolicy::Backfill);
    assert_eq!(gaps(&told_afterwards), []);
    assert!(
        matches!(backfilled(&told_afterwards)[..], [(gap, GapCause::EngineDown)] if gap == hours(8))
    );
    assert_eq!(window(&told_afterwards), hours(24), "the sources told about all of it");
    assert_eq!((looks_back(&told_afterwards), judged(&told_afterwards).len()), (2, 3));

    let failed = run(MissedPolicy::Fail);
    let causes = failed.events(|event| match &event.kind {
        EventKind::RollbackStarted { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    assert!(matches!(causes[..], [RollbackCause::Missed { offset, .. }] if offset == hours(6)));
    assert_eq!(failed.rollout.phases()[0].stage, Stage::RolledBack);
    assert_eq!(failed.value("RETRY"), Some("false"));
}

#[test]
fn a_window_that_was_told_afterwards_is_kept_in_its_time_and_the_log_says_so() {
    let mut world = baking(ranged);
    world.pass(hours(5));
    world.down_for(hours(8));
    world.until("done", done);
    let (coverage, _) = world.rollout.phases()[0].completed.unwrap();
    assert_eq!((coverage, window(&world)), (Coverage::FULL, hours(24)));
    let page = log(&world.journal, LogOptions::default());
    assert!(page.contains("told by the sources 7h later"), "{page}");
    assert!(told(&world).contains("(8h): the engine was not running for all or part of it; the sources told about it afterwards"), "{}", told(&world));
}

#[test]
fn a_breach_in_the_time_that_was_missed_rolls_back_though_all_is_well_now() {
    let mut world = baking(ranged);
    world.pass(hours(5));
    let begin = world.now + hours(1) - minutes(20);
    world.history.push((begin, begin + minutes(10), Measured::Number(9.0)));
    world.down_for(hours(8));
    world.pass(minutes(30));
    assert_eq!(world.value("RETRY"), Some("false"));
    assert_eq!(world.rollout.phases()[0].stage, Stage::RolledBack);
}

#[test]
fn a_source_that_cannot_tell_about_the_past_leaves_the_checkpoint_to_the_present() {
    let mut world = baking(ranged);
    world.pass(hours(5));
    world.down_for(hours(8));
    // The present tells of the whole stretch; the question about one moment of it finds nothing.
    let mut asked = 0;
    while asked < 1 {
        if let Some(pending) = world.rollout.pending().into_iter().next() {
            let looks_back =
                matches!(world.rollout.watch().observing, Some((_, Purpose::Backfill(_))));
            asked += usize::from(looks_back);
            let well = core::mem::replace(&mut world.errors, Measured::Number(0.4));
            if looks_back {
                world.errors = Measured::Missing("no samples in that range".into());
            }
            world.perform(&pending);
            world.errors = well;
        } else {
            world.step();
        }
    }
    assert_eq!(judged(&world).len(), 1, "silence about the past is no pass");
    world.until("done", done);
    assert!(judged(&world)[1].2 >= hours(7), "judged late, by a reading of the present");
}

#[test]
fn an_outage_beyond_a_checkpoint_is_looked_back_at_once_it_is_over() {
    let mut world = baking(ranged);
    world.pass(hours(5));
    world.link = Link::Down;
    world.pass(hours(3));
    assert_eq!(looks_back(&world), 0, "the present comes first");
    world.link = Link::Up;
    world.until("done", done);
    assert_eq!((looks_back(&world), gaps(&world)), (1, [].into()));
    let unreadable = GapCause::Unreadable("connection refused".into());
    assert!(matches!(&backfilled(&world)[..], [(_, cause)] if *cause == unreadable));
    assert_eq!(window(&world), hours(24));
}

#[test]
fn a_missed_checkpoint_fails_its_phase_when_the_grace_is_over_and_not_before() {
    let mut world = baking(|parts| parts.missed = MissedPolicy::Fail);
    world.pass(hours(5) + minutes(59));
    world.link = Link::Down;
    world.pass(minutes(5));
    assert_eq!(world.rollout.phases()[0].stage, Stage::Baking, "within the grace");
    world.pass(minutes(2));
    assert_eq!(world.rollout.phases()[0].stage, Stage::RollingBack);
    world.link = Link::Up;
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), Some("false"));
    let page = log(&world.journal, LogOptions::default());
    assert!(page.contains("❌ missed (due"), "{page}");
    let mut in_time = baking(|parts| parts.missed = MissedPolicy::Fail);
    in_time.until("done", done);
}

#[test]
fn backfill_is_refused_for_sources_that_know_only_the_present() {
    let parts = PlanParts { missed: MissedPolicy::Backfill, ..single() };
    let violations = Plan::try_new(parts).unwrap_err();
    let [violation] = &violations[..] else { panic!("{violations:?}") };
    assert_eq!(violation.pointer, "/watch/missed");
    assert!(violation.hint.as_ref().unwrap().contains("$from"), "{violation:?}");
}

/// The wall clock jumps: the engine's time follows forward, and the state machine is told.
fn jump(world: &mut World, by: SignedDuration) {
    world.now += by;
    world.input(Input::ClockJumped { by }).unwrap();
}

#[test]
fn three_hours_that_only_the_wall_clock_skipped_are_not_watched_time() {
    let mut world = baking(|_| {});
    world.pass(hours(5) + minutes(10));
    jump(&mut world, hours(3));
    world.until("done", done);
    assert_eq!(gaps(&world), [(hours(3), GapCause::ClockJump)]);
    assert_eq!(window(&world), hours(27), "24 hours that really passed, and 3 that did not");
    assert!(
        told(&world).contains("(3h): the clock went forward by that much at once"),
        "{}",
        told(&world)
    );
}

#[test]
fn a_jump_shorter_than_two_intervals_is_not_watched_time_either() {
    let mut world = baking(|_| {});
    world.pass(hours(5) + minutes(10));
    for _ in 0..3 {
        jump(&mut world, minutes(20));
    }
    world.until("done", done);
    assert_eq!(gaps(&world).iter().map(|(gap, _)| *gap).sum::<SignedDuration>(), hours(1));
    assert!(gaps(&world).iter().all(|(_, cause)| *cause == GapCause::ClockJump));
    assert_eq!(window(&world), hours(25));
}

#[test]
fn a_machine_that_slept_through_a_checkpoint_judges_it_late_and_says_why() {
    let mut world = baking(|_| {});
    world.pass(hours(5));
    jump(&mut world, hours(2));
    world.until("done", done);
    assert_eq!(gaps(&world), [(hours(2), GapCause::ClockJump)]);
    assert!(judged(&world)[1].2 >= hours(1) - minutes(5));
}

#[test]
fn a_change_window_is_found_anew_when_the_clock_jumps() {
    let mut parts = single();
    let window = ChangeWindow { cron: "0 9 * * *".into(), lasts: hours(2), zone: "UTC".into() };
    parts.phases[0].change_window = Some(window);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    let found = |world: &World| {
        world.events(|event| match event.kind {
            EventKind::ChangeWindowFound { opens, .. } => Some(opens),
            _ => None,
        })
    };
    world.until("a window", |rollout| rollout.phases()[0].window.is_some());
    world.pass(hours(1));
    jump(&mut world, hours(1));
    world.pass(minutes(1));
    let [first, second] = found(&world)[..] else { panic!("{:?}", found(&world)) };
    assert!(second > first, "by the clock as it is now");
    world.input(Input::ClockJumped { by: -hours(1) }).unwrap();
    assert_eq!(world.rollout.phases()[0].window, None, "nobody knows before the hold ends");
    world.order(Command::Resume).unwrap();
    world.until("on", |rollout| rollout.phases()[0].stage == Stage::Baking);
    assert!(world.writes[0].0 >= *found(&world).last().unwrap());
}

#[test]
fn a_window_that_is_being_found_when_the_clock_jumps_is_found_by_the_new_clock() {
    let mut parts = single();
    let window = ChangeWindow { cron: "0 9 * * *".into(), lasts: hours(2), zone: "UTC".into() };
    parts.phases[0].change_window = Some(window);
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("gated", |rollout| rollout.phases()[0].stage == Stage::Gated);
    let asked = world.rollout.pending().remove(0);
    assert!(matches!(asked.effect, crate::Effect::FindChangeWindow { .. }));
    world.input(Input::ClockJumped { by: -hours(3) }).unwrap();
    world.perform(&asked);
    assert_eq!(
        world.rollout.phases()[0].window,
        None,
        "what was found by the old clock is nothing"
    );
    world.order(Command::Resume).unwrap();
    world.until("on", |rollout| rollout.phases()[0].stage == Stage::Baking);
}

#[test]
fn a_clock_set_back_three_hours_holds_and_neither_adds_nor_takes_watched_time() {
    let mut world = baking(|_| {});
    world.pass(hours(5));
    let before: Timestamp = world.now;
    // The engine's own time does not follow backward.
    let events = world.input(Input::ClockJumped { by: -hours(3) }).unwrap();
    assert!(events.iter().all(|event| event.at >= before));
    assert!(world.rollout.holds().iter().any(|hold| hold.reason == HoldReason::ClockJump));
    world.pass(hours(1));
    world.order(crate::Command::Resume).unwrap();
    world.until("done", done);
    assert_eq!((gaps(&world), window(&world)), ([].into(), hours(24)));
    let page = log(&world.journal, LogOptions::default());
    assert!(page.contains("back"), "{page}");
}

#[test]
fn flags_that_were_not_written_in_time_are_not_written_without_a_person() {
    // The daemon stops between its decision and the write, and comes back hours later.
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("enabling", |rollout| rollout.phases()[0].stage == Stage::Enabling);
    world.down_for(hours(8));
    assert!(world.rollout.is_held());
    world.pass(hours(1));
    assert_eq!((world.value("RETRY"), world.writes.len()), (None, 0));
    world.order(crate::Command::Resume).unwrap();
    world.until("done", done);
    // Back within the hour it simply goes on.
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("enabling", |rollout| rollout.phases()[0].stage == Stage::Enabling);
    world.down_for(minutes(20));
    assert!(!world.rollout.is_held());
    world.until("done", done);
    // An outage of the deployment is the same as one of ours.
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("enabling", |rollout| rollout.phases()[0].stage == Stage::Enabling);
    world.link = Link::Down;
    world.pass(hours(3));
    world.link = Link::Up;
    world.pass(hours(1));
    assert_eq!(world.value("RETRY"), None);
    assert!(world.rollout.holds()[0].reason.words().contains("more than an hour old"));
}

#[test]
fn a_reading_under_way_when_the_engine_stopped_is_asked_about_the_present() {
    let mut world = baking(ranged);
    world.pass(hours(5));
    world.until("a reading under way", |rollout| rollout.watch().observing.is_some());
    let before = world.rollout.pending();
    world.down_for(hours(8));
    assert_ne!(world.rollout.pending(), before, "not about a range that is long over");
    world.history.push((world.now - hours(1), world.now, Measured::Number(9.0)));
    let pending = world.rollout.pending().remove(0);
    world.perform(&pending);
    assert_eq!(world.rollout.phases()[0].stage, Stage::RollingBack, "by the first look");
}

#[test]
fn a_write_that_never_began_is_not_begun_hours_later() {
    let mut world = World::new(Plan::try_new(single()).unwrap());
    world.until("enabling", |rollout| rollout.phases()[0].stage == Stage::Enabling);
    // Whatever kept the engine from performing it: the next thing that happens comes too late.
    world.now += hours(2);
    world.input(Input::DeadlineReached).unwrap();
    let writes = |world: &World| {
        let pending = world.rollout.pending();
        pending.iter().any(|pending| matches!(pending.effect, crate::Effect::SetFlags { .. }))
    };
    assert!(world.rollout.is_held() && !writes(&world));
    world.order(crate::Command::Resume).unwrap();
    assert!(writes(&world), "a person said so");
    world.input(Input::DeadlineReached).unwrap();
    assert!(writes(&world), "and is not asked twice");
}

#[test]
fn what_was_put_back_without_a_record_is_told_whatever_the_journal_says() {
    let one = crate::PhaseNumber::new(1).unwrap();
    let told = |world: &mut World| {
        let why = "rolled back at 03:00 while nothing could be recorded".into();
        let events = world.input(Input::RolledBack { phases: alloc::vec![one], why }).unwrap();
        let began = |event: &&crate::Event| matches!(event.kind, EventKind::RollbackStarted { .. });
        events.iter().filter(began).count()
    };
    let mut world = baking(|_| {});
    assert_ne!(told(&mut world), 0);
    assert_eq!(told(&mut world), 0, "it is under way");
    world.pass(hours(1));
    assert_eq!((world.value("RETRY"), world.rollout.incidents().len()), (Some("false"), 1));
    assert_ne!(told(&mut world), 0, "a late write was put back again");
    let mut before = World::new(Plan::try_new(single()).unwrap());
    assert_eq!(told(&mut before), 0, "nothing of it was ever on");
}

#[test]
fn an_enabling_that_was_recorded_unseen_goes_back_with_the_phase_before_it() {
    let mut parts = single();
    let second = super::fixtures::phase("two", "TWO");
    parts.phases.push(crate::Phase {
        bake: SignedDuration::ZERO,
        checkpoints: Vec::new(),
        ..second
    });
    let mut world = World::new(Plan::try_new(parts).unwrap());
    world.until("the second enabling", |rollout| rollout.phases()[1].stage == Stage::Enabling);
    let one = crate::PhaseNumber::new(1).unwrap();
    let why = "rolled back while nothing could be recorded".into();
    world.input(Input::RolledBack { phases: alloc::vec![one], why }).unwrap();
    world.pass(hours(1));
    let stages: Vec<Stage> = world.rollout.phases().iter().map(|phase| phase.stage).collect();
    assert_eq!(stages, [Stage::RolledBack, Stage::RolledBack]);
}
