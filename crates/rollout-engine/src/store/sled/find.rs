//! Owns what a directory is found to hold: every row that can be checked is checked, and everything that is wrong is named.
//!
//! Changes nothing, but for snapshots that keep sled from opening: those are moved aside. What cannot be opened at all is an
//! error; everything else is a finding, so that one damaged rollout does not hide another.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rollout_core::{RolloutId, Seq};

use super::super::anchor::{self, Mark};
use super::super::chain;
use super::super::codec::RowKind;
use super::super::directory::{Directory, FORMAT, FormatFile, Repair};
use super::super::error::panic_message;
use super::super::findings::{Finding, Findings, Loss, Survey, Surveyed, Unsettled};
use super::super::ledger::{self, Known};
use super::super::rows::{self, CommitsV1};
use super::super::{Damage, Entry, Hash, Head, Origin, Quarantined, Standing, StoreError};
use super::tables::Tables;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Every head, and the journals of live rollouts, which are kept.
    Live,
    /// Every entry.
    Everything,
}

/// What a directory holds, read and checked.
pub(super) struct Found {
    pub(super) tables: Tables,
    pub(super) origin: Origin,
    /// The highest number of openings that store or witness know of.
    pub(super) incarnation: u64,
    pub(super) commits: CommitsV1,
    /// Whether `commits` is what the database says, and not what stands in for a row that cannot be read.
    is_counted: bool,
    /// Heads that can be read, those of damaged journals included.
    pub(super) heads: BTreeMap<RolloutId, Head>,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) keys: u64,
    /// Whether the witness could say anything.
    pub(super) witness: Option<Mark>,
    pub(super) findings: Findings,
    /// Journals of live rollouts, as they were read for the check.
    pub(super) read: BTreeMap<RolloutId, Vec<Entry>>,
    ledger: Option<Known>,
}

/// Opens and reads what is there; if it does not open in a way that a damaged snapshot can cause, once more without
/// snapshots. With a snapshot that can be read, it stays: it may know more than a damaged log.
pub(super) fn find(
    directory: &Directory,
    depth: Depth,
    repairs: &mut Vec<Repair>,
) -> Result<Found, StoreError> {
    let error = match find_once(directory, depth) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if !may_come_from_a_snapshot(&error) {
        return Err(error);
    }
    let Some(repair) = directory.quarantine_snapshots()? else { return Err(error) };
    repairs.push(repair);
    find_once(directory, depth)
}

fn may_come_from_a_snapshot(error: &StoreError) -> bool {
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    matches!(error, StoreError::Unreadable { .. } | StoreError::Damaged { .. })
        || matches!(error, StoreError::Io { source, .. } if kinds.contains(&source.kind()))
}

fn find_once(directory: &Directory, depth: Depth) -> Result<Found, StoreError> {
    let witness = anchor::read(directory.path())?;
    let ledger = ledger::read(directory.path())?;
    catch_unwind(AssertUnwindSafe(|| {
        directory.wait_for_database()?;
        directory.read_database()?;
        let tables = Tables::open(directory.path())?;
        let mut found = Found::of(tables, directory, witness, ledger)?;
        found.read_heads()?;
        found.read_rest();
        if let Err(blobs) = directory.check_no_blobs() {
            found.findings.rows.push(row_words(blobs)?);
        }
        found.read_journals(Standing::Live)?;
        if depth == Depth::Everything {
            found.read_journals(Standing::Ended)?;
        }
        found.ask_witness();
        Ok(found)
    }))
    .unwrap_or_else(|panic| {
        Err(StoreError::unreadable(format!("the database panicked ({})", panic_message(&*panic))))
    })
}

/// What is wrong with a row, in words; anything but damage stays an error.
fn row_words(error: StoreError) -> Result<String, StoreError> {
    let StoreError::Unreadable { what, .. } = error else { return Err(error) };
    Ok(what)
}

