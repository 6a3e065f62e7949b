//! Owns which stretches of time were seen whole: between two of them, executions may have been lost.
//!
//! A stretch is known by when executions *ended*, by the deployment's clock in microseconds. What cannot be shown to be
//! whole is not.

use std::collections::VecDeque;

/// Stretches of time of which every execution was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Ended ones, oldest first.
    ended: VecDeque<(Start, i64)>,
    /// The one that goes on.
    current: Option<Start>,
}

/// Where a stretch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// By the deployment's clock.
    Theirs(i64),
    /// By the time that really passed here: nothing was there yet from which their clock could be read.
    Ours(i64),
}

/// How much of a range was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of it.
    Whole,
    /// Some of it, from this moment of the range on, perhaps with holes.
    Part(i64),
    /// None of it.
    None,
}

impl Seen {
    /// Begins a new stretch; one that goes on ends at `end`.
    pub(crate) fn begin(&mut self, start: Start, end: i64) {
        if let Some(before) = self.current.replace(start) {
            self.ended.push_back((before, end));
            if self.ended.len() > STRETCHES_MAX {
                self.ended.pop_front();
            }
        }
    }

    /// How much of a range was seen; `skew` is the deployment's clock minus ours.
    pub(crate) fn sight(&self, from: i64, to: i64, skew: i64) -> Sight {
        let place = |start: Start| match start {
            Start::Theirs(at) => at,
            Start::Ours(at) => at.saturating_add(skew),
        };
        let ended = self.ended.iter().map(|(start, end)| (place(*start), *end));
        let current = self.current.iter().map(|start| (place(*start), i64::MAX));
        let mut part = None;
        for (start, end) in ended.chain(current) {
            if start <= from && to <= end {
                return Sight::Whole;
            }
            if start < to && from < end {
                let begins = start.max(from);
                part = Some(part.map_or(begins, |earlier: i64| earlier.min(begins)));
            }
        }
        part.map_or(Sight::None, Sight::Part)
    }
}

/// Most ended stretches that are kept; what is older was not seen.
const STRETCHES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_whole_within_one_stretch_and_a_part_across_two() {
        let mut seen = Seen::default();
        assert_eq!(seen.sight(0, 10, 0), Sight::None);
        seen.begin(Start::Theirs(100), 0);
        assert_eq!(seen.sight(100, 900, 0), Sight::Whole);
        assert_eq!(seen.sight(50, 900, 0), Sight::Part(100));
        assert_eq!(seen.sight(50, 90, 0), Sight::None);
        seen.begin(Start::Theirs(300), 200);
        assert_eq!(seen.sight(100, 200, 0), Sight::Whole);
        assert_eq!(seen.sight(150, 400, 0), Sight::Part(150));
        assert_eq!(seen.sight(210, 290, 0), Sight::None);
        assert_eq!(seen.sight(250, 400, 0), Sight::Part(300));
        assert_eq!(seen.sight(300, i64::MAX, 0), Sight::Whole);
    }

    #[test]
    fn a_start_by_our_clock_moves_with_the_skew() {
        let mut seen = Seen::default();
        seen.begin(Start::Ours(100), 0);
        assert_eq!(seen.sight(1_100, 2_000, 1_000), Sight::Whole);
        assert_eq!(seen.sight(1_000, 2_000, 1_000), Sight::Part(1_100));
    }

    #[test]
    fn what_is_forgotten_was_not_seen() {
        let mut seen = Seen::default();
        for at in 0..100 {
            seen.begin(Start::Theirs(at * 10), at * 10 - 5);
        }
        assert_eq!(seen.sight(1, 4, 0), Sight::None);
        assert_eq!(seen.sight(981, 984, 0), Sight::Whole);
    }
}
