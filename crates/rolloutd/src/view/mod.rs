//! Owns the way from the core's types to the wire's: what people and scripts are shown of a rollout.
//!
//! Shows, never judges: every verdict, wait and allowed verb is the core's own. Pure functions of a rollout and a moment.

mod answer;
mod entry;
mod fields;
mod full;
mod headline;
mod notice;
mod phase;
mod short;
mod store;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

pub(crate) use answer::comes_back;
pub(crate) use entry::entry;
pub(crate) use full::full;
pub(crate) use notice::notice;
pub(crate) use short::short;
pub(crate) use store::{as_the_store_does, store};

/// A moment as the wire has it.
pub(crate) fn moment(at: Timestamp) -> String {
    at.to_string()
}

/// A length of time as the wire has it; a negative one counts as none.
fn secs(length: SignedDuration) -> u64 {
    u64::try_from(length.as_secs()).unwrap_or(0)
}

/// A checkpoint's place in its window: `T+6h`, `T+1h30m`.
fn offset(offset: SignedDuration) -> String {
    format!("T+{offset:#}").replace(' ', "")
}
