//! Owns the journal as the API shows it: one entry per event, numbered from 1 without gaps.
//!
//! The same entry is a row of a page and one message of the event stream; its `seq` is the stream's event id, so that a
//! reader resumes exactly where it stopped. The event's id says the entry's moment as well: after a backup was restored, another
//! entry stands at the same place, and a [`Position`] of the journal before is not one of this journal.

use std::fmt;

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

/// A reader's place in a journal, as the event stream's ids say it: `34@2026-11-22T10:00:00Z`, or `34` for a reader that knows no
/// more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last entry that the reader has; 0 = none.
    pub seq: u64,
    /// When that entry was decided, as the entry says it.
    pub at: Option<String>,
}

impl Position {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, at) = match text.trim().split_once('@') {
            Some((seq, at)) => (seq, Some(at.to_owned())),
            None => (text.trim(), None),
        };
        Some(Self { seq: seq.parse().ok()?, at })
    }
}

impl From<u64> for Position {
    fn from(seq: u64) -> Self {
        Self { seq, at: None }
    }
}

impl From<&JournalEntry> for Position {
    fn from(entry: &JournalEntry) -> Self {
        Self { seq: entry.seq, at: Some(entry.at.clone()) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{}@{at}", self.seq),
            None => self.seq.fmt(f),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["0", "34", "34@2026-11-22T10:00:00.5Z"] {
            assert_eq!(Position::parse(text).map(|found| found.to_string()), Some(text.to_owned()));
        }
        for wrong in ["", "@", "-1", "r1", "3 4", "@2026-11-22T10:00:00Z"] {
            assert_eq!(Position::parse(wrong), None, "{wrong:?}");
        }
    }
}
