//! Owns what becomes of effects: which ending belongs to which wait, and what a failure means there.
//!
//! An ending that nobody waits for any more (late, repeated, from before a restart) is data: it gives no events.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::state::SlotUse;
use super::step::Step;
use crate::cadence::saturating_add;
use crate::effect::{Fault, FaultClass, Outcome, Pace};
use crate::event::{EventKind, HoldReason};
use crate::id::EffectKey;
use crate::input::Rejection;
use crate::measurement::{Measured, Measurement, ProbeAnswer, ProbeState, Reading};
use crate::plan::SmokeRepeat;
use crate::retry;

impl Step {
    /// Takes an ending. False when nobody waits for it.
    pub(super) fn effect_ended(
        &mut self,
        key: EffectKey,
        outcome: Outcome,
    ) -> Result<bool, Rejection> {
        if key.rollout != self.state.id {
            return Err(Rejection::Misfit { key });
        }
        if let Some((seq, purpose)) = self.state.watch.observing
            && seq == key.seq
        {
            let reading = match outcome {
                Outcome::Observed(reading) => reading,
                Outcome::Failed { fault, pace: _ } => self.blank_reading(fault),
                Outcome::FlagsSet { .. }
                | Outcome::Invoked { .. }
                | Outcome::ChangeWindowFound { .. } => {
                    return Err(Rejection::Misfit { key });
                }
            };
            self.reading_ended(purpose, reading);
            return Ok(true);
        }
        let slot = &self.state.slot;
        let awaited = slot.seq == key.seq && slot.is_under_way();
        match self.state.slot_use().filter(|_| awaited) {
            Some(used) => self.slot_ended(used, key, outcome).map(|()| true),
            None => Ok(false),
        }
    }

    /// A reading of which every part failed alike.
    fn blank_reading(&self, fault: Fault) -> Reading {
        let failed = |criterion: &crate::Criterion| {
            Measurement::of(&criterion.name, Measured::Failed(fault.reason.clone()))
        };
        let measurements = self.state.plan.criteria.iter().map(failed).collect();
        let probes = self.state.pending().into_iter().flat_map(|pending| match pending.effect {
            crate::Effect::Observe(observation) => observation.probes,
            crate::Effect::SetFlags { .. }
            | crate::Effect::Invoke { .. }
            | crate::Effect::FindChangeWindow { .. } => Vec::new(),
        });
        let unanswered = |probe: crate::Probe| ProbeAnswer {
            probe: probe.name,
            state: ProbeState::Failed,
            found: fault.reason.clone(),
        };
        let probes = probes.map(unanswered).collect();
        Reading::of(Err(fault), measurements, probes)
    }

    fn slot_ended(
        &mut self,
        used: SlotUse,
        key: EffectKey,
        outcome: Outcome,
    ) -> Result<(), Rejection> {
        match (used, outcome) {
            (SlotUse::Restore, Outcome::FlagsSet { wrote, already }) => {
                self.emit(EventKind::FlagsRestored { wrote, already });
                self.release(|reason| matches!(reason, HoldReason::EffectFailed { .. }));
            }
            (SlotUse::Revert, Outcome::FlagsSet { wrote, already }) => {
                self.emit(EventKind::DriftReverted { wrote, already });
            }
            (SlotUse::Enable(phase), Outcome::FlagsSet { wrote, already }) => {
                self.emit(EventKind::FlagsSet { phase, wrote, already });
            }
            (SlotUse::FindWindow(phase), Outcome::ChangeWindowFound { opens, closes }) => {
                self.emit(EventKind::ChangeWindowFound { phase, opens, closes });
            }
            (SlotUse::Smoke, Outcome::Invoked { value }) => {
                self.emit(EventKind::SmokeCreated { id: value })
            }
            (used, Outcome::Failed { fault, pace }) => self.slot_failed(used, fault, pace),
            (
                SlotUse::Restore
                | SlotUse::Revert
                | SlotUse::Enable(_)
                | SlotUse::FindWindow(_)
                | SlotUse::Smoke,
                Outcome::Observed(_)
                | Outcome::FlagsSet { .. }
                | Outcome::Invoked { .. }
                | Outcome::ChangeWindowFound { .. },
            ) => return Err(Rejection::Misfit { key }),
        }
        Ok(())
    }

    fn slot_failed(&mut self, used: SlotUse, fault: Fault, pace: Pace) {
        let failed = self.state.slot.failed.saturating_add(1);
        let seed = self.state.id.get() ^ self.state.slot.seq.get() << 32;
        let again = Some(saturating_add(self.now, retry::write_delay(failed, seed, pace)));
        let why = fault.to_string();
        let once =
            self.state.plan.smoke.as_ref().is_some_and(|test| test.repeat == SmokeRepeat::Never);
        match (used, fault.class) {
            // A rollback never gives up. A person is told when it needs one, and it goes on trying.
            (SlotUse::Restore, class) => {
                self.emit(EventKind::EffectFailed { fault, retry_at: again });
                let told = self
                    .state
                    .holds
                    .iter()
                    .any(|hold| matches!(hold.reason, HoldReason::EffectFailed { .. }));
                if class == FaultClass::Permanent && !told {
                    self.hold(HoldReason::EffectFailed { why });
                }
            }
            (SlotUse::Smoke, FaultClass::Permanent) => self.stop_smoke(why),
            (SlotUse::Smoke, FaultClass::Unknown) if once => self.stop_smoke(why),
            (
                SlotUse::Enable(_) | SlotUse::Revert | SlotUse::FindWindow(_),
                FaultClass::Permanent,
            ) => {
                self.emit(EventKind::EffectFailed { fault, retry_at: None });
                self.hold(HoldReason::EffectFailed { why });
            }
            // Values are absolute and read before they are written, so an unknown outcome is simply tried again.
            (
                SlotUse::Enable(_) | SlotUse::Revert | SlotUse::FindWindow(_) | SlotUse::Smoke,
                FaultClass::Transient | FaultClass::Unknown,
            ) => self.emit(EventKind::EffectFailed { fault, retry_at: again }),
        }
    }
}
