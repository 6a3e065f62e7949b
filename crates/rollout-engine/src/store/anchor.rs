//! Owns the witness: a small file beside the database that remembers how far the commits had come.
//!
//! sled can lose a consistent tail without noticing (one flipped bit in its log is enough); the witness notices. Two
//! slots of 64 bytes, `magic · format u32 · commits u64 · running hash · incarnation u64 · crc32 · padding`,
//! little-endian. One slot is always the synced one and is left alone; the other takes every commit and is synced at
//! most once per period, and then they swap. So a torn write costs at most the newer slot.
//!
//! Invariant: the witness never knows of a commit that was not durable in the store first. Hence a store that is
//! behind its witness lost something, and a store that is ahead of it is fine.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Hash, Loss, StoreError};

/// What a slot remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Number of commits so far.
    pub(super) commits: u64,
    /// Running hash over them.
    pub(super) running: Hash,
    /// Which opening of the store wrote this.
    pub(super) incarnation: u64,
}

impl Mark {
    /// How a store that ends at `commits` with `running` disagrees with this witness.
    pub(super) fn check(&self, commits: u64, running: &Hash) -> Option<Loss> {
        if commits < self.commits {
            return Some(Loss::Behind { store: commits, witness: self.commits });
        }
        let is_another = commits == self.commits && *running != self.running;
        is_another.then_some(Loss::Diverged { commit: commits })
    }
}

/// The newest mark in `dir`; `None` when there is no sound one.
///
/// # Errors
/// [`StoreError::TooNew`] for a later format, `RO0205` when the file cannot be read.
pub(super) fn read(dir: &Path) -> Result<Option<Mark>, StoreError> {
    let mut bytes = Vec::new();
    match File::open(dir.join(FILE_NAME)) {
        Ok(file) => file
            .take(2 * SLOT_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read the witness"))?,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open the witness")(error)),
    };
    let mut newest = None;
    for slot in bytes.chunks_exact(SLOT_BYTES) {
        newest = newer(newest, read_slot(slot)?);
    }
    Ok(newest)
}

/// The open witness.
#[derive(Debug)]
pub(super) struct Anchor {
    file: File,
    /// The slot that is not synced yet and may be overwritten.
    open_slot: u64,
    synced_at: Instant,
    sync_every: Duration,
    pending: Pending,
}

/// Whether the open slot holds something that is not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    Mark,
}

/// Whether a mark must be on disk when [`Anchor::note`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncWhen {
    /// With a later one.
    Later,
    /// In any case.
    Now,
}

impl Anchor {
    /// Opens or creates the witness of `dir` and makes `mark` its newest word, durably, in both slots: an operator may
    /// have accepted a store that is older than what the other slot says.
    pub(super) fn start(dir: &Path, mark: &Mark, sync_every: Duration) -> Result<Self, StoreError> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(FILE_NAME))
            .map_err(StoreError::io("open the witness"))?;
        let mut anchor = Self {
            file,
            open_slot: 0,
            synced_at: Instant::now(),
            sync_every,
            pending: Pending::Nothing,
        };
        anchor.note(mark, SyncWhen::Now)?;
        anchor.note(mark, SyncWhen::Now)?;
        Ok(anchor)
    }

    /// Whether the last sync is long enough ago for the next one.
    pub(super) fn is_due(&self) -> bool {
        self.synced_at.elapsed() >= self.sync_every
    }

    /// Remembers `mark`, which must be durable in the store.
    pub(super) fn note(&mut self, mark: &Mark, sync: SyncWhen) -> Result<(), StoreError> {
        self.file
            .write_all_at(&write_slot(mark), self.open_slot * SLOT_BYTES as u64)
            .map_err(StoreError::io("write the witness"))?;
        self.pending = Pending::Mark;
        match sync {
            SyncWhen::Later => Ok(()),
            SyncWhen::Now => self.sync(),
        }
    }

    /// Puts the newest mark on disk.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        if self.pending == Pending::Mark {
            self.file.sync_data().map_err(StoreError::io("sync the witness"))?;
            self.open_slot = 1 - self.open_slot;
            self.pending = Pending::Nothing;
        }
        self.synced_at = Instant::now();
        Ok(())
    }
}

/// The later of two marks, by who wrote it and then by how far it had come.
fn newer(one: Option<Mark>, other: Option<Mark>) -> Option<Mark> {
    let age = |mark: &Option<Mark>| mark.map(|mark| (mark.incarnation, mark.commits));
    if age(&other) > age(&one) { other } else { one }
}

