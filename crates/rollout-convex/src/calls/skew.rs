//! Owns how a deployment's clock relates to ours, from nothing but what must be so.
//!
//! Two facts bound it. An execution cannot have finished after we were told of it. And one that is told for the first time,
//! in an answer that goes on where another ended, cannot have finished before that other one was asked for. Where both allow
//! it, the clocks are taken to agree; otherwise the nearest bound counts. Bounds that contradict each other mean that a clock
//! was set, and the older ones are forgotten.
//!
//! Our side is time that really passed (microseconds since some moment), so that setting our wall clock changes nothing here.

/// Bounds of the deployment's clock minus ours, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew {
    low: Option<i64>,
    high: Option<i64>,
}

impl Skew {
    /// Learns from one answer: `newest` finished by their clock, `received` by ours; `oldest` is the first that was not
    /// known before, and `asked_before` when the answer before was asked for.
    pub(crate) fn learn(&mut self, newest: i64, received: i64, since: Option<(i64, i64)>) {
        let low = newest.saturating_sub(received);
        let high = since.map(|(oldest, asked_before)| oldest.saturating_sub(asked_before));
        self.low = self.low.max(Some(low));
        self.high = match (self.high, high) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if let (Some(least), Some(most)) = (self.low, self.high)
            && least > most
        {
            let high = high.filter(|high| *high >= low);
            *self = Self { low: Some(low), high };
        }
    }

    /// The deployment's clock minus ours, as near to `agreeing` as the bounds allow.
    pub(crate) fn nearest(self, agreeing: i64) -> i64 {
        let least = self.low.map_or(agreeing, |low| agreeing.max(low));
        self.high.map_or(least, |high| least.min(high))
    }

    /// False while the truth may be far from [`Skew::nearest`]: nothing was told yet that had just ended, so that a clock
    /// that is behind looks like a deployment on which nothing happens.
    pub(crate) fn is_sure(self, agreeing: i64) -> bool {
        let Some(low) = self.low else { return true };
        let nearest = self.nearest(agreeing);
        // What is asked and answered takes its time, so clocks that agree are never quite the same.
        if nearest.abs_diff(agreeing) <= SURE_WITHIN.unsigned_abs() {
            return nearest.saturating_sub(low) <= SURE_WITHIN;
        }
        self.high.is_some_and(|high| high.saturating_sub(low) <= SURE_WITHIN)
    }
}

/// So near is near enough, in microseconds: bounds close in to this with the first execution of a tight loop.
const SURE_WITHIN: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEC: i64 = 1_000_000;

    #[test]
    fn nothing_known_means_that_clocks_agree() {
        assert_eq!(Skew::default().nearest(77), 77);
    }

    #[test]
    fn a_clock_that_is_ahead_shows_at_once_and_one_that_is_behind_with_the_first_new_execution() {
        let hour = 3_600 * SEC;
        let mut ahead = Skew::default();
        ahead.learn(1_000 * SEC + hour, 1_000 * SEC, None);
        assert_eq!(ahead.nearest(0), hour);
        let mut behind = Skew::default();
        behind.learn(1_000 * SEC - hour, 1_000 * SEC, None);
        assert_eq!(behind.nearest(0), 0, "an idle deployment would look the same");
        assert!(!behind.is_sure(0) && !ahead.is_sure(0));
        behind.learn(1_001 * SEC - hour, 1_001 * SEC, Some((1_001 * SEC - hour, 1_000 * SEC)));
        assert_eq!(behind.nearest(0), SEC - hour);
        assert!(behind.is_sure(0));
        let mut agreeing = Skew::default();
        assert!(agreeing.is_sure(0));
        agreeing.learn(995 * SEC, 1_000 * SEC, None);
        assert!(agreeing.is_sure(0));
    }

    /// Where calls are rare, nothing says for long that the deployment's clock is not half a minute ahead.
    #[test]
    fn clocks_that_agree_but_for_a_latency_agree() {
        let mut quiet = Skew::default();
        quiet.learn(1_000 * SEC, 1_000 * SEC, Some((1_000 * SEC, 968 * SEC)));
        for beside in [-SEC / 5, 0, SEC / 5] {
            assert!(quiet.is_sure(beside), "{beside}");
        }
        assert!(!quiet.is_sure(-15 * SEC));
    }

    #[test]
    fn a_clock_that_is_set_is_learnt_anew() {
        let mut skew = Skew::default();
        skew.learn(10 * SEC, 10 * SEC, Some((10 * SEC, 9 * SEC)));
        assert_eq!(skew.nearest(0), 0);
        skew.learn(500 * SEC, 11 * SEC, Some((500 * SEC, 10 * SEC)));
        assert_eq!(skew.nearest(0), 489 * SEC);
        skew.learn(2 * SEC, 12 * SEC, Some((2 * SEC, 11 * SEC)));
        assert_eq!(skew.nearest(0), -9 * SEC);
    }

    proptest! {
        /// Whatever the true difference, it stays within the bounds, and they close in on it.
        #[test]
        fn bounds_hold_the_truth(truth in -7_200i64..7_200, waits in prop::collection::vec((1i64..60_000_000, 0i64..200_000), 1..30)) {
            let (truth, mut now, mut skew) = (truth * SEC, 0i64, Skew::default());
            let mut asked_before = None;
            for (wait, latency) in waits {
                let asked = now;
                let finished = asked + latency + wait;
                now = finished + latency;
                skew.learn(finished + truth, now, asked_before.map(|before| (finished + truth, before)));
                asked_before = Some(asked);
                prop_assert!(skew.nearest(i64::MIN) <= truth);
                prop_assert!(truth - skew.nearest(i64::MIN) <= 200_000, "low is the latency away at most");
                prop_assert!(skew.high.is_none_or(|high| high >= truth));
                prop_assert_eq!(skew.nearest(truth), truth);
            }
        }
    }
}
