//! Owns simulated time: the true time, what the wall clock makes of it, and for when the engine wants to be woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rollout_engine::{Clock, Moment};
use tokio::sync::Notify;

/// The clocks of the simulated machine. They go on while no process runs.
#[derive(Debug)]
pub(crate) struct SimClock {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug)]
struct State {
    /// True time; the deployments live in it.
    truth: Timestamp,
    began: Timestamp,
    /// By how much the wall clock is wrong.
    wrong: SignedDuration,
    /// Time that the monotonic clock did not count, because the machine was suspended.
    slept: SignedDuration,
    /// What the engine waits for, on the wall; `None` = for ever.
    wanted: Option<Timestamp>,
}

impl SimClock {
    pub(crate) fn at(truth: Timestamp) -> Self {
        let zero = SignedDuration::ZERO;
        let state = State { truth, began: truth, wrong: zero, slept: zero, wanted: None };
        Self { state: Mutex::new(state), moved: Notify::new() }
    }

    /// Lets true time pass up to `to`, without waking anybody.
    pub(crate) fn pass_to(&self, to: Timestamp) {
        let mut state = self.state();
        state.truth = state.truth.max(to);
    }

    /// Sets the wall clock.
    pub(crate) fn jump(&self, by: SignedDuration) {
        self.state().wrong += by;
        self.wake();
    }

    /// The machine slept up to `to`: true time passed, the monotonic clock stood still.
    pub(crate) fn sleep_to(&self, to: Timestamp) {
        let mut state = self.state();
        let slept = to.duration_since(state.truth).max(SignedDuration::ZERO);
        state.slept += slept;
        state.truth += slept;
    }

    /// When the engine wants to be woken, in true time; `None` = never.
    pub(crate) fn wanted(&self) -> Option<Timestamp> {
        let state = self.state();
        let left = state.wanted?.duration_since(state.wall()).max(SignedDuration::ZERO);
        state.truth.checked_add(left).ok()
    }

    /// Nobody waits any more: the process died.
    pub(crate) fn forget(&self) {
        self.state().wanted = None;
    }

    /// Ends the engine's wait; it looks at the clocks again.
    pub(crate) fn wake(&self) {
        self.moved.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wall(&self) -> Timestamp {
        self.truth.checked_add(self.wrong).unwrap_or(Timestamp::MAX)
    }
}

impl Clock for SimClock {
    fn moment(&self) -> Moment {
        let state = self.state();
        let elapsed = state.truth.duration_since(state.began) - state.slept;
        Moment { wall: state.wall(), elapsed }
    }

    fn wait(&self, at: Option<Timestamp>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut state = self.state();
        state.wanted = at;
        if at.is_some_and(|at| at <= state.wall()) {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(self.moved.notified())
    }
}
