//! Owns the terms on which a store is opened, and what is reported about it.

use std::time::Duration;

use super::Repair;

/// How to open a store.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// What to do when the witness knows of more than the store.
    pub witness: Witness,
    /// How often the witness is synced at the most: what a lost tail may hide from it after a power cut.
    pub witness_sync_every: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { witness: Witness::Enforce, witness_sync_every: Duration::from_secs(1) }
    }
}

/// What to do when the witness knows of more than the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Refuse with `RO0203`.
    Enforce,
    /// Take the store as it is: an operator checked what is missing and accepts the loss.
    Overrule,
}

/// What was found on opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether the store is new.
    pub origin: Origin,
    /// How often this store was opened, this time included.
    pub incarnation: u64,
    /// Number of commits so far.
    pub commits: u64,
    /// Number of rollouts that still run.
    pub live: usize,
    /// Number of rollouts that reached their end.
    pub ended: usize,
    /// What had to be put right.
    pub repairs: Vec<Repair>,
}

/// Whether the store is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There was none in the directory.
    Created,
    /// It was there already.
    Reopened,
}
