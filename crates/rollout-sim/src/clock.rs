//! Owns simulated time: the true time, what the wall clock makes of it, for when the engine wants to be woken, and
//! the timers of what runs beside it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_engine::{Clock, Moment};
use tokio::sync::{Notify, oneshot};

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
    /// Who waits for how much time to have passed, with a number that tells equal ones apart.
    timers: BTreeMap<(SignedDuration, u64), oneshot::Sender<()>>,
    timers_ever: u64,
}

/// A wait by the monotonic clock; given up when it is dropped.
pub(crate) struct Timer {
    clock: Arc<SimClock>,
    place: (SignedDuration, u64),
    rings: oneshot::Receiver<()>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.rings).poll(context).map(drop)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clock.state().timers.remove(&self.place);
    }
}

impl SimClock {
    pub(crate) fn at(truth: Timestamp) -> Self {
        let zero = SignedDuration::ZERO;
        let (timers, timers_ever) = (BTreeMap::new(), 0);
        let (began, wanted) = (truth, None);
        let state = State { truth, began, wrong: zero, slept: zero, wanted, timers, timers_ever };
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

    /// What the wall clock shows.
    pub(crate) fn wall(&self) -> Timestamp {
        self.state().wall()
    }

    /// Time that really passed since the beginning, as a running machine counts it.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::try_from(self.state().elapsed()).unwrap_or_default()
    }

    /// Waits until so much more time has passed.
    pub(crate) fn timer(self: &Arc<Self>, span: Duration) -> Timer {
        let mut state = self.state();
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        let (ring, rings) = oneshot::channel();
        state.timers_ever += 1;
        let place = (state.elapsed().saturating_add(span), state.timers_ever);
        state.timers.insert(place, ring);
        drop(state);
        Timer { clock: Arc::clone(self), place, rings }
    }

    /// When the next timer is due, in true time, while the machine is awake.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let state = self.state();
        let ((due, _), _) = state.timers.first_key_value()?;
        let left = (*due - state.elapsed()).max(SignedDuration::ZERO);
        state.truth.checked_add(left).ok()
    }

    /// Ends the waits that are over.
    pub(crate) fn ring(&self) {
        let mut state = self.state();
        let now = state.elapsed();
        while let Some(due) = state.timers.first_entry().filter(|due| due.key().0 <= now) {
            // Whoever waited may be gone.
            let _ = due.remove().send(());
        }
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

    fn elapsed(&self) -> SignedDuration {
        self.truth.duration_since(self.began) - self.slept
    }
}

impl Clock for SimClock {
    fn moment(&self) -> Moment {
        let state = self.state();
        Moment { wall: state.wall(), elapsed: state.elapsed() }
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
