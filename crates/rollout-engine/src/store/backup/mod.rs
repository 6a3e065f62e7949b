//! Owns the backup file: all journals of a store as plain bytes, independent of sled and of row formats.
//!
//! A line `rolloutd backup 1`, then frames `length u32 · crc32 u32 · body`, all integers little-endian. A body is one byte
//! that says what it is, and fields of fixed width with at most one text or payload at the end:
//!
//! | byte | frame | fields |
//! | --- | --- | --- |
//! | `A` | about | made at (unix seconds, i64), incarnation u64, commits u64, version (text) |
//! | `H` | head | rollout u64, entries u64, hash (32 bytes), standing (0 live, 1 ended); then come that many `E` |
//! | `E` | entry | rollout u64, number u64, payload |
//! | `K` | idempotency key | rollout u64, digest (32 bytes), key (text) |
//! | `Q` | quarantined rollout | rollout u64, first bad entry u64, length of the next text u32, why (text), place (text) |
//! | `Z` | end | number of heads, entries, keys and quarantined rollouts (u64 each), SHA-256 over all bytes before this frame |
//!
//! Nothing follows `Z`. Refuses whatever deviates, with the offset of the frame that does (`RO0209`). There are no
//! credentials in a store, so there are none in a backup.

mod hold;
mod read;
mod restore;

use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Age, Entry, Head, IdempotencyRow, Quarantined, Standing, StoreError, Surveyed};

pub use self::hold::HoldOrder;
pub(in crate::store) use self::read::first_entry;
pub use self::read::{begins_like_one, check};
pub use self::restore::{Existing, Restored, Then, restore};

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// When it was made, in seconds since 1970; 0 = not said.
    pub made_at: i64,
    /// The version of rolloutd that made it.
    pub version: String,
    /// How far the store had come.
    pub age: Age,
}

/// What a sound backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it says about itself.
    pub about: About,
    /// Its rollouts, in id order.
    pub rollouts: Vec<Surveyed>,
    /// Number of idempotency rows.
    pub keys: u64,
    /// Rollouts that were set aside in the store that it was made from.
    pub quarantined: Vec<Quarantined>,
}

impl Contents {
    /// Number of entries of all rollouts.
    pub fn entries(&self) -> u64 {
        self.rollouts.iter().map(|surveyed| surveyed.entries).sum()
    }
}

/// Why a backup could not be read or restored. Nothing was changed then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// Another kind of file.
    #[error("read the backup: it does not begin with `{}`, so it is no backup of rolloutd", FIRST_LINE.trim_end())]
    Foreign,
    /// A later version made it.
    #[error(
        "read the backup: it has format {found}, and this version knows formats up to {FORMAT}"
    )]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// It is not what was written.
    #[error("read the backup: at byte {offset}, {what}")]
    Damaged {
        /// Where the frame begins that does not fit.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The disk refused.
    #[error("read the backup")]
    Io {
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is a store where the backup is to go.
    #[error("restore the backup: there is a store already, and it is not to be replaced")]
    Occupied,
    /// The store could not be written.
    #[error("write the restored store")]
    Store(#[from] StoreError),
}

impl BackupError {
    /// The stable code, as in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Foreign | Self::TooNew { .. } | Self::Damaged { .. } => "RO0209",
            Self::Io { .. } => "RO0205",
            Self::Occupied => "RO0204",
            Self::Store(source) => source.code(),
        }
    }
}

/// Writes a backup piece by piece: `begin`, each rollout in id order, `end`. The pieces one after the other are the file.
#[derive(Debug)]
pub struct Encoder {
    hasher: Sha256,
    heads: u64,
    entries: u64,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self { hasher: Sha256::new(), heads: 0, entries: 0 }
    }

    /// The beginning.
    pub fn begin(&mut self, about: &About) -> Vec<u8> {
        let mut bytes = FIRST_LINE.as_bytes().to_vec();
        let Age { incarnation, commits } = about.age;
        let fields = [
            &about.made_at.to_le_bytes()[..],
            &incarnation.to_le_bytes(),
            &commits.to_le_bytes(),
            about.version.as_bytes(),
        ];
        push_frame(&mut bytes, b'A', &fields);
        self.hasher.update(&bytes);
        bytes
    }

    /// One rollout: its head, and its entries from the first to the one that the head names.
    pub fn rollout<'a>(
        &mut self,
        head: &Head,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Vec<u8> {
        let rollout = head.rollout.get().to_le_bytes();
        let standing = [u8::from(head.standing == Standing::Ended)];
        let mut bytes = Vec::new();
        let fields = [&rollout[..], &head.seq.get().to_le_bytes(), &head.hash, &standing];
        push_frame(&mut bytes, b'H', &fields);
        for entry in entries {
            let fields = [&rollout[..], &entry.seq.get().to_le_bytes(), &entry.payload];
            push_frame(&mut bytes, b'E', &fields);
            self.entries += 1;
        }
        self.heads += 1;
        self.hasher.update(&bytes);
        bytes
    }

    /// The rows that belong to no journal, and the end.
    pub fn end(mut self, keys: &[IdempotencyRow], quarantined: &[Quarantined]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for key in keys {
            let rollout = key.rollout.get().to_le_bytes();
            let fields = [&rollout[..], &key.request_digest, key.key.as_bytes()];
            push_frame(&mut bytes, b'K', &fields);
        }
        for aside in quarantined {
            let why = u32::try_from(aside.why.len()).unwrap_or(u32::MAX);
            let fields = [
                &aside.rollout.get().to_le_bytes()[..],
                &aside.seq.to_le_bytes(),
                &why.to_le_bytes(),
                aside.why.as_bytes(),
                aside.place.as_bytes(),
            ];
            push_frame(&mut bytes, b'Q', &fields);
        }
        self.hasher.update(&bytes);
        let counts = [self.heads, self.entries, keys.len() as u64, quarantined.len() as u64];
        let counts = counts.map(u64::to_le_bytes);
        let digest = self.hasher.finalize();
        let [heads, entries, keys, quarantined] = &counts;
        push_frame(&mut bytes, b'Z', &[heads, entries, keys, quarantined, &digest[..]]);
        bytes
    }
}

fn push_frame(bytes: &mut Vec<u8>, kind: u8, fields: &[&[u8]]) {
    let len = 1 + fields.iter().map(|field| field.len()).sum::<usize>();
    let len = u32::try_from(len).expect("a frame holds one bounded record");
    bytes.extend_from_slice(&len.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    fields.iter().for_each(|field| hasher.update(field));
    bytes.extend_from_slice(&hasher.finalize().to_le_bytes());
    bytes.push(kind);
    fields.iter().for_each(|field| bytes.extend_from_slice(field));
}

/// The format that this build writes, and the newest it reads.
const FORMAT: u32 = 1;
const FIRST_WORDS: &str = "rolloutd backup ";
const FIRST_LINE: &str = "rolloutd backup 1\n";
