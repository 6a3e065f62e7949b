//! Owns the open database: its tables, how rows get into them durably, and how they are read and checked.
//!
//! Refuses to hand out a row that does not pass its checks. What panics in sled while it reads is damage of what was being
//! read, so reads of one journal run under `catch_unwind`.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::sled::transaction::{ConflictableTransactionError, TransactionError, Transactional as _};
use ::sled::{Db, Mode, Tree};
use rollout_core::{RolloutId, Seq};
use serde::de::DeserializeOwned;

use super::super::chain::Walk;
use super::super::codec::{self, RowKind};
use super::super::rows::{self, JournalV1, Row, Table};
use super::super::{Damage, Entry, Hash, Head, IdempotencyRow, Quarantined, StoreError};

/// The open database: its tables and the file behind them.
#[derive(Debug)]
pub(super) struct Tables {
    trees: Vec<Tree>,
    /// Our own handle, because sled's flush does not reach the disk.
    file: File,
    db: Db,
}

/// Called with each entry of a journal and its hash, in order.
pub(super) type Visit<'a> = dyn FnMut(Entry, Hash) -> ControlFlow<StoreError> + 'a;

/// Whose head it is, and what it says or what is wrong with it.
pub(super) type HeadRow = (RolloutId, Result<Head, StoreError>);

