//! Owns the witness's second half: how far each rollout had come, so that a lost tail can be told by name.
//!
//! The anchor (`anchor.rs`) knows that commits are missing; the ledger knows whose. Two files, `witness.0` and `witness.1`,
//! little-endian: a header `magic · format u32 · incarnation u64 · commits u64 · count u32 · crc32`, then marks of 24 bytes,
//! `rollout u64 · entry u64 with the top bit for "ended" · first 4 bytes of the entry's hash · crc32`. The first `count`
//! marks are the base, all heads at one moment; behind it each commit adds the heads that it moved, and a mark of rollout 0
//! with its own number: up to there nothing is missing. At most once per period a new base goes into the other file and is
//! synced, so one of the two is always whole.
//!
//! A mark's checksum also covers the header, so what an earlier base left behind in the file is never taken for a mark. A
//! torn mark ends the file; a torn base makes the other file count.
//!
//! The files never grow under a commit: room for marks is written as zeros beforehand, since on a journaling file system the
//! metadata of a file that grows is committed with every sync of the database. When the room is used up, it is time for a
//! new base.
//!
//! Invariant: like the anchor, the ledger never knows of anything that was not durable in the store first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rollout_core::{RolloutId, Seq};

use super::{Hash, Head, Standing, StoreError};

/// How far one rollout had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// The last entry that the witness knows of.
    pub(super) seq: Seq,
    /// Whether the rollout still ran.
    pub(super) standing: Standing,
    /// The beginning of that entry's hash.
    short: [u8; SHORT_BYTES],
}

impl Reached {
    fn of(head: &Head) -> Self {
        let mut short = [0; SHORT_BYTES];
        short.copy_from_slice(&head.hash[..SHORT_BYTES]);
        Self { seq: head.seq, standing: head.standing, short }
    }

    /// Whether the entry with this hash is the one that was seen.
    pub(super) fn fits(&self, hash: &Hash) -> bool {
        hash.starts_with(&self.short)
    }
}

/// All that the newest whole file knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Which opening of the store wrote it.
    pub(super) incarnation: u64,
    /// The commit up to which it knows everything.
    pub(super) commits: u64,
    /// How far each rollout had come. Not every ended rollout need be in it.
    pub(super) reached: BTreeMap<RolloutId, Reached>,
}

/// What the newest whole ledger of `dir` knows; `None` when there is none.
///
/// # Errors
/// [`StoreError::TooNew`] for a later format, `RO0205` when a file cannot be read.
pub(super) fn read(dir: &Path) -> Result<Option<Known>, StoreError> {
    let mut newest: Option<Known> = None;
    for name in FILE_NAMES {
        let Some(known) = read_file(&dir.join(name))? else { continue };
        let age = |known: &Known| (known.incarnation, known.commits);
        if newest.as_ref().is_none_or(|newest| age(&known) > age(newest)) {
            newest = Some(known);
        }
    }
    Ok(newest)
}

fn read_file(path: &Path) -> Result<Option<Known>, StoreError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read the witness"))?,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open the witness")(error)),
    };
    let Some((header, marks)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if !header.starts_with(MAGIC) || header[28..] != crc32fast::hash(&header[..28]).to_le_bytes() {
        return Ok(None);
    }
    let format = u32::from_le_bytes(part(header, 4));
    if format > FORMAT {
        return Err(StoreError::TooNew { found: format, known: FORMAT });
    }
    let count = u32::from_le_bytes(part(header, 24)) as usize;
    let mut known = Known {
        incarnation: u64::from_le_bytes(part(header, 8)),
        commits: u64::from_le_bytes(part(header, 16)),
        reached: BTreeMap::new(),
    };
    let mut whole = 0;
    for mark in marks.as_chunks::<MARK_BYTES>().0 {
        match read_mark(header, mark) {
            Some(Mark::Rollout(rollout, reached)) => drop(known.reached.insert(rollout, reached)),
            Some(Mark::Commit(number)) => known.commits = number,
            None => break,
        }
        whole += 1;
    }
    Ok((whole >= count).then_some(known))
}

/// One mark of 24 bytes.
enum Mark {
    Rollout(RolloutId, Reached),
    /// All marks of this commit stand before this one.
    Commit(u64),
}

/// The open ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    files: [File; 2],
    /// The file with the newest base, which takes what moves.
    current: usize,
    header: [u8; HEADER_BYTES],
    /// Where the next mark goes.
    end: u64,
    /// How much of each file is written, with marks or with zeros.
    written: [u64; 2],
}

/// Whether marks still fit behind the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    /// Nothing was noted; it is time for a new base.
    Used,
}

