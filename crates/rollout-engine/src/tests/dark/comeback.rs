//! The way back from the dark, and what must not get lost or begin on it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use rollout_core::Command;

use super::*;
use crate::reopen::{OpenStore, Opening, Refilling};
use crate::store::memory::MemorySource;
use crate::store::{Append, Head, IdempotencyRow, Store, StoreError};
use crate::{Clock, Engine, ManualClock};

/// One phase done, the second one rolled back, all well again.
async fn beside_a_rolled_back_phase(run: &Run, deployment: &Deployment) {
    in_the_second_window(run).await;
    deployment.errors_from(deployment.readings() + 1, 7.0);
    let rolled_back = |rollout: &Rollout| rollout.phases()[1].stage == Stage::RolledBack;
    let then = run.until("the rollback of phase 2", rolled_back).await.last_at();
    deployment.errors_from(deployment.readings() + 1, 0.1);
    run.until_time(then + SignedDuration::from_hours(4)).await;
}

fn rollbacks(journal: &[Entry]) -> usize {
    let began = |entry: &&Entry| matches!(entry.event.kind, EventKind::RollbackStarted { .. });
    journal.iter().filter(began).count()
}

#[tokio::test]
async fn a_rollback_of_the_dark_is_told_beside_one_that_was_recorded() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    beside_a_rolled_back_phase(&run, &deployment).await;
    disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    run.until_state(StoreState::Failing).await;
    deployment.errors_from(deployment.readings() + 1, 7.0);
    let rolled_back = |rollout: &Rollout| rollout.phases()[0].stage == Stage::RolledBack;
    run.until("the rollback of phase 1", rolled_back).await;
    deployment.errors_from(deployment.readings() + 1, 0.1);
    disk.heal();
    run.until_state(StoreState::Well).await;
    assert_eq!(rollbacks(&run.journal().await), 2);
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_rollback_that_the_dark_did_not_finish_goes_on_after_it() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    beside_a_rolled_back_phase(&run, &deployment).await;
    disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    run.until_state(StoreState::Failing).await;
    deployment.refuse(true);
    let answer = run.order(Command::Rollback(RollbackScope::All)).await.unwrap_err();
    assert!(answer.to_string().contains("under way"), "{answer}");
    run.until("rolling back", |rollout| rollout.rollback().is_some()).await;
    disk.heal();
    run.until_state(StoreState::Well).await;
    deployment.refuse(false);
    let now = run.handle.status().await.unwrap().now;
    run.until_time(now + SignedDuration::from_hours(1)).await;
    assert!(deployment.env().values().all(|value| value == "false"), "{:?}", deployment.env());
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_start_that_landed_all_the_same_is_held() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    in_the_second_window(&run).await;
    disk.fail_commits_from(1, Failure::AfterDurable, Broken::Opening);
    let mut other = new_rollout("elsewhere");
    (other.idempotency_key, other.url) = (None, "http://elsewhere".into());
    let answer = run.handle.create(other).await.unwrap_err();
    disk.heal();
    let well = run.until_state(StoreState::Well).await;
    run.until_time(well + SignedDuration::from_hours(1)).await;
    let all = run.handle.list().await.unwrap();
    // Whether the commit of the request was the one that failed depends on who came first; never is it driven unasked.
    match all.get(1) {
        Some(landed) => {
            assert!(answer.to_string().contains("is not known"), "{answer}");
            // Where no flag is on, it ends instead, and the next one knows nothing of this answer.
            assert!(answer.to_string().contains("unless rolloutd was started again"), "{answer}");
            assert!(landed.holds().iter().any(|hold| hold.reason == HoldReason::Person));
        }
        None => assert!(answer.to_string().contains("nothing was changed"), "{answer}"),
    }
    run.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_to_be_written_before_the_disk_was_full_is_not_written_a_day_later() {
    for nth in 1..20 {
        let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
        disk.fail_commit(nth, Failure::AfterDurable);
        let performer = Arc::new(deployment.clone());
        let clock = deployment.clock(start());
        let opened = Engine::open(Box::new(disk.open()), clock, performer).await;
        let (engine, handle) = opened.unwrap();
        let running = tokio::spawn(engine.run());
        drop(handle.create(new_rollout("production")).await);
        handle.closed().await;
        drop(running.await.unwrap());
        assert!(deployment.env().is_empty(), "the enabling was never the last thing on disk");
        disk.set_room(false);
        let run = Run::begin(&disk, &deployment).await;
        let rollout = run.handle.get(RolloutId::FIRST).await;
        if !rollout.is_ok_and(|rollout| rollout.phases()[0].stage == Stage::Enabling) {
            drop(run.stop().await);
            continue;
        }
        let since = run.until_state(StoreState::Reserve).await;
        run.until_time(since + SignedDuration::from_hours(30)).await;
        disk.set_room(true);
        run.until_state(StoreState::Well).await;
        run.until("held", |rollout| rollout.is_held()).await;
        assert!(deployment.writes().is_empty(), "turned on a day after its gates were open");
        run.stop().await.unwrap();
        return;
    }
    panic!("no commit of the first twenty begins an enabling");
}

