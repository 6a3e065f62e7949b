//! Owns the port to the durable journal: what is kept, when it counts as kept, and what a caller may rely on.
//!
//! The store knows bytes, not what a rollout means: `record.rs` turns core events into payloads and back. It refuses
//! to guess: whatever does not fit its checksum, its place or its hash chain is reported as damaged, never skipped.
//!
//! Invariants: a `commit` that returned `Ok` survives a power cut; a commit is applied whole or not at all; the
//! entries of one rollout are numbered 1, 2, 3 … without gaps, and each is bound to the one before by its hash.
//!
//! Two implementations: [`SledStore`] on disk and, for tests, `MemoryStore`. One suite, `contract.rs`, judges both.

mod afresh;
mod anchor;
pub mod backup;
mod chain;
pub(crate) mod codec;
mod copy;
mod directory;
mod error;
mod findings;
mod ledger;
mod lock;
mod online;
mod opening;
mod rebuild;
pub mod record;
mod replace;
mod reserve;
mod rows;
mod salvage;
mod sled;
mod writer;

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

use rollout_core::{RolloutId, Seq};

pub(crate) use self::chain::{hash_at, heads_after};
pub use self::codec::{CodecError, RECORD_BYTES_MAX, decode, encode};
pub use self::directory::Repair;
pub use self::error::{Damage, StoreError};
pub use self::findings::{Finding, Findings, Loss, Survey, Surveyed, Unsettled};
pub use self::online::{BackupStream, Inventory, survey};
pub use self::opening::{OnDamage, OpenOptions, OpenReport, Origin, Tenure};
pub use self::reserve::{RESERVE_BYTES, SledSource};
pub use self::salvage::{Salvaged, salvaged};
pub use self::sled::SledStore;
pub use self::writer::{Writer, WriterHandle};

/// A sha256 digest, as it stands in the hash chain.
pub type Hash = [u8; 32];

/// One journal entry: its place and the bytes that `record.rs` encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the journal of its rollout.
    pub seq: Seq,
    /// The encoded event; at most [`RECORD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// What one decision adds to the journal of one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The rollout whose journal grows.
    pub rollout: RolloutId,
    /// The last position that the caller knows; 0 for a new rollout. Must be the end of the journal.
    pub after: u64,
    /// Payloads in order; the first becomes entry `after + 1`. May be empty, except for a new rollout.
    pub entries: Vec<Vec<u8>>,
    /// How the rollout stands once this is applied.
    pub standing: Standing,
    /// The idempotency key that this answers, kept in the same transaction.
    pub idempotency: Option<IdempotencyRow>,
}

/// Whether a rollout still needs watching. Kept in the head row, so that ended rollouts are not folded again at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The rollout is to be loaded and driven after a restart.
    Live,
    /// The rollout reached its end; its journal is only read on request.
    Ended,
}

/// The end of one rollout's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The rollout.
    pub rollout: RolloutId,
    /// Position of its last entry.
    pub seq: Seq,
    /// Hash of its last entry, which covers all before.
    pub hash: Hash,
    /// Whether the rollout still runs.
    pub standing: Standing,
}

/// What an idempotency key was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// The client's key; 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// The rollout that the request created or changed.
    pub rollout: RolloutId,
    /// Digest of the request, so that reuse of the key with another request can be refused.
    pub request_digest: Hash,
}

/// How far a store has come. Goes on after a restore, so that a witness is never older than what it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// How often it was opened.
    pub incarnation: u64,
    /// Number of commits.
    pub commits: u64,
}

/// A rollout that was damaged and set aside: it is not driven, and its id is never given to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The rollout.
    pub rollout: RolloutId,
    /// The first entry that could not be relied on; 0 for its head.
    pub seq: u64,
    /// What was wrong, in words.
    pub why: String,
    /// Where what could be read of it is kept, below the store's directory.
    pub place: String,
}

/// The durable journal of all rollouts. Blocking; owned by one thread, see [`Writer`].
pub trait Store: Send + 'static {
    /// Every head, in id order.
    ///
    /// # Errors
    /// None of the shipped stores fails here: the rows were checked when the store was opened.
    fn heads(&self) -> Result<Vec<Head>, StoreError>;

    /// The entries of one rollout from `from` on, each checked against its checksum, its place and the hash chain up
    /// to the head. Empty for a rollout that does not exist, and beyond the end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first entry that does not fit; `RO0201` for rows of a later version.
    fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError>;

    /// At most `max` entries of one rollout from `from` on, checked as by [`Store::journal`] as far as they are read. A store
    /// that can stop early does, so that a page costs what it shows.
    ///
    /// # Errors
    /// As [`Store::journal`], for what is read.
    fn page(&self, rollout: RolloutId, from: Seq, max: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.journal(rollout, from)?;
        entries.truncate(max);
        Ok(entries)
    }

    /// Applies all appends in one transaction; durable when it returns `Ok`.
    ///
    /// # Errors
    /// A refusal ([`StoreError::is_refusal`]: conflict, key taken, not acceptable) changes nothing and leaves the
    /// store usable. After any other error the fate of the batch is unknown until the store is opened again, and
    /// every later commit fails with the first cause.
    fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError>;

    /// What `key` was used for, if it was.
    ///
    /// # Errors
    /// `RO0202` when the row is damaged.
    fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError>;

    /// Every idempotency row, in the order of the keys.
    ///
    /// # Errors
    /// `RO0202` when one of them is damaged.
    fn idempotency_rows(&self) -> Result<Vec<IdempotencyRow>, StoreError>;

    /// Rollouts that were set aside as damaged, in id order. A store that cannot be damaged has none.
    fn quarantined(&self) -> Vec<Quarantined> {
        Vec::new()
    }

    /// How often the store was opened and how many commits it took, for a backup to carry on from.
    fn age(&self) -> Age {
        Age::default()
    }

    /// Flushes what is left and syncs the witness; the last call. Later commits fail with [`StoreError::Closed`].
    ///
    /// # Errors
    /// `RO0205` when the disk fails, or the cause that made an earlier commit fail.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// Longest idempotency key, in bytes: a UUID has 36, and a key must stay far below a row.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
