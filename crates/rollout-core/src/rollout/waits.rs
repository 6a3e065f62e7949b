//! Owns the answer to "what is it waiting for?", in words. A live rollout that waits for nothing is a defect, and
//! [`Rollout::is_stuck`] finds it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};

use super::state::{Hold, Rollout, SlotUse, Stage, Status};
use crate::id::PhaseNumber;
use crate::measurement::{JudgedReading, ProbeState, Purpose};
use crate::plan::Proof;

/// One thing that a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// An effect that is being performed.
    Effect {
        /// What.
        what: String,
    },
    /// A moment.
    Until {
        /// When.
        at: Timestamp,
        /// What happens then.
        what: String,
    },
    /// A person.
    Person {
        /// What they are asked for, and the command for it.
        what: String,
    },
}

impl Rollout {
    /// Everything it waits for, the most telling first. Never empty for a live rollout.
    pub fn waits(&self) -> Vec<Wait> {
        let mut waits: Vec<Wait> = self.holds.iter().map(|hold| self.hold_wait(hold)).collect();
        waits.extend(self.slot_wait());
        if !self.is_held() {
            waits.extend(self.gate_waits());
        }
        if let Some((number, bake)) = self.baking() {
            let what = format!("the bake window of phase {number} ends");
            waits.push(Wait::Until { at: bake.ends_at(), what });
        }
        if self.status == Status::Scheduled {
            waits.push(Wait::Until { at: self.start_at, what: "the rollout starts".to_string() });
        }
        match (self.watch.observing, self.watch.next_at) {
            (Some((_, purpose)), _) => {
                waits.push(Wait::Effect { what: format!("reading: {}", purpose.words()) })
            }
            (None, Some(at)) => {
                waits.push(Wait::Until {
                    at,
                    what: format!("next reading: {}", self.purpose().words()),
                });
            }
            (None, None) => {}
        }
        waits
    }

    /// True when a live rollout has neither a pending effect nor a deadline nor a person to wait for.
    pub fn is_stuck(&self) -> bool {
        !self.status.is_terminal()
            && self.pending().is_empty()
            && self.next_deadline().is_none()
            && self.holds.is_empty()
    }

    fn hold_wait(&self, hold: &Hold) -> Wait {
        let words = self.hold_words(hold);
        match self.way_out(hold) {
            Some(way_out) => Wait::Person { what: format!("{words}; {way_out}") },
            None => Wait::Effect { what: format!("a reading that shows something ({words})") },
        }
    }

    fn slot_wait(&self) -> Option<Wait> {
        let what = match self.slot_use()? {
            SlotUse::Restore => "writing the safe values".to_string(),
            SlotUse::Revert => "setting changed flags back".to_string(),
            SlotUse::Enable(number) => format!("writing the flags of phase {number}"),
            SlotUse::FindWindow(number) => {
                format!("finding the change window of phase {number}")
            }
            SlotUse::Smoke => "starting the smoke test".to_string(),
        };
        match (self.slot.retry_at, self.slot.stopped) {
            (Some(at), _) => {
                let failed =
                    self.trouble().map(|why| format!(" (so far: {why})")).unwrap_or_default();
                Some(Wait::Until { at, what: format!("next try of {what}{failed}") })
            }
            (None, false) => Some(Wait::Effect { what }),
            (None, true) => None,
        }
    }

    fn gate_waits(&self) -> Vec<Wait> {
        if self.status == Status::FinalChecks {
            return self.final_waits();
        }
        let Some(number) = self.current().filter(|_| self.status == Status::Running) else {
            return Vec::new();
        };
        match self.phases[number.index()].stage {
            Stage::Preflight => self.preflight_waits(number),
            Stage::Gated => self.open_gates(number),
            Stage::Concluding => self.unticked_after(number),
            Stage::Pending
            | Stage::Enabling
            | Stage::Verifying
            | Stage::Baking
            | Stage::Completed
            | Stage::Skipped
            | Stage::RollingBack
            | Stage::Recovering
            | Stage::RolledBack => Vec::new(),
        }
    }

    fn preflight_waits(&self, number: PhaseNumber) -> Vec<Wait> {
        let id = self.id;
        let way_out = format!(
            "mend that, it is asked again by itself; or `rolloutctl skip {id} --phase {number} --reason …`; or `rolloutctl abort {id} --reason …`"
        );
        self.unmet_waits(way_out)
    }

    fn final_waits(&self) -> Vec<Wait> {
        let id = self.id;
        let adopted = self.adopted.iter().map(|(flag, value)| {
            format!(" ({flag} is {value:?} by somebody else, and was taken for right)")
        });
        let way_out = format!(
            "mend the app or its flags{}, it is asked again by itself; or `rolloutctl rollback {id} --all --reason …`; or `rolloutctl abort {id} --reason …`, which leaves the flags on",
            adopted.collect::<String>()
        );
        self.unmet_waits(way_out)
    }

