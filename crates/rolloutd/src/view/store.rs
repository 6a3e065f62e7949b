//! Owns how the store does, as the wire has it.

use jiff::Timestamp;
use rollout_api::{StoreStatus, StoreWord};
use rollout_engine::{EngineStatus, StoreState};

use super::moment;

/// How the store does. `begun_at`: when this process began it.
pub(crate) fn store(engine: &EngineStatus, begun_at: Option<Timestamp>) -> StoreStatus {
    let condition = &engine.store;
    let is_empty = engine.live + engine.ended == 0 && engine.quarantined.is_empty();
    StoreStatus {
        state: match condition.state {
            StoreState::Well => StoreWord::Ok,
            StoreState::Reserve => StoreWord::Reserve,
            StoreState::Failing => StoreWord::Failing,
        },
        since: condition.since.map(moment),
        why: condition.why.clone(),
        unrecorded: condition.unrecorded.iter().map(ToString::to_string).collect(),
        quarantined: engine.quarantined.iter().map(|aside| aside.rollout.to_string()).collect(),
        begun_at: begun_at.filter(|_| is_empty).map(moment),
    }
}
