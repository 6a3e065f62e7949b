//! Owns how the store does, as the wire has it.

use rollout_api::{StoreStatus, StoreWord};
use rollout_engine::{EngineStatus, StoreState};

use super::moment;

/// How the store does.
pub(crate) fn store(engine: &EngineStatus) -> StoreStatus {
    let condition = &engine.store;
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
    }
}