    /// What must be otherwise first, and what a person can do about it; empty = nothing.
    fn unmet_waits(&self, way_out: String) -> Vec<Wait> {
        let unmet = self.unmet();
        let person = (!unmet.is_empty()).then_some(Wait::Person { what: way_out });
        unmet.into_iter().map(|what| Wait::Effect { what }).chain(person).collect()
    }

    /// What the preflight or the final reading wanted and did not find, while that keeps the rollout where it is:
    /// "`mode` to hold before the rollout completes; found …". Empty = nothing, or nothing was asked yet.
    pub fn unmet(&self) -> Vec<String> {
        let Some((_, purpose, reading)) = &self.watch.last else { return Vec::new() };
        match (self.status, purpose) {
            (Status::Running, Purpose::Preflight(number))
                if self.phases[number.index()].stage == Stage::Preflight =>
            {
                unmet(reading, &format!("before phase {number}"))
            }
            (Status::FinalChecks, Purpose::Final) if !self.final_checks_passed => {
                unmet(reading, "before the rollout completes")
            }
            _ => Vec::new(),
        }
    }

    /// What keeps a gated phase from being enabled. Empty = nothing but a look at the watch.
    pub(super) fn open_gates(&self, number: PhaseNumber) -> Vec<Wait> {
        let Some((phase, state)) = self.phase(number) else { return Vec::new() };
        let id = self.id;
        let items = self.plan.items_before(phase).filter(|item| item.proof == Proof::Person);
        let unticked =
            items.filter(|item| !state.ticked.contains_key(&item.name)).map(|item| Wait::Person {
                what: format!(
                    "{} (`rolloutctl check {id} {} --phase {number} --reason …`)",
                    item.text, item.name
                ),
            });
        let mut waits: Vec<Wait> = unticked.collect();
        let missing = usize::from(phase.approvals).saturating_sub(state.approved_by.len());
        if missing > 0 {
            let what = format!(
                "{missing} approval(s) of phase {number} (`rolloutctl approve {id} --phase {number} --reason …`)"
            );
            waits.push(Wait::Person { what });
        }
        if let Some((opens, _)) = state.window.filter(|(opens, _)| self.last_at < *opens) {
            waits.push(Wait::Until {
                at: opens,
                what: format!("the change window of phase {number} opens"),
            });
        }
        waits
    }

    /// Items after enabling that nobody has ticked yet.
    pub(super) fn unticked_after(&self, number: PhaseNumber) -> Vec<Wait> {
        let Some((phase, state)) = self.phase(number) else { return Vec::new() };
        let unticked = phase.after.iter().filter(|item| !state.ticked.contains_key(&item.name));
        let id = self.id;
        let asked = unticked.map(|item| Wait::Person {
            what: format!(
                "{} (`rolloutctl check {id} {} --phase {number} --reason …`)",
                item.text, item.name
            ),
        });
        asked.collect()
    }
}

impl Purpose {
    /// The purpose in words.
    pub fn words(self) -> String {
        match self {
            Self::Baseline => "baseline".to_string(),
            Self::Preflight(number) => format!("preflight of phase {number}"),
            Self::Verification(number) => format!("verification of phase {number}"),
            Self::Check => "check".to_string(),
            Self::Recovery => "read-back after rollback".to_string(),
            Self::Final => "final checks".to_string(),
            Self::Smoke => "smoke test".to_string(),
            Self::Backfill(to) => format!("look back to {to:.0}"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect { what } => f.write_str(what),
            Self::Until { at, what } => write!(f, "{what} at {at:.0}"),
            Self::Person { what } => write!(f, "a person: {what}"),
        }
    }
}

/// What a reading found that must be otherwise first.
fn unmet(reading: &JudgedReading, before: &str) -> Vec<String> {
    let probes = reading.probes.iter().filter(|answer| answer.state != ProbeState::Met);
    let probes =
        probes.map(|answer| format!("`{}` to hold {before}; found {}", answer.probe, answer.found));
    let breaches = reading
        .breaches()
        .map(|judged| format!("{} to be within its alert threshold {before}", judged.criterion));
    let unseen = reading.trouble().filter(|_| !reading.verdict.is_observed());
    let unseen = unseen.map(|why| format!("health that can be read {before}; found {why}"));
    probes.chain(breaches).chain(unseen).collect()
}

/// A checkpoint's label: `T+6h`, `T+1h30m`.
pub(crate) fn offset_label(offset: SignedDuration) -> String {
    let minutes = offset.as_mins();
    let (hours, rest) = (minutes / 60, minutes % 60);
    match (hours, rest, offset.as_secs() % 60) {
        (0, 0, seconds) => format!("T+{seconds}s"),
        (0, rest, _) => format!("T+{rest}m"),
        (hours, 0, _) => format!("T+{hours}h"),
        (hours, rest, _) => format!("T+{hours}h{rest}m"),
    }
}
