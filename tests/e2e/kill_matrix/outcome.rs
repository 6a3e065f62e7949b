//! Owns what a kill must not change: the end of a rollout, of its deployment, and of everything done there.

use std::collections::{BTreeMap, BTreeSet};

use convex_emulator::WriteOrigin;
use rollout_api::{IncidentState, JournalEntry, RolloutStatus};
use rollout_e2e::{text_of, verdict_of};

use super::operator::Played;

/// The end of a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    status: RolloutStatus,
    /// Number, stage, attempt, why it was left out.
    phases: Vec<(u8, String, u32, Option<String>)>,
    /// Number, phases, state, note.
    incidents: Vec<(u32, Vec<u8>, IncidentState, Option<String>)>,
    env: BTreeMap<String, String>,
    /// What rolloutd wrote, in order.
    writes: Vec<Vec<(String, Option<String>)>>,
    /// How many tasks the smoke test created.
    tasks: usize,
    /// Phase, attempt, place and verdict, in order.
    checkpoints: Vec<(Option<u8>, usize, String, String)>,
}

impl Outcome {
    /// Takes the end of a script that was played.
    ///
    /// # Panics
    ///
    /// When something was done or judged twice, however it ended.
    pub(super) fn of(played: &Played) -> Self {
        let Played { world, detail, entries, .. } = played;
        let writes: Vec<_> = world
            .emulator
            .writes()
            .into_iter()
            .filter(|write| write.applied && write.origin == WriteOrigin::Client)
            .map(|write| write.changes)
            .collect();
        check_no_write_twice(&writes);
        let checkpoints = checkpoints(entries);
        let places: BTreeSet<_> =
            checkpoints.iter().map(|(phase, attempt, place, _)| (phase, attempt, place)).collect();
        assert_eq!(places.len(), checkpoints.len(), "judged twice: {checkpoints:?}");
        let phases = detail.phases.iter().map(|phase| {
            (phase.number, phase.stage.clone(), phase.attempt, phase.skipped_why.clone())
        });
        let incidents = detail.incidents.iter().map(|incident| {
            (incident.number, incident.phases.clone(), incident.state, incident.note.clone())
        });
        Self {
            status: detail.summary.status,
            phases: phases.collect(),
            incidents: incidents.collect(),
            env: world.emulator.env(),
            writes,
            tasks: world.emulator.tasks().len(),
            checkpoints,
        }
    }
}

/// A write that lands where the same value landed before reruns every subscription of the app for nothing.
fn check_no_write_twice(writes: &[Vec<(String, Option<String>)>]) {
    let mut last = BTreeMap::new();
    for (name, value) in writes.iter().flatten() {
        let before = last.insert(name, value);
        assert_ne!(before, Some(value), "{name} was written twice: {writes:?}");
    }
}

fn checkpoints(entries: &[JournalEntry]) -> Vec<(Option<u8>, usize, String, String)> {
    let attempt = |judged: &JournalEntry| {
        let earlier = entries.iter().take_while(|entry| entry.seq < judged.seq);
        earlier.filter(|entry| entry.kind == "bake_started" && entry.phase == judged.phase).count()
    };
    let judged = entries.iter().filter(|entry| entry.kind == JournalEntry::CHECKPOINT_JUDGED);
    let row = |entry: &JournalEntry| {
        let (place, verdict) = (text_of(entry, "checkpoint"), verdict_of(entry));
        (entry.phase, attempt(entry), place.to_string(), verdict.to_string())
    };
    judged.map(row).collect()
}
