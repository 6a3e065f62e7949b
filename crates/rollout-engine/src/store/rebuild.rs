//! Owns a store that is built anew beside the one it will replace: from the sound part of a damaged one, or from a backup.
//!
//! Everything goes through `commit`, so every hash is computed again; a journal whose last hash is not the one that was
//! promised is refused. Nothing counts before `replace.rs` has put the files in their place.

use rollout_core::RolloutId;

use super::directory::Directory;
use super::{
    Age, Append, Damage, Head, IdempotencyRow, OpenOptions, Quarantined, SledStore, Standing,
    Store as _, StoreError, replace,
};

/// A store in the making.
pub(super) struct Rebuild {
    store: SledStore,
    /// The journal that is being written, and how many entries of it are committed.
    current: Option<(RolloutId, u64)>,
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
}

impl Rebuild {
    /// Begins with an empty store that goes on counting where `age` ended.
    pub(super) fn begin(directory: &Directory, age: Age) -> Result<Self, StoreError> {
        let place = replace::fresh_place(directory)?;
        let made = Directory::claim(&place)?;
        let (store, _) = SledStore::take(made, OpenOptions::default(), age.incarnation)?;
        Ok(Self { store, current: None, waiting: Vec::new(), waiting_bytes: 0 })
    }

    /// Adds the next entry of a journal. The entries of one rollout come together, and then its head.
    pub(super) fn entry(&mut self, rollout: RolloutId, payload: Vec<u8>) -> Result<(), StoreError> {
        if self.current.is_none_or(|(of, _)| of != rollout) {
            self.current = Some((rollout, 0));
        }
        self.waiting_bytes += payload.len();
        self.waiting.push(payload);
        match self.waiting_bytes >= COMMIT_BYTES_MAX {
            true => self.commit(rollout, Standing::Live),
            false => Ok(()),
        }
    }

    /// Ends the journal of `head`, and compares: it must be the one that the head covers.
    pub(super) fn head(&mut self, head: &Head) -> Result<(), StoreError> {
        self.commit(head.rollout, head.standing)?;
        self.current = None;
        let built = self.store.heads()?.into_iter().find(|built| built.rollout == head.rollout);
        match built == Some(*head) {
            true => Ok(()),
            false => {
                let (rollout, seq) = (head.rollout, head.seq.get());
                Err(StoreError::Damaged { rollout, seq, what: Damage::HeadMismatch })
            }
        }
    }

    /// The store as it is built so far, between two journals.
    pub(super) fn store(&mut self) -> &mut SledStore {
        &mut self.store
    }

    /// Adds the rows that belong to no journal, and closes the store; it is on disk when this returns.
    pub(super) fn finish(
        mut self,
        keys: &[IdempotencyRow],
        asides: &[Quarantined],
    ) -> Result<(), StoreError> {
        self.store.adopt(keys, asides)?;
        self.store.close()
    }

    fn commit(&mut self, rollout: RolloutId, standing: Standing) -> Result<(), StoreError> {
        let after = self.current.map_or(0, |(_, committed)| committed);
        let entries = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.current = Some((rollout, after + entries.len() as u64));
        self.store.commit(&[Append { rollout, after, entries, standing, idempotency: None }])
    }
}

/// Payload after which a commit is made, so that no transaction outgrows memory.
const COMMIT_BYTES_MAX: usize = 1 << 20;