impl Found {
    fn of(
        tables: Tables,
        directory: &Directory,
        witness: Option<Mark>,
        ledger: Option<Known>,
    ) -> Result<Self, StoreError> {
        let mut findings = Findings::default();
        let is_empty = tables.are_empty();
        let schema = noted(tables.meta::<u32>(rows::SCHEMA_KEY, RowKind::Schema), &mut findings)?;
        if let Some(Some(schema)) = schema
            && schema > FORMAT
        {
            return Err(StoreError::TooNew { found: schema, known: FORMAT });
        }
        let mut lacking = |what: &str| findings.rows.push(what.to_owned());
        let origin = if is_empty { Origin::Created } else { Origin::Reopened };
        match (is_empty, schema) {
            // `format` is the last thing that a new store gets, so there was one.
            (true, _) if directory.format() != FormatFile::Missing => {
                lacking("the database is empty, although the store was in use");
            }
            (false, Some(None)) => lacking("it holds rows, but not the one that names its format"),
            (true | false, _) => {}
        }
        let incarnation = tables.meta(rows::INCARNATION_KEY, RowKind::Incarnation);
        let incarnation: Option<u64> = noted(incarnation, &mut findings)?.flatten();
        let commits: Option<CommitsV1> =
            noted(tables.meta(rows::COMMITS_KEY, RowKind::Commits), &mut findings)?.flatten();
        if !is_empty && findings.rows.is_empty() && (incarnation.is_none() || commits.is_none()) {
            findings.rows.push("the rows that describe the store are missing".to_owned());
        }
        let known = ledger.as_ref().map_or(0, |known| known.incarnation);
        let seen = witness.map_or(0, |mark| mark.incarnation).max(known);
        Ok(Self {
            tables,
            origin,
            incarnation: incarnation.unwrap_or(0).max(seen),
            is_counted: is_empty || commits.is_some(),
            commits: commits.unwrap_or(CommitsV1 { count: 0, running: chain::GENESIS }),
            heads: BTreeMap::new(),
            quarantined: Vec::new(),
            keys: 0,
            witness,
            findings,
            read: BTreeMap::new(),
            ledger,
        })
    }

    fn read_heads(&mut self) -> Result<(), StoreError> {
        let mut named = Vec::new();
        for (rollout, head) in self.tables.heads()? {
            named.push(rollout);
            match head {
                Ok(head) => drop(self.heads.insert(rollout, head)),
                Err(error) => self.note(error, None)?,
            }
        }
        for rollout in self.tables.journals()? {
            if named.binary_search(&rollout).is_err() {
                let what = Damage::BeyondHead;
                self.findings.note(Finding { rollout, seq: 1, what, standing: None });
            }
        }
        Ok(())
    }

    /// Rows that belong to no journal.
    fn read_rest(&mut self) {
        let mut damaged = 0_u64;
        for row in self.tables.idempotency_rows() {
            self.keys += u64::from(row.is_ok());
            damaged += u64::from(row.is_err());
        }
        if damaged > 0 {
            let words = format!("{damaged} rows of idempotency keys cannot be read");
            self.findings.rows.push(words);
        }
        match self.tables.asides() {
            Ok(asides) => self.quarantined = asides,
            Err(error) => self.findings.rows.push(error.to_string()),
        }
    }

    /// Checks the journals of this standing, each from its first entry to its head.
    fn read_journals(&mut self, standing: Standing) -> Result<(), StoreError> {
        let heads: Vec<Head> =
            self.heads.values().filter(|head| head.standing == standing).copied().collect();
        for head in heads {
            let reached = self.ledger.as_ref().and_then(|known| known.reached.get(&head.rollout));
            let (mut entries, mut replaced) = (Vec::new(), None);
            let mut visit = |entry: Entry, hash: Hash| {
                if reached.is_some_and(|it| it.seq == entry.seq && !it.fits(&hash)) {
                    replaced = Some(entry.seq);
                }
                if standing == Standing::Live {
                    entries.push(entry);
                }
                ControlFlow::Continue(())
            };
            let walked = self.tables.walk(&head, Seq::FIRST, &mut visit);
            if let Err(error) = walked {
                self.note(error, Some(standing))?;
            } else if let Some(seq) = replaced {
                let (seq, standing) = (seq.get(), Some(standing));
                let what = Damage::Replaced;
                self.findings.note(Finding { rollout: head.rollout, seq, what, standing });
            } else if standing == Standing::Live {
                self.read.insert(head.rollout, entries);
            }
        }
        Ok(())
    }

