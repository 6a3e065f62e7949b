//! Owns the journal on disk; with the files below `sled/` the only place that names sled.
//!
//! sled 0.34 is engineered around, with measurements in `docs/adr/`: its `flush` is no barrier on Linux, so each commit
//! ends with `sync_data` on our own handle of its file; it never syncs `blobs/`, so rows stay below 8 KiB; a damaged
//! snapshot keeps it from opening, so snapshots are moved aside; it can lose a tail silently, so there is a witness
//! (`anchor.rs`, `ledger.rs`); it may panic on damage, so opening runs under `catch_unwind`. Only one thread ever writes.
//!
//! Refuses to write to a store that it does not fully understand, and to go on after the first failed write.

mod find;
mod tables;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rollout_core::{RolloutId, Seq};

use self::find::{Depth, Found, find};
use self::tables::Tables;
use super::anchor::{Anchor, Mark, SyncWhen};
use super::chain;
use super::copy::Copy;
use super::directory::{Directory, FORMAT, FormatFile, Repair};
use super::findings::Survey;
use super::ledger::{Ledger, Room};
use super::opening::{OnDamage, OpenOptions, OpenReport, Origin};
use super::rebuild::Rebuild;
use super::rows::{self, CommitsV1};
use super::{
    Age, Append, Entry, Head, IdempotencyRow, Quarantined, Standing, Store, StoreError, afresh,
    replace, salvage,
};

/// The journal in one directory, held until it is dropped.
#[derive(Debug)]
pub struct SledStore {
    heads: BTreeMap<RolloutId, Head>,
    quarantined: Vec<Quarantined>,
    commits: CommitsV1,
    incarnation: u64,
    anchor: Anchor,
    ledger: Ledger,
    /// Journals that opening has read and checked, for whoever reads them first.
    read: RefCell<BTreeMap<RolloutId, Vec<Entry>>>,
    /// Why no more commits are taken.
    stopped: Option<StoreError>,
    tables: Tables,
    /// Last, so that the lock outlives the database.
    directory: Directory,
}

