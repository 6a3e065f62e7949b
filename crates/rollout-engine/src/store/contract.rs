//! Owns what every store must do, as cases that run against any implementation; nothing here knows which.
//!
//! A new store is trusted once it passes all of them. What only one kind of store can suffer (damage on disk, power
//! cuts) is tested next to that store.

use rollout_core::{RolloutId, Seq};

use super::{
    Append, Entry, IDEMPOTENCY_KEY_BYTES_MAX, IdempotencyRow, RECORD_BYTES_MAX, Standing, Store,
    StoreError,
};

/// Where the stores of one case live: opening again after dropping a store finds what it committed.
pub trait Bed {
    /// The store under test.
    type Store: Store;

    /// Opens the store on this bed; the store opened before was dropped.
    fn open(&mut self) -> Self::Store;
}

/// Entries come back in order, from any position, with gapless numbers.
pub fn appends_read_back_in_order(bed: &mut impl Bed) {
    let mut store = bed.open();
    commit(&mut store, &[append(1, 0, &["a", "b"])]);
    commit(&mut store, &[append(1, 2, &["c"])]);
    let all = [entry(1, "a"), entry(2, "b"), entry(3, "c")];
    assert_eq!(journal(&store, 1, 1), all);
    assert_eq!(journal(&store, 1, 3), all[2..]);
    assert_eq!(journal(&store, 1, 4), []);
    assert_eq!(journal(&store, 2, 1), []);
    commit(&mut store, &[]);
    assert_eq!(ends(&store), [(1, 3)]);
}

/// A page is a part of the journal, as long as was asked for and no longer, wherever it begins.
pub fn pages_are_parts_of_the_journal(bed: &mut impl Bed) {
    let mut store = bed.open();
    commit(&mut store, &[append(1, 0, &["a", "b", "c"]), append(2, 0, &["z"])]);
    commit(&mut store, &[append(1, 3, &["d", "e"])]);
    let all = journal(&store, 1, 1);
    for _ in 0..2 {
        for from in 1..=7_u64 {
            let rest = all.get(from as usize - 1..).unwrap_or_default();
            for max in [0, 1, 2, 4, 5, 6, usize::MAX] {
                let page = store.page(id(1), at(from), max).expect("a sound journal reads back");
                assert_eq!(page, rest[..max.min(rest.len())], "{max} from {from} on");
            }
        }
        assert_eq!(store.page(id(3), at(1), 9).expect("nobody is no damage"), []);
        drop(store);
        store = bed.open();
    }
}

/// A stale or premature `after` is refused, names where the journal ends, and leaves the store usable.
pub fn stale_appends_conflict(bed: &mut impl Bed) {
    let mut store = bed.open();
    commit(&mut store, &[append(1, 0, &["a"])]);
    for (rollout, after, end) in [(1, 0, 1), (1, 2, 1), (2, 1, 0)] {
        let refused = store.commit(&[append(rollout, after, &["x"])]);
        match refused {
            Err(StoreError::Conflict { rollout: of, after: said, seq }) => {
                assert_eq!((of.get(), said, seq), (rollout, after, end));
            }
            other => panic!("expected a conflict, got {other:?}"),
        }
    }
    commit(&mut store, &[append(1, 1, &["b"])]);
    assert_eq!(journal(&store, 1, 1), [entry(1, "a"), entry(2, "b")]);
}

/// One bad append keeps the whole batch out, wherever it stands in it.
pub fn a_batch_is_applied_whole_or_not_at_all(bed: &mut impl Bed) {
    let mut store = bed.open();
    commit(&mut store, &[append(1, 0, &["a"])]);
    let before = heads(&store);
    let good = Append { idempotency: Some(key("k", 2)), ..append(2, 0, &["b"]) };
    let stale = append(1, 7, &["x"]);
    for batch in [[good.clone(), stale.clone()], [stale, good.clone()]] {
        assert!(store.commit(&batch).is_err_and(|error| error.is_refusal()));
        assert_eq!(heads(&store), before);
        assert_eq!(journal(&store, 2, 1), []);
        assert_eq!(lookup(&store, "k"), None);
    }
    commit(&mut store, &[good, append(1, 1, &["c"]), append(1, 2, &["d"])]);
    assert_eq!(ends(&store), [(1, 3), (2, 1)]);
}

/// Rollouts keep their own numbering and come back in id order, beyond one byte of id.
pub fn rollouts_are_apart_and_in_order(bed: &mut impl Bed) {
    let mut store = bed.open();
    for rollout in [300, 1, 256, 255] {
        commit(&mut store, &[append(rollout, 0, &["a", "b"])]);
    }
    assert_eq!(ends(&store), [(1, 2), (255, 2), (256, 2), (300, 2)]);
    assert_eq!(journal(&store, 255, 1), [entry(1, "a"), entry(2, "b")]);
    let hashes: Vec<_> = heads(&store).iter().map(|head| head.1).collect();
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "the hash covers the rollout");
}

