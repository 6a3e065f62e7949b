//! Owns what can go wrong with the store, in words an operator can act on, and the stable code of each.
//!
//! Causes are shared (`Arc`), because a store that failed once answers every later commit with the same first cause.

use std::any::Any;
use std::io;
use std::sync::Arc;

use rollout_core::RolloutId;

use super::Findings;
use super::codec::{CodecError, ROW_VERSION};

/// Why the store refused, or could not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a row was written by a later version. Nothing was changed.
    #[error(
        "read store format {found}: this version knows formats up to {known}, so a later version wrote it"
    )]
    TooNew {
        /// The format that was found.
        found: u32,
        /// The newest that this build reads.
        known: u32,
    },
    /// One rollout's journal is not what was written.
    #[error("read {} of rollout {rollout}: {what}; restore the store from a backup", place(.seq))]
    Damaged {
        /// The rollout concerned.
        rollout: RolloutId,
        /// The first entry that does not fit; 0 for the head.
        seq: u64,
        /// What does not fit.
        what: Damage,
    },
    /// The store as a whole cannot be read.
    #[error("read the store: {what}; restore it from a backup")]
    Unreadable {
        /// What was found.
        what: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// The store as a whole does not hold what was acknowledged; everything that is wrong with it.
    #[error("check the store: {findings}")]
    Unsound {
        /// What was found; not empty.
        findings: Arc<Findings>,
    },
    /// What is in the place of a store that failed is not that store.
    #[error(
        "take the store that is there now: entry {seq} of {rollout} was acknowledged and is not in it, so it is another store or an older one; bring the right one back, or put the flags back and restart rolloutd on this one"
    )]
    NotOurs {
        /// The first rollout of ours that is not in it as it was acknowledged.
        rollout: RolloutId,
        /// Where its journal ended.
        seq: u64,
    },
    /// There is no store in the directory.
    #[error("find a store: there is none in the directory")]
    Missing,
    /// Another process has the store open.
    #[error("open the store: {} has it open", holder(.pid))]
    Locked {
        /// The other process, where it could be read.
        pid: Option<u32>,
    },
    /// Another process has lost the store, drives its rollouts on, and is going to take it again.
    #[error(
        "open the store: process {pid} closed it and still runs: it lost its disk and drives the rollouts on, or is about to end; stop it first"
    )]
    Bereft {
        /// The other process.
        pid: u32,
    },
    /// The disk refused.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The caller's view of a journal is stale. Nothing was changed.
    #[error("append to rollout {rollout} after entry {after}: its journal ends at {seq}")]
    Conflict {
        /// The rollout concerned.
        rollout: RolloutId,
        /// Where the caller thought the journal ends.
        after: u64,
        /// Where it ends; 0 if there is none.
        seq: u64,
    },
    /// The idempotency key was used before. Nothing was changed.
    #[error("record the idempotency key `{key}`: it was used before")]
    KeyTaken {
        /// The key.
        key: String,
    },
    /// The append can never be stored. Nothing was changed.
    #[error("append to rollout {rollout}: {what}")]
    Unacceptable {
        /// The rollout concerned.
        rollout: RolloutId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store's thread panicked; the store is no longer used.
    #[error("use the store: its thread panicked ({message})")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The store was closed.
    #[error("use the store: it is closed")]
    Closed,
}

