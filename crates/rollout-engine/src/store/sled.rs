//! Owns the journal on disk; the only file that names sled.
//!
//! sled 0.34 is engineered around, with measurements in `docs/adr/`: its `flush` is no barrier on Linux, so each commit
//! ends with `sync_data` on our own handle of its file; it never syncs `blobs/`, so rows stay below 8 KiB; a damaged
//! snapshot keeps it from opening, so snapshots are moved aside; it can lose a tail silently, so there is a witness
//! (`anchor.rs`); it may panic on damage, so opening runs under `catch_unwind`. Only one thread ever writes.
//!
//! Refuses to write to a store that it does not fully understand, and to go on after the first failed write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::sled::transaction::{ConflictableTransactionError, TransactionError, Transactional as _};
use ::sled::{Db, Mode, Tree};
use rollout_core::{RolloutId, Seq};
use serde::de::DeserializeOwned;

use super::anchor::{self, Anchor, Mark, Noted, SyncWhen};
use super::chain::{self, Walk};
use super::codec::{self, RowKind};
use super::directory::{Directory, FORMAT, Repair};
use super::error::panic_message;
use super::opening::{OpenOptions, OpenReport, Origin, Witness};
use super::rows::{self, CommitsV1, JournalV1, Row, Table};
use super::{Append, Damage, Entry, Head, IdempotencyRow, Standing, Store, StoreError};

/// The journal in one directory, held until it is dropped.
#[derive(Debug)]
pub struct SledStore {
    heads: BTreeMap<RolloutId, Head>,
    commits: CommitsV1,
    incarnation: u64,
    anchor: Anchor,
    /// Why no more commits are taken.
    stopped: Option<StoreError>,
    tables: Tables,
    /// Last, so that the lock outlives the database.
    directory: Directory,
}

impl SledStore {
    /// Opens the store in `dir`, creating it (mode 0700) if there is none.
    ///
    /// # Errors
    /// `RO0201` later format, `RO0202` damaged, `RO0203` went back in time, `RO0204` in use, `RO0205` disk. All but the
    /// last leave the journal as it was.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<(Self, OpenReport), StoreError> {
        let directory = Directory::claim(dir)?;
        let mut repairs = directory.remove_half_snapshots()?;
        let found = find(&directory, &mut repairs)?;
        directory.check_no_blobs()?;
        let witness = anchor::read(dir)?;
        if let (Some(mark), Witness::Enforce) = (&witness, options.witness) {
            mark.check(found.commits.count, &found.commits.running)?;
        }
        if witness.is_none() && found.origin == Origin::Reopened {
            repairs.push(Repair::WitnessRestarted);
        }
        let seen = witness.map_or(0, |mark| mark.incarnation).max(found.incarnation);
        let incarnation = seen + 1;
        found.tables.begin(incarnation, &found)?;
        let mark = mark_of(&found.commits, incarnation);
        let anchor = Anchor::start(dir, &mark, options.witness_sync_every)?;
        directory.sync()?;
        directory.write_format()?;

        let ended = found.heads.values().filter(|head| head.standing == Standing::Ended).count();
        let report = OpenReport {
            origin: found.origin,
            incarnation,
            commits: found.commits.count,
            live: found.heads.len() - ended,
            ended,
            repairs,
        };
        let Found { tables, heads, commits, .. } = found;
        Ok((Self { heads, commits, incarnation, anchor, stopped: None, tables, directory }, report))
    }

    fn try_commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let staged = chain::stage(&self.heads, |key| self.tables.has_key(key), batch)?;
        if staged.heads.is_empty() {
            return Ok(());
        }
        let commits = CommitsV1 {
            count: self.commits.count + 1,
            running: chain::running_hash(&self.commits.running, staged.heads.values()),
        };
        self.tables.write_durably(&rows::of_batch(&staged, &commits))?;
        self.heads.extend(staged.heads);
        self.commits = commits;
        let mark = mark_of(&commits, self.incarnation);
        if self.anchor.note(&mark, SyncWhen::Due)? == Noted::Synced {
            self.directory.check_no_blobs()?;
        }
        Ok(())
    }
}

