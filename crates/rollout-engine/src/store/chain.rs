//! Owns the rules that both stores share: what a batch may append, and the hash chain that binds the entries.
//!
//! An entry's hash is `sha256(hash of the one before · rollout · seq · payload)`, so the head's hash covers the whole
//! journal. Refuses a batch as a whole: [`stage`] judges every append before anything is written.
//!
//! Invariant: a [`Walk`] that finishes has seen exactly the entries that were committed, in order, without a gap.

use std::collections::BTreeMap;

use rollout_core::{RolloutId, Seq};
use sha2::{Digest as _, Sha256};

use super::codec::RECORD_BYTES_MAX;
use super::{
    Append, Damage, Entry, Hash, Head, IDEMPOTENCY_KEY_BYTES_MAX, IdempotencyRow, StoreError,
};

/// A batch that was judged and is ready to be written.
#[derive(Debug, Default)]
pub(super) struct Staged<'a> {
    /// The new entries in order.
    pub(super) entries: Vec<StagedEntry<'a>>,
    /// The heads that the batch moves, each as it stands after the batch.
    pub(super) heads: BTreeMap<RolloutId, Head>,
    /// The idempotency rows by key.
    pub(super) keys: BTreeMap<&'a str, &'a IdempotencyRow>,
}

/// One new entry.
#[derive(Debug)]
pub(super) struct StagedEntry<'a> {
    pub(super) rollout: RolloutId,
    pub(super) seq: Seq,
    pub(super) previous: Hash,
    pub(super) payload: &'a [u8],
}

/// Judges `batch` against the current `heads`; `is_taken` tells whether an idempotency key is in use.
pub(super) fn stage<'a>(
    heads: &BTreeMap<RolloutId, Head>,
    is_taken: impl Fn(&str) -> Result<bool, StoreError>,
    batch: &'a [Append],
) -> Result<Staged<'a>, StoreError> {
    let mut staged = Staged::default();
    for append in batch {
        stage_entries(heads, append, &mut staged)?;
        let Some(row) = &append.idempotency else { continue };
        if row.key.is_empty() || row.key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            let what = "an idempotency key has 1 to 256 bytes";
            return Err(StoreError::Unacceptable { rollout: append.rollout, what });
        }
        if is_taken(&row.key)? || staged.keys.insert(&row.key, row).is_some() {
            return Err(StoreError::KeyTaken { key: row.key.clone() });
        }
    }
    Ok(staged)
}

fn stage_entries<'a>(
    heads: &BTreeMap<RolloutId, Head>,
    append: &'a Append,
    staged: &mut Staged<'a>,
) -> Result<(), StoreError> {
    let rollout = append.rollout;
    let head = staged.heads.get(&rollout).or_else(|| heads.get(&rollout));
    let (end, mut hash) = head.map_or((0, GENESIS), |head| (head.seq.get(), head.hash));
    if append.after != end {
        return Err(StoreError::Conflict { rollout, after: append.after, seq: end });
    }
    let mut last = Seq::new(end);
    for payload in &append.entries {
        if payload.len() > RECORD_BYTES_MAX {
            let what = "an entry is larger than the record limit";
            return Err(StoreError::Unacceptable { rollout, what });
        }
        let seq = last.map_or(Seq::FIRST, Seq::next);
        staged.entries.push(StagedEntry { rollout, seq, previous: hash, payload });
        hash = entry_hash(&hash, rollout, seq, payload);
        last = Some(seq);
    }
    let Some(seq) = last else {
        return Err(StoreError::Unacceptable { rollout, what: "a new rollout needs an entry" });
    };
    staged.heads.insert(rollout, Head { rollout, seq, hash, standing: append.standing });
    Ok(())
}

/// The heads that `batch` moves, as they stand after it.
///
/// # Errors
/// As [`stage`]; whether an idempotency key is in use is not looked at.
pub(crate) fn heads_after(
    heads: &BTreeMap<RolloutId, Head>,
    batch: &[Append],
) -> Result<BTreeMap<RolloutId, Head>, StoreError> {
    Ok(stage(heads, |_| Ok(false), batch)?.heads)
}

/// The hash of entry `seq`, from a journal that is given from its beginning; `None` where it ends before.
pub(crate) fn hash_at(rollout: RolloutId, seq: Seq, journal: &[Entry]) -> Option<Hash> {
    let mut hash = GENESIS;
    for entry in journal {
        hash = entry_hash(&hash, rollout, entry.seq, &entry.payload);
        if entry.seq == seq {
            return Some(hash);
        }
    }
    None
}

/// The running hash after a commit that moved `heads`.
pub(super) fn running_hash<'a>(before: &Hash, heads: impl Iterator<Item = &'a Head>) -> Hash {
    let mut hasher = Sha256::new_with_prefix(before);
    for head in heads {
        hasher.update(head.hash);
    }
    hasher.finalize().into()
}

/// The hash of an entry, which covers all before it.
pub(super) fn entry_hash(previous: &Hash, rollout: RolloutId, seq: Seq, payload: &[u8]) -> Hash {
    let mut hasher = Sha256::new_with_prefix(previous);
    hasher.update(rollout.get().to_be_bytes());
    hasher.update(seq.get().to_be_bytes());
    hasher.update(payload);
    hasher.finalize().into()
}

