//! What the engine promises when its store fails: nothing unrecorded is acknowledged, nothing is turned on, a breach is rolled
//! back all the same, and the journal tells it once it can be written again.

mod comeback;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Actor, Command, EventKind, Hold, HoldReason, Order, RollbackScope, Rollout, RolloutId, Stage,
    Status, Verb,
};
use tokio::task::JoinHandle;

use super::deployment::Deployment;
use super::run::{End, end, new_rollout, start, to_rest};
use crate::error::{EngineError, Unrecorded};
use crate::handle::{Entry, Handle, StoreState};
use crate::store::memory::{Broken, Failure, MemoryDisk};
use crate::{Engine, Seq};

/// Looks at an engine before a test gives up; each lets the engine turn.
const LOOKS_MAX: usize = 20_000;
/// How long a disk stays broken in the tests that heal it: more than one interval of the watch.
const DARK: SignedDuration = SignedDuration::from_mins(40);
const FAILURES: [Failure; 3] = [Failure::BeforeDurable, Failure::AfterDurable, Failure::Panic];

/// Two of the six kinds of lasting failure; six commits in a row meet each of them twice.
fn two_kinds(nth: u64) -> [(Failure, Broken); 2] {
    let kind = |nth: u64| {
        let failure = FAILURES[usize::try_from(nth % 3).unwrap()];
        (failure, if nth.is_multiple_of(2) { Broken::Commits } else { Broken::Opening })
    };
    [kind(nth), kind(nth + 1)]
}

/// Lets the engine turn, and time pass if nobody works: a request cancels the clock's wait, and that takes some turns.
async fn let_it_turn() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// An engine over a disk that fails.
struct Run {
    disk: MemoryDisk,
    deployment: Deployment,
    handle: Handle,
    running: JoinHandle<Result<(), EngineError>>,
}

impl Run {
    async fn begin(disk: &MemoryDisk, deployment: &Deployment) -> Self {
        let (disk, deployment) = (disk.clone(), deployment.clone());
        let broken = disk.clone();
        deployment.watch_writes(move || broken.is_broken());
        let (clock, source) = (deployment.clock(start()), Arc::new(disk.source()));
        let performer = Arc::new(deployment.clone());
        let opened = Engine::open_with(Box::new(disk.open()), source, clock, performer).await;
        let (engine, handle) = opened.unwrap();
        Self { disk, deployment, handle, running: tokio::spawn(engine.run()) }
    }

