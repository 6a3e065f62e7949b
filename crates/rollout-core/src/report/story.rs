//! Owns the chain told apart by chapter: which event belongs to the baseline, to which attempt at which phase, to the
//! closing, to the engine.
//!
//! The chain is folded through [`Rollout::evolve`], so that an event without a phase of its own (a failed write, a reading)
//! is placed by the state in which it happened. Invariant: every event but the first is in at least one chapter.

use alloc::vec;
use alloc::vec::Vec;
use core::ptr;

use jiff::Timestamp;

use crate::event::{Event, EventKind, HoldReason, RollbackCause};
use crate::id::{IncidentNumber, PhaseNumber};
use crate::input::Actor;
use crate::measurement::{JudgedReading, Purpose};
use crate::plan::{Phase, Plan, PushPolicy};
use crate::rollout::{PhaseState, Rollout, Status};

/// A whole chain, told apart.
pub(super) struct Story<'a> {
    /// The rollout as the last event left it.
    pub(super) rollout: Rollout,
    /// The plan, as the first event froze it.
    pub(super) plan: &'a Plan,
    /// The first event.
    pub(super) created: &'a Event,
    /// Until the baseline passed.
    pub(super) baseline: Chapter<'a>,
    /// The attempts at each phase, in the plan's order; never an empty list.
    pub(super) phases: Vec<Vec<Attempt<'a>>>,
    /// From the final checks on.
    pub(super) closing: Chapter<'a>,
    /// Restarts and clock jumps.
    pub(super) engine: Chapter<'a>,
    latest_reading: Option<&'a Event>,
}

/// Events that belong together, in their order.
#[derive(Default)]
pub(super) struct Chapter<'a>(pub(super) Vec<&'a Event>);

/// One try of a phase.
pub(super) struct Attempt<'a> {
    /// The phase's number.
    pub(super) phase: PhaseNumber,
    /// The phase as planned.
    pub(super) planned: &'a Phase,
    /// The phase as this attempt left it.
    pub(super) state: PhaseState,
    /// What happened.
    pub(super) chapter: Chapter<'a>,
}

/// A closure that takes something from one kind of event: `pick!(EventKind::SmokeCreated { id } => id)`.
macro_rules! pick {
    ($kind:pat $(if $guard:expr)? => $taken:expr) => {
        move |kind| if let $kind = kind $(&& $guard)? { Some($taken) } else { None }
    };
}
pub(super) use pick;

/// Where an event belongs.
enum Place {
    Baseline,
    Phase(PhaseNumber),
    Incident(IncidentNumber),
    Closing,
    Engine,
}

impl<'a> Story<'a> {
    /// Tells a chain; `None` when it does not begin with the creation of a rollout.
    pub(super) fn tell(events: &'a [Event]) -> Option<Self> {
        let (created, rest) = events.split_first()?;
        let EventKind::RolloutCreated { plan, .. } = &created.kind else { return None };
        let rollout = Rollout::replay([created]).ok()?;
        let attempts = |(phase, planned)| {
            let state = rollout.phases().get(PhaseNumber::index(phase))?.clone();
            Some(vec![Attempt { phase, planned, state, chapter: Chapter::default() }])
        };
        let phases = plan.numbered().filter_map(attempts).collect();
        let mut story = Self {
            rollout,
            plan,
            created,
            baseline: Chapter::default(),
            phases,
            closing: Chapter::default(),
            engine: Chapter::default(),
            latest_reading: None,
        };
        rest.iter().for_each(|event| story.take(event));
        story.keep_states();
        Some(story)
    }

    fn take(&mut self, event: &'a Event) {
        if let EventKind::ReadingTaken { .. } = &event.kind {
            self.latest_reading = Some(event);
        }
        if let EventKind::RollbackStarted { phases, cause: RollbackCause::Breach { .. }, .. } =
            &event.kind
        {
            self.show_breach_to(phases);
        }
        for place in places(&self.rollout, &event.kind) {
            match place {
                Place::Baseline => self.baseline.0.push(event),
                Place::Closing => self.closing.0.push(event),
                Place::Engine => self.engine.0.push(event),
                Place::Phase(number) => {
                    let attempts = self.phases.get_mut(number.index());
                    if let Some(attempt) = attempts.and_then(|attempts| attempts.last_mut()) {
                        attempt.chapter.0.push(event);
                    }
                }
                Place::Incident(incident) => {
                    let attempts = self.phases.iter_mut().flatten();
                    for attempt in attempts.filter(|attempt| attempt.opened(incident)) {
                        attempt.chapter.0.push(event);
                    }
                }
            }
        }
        if let EventKind::RetryOrdered { phase } = &event.kind {
            self.keep_states();
            self.rollout.evolve(event);
            self.begin_attempt(*phase);
        } else {
            self.rollout.evolve(event);
        }
    }

