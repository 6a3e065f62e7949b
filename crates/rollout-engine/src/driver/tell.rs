//! Owns what the daemon's own log says of an event: what a person on call looks for there, in the words of the rollout log.

use rollout_core::{EventKind, Rollout, sentence};
use tracing::{debug, info, warn};

use crate::handle::Entry;

/// Says in the daemon's own log what a person on call looks for there.
#[expect(clippy::wildcard_enum_match_arm, reason = "all the rest is for who debugs")]
pub(super) fn tell(rollout: &Rollout, entry: &Entry) {
    let (id, words) = (rollout.id(), sentence(&entry.event, Some(rollout.plan())));
    match &entry.event.kind {
        EventKind::Held { .. }
        | EventKind::DriftSeen { .. }
        | EventKind::DriftFound { .. }
        | EventKind::FlagRewritten { .. }
        | EventKind::CodePushed { .. }
        | EventKind::RollbackStarted { .. }
        | EventKind::EffectFailed { .. }
        | EventKind::RestoreLost { .. }
        | EventKind::ClockJumped { .. }
        | EventKind::SmokeFailed { .. } => warn!(rollout = %id, "{words}"),
        EventKind::Released { .. }
        | EventKind::DriftAdopted { .. }
        | EventKind::RevertStarted { .. }
        | EventKind::DriftReverted { .. }
        | EventKind::WindowRestarted { .. }
        | EventKind::PhaseStarted { .. }
        | EventKind::BakeStarted { .. }
        | EventKind::PhaseCompleted { .. }
        | EventKind::PhaseSkipped { .. }
        | EventKind::GapRecorded { .. }
        | EventKind::GapBackfilled { .. }
        | EventKind::FlagsRestored { .. }
        | EventKind::RollbackFinished
        | EventKind::IncidentResolved { .. }
        | EventKind::RolloutAborted
        | EventKind::RolloutCompleted => info!(rollout = %id, "{words}"),
        _ => debug!(rollout = %id, "{words}"),
    }
}
