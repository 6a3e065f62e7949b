//! Owns one journal entry as the wire has it.

use rollout_api::JournalEntry;
use rollout_core::{EventKind, PhaseNumber, Plan, Purpose, event_name, sentence};
use rollout_engine::Entry;

use super::fields::fields;
use super::moment;

/// An entry of the journal of a rollout with this plan.
pub(crate) fn entry(entry: &Entry, plan: &Plan) -> JournalEntry {
    let event = &entry.event;
    JournalEntry {
        seq: entry.seq.get(),
        at: moment(event.at),
        actor: event.actor.to_string(),
        note: event.note.clone(),
        kind: event_name(&event.kind).to_owned(),
        phase: phase_of(&event.kind).map(PhaseNumber::get),
        text: sentence(event, Some(plan)),
        details: fields(&event.kind, plan),
    }
}

/// The phase that an event belongs to.
fn phase_of(kind: &EventKind) -> Option<PhaseNumber> {
    match kind {
        EventKind::GapRecorded { phase, .. }
        | EventKind::CheckpointJudged { phase, .. }
        | EventKind::PhaseStarted { phase }
        | EventKind::PreflightPassed { phase }
        | EventKind::PreflightExpired { phase }
        | EventKind::ItemTicked { phase, .. }
        | EventKind::PhaseApproved { phase }
        | EventKind::ChangeWindowFound { phase, .. }
        | EventKind::EnablingStarted { phase }
        | EventKind::FlagsSet { phase, .. }
        | EventKind::BakeStarted { phase }
        | EventKind::BakeEnded { phase }
        | EventKind::PhaseCompleted { phase, .. }
        | EventKind::PhaseSkipped { phase, .. }
        | EventKind::RetryOrdered { phase } => Some(*phase),
        EventKind::RollbackStarted { phases, .. } => phases.first().copied(),
        EventKind::ReadingStarted { purpose } | EventKind::ReadingTaken { purpose, .. } => {
            phase_of_reading(*purpose)
        }
        EventKind::RolloutCreated { .. }
        | EventKind::EngineResumed { .. }
        | EventKind::ClockJumped { .. }
        | EventKind::BaselineStarted
        | EventKind::BaselinePassed
        | EventKind::EffectFailed { .. }
        | EventKind::EffectRetried
        | EventKind::DriftSeen { .. }
        | EventKind::Held { .. }
        | EventKind::Released { .. }
        | EventKind::FlagsRestored { .. }
        | EventKind::RestoreLost { .. }
        | EventKind::RollbackFinished
        | EventKind::IncidentResolved { .. }
        | EventKind::AbortOrdered
        | EventKind::RolloutAborted
        | EventKind::FinalChecksStarted
        | EventKind::FinalChecksPassed
        | EventKind::SmokeStarted
        | EventKind::SmokeCreated { .. }
        | EventKind::SmokePassed
        | EventKind::SmokeFailed { .. }
        | EventKind::RolloutCompleted => None,
    }
}

fn phase_of_reading(purpose: Purpose) -> Option<PhaseNumber> {
    match purpose {
        Purpose::Preflight(phase) | Purpose::Verification(phase) => Some(phase),
        Purpose::Baseline
        | Purpose::Check
        | Purpose::Recovery
        | Purpose::Final
        | Purpose::Smoke => None,
    }
}
