//! Owns what the rows of each table look like: keys, and the frozen content structs of version 1.
//!
//! A struct here never changes once released; a new shape is a `V2` with `From<V1>` and a higher row version. Keys
//! are big-endian, so the order of bytes is the order of rollouts and of entries.

use rollout_core::{RolloutId, Seq};
use serde::{Deserialize, Serialize};

use super::chain::{Staged, StagedEntry};
use super::codec::{self, CodecError, Place, ROW_BYTES_MAX, RowKind};
use super::{Hash, Head, IdempotencyRow, Quarantined, Standing};

/// The five tables. `meta` describes the store itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Meta,
    Journal,
    Heads,
    Parts,
    Idempotency,
}

impl Table {
    /// All, in the order of [`Table::index`].
    pub(super) const ALL: [Self; 5] =
        [Self::Meta, Self::Journal, Self::Heads, Self::Parts, Self::Idempotency];

    /// The table's name on disk; part of every checksum.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Journal => "journal",
            Self::Heads => "heads",
            Self::Parts => "chunks",
            Self::Idempotency => "idem",
        }
    }

    /// Its place in [`Table::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// How many commits there were, and the running hash over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitsV1 {
    pub(super) count: u64,
    pub(super) running: Hash,
}

/// One entry. Its payload is inline, or in `parts` rows of the parts table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalV1 {
    pub(super) previous: Hash,
    pub(super) parts: u16,
    pub(super) inline: Vec<u8>,
}

/// The end of one journal.
#[derive(Debug, Serialize, Deserialize)]
struct HeadV1 {
    seq: u64,
    hash: Hash,
    standing: StandingV1,
}

#[derive(Debug, Serialize, Deserialize)]
enum StandingV1 {
    Live,
    Ended,
}

/// What a key was used for; the key itself is the row's key.
#[derive(Debug, Serialize, Deserialize)]
struct IdempotencyV1 {
    rollout: u64,
    request_digest: Hash,
}

/// A rollout that was set aside; its id is in the key.
#[derive(Debug, Serialize, Deserialize)]
struct AsideV1 {
    seq: u64,
    why: String,
    place: String,
}

/// One row to write.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// The rollout whose entry this is: such rows are written once and never again.
    pub(super) entry_of: Option<RolloutId>,
}

impl Row {
    /// Every kind of row has a bounded size: payloads are split, and keys and hashes are small.
    fn new(table: Table, key: &[u8], sealed: Result<Vec<u8>, CodecError>) -> Self {
        let value = sealed.expect("rows are built from bounded pieces, so they fit their limit");
        assert!(
            value.len() <= ROW_BYTES_MAX,
            "a row beyond 8 KiB could end up in blobs/, unsynced"
        );
        Self { table, key: key.to_vec(), value, entry_of: None }
    }
}

/// All rows that a judged batch writes.
pub(super) fn of_batch(staged: &Staged<'_>, commits: &CommitsV1) -> Vec<Row> {
    let mut rows = Vec::with_capacity(staged.entries.len() + 2 * staged.heads.len() + 1);
    for entry in &staged.entries {
        push_entry(entry, &mut rows);
    }
    for (rollout, head) in &staged.heads {
        rows.push(Row::new(Table::Heads, &head_key(*rollout), seal_head(head)));
    }
    for (key, row) in &staged.keys {
        rows.push(Row::new(Table::Idempotency, key.as_bytes(), seal_idempotency(row)));
    }
    rows.push(commits_row(commits));
    rows
}

fn push_entry(entry: &StagedEntry<'_>, rows: &mut Vec<Row>) {
    let (rollout, seq, previous) = (entry.rollout, entry.seq, entry.previous);
    let mut journal = JournalV1 { previous, parts: 0, inline: Vec::new() };
    if entry.payload.len() <= PART_BYTES {
        journal.inline = entry.payload.to_vec();
    } else {
        for bytes in entry.payload.chunks(PART_BYTES) {
            let key = part_key(rollout, seq, journal.parts);
            let sealed = codec::seal_bytes(place(Table::Parts, &key), RowKind::Part, bytes);
            let row = Row::new(Table::Parts, &key, Ok(sealed));
            rows.push(Row { entry_of: Some(rollout), ..row });
            journal.parts += 1;
        }
    }
    let key = journal_key(rollout, seq.get());
    let sealed = codec::seal(place(Table::Journal, &key), RowKind::Journal, &journal);
    rows.push(Row { entry_of: Some(rollout), ..Row::new(Table::Journal, &key, sealed) });
}

