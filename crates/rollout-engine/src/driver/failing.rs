//! Owns the way back from a failed commit: open the store again, find out from it what landed, and go on from there.
//!
//! A commit whose fate is unknown is never repeated before its fate is known. Nobody is answered with a success for what was
//! not read back from the store or committed to it. When there is no store to go on with, `dark.rs` takes over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rollout_core::Event;
use tracing::{error, info, warn};

use super::acknowledged::Fate;
use super::comeback::arrive;
use super::condition::{Condition, Shortage, TELL_EVERY, words};
use super::restraint::{self, Ends, Tends};
use super::{Answer, Decided, Engine, Staged, Work, refuse_all, stage_events, within};
use crate::effects::Restraint;
use crate::error::EngineError;
use crate::reopen::{OpenStore, Opening};
use crate::store::{Head, Store, StoreError, Writer};

/// How long the loop waits for the first try; a disk that hangs must not keep it from watching. Real time.
const REOPEN_AT_ONCE_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// At the start: whether the reserve is there.
    pub(super) async fn find_reserve(&mut self) {
        let Some(source) = self.source.clone() else { return };
        if let Err(error) = within(source.refill()).await {
            self.fall_back_on_reserve(&error);
        }
    }

    /// Goes on after a failed commit: with the store as it is on disk, or in the dark.
    pub(super) async fn store_failed(
        &mut self,
        decisions: Vec<Decided>,
        failure: StoreError,
    ) -> Result<(), EngineError> {
        let Some(source) = self.source.clone() else {
            refuse_all(decisions, &failure);
            return Err(failure.into());
        };
        error!(
            code = failure.code(),
            "a commit failed ({}); opening the store again",
            words(&failure)
        );
        let mut opening = self.reopening(&source, &failure);
        match tokio::time::timeout(REOPEN_AT_ONCE_MAX, &mut opening).await {
            Ok(Ok(store)) => match self.go_on_with(store, &failure, decisions).await {
                Ok(()) => Ok(()),
                Err((decisions, failure)) => self.darken(decisions, failure, None),
            },
            Ok(Err(again)) => self.darken(decisions, again, None),
            Err(_) => {
                let arrival = arrive(opening, self.acknowledged.clone());
                self.darken(decisions, failure, Some(arrival))
            }
        }
    }

    /// Closes what is left of the store and opens it once more.
    pub(super) fn reopening(&mut self, source: &Arc<dyn OpenStore>, after: &StoreError) -> Opening {
        let (writer, source, after) = (self.writer.take(), Arc::clone(source), after.clone());
        Box::pin(async move {
            if let Some(writer) = writer {
                // It says again what is known already.
                writer.close().await.ok();
            }
            source.open(&after).await
        })
    }

    /// Compares the reopened store with what is known, and brings the failed commit to its end.
    async fn go_on_with(
        &mut self,
        store: Box<dyn Store>,
        failure: &StoreError,
        decisions: Vec<Decided>,
    ) -> Result<(), (Vec<Decided>, StoreError)> {
        let heads = match self.take_store(store).await {
            Ok(heads) => heads,
            Err(error) => return Err((decisions, error)),
        };
        let fate = self.acknowledged.fate(&heads);
        if fate == Fate::Unexpected {
            let what = "it holds more than was ever to be recorded".to_owned();
            let more = StoreError::Unreadable { what, source: None };
            let checked = within(self.acknowledged.check(&self.store, &heads)).await;
            return Err((decisions, checked.err().unwrap_or(more)));
        }
        // Before anything is started: from here on nothing is turned on.
        if failure.is_disk_full() {
            self.fall_back_on_reserve(failure);
        }
        match fate {
            Fate::Landed => {
                info!("the store is open again, and the commit that failed is in it");
                self.acknowledged.accept();
                decisions.into_iter().for_each(|decided| self.publish(decided));
                Ok(())
            }
            Fate::Lost | Fate::Unexpected => {
                info!(
                    "the store is open again; the commit that failed is not in it and is made anew"
                );
                self.commit_anew(failure, decisions).await
            }
        }
    }

    /// Gives a store its thread and reads where its journals end.
    pub(super) async fn take_store(
        &mut self,
        store: Box<dyn Store>,
    ) -> Result<Vec<Head>, StoreError> {
        let (writer, handle) = Writer::spawn(store)?;
        (self.writer, self.store) = (Some(writer), handle);
        within(self.store.heads()).await
    }

    /// Commits again what did not land, without what may not be accepted any more.
    async fn commit_anew(
        &mut self,
        failure: &StoreError,
        decisions: Vec<Decided>,
    ) -> Result<(), (Vec<Decided>, StoreError)> {
        let (mut batch, mut again) = (Vec::new(), Vec::new());
        for decided in decisions {
            if let Some(Staged { append, decided }) = self.anew(failure, decided) {
                batch.push(append);
                again.push(decided);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        match self.commit(batch).await {
            Ok(()) => {
                again.into_iter().for_each(|decided| self.publish(decided));
                Ok(())
            }
            Err(error) => Err((again, error)),
        }
    }

    /// One decision, ready for another commit; `None` once it was answered with a refusal.
    fn anew(&self, failure: &StoreError, decided: Decided) -> Option<Staged> {
        let Decided { rollout, entries, answer } = decided;
        let answer = match answer {
            Answer::Create(reply) => {
                let refusal = match self.condition.is_restrained() {
                    true => EngineError::OnReserve,
                    false => failure.clone().into(),
                };
                let _ = reply.send(Err(refusal));
                return None;
            }
            Answer::Order(reply, Tends::On) if self.condition.is_restrained() => {
                let _ = reply.send(Err(EngineError::OnReserve));
                return None;
            }
            answer @ (Answer::Order(..) | Answer::Nobody) => answer,
        };
        let events: Vec<Event> = entries.into_iter().map(|entry| entry.event).collect();
        let events = match self.condition.is_restrained() {
            true => restraint::cut(events, Ends::Happen),
            false => events,
        };
        let before = self.board.get(rollout.id()).filter(|_| !events.is_empty())?;
        match stage_events(before, events, answer) {
            Ok(staged) => Some(staged),
            // It was encoded once, so it can be again.
            Err(error) => {
                error!(rollout = %rollout.id(), %error, "a decision cannot be recorded");
                None
            }
        }
    }

    /// From now on the reserve is what is written on, and nothing is turned on.
    pub(super) fn fall_back_on_reserve(&mut self, why: &StoreError) {
        let now = self.time.now();
        let since = match &self.condition {
            Condition::Reserve(shortage) => shortage.since,
            Condition::Well | Condition::Dark(_) => now,
        };
        let look_at = now.checked_add(TELL_EVERY).unwrap_or(Timestamp::MAX);
        let why = words(why);
        error!(
            code = "RO0211",
            why,
            "the disk is full: rolloutd records on its reserve, and turns nothing on until there is room"
        );
        self.condition = Condition::Reserve(Shortage { since, why, look_at });
        self.effects.restrain(Restraint::SafeOnly);
    }

    /// Looks after a store that is not well, and gives back the work of this turn that still makes sense.
    pub(super) async fn tend_store(&mut self, work: Vec<Work>) -> Result<Vec<Work>, EngineError> {
        let now = self.time.now();
        match &self.condition {
            Condition::Well => return Ok(work),
            Condition::Reserve(shortage) => {
                if shortage.look_at <= now {
                    self.refill().await;
                }
                return Ok(work);
            }
            Condition::Dark(_) => {}
        }
        self.tell_dark(now);
        if self.reopened.is_none() {
            // Taken also where requests leave no time to wait for it.
            tokio::select! {
                biased;
                opened = self.condition.opened() => self.reopened = Some(opened),
                () = std::future::ready(()) => {}
            }
        }
        self.note_jump(&work);
        if let Some(opened) = self.reopened.take() {
            let back = match opened {
                Ok(arrived) => within(self.come_back(arrived)).await,
                Err(error) => Err(error),
            };
            match back {
                // What ended or fell due meanwhile was about a board that is gone.
                Ok(()) => {
                    return Ok(work.into_iter().filter(Work::is_of_people).collect());
                }
                Err(error) => self.stay_dark(error),
            }
        }
        self.try_to_open(now);
        Ok(work)
    }

    /// Tries to get the reserve back; once it is there, rollouts advance again.
    async fn refill(&mut self) {
        let (Some(source), Condition::Reserve(shortage)) =
            (self.source.clone(), &mut self.condition)
        else {
            return;
        };
        let refilled = within(source.refill()).await;
        let now = self.time.now();
        shortage.look_at = now.checked_add(TELL_EVERY).unwrap_or(Timestamp::MAX);
        match refilled {
            Ok(()) => self.be_well(),
            Err(error) => {
                let (since, why) = (shortage.since, words(&error));
                warn!(code = "RO0211", %since, why, "the disk is still full: nothing is turned on");
            }
        }
    }

    fn be_well(&mut self) {
        info!("there is room again, and the reserve is back: rollouts advance");
        self.condition = Condition::Well;
        self.effects.restrain(Restraint::None);
        self.board.call_all_in();
        // What was kept from advancing may have no deadline of its own, and what was to be written may be too old by now: the
        // core is asked first.
        let ids: Vec<_> = self.board.live().map(|rollout| rollout.id()).collect();
        self.backlog.extend(ids.into_iter().map(Work::Nudged));
    }
}

impl Work {
    /// True for what a person asked, which is as good on another board.
    pub(super) fn is_of_people(&self) -> bool {
        match self {
            Self::Create(..) | Self::Order(..) => true,
            Self::Ended(..)
            | Self::Due(_)
            | Self::Nudged(_)
            | Self::Stirred(_)
            | Self::Resumed(_)
            | Self::Jumped(..) => false,
        }
    }
}
