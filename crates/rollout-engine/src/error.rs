//! Owns everything that can go wrong between a request and its durable answer.

use rollout_core::{FlagName, IncidentNumber, PhaseNumber, Rejection, RolloutId};

use crate::schedule::ScheduleError;
use crate::store::StoreError;

/// Why the engine refuses or fails. Nothing was acknowledged and nothing changed, but for [`EngineError::Store`] after a
/// failed commit, whose fate is known after the next start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed; the engine stops, since it may not act on what it cannot record.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A journal entry cannot be read as an event.
    #[error("entry {seq} of the journal of {rollout} is not an event this version knows: {why}")]
    Record {
        /// The rollout.
        rollout: RolloutId,
        /// The entry.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// No such rollout.
    #[error("there is no rollout {0}")]
    UnknownRollout(RolloutId),
    /// The state machine refuses.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Another rollout is live on the deployment.
    #[error(
        "{by} is live on `{deployment}`; one rollout at a time, so that a breach has one cause"
    )]
    DeploymentBusy {
        /// The deployment.
        deployment: String,
        /// The live rollout.
        by: RolloutId,
    },
    /// A flag is locked by an incident that nobody resolved.
    #[error("the flag {flag} is locked by incident {incident} of {by}, which is not resolved")]
    FlagLocked {
        /// The flag.
        flag: FlagName,
        /// The rollout that rolled it back.
        by: RolloutId,
        /// Its incident.
        incident: IncidentNumber,
    },
    /// An idempotency key was used for another request.
    #[error("the idempotency key `{0}` was used for another request")]
    KeyReused(String),
    /// A change window that cannot be used.
    #[error("the change window of phase {phase} cannot be used: {source}")]
    ChangeWindow {
        /// The phase.
        phase: PhaseNumber,
        /// Why.
        source: ScheduleError,
    },
    /// The engine is stopping or has stopped.
    #[error("the engine has stopped")]
    Stopped,
}
