//! Owns the time in which nothing can be recorded: the watch goes on over the board in memory, and what the core decides is
//! carried out as far as it puts flags back; nothing else is, and nobody is told that anything was accepted.
//!
//! The board is ahead of the journals then. It is dropped when the store is open again; what was done to flags is owed to
//! the journals until they have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Event, EventKind, Input, Order, Rollout, RolloutId, sentence};
use tracing::{error, warn};

use super::comeback::Arrival;
use super::condition::{self, Condition, Dark, Owed, REOPEN_EVERY, TELL_EVERY, words};
use super::restraint::{self, Ends};
use super::{Answer, Decided, Engine, Work};
use crate::effects::Restraint;
use crate::error::{EngineError, Unrecorded, list};
use crate::handle::{Obeyed, Reply};
use crate::store::StoreError;

impl Engine {
    /// Goes on without a record. What the failed commit was to hold is answered, and followed as far as it is safe.
    pub(super) fn darken(
        &mut self,
        decisions: Vec<Decided>,
        cause: StoreError,
        opening: Option<Arrival>,
    ) -> Result<(), EngineError> {
        let now = self.time.now();
        let try_at = now.checked_add(REOPEN_EVERY).unwrap_or(Timestamp::MAX);
        error!(code = "RO0210", "nothing can be recorded: {}", words(&cause));
        let owed = BTreeMap::new();
        let dark = Dark {
            since: now,
            cause,
            refused: BTreeSet::new(),
            jumped: SignedDuration::ZERO,
            jumped_before: jump_in(&decisions),
            owed,
            try_at,
            tell_at: now,
            opening,
        };
        self.condition = Condition::Dark(Box::new(dark));
        self.effects.restrain(Restraint::SafeOnly);
        for decided in decisions {
            self.follow_unrecorded(decided);
        }
        self.tell_dark(now);
        self.end_if_nothing_is_exposed()
    }

    /// Settles one turn's work in the dark.
    pub(super) fn settle_dark(&mut self, work: Vec<Work>) -> Result<(), EngineError> {
        let now = self.time.now();
        for work in work {
            match work {
                Work::Create(_, reply) => {
                    let _ = reply.send(Err(self.unrecorded(Unrecorded::Nothing)));
                }
                Work::Order(id, order, reply) => self.order_in_the_dark(id, order, reply, now),
                Work::Ended(key, outcome) => {
                    self.effects.judged(key);
                    self.shadow(key.rollout, now, Input::EffectEnded { key, outcome });
                }
                Work::Due(id) => {
                    self.shadow(id, now, Input::DeadlineReached);
                    if self.board.due(now).contains(&id) {
                        self.put_off(id, now);
                    }
                }
                Work::Jumped(id, by) => self.shadow(id, now, Input::ClockJumped { by }),
                Work::Stirred(id) => self.shadow(id, now, Input::Stirred),
                Work::Resumed(_) | Work::Nudged(_) => {}
            }
        }
        self.end_if_nothing_is_exposed()
    }

    /// Refuses an order, but for one that puts flags back: that is carried out, and refused all the same.
    fn order_in_the_dark(
        &mut self,
        id: RolloutId,
        order: Order,
        reply: Reply<Obeyed>,
        now: Timestamp,
    ) {
        let Some(rollout) = self.board.get(id).cloned() else {
            let known = self.board.is_unloaded(id);
            let refusal = match known {
                true => self.unrecorded(Unrecorded::Nothing),
                false => self.board.missing(id),
            };
            return drop(reply.send(Err(refusal)));
        };
        let Some(command) = restraint::rollback_of(&order.command, &rollout) else {
            return drop(reply.send(Err(self.unrecorded(Unrecorded::Nothing))));
        };
        let answer =
            match restraint::decide(&rollout, now, Input::Ordered(Order { command, ..order })) {
                Ok(events) if events.is_empty() && rollout.rollback().is_none() => {
                    self.unrecorded(Unrecorded::Nothing)
                }
                Ok(events) => {
                    self.apply_unrecorded(&rollout, events);
                    self.unrecorded(Unrecorded::RollbackUnderWay)
                }
                Err(refusal) => refusal.into(),
            };
        let _ = reply.send(Err(answer));
    }

    /// Lets the core judge, and follows what it decides.
    fn shadow(&mut self, id: RolloutId, now: Timestamp, input: Input) {
        let Some(rollout) = self.board.get(id).cloned() else { return };
        match restraint::decide(&rollout, now, input) {
            Ok(events) => self.apply_unrecorded(&rollout, events),
            Err(refusal) => warn!(rollout = %id, %refusal, "an input was refused"),
        }
    }

    /// A decision whose commit failed: as the engine's own it is followed, as a person's only where it puts flags back.
    fn follow_unrecorded(&mut self, decided: Decided) {
        let Decided { rollout, entries, answer } = decided;
        let events: Vec<Event> = entries.into_iter().map(|entry| entry.event).collect();
        let events = restraint::cut(events, Ends::Wait);
        let rolls_back =
            events.iter().any(|event| matches!(event.kind, EventKind::RollbackStarted { .. }));
        let before = self.board.get(rollout.id()).cloned();
        let follow = |engine: &mut Self| {
            if let Some(before) = before {
                engine.apply_unrecorded(&before, events);
            }
        };
        match answer {
            Answer::Nobody => follow(self),
            Answer::Order(reply, _) if rolls_back => {
                follow(self);
                let _ = reply.send(Err(self.unrecorded(Unrecorded::RollbackUnderWay)));
            }
            Answer::Order(reply, _) => {
                let _ = reply.send(Err(self.not_known(rollout.id())));
            }
            Answer::Create(reply) => {
                let _ = reply.send(Err(self.not_known(rollout.id())));
            }
        }
    }

