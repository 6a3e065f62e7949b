//! The latency histogram of one function and minute, with the flaw of the real one.
//!
//! Cells hold two significant digits and count to 255; the total counts on. Once a cell is full,
//! high percentiles run off the end and come back as 0, which the server raises to 1 ms. A reader
//! of latencies has to survive that, so it is kept exactly. Merging counts what the cells hold.

use std::collections::BTreeMap;

/// Latencies in whole milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Counts by the upper edge of the cell.
    cells: BTreeMap<u64, u8>,
    total: u64,
}

impl Histogram {
    /// Counts a latency.
    pub fn record(&mut self, milliseconds: u64) {
        let cell = self.cells.entry(upper_edge(milliseconds.min(LATENCY_MS_MAX))).or_default();
        *cell = cell.saturating_add(1);
        self.total += 1;
    }

    /// Adds what another histogram's cells hold.
    pub fn merge(&mut self, other: &Self) {
        for (edge, count) in &other.cells {
            let cell = self.cells.entry(*edge).or_default();
            *cell = cell.saturating_add(*count);
            self.total += u64::from(*count);
        }
    }

    /// The latency at a percentile of 0 to 100, in seconds; `0.0` when nothing was recorded.
    #[must_use]
    pub fn percentile(&self, percentile: u8) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts of a minute fit, and are not negative"
        )]
        let wanted = ((f64::from(percentile) / 100.0 * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.cells.iter().find(|(_, count)| {
            seen += u64::from(**count);
            seen >= wanted
        });
        let milliseconds = reached.map_or(0, |(edge, _)| *edge).max(1);
        #[expect(clippy::cast_precision_loss, reason = "at most a quarter of an hour")]
        let milliseconds = milliseconds as f64;
        milliseconds / 1000.0
    }
}

/// The largest latency that shares a cell with this one.
fn upper_edge(milliseconds: u64) -> u64 {
    if milliseconds < CELLS_EXACT {
        return milliseconds;
    }
    let shift = milliseconds.ilog2() - HALF_CELLS_LOG2;
    (((milliseconds >> shift) + 1) << shift) - 1
}

/// Longer latencies count as this long: a quarter of an hour.
const LATENCY_MS_MAX: u64 = 900_000;
/// Below this many milliseconds each has a cell of its own.
const CELLS_EXACT: u64 = 256;
/// From there on each doubling has 2^7 cells, which is two significant digits.
const HALF_CELLS_LOG2: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    /// 90 % at 20 ms, 9 % at 200 ms, 1 % at 2 s, as the contract measured it.
    fn measured(calls: u64) -> Histogram {
        let mut histogram = Histogram::default();
        let (most, some) = (calls * 90 / 100, calls * 9 / 100);
        for (count, milliseconds) in [(most, 20), (some, 200), (calls - most - some, 2000)] {
            (0..count).for_each(|_| histogram.record(milliseconds));
        }
        histogram
    }

    #[track_caller]
    fn check(histogram: &Histogram, expected: [f64; 3]) {
        assert_eq!([50, 95, 99].map(|percentile| histogram.percentile(percentile)), expected);
    }

    #[test]
    fn percentiles_fail_under_load_exactly_as_the_contract_measured() {
        check(&measured(100), [0.02, 0.2, 0.2]);
        check(&measured(280), [0.02, 0.2, 2.007]);
        check(&measured(300), [0.02, 2.007, 0.001]);
        check(&measured(500), [0.02, 0.001, 0.001]);
        check(&measured(1000), [0.001, 0.001, 0.001]);
        let mut merged = Histogram::default();
        for _ in 0..5 {
            merged.merge(&measured(250));
        }
        check(&merged, [0.001, 0.001, 0.001]);
    }

    #[test]
    fn a_flat_distribution_survives_longer() {
        let flat = |calls: u64| {
            let mut histogram = Histogram::default();
            (0..calls).for_each(|call| histogram.record(10 + call * 201 / calls));
            histogram
        };
        check(&flat(6_000), [0.11, 0.2, 0.208]);
        check(&flat(60_000), [0.127, 0.001, 0.001]);
    }

    #[test]
    fn nothing_is_zero_and_a_full_cell_shows_in_the_hundredth() {
        assert_eq!(Histogram::default().percentile(99), 0.0);
        assert_eq!(measured(300).percentile(100), 0.001);
        assert_eq!(measured(280).percentile(100), 2.007);
        let mut long = Histogram::default();
        long.record(u64::MAX);
        assert_eq!(long.percentile(50), 901.119);
    }
}
