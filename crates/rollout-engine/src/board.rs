//! Owns the rollouts in memory: the live ones always, ended ones once somebody asked for them; and when each next needs
//! attention.
//!
//! Invariant: the index of deadlines holds exactly the deadlines of the live rollouts, so finding what is due never looks
//! at a rollout that sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rollout_core::{Rollout, RolloutId};

use crate::error::EngineError;
use crate::store::Quarantined;

/// All rollouts that are in memory.
#[derive(Default)]
pub(crate) struct Board {
    live: BTreeMap<RolloutId, Arc<Rollout>>,
    ended: BTreeMap<RolloutId, Option<Arc<Rollout>>>,
    deadlines: BTreeSet<(Timestamp, RolloutId)>,
    /// Rollouts that were set aside as damaged: nobody drives them, and their ids are taken.
    quarantined: BTreeMap<RolloutId, Quarantined>,
    /// Deadlines that were put off: the moments that stand for them in the index.
    put_off: BTreeMap<RolloutId, Timestamp>,
}

impl Board {
    /// Takes in a rollout as it stands now.
    pub(crate) fn put(&mut self, rollout: Arc<Rollout>) {
        let id = rollout.id();
        if let Some(at) = self.live.remove(&id).and_then(|before| before.next_deadline()) {
            self.deadlines.remove(&(at, id));
        }
        if let Some(at) = self.put_off.remove(&id) {
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

    /// Notes a rollout that was set aside as damaged.
    pub(crate) fn note_quarantined(&mut self, aside: Quarantined) {
        self.quarantined.insert(aside.rollout, aside);
    }

    /// Rollouts that were set aside as damaged, in order of creation.
    pub(crate) fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantined.values().cloned().collect()
    }

    /// Why a rollout is not there: it was set aside, or there is none.
    pub(crate) fn missing(&self, id: RolloutId) -> EngineError {
        let aside = self.quarantined.get(&id).cloned();
        aside.map_or(EngineError::UnknownRollout(id), EngineError::Quarantined)
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

    /// Puts a deadline that came off until `at`, or until the rollout changes.
    pub(crate) fn put_off(&mut self, id: RolloutId, at: Timestamp) {
        self.deadlines.retain(|(_, of)| *of != id);
        self.deadlines.insert((at, id));
        self.put_off.insert(id, at);
    }

    /// Takes every deadline that was put off for what it is again.
    pub(crate) fn call_all_in(&mut self) {
        let ids: Vec<_> = self.put_off.keys().copied().collect();
        let rollouts: Vec<_> = ids.iter().filter_map(|id| self.get(*id)).cloned().collect();
        rollouts.into_iter().for_each(|rollout| self.put(rollout));
    }

    /// The id after the highest known one.
    pub(crate) fn next_id(&self) -> RolloutId {
        let last = self.live.keys().chain(self.ended.keys()).chain(self.quarantined.keys()).max();
        last.map_or(RolloutId::FIRST, |id| id.next())
    }
}