/// Commits and looks at the heads hang as soon as and as long as the other end of the channel says nothing.
struct Hanging {
    inner: Box<dyn Store>,
    hangs: Arc<AtomicBool>,
    leave: Receiver<()>,
}

impl Store for Hanging {
    fn heads(&self) -> Result<Vec<Head>, StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            let _ = self.leave.recv();
        }
        self.inner.heads()
    }

    fn journal(
        &self,
        rollout: RolloutId,
        from: Seq,
    ) -> Result<Vec<crate::store::Entry>, StoreError> {
        self.inner.journal(rollout, from)
    }

    fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            // An error means that the test is over.
            let _ = self.leave.recv();
        }
        self.inner.commit(batch)
    }

    fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        self.inner.idempotency(key)
    }

    fn idempotency_rows(&self) -> Result<Vec<IdempotencyRow>, StoreError> {
        self.inner.idempotency_rows()
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_a_breach_from_being_rolled_back() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let hangs = Arc::new(AtomicBool::new(false));
    let (go_on, leave) = channel();
    let store = Hanging { inner: Box::new(disk.open()), hangs: Arc::clone(&hangs), leave };
    let (clock, performer) = (deployment.clock(start()), Arc::new(deployment.clone()));
    let opened =
        Engine::open_with(Box::new(store), Arc::new(disk.source()), clock, performer).await;
    let (engine, handle) = opened.unwrap();
    let running = tokio::spawn(engine.run());
    let mut run = Run { disk, deployment: deployment.clone(), handle, running };
    run.create().await;
    in_the_second_window(&run).await;
    hangs.store(true, Ordering::SeqCst);
    deployment.errors_from(deployment.readings() + 1, 7.0);
    // From here on real time passes as soon as everybody waits.
    tokio::time::pause();
    run.until_state(StoreState::Failing).await;
    let off = |_: &Rollout| deployment.env().values().any(|value| value == "false");
    run.until("the flag is put back", off).await;
    drop(go_on);
}

/// Where the disk was, another one is found: a mount that is gone, and a store that lies below it.
struct Swapped {
    own: MemorySource,
    other: MemorySource,
    is_swapped: Arc<AtomicBool>,
}

impl OpenStore for Swapped {
    fn open(&self, after: &StoreError) -> Opening {
        match self.is_swapped.load(Ordering::SeqCst) {
            true => self.other.open(after),
            false => self.own.open(after),
        }
    }

    fn refill(&self) -> Refilling {
        match self.is_swapped.load(Ordering::SeqCst) {
            true => self.other.refill(),
            false => self.own.refill(),
        }
    }
}