impl Tables {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = ::sled::Config::new()
            .path(dir)
            .mode(Mode::LowSpace)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(SLED_FLUSH_EVERY_MS))
            .use_compression(false)
            .open()
            .map_err(fault("open the database"))?;
        let trees: Result<Vec<Tree>, _> =
            Table::ALL.iter().map(|table| db.open_tree(table.name())).collect();
        let trees = trees.map_err(fault("open the tables"))?;
        let file = File::open(dir.join("db")).map_err(StoreError::io("open the database file"))?;
        let conf =
            File::open(dir.join("conf")).map_err(StoreError::io("open the database settings"))?;
        conf.sync_all().map_err(StoreError::io("sync the database settings"))?;
        Ok(Self { trees, file, db })
    }

    fn tree(&self, table: Table) -> &Tree {
        &self.trees[table.index()]
    }

    pub(super) fn are_empty(&self) -> bool {
        self.trees.iter().all(Tree::is_empty)
    }

    /// One transaction, on disk when this returns `Ok`.
    pub(super) fn write_durably(&self, rows: &[Row]) -> Result<(), StoreError> {
        let written = self.trees[..].transaction(|views| {
            for row in rows {
                let before = views[row.table.index()].insert(&row.key[..], &row.value[..])?;
                if let (Some(rollout), Some(_)) = (row.entry_of, before) {
                    let seq = rows::seq_of_journal_key(&row.key).map_or(0, Seq::get);
                    let damaged = StoreError::Damaged { rollout, seq, what: Damage::BeyondHead };
                    return Err(ConflictableTransactionError::Abort(damaged));
                }
            }
            Ok(())
        });
        written.map_err(|error| match error {
            TransactionError::Abort(damaged) => damaged,
            TransactionError::Storage(error) => fault("write to the journal")(error),
        })?;
        self.flush_and_sync()
    }

    pub(super) fn flush_and_sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(fault("flush the journal"))?;
        self.file.sync_data().map_err(StoreError::io("sync the journal"))
    }

    /// A row that describes the store.
    pub(super) fn meta<T: DeserializeOwned>(
        &self,
        key: &'static [u8],
        kind: RowKind,
    ) -> Result<Option<T>, StoreError> {
        let Some(row) =
            self.tree(Table::Meta).get(key).map_err(fault("read the store's own rows"))?
        else {
            return Ok(None);
        };
        codec::unseal(rows::place(Table::Meta, key), kind, &row)
            .map(Some)
            .map_err(|error| StoreError::misread("a row that describes the store", error))
    }

    /// Every head.
    pub(super) fn heads(&self) -> Result<Vec<HeadRow>, StoreError> {
        let mut heads = Vec::new();
        for row in self.tree(Table::Heads) {
            let (key, value) = row.map_err(fault("read the heads"))?;
            let Some(rollout) = rows::rollout_of_head_key(&key) else {
                return Err(StoreError::unreadable("a head has a key that names no rollout"));
            };
            let undecodable = StoreError::Damaged { rollout, seq: 0, what: Damage::Undecodable };
            let head = rows::unseal_head(rollout, &value)
                .map_err(|error| StoreError::damaged_row(rollout, 0, error))
                .and_then(|head| head.ok_or(undecodable));
            heads.push((rollout, head));
        }
        Ok(heads)
    }

    /// Every rollout that has entries, found without reading them.
    pub(super) fn journals(&self) -> Result<Vec<RolloutId>, StoreError> {
        let mut found: Vec<RolloutId> = Vec::new();
        let mut from = Vec::new();
        let tree = self.tree(Table::Journal);
        while let Some(row) = tree.range(from..).next() {
            let (key, _) = row.map_err(fault("read the journal"))?;
            let Some(rollout) = rows::rollout_of_journal_key(&key) else {
                return Err(StoreError::unreadable("an entry has a key that names no rollout"));
            };
            found.push(rollout);
            from = rows::journal_key(rollout, u64::MAX).to_vec();
            from.push(0);
        }
        Ok(found)
    }

    /// Reads the journal of `head` from `from` on, checking each entry's checksum, place and chain, up to the head.
    pub(super) fn walk(
        &self,
        head: &Head,
        from: Seq,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(*head, from);
        self.step_through(head.rollout, from, u64::MAX, &mut walk, visit)?;
        walk.finish()
    }

    /// Reads at most `max` entries of the journal of `head` from `from` on, each checked as by `walk`; the end of the journal
    /// is checked by whoever reads up to it.
    pub(super) fn walk_page(
        &self,
        head: &Head,
        from: Seq,
        max: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let behind = from.get().saturating_add(u64::try_from(max).unwrap_or(u64::MAX));
        let last = behind.saturating_sub(1);
        if last < from.get() {
            return Ok(());
        }
        if last >= head.seq.get() {
            return self.walk(head, from, visit);
        }
        let mut walk = Walk::new(*head, from);
        self.step_through(head.rollout, from, last, &mut walk, visit)?;
        walk.has_passed(last)
    }

    /// Reads as many entries of a journal as are sound and in order, whatever its head says; why it ended before the end,
    /// if it did.
    pub(super) fn walk_sound(
        &self,
        rollout: RolloutId,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let last = Seq::new(u64::MAX).unwrap_or(Seq::FIRST);
        let standing = super::super::Standing::Live;
        let endless = Head { rollout, seq: last, hash: [0; 32], standing };
        let mut walk = Walk::new(endless, Seq::FIRST);
        self.step_through(rollout, Seq::FIRST, u64::MAX, &mut walk, visit)
    }

    fn step_through(
        &self,
        rollout: RolloutId,
        from: Seq,
        last: u64,
        walk: &mut Walk,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut next = from;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let range = rows::journal_key(rollout, from.get())..=rows::journal_key(rollout, last);
            for row in self.tree(Table::Journal).range(range) {
                let (key, value) = row.map_err(|error| page_fault(rollout, next, error))?;
                let seq = rows::seq_of_journal_key(&key).unwrap_or(next);
                walk.expect(seq)?;
                let place = rows::place(Table::Journal, &key);
                let row: JournalV1 = codec::unseal(place, RowKind::Journal, &value)
                    .map_err(|error| StoreError::damaged_row(rollout, seq.get(), error))?;
                let payload = match row.parts {
                    0 => row.inline,
                    parts => self.joined(rollout, seq, parts)?,
                };
                let hash = walk.step(&row.previous, &payload)?;
                next = seq.next();
                if let ControlFlow::Break(error) = visit(Entry { seq, payload }, hash) {
                    return Err(error);
                }
            }
            Ok(())
        }));
        // A panic while reading: the page is not what sled wrote.
        let page = || StoreError::Damaged { rollout, seq: next.get(), what: Damage::Page };
        stepped.unwrap_or_else(|_| Err(page()))
    }

    fn joined(&self, rollout: RolloutId, seq: Seq, parts: u16) -> Result<Vec<u8>, StoreError> {
        let mut payload = Vec::with_capacity(usize::from(parts) * rows::PART_BYTES);
        for part in 0..parts {
            let key = rows::part_key(rollout, seq, part);
            let row = self
                .tree(Table::Parts)
                .get(key)
                .map_err(|error| page_fault(rollout, seq, error))?
                .ok_or(StoreError::Damaged {
                    rollout,
                    seq: seq.get(),
                    what: Damage::PartMissing,
                })?;
            let bytes = codec::unseal_bytes(rows::place(Table::Parts, &key), RowKind::Part, &row)
                .map_err(|error| StoreError::damaged_row(rollout, seq.get(), error))?;
            payload.extend_from_slice(bytes);
        }
        Ok(payload)
    }

    pub(super) fn has_key(&self, key: &str) -> Result<bool, StoreError> {
        self.tree(Table::Idempotency).contains_key(key).map_err(fault("look up an idempotency key"))
    }

    pub(super) fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        let tree = self.tree(Table::Idempotency);
        let row = tree.get(key).map_err(fault("look up an idempotency key"))?;
        row.map(|row| idempotency_row(key, &row)).transpose()
    }

    /// Every idempotency row, or what is wrong with it.
    pub(super) fn idempotency_rows(&self) -> Vec<Result<IdempotencyRow, StoreError>> {
        let read = |row: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
            let (key, value) = row.map_err(fault("read the idempotency keys"))?;
            let key = str::from_utf8(&key).map_err(|_| {
                StoreError::unreadable("an idempotency key is not text, so its row is damaged")
            })?;
            idempotency_row(key, &value)
        };
        let mut rows = Vec::new();
        let all = catch_unwind(AssertUnwindSafe(|| {
            for row in self.tree(Table::Idempotency) {
                let is_broken = row.is_err();
                rows.push(read(row));
                if is_broken {
                    // The iterator may come back to the same page for ever.
                    return;
                }
            }
        }));
        if all.is_err() {
            rows.push(Err(StoreError::unreadable("the table of idempotency keys cannot be read")));
        }
        rows
    }

    /// Rollouts that were set aside.
    pub(super) fn asides(&self) -> Result<Vec<Quarantined>, StoreError> {
        let mut asides = Vec::new();
        for row in self.tree(Table::Meta).scan_prefix(rows::ASIDE_PREFIX) {
            let (key, value) = row.map_err(fault("read the list of quarantined rollouts"))?;
            let what = "the row of a quarantined rollout";
            let aside = rows::unseal_aside(&key, &value)
                .map_err(|error| StoreError::misread(what, error))?
                .ok_or_else(|| StoreError::unreadable(format!("{what} names no rollout")))?;
            asides.push(aside);
        }
        Ok(asides)
    }
}