impl Ledger {
    /// Opens or creates the ledger of `dir` and makes `heads` its newest base, durably, in both files: what an older one
    /// says may have been overruled.
    pub(super) fn start<'a>(
        dir: &Path,
        incarnation: u64,
        commits: u64,
        heads: impl Iterator<Item = &'a Head> + Clone,
    ) -> Result<Self, StoreError> {
        let open = |name: &str| {
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
                .map_err(StoreError::io("open the witness"))
        };
        let files = [open(FILE_NAMES[0])?, open(FILE_NAMES[1])?];
        let header = [0; HEADER_BYTES];
        let mut ledger = Self { files, current: 0, header, end: 0, written: [0; 2] };
        for (file, written) in ledger.files.iter().zip(&mut ledger.written) {
            *written = file.metadata().map_err(StoreError::io("open the witness"))?.len();
        }
        ledger.rebase(incarnation, commits, heads.clone())?;
        ledger.rebase(incarnation, commits, heads)?;
        Ok(ledger)
    }

    /// Adds how far these rollouts have come with the commit of this number; must be durable in the store.
    pub(super) fn note<'a>(
        &mut self,
        commit: u64,
        heads: impl Iterator<Item = &'a Head>,
    ) -> Result<Room, StoreError> {
        let mut bytes = Vec::with_capacity(2 * MARK_BYTES);
        for head in heads {
            bytes.extend_from_slice(&write_mark(&self.header, head));
        }
        bytes.extend_from_slice(&sealed(&self.header, 0, commit, [0; SHORT_BYTES]));
        let end = self.end + bytes.len() as u64;
        if end > self.written[self.current] {
            return Ok(Room::Used);
        }
        self.files[self.current]
            .write_all_at(&bytes, self.end)
            .map_err(StoreError::io("write the witness"))?;
        self.end = end;
        Ok(Room::Left)
    }

    /// Writes a new base into the other file and syncs it.
    pub(super) fn rebase<'a>(
        &mut self,
        incarnation: u64,
        commits: u64,
        heads: impl Iterator<Item = &'a Head>,
    ) -> Result<(), StoreError> {
        let marked = marked(heads);
        let header = write_header(incarnation, commits, marked.len());
        let mut bytes = header.to_vec();
        for head in marked {
            bytes.extend_from_slice(&write_mark(&header, head));
        }
        let end = bytes.len() as u64;
        let other = 1 - self.current;
        if self.written[other] < end + ROOM_BYTES_MIN {
            bytes.resize(bytes.len() + ROOM_BYTES, 0);
        }
        let file = &self.files[other];
        file.write_all_at(&bytes, 0).map_err(StoreError::io("write the witness"))?;
        file.sync_data().map_err(StoreError::io("sync the witness"))?;
        self.written[other] = self.written[other].max(bytes.len() as u64);
        (self.current, self.header, self.end) = (other, header, end);
        Ok(())
    }
}

/// All live rollouts, and the youngest of the ended ones.
fn marked<'a>(heads: impl Iterator<Item = &'a Head>) -> Vec<&'a Head> {
    let (live, mut ended): (Vec<_>, Vec<_>) =
        heads.partition(|head| head.standing == Standing::Live);
    let old = ended.len().saturating_sub(ENDED_MAX);
    [live, ended.split_off(old)].concat()
}

fn write_header(incarnation: u64, commits: u64, count: usize) -> [u8; HEADER_BYTES] {
    let count = u32::try_from(count).expect("fewer than four billion rollouts fit into memory");
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(MAGIC);
    header[4..8].copy_from_slice(&FORMAT.to_le_bytes());
    header[8..16].copy_from_slice(&incarnation.to_le_bytes());
    header[16..24].copy_from_slice(&commits.to_le_bytes());
    header[24..28].copy_from_slice(&count.to_le_bytes());
    let crc = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn write_mark(header: &[u8; HEADER_BYTES], head: &Head) -> [u8; MARK_BYTES] {
    let reached = Reached::of(head);
    let ended = if head.standing == Standing::Ended { ENDED_BIT } else { 0 };
    sealed(header, head.rollout.get(), head.seq.get() | ended, reached.short)
}

fn sealed(
    header: &[u8; HEADER_BYTES],
    rollout: u64,
    number: u64,
    short: [u8; SHORT_BYTES],
) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..8].copy_from_slice(&rollout.to_le_bytes());
    mark[8..16].copy_from_slice(&number.to_le_bytes());
    mark[16..20].copy_from_slice(&short);
    let crc = mark_crc(header, &mark);
    mark[20..].copy_from_slice(&crc.to_le_bytes());
    mark
}

fn read_mark(header: &[u8; HEADER_BYTES], mark: &[u8; MARK_BYTES]) -> Option<Mark> {
    if mark[20..] != mark_crc(header, mark).to_le_bytes() {
        return None;
    }
    let seq = u64::from_le_bytes(part(mark, 8));
    let standing = if seq & ENDED_BIT == 0 { Standing::Live } else { Standing::Ended };
    let Some(rollout) = RolloutId::new(u64::from_le_bytes(part(mark, 0))) else {
        return Some(Mark::Commit(seq));
    };
    let seq = Seq::new(seq & !ENDED_BIT)?;
    Some(Mark::Rollout(rollout, Reached { seq, standing, short: part(mark, 16) }))
}

