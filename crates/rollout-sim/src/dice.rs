//! Owns chance: everything that a seed decides is drawn here, so that the same seed draws the same.

use jiff::SignedDuration;

/// One stream of draws.
#[derive(Clone, Debug)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    /// A stream of its own for each `purpose` of a seed: drawing more for one changes nothing for the others.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let spread = (seed ^ purpose.rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(fastrand::Rng::with_seed(spread ^ (spread >> 29)))
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.0.u32(0..100) < percent
    }

    /// A number from `low` up to and with `high`.
    pub(crate) fn number(&mut self, low: i64, high: i64) -> i64 {
        self.0.i64(low..=high)
    }

    /// A place in a list of `len` things; `len` is not 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.0.usize(0..len)
    }

    /// One of these; the list is not empty.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }

    /// Whole minutes.
    pub(crate) fn minutes(&mut self, low: i64, high: i64) -> SignedDuration {
        SignedDuration::from_mins(self.number(low, high))
    }

    /// Milliseconds.
    pub(crate) fn millis(&mut self, low: i64, high: i64) -> SignedDuration {
        SignedDuration::from_millis(self.number(low, high))
    }

    /// A span between seconds and days, each order of magnitude as likely as the next.
    pub(crate) fn any_span(&mut self) -> SignedDuration {
        match self.number(0, 4) {
            0 => self.millis(0, 2_000),
            1 => self.millis(2_000, 120_000),
            2 => self.minutes(2, 90),
            3 => self.minutes(60, 12 * 60),
            _ => self.minutes(12 * 60, 4 * 24 * 60),
        }
    }
}
