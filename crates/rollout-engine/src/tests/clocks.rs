//! The engine's two clocks against one bake window of six hours: jumps, sleep, downtime and restarts.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use rollout_core::{
    ChangeWindow, Command, EventKind, GapCause, HoldReason, Order, PhaseNumber, Plan,
    RollbackScope, Rollout, RolloutId, Stage, Status,
};
use tokio::task::JoinHandle;

use super::deployment::Deployment;
use super::run::{new_rollout, parts, start};
use crate::error::EngineError;
use crate::store::memory::MemoryDisk;
use crate::{Clock, Engine, Entry, Handle, ManualClock, NewRollout, Seq};

/// Longest wait of one test for something that should follow at once.
const WAIT: Duration = Duration::from_secs(20);
/// How far the clock goes at once; a planned reading is at most this late.
const STEP: SignedDuration = SignedDuration::from_mins(5);

/// A rollout in its first window, an engine around it, and both clocks in hand.
struct Bench {
    disk: MemoryDisk,
    deployment: Deployment,
    clock: Arc<ManualClock>,
    handle: Handle,
    running: JoinHandle<Result<(), EngineError>>,
    id: RolloutId,
}

impl Bench {
    async fn baking() -> Self {
        let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
        let clock = Arc::new(ManualClock::at(start()));
        let (handle, running) = open(&disk, &clock, &deployment).await;
        let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
        let bench = Self { disk, deployment, clock, handle, running, id };
        bench.settle().await;
        assert_eq!(bench.rollout().await.phases()[0].stage, Stage::Baking);
        bench
    }

    async fn rollout(&self) -> Arc<Rollout> {
        self.handle.get(self.id).await.unwrap()
    }

