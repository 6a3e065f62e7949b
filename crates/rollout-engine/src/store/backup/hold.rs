//! Owns the hold that a restored rollout gets before anything drives it: what happened since the backup is not known, and a
//! person may have said stop.
//!
//! A hold keeps a rollout from advancing; flags that are on are watched all the same, and a breach is rolled back. An
//! enabling or a call of the smoke test that was under way is stopped as well. Refuses to change anything else, and to hold
//! what has ended.

use jiff::Timestamp;
use rollout_core::{
    Actor, Command, Effect, Event, EventKind, Fault, FaultClass, HoldReason, Input, Order,
    Rejection, Rollout, Seq, WritePurpose,
};

use super::super::record::{decode_event, encode_event};
use super::super::{Append, Standing, Store, StoreError};

/// Who holds the restored rollouts, when, and why.
#[derive(Clone, Debug)]
pub struct HoldOrder {
    /// Now.
    pub at: Timestamp,
    /// Who restores.
    pub actor: String,
    /// Why, for the log.
    pub reason: String,
}

/// Holds every live rollout that is not held by a person already, and stops whatever it was about to change: a hold lets
/// what has begun come to its end.
///
/// # Errors
/// Those of the store; `RO0202` for a journal that cannot be taken up, and for a rollout that refuses to be held though it runs.
pub(super) fn hold_live(store: &mut dyn Store, order: &HoldOrder) -> Result<(), StoreError> {
    // It names the file, and a path may be longer than what the log holds.
    let mut order = order.clone();
    order.reason.truncate(order.reason.floor_char_boundary(Order::REASON_BYTES_MAX));
    for head in store.heads()?.into_iter().filter(|head| head.standing == Standing::Live) {
        let misread = |words: String| {
            let what = format!("{} cannot be taken up: {words}", head.rollout);
            StoreError::Unreadable { what, source: None }
        };
        let entries = store.journal(head.rollout, Seq::FIRST)?;
        let events: Result<Vec<Event>, _> =
            entries.iter().map(|entry| decode_event(&entry.payload)).collect();
        let events = events.map_err(|error| misread(error.to_string()))?;
        let rollout = Rollout::replay(&events).map_err(|error| misread(error.to_string()))?;
        // Restored on a machine whose clock is behind, the journal still goes forward.
        let at = events.last().map_or(order.at, |last| last.at.max(order.at));
        let events = held(rollout, at, &order).map_err(|refusal| misread(refusal.to_string()))?;
        let entries: Result<Vec<_>, _> = events.iter().map(encode_event).collect();
        let entries = entries.map_err(|error| misread(error.to_string()))?;
        if entries.is_empty() {
            continue;
        }
        let (rollout, after, standing) = (head.rollout, head.seq.get(), Standing::Live);
        store.commit(&[Append { rollout, after, entries, standing, idempotency: None }])?;
    }
    Ok(())
}

/// What has to happen to `rollout` so that nothing is turned on or called before a person says so.
fn held(mut rollout: Rollout, at: Timestamp, order: &HoldOrder) -> Result<Vec<Event>, Rejection> {
    let HoldOrder { actor, reason, .. } = order.clone();
    let hold = Order { command: Command::Hold, actor, reason };
    // What has ended cannot be held any more, and does not turn flags on either; it may have flags to put back still.
    let mut events = match rollout.decide(at, Input::Ordered(hold)) {
        Err(_) if rollout.status().is_terminal() => Vec::new(),
        decided => decided?,
    };
    for event in &events {
        rollout.evolve(event);
    }
    if rollout.pending().iter().any(|pending| changes_something(&pending.effect)) {
        let fault = Fault::new(FaultClass::Unknown, None, NOBODY_KNOWS);
        let hold = HoldReason::EffectFailed { why: NOBODY_KNOWS.to_owned() };
        let stopped = [EventKind::EffectFailed { fault, retry_at: None }, EventKind::Held { hold }];
        events.extend(stopped.map(|kind| {
            let (actor, note) = (Actor::Person(order.actor.clone()), Some(order.reason.clone()));
            Event { at, actor, note, kind }
        }));
    }
    Ok(events)
}

/// Whether the effect must wait for a person. A rollback must not: nothing goes before it.
fn changes_something(effect: &Effect) -> bool {
    match effect {
        Effect::SetFlags { purpose: WritePurpose::Enable, .. } | Effect::Invoke { .. } => true,
        Effect::SetFlags { purpose: WritePurpose::RestoreSafe, .. }
        | Effect::Observe(_)
        | Effect::FindChangeWindow { .. } => false,
    }
}

const NOBODY_KNOWS: &str = "restored from a backup; nobody knows whether this was done since";