/// Follows one journal from some entry to its head and reports the first thing that does not fit.
#[derive(Debug)]
pub(super) struct Walk {
    head: Head,
    next: Seq,
    /// Hash of the entry before `next`; unknown when the walk starts in the middle.
    hash: Option<Hash>,
}

impl Walk {
    /// Starts at `from`.
    pub(super) fn new(head: Head, from: Seq) -> Self {
        let hash = (from == Seq::FIRST).then_some(GENESIS);
        Self { head, next: from, hash }
    }

    /// Whether `found` may come now; call before the entry is read any further.
    pub(super) fn expect(&self, found: Seq) -> Result<(), StoreError> {
        if found > self.head.seq {
            return Err(self.damaged(found, Damage::BeyondHead));
        }
        if found != self.next {
            return Err(self.damaged(self.next, Damage::Missing));
        }
        Ok(())
    }

    /// Takes the expected entry; its hash.
    pub(super) fn step(&mut self, previous: &Hash, payload: &[u8]) -> Result<Hash, StoreError> {
        if self.hash.is_some_and(|hash| hash != *previous) {
            return Err(self.damaged(self.next, Damage::BrokenChain));
        }
        let hash = entry_hash(previous, self.head.rollout, self.next, payload);
        self.hash = Some(hash);
        self.next = self.next.next();
        Ok(hash)
    }

    /// Whether the walk has passed the entry `last`, which stands before the head.
    pub(super) fn has_passed(&self, last: u64) -> Result<(), StoreError> {
        match self.next.get() > last {
            true => Ok(()),
            false => Err(self.damaged(self.next, Damage::Missing)),
        }
    }

    /// Whether the walk reached the head, and the head is the one that was committed.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        if self.next <= self.head.seq {
            return Err(self.damaged(self.next, Damage::Missing));
        }
        if self.hash.is_some_and(|hash| hash != self.head.hash) {
            return Err(self.damaged(self.head.seq, Damage::HeadMismatch));
        }
        Ok(())
    }

    fn damaged(&self, seq: Seq, what: Damage) -> StoreError {
        StoreError::Damaged { rollout: self.head.rollout, seq: seq.get(), what }
    }
}

/// The hash before the first entry, and before the first commit.
pub(super) const GENESIS: Hash = [0; 32];

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn append(after: u64, entries: &[&[u8]]) -> Append {
        Append {
            rollout: RolloutId::FIRST,
            after,
            entries: entries.iter().map(|entry| entry.to_vec()).collect(),
            standing: Standing::Live,
            idempotency: None,
        }
    }

    fn walk(head: Head, from: u64, rows: &[(u64, Hash, &[u8])]) -> Result<(), StoreError> {
        let mut walk = Walk::new(head, Seq::new(from).unwrap());
        for (seq, previous, payload) in rows {
            walk.expect(Seq::new(*seq).unwrap())?;
            walk.step(previous, payload)?;
        }
        walk.finish()
    }

    fn damage(result: Result<(), StoreError>) -> Option<(u64, Damage)> {
        match result {
            Err(StoreError::Damaged { seq, what, .. }) => Some((seq, what)),
            _ => None,
        }
    }

    #[test]
    fn a_walk_accepts_what_was_staged_and_nothing_else() {
        let batch = [append(0, &[b"a", b"b"]), append(2, &[b"c"])];
        let staged = stage(&BTreeMap::new(), |_| Ok(false), &batch).unwrap();
        let head = staged.heads[&RolloutId::FIRST];
        let rows: Vec<_> = staged
            .entries
            .iter()
            .map(|entry| (entry.seq.get(), entry.previous, entry.payload))
            .collect();
        assert_eq!(head.seq.get(), 3);
        walk(head, 1, &rows).unwrap();
        walk(head, 2, &rows[1..]).unwrap();
        walk(head, 4, &[]).unwrap();

        assert_eq!(damage(walk(head, 1, &rows[..2])), Some((3, Damage::Missing)));
        assert_eq!(damage(walk(head, 1, &[rows[0], rows[2]])), Some((2, Damage::Missing)));
        let forged = [rows[0], (2, rows[1].1, b"B"), rows[2]];
        assert_eq!(damage(walk(head, 1, &forged)), Some((3, Damage::BrokenChain)));
        let forged_last = [rows[0], rows[1], (3, rows[2].1, b"C")];
        assert_eq!(damage(walk(head, 1, &forged_last)), Some((3, Damage::HeadMismatch)));
        let shorter = Head { seq: Seq::new(2).unwrap(), ..head };
        assert_eq!(damage(walk(shorter, 1, &rows)), Some((3, Damage::BeyondHead)));
    }

    #[test]
    fn payloads_beyond_the_limit_and_empty_rollouts_are_unacceptable() {
        let large = vec![0; RECORD_BYTES_MAX + 1];
        for batch in [[append(0, &[large.as_slice()])], [append(0, &[])]] {
            let refused = stage(&BTreeMap::new(), |_| Ok(false), &batch);
            assert!(matches!(refused, Err(StoreError::Unacceptable { .. })), "{refused:?}");
        }
    }
}
