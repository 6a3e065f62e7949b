//! Owns what a deployment does not tell beside a reading: since when it is silent, and when it is asked again.
//!
//! Invariants: a no is believed for an hour and never longer, because keys are given rights and servers are updated while this
//! process runs; anything else passes and is asked again with the next reading. The log has one line where a silence begins and
//! one where it ends, however long it is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::convex::Convex;
use crate::error::CallError;
use crate::measure::REASON_BYTES_MAX;
use crate::text::clip;
use crate::transport::Transport;

/// Changes that nobody watches, because the deployment did not tell of them when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwatched {
    /// What: `code pushes`, `rewrites of flags`, `who wrote a flag`.
    pub what: &'static str,
    /// Why, in words.
    pub why: String,
    /// What to do.
    pub advice: &'static str,
}

/// What a deployment was found not to tell.
#[derive(Debug)]
pub(crate) struct Untold {
    pub(crate) writes: Silence,
    pub(crate) push: Silence,
    pub(crate) authors: Silence,
}

/// One thing that a deployment may not tell.
#[derive(Debug)]
pub(crate) struct Silence {
    /// What nobody watches meanwhile.
    unwatched: &'static str,
    /// What to do about it.
    advice: &'static str,
    state: Mutex<State>,
}

/// Whether it is told, as of the last time it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It is, or was not asked for yet.
    Told,
    /// It is not; asked for again from a time on, by the time that really passed, or with the next reading.
    Silent { until: Option<Duration>, why: String },
}

impl Default for Untold {
    fn default() -> Self {
        Self {
            writes: Silence::new(
                "rewrites of flags",
                "let the key read data (ViewData); until then only another value of a flag is seen as a change",
            ),
            push: Silence::new(
                "code pushes",
                "let the key read data (ViewData); until then tell people not to push code in a window",
            ),
            authors: Silence::new(
                "who wrote a flag",
                "let the key read the audit log (ViewAuditLog), where the team's plan has one; else ask around",
            ),
        }
    }
}

impl Silence {
    fn new(unwatched: &'static str, advice: &'static str) -> Self {
        Self { unwatched, advice, state: Mutex::new(State::Told) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it makes sense to ask.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        match &*self.state() {
            State::Told | State::Silent { until: None, why: _ } => true,
            State::Silent { until: Some(until), why: _ } => now >= *until,
        }
    }

    /// Notes that it was told.
    pub(crate) fn ended(&self, deployment: &str) {
        if std::mem::replace(&mut *self.state(), State::Told) != State::Told {
            let watched = self.unwatched;
            tracing::info!(deployment, watched, "the deployment tells again");
        }
    }

    /// Notes that it was not.
    pub(crate) fn goes_on(&self, deployment: &str, now: Duration, why: Why<'_>) {
        let until = match why {
            Why::Error(error) if is_refusal(error) => Some(now.saturating_add(BELIEVED_FOR)),
            Why::Error(_) | Why::Unknown => None,
        };
        let reason = clip(&why.words(deployment), REASON_BYTES_MAX);
        let silent = State::Silent { until, why: reason.clone() };
        if std::mem::replace(&mut *self.state(), silent) == State::Told {
            let unwatched = self.unwatched;
            tracing::warn!(deployment, unwatched, reason, "the deployment does not tell");
        }
    }

    fn unwatched(&self) -> Option<Unwatched> {
        match &*self.state() {
            State::Told => None,
            State::Silent { until: _, why } => {
                let Self { unwatched: what, advice, state: _ } = self;
                Some(Unwatched { what, why: why.clone(), advice })
            }
        }
    }
}

/// Why something was not told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Why<'a> {
    /// The call has no result.
    Error(&'a CallError),
    /// The server is too old to know, or runs no functions now.
    Unknown,
}

impl Why<'_> {
    fn words(self, deployment: &str) -> String {
        match self {
            Self::Error(error) => error.reason(deployment),
            Self::Unknown => format!("deployment {deployment} has no such query"),
        }
    }
}

impl<T: Transport> Convex<T> {
    /// What is not watched on this deployment, as of the last time that it was asked.
    pub fn unwatched(&self) -> Vec<Unwatched> {
        let Untold { writes, push, authors } = &self.untold;
        [push, writes, authors].into_iter().filter_map(Silence::unwatched).collect()
    }
}

/// True for a definite no to this key. A 401 may be a key that is being changed, a 404 a proxy whose server is restarting.
fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::Refused { status: 400 | 403, .. })
}

/// How long a no is believed: an operator who widens a key waits no longer, and a log of refusals stays short.
const BELIEVED_FOR: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TransportError;
    use crate::wire::ErrorBody;

    const HOUR: Duration = BELIEVED_FOR;

    fn refused(status: u16) -> CallError {
        CallError::Refused { status, body: ErrorBody { code: None, message: None } }
    }

    #[test]
    fn a_no_is_believed_for_an_hour_and_anything_else_passes() {
        let timed_out = TransportError::TimedOut { after: Duration::from_secs(5) };
        for (error, is_believed) in [
            (refused(400), true),
            (refused(403), true),
            (refused(401), false),
            (refused(404), false),
            (refused(503), false),
            (timed_out.into(), false),
        ] {
            let (silence, now) = (Silence::new("x", "y"), Duration::from_secs(7));
            assert!(silence.is_due(now) && silence.unwatched().is_none());
            silence.goes_on("prod", now, Why::Error(&error));
            let Unwatched { what, why, advice } = silence.unwatched().unwrap();
            assert_eq!((what, why, advice), ("x", error.reason("prod"), "y"));
            assert_eq!(silence.is_due(now), !is_believed, "{error:?}");
            assert_eq!(silence.is_due(now + HOUR - Duration::from_millis(1)), !is_believed);
            assert!(silence.is_due(now + HOUR), "{error:?}");
            silence.ended("prod");
            assert!(silence.is_due(now) && silence.unwatched().is_none());
        }
    }
}