fn mark_crc(header: &[u8; HEADER_BYTES], mark: &[u8; MARK_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // Without its own checksum: a checksum over bytes and their checksum is the same for all bytes.
    hasher.update(&header[..28]);
    hasher.update(&mark[..20]);
    hasher.finalize()
}

/// The bytes at a place that the layout above has.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

/// Names of the two files in the store directory.
pub(super) const FILE_NAMES: [&str; 2] = ["witness.0", "witness.1"];

/// Ended rollouts in a base at the most, the youngest ones: 96 KiB. An older one is named by its head and its chain only.
const ENDED_MAX: usize = 4_096;
/// More than a second of the fastest disk seen, and a million rollouts.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Room for marks behind a base: half a second of the fastest disk seen.
const ROOM_BYTES: usize = 256 << 10;
/// With less than this a file gets new room.
const ROOM_BYTES_MIN: u64 = ROOM_BYTES as u64 / 2;

const HEADER_BYTES: usize = 32;
const MARK_BYTES: usize = 24;
const SHORT_BYTES: usize = 4;
const ENDED_BIT: u64 = 1 << 63;
const MAGIC: &[u8; 4] = b"ROHL";
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64, seq: u64, standing: Standing) -> Head {
        let rollout = RolloutId::new(number).unwrap();
        Head { rollout, seq: Seq::new(seq).unwrap(), hash: [seq as u8; 32], standing }
    }

    fn known(dir: &Path) -> Vec<(u64, u64, Standing)> {
        let reached = read(dir).unwrap().unwrap().reached;
        let rows = reached.iter();
        rows.map(|(id, reached)| (id.get(), reached.seq.get(), reached.standing)).collect()
    }

    #[test]
    fn bases_and_what_moved_since_are_read_back() {
        use Standing::{Ended, Live};
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let heads = [head(1, 5, Live), head(2, 9, Ended)];
        let mut ledger = Ledger::start(dir.path(), 1, 10, heads.iter()).unwrap();
        assert_eq!(known(dir.path()), [(1, 5, Live), (2, 9, Ended)]);
        ledger.note(11, [head(1, 6, Live), head(3, 1, Live)].iter()).unwrap();
        ledger.note(12, [head(1, 7, Ended)].iter()).unwrap();
        assert_eq!(read(dir.path()).unwrap().unwrap().commits, 12);
        assert_eq!(known(dir.path()), [(1, 7, Ended), (2, 9, Ended), (3, 1, Live)]);
        ledger.rebase(1, 13, [head(1, 7, Ended)].iter()).unwrap();
        assert_eq!(known(dir.path()), [(1, 7, Ended)], "the newer base counts alone");
        drop(Ledger::start(dir.path(), 2, 2, [head(1, 2, Live)].iter()).unwrap());
        assert_eq!(known(dir.path()), [(1, 2, Live)], "a later opening overrules both files");
        assert!(read(dir.path()).unwrap().unwrap().reached[&RolloutId::FIRST].fits(&[2; 32]));
    }

    #[test]
    fn room_that_is_used_up_asks_for_a_new_base_and_files_do_not_grow() {
        use Standing::Live;
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::start(dir.path(), 1, 0, [head(1, 1, Live)].iter()).unwrap();
        let sizes = || FILE_NAMES.map(|name| fs::metadata(dir.path().join(name)).unwrap().len());
        let (before, mut seq, mut bases) = (sizes(), 1, 0);
        while bases < 3 {
            seq += 1;
            let moved = [head(1, seq, Live)];
            if ledger.note(seq, moved.iter()).unwrap() == Room::Used {
                ledger.rebase(1, seq, moved.iter()).unwrap();
                bases += 1;
            }
            if seq.is_multiple_of(500) || bases == 3 {
                assert_eq!(known(dir.path()), [(1, seq, Live)]);
            }
        }
        assert_eq!(sizes(), before);
        assert!(seq > 3 * ROOM_BYTES as u64 / 2 / 48, "{seq}");
    }

    /// Every cut and every flipped bit of the newest file: what was known in the base is known, or the other file counts.
    #[test]
    fn a_torn_file_never_invents_anything() {
        use Standing::Live;
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::start(dir.path(), 1, 1, [head(1, 1, Live)].iter()).unwrap();
        ledger.rebase(1, 2, [head(1, 2, Live), head(2, 1, Live)].iter()).unwrap();
        ledger.note(3, [head(1, 3, Live)].iter()).unwrap();
        let path = dir.path().join(FILE_NAMES[ledger.current]);
        let mut whole = fs::read(&path).unwrap();
        // The room behind the marks is zeros.
        whole.truncate(usize::try_from(ledger.end).unwrap());
        let allowed = [
            vec![(1, 3, Live), (2, 1, Live)],
            vec![(1, 2, Live), (2, 1, Live)],
            vec![(1, 1, Live)],
        ];
        let mut seen = [0; 3];
        let cuts = (0..whole.len()).map(|len| whole[..len].to_vec());
        let flips = (0..whole.len() * 8).map(|bit| {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        });
        for torn in cuts.chain(flips).chain([whole.clone()]) {
            fs::write(&path, &torn).unwrap();
            let known = known(dir.path());
            let which = allowed.iter().position(|allowed| *allowed == known);
            seen[which.unwrap_or_else(|| panic!("invented {known:?}"))] += 1;
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}