/// The standing of the latest append is kept, also by an append without entries.
pub fn standing_follows_the_latest_append(bed: &mut impl Bed) {
    let mut store = bed.open();
    commit(&mut store, &[append(1, 0, &["a"]), append(2, 0, &["a"])]);
    commit(&mut store, &[Append { standing: Standing::Ended, ..append(1, 1, &["z"]) }]);
    commit(&mut store, &[Append { standing: Standing::Ended, ..append(2, 1, &[]) }]);
    drop(store);
    let store = bed.open();
    let standings: Vec<_> = heads_of(&store).iter().map(|head| head.standing).collect();
    assert_eq!(standings, [Standing::Ended, Standing::Ended]);
    assert_eq!(ends(&store), [(1, 2), (2, 1)]);
}

/// Payloads of every size up to the limit come back byte for byte, among small ones, also after reopening.
pub fn large_payloads_come_back_whole(bed: &mut impl Bed) {
    let sizes = [0, 1, 7 * 1024, 7 * 1024 + 1, 14 * 1024, 100 * 1024, RECORD_BYTES_MAX];
    let payloads: Vec<Vec<u8>> =
        sizes.iter().map(|size| (0..*size).map(|at| (at * 31 / 7) as u8).collect()).collect();
    let mut store = bed.open();
    commit(&mut store, &[Append { entries: payloads.clone(), ..append(1, 0, &[]) }]);
    for _ in 0..2 {
        let read: Vec<_> = journal(&store, 1, 1).into_iter().map(|entry| entry.payload).collect();
        assert!(
            read == payloads,
            "a payload changed; sizes {:?}",
            read.iter().map(Vec::len).collect::<Vec<_>>()
        );
        drop(store);
        store = bed.open();
    }
}

/// What can never be stored is refused without harm.
pub fn unacceptable_appends_are_refused(bed: &mut impl Bed) {
    let mut store = bed.open();
    let too_large = Append { entries: vec![vec![0; RECORD_BYTES_MAX + 1]], ..append(1, 0, &[]) };
    let no_entry = append(1, 0, &[]);
    let no_key = Append { idempotency: Some(key("", 1)), ..append(1, 0, &["a"]) };
    let long = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
    let long_key = Append { idempotency: Some(key(&long, 1)), ..append(1, 0, &["a"]) };
    for unacceptable in [too_large, no_entry, no_key, long_key] {
        let refused = store.commit(std::slice::from_ref(&unacceptable));
        assert!(matches!(refused, Err(StoreError::Unacceptable { .. })), "{refused:?}");
        assert_eq!(ends(&store), []);
    }
    let longest = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX);
    commit(&mut store, &[Append { idempotency: Some(key(&longest, 1)), ..append(1, 0, &["a"]) }]);
    assert_eq!(lookup(&store, &longest), Some(key(&longest, 1)));
}

/// An idempotency row appears with its batch, once, and survives reopening.
pub fn idempotency_rows_come_with_their_batch(bed: &mut impl Bed) {
    let mut store = bed.open();
    let keyed = Append { idempotency: Some(key("k", 1)), ..append(1, 0, &["a"]) };
    assert_eq!(lookup(&store, "k"), None);
    commit(&mut store, &[keyed]);
    let answered = Append { idempotency: Some(key("no-op", 1)), ..append(1, 1, &[]) };
    commit(&mut store, &[answered]);
    for _ in 0..2 {
        assert_eq!(lookup(&store, "k"), Some(key("k", 1)));
        assert_eq!(lookup(&store, "no-op"), Some(key("no-op", 1)));
        let again = Append { idempotency: Some(key("k", 1)), ..append(2, 0, &["b"]) };
        assert!(matches!(store.commit(&[again]), Err(StoreError::KeyTaken { .. })));
        let twice =
            |rollout| Append { idempotency: Some(key("t", 3)), ..append(rollout, 0, &["c"]) };
        let refused = store.commit(&[twice(3), twice(4)]);
        assert!(matches!(refused, Err(StoreError::KeyTaken { .. })), "{refused:?}");
        assert_eq!(ends(&store), [(1, 1)]);
        drop(store);
        store = bed.open();
    }
}

/// Every idempotency row is listed in the order of the keys, as a backup needs it; no store sets rollouts aside by itself.
pub fn all_idempotency_rows_are_listed(bed: &mut impl Bed) {
    let mut store = bed.open();
    for (name, rollout) in [("k2", 1), ("k1", 2), ("k10", 3)] {
        let append = Append { idempotency: Some(key(name, rollout)), ..append(rollout, 0, &["a"]) };
        commit(&mut store, &[append]);
    }
    for _ in 0..2 {
        let rows = store.idempotency_rows().expect("sound rows are read");
        assert_eq!(rows, [key("k1", 2), key("k10", 3), key("k2", 1)]);
        assert_eq!(store.quarantined(), []);
        drop(store);
        store = bed.open();
    }
}

