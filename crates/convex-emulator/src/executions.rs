//! The log of executions: the newest 1000, each with a cursor, and nothing older.
//!
//! A cursor is the time of an entry in milliseconds and grows strictly. The log lives in the
//! server's memory: a restart loses it, and the cursors of the next life may lie behind.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::completion::{Completion, EntryKind};
use crate::stamps::to_millis;

/// The log of executions.
#[derive(Debug, Clone, Default)]
pub struct ExecutionLog {
    entries: VecDeque<(f64, Completion)>,
    completions: usize,
    last_cursor: f64,
    /// How far the server's clock is behind since the last restart, in milliseconds.
    back_ms: f64,
    pushed: u64,
}

/// What a poll finds: the entries after its cursor and the cursor for the next poll.
#[derive(Debug)]
pub struct Found<'a> {
    /// Oldest first.
    pub entries: Vec<&'a Completion>,
    /// The cursor of the newest entry.
    pub cursor: f64,
}

impl ExecutionLog {
    /// Adds an execution that was logged at `now`; the oldest entries make room.
    pub fn push(&mut self, now: Timestamp, completion: Completion) {
        let cursor = self.clock(now).max(self.last_cursor + CURSOR_STEP_MS);
        self.last_cursor = cursor;
        self.pushed += 1;
        self.completions += usize::from(completion.kind == EntryKind::Completion);
        self.entries.push_back((cursor, completion));
        while self.completions > COMPLETIONS_MAX {
            let Some((_, oldest)) = self.entries.pop_front() else { break };
            self.completions -= usize::from(oldest.kind == EntryKind::Completion);
        }
    }

    /// The entries after `cursor`; `None` when there is nothing to tell, so that a poll waits.
    ///
    /// A cursor ahead of the server's clock comes from an earlier life of the server: it is
    /// answered with all that there is, and with a cursor that lies behind it.
    pub fn after(
        &self,
        cursor: f64,
        now: Timestamp,
        wanted: impl Fn(&Completion) -> bool,
    ) -> Option<Found<'_>> {
        let newest = self.clock(now).max(self.last_cursor);
        let is_foreign = cursor > newest && self.back_ms > 0.0;
        let from = if is_foreign { f64::NEG_INFINITY } else { cursor };
        let first = self.entries.partition_point(|(at, _)| *at <= from);
        let entries: Vec<&Completion> =
            self.entries.range(first..).map(|(_, entry)| entry).filter(|e| wanted(e)).collect();
        match self.entries.back() {
            Some((last, _)) if is_foreign || !entries.is_empty() => {
                Some(Found { entries, cursor: *last })
            }
            None if is_foreign => Some(Found { entries, cursor: newest }),
            _ => None,
        }
    }

    /// Loses everything; the cursors of what follows lie `back_ms` behind the clock.
    pub fn restart(&mut self, back_ms: f64) {
        let last_cursor = if back_ms > 0.0 { 0.0 } else { self.last_cursor };
        *self = Self { last_cursor, back_ms, pushed: self.pushed + 1, ..Self::default() };
    }

    /// Grows with every change.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    fn clock(&self, now: Timestamp) -> f64 {
        to_millis(now) - self.back_ms
    }
}

/// How many completions a server keeps by default.
pub const COMPLETIONS_MAX: usize = 1000;
/// Smallest distance of two cursors; a float holds 0.0003 ms at this magnitude.
const CURSOR_STEP_MS: f64 = 0.001;
