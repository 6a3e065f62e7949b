//! Owns the look between two readings: whether a source that follows the stream shows what looks like a breach.
//!
//! It decides nothing; the core judges, in a reading of its own. It only says when one is worth taking before the next planned
//! one. Invariants: only values beyond an alert threshold are told, never a mere error, so that a deployment which always has a
//! few is not read every second; while they stay, they are told less and less often.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use rollout_core::{Source, SourceQuery, Span, SpanEnd};

use crate::convex::Convex;
use crate::transport::Transport;

/// What was asked last of each source, and when.
#[derive(Debug, Default)]
pub(crate) struct LastAsked(Mutex<BTreeMap<String, (SourceQuery, Duration)>>);

impl LastAsked {
    /// Remembers a question about the present that was asked at `now`.
    pub(crate) fn note(&self, query: &SourceQuery, now: Duration) {
        let has_alert = query.metrics.iter().any(|metric| metric.alert.is_some());
        if query.span.end == SpanEnd::Now && has_alert {
            let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            asked.insert(query.source.clone(), (query.clone(), now));
        }
    }

    /// What is still followed at `now`, each about the time that ends then.
    fn followed(&self, now: Duration) -> Vec<SourceQuery> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, (query, at)| signed(now.saturating_sub(*at)) < query.stay);
        let later = asked.values().map(|(query, at)| {
            let mut query = query.clone();
            let to = query.span.to.checked_add(signed(now.saturating_sub(*at)));
            let to = to.unwrap_or(query.span.to);
            query.span = Span { to, ..query.span };
            query
        });
        later.collect()
    }
}

impl<T: Transport> Convex<T> {
    /// Says by `tell` whenever a source that follows the stream shows a value beyond its alert threshold; ends only when it is
    /// dropped. [`Convex::follow`] must run beside it.
    pub async fn alarms(&self, tell: impl Fn()) {
        let mut stirred = self.stirred();
        let mut pace = PACE_FIRST;
        loop {
            if self.looks_like_a_breach() {
                tell();
                self.transport().wait(pace).await;
                pace = pace.saturating_mul(2).min(PACE_MAX);
            } else {
                pace = PACE_FIRST;
                // The sender lives in `self`, so this cannot fail.
                let _ = stirred.changed().await;
                // Many answers may follow each other; each look goes through all calls that are kept.
                self.transport().wait(LOOK_MIN).await;
            }
        }
    }

    fn looks_like_a_breach(&self) -> bool {
        let now = self.transport().own_elapsed();
        self.stream.last_asked.followed(now).into_iter().any(|query| {
            let Source::Executions(calls) = &query.ask else { return false };
            let Ok(told) = self.stream.told(calls, query.span, self.moment()) else {
                return false;
            };
            query.metrics.iter().any(|metric| {
                let found = || told.measured(&metric.pointer, metric.unit);
                metric.alert.as_ref().is_some_and(|alert| alert.holds(&found()))
            })
        })
    }
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

/// Between two looks while nothing is beyond a threshold.
const LOOK_MIN: Duration = Duration::from_millis(100);
/// After the first time that something was told.
const PACE_FIRST: Duration = Duration::from_secs(1);
/// At most so long while it stays: every planned reading sees it anyway.
const PACE_MAX: Duration = Duration::from_secs(10);
