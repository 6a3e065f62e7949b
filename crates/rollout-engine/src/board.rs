//! Owns the rollouts in memory: the live ones always, ended ones once somebody asked for them; and when each next needs
//! attention.
//!
//! Invariant: the index of deadlines holds exactly the deadlines of the live rollouts, so finding what is due never looks
//! at a rollout that sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rollout_core::{Rollout, RolloutId};

/// All rollouts that are in memory.
#[derive(Default)]
pub(crate) struct Board {
    live: BTreeMap<RolloutId, Arc<Rollout>>,
    ended: BTreeMap<RolloutId, Option<Arc<Rollout>>>,
    deadlines: BTreeSet<(Timestamp, RolloutId)>,
}

impl Board {
    /// Takes in a rollout as it stands now.
    pub(crate) fn put(&mut self, rollout: Arc<Rollout>) {
        let id = rollout.id();
        if let Some(at) = self.live.remove(&id).and_then(|before| before.next_deadline()) {
            self.deadlines.remove(&(at, id));
        }
        self.ended.remove(&id);
        if rollout.is_over() {
            self.ended.insert(id, Some(rollout));
            return;
        }
        if let Some(at) = rollout.next_deadline() {
            self.deadlines.insert((at, id));
        }
        self.live.insert(id, rollout);
    }

    /// Notes an ended rollout without loading it.
    pub(crate) fn note_ended(&mut self, id: RolloutId) {
        self.ended.entry(id).or_insert(None);
    }

    /// A rollout that is in memory.
    pub(crate) fn get(&self, id: RolloutId) -> Option<&Arc<Rollout>> {
        self.live.get(&id).or_else(|| self.ended.get(&id)?.as_ref())
    }

    /// True when the rollout exists but is not in memory.
    pub(crate) fn is_unloaded(&self, id: RolloutId) -> bool {
        matches!(self.ended.get(&id), Some(None))
    }

    /// All ended rollouts that are not in memory.
    pub(crate) fn unloaded(&self) -> Vec<RolloutId> {
        self.ended.iter().filter(|(_, rollout)| rollout.is_none()).map(|(id, _)| *id).collect()
    }

    /// All rollouts in memory, in order of creation.
    pub(crate) fn all(&self) -> Vec<Arc<Rollout>> {
        let mut all: Vec<_> =
            self.live.values().chain(self.ended.values().flatten()).cloned().collect();
        all.sort_by_key(|rollout| rollout.id());
        all
    }

    /// The live rollouts.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Rollout>> {
        self.live.values()
    }

    /// How many rollouts live, and how many ended.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.live.len(), self.ended.len())
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Rollouts whose deadline has come.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<RolloutId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// Takes a rollout's deadline out of the index until it changes: it came, and nothing followed from it.
    pub(crate) fn silence(&mut self, id: RolloutId) {
        self.deadlines.retain(|(_, of)| *of != id);
    }

    /// The id after the highest known one.
    pub(crate) fn next_id(&self) -> RolloutId {
        let last = self.live.keys().chain(self.ended.keys()).max();
        last.map_or(RolloutId::FIRST, |id| id.next())
    }
}
