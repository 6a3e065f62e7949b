//! Owns what a rollout may decide while no flag may be turned on, and when its flags need somebody to watch.
//!
//! There is no second state machine: the core decides, on a copy that is held. A hold stops the advance and never the watch
//! or a rollback, which is just what is wanted.

use jiff::Timestamp;
use rollout_core::{
    Actor, Command, Event, EventKind, HoldReason, Input, Rejection, RollbackScope, Rollout, Stage,
    Verb,
};

use crate::handle::StoreState;

/// Judges `input` as [`Rollout::decide`] does, but as if the rollout were held: it does not advance.
pub(super) fn decide(
    rollout: &Rollout,
    now: Timestamp,
    input: Input,
) -> Result<Vec<Event>, Rejection> {
    let mut held = rollout.clone();
    // Of all reasons the one that no rule looks at; it is not in the events, and is gone with the copy.
    let hold = HoldReason::Smoke { why: "nothing is turned on while the store is not well".into() };
    let (at, actor, note) = (rollout.last_at(), Actor::Engine, None);
    held.evolve(&Event { at, actor, note, kind: EventKind::Held { hold } });
    held.decide(now, input)
}

/// Where an order leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tends {
    /// Nothing is turned on because of it alone.
    Nowhere,
    /// A flag is turned on sooner or later.
    On,
}

/// Where an order leads. What opens one gate of several is recorded at any time: the advance itself is what waits.
pub(super) fn tends(verb: Verb) -> Tends {
    match verb {
        Verb::Resume | Verb::Promote | Verb::Retry => Tends::On,
        Verb::Hold
        | Verb::Approve
        | Verb::Check
        | Verb::Skip
        | Verb::Abort
        | Verb::Rollback
        | Verb::ResolveIncident => Tends::Nowhere,
    }
}

impl StoreState {
    /// Whether an order that `rollout` itself would take is carried out while the store does so.
    pub fn takes(self, verb: Verb, rollout: &Rollout) -> bool {
        match self {
            Self::Well => true,
            Self::Reserve => tends(verb) == Tends::Nowhere,
            Self::Failing => match verb {
                Verb::Rollback => true,
                Verb::Abort => has_a_running_phase(rollout),
                Verb::Hold
                | Verb::Resume
                | Verb::Approve
                | Verb::Check
                | Verb::Promote
                | Verb::Skip
                | Verb::Retry
                | Verb::ResolveIncident => false,
            },
        }
    }
}

/// True while an abort puts flags back.
fn has_a_running_phase(rollout: &Rollout) -> bool {
    rollout.exposed().is_some() && !rollout.status().is_terminal()
}

/// What an order comes to when it may only put flags back; `None` = nothing.
pub(super) fn rollback_of(command: &Command, rollout: &Rollout) -> Option<Command> {
    match command {
        Command::Rollback(scope) => Some(Command::Rollback(*scope)),
        // An abort puts a running phase back and ends the rollout; the end can wait until it can be recorded.
        Command::Abort => {
            has_a_running_phase(rollout).then_some(Command::Rollback(RollbackScope::Latest))
        }
        Command::Hold
        | Command::Resume
        | Command::Approve(_)
        | Command::Check { .. }
        | Command::Promote
        | Command::Skip(_)
        | Command::Retry
        | Command::ResolveIncident(_) => None,
    }
}

/// Leaves out what may not happen under restraint from events that were decided before it: everything from the first step
/// that would turn something on, and the end of an aborted rollout where `ends` says so.
pub(super) fn cut(events: Vec<Event>, ends: Ends) -> Vec<Event> {
    let turns_on = |event: &Event| {
        matches!(event.kind, EventKind::EnablingStarted { .. } | EventKind::SmokeStarted)
    };
    let end = |event: &Event| {
        matches!(event.kind, EventKind::AbortOrdered | EventKind::RolloutAborted)
            && ends == Ends::Wait
    };
    let until = events.into_iter().take_while(|event| !turns_on(event));
    until.filter(|event| !end(event)).collect()
}

/// Leaves out the start of a rollout, and all that follows from it.
pub(super) fn before_its_start(events: Vec<Event>) -> Vec<Event> {
    events.into_iter().take_while(|event| event.kind != EventKind::BaselineStarted).collect()
}

/// Whether an ordered end of a rollout takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// It does.
    Happen,
    /// Not now.
    Wait,
}

/// True while somebody must watch: a flag may be on, is on its way back, or may be turned on by a late write.
pub(super) fn needs_a_watch(rollout: &Rollout, now: Timestamp) -> bool {
    let is_on =
        |stage: Stage| stage.is_exposed() || stage.is_rolling_back() || stage == Stage::Completed;
    rollout.rollback().is_some()
        || !rollout.status().is_terminal()
            && rollout.phases().iter().any(|phase| is_on(phase.stage))
        || rollout.guards_restore(now)
}
