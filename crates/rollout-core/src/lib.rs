//! Decides what should happen next in a rollout, and nothing else.
//!
//! **Promise**: deterministic. No clock, no IO, no randomness, no async, `no_std`. The same state, the same moment and the
//! same input give the same events on every machine, before and after a crash.
//!
//! Read two types first: [`Plan`], what a person wants, and [`Rollout`], the state machine with its four methods:
//!
//! * [`Rollout::decide`] judges an [`Input`] and answers with [`Event`]s; it changes nothing,
//! * [`Rollout::evolve`] applies one event that is durable; it cannot fail,
//! * [`Rollout::pending`] derives the [`Effect`]s that the state still needs, so starting and resuming are one path,
//! * [`Rollout::next_deadline`] says when [`Input::DeadlineReached`] is due.
//!
//! The shell's order is always: decide, append (durable), evolve, reply, perform.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cadence;
mod coverage;
mod criterion;
mod effect;
mod event;
mod id;
mod input;
mod measurement;
mod plan;
mod report;
mod retry;
mod rollout;
mod source;

#[cfg(test)]
mod tests;

pub use cadence::{Cadence, CadenceStep};
pub use coverage::Coverage;
pub use criterion::{Bound, Comparison, Criterion, Limit, Unit, Verdict};
pub use effect::{
    Effect, Fault, FaultClass, Known, MetricQuery, Observation, Outcome, Pace, PendingEffect,
    SourceQuery, WritePurpose,
};
pub use event::{Event, EventKind, GapCause, HoldReason, HowCompleted, RollbackCause};
pub use id::{EffectKey, FlagName, IncidentNumber, PhaseNumber, RolloutId, Seq};
pub use input::{Actor, Command, Input, Order, Rejection, RollbackScope, Verb};
pub use measurement::{
    Expectation, FlagValues, FunctionCall, Judged, JudgedReading, Measured, Measurement, Probe,
    ProbeAnswer, ProbeKind, ProbeState, Purpose, Reading, Scalar, Written,
};
pub use plan::{
    ChangeWindow, ChecklistItem, DriftPolicy, FlagChange, MissedPolicy, Phase, Plan, PlanParts,
    Precondition, Proof, PushPolicy, Risk, SmokeRepeat, SmokeTest, Violation,
};
pub use report::{LogOptions, event_name, log, sentence};
pub use rollout::{
    Bake, Checkpoint, Creation, ForeignValue, Hold, Incident, NoCreation, PhaseState, Rollback,
    RollbackStage, Rollout, Smoke, Stage, Status, Wait, Watch,
};
pub use source::{
    Basis, CallFigure, Calls, Extent, FigureOf, HttpGet, PromQuery, PromRange, Reduce, Source,
    Span, SpanEnd,
};
