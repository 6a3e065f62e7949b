//! Owns what others change while a rollout is live: flags (drift) and the code that they switch.
//!
//! Invariants: whatever is seen is recorded before anything is done about it; a foreign value is replaced a few times at
//! most, so that two tools never fight for long; between two readings with the same value, a flag that was written has had
//! nobody knows what value, and that time was not observed.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;

use super::LATE_WRITE_MAX;
use super::state::{Revert, Rollout, Slot, Stage};
use super::step::Step;
use crate::event::{EventKind, HoldReason};
use crate::id::{FlagName, PhaseNumber};
use crate::measurement::{JudgedReading, Written};
use crate::plan::{DriftPolicy, PushPolicy};

/// How often foreign values are replaced before a person is asked. More would be a fight between two tools.
const REVERTS_MAX: u32 = 3;

/// What a flag should be, at one moment of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected<'a> {
    /// The value that counts as on; the safe one beside it.
    On(&'a str, &'a str),
    /// Not set, or its safe value.
    Off(&'a str),
    /// Being written; anything goes.
    Any,
}

/// A flag with a value that this rollout did not give it.
struct Drift {
    flag: FlagName,
    expected: String,
    found: Option<String>,
    kind: DriftKind,
}

/// What may be done about a foreign value without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriftKind {
    /// A flag of a phase that is on has its safe value, or none. Perhaps somebody turned it off because of an emergency, or the
    /// engine did and could not record it: turning it on again takes a person, and there is nothing to watch.
    TurnedOff,
    /// A flag of a phase that is on has a third value.
    Other,
    /// A flag of a phase that is off is not. It may be set back; taken for right it would be on without its gates.
    TurnedOn,
}

impl Step {
    /// Says that somebody wrote flags which have the values they should have.
    pub(super) fn tell_rewrites(&mut self, reading: &JudgedReading) {
        let Ok(found) = &reading.flags else { return };
        if !self.state.minds_changes() {
            return;
        }
        let news = reading.writes.iter().filter(|(flag, _)| {
            let value = found.get(*flag).and_then(Option::as_deref);
            self.state.known.writes.contains_key(*flag) && self.state.is_as_expected(flag, value)
        });
        let news: Vec<(FlagName, Written)> =
            news.map(|(flag, written)| (flag.clone(), written.clone())).collect();
        for (flag, written) in news {
            self.emit(EventKind::FlagRewritten { flag, written });
        }
    }

    /// Says which flags have foreign values, and does about it what the plan says.
    pub(super) fn tell_drift(&mut self, reading: &JudgedReading) {
        let mut changes = BTreeMap::new();
        let drifts = self.state.drifts(reading);
        // Whoever turned one flag off may have changed the others for the same reason: a person looks at all of them.
        let is_free = self.state.slot_use().is_none()
            && !self.state.is_held()
            && drifts.iter().all(|drift| drift.kind != DriftKind::TurnedOff);
        let may_revert = is_free && self.state.reverts < REVERTS_MAX;
        for drift in drifts {
            let Drift { flag, expected, found, kind } = drift;
            let written = reading.writes.get(&flag).cloned();
            let (known, new) = (Some(expected.clone()), found.clone());
            self.emit(EventKind::DriftFound {
                flag: flag.clone(),
                expected: known,
                found: new,
                written,
            });
            match (self.state.plan.drift, kind, found) {
                (DriftPolicy::Adopt, DriftKind::Other, Some(value)) => {
                    self.emit(EventKind::DriftAdopted { flag, value });
                }
                (DriftPolicy::Revert, DriftKind::Other | DriftKind::TurnedOn, _) if may_revert => {
                    changes.insert(flag, expected);
                }
                (DriftPolicy::Hold | DriftPolicy::Revert | DriftPolicy::Adopt, ..) => {
                    self.hold(HoldReason::Drift { flag });
                }
            }
        }
        if !changes.is_empty() {
            self.emit(EventKind::RevertStarted { changes });
        }
    }

