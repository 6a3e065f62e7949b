//! Owns time: what the wall clock says, how much really passed, and waiting.
//!
//! Deadlines are wall-clock moments, since they must survive a restart. Waits are monotonic and short, and read the wall
//! clock again after each, so that a changed clock is noticed within [`WAIT_MAX`]. Nothing else in the workspace asks the
//! system for the time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Longest uninterrupted wait: after that the wall clock is read again.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// While ahead of the wall clock, the engine's time is slower by this part, so that the two meet again.
const CATCH_UP: i32 = 16;
/// More than what is rounded away in any time that a plan takes: a nanosecond with each reading.
const ROUNDING_MAX: SignedDuration = SignedDuration::from_secs(1);

/// What two clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock.
    pub wall: Timestamp,
    /// Time that really passed since the clock was made; does not jump.
    pub elapsed: SignedDuration,
}

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// What the clocks say now.
    fn moment(&self) -> Moment;

    /// Waits until `at`, or a bounded while, whichever is shorter. The caller reads the clock again.
    ///
    /// Cancel-safe: dropping the future ends the wait.
    fn wait(&self, at: Option<Timestamp>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// The wall clock.
    fn now(&self) -> Timestamp {
        self.moment().wall
    }
}

/// The engine's own time: the wall clock's, but never backward and never standing still.
///
/// Every deadline and every decision uses it. While the wall clock shows less than what was decided already (it was set back,
/// or was wrong before), time goes on from there at fifteen sixteenths of its speed until the wall has caught up: a watch
/// that waited for the wall instead would look away for as long as the clock was wrong.
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    before: Moment,
    now: Timestamp,
}

