//! Owns the journal in memory, for tests: the same rules as on disk, with crashes and failures on demand.
//!
//! There are two layers, as under a real store: what was written and what is durable. A process that dies loses
//! neither; a power cut ([`MemoryDisk::cut_power`]) loses what was written only. Refuses nothing that the disk accepts.

mod source;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollout_core::{RolloutId, Seq};

pub use self::source::{Broken, MemorySource};

use super::chain;
use super::{Append, Entry, Head, IdempotencyRow, Store, StoreError};

/// The disk that memory stores are opened on; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    platters: Arc<Mutex<Platters>>,
}

/// How a commit is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is written but never becomes durable, and the caller is told that it failed.
    BeforeDurable,
    /// It becomes durable, and the caller is told that it failed.
    AfterDurable,
    /// The store panics; nothing is written.
    Panic,
}

#[derive(Debug, Default)]
struct Platters {
    written: Layer,
    durable: Layer,
    /// What was written since the last sync, oldest first.
    unsynced: Vec<Layer>,
    /// Goes up with every opening and every power cut: an older store is dead.
    incarnation: u64,
    /// Commits until the failure, and the failure.
    failing: Option<(u64, Failure)>,
    /// What stays broken once a commit has failed.
    trouble: source::Trouble,
    commits: u64,
}

#[derive(Clone, Debug, Default)]
struct Layer {
    heads: BTreeMap<RolloutId, Head>,
    entries: BTreeMap<(RolloutId, Seq), Vec<u8>>,
    keys: BTreeMap<String, IdempotencyRow>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the store on this disk. A store that was opened before is dead from now on, as after a crash of its
    /// process.
    pub fn open(&self) -> MemoryStore {
        let mut platters = self.platters();
        platters.incarnation += 1;
        MemoryStore { disk: self.clone(), incarnation: platters.incarnation, stopped: None }
    }

    /// Puts what this disk holds now on another one, as a backup does.
    pub fn copy_to(&self, other: &Self) {
        let (written, durable) = {
            let platters = self.platters();
            (platters.written.clone(), platters.durable.clone())
        };
        let mut platters = other.platters();
        (platters.written, platters.durable) = (written, durable);
    }

    /// Cuts the power: the open store is dead, and what was not durable is gone.
    pub fn cut_power(&self) {
        let mut platters = self.platters();
        platters.incarnation += 1;
        platters.unsynced.clear();
        platters.written = platters.durable.clone();
    }

    /// Makes the `nth` commit from now (1 is the next) fail.
    pub fn fail_commit(&self, nth: u64, failure: Failure) {
        assert!(nth > 0, "commits are counted from 1");
        self.platters().failing = Some((nth, failure));
    }

    /// Number of commits that were acknowledged on this disk.
    pub fn commits(&self) -> u64 {
        self.platters().commits
    }

    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.platters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journal in memory; see [`MemoryDisk::open`].
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    incarnation: u64,
    stopped: Option<StoreError>,
}

impl MemoryStore {
    fn try_commit(&self, batch: &[Append]) -> Result<(), StoreError> {
        let mut guard = self.alive()?;
        let platters = &mut *guard;
        let layer = &platters.written;
        let staged = chain::stage(&layer.heads, |key| Ok(layer.keys.contains_key(key)), batch)?;
        if staged.heads.is_empty() {
            return Ok(());
        }
        platters.trouble.check_commit()?;
        let failure = platters.next_failure();
        assert!(failure != Some(Failure::Panic), "injected panic");
        let entries = staged.entries.iter();
        let keys = staged.keys.iter().map(|(key, row)| ((*key).to_owned(), (*row).clone()));
        let change = Layer {
            entries: entries
                .map(|entry| ((entry.rollout, entry.seq), entry.payload.to_vec()))
                .collect(),
            keys: keys.collect(),
            heads: staged.heads,
        };
        platters.written.extend(change.clone());
        platters.unsynced.push(change);
        if failure == Some(Failure::BeforeDurable) {
            return Err(injected());
        }
        platters.sync();
        if failure == Some(Failure::AfterDurable) {
            return Err(injected());
        }
        platters.commits += 1;
        Ok(())
    }