impl Store for SledStore {
    fn heads(&self) -> Result<Vec<Head>, StoreError> {
        Ok(self.heads.values().copied().collect())
    }

    fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError> {
        self.tables.journal(rollout, from, self.heads.get(&rollout))
    }

    fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        if let Some(cause) = &self.stopped {
            return Err(cause.clone());
        }
        let result = self.try_commit(batch);
        if let Err(cause) = &result
            && !cause.is_refusal()
        {
            self.stopped = Some(cause.clone());
        }
        result
    }

    fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        self.tables.idempotency(key)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(StoreError::Closed) => return Ok(()),
            Some(cause) => return Err(cause.clone()),
            None => {}
        }
        self.stopped = Some(StoreError::Closed);
        self.tables.flush_and_sync()?;
        self.anchor.sync()
    }
}

/// What a directory holds, read and checked; nothing of it was changed.
struct Found {
    tables: Tables,
    origin: Origin,
    incarnation: u64,
    commits: CommitsV1,
    heads: BTreeMap<RolloutId, Head>,
}

/// Opens and reads what is there; if that fails in a way that a damaged snapshot can cause, once more without snapshots.
fn find(directory: &Directory, repairs: &mut Vec<Repair>) -> Result<Found, StoreError> {
    let error = match find_once(directory) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if !may_come_from_a_snapshot(&error) {
        return Err(error);
    }
    let Some(repair) = directory.quarantine_snapshots()? else { return Err(error) };
    repairs.push(repair);
    find_once(directory)
}

fn may_come_from_a_snapshot(error: &StoreError) -> bool {
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    matches!(error, StoreError::Unreadable { .. } | StoreError::Damaged { .. })
        || matches!(error, StoreError::Io { source, .. } if kinds.contains(&source.kind()))
}

fn find_once(directory: &Directory) -> Result<Found, StoreError> {
    catch_unwind(AssertUnwindSafe(|| {
        directory.wait_for_database()?;
        let tables = Tables::open(directory.path())?;
        let Some(schema) = tables.meta::<u32>(rows::SCHEMA_KEY, RowKind::Schema)? else {
            return tables.found_new();
        };
        if schema > FORMAT {
            return Err(StoreError::TooNew { found: schema, known: FORMAT });
        }
        let incarnation = tables.meta(rows::INCARNATION_KEY, RowKind::Incarnation)?;
        let commits = tables.meta(rows::COMMITS_KEY, RowKind::Commits)?;
        let (Some(incarnation), Some(commits)) = (incarnation, commits) else {
            return Err(StoreError::unreadable("the rows that describe the store are missing"));
        };
        let heads = tables.heads()?;
        Ok(Found { tables, origin: Origin::Reopened, incarnation, commits, heads })
    }))
    .unwrap_or_else(|panic| {
        Err(StoreError::unreadable(format!("the database panicked ({})", panic_message(&*panic))))
    })
}

/// The open database: its tables and the file behind them.
#[derive(Debug)]
struct Tables {
    trees: Vec<Tree>,
    /// Our own handle, because sled's flush does not reach the disk.
    file: File,
    db: Db,
}