    /// Compares with what the witness remembers.
    fn ask_witness(&mut self) {
        // Without the row that counts commits there is nothing to compare; that it is missing has been noted.
        let counts = self.is_counted;
        let CommitsV1 { count, running } = self.commits;
        let loss = self.witness.filter(|_| counts).and_then(|mark| mark.check(count, &running));
        let known = self.ledger.take().unwrap_or_default();
        let behind = counts && count < known.commits;
        let witness = known.commits;
        self.findings.loss = loss.or(behind.then_some(Loss::Behind { store: count, witness }));
        for (rollout, reached) in &known.reached {
            if self.quarantined.iter().any(|aside| aside.rollout == *rollout) {
                continue;
            }
            let standing = Some(reached.standing);
            let upto = reached.seq.get();
            let (seq, what) = match self.heads.get(rollout) {
                None => (1, Damage::Lost { upto }),
                Some(head) if head.seq < reached.seq => (head.seq.get() + 1, Damage::Lost { upto }),
                Some(head)
                    if head.seq == reached.seq
                        && (!reached.fits(&head.hash) || head.standing != reached.standing) =>
                {
                    (upto, Damage::Replaced)
                }
                Some(_) => continue,
            };
            self.findings.note(Finding { rollout: *rollout, seq, what, standing });
        }
        let lost_upto = match (self.findings.loss, self.witness) {
            (Some(Loss::Behind { witness, .. }), _) => witness,
            (Some(Loss::Diverged { commit }), _) => commit,
            // Nobody knows how many there are, so any that the anchor saw may be gone.
            (None, Some(mark)) if !counts => mark.commits,
            (None, _) => return,
        };
        if known.commits < lost_upto {
            // The ledger does not know whose the last lost commits were, so nobody's word can be relied on.
            for head in self.heads.values().filter(|head| head.standing == Standing::Live) {
                let (rollout, seq, what) = (head.rollout, head.seq.get(), Damage::Suspect);
                self.findings.note(Finding { rollout, seq, what, standing: Some(head.standing) });
            }
        }
    }

    /// Takes damage of one rollout as a finding; anything else stays an error.
    fn note(&mut self, error: StoreError, standing: Option<Standing>) -> Result<(), StoreError> {
        let StoreError::Damaged { rollout, seq, what } = error else { return Err(error) };
        let remembered = self.ledger.as_ref().and_then(|known| known.reached.get(&rollout));
        let standing = standing.or(remembered.map(|reached| reached.standing));
        self.findings.note(Finding { rollout, seq, what, standing });
        Ok(())
    }

    /// What there is and what is wrong, for people.
    pub(super) fn survey(&self) -> Survey {
        let of_head = |head: &Head| Surveyed {
            rollout: head.rollout,
            entries: head.seq.get(),
            standing: Some(head.standing),
            unsettled: self.read.get(&head.rollout).and_then(|entries| {
                Unsettled::of(entries.iter().map(|entry| entry.payload.as_slice()))
            }),
        };
        let mut rollouts: Vec<_> = self.heads.values().map(of_head).collect();
        for finding in &self.findings.rollouts {
            if !self.heads.contains_key(&finding.rollout) {
                let (rollout, standing) = (finding.rollout, finding.standing);
                rollouts.push(Surveyed { rollout, entries: 0, standing, unsettled: None });
            }
        }
        rollouts.sort_by_key(|surveyed| surveyed.rollout);
        Survey {
            rollouts,
            keys: self.keys,
            quarantined: self.quarantined.clone(),
            findings: self.findings.clone(),
        }
    }

    /// Closes the database. sled may panic over damage even now; nothing was written that could be lost.
    pub(super) fn let_go(self) {
        let Self { tables, .. } = self;
        drop(catch_unwind(AssertUnwindSafe(|| drop(tables))));
    }
}