    /// Starts the rollout, as often as it takes; the engine may have ended, and is started again then.
    async fn create(&mut self) {
        for _ in 0..LOOKS_MAX {
            match self.handle.create(new_rollout("production")).await {
                Ok(_) => return,
                Err(EngineError::Stopped | EngineError::Unrecorded { .. }) => {
                    self.disk.heal();
                    *self = Self::begin(&self.disk, &self.deployment).await;
                }
                Err(EngineError::OnReserve | EngineError::Store(_)) => {
                    self.disk.heal();
                    let_it_turn().await;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("was never started");
    }

    async fn until(&self, what: &str, reached: impl Fn(&Rollout) -> bool) -> Arc<Rollout> {
        for _ in 0..LOOKS_MAX {
            let rollout = self.handle.get(RolloutId::FIRST).await;
            let rollout = rollout.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            if reached(&rollout) {
                return rollout;
            }
            let_it_turn().await;
        }
        panic!("{what} did not come");
    }

    async fn until_state(&self, state: StoreState) -> Timestamp {
        for _ in 0..LOOKS_MAX {
            let status = self.handle.status().await.unwrap();
            if status.store.state == state {
                return status.now;
            }
            let_it_turn().await;
        }
        panic!("{state:?} did not come");
    }

    async fn until_time(&self, at: Timestamp) {
        for _ in 0..LOOKS_MAX {
            if self.handle.status().await.unwrap().now >= at {
                return;
            }
            let_it_turn().await;
        }
        panic!("{at} did not come");
    }

    async fn order(&self, command: Command) -> Result<(), EngineError> {
        let order = Order { command, actor: "ada".into(), reason: "because".into() };
        self.handle.order(RolloutId::FIRST, order).await.map(drop)
    }

    async fn journal(&self) -> Vec<Entry> {
        self.handle.journal(RolloutId::FIRST, Seq::FIRST).await.unwrap()
    }

    /// Follows the rollout to its rest, healing whatever is broken after it was so for some time.
    async fn rest(&mut self) -> End {
        for _ in 0..LOOKS_MAX {
            let status = match self.handle.status().await {
                Ok(status) => status,
                Err(EngineError::Stopped) => {
                    // Nothing was exposed; systemd would start it again.
                    self.disk.heal();
                    *self = Self::begin(&self.disk, &self.deployment).await;
                    continue;
                }
                Err(other) => panic!("{other:?}"),
            };
            if let Some(since) = status.store.since
                && status.now.duration_since(since) > DARK
            {
                self.disk.heal();
            }
            let Ok(rollout) = self.handle.get(RolloutId::FIRST).await else { continue };
            let stale = |hold: &Hold| matches!(hold.reason, HoldReason::EffectFailed { .. });
            if status.store.state == StoreState::Well && rollout.holds().iter().any(stale) {
                // The dark came between the decision to write flags and the write, for more than an hour.
                self.order(Command::Resume).await.unwrap();
                continue;
            }
            if status.store.state == StoreState::Well && at_rest(&rollout) {
                return end(&rollout, &self.journal().await, &self.deployment);
            }
            let_it_turn().await;
        }
        let status = self.handle.status().await;
        let rollout = self.handle.get(RolloutId::FIRST).await;
        let waits = rollout.map(|rollout| rollout.waits());
        panic!("does not come to rest: {status:?} {waits:?}");
    }

    /// Stops wherever it is: the commit that is to fail may be one of a reading that came after the rest.
    async fn stop_after_rest(self) {
        match self.stop().await {
            Ok(()) | Err(EngineError::Unrecorded { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn stop(self) -> Result<(), EngineError> {
        self.handle.stop().await;
        self.running.await.unwrap()
    }
}

fn at_rest(rollout: &Rollout) -> bool {
    rollout.status().is_terminal() || (rollout.is_held() && rollout.rollback().is_none())
}

/// One phase done, the second one in its window.
async fn in_the_second_window(run: &Run) {
    run.until("the second window", |rollout| rollout.phases()[1].stage == Stage::Baking).await;
}

fn breach_at(nth: usize) -> Deployment {
    let deployment = Deployment::default();
    deployment.errors_from(nth, 7.0);
    deployment
}

#[tokio::test]
async fn a_store_that_fails_once_at_any_commit_changes_nothing() {
    let straight_disk = MemoryDisk::new();
    let straight = to_rest(&straight_disk, &Deployment::default()).await;
    for nth in 1..=straight_disk.commits() {
        for failure in FAILURES {
            let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
            disk.fail_commit(nth, failure);
            let mut run = Run::begin(&disk, &deployment).await;
            run.create().await;
            let end = run.rest().await;
            assert_eq!(end, straight, "commit {nth}, {failure:?}");
            let resumed =
                |entry: &Entry| matches!(entry.event.kind, EventKind::EngineResumed { .. });
            assert!(
                !run.journal().await.iter().any(resumed),
                "nothing was lost, so nothing resumed"
            );
            run.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_time_without_a_store_at_any_commit_turn_nothing_on_and_end_alike() {
    let straight_disk = MemoryDisk::new();
    let straight = to_rest(&straight_disk, &Deployment::default()).await;
    for nth in 1..=straight_disk.commits() {
        for (failure, broken) in two_kinds(nth) {
            let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
            disk.fail_commits_from(nth, failure, broken);
            let mut run = Run::begin(&disk, &deployment).await;
            run.create().await;
            let end = run.rest().await;
            let context = format!("commit {nth}, {failure:?}, {broken:?}");
            assert_eq!(
                (end.env, end.stages),
                (straight.env.clone(), straight.stages.clone()),
                "{context}"
            );
            assert_eq!(end.writes, straight.writes, "{context}");
            let unrecorded = deployment.writes_in_the_dark();
            assert_eq!(unrecorded, [], "{context}");
            run.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_breach_is_rolled_back_whichever_commit_fails_for_good() {
    let straight_disk = MemoryDisk::new();
    let straight = to_rest(&straight_disk, &breach_at(20)).await;
    assert_eq!(straight.stages, [Stage::Completed, Stage::RolledBack]);
    let mut in_the_dark = 0;
    for nth in 1..=straight_disk.commits() {
        for (failure, broken) in two_kinds(nth) {
            let (disk, deployment) = (MemoryDisk::new(), breach_at(20));
            disk.fail_commits_from(nth, failure, broken);
            let mut run = Run::begin(&disk, &deployment).await;
            run.create().await;
            let end = run.rest().await;
            let context = format!("commit {nth}, {failure:?}, {broken:?}");
            let unrecorded = deployment.writes_in_the_dark();
            assert!(
                unrecorded.iter().all(|(_, value)| value == "false"),
                "{context}: {unrecorded:?}"
            );
            in_the_dark += unrecorded.len();
            let on = deployment.env().into_values().filter(|value| value == "true").count();
            assert!(on <= 1, "{context}: {:?}", deployment.env());
            assert!(end.stages.contains(&Stage::RolledBack), "{context}: {end:?}");
            run.stop_after_rest().await;
        }
    }
    assert!(in_the_dark > 0, "some of the rollbacks fell into the dark");
}

#[tokio::test]
async fn a_breach_in_the_dark_is_rolled_back_within_one_check_and_told_afterwards() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    in_the_second_window(&run).await;
    disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    let dark = run.until_state(StoreState::Failing).await;
    assert_eq!(deployment.env().into_values().collect::<Vec<_>>(), ["true", "true"]);
    run.until_time(dark + SignedDuration::from_hours(1)).await;
    deployment.errors_from(deployment.readings() + 1, 7.0);
    let began = run.handle.status().await.unwrap().now;
    let seen =
        run.until("the rollback", |rollout| rollout.phases()[1].stage == Stage::RolledBack).await;
    let took = seen.incidents()[0].restored_at.unwrap().duration_since(began);
    assert!(took <= SignedDuration::from_mins(31), "{took:?}");
    assert_eq!(deployment.writes_in_the_dark().len(), 1);
    let status = run.handle.status().await.unwrap();
    assert_eq!(status.store.unrecorded, [RolloutId::FIRST]);
    assert!(matches!(
        run.handle.journal(RolloutId::FIRST, Seq::FIRST).await,
        Err(EngineError::Unrecorded { did: Unrecorded::Nothing, .. })
    ));
    disk.heal();
    run.until_state(StoreState::Well).await;
    run.until("the rollback on disk", |rollout| {
        rollout.phases()[1].stage == Stage::RolledBack && rollout.rollback().is_none()
    })
    .await;
    let journal = run.journal().await;
    let rolled_back =
        journal.iter().find(|entry| matches!(entry.event.kind, EventKind::RollbackStarted { .. }));
    let event = &rolled_back.unwrap().event;
    assert_eq!(event.actor, Actor::Person("rolloutd".into()));
    let note = event.note.as_deref().unwrap();
    assert!(note.starts_with("rolled back at 2026-11-22T"), "{note}");
    assert!(
        note.contains(
            "while nothing could be recorded (commit (injected failure): no storage space"
        ),
        "{note}"
    );
    assert!(note.contains("7 %"), "{note}");
    let resumed = |entry: &&Entry| matches!(entry.event.kind, EventKind::EngineResumed { .. });
    assert_eq!(journal.iter().filter(resumed).count(), 1, "the dark shows like a restart");
    run.stop().await.unwrap();
}

#[tokio::test]
async fn in_the_dark_only_rollbacks_are_carried_out_and_nothing_is_acknowledged() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    in_the_second_window(&run).await;
    disk.fail_commits_from(1, Failure::Panic, Broken::Opening);
    run.until_state(StoreState::Failing).await;
    for command in [Command::Hold, Command::Resume, Command::Promote, Command::Retry] {
        let answer = run.order(command.clone()).await;
        assert!(
            matches!(answer, Err(EngineError::Unrecorded { did: Unrecorded::Nothing, .. })),
            "{command:?}: {answer:?}"
        );
    }
    let mut other = new_rollout("elsewhere");
    other.idempotency_key = None;
    assert!(matches!(run.handle.create(other).await, Err(EngineError::Unrecorded { .. })));
    assert_eq!(run.handle.list().await.unwrap().len(), 1);
    let answer = run.order(Command::Rollback(RollbackScope::All)).await;
    assert!(matches!(
        answer,
        Err(EngineError::Unrecorded { did: Unrecorded::RollbackUnderWay, .. })
    ));
    run.until("safe values", |_| deployment.env().values().all(|value| value == "false")).await;
    disk.heal();
    run.until_state(StoreState::Well).await;
    let back = run.until("both phases rolled back on disk", |rollout| {
        rollout.rollback().is_none()
            && rollout.phases().iter().all(|phase| phase.stage == Stage::RolledBack)
    });
    assert_eq!(back.await.holds().len(), 1, "what was refused did not happen");
    let journal = run.journal().await;
    assert!(!journal.iter().any(|entry| matches!(entry.event.kind, EventKind::AbortOrdered)));
    let told = journal.iter().find_map(|entry| match entry.event.kind {
        EventKind::RollbackStarted { .. } => entry.event.note.clone(),
        _ => None,
    });
    assert!(told.unwrap().contains("ada: because"));
    run.stop().await.unwrap();
}

#[tokio::test]
async fn an_abort_in_the_dark_puts_the_running_phase_back_and_ends_nothing() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    in_the_second_window(&run).await;
    // The order's own commit is the one that fails, half of the time.
    disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    let answer = run.order(Command::Abort).await;
    assert!(
        matches!(answer, Err(EngineError::Unrecorded { did: Unrecorded::RollbackUnderWay, .. })),
        "{answer:?}"
    );
    run.until("the rollback", |rollout| rollout.phases()[1].stage == Stage::RolledBack).await;
    assert_eq!(deployment.env().into_values().collect::<Vec<_>>(), ["true", "false"]);
    let unwatched = match run.stop().await {
        Err(EngineError::Unrecorded { did: Unrecorded::Ended { unwatched, untold }, .. }) => {
            assert_eq!(untold, [RolloutId::FIRST]);
            unwatched
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(unwatched, [RolloutId::FIRST], "the first phase's flag is on");
}

#[tokio::test]
async fn an_engine_whose_flags_are_all_off_ends() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    disk.fail_commits_from(2, Failure::BeforeDurable, Broken::Opening);
    let run = Run::begin(&disk, &deployment).await;
    run.handle.create(new_rollout("production")).await.unwrap();
    run.handle.closed().await;
    let ended = run.running.await.unwrap().unwrap_err();
    assert!(
        matches!(
            &ended,
            EngineError::Unrecorded { did: Unrecorded::Ended { unwatched, .. }, .. } if unwatched.is_empty()
        ),
        "{ended:?}"
    );
    assert_eq!(ended.to_string(), "nothing can be recorded");
    assert!(deployment.writes().is_empty());
}

#[tokio::test]
async fn on_the_reserve_everything_is_recorded_and_nothing_turned_on() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    run.until("the first window", |rollout| rollout.phases()[0].stage == Stage::Baking).await;
    disk.set_room(false);
    disk.fail_commit(1, Failure::BeforeDurable);
    let since = run.until_state(StoreState::Reserve).await;
    let mut other = new_rollout("elsewhere");
    (other.idempotency_key, other.url) = (None, "http://elsewhere".into());
    assert!(matches!(run.handle.create(other).await, Err(EngineError::OnReserve)));
    for command in [Command::Resume, Command::Promote, Command::Retry] {
        assert!(matches!(run.order(command).await, Err(EngineError::OnReserve)));
    }
    run.until_time(since + SignedDuration::from_hours(9)).await;
    let waiting = run.handle.get(RolloutId::FIRST).await.unwrap();
    assert_eq!(
        waiting.phases()[0].stage,
        Stage::Baking,
        "its window is over and it does not advance"
    );
    assert_eq!(deployment.writes().len(), 1);
    let readings = deployment.readings();
    run.until_time(since + SignedDuration::from_hours(12)).await;
    assert!(deployment.readings() >= readings + 5, "watching goes on, on time");
    assert!(run.handle.status().await.unwrap().stuck.is_empty());
    disk.set_room(true);
    let end = run.rest().await;
    assert_eq!(end.stages, [Stage::Completed, Stage::Completed]);
    assert!(end.checkpoints.iter().all(|(_, late, _)| *late == SignedDuration::ZERO), "{end:?}");
    run.stop().await.unwrap();
}

#[tokio::test]
async fn on_the_reserve_a_breach_is_rolled_back_and_orders_are_recorded() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    in_the_second_window(&run).await;
    disk.set_room(false);
    disk.fail_commit(1, Failure::AfterDurable);
    // The commit that fails is the order's own or one of the watch; either way the order is acknowledged and stands.
    run.order(Command::Hold).await.unwrap();
    run.until_state(StoreState::Reserve).await;
    deployment.errors_from(deployment.readings() + 1, 7.0);
    run.until("the rollback", |rollout| {
        rollout.phases()[1].stage == Stage::RolledBack && rollout.rollback().is_none()
    })
    .await;
    let one = rollout_core::IncidentNumber::new(1).unwrap();
    run.order(Command::ResolveIncident(one)).await.unwrap();
    assert!(matches!(run.order(Command::Retry).await, Err(EngineError::OnReserve)));
    let rollout = run.handle.get(RolloutId::FIRST).await.unwrap();
    assert!(rollout.holds().iter().any(|hold| hold.by == "ada"));
    let (allowed, takes) = (rollout.allowed(), |verb| StoreState::Reserve.takes(verb, &rollout));
    assert!(allowed.contains(&Verb::Retry) && !takes(Verb::Retry), "{allowed:?}");
    assert!(allowed.contains(&Verb::Rollback) && takes(Verb::Rollback), "{allowed:?}");
    run.stop().await.unwrap();
    let run = Run::begin(&disk, &deployment).await;
    assert_eq!(run.until_state(StoreState::Reserve).await, run.handle.status().await.unwrap().now);
    assert_eq!(run.handle.get(RolloutId::FIRST).await.unwrap().status(), Status::Running);
    run.stop().await.unwrap();
}
