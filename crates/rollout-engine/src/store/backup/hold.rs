//! Owns the hold that a restored rollout gets before anything drives it: what happened since the backup is not known, and a
//! person may have said stop.
//!
//! A hold keeps a rollout from advancing; flags that are on are watched all the same, and a breach is rolled back. Refuses
//! to change anything else, and to hold what has ended.

use jiff::Timestamp;
use rollout_core::{Command, Event, Input, Order, Rollout, Seq};

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

/// Holds every live rollout that is not held by a person already.
pub(super) fn hold_live(store: &mut dyn Store, order: &HoldOrder) -> Result<(), StoreError> {
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
        let HoldOrder { at, actor, reason } = order.clone();
        let hold = Order { command: Command::Hold, actor, reason };
        // What cannot be held any more does not turn flags on either.
        let Ok(held) = rollout.decide(at, Input::Ordered(hold)) else { continue };
        let entries: Result<Vec<_>, _> = held.iter().map(encode_event).collect();
        let entries = entries.map_err(|error| misread(error.to_string()))?;
        if entries.is_empty() {
            continue;
        }
        let (rollout, after, standing) = (head.rollout, head.seq.get(), Standing::Live);
        store.commit(&[Append { rollout, after, entries, standing, idempotency: None }])?;
    }
    Ok(())
}