fn write_slot(mark: &Mark) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..4].copy_from_slice(MAGIC);
    slot[4..8].copy_from_slice(&FORMAT.to_le_bytes());
    slot[8..16].copy_from_slice(&mark.commits.to_le_bytes());
    slot[16..48].copy_from_slice(&mark.running);
    slot[48..56].copy_from_slice(&mark.incarnation.to_le_bytes());
    let crc = crc32fast::hash(&slot[..56]);
    slot[56..60].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// `Ok(None)` for a torn or empty slot.
fn read_slot(slot: &[u8]) -> Result<Option<Mark>, StoreError> {
    let is_sound = slot.starts_with(MAGIC)
        && field(slot, 56).map(u32::from_le_bytes) == Some(crc32fast::hash(&slot[..56]));
    if !is_sound {
        return Ok(None);
    }
    let format = field(slot, 4).map_or(0, u32::from_le_bytes);
    if format > FORMAT {
        return Err(StoreError::TooNew { found: format, known: FORMAT });
    }
    Ok(field(slot, 8).zip(field(slot, 16)).zip(field(slot, 48)).map(
        |((commits, running), incarnation)| Mark {
            commits: u64::from_le_bytes(commits),
            running,
            incarnation: u64::from_le_bytes(incarnation),
        },
    ))
}

fn field<const N: usize>(slot: &[u8], at: usize) -> Option<[u8; N]> {
    slot.get(at..)?.first_chunk().copied()
}

/// Name of the witness in the store directory.
pub(super) const FILE_NAME: &str = "anchor";

const SLOT_BYTES: usize = 64;
const MAGIC: &[u8; 4] = b"ROAN";
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn mark(incarnation: u64, commits: u64) -> Mark {
        Mark { commits, running: [commits as u8; 32], incarnation }
    }

    #[test]
    fn the_newest_mark_is_read_back_even_before_it_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let mut anchor = Anchor::start(dir.path(), &mark(1, 0), HOUR).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(mark(1, 0)));
        for commits in 1..4 {
            anchor.note(&mark(1, commits), SyncWhen::Later).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(mark(1, commits)));
        }
    }

    #[test]
    fn a_torn_write_falls_back_to_the_synced_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let mut anchor = Anchor::start(dir.path(), &mark(1, 5), HOUR).unwrap();
        for commits in 6..9 {
            let before = fs::read(&path).unwrap();
            anchor.note(&mark(1, commits), SyncWhen::Later).unwrap();
            let open = usize::try_from(anchor.open_slot).unwrap() * SLOT_BYTES;
            let mut torn = fs::read(&path).unwrap();
            let synced = (SLOT_BYTES - open)..(2 * SLOT_BYTES - open);
            assert_eq!(torn[synced.clone()], before[synced], "the synced slot was touched");
            torn[open + 20..open + 40].fill(0xFF);
            fs::write(&path, &torn).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(mark(1, commits - 1)));
            anchor.note(&mark(1, commits), SyncWhen::Now).unwrap();
        }
        fs::write(&path, b"garbage").unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
    }

    #[test]
    fn an_accepted_older_store_overrules_both_slots() {
        let dir = tempfile::tempdir().unwrap();
        drop(Anchor::start(dir.path(), &mark(3, 90), HOUR).unwrap());
        drop(Anchor::start(dir.path(), &mark(4, 50), HOUR).unwrap());
        assert_eq!(read(dir.path()).unwrap(), Some(mark(4, 50)));
    }

    #[test]
    fn a_store_behind_its_witness_or_beside_it_is_refused() {
        let witness = mark(1, 7);
        assert_eq!(witness.check(7, &witness.running), None);
        assert_eq!(witness.check(8, &[0; 32]), None);
        assert_eq!(witness.check(6, &[0; 32]), Some(Loss::Behind { store: 6, witness: 7 }));
        assert_eq!(witness.check(7, &[0; 32]), Some(Loss::Diverged { commit: 7 }));
    }

    #[test]
    fn a_later_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut slot = write_slot(&mark(1, 1));
        slot[4..8].copy_from_slice(&2_u32.to_le_bytes());
        let crc = crc32fast::hash(&slot[..56]);
        slot[56..60].copy_from_slice(&crc.to_le_bytes());
        fs::write(dir.path().join(FILE_NAME), slot).unwrap();
        assert!(matches!(read(dir.path()), Err(StoreError::TooNew { found: 2, known: 1 })));
    }
}
