//! Owns everything that can go wrong between a request and its durable answer.

use std::fmt;

use rollout_core::{FlagName, IncidentNumber, PhaseNumber, Rejection, RolloutId};

use crate::schedule::ScheduleError;
use crate::store::{Quarantined, StoreError};

/// Why the engine refuses or fails. Nothing was acknowledged and nothing changed, but for [`EngineError::Store`] after a
/// failed commit, whose fate is known after the next start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed, and cannot be opened again: at the start, while it is read, or with nothing left to watch.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// RO0210: nothing can be recorded, so nothing is accepted; the one thing that is done all the same is putting flags back.
    #[error("{did}")]
    Unrecorded {
        /// What became of the request.
        did: Unrecorded,
        /// Why nothing can be recorded.
        source: StoreError,
    },
    /// RO0211: the disk is full, and what is left of the reserve is for rollbacks.
    #[error(
        "the disk is full and rolloutd runs on its reserve: nothing is accepted that leads to a flag turned on"
    )]
    OnReserve,
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
    /// RO0208: the rollout was damaged on disk and set aside; nobody drives it.
    #[error("{} was set aside as damaged, and nobody drives it: {}", .0.rollout, .0.why)]
    Quarantined(Quarantined),
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

/// What became of a request, or of the engine, while nothing can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrecorded {
    /// Nothing was changed.
    Nothing,
    /// Its commit failed, and nobody knows whether it is on disk all the same.
    NotKnown,
    /// The flags are being put back, without a record of it: this is no acknowledgement.
    RollbackUnderWay,
    /// The engine ended. The rollouts whose flags may be on are watched by nobody.
    Ended {
        /// These rollouts.
        unwatched: Vec<RolloutId>,
        /// These were rolled back without a record; their journals do not know of it.
        untold: Vec<RolloutId>,
    },
}

impl fmt::Display for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing can be recorded, so nothing was changed"),
            Self::NotKnown => f.write_str(
                "nothing can be recorded, and whether this was is not known; look for it once the store is back: if it is there, it is held, unless rolloutd was started again meanwhile",
            ),
            Self::RollbackUnderWay => {
                f.write_str("the rollback is under way but cannot be recorded")
            }
            Self::Ended { unwatched, untold } => {
                f.write_str("nothing can be recorded")?;
                if !unwatched.is_empty() {
                    write!(f, "; flags of {} may be on and nobody watches them", list(unwatched))?;
                }
                if !untold.is_empty() {
                    write!(f, "; {} was rolled back without a record", list(untold))?;
                }
                Ok(())
            }
        }
    }
}

/// Ids in a row: `r1, r2`.
pub(crate) fn list(ids: &[RolloutId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