/// An engine whose disk is lost with a flag on, and that finds `other` in its place; then its own again.
async fn finds(other: &MemoryDisk, meanwhile: impl FnOnce(&MemoryDisk)) {
    let disk = MemoryDisk::new();
    let deployment = Deployment::default();
    let is_swapped = Arc::new(AtomicBool::new(false));
    let source = Arc::new(Swapped {
        own: disk.source(),
        other: other.source(),
        is_swapped: Arc::clone(&is_swapped),
    });
    let clock = deployment.clock(start() + SignedDuration::from_hours(240));
    let performer = Arc::new(deployment.clone());
    let opened = Engine::open_with(Box::new(disk.open()), source, clock, performer).await;
    let (engine, handle) = opened.unwrap();
    let running = tokio::spawn(engine.run());
    let mut run = Run { disk, deployment: deployment.clone(), handle, running };
    run.create().await;
    let baking =
        run.until("the first window", |rollout| rollout.phases()[0].stage == Stage::Baking);
    let before = baking.await;
    meanwhile(&run.disk);
    let acknowledged = before.seq();
    run.until("something more", |rollout| rollout.seq() > acknowledged).await;
    run.disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    let since = run.until_state(StoreState::Failing).await;
    is_swapped.store(true, Ordering::SeqCst);
    run.until_time(since + DARK).await;
    let status = run.handle.status().await.unwrap();
    assert_eq!(status.store.state, StoreState::Failing, "another store was taken: {status:?}");
    let why = status.store.why.unwrap();
    assert!(why.contains("of r1 was acknowledged and is not in it"), "{why}");
    assert!(why.contains("put the flags back and restart"), "{why}");
    assert!(deployment.env().values().any(|value| value == "true"), "{:?}", deployment.env());
    let rollout = run.handle.get(RolloutId::FIRST).await.unwrap();
    assert_eq!(
        (rollout.created_at(), rollout.phases()[0].stage),
        (before.created_at(), Stage::Baking)
    );
    run.disk.heal();
    is_swapped.store(false, Ordering::SeqCst);
    run.until_state(StoreState::Well).await;
    assert_eq!(run.handle.get(RolloutId::FIRST).await.unwrap().created_at(), before.created_at());
    run.stop().await.unwrap();
}

#[tokio::test]
async fn an_older_store_with_longer_journals_is_not_taken_for_the_one_that_was_lost() {
    let older = MemoryDisk::new();
    to_rest(&older, &Deployment::default()).await;
    finds(&older, |_| ()).await;
}

#[tokio::test]
async fn an_empty_store_is_not_taken_for_the_one_that_was_lost() {
    finds(&MemoryDisk::new(), |_| ()).await;
}

/// As after `rolloutd restore` of a backup: what was acknowledged since is gone, and other entries stand in its place.
#[tokio::test]
async fn an_older_copy_of_the_own_store_that_went_on_otherwise_is_not_taken() {
    let other = MemoryDisk::new();
    let go_on_otherwise = |own: &MemoryDisk| {
        own.copy_to(&other);
        let mut store = other.open();
        let head = store.heads().unwrap()[0];
        let last = store.journal(head.rollout, head.seq).unwrap().remove(0);
        let entries = vec![last.payload; 200];
        let (rollout, after, standing) = (head.rollout, head.seq.get(), head.standing);
        store.commit(&[Append { rollout, after, entries, standing, idempotency: None }]).unwrap();
    };
    finds(&other, go_on_otherwise).await;
}

/// The store opens again and takes for ever to be read.
struct Slow {
    own: MemorySource,
    leave: Mutex<Option<Receiver<()>>>,
}

impl OpenStore for Slow {
    fn open(&self, after: &StoreError) -> Opening {
        let (opening, hangs) = (self.own.open(after), Arc::new(AtomicBool::new(true)));
        let leave = self.leave.lock().unwrap().take();
        Box::pin(async move {
            let (inner, leave) = (opening.await?, leave.unwrap());
            Ok(Box::new(Hanging { inner, hangs, leave }) as _)
        })
    }

    fn refill(&self) -> Refilling {
        self.own.refill()
    }
}

