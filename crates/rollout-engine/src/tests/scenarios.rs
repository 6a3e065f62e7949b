//! What the engine promises, told as short scripts.

use std::sync::Arc;

use jiff::SignedDuration;
use rollout_core::{Command, EventKind, Order, Rejection, RolloutId, Stage, Status};

use super::deployment::Deployment;
use super::run::{new_rollout, start, to_rest};
use crate::clock::ManualClock;
use crate::error::EngineError;
use crate::handle::{Created, NewRollout};
use crate::store::memory::{Failure, MemoryDisk};
use crate::store::{OpenOptions, SledStore};
use crate::{Engine, Handle, Seq};

/// Longest wait for something that must happen.
const WAIT: std::time::Duration = std::time::Duration::from_secs(10);

fn order(command: Command) -> Order {
    Order { command, actor: "ada".into(), reason: "because".into() }
}

async fn engine_at_rest(
    disk: &MemoryDisk,
) -> (Handle, tokio::task::JoinHandle<Result<(), EngineError>>) {
    let clock = Arc::new(ManualClock::at(start()));
    let store = Box::new(disk.open());
    let (engine, handle) =
        Engine::open(store, clock, Arc::new(Deployment::default())).await.unwrap();
    (handle, tokio::spawn(engine.run()))
}

#[tokio::test]
async fn a_crash_at_any_commit_changes_nothing_in_the_end() {
    let straight_disk = MemoryDisk::new();
    let straight = to_rest(&straight_disk, &Deployment::default()).await;
    assert_eq!(straight.stages, [Stage::Completed, Stage::Completed]);
    assert_eq!(straight.writes.len(), 2);
    assert!(
        straight.checkpoints.iter().all(|(_, late, _)| *late == SignedDuration::ZERO),
        "{straight:?}"
    );
    let commits = straight_disk.commits();
    assert!(commits > 40, "the plan has many steps: {commits}");
    for nth in 1..=commits {
        for failure in [Failure::BeforeDurable, Failure::AfterDurable, Failure::Panic] {
            let disk = MemoryDisk::new();
            disk.fail_commit(nth, failure);
            let end = to_rest(&disk, &Deployment::default()).await;
            assert_eq!(end, straight, "commit {nth}, {failure:?}");
        }
    }
}

#[tokio::test]
async fn effects_performed_twice_change_nothing() {
    let straight = to_rest(&MemoryDisk::new(), &Deployment::default()).await;
    let twice = to_rest(&MemoryDisk::new(), &Deployment::repeating(2)).await;
    assert_eq!(straight, twice);
}

#[tokio::test]
async fn a_breach_is_rolled_back_through_a_crash_at_any_commit() {
    let breach = || {
        let deployment = Deployment::default();
        deployment.errors_from(20, 7.0);
        deployment
    };
    let straight_disk = MemoryDisk::new();
    let straight = to_rest(&straight_disk, &breach()).await;
    assert_eq!(straight.stages, [Stage::Completed, Stage::RolledBack]);
    for nth in 1..=straight_disk.commits() {
        let disk = MemoryDisk::new();
        disk.fail_commit(nth, Failure::BeforeDurable);
        let end = to_rest(&disk, &breach()).await;
        // A reading is taken again after a crash, so the breach may be seen one reading earlier or later.
        assert_eq!(
            (end.env, end.stages),
            (straight.env.clone(), straight.stages.clone()),
            "commit {nth}"
        );
    }
}

#[tokio::test]
async fn the_same_request_gives_the_same_rollout() {
    let (handle, running) = engine_at_rest(&MemoryDisk::new()).await;
    let first = handle.create(new_rollout("production")).await.unwrap();
    assert!(matches!(first, Created::New(_)));
    let again = handle.create(new_rollout("production")).await.unwrap();
    assert!(matches!(&again, Created::Before(rollout) if rollout.id() == first.rollout().id()));
    let mut other = new_rollout("production");
    other.request_digest = [9; 32];
    assert!(matches!(handle.create(other).await, Err(EngineError::KeyReused(_))));
    let mut second = new_rollout("production");
    second.idempotency_key = None;
    assert!(matches!(handle.create(second).await, Err(EngineError::DeploymentBusy { .. })));
    handle.stop().await;
    running.await.unwrap().unwrap();
}

