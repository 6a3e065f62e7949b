//! Owns [`Coverage`], the share of a bake window that was really observed.

use core::fmt;

use jiff::SignedDuration;

/// Share of the bake window that was observed, in basis points (1 bp = 0.01 %). Range 0..=10_000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coverage(u16);

impl Coverage {
    /// The whole window.
    pub const FULL: Self = Self(10_000);

    /// Takes basis points up to 10,000.
    pub fn from_basis_points(points: u16) -> Option<Self> {
        (points <= Self::FULL.0).then_some(Self(points))
    }

    /// The share in basis points.
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// How much of `window` is covered by `observed`, rounded down. An empty window is fully covered.
    pub fn of(observed: SignedDuration, window: SignedDuration) -> Self {
        let (observed, window) = (observed.as_millis().max(0), window.as_millis());
        if window <= 0 || observed >= window {
            return Self::FULL;
        }
        Self(u16::try_from(observed * 10_000 / window).unwrap_or(Self::FULL.0))
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{} %", self.0 / 100),
            rest => write!(f, "{}.{rest:02} %", self.0 / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn rounds_down_and_stays_in_range() {
        let hour = SignedDuration::from_hours(1);
        assert_eq!(Coverage::of(SignedDuration::from_mins(59), hour).basis_points(), 9_833);
        assert_eq!(Coverage::of(hour * 2, hour), Coverage::FULL);
        assert_eq!(Coverage::of(-hour, hour).basis_points(), 0);
        assert_eq!(Coverage::of(SignedDuration::ZERO, SignedDuration::ZERO), Coverage::FULL);
    }

    #[test]
    fn reads_as_percent() {
        assert_eq!(Coverage::FULL.to_string(), "100 %");
        assert_eq!(Coverage(9_833).to_string(), "98.33 %");
        assert_eq!(Coverage(5).to_string(), "0.05 %");
    }
}
