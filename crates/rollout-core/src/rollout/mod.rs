//! Owns the state machine of one rollout: the four methods of [`Rollout`], and the parts they are made of.
//!
//! * `state`: what a rollout is at one moment,
//! * `evolve`: how one event changes it (cannot fail),
//! * `step`: how one input becomes events (`decide`), with `orders`, `endings` and `readings` for the three kinds of input,
//! * `foreign`: what is known of flags that somebody else changed, in words,
//! * `pending`: which effects and deadlines the state needs; `waits`: the same in words.
//!
//! Invariants, numbered as in the design: a breach starts the rollback in the step that judges it (4); a started rollback
//! goes on until the safe values were read back, whatever holds (4); a provider's failure is never a breach, silence never
//! a pass (7); while a rollout is live a next reading is always scheduled (8); it always waits for something (9).

mod changes;
mod endings;
mod evolve;
mod foreign;
mod orders;
mod pending;
mod readings;
mod state;
mod step;
mod waits;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Event, EventKind};
use crate::id::RolloutId;
use crate::input::{Actor, Input, Rejection};
use crate::plan::Plan;

pub use foreign::ForeignValue;
pub use state::{
    Bake, Checkpoint, Hold, Incident, PhaseState, Rollback, RollbackStage, Rollout, Smoke, Stage,
    Status, Watch,
};
pub use waits::Wait;

pub(crate) use waits::offset_label;

/// What a new rollout needs to know.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The id that the engine hands out.
    pub id: RolloutId,
    /// The plan, checked.
    pub plan: Plan,
    /// SHA-256 of the plan file, in hex.
    pub digest: String,
    /// Where the deployment answers.
    pub url: String,
    /// When the baseline may begin.
    pub start_at: Timestamp,
    /// Who starts it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

/// Why a journal is not one of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not begin with the creation of a rollout")]
pub struct NoCreation;

impl Rollout {
    /// The first event of a new rollout.
    pub fn create(now: Timestamp, creation: Creation) -> Event {
        let Creation { id, plan, digest, url, start_at, actor, reason } = creation;
        let kind = EventKind::RolloutCreated { id, plan: Box::new(plan), digest, url, start_at };
        Event { at: now, actor, note: Some(reason), kind }
    }

    /// Folds a whole journal. Starting and resuming are this one path.
    ///
    /// # Errors
    ///
    /// [`NoCreation`] when the first event is another one than [`EventKind::RolloutCreated`].
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, NoCreation> {
        let mut events = events.into_iter();
        let mut rollout = events.next().and_then(Self::from_creation).ok_or(NoCreation)?;
        events.for_each(|event| rollout.evolve(event));
        Ok(rollout)
    }

    /// Judges `input` at `now`. Changes nothing; the caller persists the events, then applies them.
    ///
    /// A `now` before the last event counts as that event's time: the journal never runs backward.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] when a person's command does not fit; nothing happened then.
    pub fn decide(&self, now: Timestamp, input: Input) -> Result<Vec<Event>, Rejection> {
        step::Step::new(self, now).run(input)
    }

    /// True when the flags of this rollout are nobody's business any more: it ended, and no incident is open.
    pub fn is_over(&self) -> bool {
        self.status().is_terminal()
            && self.is_at_rest()
            && self.incidents().iter().all(|incident| incident.resolved.is_some())
    }
}

impl Rollout {
    /// True when nothing is under way and nothing is watched.
    fn is_at_rest(&self) -> bool {
        self.rollback().is_none() && self.watch().next_at.is_none() && self.pending().is_empty()
    }
}

/// How long a preflight answers for its phase; afterwards it is taken again before enabling.
const PREFLIGHT_VALID: SignedDuration = SignedDuration::from_hours(1);
/// Definite "no" answers of a verification before its phase is rolled back.
const VERIFICATION_TRIES_MAX: u32 = 3;
/// A stretch without a reading longer than this many intervals is a gap.
const GAP_INTERVALS: i32 = 2;
/// How long a deployment may sit on a write whose answer was lost, before it lands after all: its own time-out is 300 s (wire
/// contract, section 1.1). For twice as long after a rollback, a flag that is found on again is put back again.
const LATE_WRITE_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How long at least a breach after a rollback counts as its echo: monitoring functions often look back over an hour.
const ECHO_MIN: SignedDuration = SignedDuration::from_hours(1);
