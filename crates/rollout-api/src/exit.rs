//! Owns the exit codes of `rolloutctl`: one number per kind of ending, so that a script can tell them apart.
//!
//! The numbers are a promise; they are never given another meaning.

use std::fmt;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, or the awaited condition was reached.
    Done = 0,
    /// Something broke.
    Failed = 1,
    /// The command line makes no sense, or what it names is not there, or is there already.
    Usage = 2,
    /// The daemon refused, or the plan has errors.
    Refused = 3,
    /// Some of it was done and some was not.
    Partial = 4,
    /// The rollout is held and waits for a person.
    Held = 5,
    /// The rollout was rolled back.
    RolledBack = 6,
    /// The rollout was aborted.
    Aborted = 7,
    /// The time given for waiting is over.
    TimedOut = 8,
    /// The daemon does not answer.
    Unreachable = 9,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Partial,
        Self::Held,
        Self::RolledBack,
        Self::Aborted,
        Self::TimedOut,
        Self::Unreachable,
        Self::Interrupted,
    ];

    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The ending in words, as the manual lists it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done, or the condition was reached",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused, or the plan has errors",
            Self::Partial => "partly done",
            Self::Held => "held",
            Self::RolledBack => "rolled back",
            Self::Aborted => "aborted",
            Self::TimedOut => "time-out",
            Self::Unreachable => "daemon unreachable",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_manual() {
        let numbers = Exit::ALL.map(Exit::code);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
    }
}
