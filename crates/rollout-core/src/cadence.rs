//! Owns the rhythm of checks inside a bake window: every 15 minutes in the first hour, then as planned.
//!
//! Check times are counted from the persisted start of the window, never from the start of a process, so five restarts
//! cause neither an extra nor an early check.

use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

/// One stretch of a [`Cadence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CadenceStep {
    /// Where the stretch ends, counted from the start of the window; `None` = it has no end.
    pub until: Option<SignedDuration>,
    /// Time between two checks; positive.
    pub every: SignedDuration,
}

/// When checks are due: stretches in order, the last one without an end. Never empty (the plan sees to it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cadence(Vec<CadenceStep>);

impl Cadence {
    /// Takes stretches whose ends rise and whose last one, and only that, has none; `None` otherwise.
    pub fn new(steps: Vec<CadenceStep>) -> Option<Self> {
        let (last, earlier) = steps.split_last()?;
        let positive = steps.iter().all(|step| step.every > SignedDuration::ZERO);
        let ends =
            [Some(SignedDuration::ZERO)].into_iter().chain(earlier.iter().map(|step| step.until));
        let rising = ends.clone().all(|end| end.is_some()) && ends.is_sorted_by(|a, b| a < b);
        (positive && rising && last.until.is_none()).then_some(Self(steps))
    }

    /// The stretches, in order.
    pub fn steps(&self) -> &[CadenceStep] {
        &self.0
    }

    /// The interval that holds `elapsed` into the window.
    pub fn interval_at(&self, elapsed: SignedDuration) -> SignedDuration {
        let step = self.0.iter().find(|step| step.until.is_none_or(|until| elapsed < until));
        step.or(self.0.last()).map_or(SignedDuration::from_mins(15), |step| step.every)
    }

    /// The interval outside of bake windows: the slowest of the plan's, which is its last.
    pub fn idle(&self) -> SignedDuration {
        self.0.last().map_or(SignedDuration::from_mins(15), |step| step.every)
    }

    /// The first check time after `now`, in a window that began at `start`.
    pub fn next_after(&self, start: Timestamp, now: Timestamp) -> Timestamp {
        let elapsed = now.duration_since(start).max(SignedDuration::ZERO);
        let mut begin = SignedDuration::ZERO;
        for step in &self.0 {
            let within = (elapsed - begin).max(SignedDuration::ZERO);
            let ticks = within.as_millis() / step.every.as_millis().max(1) + 1;
            let due = begin + step.every.saturating_mul(i32::try_from(ticks).unwrap_or(i32::MAX));
            match step.until {
                Some(until) if due > until => begin = until,
                Some(_) | None => return saturating_add(start, due),
            }
            if elapsed < begin {
                return saturating_add(start, begin);
            }
        }
        saturating_add(now, self.idle())
    }
}

/// Adds without leaving the range of time: the far end stands for "never".
pub(crate) fn saturating_add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Subtracts without leaving the range of time.
pub(crate) fn saturating_sub(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn guide() -> Cadence {
        let step = |until: Option<i64>, every| CadenceStep {
            until: until.map(SignedDuration::from_mins),
            every: SignedDuration::from_mins(every),
        };
        Cadence::new(vec![step(Some(60), 15), step(None, 30)]).unwrap()
    }

    #[test]
    fn quarter_hours_first_then_half_hours() {
        let start = Timestamp::UNIX_EPOCH;
        let minutes = |now: i64| {
            let due = guide().next_after(start, start + SignedDuration::from_mins(now));
            due.duration_since(start).as_mins()
        };
        let seen: Vec<i64> = [0, 14, 15, 44, 45, 59, 60, 61, 89, 90, 1_439].map(minutes).into();
        assert_eq!(seen, [15, 15, 30, 45, 60, 60, 90, 90, 90, 120, 1_440]);
    }

    #[test]
    fn an_uneven_stretch_ends_on_its_end() {
        let step = |until: Option<i64>, every| CadenceStep {
            until: until.map(SignedDuration::from_mins),
            every: SignedDuration::from_mins(every),
        };
        let cadence = Cadence::new(vec![step(Some(50), 20), step(None, 60)]).unwrap();
        let start = Timestamp::UNIX_EPOCH;
        let due = cadence.next_after(start, start + SignedDuration::from_mins(41));
        assert_eq!(due.duration_since(start).as_mins(), 50);
    }

    #[test]
    fn refuses_what_would_stop_the_watch() {
        let step = |until: Option<i64>, every| CadenceStep {
            until: until.map(SignedDuration::from_mins),
            every: SignedDuration::from_mins(every),
        };
        for wrong in [
            vec![],
            vec![step(Some(60), 15)],
            vec![step(None, 0)],
            vec![step(None, 15), step(None, 30)],
            vec![step(Some(60), 15), step(Some(30), 15), step(None, 30)],
        ] {
            assert!(Cadence::new(wrong.clone()).is_none(), "{wrong:?} was accepted");
        }
    }
}
