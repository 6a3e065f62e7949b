//! Owns the terms on which a store is opened, and what is reported about it.

use std::time::Duration;

use super::{Quarantined, Repair};

/// How to open a store.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// What to do with a store that is not what was acknowledged.
    pub damage: OnDamage,
    /// How often the witness is synced at the most: what a lost tail may hide from it after a power cut.
    pub witness_sync_every: Duration,
    /// How long this process is taken to hold the directory.
    pub tenure: Tenure,
}

/// How long a process is taken to hold a store's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Until the store is dropped.
    OfTheStore,
    /// Until the process ends, also while its store is closed because the disk failed: it drives rollouts on and takes the
    /// store again. There is no open file meanwhile, so that the file system can be unmounted and repaired.
    OfTheProcess,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            damage: OnDamage::Refuse,
            witness_sync_every: Duration::from_secs(1),
            tenure: Tenure::OfTheStore,
        }
    }
}

/// What to do with a store that is not what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Refuse with `RO0202` or `RO0203`, naming everything that is wrong.
    Refuse,
    /// Set the damaged rollouts aside for good and open with the rest; the damaged files are kept. An operator accepts
    /// that nobody drives those rollouts any more.
    SetAside,
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
    /// Rollouts that were set aside, now or earlier.
    pub quarantined: Vec<Quarantined>,
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
