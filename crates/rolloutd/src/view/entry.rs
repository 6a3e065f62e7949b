//! Owns one journal entry as the wire has it.

use rollout_api::JournalEntry;
use rollout_core::{PhaseNumber, Plan, event_name, sentence};
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
        phase: event.kind.phase().map(PhaseNumber::get),
        text: sentence(event, Some(plan)),
        details: fields(&event.kind, plan),
    }
}