fn idempotency_row(key: &str, row: &[u8]) -> Result<IdempotencyRow, StoreError> {
    rows::unseal_idempotency(key, row)
        .map_err(|error| StoreError::misread("the row of an idempotency key", error))?
        .ok_or_else(|| StoreError::unreadable("an idempotency key names no rollout"))
}

/// Says what was being done when sled failed; for `map_err`.
fn fault(doing: &'static str) -> impl Fn(::sled::Error) -> StoreError {
    move |error| {
        if !is_damage(&error) {
            return StoreError::io(doing)(as_the_system_said(io::Error::from(error)));
        }
        let what = format!("the database is damaged (to {doing})");
        StoreError::Unreadable { what, source: Some(Arc::new(io::Error::from(error))) }
    }
}

/// sled repeats an error of the system as a text for programmers, `Os { code: 28, kind: …`; people get the system's own words.
fn as_the_system_said(error: io::Error) -> io::Error {
    let text = error.get_ref().map(ToString::to_string).unwrap_or_default();
    let code = text.split_once("Os { code: ").and_then(|(_, rest)| rest.split_once(','));
    let code = code.and_then(|(code, _)| code.parse().ok());
    code.map_or(error, io::Error::from_raw_os_error)
}

fn page_fault(rollout: RolloutId, seq: Seq, error: ::sled::Error) -> StoreError {
    if is_damage(&error) {
        return StoreError::Damaged { rollout, seq: seq.get(), what: Damage::Page };
    }
    fault("read the journal")(error)
}

fn is_damage(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_))
}

/// Fixed when the database is created. Pages beyond a quarter of it would become blobs.
const SEGMENT_BYTES: usize = 2 << 20;
/// sled's default is 1 GiB; the working set is a few MiB.
const CACHE_BYTES: u64 = 32 << 20;
/// Only serves sled's own cleaning: what is acknowledged was flushed before.
const SLED_FLUSH_EVERY_MS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_sled_repeats_is_said_as_the_system_said_it() {
        let full = || ::sled::Error::Io(io::Error::from_raw_os_error(28));
        for error in [full(), full().clone(), full().clone().clone()] {
            let error = fault("flush the journal")(error);
            let words = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(words.as_deref(), Some("No space left on device (os error 28)"));
            assert!(error.is_disk_full());
        }
        let other = fault("flush the journal")(::sled::Error::Io(io::Error::other("gone")));
        assert_eq!(std::error::Error::source(&other).map(ToString::to_string), Some("gone".into()));
    }
}