impl SteadyTime {
    /// Starts from the wall clock.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let before = clock.moment();
        Self { clock, before, now: before.wall }
    }

    /// Goes on from `decided` where that is later; says how far this time was behind it.
    pub(crate) fn not_before(&mut self, decided: Timestamp) -> SignedDuration {
        let behind = decided.duration_since(self.now).max(SignedDuration::ZERO);
        self.now = self.now.max(decided);
        behind
    }

    /// Reads the clocks; says how far the wall clock jumped since the last reading, beyond what really passed.
    pub(crate) fn read(&mut self) -> SignedDuration {
        let (before, moment) = (self.before, self.clock.moment());
        let passed = (moment.elapsed - before.elapsed).max(SignedDuration::ZERO);
        let own = self.now.checked_add(passed - passed / CATCH_UP).unwrap_or(Timestamp::MAX);
        self.now = own.max(moment.wall);
        self.before = moment;
        moment.wall.duration_since(before.wall) - passed
    }

    /// The time of the last [`SteadyTime::read`].
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What the wall clock showed at the last [`SteadyTime::read`]: what people and calendars go by.
    pub(crate) fn wall(&self) -> Timestamp {
        self.before.wall
    }

    /// How far this time is ahead of the wall clock; never negative.
    pub(crate) fn ahead(&self) -> SignedDuration {
        self.now.duration_since(self.wall()).max(SignedDuration::ZERO)
    }

    /// The time at which the wall clock will show `wall`, or showed it, if it is not set again. While this time is ahead, it is
    /// [`ROUNDING_MAX`] at most beside that.
    pub(crate) fn when(&self, wall: Timestamp) -> Timestamp {
        let until = wall.duration_since(self.wall());
        let lost = until.max(SignedDuration::ZERO) / CATCH_UP;
        let ahead = (self.ahead() - lost).max(SignedDuration::ZERO);
        wall.checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// A stretch of time on the wall clock as this time sees it; where that is not exact, a little shorter at both ends.
    pub(crate) fn stretch_of(&self, (from, to): (Timestamp, Timestamp)) -> (Timestamp, Timestamp) {
        let is_exact = self.ahead().is_zero();
        let rounding = if is_exact { SignedDuration::ZERO } else { ROUNDING_MAX };
        let from = self.when(from).checked_add(rounding).unwrap_or(Timestamp::MAX);
        (from, self.when(to).checked_sub(rounding).unwrap_or(from))
    }

    /// Waits until the time `at`, or a bounded while. Cancel-safe.
    pub(crate) async fn wait(&self, at: Option<Timestamp>) {
        let on_the_wall = |at: Timestamp| {
            let left = at.duration_since(self.now).max(SignedDuration::ZERO);
            self.before.wall.checked_add(left).unwrap_or(Timestamp::MAX)
        };
        self.clock.wait(at.map(on_the_wall)).await;
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// Starts counting elapsed time.
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn moment(&self) -> Moment {
        Moment { wall: system_now(), elapsed: signed(self.began.elapsed()) }
    }

    fn wait(&self, at: Option<Timestamp>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(nap(at.map(|at| at.duration_since(system_now()))))
    }
}

/// A clock that runs faster, for demonstrations: `origin` + (real time since `real_origin`) × `scale`.
///
/// Several processes that are given the same three numbers agree on the time, and it goes on while none of them runs, as
/// real time does.
#[derive(Clone, Copy, Debug)]
pub struct ScaledClock {
    real_origin: Timestamp,
    origin: Timestamp,
    scale: f64,
}

impl ScaledClock {
    /// Makes a clock; `scale` is clamped to 1 ..= 1,000,000.
    pub fn new(real_origin: Timestamp, origin: Timestamp, scale: f64) -> Self {
        Self { real_origin, origin, scale: scale.clamp(1.0, 1_000_000.0) }
    }
}

impl Clock for ScaledClock {
    fn moment(&self) -> Moment {
        let real = system_now().duration_since(self.real_origin);
        let elapsed = SignedDuration::try_from_secs_f64(real.as_secs_f64() * self.scale)
            .unwrap_or(SignedDuration::MAX);
        Moment { wall: self.origin.checked_add(elapsed).unwrap_or(Timestamp::MAX), elapsed }
    }

    fn wait(&self, at: Option<Timestamp>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = at.map(|at| at.duration_since(self.now()).as_secs_f64() / self.scale);
        Box::pin(nap(
            left.map(|left| SignedDuration::try_from_secs_f64(left).unwrap_or(SignedDuration::MAX))
        ))
    }
}

/// Sleeps for `left`, at most [`WAIT_MAX`].
async fn nap(left: Option<SignedDuration>) {
    let left = left
        .map_or(WAIT_MAX, |left| Duration::try_from(left).unwrap_or(Duration::ZERO).min(WAIT_MAX));
    if !left.is_zero() {
        // A timer fires up to a millisecond late by design; that is far below any interval of a plan.
        #[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
        tokio::time::sleep(left).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the system's clock"
)]
fn system_now() -> Timestamp {
    Timestamp::now()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// A clock that stands still until it is moved.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
pub struct ManualClock {
    moment: tokio::sync::watch::Sender<Moment>,
}

#[cfg(any(test, feature = "testing"))]
impl ManualClock {
    /// A clock that shows `wall`.
    pub fn at(wall: Timestamp) -> Self {
        let moment = Moment { wall, elapsed: SignedDuration::ZERO };
        Self { moment: tokio::sync::watch::Sender::new(moment) }
    }

    /// Lets time pass: both clocks move.
    pub fn advance(&self, by: SignedDuration) {
        self.moment.send_modify(|moment| {
            moment.wall = moment.wall.checked_add(by).expect("tests stay within the range of time");
            moment.elapsed += by;
        });
    }

    /// Sets the wall clock alone, as an operator or NTP does.
    pub fn jump(&self, by: SignedDuration) {
        self.moment.send_modify(|moment| {
            moment.wall = moment.wall.checked_add(by).expect("tests stay within the range of time");
        });
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock for ManualClock {
    fn moment(&self) -> Moment {
        *self.moment.borrow()
    }

    fn wait(&self, at: Option<Timestamp>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut watch = self.moment.subscribe();
        Box::pin(async move {
            let reached = |moment: &Moment| at.is_some_and(|at| moment.wall >= at);
            // A jump backward must be noticed too, so any movement ends the wait once it was seen.
            if !reached(&watch.borrow_and_update()) {
                let _ = watch.changed().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_shows_a_moment_when_the_own_time_says_so() {
        let start: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        let (clock, hour) = (Arc::new(ManualClock::at(start)), SignedDuration::from_hours(1));
        let mut time = SteadyTime::new(clock.clone());
        assert_eq!((time.ahead(), time.when(start + hour)), (SignedDuration::ZERO, start + hour));
        time.not_before(start + 3 * hour);
        let (soon, late) = (start + 16 * hour, start + 100 * hour);
        let when = [start, soon, late].map(|wall| time.when(wall));
        assert_eq!(when, [start + 3 * hour, soon + 2 * hour, late], "it catches up on the way");
        let (from, to) = time.stretch_of((start, soon));
        assert!(from > when[0] && to < when[1], "neither early nor late by what is rounded");
        clock.advance(16 * hour);
        time.read();
        assert_eq!((time.wall(), time.now(), time.ahead()), (soon, soon + 2 * hour, 2 * hour));
        clock.advance(84 * hour);
        time.read();
        assert_eq!((time.wall(), time.now()), (late, late));
    }

    #[test]
    fn scaled_clocks_with_the_same_numbers_agree() {
        let (real, origin) = (system_now(), Timestamp::UNIX_EPOCH);
        let (one, two) =
            (ScaledClock::new(real, origin, 7_200.0), ScaledClock::new(real, origin, 7_200.0));
        let (first, second) = (one.now(), two.now());
        assert!(second >= first && second.duration_since(first) < SignedDuration::from_hours(1));
    }
}