    /// Setting back is one write, right after the reading that showed a foreign value. What could not be done then (a hold of the same
    /// step, a write that failed, a restart) may have been changed on purpose since, and no reading tells while it is to be
    /// written: a person decides.
    pub(super) fn stop_stale_revert(&mut self, begins_anew: bool) {
        let Some(revert) = &self.state.revert else { return };
        let is_old = self.now.duration_since(revert.since) > LATE_WRITE_MAX;
        let waits = self.state.is_held() || self.state.slot.failed > 0;
        if !(is_old || begins_anew || waits) {
            return;
        }
        let flags: Vec<FlagName> = revert.changes.keys().cloned().collect();
        for flag in flags {
            self.hold(HoldReason::Drift { flag });
        }
    }

    /// Does about a push of code in the middle of a window what the plan says.
    pub(super) fn tell_push(&mut self, pushed: Option<Timestamp>, reading: &JudgedReading) {
        let Some((phase, _)) = self.state.baking() else { return };
        let Some(pushed_at) = pushed else { return };
        self.emit(EventKind::CodePushed { phase, pushed_at });
        let is_on = self.state.flags_are_on(phase, reading);
        match self.state.plan.code_push {
            PushPolicy::Extend => {}
            // Flags that are off would fail the verification, and with it the phase: a person looks first.
            PushPolicy::Rebaseline if is_on => self.emit(EventKind::WindowRestarted { phase }),
            PushPolicy::Hold | PushPolicy::Rebaseline => {
                let mut reasons = self.state.holds.iter().map(|hold| &hold.reason);
                if !reasons.any(|reason| matches!(reason, HoldReason::CodePush { .. })) {
                    self.hold(HoldReason::CodePush { phase, pushed_at });
                }
            }
        }
    }
}