pub(super) fn commits_row(commits: &CommitsV1) -> Row {
    meta_row(COMMITS_KEY, RowKind::Commits, commits)
}

pub(super) fn incarnation_row(incarnation: u64) -> Row {
    meta_row(INCARNATION_KEY, RowKind::Incarnation, &incarnation)
}

pub(super) fn schema_row(format: u32) -> Row {
    meta_row(SCHEMA_KEY, RowKind::Schema, &format)
}

fn meta_row<T: Serialize>(key: &[u8], kind: RowKind, row: &T) -> Row {
    Row::new(Table::Meta, key, codec::seal(place(Table::Meta, key), kind, row))
}

fn seal_head(head: &Head) -> Result<Vec<u8>, CodecError> {
    let standing = match head.standing {
        Standing::Live => StandingV1::Live,
        Standing::Ended => StandingV1::Ended,
    };
    let row = HeadV1 { seq: head.seq.get(), hash: head.hash, standing };
    codec::seal(place(Table::Heads, &head_key(head.rollout)), RowKind::Head, &row)
}

/// `Ok(None)` when the row is sound but says something that no store writes.
pub(super) fn unseal_head(rollout: RolloutId, bytes: &[u8]) -> Result<Option<Head>, CodecError> {
    let key = head_key(rollout);
    let row: HeadV1 = codec::unseal(place(Table::Heads, &key), RowKind::Head, bytes)?;
    let standing = match row.standing {
        StandingV1::Live => Standing::Live,
        StandingV1::Ended => Standing::Ended,
    };
    Ok(Seq::new(row.seq).map(|seq| Head { rollout, seq, hash: row.hash, standing }))
}

fn seal_idempotency(row: &IdempotencyRow) -> Result<Vec<u8>, CodecError> {
    let frozen = IdempotencyV1 { rollout: row.rollout.get(), request_digest: row.request_digest };
    codec::seal(place(Table::Idempotency, row.key.as_bytes()), RowKind::Idempotency, &frozen)
}

/// The row of an idempotency key, for a store that is built anew.
pub(super) fn idempotency_row(row: &IdempotencyRow) -> Row {
    Row::new(Table::Idempotency, row.key.as_bytes(), seal_idempotency(row))
}

/// The row of a rollout that was set aside.
pub(super) fn aside_row(aside: &Quarantined) -> Row {
    let key = aside_key(aside.rollout);
    let (why, place) = (bounded(&aside.why), bounded(&aside.place));
    meta_row(&key, RowKind::Aside, &AsideV1 { seq: aside.seq, why, place })
}

/// `Ok(None)` when the key names no rollout.
pub(super) fn unseal_aside(key: &[u8], bytes: &[u8]) -> Result<Option<Quarantined>, CodecError> {
    let row: AsideV1 = codec::unseal(place(Table::Meta, key), RowKind::Aside, bytes)?;
    let rollout = key.strip_prefix(ASIDE_PREFIX).and_then(rollout_of_head_key);
    Ok(rollout.map(|rollout| Quarantined { rollout, seq: row.seq, why: row.why, place: row.place }))
}

fn aside_key(rollout: RolloutId) -> Vec<u8> {
    [ASIDE_PREFIX, &head_key(rollout)].concat()
}

/// Texts in a row stay far below its limit.
fn bounded(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// `Ok(None)` when the row is sound but says something that no store writes.
pub(super) fn unseal_idempotency(
    key: &str,
    bytes: &[u8],
) -> Result<Option<IdempotencyRow>, CodecError> {
    let row: IdempotencyV1 =
        codec::unseal(place(Table::Idempotency, key.as_bytes()), RowKind::Idempotency, bytes)?;
    Ok(RolloutId::new(row.rollout).map(|rollout| IdempotencyRow {
        key: key.to_owned(),
        rollout,
        request_digest: row.request_digest,
    }))
}

pub(super) fn place(table: Table, key: &[u8]) -> Place<'_> {
    Place { table: table.name(), key }
}