/// A row of an earlier version has the digest of the plan alone.
#[tokio::test]
async fn a_key_that_was_used_before_an_upgrade_still_stands_for_its_request() {
    let (handle, running) = engine_at_rest(&MemoryDisk::new()).await;
    let new = new_rollout("production");
    let earlier = NewRollout { request_digest: new.digest, ..new.clone() };
    let Ok(Created::New(first)) = handle.create(earlier).await else { panic!("it is new") };
    let again = handle.create(new.clone()).await.unwrap();
    assert!(matches!(&again, Created::Before(rollout) if rollout.id() == first.id()));
    let tomorrow = first.start_at() + SignedDuration::from_hours(24);
    let later = NewRollout { start_at: Some(tomorrow), ..new };
    assert!(matches!(handle.create(later).await, Err(EngineError::KeyReused(_))));
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_flag_stays_locked_until_its_incident_is_resolved() {
    let disk = MemoryDisk::new();
    let deployment = Deployment::default();
    deployment.errors_from(6, 7.0);
    to_rest(&disk, &deployment).await;
    let (handle, running) = engine_at_rest(&disk).await;
    handle.order(RolloutId::FIRST, order(Command::Abort)).await.unwrap();
    let mut next = new_rollout("production");
    next.idempotency_key = None;
    assert!(matches!(handle.create(next.clone()).await, Err(EngineError::FlagLocked { .. })));
    let one = rollout_core::IncidentNumber::new(1).unwrap();
    handle.order(RolloutId::FIRST, order(Command::ResolveIncident(one))).await.unwrap();
    assert!(handle.create(next).await.is_ok());
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_acknowledged() {
    let disk = MemoryDisk::new();
    let (handle, running) = engine_at_rest(&disk).await;
    let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
    disk.fail_commit(1, Failure::BeforeDurable);
    let answer = handle.order(id, order(Command::Hold)).await;
    // The commit that failed may have been the order's own, or one of the watch right before it.
    assert!(matches!(answer, Err(EngineError::Store(_) | EngineError::Stopped)), "{answer:?}");
    assert!(matches!(running.await.unwrap(), Err(EngineError::Store(_))), "the engine stops");
    assert!(matches!(handle.order(id, order(Command::Hold)).await, Err(EngineError::Stopped)));
    disk.cut_power();
    let (handle, running) = engine_at_rest(&disk).await;
    let held = handle.get(id).await.unwrap().holds().len();
    assert_eq!(held, 0, "nobody was told that it is held, and it is not");
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn refusals_change_nothing_and_unknown_rollouts_are_named() {
    let (handle, running) = engine_at_rest(&MemoryDisk::new()).await;
    let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
    let before = handle.get(id).await.unwrap().seq();
    let refused = handle.order(id, order(Command::Retry)).await;
    assert!(matches!(refused, Err(EngineError::Rejected(Rejection::NotNow { .. }))));
    let nobody = RolloutId::new(99).unwrap();
    assert!(
        matches!(handle.get(nobody).await, Err(EngineError::UnknownRollout(id)) if id == nobody)
    );
    assert!(matches!(
        handle.journal(nobody, Seq::FIRST).await,
        Err(EngineError::UnknownRollout(_))
    ));
    assert!(handle.get(id).await.unwrap().seq() >= before);
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_names_of_one_address_are_one_deployment() {
    let (handle, running) = engine_at_rest(&MemoryDisk::new()).await;
    handle.create(new_rollout("production")).await.unwrap();
    let mut other = new_rollout("alias");
    other.idempotency_key = None;
    assert!(matches!(handle.create(other.clone()).await, Err(EngineError::DeploymentBusy { .. })));
    other.url = "http://elsewhere".into();
    assert!(handle.create(other).await.is_ok());
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_stop_the_watch() {
    let deployment = Deployment::default();
    let clock = Arc::new(ManualClock::at(start()));
    let disk = MemoryDisk::new();
    let (engine, handle) =
        Engine::open(Box::new(disk.open()), clock.clone(), Arc::new(deployment.clone()))
            .await
            .unwrap();
    let running = tokio::spawn(engine.run());
    let mut progress = handle.subscribe();
    let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
    while handle.get(id).await.unwrap().phases()[0].stage != Stage::Baking {
        tokio::time::timeout(WAIT, progress.recv()).await.unwrap().unwrap();
    }
    clock.jump(-SignedDuration::from_hours(24));
    let before = deployment.readings();
    for _ in 0..8 {
        clock.advance(SignedDuration::from_mins(40));
        tokio::time::timeout(WAIT, progress.recv()).await.unwrap().unwrap();
        handle.status().await.unwrap();
    }
    assert!(
        deployment.readings() >= before + 4,
        "five hours after the jump: {}",
        deployment.readings() - before
    );
    // The same after a restart with the clock still wrong: the journal is later than the wall.
    handle.stop().await;
    running.await.unwrap().unwrap();
    let (engine, handle) =
        Engine::open(Box::new(disk.open()), clock.clone(), Arc::new(deployment.clone()))
            .await
            .unwrap();
    let running = tokio::spawn(engine.run());
    let mut progress = handle.subscribe();
    let before = deployment.readings();
    for _ in 0..4 {
        clock.advance(SignedDuration::from_mins(40));
        tokio::time::timeout(WAIT, progress.recv()).await.unwrap().unwrap();
        handle.status().await.unwrap();
    }
    assert!(deployment.readings() >= before + 2);
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_adapter_that_panics_at_once_is_a_failed_effect() {
    struct Panics;
    impl crate::Perform for Panics {
        fn perform(&self, _: rollout_core::PendingEffect) -> crate::Performing {
            panic!("before there is a future")
        }
    }
    let clock = Arc::new(ManualClock::at(start()));
    let (engine, handle) =
        Engine::open(Box::new(MemoryDisk::new().open()), clock, Arc::new(Panics)).await.unwrap();
    let running = tokio::spawn(engine.run());
    let mut progress = handle.subscribe();
    let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
    let blind = |rollout: &rollout_core::Rollout| {
        rollout
            .watch()
            .last
            .as_ref()
            .is_some_and(|(_, _, reading)| reading.trouble().unwrap().contains("panicked"))
    };
    while !blind(&handle.get(id).await.unwrap()) {
        tokio::time::timeout(WAIT, progress.recv()).await.unwrap().unwrap();
    }
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn readers_alone_do_not_keep_the_loop_from_turning() {
    let (handle, running) = engine_at_rest(&MemoryDisk::new()).await;
    let pollers: Vec<_> = (0..8)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move {
                while handle.status().await.is_ok() {
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let before = handle.turns();
    handle.create(new_rollout("production")).await.unwrap();
    assert!(handle.turns() > before);
    handle.stop().await;
    running.await.unwrap().unwrap();
    for poller in pollers {
        poller.await.unwrap();
    }
}

#[tokio::test]
async fn the_wall_clock_going_backward_holds() {
    let clock = Arc::new(ManualClock::at(start()));
    let store = Box::new(MemoryDisk::new().open());
    let (engine, handle) =
        Engine::open(store, clock.clone(), Arc::new(Deployment::default())).await.unwrap();
    let running = tokio::spawn(engine.run());
    let mut progress = handle.subscribe();
    let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
    clock.jump(-SignedDuration::from_hours(3));
    loop {
        let rollout = handle.get(id).await.unwrap();
        if rollout.holds().iter().any(|hold| hold.reason == rollout_core::HoldReason::ClockJump) {
            break;
        }
        tokio::time::timeout(std::time::Duration::from_secs(10), progress.recv())
            .await
            .unwrap()
            .unwrap();
    }
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn sled_and_memory_keep_the_same_journal() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = Deployment::default();
    let clock = deployment.clock(start());
    let (store, _) = SledStore::open(dir.path(), OpenOptions::default()).unwrap();
    let (engine, handle) =
        Engine::open(Box::new(store), clock.clone(), Arc::new(deployment.clone())).await.unwrap();
    let running = tokio::spawn(engine.run());
    let mut progress = handle.subscribe();
    let id = handle.create(new_rollout("production")).await.unwrap().rollout().id();
    while handle.get(id).await.unwrap().status() != Status::Completed {
        tokio::time::timeout(std::time::Duration::from_secs(10), progress.recv())
            .await
            .unwrap()
            .unwrap();
    }
    let journal = handle.journal(id, Seq::FIRST).await.unwrap();
    handle.stop().await;
    running.await.unwrap().unwrap();
    let (store, _) = SledStore::open(dir.path(), OpenOptions::default()).unwrap();
    let (engine, handle) =
        Engine::open(Box::new(store), clock, Arc::new(deployment)).await.unwrap();
    let running = tokio::spawn(engine.run());
    assert_eq!(
        handle.journal(id, Seq::FIRST).await.unwrap(),
        journal,
        "an ended rollout is read back as it was"
    );
    assert_eq!(handle.list().await.unwrap().len(), 1);
    assert!(matches!(journal[0].event.kind, EventKind::RolloutCreated { .. }));
    handle.stop().await;
    running.await.unwrap().unwrap();
}
