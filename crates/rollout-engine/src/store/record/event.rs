//! Owns the frozen form of an event and of what only events hold. The order of fields and variants is the format.

use rollout_core::{Actor, Event, EventKind, GapCause, HoldReason, HowCompleted, RollbackCause};
use serde::{Deserialize, Serialize};

use super::before::{JudgedReadingV1, PlanV1};
use super::mirror::{Entries, Mirror, Misfit, Moment, Span, mirror, within};
use super::plan::PlanV3;
use super::reading::{FaultV1, JudgedReadingV3, PurposeV1, VerdictV1, WrittenV3};

/// An event and its kinds, over the forms of a plan and of a reading: these two differ between versions, all else was only
/// added to.
macro_rules! event_record {
    ($record:ident, $kind:ident, $plan:ty, $reading:ty, $doc:literal) => {
        mirror! {
            #[doc = $doc]
            pub struct $record of Event {
                at: Moment,
                actor: ActorV1,
                note: Option<String>,
                kind: $kind,
            }
        }

        mirror! {
            enum $kind of EventKind {
                RolloutCreated {
                    id: u64,
                    plan: Box<$plan>,
                    digest: String,
                    url: String,
                    start_at: Moment,
                },
                EngineResumed { last_seen: Moment },
                ClockJumped { by: Span },
                BaselineStarted,
                ReadingStarted { purpose: PurposeV1 },
                ReadingTaken { purpose: PurposeV1, reading: Box<$reading> },
                GapRecorded { phase: u8, from: Moment, to: Moment, cause: GapCauseV1 },
                CheckpointJudged { phase: u8, offset: Span, due: Moment, verdict: VerdictV1 },
                BaselinePassed,
                PhaseStarted { phase: u8 },
                PreflightPassed { phase: u8 },
                PreflightExpired { phase: u8 },
                ItemTicked { phase: u8, item: String },
                PhaseApproved { phase: u8 },
                ChangeWindowFound { phase: u8, opens: Moment, closes: Moment },
                EnablingStarted { phase: u8 },
                EffectFailed { fault: FaultV1, retry_at: Option<Moment> },
                EffectRetried,
                FlagsSet { phase: u8, wrote: Vec<String>, already: Vec<String> },
                BakeStarted { phase: u8 },
                BakeEnded { phase: u8 },
                PhaseCompleted { phase: u8, coverage: u16, how: HowCompletedV1 },
                PhaseSkipped { phase: u8, why: String },
                DriftSeen { flag: String, expected: Option<String>, found: Option<String> },
                Held { hold: HoldReasonV1 },
                Released { hold: HoldReasonV1 },
                RollbackStarted {
                    phases: Vec<u8>,
                    restore: Entries<String, String>,
                    cause: RollbackCauseV1,
                    incident: u32,
                },
                FlagsRestored { wrote: Vec<String>, already: Vec<String> },
                RestoreLost { retry_at: Moment },
                RollbackFinished,
                IncidentResolved { incident: u32 },
                RetryOrdered { phase: u8 },
                AbortOrdered,
                RolloutAborted,
                FinalChecksStarted,
                FinalChecksPassed,
                SmokeStarted,
                SmokeCreated { id: String },
                SmokePassed,
                SmokeFailed { why: String },
                RolloutCompleted,
                // From here on: version 2.
                GapBackfilled { phase: u8, from: Moment, to: Moment, cause: GapCauseV1 },
                // From here on: version 3.
                DriftFound {
                    flag: String,
                    expected: Option<String>,
                    found: Option<String>,
                    written: Option<WrittenV3>,
                },
                FlagRewritten { flag: String, written: WrittenV3 },
                DriftAdopted { flag: String, value: String },
                RevertStarted { changes: Entries<String, String> },
                DriftReverted { wrote: Vec<String>, already: Vec<String> },
                CodePushed { phase: u8, pushed_at: Moment },
                WindowRestarted { phase: u8 },
            }
        }
    };
}

event_record!(
    EventRecordV1,
    EventKindV1,
    PlanV1,
    JudgedReadingV1,
    "An [`Event`] as format versions 1 and 2 keep it."
);
event_record!(
    EventRecordV3,
    EventKindV3,
    PlanV3,
    JudgedReadingV3,
    "An [`Event`] as format version 3 keeps it."
);

mirror! {
    enum ActorV1 of Actor {
        Engine,
        Person(name: String),
    }
}

mirror! {
    enum GapCauseV1 of GapCause {
        EngineDown,
        Unreadable(reason: String),
        Drift,
        Asleep,
        // From here on: version 2.
        ClockJump,
    }
}

mirror! {
    enum HowCompletedV1 of HowCompleted {
        Kept,
        Promoted,
    }
}

mirror! {
    enum RollbackCauseV1 of RollbackCause {
        Breach { criterion: String, value: String, alert: String },
        Verification { what: String, found: String },
        Ordered,
        Abort,
        // From here on: version 2.
        Missed { offset: Span, due: Moment },
    }
}

mirror! {
    enum HoldReasonV1 of HoldReason {
        Person,
        Baseline { why: String },
        Drift { flag: String },
        RolledBack { incident: u32 },
        EffectFailed { why: String },
        Blind { why: String },
        Missed { phase: u8, offset: Span },
        CoverageShort { phase: u8 },
        ClockJump,
        Smoke { why: String },
        // From here on: version 3.
        CodePush { phase: u8, pushed_at: Moment },
    }
}