impl Tables {
    fn open(dir: &Path) -> Result<Self, StoreError> {
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

    /// A directory without a schema row is new, or creating it was cut short; it must not hold anything.
    fn found_new(self) -> Result<Found, StoreError> {
        if !self.trees.iter().all(Tree::is_empty) {
            return Err(StoreError::unreadable(
                "it holds rows, but not the one that names its format",
            ));
        }
        let commits = CommitsV1 { count: 0, running: chain::GENESIS };
        let heads = BTreeMap::new();
        Ok(Found { tables: self, origin: Origin::Created, incarnation: 0, commits, heads })
    }

    /// Counts this opening; for a new store, also writes what describes it.
    fn begin(&self, incarnation: u64, found: &Found) -> Result<(), StoreError> {
        let mut described = vec![rows::incarnation_row(incarnation)];
        if found.origin == Origin::Created {
            described.push(rows::schema_row(FORMAT));
            described.push(rows::commits_row(&found.commits));
        }
        self.write_durably(&described)
    }

    /// One transaction, on disk when this returns `Ok`.
    fn write_durably(&self, rows: &[Row]) -> Result<(), StoreError> {
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

    fn flush_and_sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(fault("flush the journal"))?;
        self.file.sync_data().map_err(StoreError::io("sync the journal"))
    }

    fn meta<T: DeserializeOwned>(
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

    fn heads(&self) -> Result<BTreeMap<RolloutId, Head>, StoreError> {
        let mut heads = BTreeMap::new();
        for row in self.tree(Table::Heads) {
            let (key, value) = row.map_err(fault("read the heads"))?;
            let Some(rollout) = rows::rollout_of_head_key(&key) else {
                return Err(StoreError::unreadable("a head has a key that names no rollout"));
            };
            let head = rows::unseal_head(rollout, &value)
                .map_err(|error| StoreError::damaged_row(rollout, 0, error))?
                .ok_or(StoreError::Damaged { rollout, seq: 0, what: Damage::Undecodable })?;
            heads.insert(rollout, head);
        }
        Ok(heads)
    }

    fn journal(
        &self,
        rollout: RolloutId,
        from: Seq,
        head: Option<&Head>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut walk = head.map(|head| Walk::new(*head, from));
        let mut entries = Vec::new();
        let mut next = from;
        let range = rows::journal_key(rollout, from.get())..=rows::journal_key(rollout, u64::MAX);
        for row in self.tree(Table::Journal).range(range) {
            let (key, value) = row.map_err(|error| page_fault(rollout, next, error))?;
            let seq = rows::seq_of_journal_key(&key).unwrap_or(next);
            let Some(walk) = &mut walk else {
                return Err(StoreError::Damaged {
                    rollout,
                    seq: seq.get(),
                    what: Damage::BeyondHead,
                });
            };
            walk.expect(seq)?;
            let place = rows::place(Table::Journal, &key);
            let row: JournalV1 = codec::unseal(place, RowKind::Journal, &value)
                .map_err(|error| StoreError::damaged_row(rollout, seq.get(), error))?;
            let payload = match row.parts {
                0 => row.inline,
                parts => self.joined(rollout, seq, parts)?,
            };
            walk.step(&row.previous, &payload)?;
            entries.push(Entry { seq, payload });
            next = seq.next();
        }
        walk.map_or(Ok(()), Walk::finish)?;
        Ok(entries)
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

    fn has_key(&self, key: &str) -> Result<bool, StoreError> {
        self.tree(Table::Idempotency).contains_key(key).map_err(fault("look up an idempotency key"))
    }

    fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        let tree = self.tree(Table::Idempotency);
        let Some(row) = tree.get(key).map_err(fault("look up an idempotency key"))? else {
            return Ok(None);
        };
        rows::unseal_idempotency(key, &row)
            .map_err(|error| StoreError::misread("the row of an idempotency key", error))?
            .map_or_else(
                || Err(StoreError::unreadable("an idempotency key names no rollout")),
                |row| Ok(Some(row)),
            )
    }
}

fn mark_of(commits: &CommitsV1, incarnation: u64) -> Mark {
    Mark { commits: commits.count, running: commits.running, incarnation }
}

/// Says what was being done when sled failed; for `map_err`.
fn fault(doing: &'static str) -> impl Fn(::sled::Error) -> StoreError {
    move |error| {
        if !is_damage(&error) {
            return StoreError::io(doing)(io::Error::from(error));
        }
        let what = format!("the database is damaged (to {doing})");
        StoreError::Unreadable { what, source: Some(Arc::new(io::Error::from(error))) }
    }
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