impl StoreError {
    /// The stable code, as in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooNew { .. } => "RO0201",
            Self::Damaged { .. } | Self::Unreadable { .. } => "RO0202",
            Self::Unsound { findings } => findings.code(),
            Self::NotOurs { .. } => "RO0203",
            Self::Locked { .. } | Self::Bereft { .. } => "RO0204",
            Self::Missing | Self::Io { .. } => "RO0205",
            Self::Conflict { .. } | Self::KeyTaken { .. } | Self::Unacceptable { .. } => "RO0206",
            Self::Panicked { .. } | Self::Closed => "RO0207",
        }
    }

    /// Whether the store said no, changed nothing, and goes on working.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::KeyTaken { .. } | Self::Unacceptable { .. })
    }

    /// The disk does not answer.
    pub(crate) fn hangs() -> Self {
        Self::io("wait for the disk")(io::Error::from(io::ErrorKind::TimedOut))
    }

    /// Whether the disk is full, or as much of it as this user may have.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_lack_of_room(source))
    }

    /// Turns a system error into one that says what was being done; for `map_err`.
    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source: Arc::new(source) }
    }

    /// A row of `rollout` that does not pass its checks; `seq` 0 for the head.
    pub(super) fn damaged_row(rollout: RolloutId, seq: u64, error: CodecError) -> Self {
        let what = match error {
            CodecError::Newer { found } => return Self::newer_row(found),
            CodecError::Checksum => Damage::Checksum,
            CodecError::Kind { .. } | CodecError::Encode(_) | CodecError::Decode(_) => {
                Damage::Undecodable
            }
        };
        Self::Damaged { rollout, seq, what }
    }

    /// A row that belongs to no rollout and does not pass its checks.
    pub(super) fn misread(what: &'static str, error: CodecError) -> Self {
        if let CodecError::Newer { found } = error {
            return Self::newer_row(found);
        }
        let source = Arc::new(io::Error::new(io::ErrorKind::InvalidData, error));
        Self::Unreadable { what: format!("{what} is damaged"), source: Some(source) }
    }

    fn newer_row(found: u16) -> Self {
        Self::TooNew { found: u32::from(found), known: u32::from(ROW_VERSION) }
    }

    pub(super) fn unreadable(what: impl Into<String>) -> Self {
        Self::Unreadable { what: what.into(), source: None }
    }
}

/// Whether the system refused a write for want of room. A quota is met like a full disk: removing files helps.
pub(super) fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What does not fit in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Bytes and place do not fit the checksum: flipped, torn or moved.
    #[error("the checksum does not fit the bytes at this place")]
    Checksum,
    /// The checksum fits, the content makes no sense.
    #[error("the row cannot be decoded")]
    Undecodable,
    /// The entry is not there.
    #[error("the entry is missing")]
    Missing,
    /// A part of a large entry is not there.
    #[error("a part of the entry is missing")]
    PartMissing,
    /// The entry does not continue the one before.
    #[error("the entry does not continue the one before it")]
    BrokenChain,
    /// The last entry is not the one that the head names.
    #[error("the last entry is not the one that the head names")]
    HeadMismatch,
    /// Entries beyond the head, or without any.
    #[error("the entry lies beyond the head")]
    BeyondHead,
    /// The database could not read the page.
    #[error("the database reports corruption")]
    Page,
    /// Entries that the witness knows of are gone.
    #[error("entries up to {upto} were acknowledged and are gone")]
    Lost {
        /// The last entry that the witness knows of.
        upto: u64,
    },
    /// The entry is not the one that the witness saw.
    #[error("the entry is another one than was acknowledged")]
    Replaced,
    /// Something was lost, and the witness cannot say whose it was.
    #[error("acknowledged entries are gone, and nothing says that they were not this rollout's")]
    Suspect,
}

impl Damage {
    /// Whether acknowledged entries are gone, rather than there and not readable.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Replaced | Self::Suspect)
    }
}

/// What a panic said, as far as it is text.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

fn place(seq: &u64) -> String {
    if *seq == 0 { "the head".to_owned() } else { format!("entry {seq}") }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_place_and_carry_codes() {
        let rollout = RolloutId::FIRST;
        let head = StoreError::Damaged { rollout, seq: 0, what: Damage::Checksum };
        assert!(
            head.to_string().starts_with("read the head of rollout r1: the checksum"),
            "{head}"
        );
        let entry = StoreError::Damaged { rollout, seq: 7, what: Damage::Missing };
        assert!(
            entry.to_string().starts_with("read entry 7 of rollout r1: the entry is missing"),
            "{entry}"
        );
        assert_eq!(entry.code(), "RO0202");
        assert_eq!(
            StoreError::Locked { pid: Some(7) }.to_string(),
            "open the store: process 7 has it open"
        );
        assert_eq!(
            StoreError::Locked { pid: None }.to_string(),
            "open the store: another process has it open"
        );
    }

    #[test]
    fn only_refusals_leave_the_store_usable() {
        let rollout = RolloutId::FIRST;
        assert!(StoreError::Conflict { rollout, after: 1, seq: 2 }.is_refusal());
        assert!(StoreError::KeyTaken { key: "k".to_owned() }.is_refusal());
        let full = StoreError::io("commit")(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!full.is_refusal() && full.is_disk_full());
        const EDQUOT: i32 = 122;
        assert!(StoreError::io("commit")(io::Error::from_raw_os_error(EDQUOT)).is_disk_full());
        assert!(!StoreError::io("commit")(io::Error::from_raw_os_error(5)).is_disk_full());
    }
}