    /// The refusal of a request whose commit failed: it may be on disk all the same, and is held then.
    fn not_known(&mut self, id: RolloutId) -> EngineError {
        if let Condition::Dark(dark) = &mut self.condition {
            dark.refused.insert(id);
        }
        self.unrecorded(Unrecorded::NotKnown)
    }

    /// Journals are told of jumps when there is a store again; each of this turn's is the same one.
    pub(super) fn note_jump(&mut self, work: &[Work]) {
        let by = work.iter().find_map(|work| match work {
            Work::Jumped(_, by) => Some(*by),
            Work::Create(..)
            | Work::Order(..)
            | Work::Ended(..)
            | Work::Due(_)
            | Work::Nudged(_)
            | Work::Stirred(_)
            | Work::Resumed(_) => None,
        });
        if let (Condition::Dark(dark), Some(by)) = (&mut self.condition, by) {
            dark.jumped = dark.jumped.saturating_add(by);
        }
    }

    /// Brings the board forward without a record, and starts what is safe of what follows.
    fn apply_unrecorded(&mut self, before: &Arc<Rollout>, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut next = (**before).clone();
        for event in &events {
            next.evolve(event);
            self.note_unrecorded(&next, event);
        }
        let next = Arc::new(next);
        self.board.put(Arc::clone(&next));
        self.effects.start(&next, &self.time);
    }

    fn note_unrecorded(&mut self, rollout: &Rollout, event: &Event) {
        let words = sentence(event, Some(rollout.plan()));
        if let (Condition::Dark(dark), EventKind::RollbackStarted { phases, .. }) =
            (&mut self.condition, &event.kind)
        {
            let cause = condition::words(&dark.cause);
            let note = event.note.as_ref().map(|note| format!(" ({}: {note})", event.actor));
            let owed = dark.owed.entry(rollout.id()).or_insert_with(|| Owed {
                at: event.at,
                phases: BTreeSet::new(),
                cause,
                words: format!("{words}{}", note.unwrap_or_default()),
            });
            owed.phases.extend(phases.iter().copied());
        }
        let quiet =
            matches!(event.kind, EventKind::ReadingStarted { .. } | EventKind::ReadingTaken { .. });
        if !quiet {
            warn!(code = "RO0210", rollout = %rollout.id(), "not recorded: {words}");
        }
    }

    /// Says at once and then every minute what is not recorded and what is done all the same.
    pub(super) fn tell_dark(&mut self, now: Timestamp) {
        let watched = list(&self.exposed(now));
        let Condition::Dark(dark) = &mut self.condition else { return };
        if now < dark.tell_at {
            return;
        }
        dark.tell_at = now.checked_add(TELL_EVERY).unwrap_or(Timestamp::MAX);
        let rolled_back = list(&dark.owed.keys().copied().collect::<Vec<_>>());
        error!(
            code = "RO0210",
            since = %dark.since,
            watched,
            rolled_back,
            "nothing is recorded and nothing accepted; flags are watched, and put back on a breach: {}",
            words(&dark.cause)
        );
    }

    /// The store could not be taken; it is tried again.
    pub(super) fn stay_dark(&mut self, cause: StoreError) {
        let Condition::Dark(dark) = &mut self.condition else { return };
        if words(&dark.cause) != words(&cause) {
            warn!(code = "RO0210", "the store still cannot be used: {}", words(&cause));
        }
        dark.cause = cause;
    }

    /// The refusal of a request, with why nothing can be recorded.
    pub(super) fn unrecorded(&self, did: Unrecorded) -> EngineError {
        let source = match &self.condition {
            Condition::Dark(dark) => dark.cause.clone(),
            Condition::Well | Condition::Reserve(_) => StoreError::Closed,
        };
        EngineError::Unrecorded { did, source }
    }

    /// How the engine ends when it is told to.
    pub(super) fn unrecorded_end(&self) -> Result<(), EngineError> {
        let Condition::Dark(dark) = &self.condition else { return Ok(()) };
        let unwatched = self.exposed(self.time.now());
        let untold = dark.owed.keys().copied().collect();
        Err(self.unrecorded(Unrecorded::Ended { unwatched, untold }))
    }

    /// Without a flag that is on and anything to be told, there is no reason to stay: a restart finds out what was kept.
    fn end_if_nothing_is_exposed(&self) -> Result<(), EngineError> {
        let Condition::Dark(dark) = &self.condition else { return Ok(()) };
        if dark.owed.is_empty() && self.exposed(self.time.now()).is_empty() {
            return self.unrecorded_end();
        }
        Ok(())
    }

    /// The rollouts that somebody must watch.
    fn exposed(&self, now: Timestamp) -> Vec<RolloutId> {
        let live = self.board.live().filter(|rollout| restraint::needs_a_watch(rollout, now));
        live.map(|rollout| rollout.id()).collect()
    }
}

/// The jump of the wall clock that these decisions tell of. The start of a rollout tells of an older one.
fn jump_in(decisions: &[Decided]) -> SignedDuration {
    let own = decisions.iter().filter(|decided| matches!(decided.answer, Answer::Nobody));
    let mut jumps = own.flat_map(|decided| &decided.entries).filter_map(|entry| {
        let EventKind::ClockJumped { by } = &entry.event.kind else { return None };
        Some(*by)
    });
    jumps.next().unwrap_or(SignedDuration::ZERO)
}
