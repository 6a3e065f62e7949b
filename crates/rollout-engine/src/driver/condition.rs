//! Owns what is known about a store that is not well: since when, why, what is owed to the journal, and when to try again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rollout_core::{PhaseNumber, RolloutId};

use super::comeback::{Arrival, Arrived};
use crate::handle::{StoreCondition, StoreState};
use crate::store::StoreError;

/// How often the store is opened anew while nothing can be recorded.
pub(super) const REOPEN_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// How often the journal of the machine says again that the store is not well, and the reserve is tried.
pub(super) const TELL_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How the store does, and what is known while it is not well.
pub(super) enum Condition {
    /// All is recorded.
    Well,
    /// All is recorded, on the reserve.
    Reserve(Shortage),
    /// Nothing is recorded.
    Dark(Box<Dark>),
}

/// The disk is full; the reserve was spent.
pub(super) struct Shortage {
    pub(super) since: Timestamp,
    pub(super) why: String,
    /// When there may be room again.
    pub(super) look_at: Timestamp,
}

/// Nothing can be recorded: the board in memory is ahead of the journals, and will be dropped.
pub(super) struct Dark {
    pub(super) since: Timestamp,
    pub(super) cause: StoreError,
    /// Rollouts of which a person was told that it is not known whether their request was recorded.
    pub(super) refused: BTreeSet<RolloutId>,
    /// By how much the wall clock jumped meanwhile.
    pub(super) jumped: SignedDuration,
    /// The same, of the commit whose failure this began with: told where it did not land.
    pub(super) jumped_before: SignedDuration,
    /// Rollbacks that the journals must be told of.
    pub(super) owed: BTreeMap<RolloutId, Owed>,
    pub(super) try_at: Timestamp,
    pub(super) tell_at: Timestamp,
    pub(super) opening: Option<Arrival>,
}

/// What was done to the flags of one rollout without a record.
pub(super) struct Owed {
    pub(super) at: Timestamp,
    pub(super) phases: BTreeSet<PhaseNumber>,
    /// Why it was not recorded.
    pub(super) cause: String,
    /// Why it was done, in the words of the journal that could not be written.
    pub(super) words: String,
}

impl Condition {
    pub(super) fn is_dark(&self) -> bool {
        matches!(self, Self::Dark(_))
    }

    /// True when no flag may be turned on.
    pub(super) fn is_restrained(&self) -> bool {
        !matches!(self, Self::Well)
    }

    /// When the store is to be looked after next.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        match self {
            Self::Well => None,
            Self::Reserve(shortage) => Some(shortage.look_at),
            Self::Dark(dark) if dark.opening.is_some() => Some(dark.tell_at),
            Self::Dark(dark) => Some(dark.try_at.min(dark.tell_at)),
        }
    }

    /// The store, once it is open or was found to be closed still. Pends for ever while none is being opened. Cancel-safe.
    pub(super) async fn opened(&mut self) -> Result<Arrived, StoreError> {
        let Self::Dark(dark) = self else { return std::future::pending().await };
        let Some(opening) = &mut dark.opening else { return std::future::pending().await };
        let opened = opening.await;
        dark.opening = None;
        opened
    }

    /// As a status shows it.
    pub(super) fn shown(&self) -> StoreCondition {
        match self {
            Self::Well => StoreCondition {
                state: StoreState::Well,
                since: None,
                why: None,
                unrecorded: Vec::new(),
            },
            Self::Reserve(Shortage { since, why, .. }) => StoreCondition {
                state: StoreState::Reserve,
                since: Some(*since),
                why: Some(why.clone()),
                unrecorded: Vec::new(),
            },
            Self::Dark(dark) => StoreCondition {
                state: StoreState::Failing,
                since: Some(dark.since),
                why: Some(words(&dark.cause)),
                unrecorded: dark.owed.keys().copied().collect(),
            },
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn words(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let causes = causes.map(|cause| format!(": {cause}"));
    format!("{error}{}", causes.collect::<String>())
}