pub(super) fn head_key(rollout: RolloutId) -> [u8; 8] {
    rollout.get().to_be_bytes()
}

pub(super) fn rollout_of_head_key(key: &[u8]) -> Option<RolloutId> {
    RolloutId::new(u64::from_be_bytes(key.try_into().ok()?))
}

/// Key of the entry at `seq`; 0 and `u64::MAX` serve as the ends of a range.
pub(super) fn journal_key(rollout: RolloutId, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&rollout.get().to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(super) fn seq_of_journal_key(key: &[u8]) -> Option<Seq> {
    let (_, seq) = key.split_first_chunk::<8>()?;
    Seq::new(u64::from_be_bytes(seq.try_into().ok()?))
}

/// Key of one part of a large entry.
pub(super) fn part_key(rollout: RolloutId, seq: Seq, part: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&journal_key(rollout, seq.get()));
    key[16..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The rollout of a journal's key.
pub(super) fn rollout_of_journal_key(key: &[u8]) -> Option<RolloutId> {
    rollout_of_head_key(key.get(..8)?)
}

/// Beginning of the keys in `meta` that name rollouts which were set aside.
pub(super) const ASIDE_PREFIX: &[u8] = b"aside:";
const TEXT_CHARS_MAX: usize = 500;

/// Key of the store format in `meta`.
pub(super) const SCHEMA_KEY: &[u8] = b"schema";
/// Key of the number of opens in `meta`.
pub(super) const INCARNATION_KEY: &[u8] = b"incarnation";
/// Key of the commit count in `meta`.
pub(super) const COMMITS_KEY: &[u8] = b"commit_seq";

/// Payloads up to this size are kept in their journal row; larger ones in parts of this size. Leaves 1 KiB of a
/// row's 8 for envelope, hash and lengths.
pub(super) const PART_BYTES: usize = 7 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_like_numbers_and_read_back() {
        let (low, high) = (RolloutId::new(255).unwrap(), RolloutId::new(256).unwrap());
        assert!(journal_key(low, u64::MAX) < journal_key(high, 0));
        assert!(journal_key(low, 255) < journal_key(low, 256));
        let seq = Seq::new(9).unwrap();
        assert_eq!(seq_of_journal_key(&journal_key(high, 9)), Some(seq));
        assert!(part_key(low, seq, 255) < part_key(low, seq, 256));
        assert_eq!(rollout_of_head_key(&head_key(high)), Some(high));
        assert_eq!(rollout_of_head_key(&[0; 8]), None);
    }

    #[test]
    fn the_largest_rows_fit_their_limit() {
        let rollout = RolloutId::FIRST;
        let row = JournalV1 { previous: [1; 32], parts: 0, inline: vec![7; PART_BYTES] };
        let key = journal_key(rollout, 1);
        let sealed = codec::seal(place(Table::Journal, &key), RowKind::Journal, &row).unwrap();
        assert!(sealed.len() <= codec::ROW_BYTES_MAX);
        let key = part_key(rollout, Seq::FIRST, 0);
        let sealed = codec::seal_bytes(place(Table::Parts, &key), RowKind::Part, &row.inline);
        assert!(sealed.len() <= codec::ROW_BYTES_MAX);
        assert!(codec::RECORD_BYTES_MAX.div_ceil(PART_BYTES) <= usize::from(u16::MAX));
    }

    #[test]
    fn the_heads_golden_bytes_stand() {
        let head = Head {
            rollout: RolloutId::FIRST,
            seq: Seq::FIRST,
            hash: [3; 32],
            standing: Standing::Ended,
        };
        let sealed = seal_head(&head).unwrap();
        let payload = [&1_u64.to_le_bytes()[..], &[3; 32], &1_u32.to_le_bytes()].concat();
        assert_eq!(sealed[..8], [0xA7, 5, 1, 0, 44, 0, 0, 0]);
        assert_eq!(sealed[8..sealed.len() - 4], payload);
        assert_eq!(unseal_head(head.rollout, &sealed).unwrap(), Some(head));
    }
}