    /// Puts the reading that showed a breach into the phases it rolls back, wherever it was taken.
    fn show_breach_to(&mut self, phases: &[PhaseNumber]) {
        let Some(reading) = self.latest_reading else { return };
        for number in phases {
            let attempts = self.phases.get_mut(number.index());
            let Some(attempt) = attempts.and_then(|attempts| attempts.last_mut()) else { continue };
            let is_there = attempt.chapter.0.iter().rev().any(|event| ptr::eq(*event, reading));
            if !is_there {
                attempt.chapter.0.push(reading);
            }
        }
    }

    /// Notes how every phase stands, for its last attempt so far.
    fn keep_states(&mut self) {
        for (attempts, state) in self.phases.iter_mut().zip(self.rollout.phases()) {
            if let Some(attempt) = attempts.last_mut() {
                attempt.state = state.clone();
            }
        }
    }

    fn begin_attempt(&mut self, phase: PhaseNumber) {
        let state = self.rollout.phases().get(phase.index());
        let attempts = self.phases.get_mut(phase.index());
        if let (Some(state), Some(attempts), Some(planned)) =
            (state, attempts, self.plan.phase(phase))
        {
            let (state, chapter) = (state.clone(), Chapter::default());
            attempts.push(Attempt { phase, planned, state, chapter });
        }
    }

    /// The last event of a phase that let the next one begin, no later than `by`.
    pub(super) fn done_before(&self, phase: PhaseNumber, by: Timestamp) -> Option<&'a Event> {
        let attempts = self.phases.get(phase.index()).into_iter().flatten();
        let events = attempts.flat_map(|attempt| attempt.chapter.0.iter().copied());
        let done = |event: &&Event| {
            let ends = matches!(
                event.kind,
                EventKind::PhaseCompleted { .. } | EventKind::PhaseSkipped { .. }
            );
            ends && event.at <= by
        };
        events.rev().find(done)
    }
}