#[tokio::test]
async fn a_large_store_is_read_beside_a_loop_that_watches_on() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let (go_on, leave) = channel();
    let source = Arc::new(Slow { own: disk.source(), leave: Mutex::new(None) });
    let (clock, performer) = (deployment.clock(start()), Arc::new(deployment.clone()));
    let there = Arc::clone(&source);
    let opened = Engine::open_with(Box::new(disk.open()), there, clock, performer).await;
    let (engine, handle) = opened.unwrap();
    let running = tokio::spawn(engine.run());
    let mut run = Run { disk, deployment: deployment.clone(), handle, running };
    run.create().await;
    in_the_second_window(&run).await;
    run.disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    let dark = run.until_state(StoreState::Failing).await;
    *source.leave.lock().unwrap() = Some(leave);
    run.disk.heal();
    run.until_time(dark + SignedDuration::from_mins(5)).await;
    assert!(source.leave.lock().unwrap().is_none(), "the store is being read");
    deployment.errors_from(deployment.readings() + 1, 7.0);
    let off = |_: &Rollout| deployment.env().values().any(|value| value == "false");
    run.until("the flag is put back", off).await;
    assert_eq!(run.handle.status().await.unwrap().store.state, StoreState::Failing);
    drop(go_on);
    run.until_state(StoreState::Well).await;
    let rolled_back = |rollout: &Rollout| rollout.phases()[1].stage == Stage::RolledBack;
    run.until("the rollback on disk", rolled_back).await;
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_does_not_come_early_with_the_way_back() {
    let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
    let mut run = Run::begin(&disk, &deployment).await;
    run.create().await;
    in_the_second_window(&run).await;
    run.stop().await.unwrap();
    // The clock of the next process begins where that of the first one began, so the journal is hours ahead of it.
    let run = Run::begin(&disk, &deployment).await;
    let begun = run.handle.status().await.unwrap().now;
    let mut other = new_rollout("elsewhere");
    (other.idempotency_key, other.url) = (None, "http://elsewhere".into());
    other.start_at = Some(start() + SignedDuration::from_hours(4));
    let other = run.handle.create(other).await.unwrap().rollout().id();
    disk.fail_commits_from(1, Failure::BeforeDurable, Broken::Opening);
    run.until_state(StoreState::Failing).await;
    disk.heal();
    let well = run.until_state(StoreState::Well).await;
    assert!(well.duration_since(begun) < SignedDuration::from_hours(3), "before the start");
    assert_eq!(run.handle.get(other).await.unwrap().status(), Status::Scheduled);
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_jump_whose_commit_failed_is_told_once_there_is_a_store_again() {
    // The commit is lost with the first, and found again after the second.
    for failure in [Failure::Panic, Failure::AfterDurable] {
        let (disk, deployment) = (MemoryDisk::new(), Deployment::default());
        let clock = Arc::new(ManualClock::at(start()));
        let (source, performer) = (Arc::new(disk.source()), Arc::new(deployment.clone()));
        let shown = Arc::clone(&clock) as Arc<dyn Clock>;
        let opened = Engine::open_with(Box::new(disk.open()), source, shown, performer).await;
        let (engine, handle) = opened.unwrap();
        let running = tokio::spawn(engine.run());
        let mut run = Run { disk: disk.clone(), deployment, handle, running };
        run.create().await;
        run.until("the first window", |rollout| rollout.phases()[0].stage == Stage::Baking).await;
        // The machine slept, and has lost its disk.
        disk.fail_commits_from(1, failure, Broken::Opening);
        clock.jump(SignedDuration::from_mins(50));
        run.until_state(StoreState::Failing).await;
        disk.heal();
        clock.advance(SignedDuration::from_mins(1));
        run.until_state(StoreState::Well).await;
        let journal = run.journal().await;
        let jumps = journal.iter().filter(|entry| {
            let by = SignedDuration::from_mins(50);
            entry.event.kind == EventKind::ClockJumped { by }
        });
        assert_eq!(jumps.count(), 1, "{failure:?}");
        run.stop().await.unwrap();
    }
}
