//! Owns what was seen of a stopped deployment once it runs again: for how long its own metrics hold the calls that it refused.
//!
//! Invariants: it only ever makes a figure unknown. It knows what readings of this process saw: a stop between two readings, or
//! before this process began, is not known here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Span, SpanEnd};

use crate::error::stopped::RUNNING;
use crate::measure::REASON_BYTES_MAX;
use crate::text::clip;

/// The last stop that was seen.
#[derive(Debug, Default)]
pub(crate) struct Stops(Mutex<Option<Stop>>);

#[derive(Debug)]
struct Stop {
    /// What the deployment called its state: `paused`.
    state: String,
    /// When it was seen running again, by the clock that spans are by.
    ended: Option<Duration>,
}

impl Stops {
    /// Notes what the deployment says of itself at `now`.
    pub(crate) fn note(&self, state: &str, now: Duration) {
        let mut last = self.last();
        match (&mut *last, state) {
            (Some(Stop { ended: ended @ None, .. }), RUNNING) => *ended = Some(now),
            (Some(_) | None, RUNNING) => {}
            (_, stopped) => *last = Some(Stop { state: stopped.to_owned(), ended: None }),
        }
    }

    /// True after a stop whose end was not seen.
    pub(crate) fn is_open(&self) -> bool {
        self.last().as_ref().is_some_and(|stop| stop.ended.is_none())
    }

    /// Why counts of the time from `from` on are not known, if they hold calls that were refused. They are asked for at `now`,
    /// as those of `span`, by a source that looks back for `over`.
    pub(crate) fn mar(
        &self,
        now: Duration,
        span: Span,
        from: Timestamp,
        over: SignedDuration,
    ) -> Option<String> {
        let last = self.last();
        let Stop { state, ended } = last.as_ref()?;
        let held = "its metrics hold the calls that it refused, as failures";
        let Some(ended) = ended else {
            return Some(clip(
                &format!("unknown: the deployment was {state} at the last look; {held}"),
                REASON_BYTES_MAX,
            ));
        };
        let ago = SignedDuration::try_from(now.saturating_sub(*ended)).ok()?;
        // The clock is not told here; a question about the present says what time it is.
        let ended = match span.end {
            SpanEnd::Now => span.to.checked_sub(ago).ok()?,
            SpanEnd::Past if ago < over => span.to,
            SpanEnd::Past => return None,
        };
        let clean = ended.checked_add(CLOCKS_APART).ok()?;
        let again = clean.checked_add(over).ok()?;
        (from < clean).then(|| {
            let time = |at: Timestamp| at.strftime("%H:%M UTC").to_string();
            let words = format!(
                "unknown: the deployment was {state} until about {}; {held}, until {}",
                time(ended),
                time(again)
            );
            clip(&words, REASON_BYTES_MAX)
        })
    }

    fn last(&self) -> MutexGuard<'_, Option<Stop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the deployment's clock may be ahead of ours before its metrics are refused; its minutes are older by so much.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(2);