impl Rollout {
    /// Applies what became of foreign changes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`evolve` sends only these kinds here")]
    pub(super) fn evolve_changes(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::DriftSeen { flag, .. } => {
                self.foreign.insert(flag.clone(), None);
            }
            EventKind::DriftFound { flag, written, .. } => {
                // A write that was told before is no news; it is the one all the same while the value is.
                let told = self.foreign.remove(flag).flatten();
                self.foreign.insert(flag.clone(), written.clone().or(told));
            }
            EventKind::FlagRewritten { flag, written } => {
                self.known.writes.insert(flag.clone(), written.at);
                let baking = self.baking().map(|(number, _)| number);
                let mine = baking.filter(|number| {
                    self.plan.phase(*number).is_some_and(|phase| phase.flags.contains_key(flag))
                });
                if let Some(bake) =
                    mine.and_then(|number| self.phases[number.index()].bake.as_mut())
                {
                    bake.drifted = true;
                    self.flipped_at = Some(at);
                }
            }
            EventKind::DriftAdopted { flag, value } => {
                self.adopted.insert(flag.clone(), value.clone());
                self.flipped_at = Some(at);
            }
            EventKind::RevertStarted { changes } => {
                self.revert = Some(Revert { changes: changes.clone(), since: at });
                self.reverts = self.reverts.saturating_add(1);
                self.slot = Slot::asked_by(self.seq);
            }
            EventKind::DriftReverted { .. } => {
                let changes = self.revert.take().map(|revert| revert.changes);
                self.flipped(at, changes.into_iter().flatten().map(|(flag, _)| flag));
                self.read_at(at);
            }
            EventKind::CodePushed { phase, .. } => {
                self.flipped_at = Some(at);
                let begins_again = self.plan.code_push == PushPolicy::Extend;
                let bake = self.phases[phase.index()].bake.as_mut();
                if let Some(bake) = bake.filter(|_| begins_again) {
                    bake.begin_again(at);
                }
            }
            _ => {}
        }
    }

    /// A person decides about this flag now. It may have been written all the same, so the time of its last write is forgotten.
    pub(super) fn leave_revert(&mut self, flag: &FlagName) {
        let Some(revert) = &mut self.revert else { return };
        if revert.changes.remove(flag).is_some() {
            self.known.writes.remove(flag);
        }
        if revert.changes.is_empty() {
            self.revert = None;
        }
    }

    /// Nothing is set back any more; what was to be may have been written.
    pub(super) fn drop_revert(&mut self) {
        let changes = self.revert.take().map(|revert| revert.changes);
        for flag in changes.into_iter().flatten().map(|(flag, _)| flag) {
            self.known.writes.remove(&flag);
        }
    }

    /// This rollout wrote flags, or found that they need no writing: who wrote them before is no news, and what ran before
    /// says nothing about what runs now.
    pub(super) fn flipped(&mut self, at: Timestamp, flags: impl Iterator<Item = FlagName>) {
        self.flipped_at = Some(at);
        for flag in flags {
            self.known.writes.remove(&flag);
            self.adopted.remove(&flag);
            self.foreign.remove(&flag);
        }
    }

    /// From now on what a reading told is known.
    pub(super) fn learn(&mut self, reading: &JudgedReading) {
        self.learn_who(reading);
        let writes = reading.writes.iter().map(|(flag, written)| (flag.clone(), written.at));
        self.known.writes.extend(writes);
        self.known.push = reading.push.or(self.known.push);
        self.cursors.extend(reading.cursors.clone());
    }

    /// A push of code that came after one that was known.
    pub(super) fn code_pushed(&self, reading: &JudgedReading) -> Option<Timestamp> {
        reading.push.filter(|_| self.known.push.is_some())
    }

    /// True once the flags' values are this rollout's business.
    fn minds_changes(&self) -> bool {
        !self.baseline_flags.is_empty() && !self.status.is_terminal()
    }

    pub(super) fn is_as_expected(&self, flag: &FlagName, value: Option<&str>) -> bool {
        let mut phases = self.plan.numbered();
        let phase = phases.find(|(_, phase)| phase.flags.contains_key(flag));
        let expected = phase.map_or(Expected::Any, |(number, _)| self.expected(number, flag));
        match expected {
            Expected::On(on, _) => value == Some(on),
            Expected::Off(safe) => value.is_none_or(|value| value == safe),
            Expected::Any => false,
        }
    }

    /// The flags with foreign values of which nobody has been told yet.
    fn drifts(&self, reading: &JudgedReading) -> Vec<Drift> {
        let Ok(values) = &reading.flags else { return Vec::new() };
        if !self.minds_changes() {
            return Vec::new();
        }
        let mut drifts = Vec::new();
        for (number, phase) in self.plan.numbered() {
            for flag in phase.flags.keys() {
                let value = values.get(flag).and_then(Option::as_deref);
                let Some((expected, kind)) = self.foreign_kind(number, flag, value) else {
                    continue;
                };
                if !self.is_held_by(&HoldReason::Drift { flag: flag.clone() }) {
                    drifts.push(Drift {
                        flag: flag.clone(),
                        expected: expected.to_string(),
                        found: value.map(ToString::to_string),
                        kind,
                    });
                }
            }
        }
        drifts
    }

    /// The value that a flag should have, where `value` is another one, and what may be done about that.
    pub(super) fn foreign_kind<'a>(
        &'a self,
        number: PhaseNumber,
        flag: &FlagName,
        value: Option<&str>,
    ) -> Option<(&'a str, DriftKind)> {
        match self.expected(number, flag) {
            Expected::On(on, safe) if value.is_none_or(|value| value == safe) => {
                Some((on, DriftKind::TurnedOff))
            }
            Expected::On(on, _) if value != Some(on) => Some((on, DriftKind::Other)),
            Expected::Off(safe) if value.is_some_and(|value| value != safe) => {
                Some((safe, DriftKind::TurnedOn))
            }
            Expected::On(..) | Expected::Off(_) | Expected::Any => None,
        }
    }

    fn expected<'a>(&'a self, number: PhaseNumber, flag: &FlagName) -> Expected<'a> {
        let Some((phase, state)) = self.phase(number) else { return Expected::Any };
        let Some(change) = phase.flags.get(flag) else { return Expected::Any };
        if self.revert.as_ref().is_some_and(|revert| revert.changes.contains_key(flag)) {
            return Expected::Any;
        }
        match state.stage {
            Stage::Pending
            | Stage::Preflight
            | Stage::Gated
            | Stage::Skipped
            | Stage::RolledBack => Expected::Off(&change.safe),
            Stage::Baking | Stage::Concluding | Stage::Completed => {
                Expected::On(self.on_value(flag, change), &change.safe)
            }
            Stage::Enabling | Stage::Verifying | Stage::RollingBack | Stage::Recovering => {
                Expected::Any
            }
        }
    }
}
