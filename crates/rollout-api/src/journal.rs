//! Owns the journal as the API shows it: one entry per event, numbered from 1 without gaps.
//!
//! The same entry is a row of a page and one message of the event stream; its `seq` is the stream's event id, so that a
//! reader resumes exactly where it stopped.

use serde::{Deserialize, Serialize};

/// One thing that happened to a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Position in the rollout's journal, from 1 on.
    pub seq: u64,
    /// When it was decided.
    pub at: String,
    /// Who made it happen: a person's name, or `rolloutd`.
    pub actor: String,
    /// Why, in a person's words, where a person did it.
    pub note: Option<String>,
    /// The event's name in snake case: `checkpoint_judged`.
    pub kind: String,
    /// The phase it belongs to.
    pub phase: Option<u8>,
    /// The event in one line.
    pub text: String,
    /// The event's own fields.
    pub details: serde_json::Value,
}

impl JournalEntry {
    /// The kind of entry that gives a checkpoint its verdict.
    pub const CHECKPOINT_JUDGED: &'static str = "checkpoint_judged";
    /// The kind of entry that completes a phase.
    pub const PHASE_COMPLETED: &'static str = "phase_completed";
    /// The kind of entry that leaves a phase out.
    pub const PHASE_SKIPPED: &'static str = "phase_skipped";
}

/// A page of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// The entries, oldest first.
    pub events: Vec<JournalEntry>,
    /// Ask with `after` = this for the next page; `None` = there is nothing more for now.
    pub next_after: Option<u64>,
}
