//! Owns what the tests of the pure halves share: moments of one day, and the words of an answer.

use jiff::Timestamp;
use rollout_core::{Span, SpanEnd};

use super::Answer;

/// A moment of the day: `10:15`, `10:15:30`.
pub(super) fn moment(time: &str) -> Timestamp {
    let seconds = if time.len() == 5 { ":00" } else { "" };
    format!("2026-08-21T{time}{seconds}Z").parse().unwrap()
}

/// A range of time of the day.
pub(super) fn span(from: &str, to: &str, end: SpanEnd) -> Span {
    Span { from: moment(from), to: moment(to), end }
}

/// Why there is nothing to be seen.
pub(super) fn missing(answer: Answer) -> String {
    let Answer::Missing(words) = answer else { panic!("{answer:?}") };
    words
}

/// Why the answer cannot be used.
pub(super) fn failed(answer: Answer) -> String {
    let Answer::Failed(words) = answer else { panic!("{answer:?}") };
    words
}