/// A row that describes the store; `None` when it is damaged, which is noted.
fn noted<T>(
    read: Result<Option<T>, StoreError>,
    findings: &mut Findings,
) -> Result<Option<Option<T>>, StoreError> {
    match read {
        Ok(row) => Ok(Some(row)),
        Err(error) => {
            let words = row_words(error)?;
            if !findings.rows.contains(&words) {
                findings.rows.push(words);
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::anchor::Anchor;
    use super::super::super::rows::{Row, Table};
    use super::super::super::{Append, OnDamage, OpenOptions, SledStore, Store as _};
    use super::*;

    /// A row that cannot be read says nothing about a tail that is gone: with both, and no ledger, nobody is relied on.
    #[test]
    fn a_row_that_cannot_be_read_hides_no_lost_tail() {
        for (table, key) in [(Table::Idempotency, &b"key"[..]), (Table::Meta, rows::COMMITS_KEY)] {
            let dir = tempfile::tempdir().unwrap();
            let options = OpenOptions::default();
            let (mut store, _) = SledStore::open(dir.path(), options).unwrap();
            let append = Append {
                rollout: RolloutId::FIRST,
                after: 0,
                entries: vec![b"known".to_vec()],
                standing: Standing::Live,
                idempotency: None,
            };
            store.commit(&[append]).unwrap();
            let mark = Mark { commits: store.commits.count + 1, running: [7; 32], incarnation: 1 };
            store.close().unwrap();
            drop(store);
            drop(Anchor::start(dir.path(), &mark, options.witness_sync_every).unwrap());
            fs::remove_file(dir.path().join("witness.0")).ok();
            fs::remove_file(dir.path().join("witness.1")).ok();
            let directory = Directory::claim(dir.path()).unwrap();
            directory.wait_for_database().unwrap();
            let tables = Tables::open(dir.path()).unwrap();
            let row = Row { table, key: key.to_vec(), value: b"noise".to_vec(), entry_of: None };
            tables.write_durably(&[row]).unwrap();
            drop((tables, directory));

            let survey = SledStore::examine(dir.path()).unwrap();
            assert_eq!(survey.findings.rows.len(), 1, "{}", survey.findings);
            let found = survey.findings.of(RolloutId::FIRST).map(|finding| finding.what);
            assert_eq!(found, Some(Damage::Suspect), "{table:?}: {}", survey.findings);
            let options = OpenOptions { damage: OnDamage::SetAside, ..options };
            let (store, report) = SledStore::open(dir.path(), options).unwrap();
            assert_eq!(report.quarantined.len(), 1, "{table:?}");
            assert!(store.heads().unwrap().is_empty(), "{table:?}");
        }
    }

    /// sled takes what the disk does not give for the end of its log, and overwrites what lies behind it. Reading the
    /// memory of a process where there is none is refused like a bad sector.
    #[test]
    fn a_database_that_the_disk_does_not_give_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = SledStore::open(dir.path(), OpenOptions::default()).unwrap();
        let (rollout, entries, standing) = (RolloutId::FIRST, vec![vec![1]], Standing::Live);
        store
            .commit(&[Append { rollout, after: 0, entries, standing, idempotency: None }])
            .unwrap();
        store.close().unwrap();
        drop(store);
        let (database, whole) = (dir.path().join("db"), dir.path().join("whole"));
        fs::rename(&database, &whole).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", &database).unwrap();
        let before = fs::read(&whole).unwrap();
        for damage in [OnDamage::Refuse, OnDamage::SetAside] {
            let options = OpenOptions { damage, ..OpenOptions::default() };
            let refused = SledStore::open(dir.path(), options).unwrap_err();
            let cause = std::error::Error::source(&refused).map(ToString::to_string);
            assert_eq!(refused.code(), "RO0205", "{refused}");
            assert_eq!(cause.as_deref(), Some("Input/output error (os error 5)"));
        }
        assert_eq!(SledStore::examine_in_place(dir.path()).unwrap_err().code(), "RO0205");
        fs::rename(&whole, &database).unwrap();
        assert_eq!(fs::read(&database).unwrap(), before);
        let (store, report) = SledStore::open(dir.path(), OpenOptions::default()).unwrap();
        assert_eq!((report.live, report.repairs), (1, vec![]));
        assert_eq!(store.journal(rollout, Seq::FIRST).unwrap().len(), 1);
    }
}
