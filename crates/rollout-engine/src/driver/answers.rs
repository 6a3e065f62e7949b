//! Owns what the driver answers without deciding anything: rollouts, journals, how the engine does.
//!
//! What must be read from the store is read beside the loop. In the dark only what is in memory can be shown.

use std::sync::Arc;

use rollout_core::{Rollout, RolloutId};

use super::{Engine, Work, within};
use crate::error::{EngineError, Unrecorded};
use crate::handle::{EngineStatus, Reply, Request};
use crate::resume;
use crate::store::WriterHandle;

impl Engine {
    /// Answers what only reads; what may change something becomes work.
    pub(super) async fn sort(&mut self, request: Request) -> Option<Work> {
        match request {
            Request::Create(new, reply) => return Some(Work::Create(new, reply)),
            Request::Order(id, order, reply) => return Some(Work::Order(id, order, reply)),
            Request::Stirred(deployment) => {
                let mut live = self.board.live();
                let watched = live.find(|rollout| {
                    rollout.plan().deployment == deployment && !rollout.status().is_terminal()
                });
                return watched.map(|rollout| Work::Stirred(rollout.id()));
            }
            Request::Stop => self.stopping = true,
            Request::Get(id, reply) => self.answer_get(id, reply),
            Request::List(reply) => self.answer_list(reply),
            Request::Store(reply) => {
                let _ = reply.send(match self.condition.is_dark() {
                    true => Err(self.unrecorded(Unrecorded::Nothing)),
                    false => Ok(self.store.clone()),
                });
            }
            Request::Status(reply) => {
                let _ = reply.send(Ok(self.status()));
            }
            Request::Journal(id, from, reply) => match self.journal_of(id) {
                Ok(store) => drop(tokio::spawn(async move {
                    let _ = reply.send(resume::read_journal(&store, id, from).await);
                })),
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Request::Page(id, from, max, reply) => match self.journal_of(id) {
                Ok(store) => drop(tokio::spawn(async move {
                    let _ = reply.send(resume::read_page(&store, id, from, max).await);
                })),
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
        }
        None
    }

    /// Where the journal of a rollout can be read, beside the loop.
    fn journal_of(&self, id: RolloutId) -> Result<WriterHandle, EngineError> {
        if self.condition.is_dark() {
            return Err(self.unrecorded(Unrecorded::Nothing));
        }
        match self.board.get(id).is_some() || self.board.is_unloaded(id) {
            true => Ok(self.store.clone()),
            false => Err(self.board.missing(id)),
        }
    }

    /// Answers with one rollout. An ended one is read and folded beside the loop, and not kept.
    fn answer_get(&self, id: RolloutId, reply: Reply<Arc<Rollout>>) {
        if self.board.is_unloaded(id) {
            if self.condition.is_dark() {
                return drop(reply.send(Err(self.unrecorded(Unrecorded::Nothing))));
            }
            let store = self.store.clone();
            tokio::spawn(async move { drop(reply.send(resume::load_one(&store, id).await)) });
            return;
        }
        let _ = reply.send(self.board.get(id).cloned().ok_or_else(|| self.board.missing(id)));
    }

    /// Answers with all rollouts; ended ones as in [`Engine::answer_get`], and without those that cannot be read now.
    fn answer_list(&self, reply: Reply<Vec<Arc<Rollout>>>) {
        let (mut all, unloaded) = (self.board.all(), self.board.unloaded());
        if unloaded.is_empty() || self.condition.is_dark() {
            let _ = reply.send(Ok(all));
            return;
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            for id in unloaded {
                match resume::load_one(&store, id).await {
                    Ok(rollout) => all.push(rollout),
                    Err(error) => return drop(reply.send(Err(error))),
                }
            }
            all.sort_by_key(|rollout| rollout.id());
            drop(reply.send(Ok(all)));
        });
    }

    /// A rollout to order something of; an ended one is loaded for it.
    pub(super) async fn find(&mut self, id: RolloutId) -> Result<Arc<Rollout>, EngineError> {
        if self.board.is_unloaded(id) {
            if self.condition.is_dark() {
                return Err(self.unrecorded(Unrecorded::Nothing));
            }
            let rollout = within(resume::load_one(&self.store, id)).await?;
            self.board.put(rollout);
        }
        self.board.get(id).cloned().ok_or_else(|| self.board.missing(id))
    }

    fn status(&self) -> EngineStatus {
        let (live, ended) = self.board.counts();
        let held = self.board.live().filter(|rollout| rollout.is_held()).count();
        let (effects, stuck, now) = (self.effects.count(), self.stuck.clone(), self.time.now());
        let store = self.condition.shown();
        let quarantined = self.board.quarantined();
        EngineStatus { live, held, ended, effects, stuck, now, store, quarantined }
    }
}
