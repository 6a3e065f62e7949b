//! Owns the identifiers: small newtypes that are parsed once at the edge and trusted inside.
//!
//! Refuses anything out of range at construction; there is no way to hold a bad one.

use alloc::string::{String, ToString};
use core::fmt;
use core::num::{NonZeroU8, NonZeroU32, NonZeroU64};
use core::str::FromStr;

/// A rollout, numbered by the engine in order of creation and shown as `r42`. Starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId(NonZeroU64);

impl RolloutId {
    /// The first rollout of an engine.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Takes a number from 1 on; 0 is none.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number without its `r`.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The rollout created after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Why a text is not a rollout id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rollout id; ids look like r42")]
pub struct NotARolloutId(String);

impl FromStr for RolloutId {
    type Err = NotARolloutId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('r')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .and_then(Self::new)
            .ok_or_else(|| NotARolloutId(text.to_string()))
    }
}

/// Position in one rollout's journal. Starts at 1, has no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(NonZeroU64);

impl Seq {
    /// The position of the first event.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Takes a position from 1 on.
    pub fn new(position: u64) -> Option<Self> {
        NonZeroU64::new(position).map(Self)
    }

    /// The position as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The following position.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one effect for good: the rollout and the event that asked for it. Sent as request id, so that a repeated effect
/// can be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectKey {
    /// The rollout that needs the effect.
    pub rollout: RolloutId,
    /// The event after which it was needed.
    pub seq: Seq,
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-s{}", self.rollout, self.seq)
    }
}

/// A phase's place in its plan, from 1 on, as people count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhaseNumber(NonZeroU8);

impl PhaseNumber {
    /// The number of the phase at `index` (0-based); `None` beyond the 255th.
    pub fn from_index(index: usize) -> Option<Self> {
        u8::try_from(index).ok().and_then(|index| index.checked_add(1)).and_then(Self::new)
    }

    /// Takes a number from 1 on.
    pub fn new(number: u8) -> Option<Self> {
        NonZeroU8::new(number).map(Self)
    }

    /// The number, from 1 on.
    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// The 0-based place in the plan.
    pub fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

impl fmt::Display for PhaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An incident of one rollout, from 1 on in the order of the rollbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentNumber(NonZeroU32);

impl IncidentNumber {
    /// Takes a number from 1 on.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for IncidentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an environment variable on a deployment.
///
/// The pattern is the deployment's own, `^[a-zA-Z_][a-zA-Z0-9_]*$` (wire contract, section 2.5). Lengths and counts are the
/// deployment's to refuse: its numbers have changed over time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlagName(String);

impl FlagName {
    /// Takes a name that fits the pattern.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = name.bytes();
        let starts_well =
            bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (starts_well && goes_on_well).then(|| Self(name.to_string()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollout_ids_round_trip_and_refuse_lookalikes() {
        assert_eq!("r42".parse::<RolloutId>().map(|id| id.to_string()), Ok("r42".to_string()));
        for wrong in ["", "r", "42", "r0", "r-1", "r+1", "r 1", "R1", "r99999999999999999999"] {
            assert!(wrong.parse::<RolloutId>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn flag_names_follow_the_deployments_pattern() {
        for right in ["ENABLE_X", "_a", "a9"] {
            assert!(FlagName::new(right).is_some(), "{right:?} was refused");
        }
        for wrong in ["", "9A", "A-B", "A B", "É"] {
            assert!(FlagName::new(wrong).is_none(), "{wrong:?} was accepted");
        }
    }
}