    fn alive(&self) -> Result<MutexGuard<'_, Platters>, StoreError> {
        let platters = self.disk.platters();
        if platters.incarnation == self.incarnation {
            Ok(platters)
        } else {
            Err(StoreError::Closed)
        }
    }
}

impl Layer {
    fn extend(&mut self, change: Self) {
        self.heads.extend(change.heads);
        self.entries.extend(change.entries);
        self.keys.extend(change.keys);
    }
}

impl Platters {
    /// What the disk does for `fdatasync`: whatever was written is durable.
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.extend(change);
        }
    }

    fn next_failure(&mut self) -> Option<Failure> {
        let (nth, failure) = self.failing.take()?;
        if nth == 1 {
            self.trouble.begin();
            return Some(failure);
        }
        self.failing = Some((nth - 1, failure));
        None
    }
}

impl Store for MemoryStore {
    fn heads(&self) -> Result<Vec<Head>, StoreError> {
        Ok(self.alive()?.written.heads.values().copied().collect())
    }

    fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError> {
        let platters = self.alive()?;
        let entries = platters.written.entries.range((rollout, from)..);
        let own = entries.take_while(|((of, _), _)| *of == rollout);
        Ok(own.map(|((_, seq), payload)| Entry { seq: *seq, payload: payload.clone() }).collect())
    }

    fn page(&self, rollout: RolloutId, from: Seq, max: usize) -> Result<Vec<Entry>, StoreError> {
        let platters = self.alive()?;
        let entries = platters.written.entries.range((rollout, from)..);
        let own = entries.take_while(|((of, _), _)| *of == rollout).take(max);
        Ok(own.map(|((_, seq), payload)| Entry { seq: *seq, payload: payload.clone() }).collect())
    }

    fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        if let Some(cause) = &self.stopped {
            return Err(cause.clone());
        }
        let result = self.try_commit(batch);
        self.stopped = result.as_ref().err().filter(|cause| !cause.is_refusal()).cloned();
        result
    }

    fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        Ok(self.alive()?.written.keys.get(key).cloned())
    }

    fn idempotency_rows(&self) -> Result<Vec<IdempotencyRow>, StoreError> {
        Ok(self.alive()?.written.keys.values().cloned().collect())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        match self.stopped.replace(StoreError::Closed) {
            None | Some(StoreError::Closed) => Ok(()),
            Some(cause) => Err(cause),
        }
    }
}

fn injected() -> StoreError {
    StoreError::io("commit (injected failure)")(io::Error::from(io::ErrorKind::StorageFull))
}

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn first(payload: &[u8]) -> [Append; 1] {
        let rollout = RolloutId::FIRST;
        let entries = vec![payload.to_vec()];
        [Append { rollout, after: 0, entries, standing: Standing::Live, idempotency: None }]
    }

    #[test]
    fn a_failure_before_the_sync_is_lost_in_a_power_cut_only() {
        for (failure, after_cut) in [(Failure::BeforeDurable, 0), (Failure::AfterDurable, 1)] {
            let disk = MemoryDisk::new();
            disk.fail_commit(1, failure);
            let mut store = disk.open();
            let failed = store.commit(&first(b"a")).unwrap_err();
            assert!(failed.is_disk_full());
            assert!(
                store.commit(&first(b"a")).unwrap_err().is_disk_full(),
                "the first cause stays"
            );
            assert_eq!(disk.open().heads().unwrap().len(), 1);
            disk.cut_power();
            assert_eq!(disk.open().heads().unwrap().len(), after_cut, "{failure:?}");
        }
    }

    #[test]
    fn the_nth_commit_fails_and_dead_stores_stay_dead() {
        let disk = MemoryDisk::new();
        disk.fail_commit(2, Failure::AfterDurable);
        let mut store = disk.open();
        store.commit(&first(b"a")).unwrap();
        let next = Append { after: 1, ..first(b"b")[0].clone() };
        assert!(store.commit(&[next]).unwrap_err().is_disk_full());
        assert_eq!(disk.commits(), 1);
        let _newer = disk.open();
        assert!(matches!(store.heads(), Err(StoreError::Closed)));
    }
}
