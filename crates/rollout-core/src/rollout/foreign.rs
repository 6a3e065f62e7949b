//! Owns what is known of flags that somebody else changed, for whoever must decide about them: the value, the one it should
//! be, who wrote it, and the way out.
//!
//! For words; the one decision that looks at it reads flags once more before another one is turned on.

use alloc::format;
use alloc::string::{String, ToString};

use jiff::Timestamp;

use super::changes::DriftKind;
use super::state::{Hold, Rollout};
use crate::event::HoldReason;
use crate::id::{FlagName, PhaseNumber};
use crate::measurement::{FlagValues, JudgedReading, Written};
use crate::report::{env_set, value_words, write_words};

/// A flag with another value than this rollout gave it, by the last reading of flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignValue {
    /// The flag.
    pub flag: FlagName,
    /// The value it should have.
    pub expected: String,
    /// The value it has; `None` = not set.
    pub found: Option<String>,
    /// When that was read.
    pub read_at: Timestamp,
    /// The write, as far as the deployment tells.
    pub written: Option<Written>,
    kind: DriftKind,
}

impl ForeignValue {
    /// `RETRY is "maybe", expected "true"; written 2026-11-22 08:00 UTC by bob`.
    pub fn words(&self) -> String {
        let written = self.written.as_ref().map(write_words).unwrap_or_default();
        let (found, expected) =
            (value_words(self.found.as_deref()), value_words(Some(&self.expected)));
        format!("{} is {found}, expected {expected}{written}", self.flag)
    }

    /// What ends the hold. Whoever turned a flag off may have had a reason, and is asked first.
    fn way_out(&self, rollout: &Rollout) -> String {
        let id = rollout.id();
        let set = format!("`{}`", env_set(&self.flag, &self.expected));
        let resume = format!("`rolloutctl resume {id} --reason …`");
        match self.kind {
            DriftKind::TurnedOff => format!(
                "find out why it was turned off; then turn it on again with {set} and {resume}, or `rolloutctl rollback {id} --reason …`"
            ),
            DriftKind::Other => {
                format!(
                    "set it back with {set}, then {resume}; or `rolloutctl rollback {id} --reason …`"
                )
            }
            DriftKind::TurnedOn => format!("turn it off with {set}, then {resume}"),
        }
    }
}

impl Rollout {
    /// What is known of a flag that had another value than this rollout gave it when flags were read last. `None` = it has its
    /// value, it is being written, or it was not read yet.
    pub fn foreign_value(&self, flag: &FlagName) -> Option<ForeignValue> {
        let (read_at, values) = self.watch.flags.as_ref()?;
        let found = value_in(values, flag);
        let (expected, kind) = self.foreign_kind(self.phase_of(flag)?, flag, found.as_deref())?;
        Some(ForeignValue {
            flag: flag.clone(),
            expected: expected.to_string(),
            found,
            read_at: *read_at,
            written: self.foreign.get(flag).cloned().flatten(),
            kind,
        })
    }

    /// True when any flag had a foreign value when flags were read last.
    pub(super) fn has_foreign_value(&self) -> bool {
        let mut flags = self.plan.phases.iter().flat_map(|phase| phase.flags.keys());
        flags.any(|flag| self.foreign_value(flag).is_some())
    }

    /// A hold's reason in words, with what is known of it by now: who said it and why, where it was a person.
    pub fn hold_words(&self, hold: &Hold) -> String {
        let HoldReason::Drift { flag } = &hold.reason else {
            return match (&hold.reason, &hold.note) {
                (HoldReason::Person, Some(note)) => format!("held by {}: {note}", hold.by),
                (HoldReason::Person, None) => format!("held by {}", hold.by),
                (reason, _) => reason.words(),
            };
        };
        match self.foreign_value(flag) {
            Some(foreign) => format!("drift: {}", foreign.words()),
            None if self.has_its_value(flag) => {
                format!("{}, and has its value again", hold.reason.words())
            }
            None => hold.reason.words(),
        }
    }

    /// What a person says to end a hold; `None` = it ends by itself.
    pub fn way_out(&self, hold: &Hold) -> Option<String> {
        let id = self.id;
        let resume = format!("`rolloutctl resume {id} --reason …`");
        Some(match &hold.reason {
            HoldReason::Blind { .. } => return None,
            HoldReason::RolledBack { incident } => {
                let open =
                    self.incidents.iter().any(|i| i.number == *incident && i.resolved.is_none());
                match open {
                    true => format!(
                        "`rolloutctl incident resolve {id} {incident} --reason …`, then retry, skip or abort"
                    ),
                    false => format!("`rolloutctl retry {id}`, `skip` or `abort`"),
                }
            }
            HoldReason::CoverageShort { .. } => format!("`rolloutctl promote {id}` or `rollback`"),
            HoldReason::Drift { flag } => match self.foreign_value(flag) {
                Some(foreign) => foreign.way_out(self),
                None => resume,
            },
            HoldReason::Person
            | HoldReason::Baseline { .. }
            | HoldReason::EffectFailed { .. }
            | HoldReason::Missed { .. }
            | HoldReason::CodePush { .. }
            | HoldReason::ClockJump
            | HoldReason::Smoke { .. } => resume,
        })
    }

    /// Keeps who wrote the foreign values last: a value that changed without a word on who did it is nobody's, and a flag that
    /// has its value again is done with.
    pub(super) fn learn_who(&mut self, reading: &JudgedReading) {
        let Ok(values) = &reading.flags else { return };
        let mut foreign = core::mem::take(&mut self.foreign);
        foreign.retain(|flag, _| !self.is_as_expected(flag, value_in(values, flag).as_deref()));
        for (flag, last) in &mut foreign {
            let before = self.watch.flags.as_ref().map(|(_, before)| value_in(before, flag));
            match reading.writes.get(flag) {
                Some(written) => *last = Some(written.clone()),
                None if before.is_some_and(|before| before != value_in(values, flag)) => {
                    *last = None;
                }
                None => {}
            }
        }
        self.foreign = foreign;
    }

    fn has_its_value(&self, flag: &FlagName) -> bool {
        let read = self.watch.flags.as_ref();
        read.is_some_and(|(_, values)| self.is_as_expected(flag, value_in(values, flag).as_deref()))
    }

    fn phase_of(&self, flag: &FlagName) -> Option<PhaseNumber> {
        let mut phases = self.plan.numbered();
        phases.find(|(_, phase)| phase.flags.contains_key(flag)).map(|(number, _)| number)
    }
}

fn value_in(values: &FlagValues, flag: &FlagName) -> Option<String> {
    values.get(flag).cloned().flatten()
}