impl<'a> Chapter<'a> {
    /// The first event that `pick` takes, with what it took.
    pub(super) fn first<T>(
        &self,
        pick: impl Fn(&'a EventKind) -> Option<T>,
    ) -> Option<(&'a Event, T)> {
        self.all(pick).next()
    }

    /// The last event that `pick` takes, with what it took.
    pub(super) fn last<T>(
        &self,
        pick: impl Fn(&'a EventKind) -> Option<T>,
    ) -> Option<(&'a Event, T)> {
        self.all(pick).last()
    }

    /// All events that `pick` takes, with what it took.
    pub(super) fn all<T>(
        &self,
        pick: impl Fn(&'a EventKind) -> Option<T>,
    ) -> impl Iterator<Item = (&'a Event, T)> {
        self.0.iter().filter_map(move |event| Some((*event, pick(&event.kind)?)))
    }

    /// The time of the first event that `is` holds for.
    pub(super) fn time_of(&self, is: impl Fn(&EventKind) -> bool) -> Option<Timestamp> {
        self.0.iter().find(|event| is(&event.kind)).map(|event| event.at)
    }

    /// The events from the first one that `begins` holds for, up to and without the next one that `ends` holds for.
    pub(super) fn stretch(
        &self,
        begins: impl Fn(&EventKind) -> bool,
        ends: impl Fn(&EventKind) -> bool,
    ) -> Chapter<'a> {
        let from = self.0.iter().skip_while(|event| !begins(&event.kind));
        let inside = |(index, event): &(usize, &&'a Event)| *index == 0 || !ends(&event.kind);
        Chapter(from.enumerate().take_while(inside).map(|(_, event)| *event).collect())
    }
}

impl<'a> Attempt<'a> {
    /// True when this attempt was ended by the rollback of this incident.
    pub(super) fn opened(&self, incident: IncidentNumber) -> bool {
        let opens = |event: &&Event| matches!(&event.kind, EventKind::RollbackStarted { incident: opened, .. } if *opened == incident);
        self.chapter.0.iter().any(opens)
    }

    /// When the phase was taken up.
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.chapter.time_of(|kind| matches!(kind, EventKind::PhaseStarted { .. }))
    }

    /// When its gates were all open.
    pub(super) fn enabling_at(&self) -> Option<Timestamp> {
        self.chapter.time_of(|kind| matches!(kind, EventKind::EnablingStarted { .. }))
    }

    /// When its window began.
    pub(super) fn bake_at(&self) -> Option<Timestamp> {
        self.chapter.time_of(|kind| matches!(kind, EventKind::BakeStarted { .. }))
    }

    /// From when on its checkpoints count, and what happened since then: a push of code may have begun the window again.
    pub(super) fn counted(&self, pushes: PushPolicy) -> Option<(Timestamp, Chapter<'a>)> {
        let begins = |event: &&Event| {
            let is_pushed = matches!(event.kind, EventKind::CodePushed { .. });
            is_pushed && pushes == PushPolicy::Extend
                || matches!(
                    event.kind,
                    EventKind::BakeStarted { .. } | EventKind::WindowRestarted { .. }
                )
        };
        let at = self.chapter.0.iter().rposition(begins)?;
        let since = self.chapter.0.get(at..)?;
        Some((since.first()?.at, Chapter(since.to_vec())))
    }

    /// When its first rollback began.
    pub(super) fn rollback_at(&self) -> Option<Timestamp> {
        self.chapter.time_of(|kind| matches!(kind, EventKind::RollbackStarted { .. }))
    }

    /// The bake window: from its start to its end, promotion or rollback.
    pub(super) fn window(&self) -> Chapter<'a> {
        let begins = |kind: &EventKind| matches!(kind, EventKind::BakeStarted { .. });
        self.chapter.stretch(begins, |kind| {
            matches!(
                kind,
                EventKind::BakeEnded { .. }
                    | EventKind::PhaseCompleted { .. }
                    | EventKind::RollbackStarted { .. }
            )
        })
    }
}

/// A reading taken for a purpose that `wanted` holds for.
pub(super) fn reading(
    wanted: impl Fn(Purpose) -> bool,
) -> impl Fn(&EventKind) -> Option<&JudgedReading> {
    pick!(EventKind::ReadingTaken { purpose, reading } if wanted(*purpose) => &**reading)
}

/// The person who caused an event, if one did.
pub(super) fn person(event: &Event) -> Option<&str> {
    match &event.actor {
        Actor::Person(name) => Some(name),
        Actor::Engine => None,
    }
}

fn places(before: &Rollout, kind: &EventKind) -> Vec<Place> {
    match kind {
        EventKind::RolloutCreated { .. } => Vec::new(),
        EventKind::EngineResumed { .. } | EventKind::ClockJumped { .. } => vec![Place::Engine],
        EventKind::BaselineStarted | EventKind::BaselinePassed => vec![Place::Baseline],
        EventKind::FinalChecksStarted
        | EventKind::FinalChecksPassed
        | EventKind::SmokeStarted
        | EventKind::SmokeCreated { .. }
        | EventKind::SmokePassed
        | EventKind::SmokeFailed { .. }
        | EventKind::RolloutCompleted => vec![Place::Closing],
        EventKind::GapRecorded { phase, .. }
        | EventKind::GapBackfilled { phase, .. }
        | EventKind::CheckpointJudged { phase, .. }
        | EventKind::PhaseStarted { phase }
        | EventKind::PreflightPassed { phase }
        | EventKind::PreflightExpired { phase }
        | EventKind::ItemTicked { phase, .. }
        | EventKind::PhaseApproved { phase }
        | EventKind::ChangeWindowFound { phase, .. }
        | EventKind::EnablingStarted { phase }
        | EventKind::FlagsSet { phase, .. }
        | EventKind::BakeStarted { phase }
        | EventKind::BakeEnded { phase }
        | EventKind::PhaseCompleted { phase, .. }
        | EventKind::PhaseSkipped { phase, .. }
        | EventKind::CodePushed { phase, .. }
        | EventKind::WindowRestarted { phase }
        | EventKind::RetryOrdered { phase } => vec![Place::Phase(*phase)],
        EventKind::RollbackStarted { phases, .. } => {
            phases.iter().copied().map(Place::Phase).collect()
        }
        EventKind::IncidentResolved { incident }
        | EventKind::Held { hold: HoldReason::RolledBack { incident } }
        | EventKind::Released { hold: HoldReason::RolledBack { incident } } => {
            vec![Place::Incident(*incident)]
        }
        EventKind::Held { .. }
        | EventKind::Released { .. }
        | EventKind::ReadingStarted { .. }
        | EventKind::ReadingTaken { .. }
        | EventKind::EffectFailed { .. }
        | EventKind::EffectRetried
        | EventKind::DriftSeen { .. }
        | EventKind::DriftFound { .. }
        | EventKind::FlagRewritten { .. }
        | EventKind::DriftAdopted { .. }
        | EventKind::RevertStarted { .. }
        | EventKind::DriftReverted { .. }
        | EventKind::FlagsRestored { .. }
        | EventKind::RestoreLost { .. }
        | EventKind::RollbackFinished
        | EventKind::AbortOrdered
        | EventKind::RolloutAborted => current(before),
    }
}

/// Where the rollout is: in a rollback, or by its status.
fn current(rollout: &Rollout) -> Vec<Place> {
    if let Some(rollback) = rollout.rollback() {
        return rollback.phases.iter().copied().map(Place::Phase).collect();
    }
    match rollout.status() {
        Status::Scheduled | Status::Baseline => vec![Place::Baseline],
        Status::Running => vec![rollout.current().map_or(Place::Closing, Place::Phase)],
        Status::FinalChecks | Status::Completed | Status::Aborted => vec![Place::Closing],
    }
}
