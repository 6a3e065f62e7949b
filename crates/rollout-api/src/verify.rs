//! Owns what a check of the whole store answers: `GET /v1/verify`, and what `rolloutd verify` prints.

use serde::{Deserialize, Serialize};

/// What a check of every entry of every journal found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Whether everything is what was written.
    pub sound: bool,
    /// All rollouts, oldest first; damaged ones too.
    pub rollouts: Vec<VerifiedRollout>,
    /// Rollouts that were damaged and set aside before; see RO0208.
    #[serde(default)]
    pub quarantined: Vec<QuarantinedView>,
    /// How many idempotency keys there are.
    pub keys: u64,
    /// What is wrong and belongs to no rollout.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// One rollout as it was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedRollout {
    /// `r1`.
    pub id: String,
    /// Number of entries; 0 where that cannot be read.
    pub entries: u64,
    /// `live`, `ended`, `unknown`; `ended, incident open` or `ended, flags watched` while something is left to do.
    pub state: String,
    /// The first entry that cannot be relied on, 0 for the rollout's head; `None` = all are sound.
    pub first_bad: Option<u64>,
    /// What is wrong, in words; empty for a sound rollout.
    #[serde(default)]
    pub wrong: String,
}

/// A rollout that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedView {
    /// `r1`.
    pub id: String,
    /// What was wrong with it.
    pub why: String,
    /// Where what could be read of it is kept, below the store's directory.
    pub place: String,
}

impl VerifyReport {
    /// Number of entries of all rollouts.
    pub fn entries(&self) -> u64 {
        self.rollouts.iter().map(|rollout| rollout.entries).sum()
    }
}
