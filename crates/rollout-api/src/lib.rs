//! The words of `/v1`: what the daemon answers, what the CLI asks, and the plan file as a person writes it.
//!
//! **Promise**: plain types without behaviour of their own. Timestamps are RFC 3339 strings, lengths of time are whole
//! seconds in fields that end in `_secs`; an unknown key in a request is refused, an unknown key in an answer is ignored,
//! so that an older client goes on working with a newer daemon.
//!
//! Two features add behaviour: `plan` reads the plan file (the only arrow from here to the core, ADR 0002), and `client`
//! makes typed calls over the unix socket.

mod detail;
mod doctor;
mod exit;
mod journal;
mod lines;
mod order;
mod problem;
mod rollout;
mod server;
mod verify;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "plan")]
pub mod plan;

pub use detail::{
    BakeView, CheckpointView, FlagView, IncidentState, IncidentView, ItemView, ItemWhen, PhaseView,
    ReadingView, RolloutDetail, ValueView,
};
pub use doctor::{
    DeploymentView, DoctorReport, DoctorRequest, DoctorSection, FindingState, FindingView,
    VariableView, opposite,
};
pub use exit::Exit;
pub use journal::{EventPage, JournalEntry, Position};
pub use lines::unbroken;
pub use order::{
    Answer, OrderRequest, OrderResponse, OrderScope, OrderVerb, StartRequest, StartResponse,
};
pub use problem::{Code, PROBLEM_MEDIA_TYPE, Problem, ViolationView};
pub use rollout::{
    DriftView, HoldKind, HoldView, PhaseBrief, RolloutList, RolloutStatus, RolloutSummary,
};
pub use server::{SalvagedView, ServerStatus, StoreStatus, StoreWord};
pub use verify::{QuarantinedView, VerifiedRollout, VerifyReport};
