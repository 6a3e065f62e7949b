//! Owns what the store has acknowledged: where each journal ended, with the hash that covers all of it, and what the commit under
//! way makes of it. By this the engine tells its own store, opened again, from another one in the same place.
//!
//! Refuses a store by its content alone: an older copy and a stranger with longer journals are both not ours.

use std::collections::BTreeMap;

use rollout_core::{RolloutId, Seq};

use crate::store::{Append, Head, StoreError, WriterHandle, hash_at, heads_after};

/// Where every journal ended when something was acknowledged last, ended rollouts included.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged {
    heads: BTreeMap<RolloutId, Head>,
    /// The heads that the commit under way moves, as they stand after it.
    attempted: BTreeMap<RolloutId, Head>,
}

/// What became of a commit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Landed,
    Lost,
    /// The store holds something else than what is known here.
    Unexpected,
}

impl Acknowledged {
    /// What a store holds that was found sound.
    pub(super) fn of(heads: Vec<Head>) -> Self {
        let heads = heads.into_iter().map(|head| (head.rollout, head)).collect();
        Self { heads, attempted: BTreeMap::new() }
    }

    /// Notes a batch that is about to be committed.
    ///
    /// # Errors
    ///
    /// As the store's own: a batch that does not follow what is there.
    pub(super) fn attempt(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        self.attempted = heads_after(&self.heads, batch)?;
        Ok(())
    }

    /// The batch is durable.
    pub(super) fn accept(&mut self) {
        self.heads.append(&mut self.attempted);
    }

    /// Where the journal of `id` ended.
    pub(super) fn end(&self, id: RolloutId) -> Option<Seq> {
        self.heads.get(&id).map(|head| head.seq)
    }

    /// What became of the batch, going by the heads of the store after it was opened again.
    pub(super) fn fate(&self, found: &[Head]) -> Fate {
        let found: BTreeMap<_, _> = found.iter().map(|head| (head.rollout, *head)).collect();
        if found == self.heads {
            return Fate::Lost;
        }
        let mut after = self.heads.clone();
        after.extend(self.attempted.iter().map(|(id, head)| (*id, *head)));
        if found == after { Fate::Landed } else { Fate::Unexpected }
    }

    /// Refuses a store whose journals are not those that were acknowledged, or continue them otherwise.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotOurs`], naming the first rollout; and what reading the store says.
    pub(super) async fn check(
        &self,
        store: &WriterHandle,
        found: &[Head],
    ) -> Result<(), StoreError> {
        let found: BTreeMap<_, _> = found.iter().map(|head| (head.rollout, *head)).collect();
        for (id, ours) in &self.heads {
            let hash = match found.get(id) {
                Some(head) if head.seq == ours.seq => Some(head.hash),
                Some(head) if head.seq > ours.seq => {
                    hash_at(*id, ours.seq, &store.journal(*id, Seq::FIRST).await?)
                }
                Some(_) | None => None,
            };
            if hash != Some(ours.hash) {
                return Err(StoreError::NotOurs { rollout: *id, seq: ours.seq.get() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryDisk;
    use crate::store::{Standing, Store as _, Writer};

    fn append(rollout: u64, after: u64, payload: &[u8], standing: Standing) -> Append {
        let (rollout, entries) = (RolloutId::new(rollout).unwrap(), vec![payload.to_vec()]);
        Append { rollout, after, entries, standing, idempotency: None }
    }

    fn disk(batches: &[Append]) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let mut store = disk.open();
        batches.iter().for_each(|append| store.commit(std::slice::from_ref(append)).unwrap());
        disk
    }

    async fn checked(ours: &Acknowledged, other: &MemoryDisk) -> Result<(), StoreError> {
        let (writer, store) = Writer::spawn(Box::new(other.open())).unwrap();
        let checked = ours.check(&store, &store.heads().await.unwrap()).await;
        writer.close().await.unwrap();
        checked
    }

    /// An ended rollout and a live one; every other store is refused by the first entry that it does not have as we do.
    #[tokio::test]
    async fn only_a_store_that_continues_ours_is_ours() {
        use Standing::{Ended, Live};
        let own = [append(1, 0, b"a", Ended), append(2, 0, b"b", Live), append(2, 1, b"c", Live)];
        let ours = Acknowledged::of(disk(&own).open().heads().unwrap());
        let more = append(2, 2, b"d", Live);
        checked(&ours, &disk(&own)).await.unwrap();
        checked(&ours, &disk(&[own.as_slice(), &[more]].concat())).await.unwrap();
        let other_end = [append(1, 0, b"x", Ended), own[1].clone(), own[2].clone()];
        let longer = [own.as_slice(), &[append(2, 2, b"d", Live)]].concat();
        let mut another = longer.clone();
        another[1] = append(2, 0, b"x", Live);
        let others = [
            (disk(&[]), "r1"),
            (disk(&own[..2]), "r2"),
            (disk(&own[1..]), "r1"),
            (disk(&other_end), "r1"),
            (disk(&another), "r2"),
        ];
        for (other, named) in others {
            let refused = checked(&ours, &other).await.unwrap_err();
            assert_eq!(refused.code(), "RO0203");
            assert!(
                refused.to_string().contains(&format!("of {named} was acknowledged")),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_fate_of_a_commit_is_told_by_what_it_was_to_hold() {
        use Standing::Live;
        let own = [append(1, 0, b"a", Live)];
        let mut ours = Acknowledged::of(disk(&own).open().heads().unwrap());
        ours.attempt(&[append(1, 1, b"b", Live)]).unwrap();
        let found =
            |last: &[u8]| disk(&[own[0].clone(), append(1, 1, last, Live)]).open().heads().unwrap();
        assert_eq!(ours.fate(&disk(&own).open().heads().unwrap()), Fate::Lost);
        assert_eq!(ours.fate(&found(b"b")), Fate::Landed);
        assert_eq!(ours.fate(&found(b"c")), Fate::Unexpected, "as long, and not the same");
        ours.accept();
        assert_eq!(ours.fate(&found(b"b")), Fate::Lost, "nothing is under way");
        assert_eq!(ours.end(RolloutId::FIRST), Seq::new(2));
    }
}
