//! Owns the way back from the dark: the store is opened anew, the board of the dark is dropped for the one on disk, and the
//! journals are told what was done to flags meanwhile.
//!
//! All of it is one commit, so that a store that fails again leaves everything as it was in the dark.

use std::pin::Pin;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Actor, Command, Input, Order, Rollout, RolloutId};
use tracing::{info, warn};

use super::acknowledged::Acknowledged;
use super::condition::{Condition, Owed, REOPEN_EVERY, Shortage, TELL_EVERY, words};
use super::{Answer, CLOCK_JUMP_MIN, Engine, Staged, Work, restraint, stage_events};
use crate::board::Board;
use crate::effects::Restraint;
use crate::error::EngineError;
use crate::reopen::Opening;
use crate::resume;
use crate::store::{StoreError, Writer, WriterHandle};

/// A store that is open again, was found to be ours, and its live rollouts.
pub(super) struct Arrived {
    writer: Writer,
    store: WriterHandle,
    found: Acknowledged,
    board: Board,
}

/// A store on its way to be taken.
pub(super) type Arrival = Pin<Box<dyn Future<Output = Result<Arrived, StoreError>> + Send>>;

/// Waits for a store, compares it with what was acknowledged, and reads every live journal. Beside the loop, which watches on: a
/// large store takes its time. What is not taken is closed at once, so that its file system can be unmounted.
pub(super) fn arrive(opening: Opening, acknowledged: Acknowledged) -> Arrival {
    Box::pin(async move {
        let (writer, store) = Writer::spawn(opening.await?)?;
        match read(&store, &acknowledged).await {
            Ok((found, board)) => Ok(Arrived { writer, store, found, board }),
            Err(error) => {
                // It says nothing that is not known.
                writer.close().await.ok();
                Err(error)
            }
        }
    })
}

async fn read(
    store: &WriterHandle,
    acknowledged: &Acknowledged,
) -> Result<(Acknowledged, Board), StoreError> {
    let heads = store.heads().await?;
    acknowledged.check(store, &heads).await?;
    let board = resume::load(store).await.map_err(as_store_error)?;
    Ok((Acknowledged::of(heads), board))
}

impl Engine {
    pub(super) fn try_to_open(&mut self, now: Timestamp) {
        let (Some(source), Condition::Dark(dark)) = (self.source.clone(), &self.condition) else {
            return;
        };
        if dark.opening.is_some() || now < dark.try_at {
            return;
        }
        let cause = dark.cause.clone();
        let opening = arrive(self.reopening(&source, &cause), self.acknowledged.clone());
        if let Condition::Dark(dark) = &mut self.condition {
            dark.opening = Some(opening);
            dark.try_at = now.checked_add(REOPEN_EVERY).unwrap_or(Timestamp::MAX);
        }
    }

    /// Drops what was decided in the dark and takes up what is on disk, as after a start; the journals are told what was done
    /// to flags meanwhile.
    pub(super) async fn come_back(&mut self, arrived: Arrived) -> Result<(), StoreError> {
        let Arrived { writer, store, mut found, mut board } = arrived;
        (self.writer, self.store) = (Some(writer), store);
        let shortage = self.shortage_after_dark().await;
        let (mut batch, mut decisions) = (Vec::new(), Vec::new());
        for id in self.to_be_told(&board) {
            let rollout = match board.get(id).cloned() {
                Some(rollout) => rollout,
                None => {
                    let rollout =
                        resume::load_one(&self.store, id).await.map_err(as_store_error)?;
                    board.put(Arc::clone(&rollout));
                    rollout
                }
            };
            if let Some(Staged { append, decided }) = self.told(&rollout, shortage.is_some())? {
                batch.push(append);
                decisions.push(decided);
            }
        }
        if !batch.is_empty() {
            found.attempt(&batch)?;
            self.store.commit(batch).await?;
            found.accept();
        }
        (self.acknowledged, self.board) = (found, board);
        self.effects.disown_all();
        self.backlog.retain(Work::is_of_people);
        self.effects.restrain(match shortage {
            Some(_) => Restraint::SafeOnly,
            None => Restraint::None,
        });
        self.condition = shortage.map_or(Condition::Well, Condition::Reserve);
        info!(
            rollouts = decisions.len(),
            "the store is open again: everything is recorded from now on"
        );
        decisions.into_iter().for_each(|decided| self.publish(decided));
        // Also those to which nothing had to be told.
        self.start_all();
        self.audit();
        Ok(())
    }