/// Heads with their hashes, and entries, are the same after closing, and after dropping without closing; then the
/// journal goes on where it ended.
pub fn reopening_finds_what_was_committed(bed: &mut impl Bed) {
    let mut store = bed.open();
    for round in 0..4 {
        commit(&mut store, &[append(1, round * 2, &["a", "b"]), append(round + 2, 0, &["c"])]);
        let before = (heads(&store), journal(&store, 1, 1));
        if round % 2 == 0 {
            store.close().expect("an idle store closes");
            store.close().expect("closing twice is harmless");
            assert!(matches!(store.commit(&[append(9, 0, &["x"])]), Err(StoreError::Closed)));
        }
        drop(store);
        store = bed.open();
        assert_eq!((heads(&store), journal(&store, 1, 1)), before);
    }
}

/// The same history gives the same hashes on every store and every machine.
pub fn hashes_depend_on_the_history_alone(bed: &mut impl Bed) {
    let mut store = bed.open();
    commit(&mut store, &[append(7, 0, &["first", "second"])]);
    let head = heads_of(&store)[0].hash;
    let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
    // sha256(sha256(zeros[32] · 7 · 1 · "first") · 7 · 2 · "second"), numbers as u64 big-endian.
    assert_eq!(hex, "462a1212cdda3f12cae5523e7ef68c4bb29cdf82554d0a1638aea4a64aea9369");
}

fn commit(store: &mut impl Store, batch: &[Append]) {
    store.commit(batch).expect("a batch that fits is committed");
}

fn append(rollout: u64, after: u64, entries: &[&str]) -> Append {
    let entries = entries.iter().map(|entry| entry.as_bytes().to_vec()).collect();
    Append { rollout: id(rollout), after, entries, standing: Standing::Live, idempotency: None }
}

fn entry(seq: u64, payload: &str) -> Entry {
    Entry { seq: at(seq), payload: payload.as_bytes().to_vec() }
}

fn key(key: &str, rollout: u64) -> IdempotencyRow {
    IdempotencyRow {
        key: key.to_owned(),
        rollout: id(rollout),
        request_digest: [rollout as u8; 32],
    }
}

fn journal(store: &impl Store, rollout: u64, from: u64) -> Vec<Entry> {
    store.journal(id(rollout), at(from)).expect("a sound journal reads back")
}

fn heads_of(store: &impl Store) -> Vec<super::Head> {
    store.heads().expect("sound heads read back")
}

fn heads(store: &impl Store) -> Vec<(u64, super::Hash)> {
    heads_of(store).iter().map(|head| (head.rollout.get(), head.hash)).collect()
}

fn ends(store: &impl Store) -> Vec<(u64, u64)> {
    heads_of(store).iter().map(|head| (head.rollout.get(), head.seq.get())).collect()
}

fn lookup(store: &impl Store, key: &str) -> Option<IdempotencyRow> {
    store.idempotency(key).expect("a sound row reads back")
}

fn id(number: u64) -> RolloutId {
    RolloutId::new(number).expect("cases use numbers from 1 on")
}

fn at(position: u64) -> Seq {
    Seq::new(position).expect("cases use positions from 1 on")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::memory::{MemoryDisk, MemoryStore};
    use super::super::{OpenOptions, SledStore};
    use super::Bed;

    impl Bed for MemoryDisk {
        type Store = MemoryStore;

        fn open(&mut self) -> MemoryStore {
            Self::open(self)
        }
    }

    impl Bed for TempDir {
        type Store = SledStore;

        fn open(&mut self) -> SledStore {
            SledStore::open(self.path(), OpenOptions::default()).unwrap().0
        }
    }

    macro_rules! contract {
        ($store:ident on $bed:expr; $($case:ident)*) => {
            mod $store {
                $(#[test]
                fn $case() {
                    super::super::$case(&mut $bed);
                })*
            }
        };
        ($($case:ident)*) => {
            contract!(memory on crate::store::memory::MemoryDisk::new(); $($case)*);
            contract!(sled on tempfile::tempdir().unwrap(); $($case)*);
        };
    }

    contract! {
        appends_read_back_in_order
        pages_are_parts_of_the_journal
        stale_appends_conflict
        a_batch_is_applied_whole_or_not_at_all
        rollouts_are_apart_and_in_order
        standing_follows_the_latest_append
        large_payloads_come_back_whole
        unacceptable_appends_are_refused
        idempotency_rows_come_with_their_batch
        reopening_finds_what_was_committed
        all_idempotency_rows_are_listed
        hashes_depend_on_the_history_alone
    }
}
