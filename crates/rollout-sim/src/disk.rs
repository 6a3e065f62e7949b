//! Owns the simulated machine's store: the real in-memory store of the engine, with a process around it that can die in the
//! middle of a commit, and an outsider who sees what became durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollout_core::{RolloutId, Seq};
use rollout_engine::store::memory::{Failure, MemoryDisk, MemorySource};
use rollout_engine::store::{Append, Entry, Head, IdempotencyRow, Store, StoreError};
use rollout_engine::{OpenStore, Opening, Refilling};

use crate::world::{CommitFate, Shared};

/// The store of one process.
pub(crate) struct SimStore {
    inner: Box<dyn Store>,
    disk: MemoryDisk,
    world: Shared,
    died: Arc<AtomicBool>,
}

impl SimStore {
    /// Opens the disk as a new process does; the outsider looks at what is there.
    pub(crate) fn open(disk: &MemoryDisk, world: &Shared, died: &Arc<AtomicBool>) -> Self {
        Self::over(Box::new(disk.open()), disk, world, died)
    }

    fn over(
        inner: Box<dyn Store>,
        disk: &MemoryDisk,
        world: &Shared,
        died: &Arc<AtomicBool>,
    ) -> Self {
        let journals = journals(&*inner);
        world.lock().observer.reopened(&journals);
        Self { inner, disk: disk.clone(), world: world.clone(), died: Arc::clone(died) }
    }

    fn dies(&self) {
        self.died.store(true, Ordering::Relaxed);
    }

    fn fails(&mut self, batch: &[Append], failure: Failure) -> Result<(), StoreError> {
        let breaks = {
            let mut world = self.world.lock();
            world.observer.doubts(batch);
            if self.died.load(Ordering::Relaxed) { None } else { world.disk_breaks() }
        };
        match breaks {
            None => self.disk.fail_commit(1, failure),
            Some(broken) => self.disk.fail_commits_from(1, failure, broken),
        }
        self.inner.commit(batch)
    }
}

impl Store for SimStore {
    fn heads(&self) -> Result<Vec<Head>, StoreError> {
        self.inner.heads()
    }

    fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError> {
        self.inner.journal(rollout, from)
    }

    fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let fate = self.world.lock().commit_fate();
        if fate != CommitFate::Done {
            self.world.lock().note(|| format!("commit: {fate:?}"));
        }
        match fate {
            CommitFate::DiesBefore => {
                self.dies();
                return Err(StoreError::Closed);
            }
            CommitFate::DiesWritten => {
                self.dies();
                return self.fails(batch, Failure::BeforeDurable);
            }
            CommitFate::DiesDurable => {
                self.dies();
                return self.fails(batch, Failure::AfterDurable);
            }
            CommitFate::FailsBefore => return self.fails(batch, Failure::BeforeDurable),
            CommitFate::FailsAfter => return self.fails(batch, Failure::AfterDurable),
            CommitFate::Panics => return self.fails(batch, Failure::Panic),
            CommitFate::Done => {}
        }
        if let Err(error) = self.inner.commit(batch) {
            let mut world = self.world.lock();
            world.note(|| format!("commit: {error}"));
            world.observer.goes_dark();
            return Err(error);
        }
        let mut world = self.world.lock();
        for payload in batch.iter().flat_map(|append| &append.entries) {
            world.digest.add(payload);
        }
        let now = world.now;
        let lines = world.observer.committed(now, batch);
        for line in lines {
            world.note(|| line);
        }
        Ok(())
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

/// The place where the engine finds its store again.
pub(crate) struct SimSource {
    inner: MemorySource,
    disk: MemoryDisk,
    world: Shared,
    died: Arc<AtomicBool>,
}

impl SimSource {
    pub(crate) fn new(disk: &MemoryDisk, world: &Shared, died: &Arc<AtomicBool>) -> Self {
        let (inner, disk) = (disk.source(), disk.clone());
        Self { inner, disk, world: world.clone(), died: Arc::clone(died) }
    }
}

impl OpenStore for SimSource {
    fn open(&self, after: &StoreError) -> Opening {
        let opening = self.inner.open(after);
        let (disk, world, died) = (self.disk.clone(), self.world.clone(), Arc::clone(&self.died));
        Box::pin(async move {
            let store = opening.await?;
            world.lock().note(|| "the store is open again".to_owned());
            let store = SimStore::over(store, &disk, &world, &died);
            // A store that is opened again by the same process makes durable what it reads.
            let mut held = world.lock();
            let now = held.now;
            held.observer.synced(now);
            drop(held);
            Ok(Box::new(store) as Box<dyn Store>)
        })
    }

    fn refill(&self) -> Refilling {
        self.inner.refill()
    }
}

fn journals(store: &dyn Store) -> BTreeMap<RolloutId, Vec<Entry>> {
    let heads = store.heads().unwrap_or_default();
    let journal = |head: Head| {
        let entries = store.journal(head.rollout, Seq::FIRST).unwrap_or_default();
        (head.rollout, entries)
    };
    heads.into_iter().map(journal).collect()
}