    /// Every live rollout, and whatever else was rolled back in the dark.
    fn to_be_told(&self, board: &Board) -> Vec<RolloutId> {
        let mut ids: Vec<_> = board.live().map(|rollout| rollout.id()).collect();
        if let Condition::Dark(dark) = &self.condition {
            ids.extend(
                dark.owed.keys().filter(|id| !ids.contains(id)).copied().collect::<Vec<_>>(),
            );
        }
        ids.sort();
        ids
    }

    /// Whether the reserve is missing once the store is open again.
    async fn shortage_after_dark(&mut self) -> Option<Shortage> {
        let error = self.source.clone()?.refill().await.err()?;
        let since = match &self.condition {
            Condition::Dark(dark) => dark.since,
            Condition::Well | Condition::Reserve(_) => self.time.now(),
        };
        let look_at = self.time.now().checked_add(TELL_EVERY).unwrap_or(Timestamp::MAX);
        Some(Shortage { since, why: words(&error), look_at })
    }

    /// What a rollout's journal is told after the dark: that the engine is back, and what was done to its flags.
    fn told(&self, rollout: &Arc<Rollout>, short: bool) -> Result<Option<Staged>, StoreError> {
        let now = self.time.now();
        let decide = |rollout: &Rollout, input| match short {
            true => restraint::decide(rollout, now, input),
            false => rollout.decide(now, input),
        };
        let (mut next, mut events) = ((**rollout).clone(), Vec::new());
        for input in self.untold(rollout) {
            match decide(&next, input) {
                Ok(more) => {
                    let more = match self.is_too_early(&next) {
                        true => restraint::before_its_start(more),
                        false => more,
                    };
                    more.iter().for_each(|event| next.evolve(event));
                    events.extend(more);
                }
                Err(refusal) => warn!(rollout = %rollout.id(), %refusal, "an input was refused"),
            }
        }
        if events.is_empty() {
            return Ok(None);
        }
        stage_events(rollout, events, Answer::Nobody).map(Some).map_err(as_store_error)
    }

    /// What happened to a rollout since its journal could be written last, in the order in which it is told.
    fn untold(&self, rollout: &Rollout) -> Vec<Input> {
        let mut inputs = vec![Input::EngineResumed { last_seen: rollout.last_at() }];
        let Condition::Dark(dark) = &self.condition else { return inputs };
        inputs.extend(dark.owed.get(&rollout.id()).map(Owed::input));
        let grown = self.acknowledged.end(rollout.id()) != Some(rollout.seq());
        let before = if grown { SignedDuration::ZERO } else { dark.jumped_before };
        let by = dark.jumped.saturating_add(before);
        if by.abs() >= CLOCK_JUMP_MIN {
            inputs.push(Input::ClockJumped { by });
        }
        // A person was told that it is not known whether their request was recorded, and it may have been.
        if dark.refused.contains(&rollout.id()) && grown {
            inputs.push(Input::Ordered(look_first()));
        }
        inputs
    }
}

/// The order that keeps what a person was not promised from going on.
fn look_first() -> Order {
    let reason =
        "a request was recorded although nobody could be told so: look whether it is still wanted";
    let reason = reason.to_owned();
    Order { command: Command::Hold, actor: Actor::Engine.to_string(), reason }
}

impl Owed {
    /// What makes the journal say what was done to the flags.
    fn input(&self) -> Input {
        let at = self.at.round(jiff::Unit::Second).unwrap_or(self.at);
        let mut why = format!(
            "rolled back at {at} while nothing could be recorded ({}): {}",
            self.cause, self.words
        );
        why.truncate(why.floor_char_boundary(Order::REASON_BYTES_MAX));
        Input::RolledBack { phases: self.phases.iter().copied().collect(), why }
    }
}

/// What the loading of rollouts says, as an error of the store: until it is mended, the store cannot be used.
fn as_store_error(error: EngineError) -> StoreError {
    let EngineError::Store(error) = error else {
        return StoreError::Unreadable { what: error.to_string(), source: None };
    };
    error
}
