//! Owns how the store does, as the wire has it, and what is left of a rollout's ways on while it is not well.

use jiff::Timestamp;
use rollout_api::{RolloutDetail, StoreStatus, StoreWord};
use rollout_core::{Rollout, Verb};
use rollout_engine::{EngineStatus, StoreState};

use crate::quarantine::Quarantine;

/// How the store does. `begun_at`: when this process began it.
pub(crate) fn store(
    engine: &EngineStatus,
    begun_at: Option<Timestamp>,
    quarantine: &Quarantine,
) -> StoreStatus {
    let condition = &engine.store;
    let is_empty = engine.live + engine.ended == 0 && engine.quarantined.is_empty();
    StoreStatus {
        state: word(condition.state),
        since: condition.since.map(second),
        why: condition.why.clone(),
        unrecorded: condition.unrecorded.iter().map(ToString::to_string).collect(),
        quarantined: engine.quarantined.iter().map(|aside| aside.rollout.to_string()).collect(),
        salvaged: quarantine.salvaged(),
        begun_at: begun_at.filter(|_| is_empty).map(second),
    }
}

/// A rollout as it stands where the store does so: what the rollout would take and the store does not is not offered, and where a
/// way out names it, that it is refused is said.
pub(crate) fn as_the_store_does(
    mut shown: RolloutDetail,
    state: StoreState,
    rollout: &Rollout,
) -> RolloutDetail {
    let (first, refused_while) = match state {
        StoreState::Well => return shown,
        StoreState::Reserve => (
            "a person: room on the disk, before a flag is turned on (RO0211)",
            "refused while the disk is full",
        ),
        StoreState::Failing => (
            "a person: a store that can be written, before anything goes on (RO0210)",
            "refused while nothing can be recorded",
        ),
    };
    let taken = rollout.allowed().into_iter().filter(|verb| state.takes(*verb, rollout));
    shown.allowed = taken.map(|verb| verb.to_string()).collect();
    shown.store = word(state);
    let ways = shown.summary.holds.iter_mut().filter_map(|hold| hold.way_out.as_mut());
    for line in shown.waits.iter_mut().chain(ways) {
        let named = VERBS.iter().filter(|verb| line.contains(&format!("`rolloutctl {verb} ")));
        let refused = named.filter(|verb| !state.takes(**verb, rollout));
        let refused: Vec<String> = refused.map(|verb| format!("`{verb}`")).collect();
        if !refused.is_empty() {
            line.push_str(&format!(" ({refused_while}: {})", refused.join(", ")));
        }
    }
    if !shown.summary.is_ended() {
        shown.waits.insert(0, first.to_owned());
    }
    shown
}

/// A moment in sentences: nobody reads fractions of a second at night.
fn second(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn word(state: StoreState) -> StoreWord {
    match state {
        StoreState::Well => StoreWord::Ok,
        StoreState::Reserve => StoreWord::Reserve,
        StoreState::Failing => StoreWord::Failing,
    }
}

const VERBS: [Verb; 10] = [
    Verb::Approve,
    Verb::Check,
    Verb::Hold,
    Verb::Resume,
    Verb::Promote,
    Verb::Skip,
    Verb::Retry,
    Verb::Abort,
    Verb::Rollback,
    Verb::ResolveIncident,
];