impl SledStore {
    /// Opens the store in `dir`, creating it (mode 0700) if there is none. Checks every head, every row that belongs to no
    /// journal, and the whole journals of live rollouts; those of ended ones are checked when they are read.
    ///
    /// # Errors
    /// `RO0201` later format, `RO0202` damaged, `RO0203` entries are gone, `RO0204` in use, `RO0205` disk. All but the
    /// last leave the journal as it was; `RO0202` and `RO0203` name every damaged rollout.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<(Self, OpenReport), StoreError> {
        Self::take(Directory::claim_for(dir, options.tenure)?, options, 0)
    }

    /// Whether `dir` holds a store, or what is left of one.
    pub fn is_in(dir: &Path) -> bool {
        holds_a_store(dir)
    }

    /// Checks everything in `dir`, on a copy of the files, and changes nothing of them.
    ///
    /// # Errors
    /// `RO0201`, `RO0204`, `RO0205` as for [`SledStore::open`]; `RO0202` when the database cannot be opened at all. Damage
    /// that can be named is in the survey. `RO0205` also when there is no store in `dir`, and when there is no room for the copy.
    pub fn examine(dir: &Path) -> Result<Survey, StoreError> {
        let directory = Directory::claim(must_be_there(dir)?)?;
        let copy = Copy::of(&directory)?;
        let copied = Directory::claim(copy.path())?;
        let survey = survey(&copied);
        // sled's threads may still write to the copy; removed under them, they would complain.
        drop(copied.wait_for_database());
        survey
    }

    /// As [`SledStore::examine`] on the files themselves, for when there is no room for a copy. Of our rows nothing changes, but
    /// sled cuts its file off behind the first place that it cannot read, as at every opening.
    ///
    /// # Errors
    /// As [`SledStore::examine`].
    pub fn examine_in_place(dir: &Path) -> Result<Survey, StoreError> {
        let directory = Directory::claim(must_be_there(dir)?)?;
        replace::finish(&directory)?;
        survey(&directory)
    }

    /// Opens what `directory` holds. `incarnation_min`: openings that earlier stores in its place have seen.
    pub(super) fn take(
        directory: Directory,
        options: OpenOptions,
        incarnation_min: u64,
    ) -> Result<(Self, OpenReport), StoreError> {
        let mut repairs: Vec<Repair> = replace::finish(&directory)?.into_iter().collect();
        afresh::discard(&directory)?;
        repairs.extend(directory.settle_snapshots()?);
        let found = sound(&directory, options.damage, &mut repairs)?;
        if found.witness.is_none() && found.origin == Origin::Reopened {
            repairs.push(Repair::WitnessRestarted);
        }
        if directory.format() == FormatFile::Garbled && found.origin == Origin::Reopened {
            repairs.push(Repair::FormatRewritten);
        }
        let incarnation = found.incarnation.max(incarnation_min) + 1;
        begin(&found, incarnation)?;
        let Found { tables, heads, commits, quarantined, origin, read, .. } = found;
        let ledger = Ledger::start(directory.path(), incarnation, commits.count, heads.values())?;
        let mark = mark_of(&commits, incarnation);
        let anchor = Anchor::start(directory.path(), &mark, options.witness_sync_every)?;
        directory.sync()?;
        directory.write_format()?;

        let ended = heads.values().filter(|head| head.standing == Standing::Ended).count();
        let report = OpenReport {
            origin,
            incarnation,
            commits: commits.count,
            live: heads.len() - ended,
            ended,
            quarantined: quarantined.clone(),
            repairs,
        };
        let (read, stopped) = (RefCell::new(read), None);
        let store = Self {
            heads,
            quarantined,
            commits,
            incarnation,
            anchor,
            ledger,
            read,
            stopped,
            tables,
            directory,
        };
        Ok((store, report))
    }

    /// Takes rows that no append brings, in one durable transaction; for a store that is built anew.
    pub(super) fn adopt(
        &mut self,
        keys: &[IdempotencyRow],
        asides: &[Quarantined],
    ) -> Result<(), StoreError> {
        let commits = self.commits_after(std::iter::empty());
        let mut written: Vec<_> = keys.iter().map(rows::idempotency_row).collect();
        written.extend(asides.iter().map(rows::aside_row));
        written.push(rows::commits_row(&commits));
        self.tables.write_durably(&written)?;
        self.quarantined.extend(asides.iter().cloned());
        self.commits = commits;
        self.witness(std::iter::empty())
    }

    fn try_commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let staged = chain::stage(&self.heads, |key| self.tables.has_key(key), batch)?;
        if staged.heads.is_empty() {
            return Ok(());
        }
        let is_aside = |rollout: &RolloutId| self.aside(*rollout).is_some();
        if let Some(rollout) = staged.heads.keys().find(|rollout| is_aside(rollout)) {
            let what = "it is quarantined, and its id is not given away again";
            return Err(StoreError::Unacceptable { rollout: *rollout, what });
        }
        let commits = self.commits_after(staged.heads.values());
        self.tables.write_durably(&rows::of_batch(&staged, &commits))?;
        self.commits = commits;
        let moved = staged.heads;
        self.read.get_mut().retain(|rollout, _| !moved.contains_key(rollout));
        self.heads.extend(moved.iter().map(|(rollout, head)| (*rollout, *head)));
        self.witness(moved.values())
    }

    fn commits_after<'a>(&self, heads: impl Iterator<Item = &'a Head>) -> CommitsV1 {
        let running = chain::running_hash(&self.commits.running, heads);
        CommitsV1 { count: self.commits.count + 1, running }
    }

    /// Tells the witness of a commit that is durable.
    fn witness<'a>(&mut self, moved: impl Iterator<Item = &'a Head>) -> Result<(), StoreError> {
        let (count, mark) = (self.commits.count, mark_of(&self.commits, self.incarnation));
        let room = self.ledger.note(count, moved)?;
        if room == Room::Left && !self.anchor.is_due() {
            return self.anchor.note(&mark, SyncWhen::Later);
        }
        // The ledger first: it may know of more than the anchor, so that whatever the anchor misses has a name.
        self.ledger.rebase(self.incarnation, count, self.heads.values())?;
        self.anchor.note(&mark, SyncWhen::Now)?;
        self.directory.check_no_blobs()
    }

    fn write_the_rest(&mut self) -> Result<(), StoreError> {
        self.tables.flush_and_sync()?;
        self.ledger.rebase(self.incarnation, self.commits.count, self.heads.values())?;
        self.anchor.sync()
    }

    fn aside(&self, rollout: RolloutId) -> Option<&Quarantined> {
        self.quarantined.iter().find(|aside| aside.rollout == rollout)
    }
}

impl Store for SledStore {
    fn heads(&self) -> Result<Vec<Head>, StoreError> {
        Ok(self.heads.values().copied().collect())
    }

    fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError> {
        let Some(head) = self.heads.get(&rollout) else { return Ok(Vec::new()) };
        if from == Seq::FIRST
            && let Some(entries) = self.read.borrow_mut().remove(&rollout)
        {
            return Ok(entries);
        }
        let mut entries = Vec::new();
        self.tables.walk(head, from, &mut |entry, _| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    fn page(&self, rollout: RolloutId, from: Seq, max: usize) -> Result<Vec<Entry>, StoreError> {
        let Some(head) = self.heads.get(&rollout) else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        self.tables.walk_page(head, from, max, &mut |entry, _| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        if let Some(cause) = &self.stopped {
            return Err(cause.clone());
        }
        let result = self.try_commit(batch);
        if let Err(cause) = &result
            && !cause.is_refusal()
        {
            self.directory.suspect();
            self.stopped = Some(cause.clone());
        }
        result
    }

    fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
        self.tables.idempotency(key)
    }

    fn idempotency_rows(&self) -> Result<Vec<IdempotencyRow>, StoreError> {
        self.tables.idempotency_rows().into_iter().collect()
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantined.clone()
    }

    fn age(&self) -> Age {
        Age { incarnation: self.incarnation, commits: self.commits.count }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(StoreError::Closed) => return Ok(()),
            Some(cause) => return Err(cause.clone()),
            None => {}
        }
        self.stopped = Some(StoreError::Closed);
        let closed = self.write_the_rest();
        closed.inspect_err(|_| self.directory.suspect())
    }
}

/// Refuses a directory without a store, in which an opening would begin one.
fn must_be_there(dir: &Path) -> Result<&Path, StoreError> {
    match holds_a_store(dir) {
        true => Ok(dir),
        false => Err(StoreError::Missing),
    }
}

/// Checks everything in `directory`.
fn survey(directory: &Directory) -> Result<Survey, StoreError> {
    afresh::discard(directory)?;
    directory.settle_snapshots()?;
    let found = find(directory, Depth::Everything, &mut Vec::new())?;
    let survey = found.survey();
    found.let_go();
    Ok(survey)
}

/// Whether `dir` holds a store, or what is left of one.
pub(super) fn holds_a_store(dir: &Path) -> bool {
    ["db", "conf", "format", "anchor", "exchange", "exchange.moved"]
        .iter()
        .any(|name| dir.join(name).exists())
}

/// Finds a sound store in `directory`, or makes it one by setting aside what is damaged, if that is wanted.
fn sound(
    directory: &Directory,
    damage: OnDamage,
    repairs: &mut Vec<Repair>,
) -> Result<Found, StoreError> {
    let depth = match damage {
        OnDamage::Refuse => Depth::Live,
        // What is carried over must be sound to the last entry.
        OnDamage::SetAside => Depth::Everything,
    };
    let found = find(directory, depth, repairs)?;
    if found.findings.is_empty() {
        return Ok(found);
    }
    if damage == OnDamage::Refuse {
        let findings = Arc::new(found.findings.clone());
        found.let_go();
        return Err(StoreError::Unsound { findings });
    }
    repairs.push(set_aside(directory, found)?);
    let found = find(directory, Depth::Live, repairs)?;
    match found.findings.is_empty() {
        true => Ok(found),
        false => Err(StoreError::Unsound { findings: Arc::new(found.findings.clone()) }),
    }
}

/// Puts a store with what is sound in `found` in the place of the damaged one, whose files are kept.
fn set_aside(directory: &Directory, found: Found) -> Result<Repair, StoreError> {
    let to = directory.next_quarantine();
    let place = to.strip_prefix(directory.path()).unwrap_or(&to).display().to_string();
    let newly: Vec<_> = found
        .findings
        .rollouts
        .iter()
        .map(|finding| Quarantined {
            rollout: finding.rollout,
            seq: finding.seq,
            why: finding.to_string(),
            place: place.clone(),
        })
        .collect();
    for aside in &newly {
        let mut entries = Vec::new();
        // Why it ends where it ends is known already.
        let ended = found.tables.walk_sound(aside.rollout, &mut |entry, hash| {
            entries.push((entry, hash));
            ControlFlow::Continue(())
        });
        drop(ended);
        salvage::keep_readable(&to, aside, &entries)?;
    }
    let asides = [found.quarantined.clone(), newly].concat();
    carry_over(directory, &found, &asides).inspect_err(|_| replace::discard(directory))?;
    found.let_go();
    directory.wait_for_database()?;
    replace::exchange(directory, &to.join("store"))?;
    Ok(Repair::SetAside { to, rollouts: asides.iter().filter(|it| it.place == place).count() })
}

/// Builds a store from everything that is sound in `found`.
fn carry_over(
    directory: &Directory,
    found: &Found,
    asides: &[Quarantined],
) -> Result<(), StoreError> {
    let age = Age { incarnation: found.incarnation, commits: found.commits.count };
    let mut rebuild = Rebuild::begin(directory, age)?;
    for head in found.heads.values().filter(|head| found.findings.of(head.rollout).is_none()) {
        found.tables.walk(head, Seq::FIRST, &mut |entry, _| match rebuild
            .entry(head.rollout, entry.payload)
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        })?;
        rebuild.head(head)?;
    }
    let keys: Vec<_> = found.tables.idempotency_rows().into_iter().flatten().collect();
    rebuild.finish(&keys, asides)
}

/// Counts this opening; for a new store, also writes what describes it.
fn begin(found: &Found, incarnation: u64) -> Result<(), StoreError> {
    let mut described = vec![rows::incarnation_row(incarnation)];
    if found.origin == Origin::Created {
        described.push(rows::schema_row(FORMAT));
        described.push(rows::commits_row(&found.commits));
    }
    found.tables.write_durably(&described)
}

fn mark_of(commits: &CommitsV1, incarnation: u64) -> Mark {
    Mark { commits: commits.count, running: commits.running, incarnation }
}
