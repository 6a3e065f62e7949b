//! Owns what the tests of the pure halves share: moments of one day.

use jiff::Timestamp;
use rollout_core::{Span, SpanEnd};

/// A moment of the day: `10:15`, `10:15:30`.
pub(super) fn moment(time: &str) -> Timestamp {
    let seconds = if time.len() == 5 { ":00" } else { "" };
    format!("2026-08-21T{time}{seconds}Z").parse().unwrap()
}

/// A range of time of the day.
pub(super) fn span(from: &str, to: &str, end: SpanEnd) -> Span {
    Span { from: moment(from), to: moment(to), end }
}