    /// Waits until the engine has nothing to do before the clock moves.
    async fn settle(&self) {
        let idle = async {
            loop {
                let now = self.handle.status().await.unwrap().now;
                let is_at_rest = |rollout: &Arc<Rollout>| {
                    let is_early = rollout.start_at() > self.clock.now();
                    let is_due = rollout.next_deadline().is_some_and(|at| at <= now);
                    is_early || (rollout.pending().is_empty() && !is_due)
                };
                let rollouts = self.handle.list().await.unwrap();
                if now >= self.clock.now() && rollouts.iter().all(is_at_rest) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT, idle).await.expect("the engine comes to rest");
    }

    async fn pass(&self, by: SignedDuration) {
        let end = self.clock.now() + by;
        while self.clock.now() < end {
            self.clock.advance(STEP);
            self.settle().await;
        }
    }

    async fn restart(&mut self, down: SignedDuration) {
        self.handle.stop().await;
        (&mut self.running).await.unwrap().unwrap();
        self.clock.advance(down);
        (self.handle, self.running) = open(&self.disk, &self.clock, &self.deployment).await;
        self.settle().await;
    }

    async fn journal(&self) -> Vec<Entry> {
        self.handle.journal(self.id, Seq::FIRST).await.unwrap()
    }

    /// Each stretch of which nothing is known, and why.
    async fn gaps(&self) -> Vec<(SignedDuration, GapCause)> {
        let journal = self.journal().await;
        let gaps = journal.into_iter().filter_map(|entry| match entry.event.kind {
            EventKind::GapRecorded { from, to, cause, .. } => {
                Some((to.duration_since(from), cause))
            }
            _ => None,
        });
        gaps.collect()
    }

    /// When readings were asked for.
    async fn asked(&self) -> Vec<Timestamp> {
        let journal = self.journal().await;
        let asked = journal.into_iter().filter_map(|entry| match entry.event.kind {
            EventKind::ReadingStarted { .. } => Some(entry.event.at),
            _ => None,
        });
        asked.collect()
    }

    /// How long the first window is by now.
    async fn window(&self) -> SignedDuration {
        let rollout = self.rollout().await;
        let bake = rollout.phases()[0].bake.as_ref().unwrap();
        bake.ends_at().duration_since(bake.started_at)
    }

    async fn close(self) {
        self.handle.stop().await;
        self.running.await.unwrap().unwrap();
    }
}

async fn open(
    disk: &MemoryDisk,
    clock: &Arc<ManualClock>,
    deployment: &Deployment,
) -> (Handle, JoinHandle<Result<(), EngineError>>) {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let opened = Engine::open(Box::new(disk.open()), clock, Arc::new(deployment.clone())).await;
    let (engine, handle) = opened.unwrap();
    (handle, tokio::spawn(engine.run()))
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

#[tokio::test]
async fn three_hours_forward_are_no_watched_time() {
    let bench = Bench::baking().await;
    bench.pass(hours(2)).await;
    bench.clock.jump(hours(3));
    bench.settle().await;
    bench.pass(hours(1)).await;
    assert_eq!(bench.gaps().await, [(hours(3), GapCause::ClockJump)]);
    assert_eq!(bench.window().await, hours(9), "six hours that really passed");
    assert_eq!(bench.rollout().await.phases()[0].stage, Stage::Baking);
    bench.close().await;
}

#[tokio::test]
async fn three_hours_backward_hold_and_the_watch_goes_on() {
    let bench = Bench::baking().await;
    bench.pass(hours(2)).await;
    let (before, last) = (bench.asked().await.len(), bench.rollout().await.last_at());
    bench.clock.jump(-hours(3));
    for _ in 0..12 {
        bench.clock.advance(STEP);
        tokio::time::timeout(WAIT, bench.handle.status()).await.unwrap().unwrap();
        tokio::task::yield_now().await;
    }
    let rollout = bench.rollout().await;
    assert!(rollout.is_held() && rollout.last_at() >= last);
    assert!(bench.asked().await.len() > before, "somebody looked within an hour");
    assert_eq!(bench.gaps().await, []);
    bench.close().await;
}

#[tokio::test]
async fn what_ended_before_the_clock_was_set_back_is_rolled_back_within_minutes() {
    let mut bench = Bench::baking().await;
    bench.pass(hours(14)).await;
    assert!(bench.rollout().await.status().is_terminal(), "both windows are over");
    bench.clock.jump(-hours(10));
    bench.restart(STEP).await;
    bench.deployment.refuse(true);
    let command = Command::Rollback(RollbackScope::All);
    let order = Order { command, actor: "ada".into(), reason: "because".into() };
    bench.handle.order(bench.id, order).await.unwrap();
    let has_failed = |entry: &Entry| matches!(entry.event.kind, EventKind::EffectFailed { .. });
    while !bench.journal().await.last().is_some_and(has_failed) {
        tokio::task::yield_now().await;
    }
    bench.deployment.refuse(false);
    bench.clock.advance(STEP);
    let is_off = async {
        while bench.deployment.env().values().any(|value| value == "true") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, is_off).await.expect("the next try comes within minutes");
    bench.close().await;
}

#[tokio::test]
async fn a_machine_that_slept_for_five_hours_says_so() {
    let bench = Bench::baking().await;
    bench.pass(hours(2)).await;
    // Asleep, the elapsed clock stands still and the wall clock does not.
    bench.clock.jump(hours(5));
    bench.settle().await;
    bench.pass(hours(1)).await;
    assert_eq!(bench.gaps().await, [(hours(5), GapCause::ClockJump)]);
    assert_eq!(bench.window().await, hours(11));
    bench.close().await;
}

#[tokio::test]
async fn an_engine_that_was_down_says_so_and_looks_at_once() {
    let mut bench = Bench::baking().await;
    bench.pass(hours(2)).await;
    bench.restart(hours(3)).await;
    assert_eq!(bench.gaps().await, [(hours(3), GapCause::EngineDown)]);
    assert_eq!(bench.asked().await.last(), Some(&bench.clock.now()));
    assert_eq!(bench.window().await, hours(9));
    bench.close().await;
}

#[tokio::test]
async fn five_restarts_cause_no_extra_and_no_early_reading() {
    let straight = Bench::baking().await;
    straight.pass(hours(5)).await;
    let mut restarted = Bench::baking().await;
    for _ in 0..5 {
        restarted.pass(hours(1) - STEP).await;
        restarted.restart(STEP).await;
    }
    assert_eq!(restarted.asked().await, straight.asked().await);
    assert_eq!(restarted.window().await, straight.window().await);
    assert_eq!(restarted.gaps().await, []);
    straight.close().await;
    restarted.close().await;
}

/// What the calendar says to a rollout that is started beside one whose journal is from a clock that was three hours ahead.
struct Beside {
    bench: Bench,
    /// The second rollout.
    id: RolloutId,
}

impl Beside {
    async fn a_journal_ahead(change: impl FnOnce(&mut NewRollout, Timestamp)) -> Self {
        let mut bench = Bench::baking().await;
        bench.clock.jump(-hours(3));
        bench.restart(STEP).await;
        let mut new = new_rollout("staging");
        (new.url, new.idempotency_key) = ("http://elsewhere".into(), None);
        new.plan = Plan::try_new(parts("staging", ["THREE", "FOUR"])).unwrap();
        change(&mut new, bench.clock.now());
        let id = bench.handle.create(new).await.unwrap().rollout().id();
        let rollout = bench.handle.get(id).await.unwrap();
        assert!(rollout.holds().iter().any(|hold| hold.reason == HoldReason::ClockJump));
        let order =
            Order { command: Command::Resume, actor: "ada".into(), reason: "looked".into() };
        bench.handle.order(id, order).await.unwrap();
        bench.settle().await;
        Self { bench, id }
    }

    /// The wall clock when `seen` is true of the second rollout for the first time.
    async fn first(&self, seen: impl Fn(&Rollout) -> bool) -> Timestamp {
        for _ in 0..200 {
            let rollout = self.bench.handle.get(self.id).await.unwrap();
            if seen(&rollout) {
                return self.bench.clock.now();
            }
            assert!(!rollout.is_held(), "{:?}", rollout.holds());
            self.bench.clock.advance(STEP);
            self.bench.settle().await;
        }
        panic!("not in sixteen hours");
    }
}

#[tokio::test]
async fn a_start_is_by_the_wall_clock_whatever_another_journal_says() {
    let mut planned = None;
    let beside = Beside::a_journal_ahead(|new, now| {
        new.start_at = Some(now + hours(2));
        planned = new.start_at;
    });
    let beside = beside.await;
    let begun = beside.first(|rollout| rollout.status() != Status::Scheduled).await;
    let late = begun.duration_since(planned.unwrap());
    assert!(!late.is_negative() && late <= STEP * 2, "{late:?} after its time");
    beside.bench.close().await;
}

#[tokio::test]
async fn a_change_window_is_by_the_wall_clock_whatever_another_journal_says() {
    let mut opens = None;
    let beside = Beside::a_journal_ahead(|new, now| {
        let at = now + hours(4);
        let hour = at.to_zoned(TimeZone::UTC).hour();
        let mut parts = parts("staging", ["THREE", "FOUR"]);
        let cron = format!("0 {hour} * * *");
        parts.phases[0].change_window =
            Some(ChangeWindow { cron, lasts: hours(1), zone: "UTC".into() });
        new.plan = Plan::try_new(parts).unwrap();
        opens = at.round(TimestampRound::new().smallest(Unit::Hour).mode(RoundMode::Trunc)).ok();
    });
    let beside = beside.await;
    let on = beside.first(|rollout| rollout.phases()[0].stage >= Stage::Enabling).await;
    let late = on.duration_since(opens.unwrap());
    assert!(!late.is_negative() && late <= STEP * 2, "{late:?} after it opened");
    beside.bench.close().await;
}

/// A rollout at the gates of its first phase: the change window is open for two hours, and an approval is missing.
async fn at_its_gates() -> Bench {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let clock = Arc::new(ManualClock::at(start()));
    let (handle, running) = open(&disk, &clock, &deployment).await;
    let mut parts = parts("production", ["ONE", "TWO"]);
    let hour = start().to_zoned(TimeZone::UTC).hour();
    let cron = format!("0 {hour} * * *");
    parts.phases[0].change_window =
        Some(ChangeWindow { cron, lasts: hours(2), zone: "UTC".into() });
    parts.phases[0].approvals = 1;
    let plan = Plan::try_new(parts).unwrap();
    let new = NewRollout { plan, ..new_rollout("production") };
    let id = handle.create(new).await.unwrap().rollout().id();
    let bench = Bench { disk, deployment, clock, handle, running, id };
    bench.settle().await;
    assert!(bench.rollout().await.phases()[0].window.is_some());
    bench
}

#[tokio::test]
async fn an_order_right_after_the_clock_was_set_turns_no_flag_on_outside_its_window() {
    // Back to before the window, and over its end from a time that was ahead already.
    for (ahead, by) in [(false, -hours(3)), (true, hours(3))] {
        let bench = at_its_gates().await;
        if ahead {
            bench.clock.jump(-hours(24));
            bench.clock.advance(STEP);
            bench.settle().await;
            let order =
                Order { command: Command::Resume, actor: "ada".into(), reason: "looked".into() };
            bench.handle.order(bench.id, order).await.unwrap();
            bench.settle().await;
            let (opens, _) = bench.rollout().await.phases()[0].window.unwrap();
            assert!(opens <= bench.handle.status().await.unwrap().now, "open by the wall clock");
        }
        bench.clock.jump(by);
        let command = Command::Approve(PhaseNumber::new(1).unwrap());
        let order = Order { command, actor: "ada".into(), reason: "looks good".into() };
        bench.handle.order(bench.id, order).await.unwrap();
        bench.settle().await;
        assert_eq!(bench.deployment.writes(), [], "{by:?}");
        bench.close().await;
    }
}

#[tokio::test]
async fn an_order_to_one_that_ended_under_a_clock_ahead_takes_nothing_from_the_window_of_another() {
    let mut bench = Bench::baking().await;
    bench.pass(hours(14)).await;
    let ended = bench.rollout().await;
    assert!(ended.status().is_terminal(), "both windows are over");
    bench.clock.jump(ended.last_at().duration_since(bench.clock.now()) - hours(1));
    bench.restart(STEP).await;
    let mut new = new_rollout("staging");
    (new.url, new.idempotency_key) = ("http://elsewhere".into(), None);
    new.plan = Plan::try_new(parts("staging", ["THREE", "FOUR"])).unwrap();
    let other = bench.handle.create(new).await.unwrap().rollout().id();
    bench.settle().await;
    let rollout = bench.handle.get(other).await.unwrap();
    assert_eq!((rollout.phases()[0].stage, rollout.is_held()), (Stage::Baking, false));
    let began = bench.clock.moment().elapsed;
    let order = |command| Order { command, actor: "ada".into(), reason: "because".into() };
    let all = Command::Rollback(RollbackScope::All);
    bench.handle.order(bench.id, order(all)).await.unwrap();
    bench.settle().await;
    bench.handle.order(other, order(Command::Resume)).await.unwrap();
    while bench.handle.get(other).await.unwrap().phases()[0].stage == Stage::Baking {
        bench.clock.advance(STEP);
        bench.settle().await;
    }
    let really = bench.clock.moment().elapsed - began;
    assert!(really >= hours(6), "{really:?}");
    bench.close().await;
}
