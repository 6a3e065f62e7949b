//! Owns the demo's time: three numbers that the engine and the emulator are given, so that both agree on the time without
//! talking to each other. It goes on while the engine is dead, as real time does.
//!
//! The only file of the demo that reads the system's clock, once.

use convex_emulator::EmulatorClock;
use jiff::{SignedDuration, Timestamp};

/// When the demo's first day begins: a quarter past six is a good time to start a rollout.
const FIRST_MORNING: SignedDuration = SignedDuration::from_mins(6 * 60);
/// One day of UTC.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A clock that began with the demo and runs faster than the system's.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoClock {
    real_origin: Timestamp,
    midnight: Timestamp,
    scale: u32,
}

impl DemoClock {
    /// Starts at six in the morning (UTC) of today.
    pub(super) fn starting_now(scale: u32) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one look at the system's clock that the others count from"
        )]
        let real_origin = Timestamp::now();
        let into_day = real_origin.as_second().rem_euclid(DAY.as_secs());
        let midnight =
            Timestamp::from_second(real_origin.as_second() - into_day).unwrap_or(real_origin);
        Self { real_origin, midnight, scale }
    }

    /// The clock as the engine takes it: `ROLLOUTD_CLOCK`.
    pub(super) fn to_env(self) -> String {
        format!("{},{},{}", self.real_origin, self.origin(), self.scale)
    }

    /// The same clock for the emulator.
    pub(super) fn emulator(self) -> EmulatorClock {
        EmulatorClock::scaled(self.real_origin, self.origin(), f64::from(self.scale))
    }

    /// How many seconds of the rollout pass in a real one.
    pub(super) fn scale(self) -> u32 {
        self.scale
    }

    /// A moment of the rollout as the story shows it: `day 2 06:15`.
    pub(super) fn show(self, at: Timestamp) -> String {
        let minutes = at.duration_since(self.midnight).as_mins();
        let (day, minute) = (minutes.div_euclid(24 * 60) + 1, minutes.rem_euclid(24 * 60));
        format!("day {day} {:02}:{:02}", minute / 60, minute % 60)
    }

    fn origin(self) -> Timestamp {
        self.midnight.checked_add(FIRST_MORNING).unwrap_or(self.midnight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_in_days_of_the_rollout() {
        let clock = DemoClock::starting_now(7_200);
        let show = |minutes| clock.show(clock.origin() + SignedDuration::from_mins(minutes));
        assert_eq!(show(0), "day 1 06:00");
        assert_eq!(show(18 * 60 - 1), "day 1 23:59");
        assert_eq!(show(18 * 60), "day 2 00:00");
        assert_eq!(show(5 * 24 * 60 + 15), "day 6 06:15");
    }

    #[test]
    fn the_engine_is_given_three_numbers() {
        let env = DemoClock::starting_now(60).to_env();
        let parts: Vec<_> = env.split(',').collect();
        assert_eq!(parts.len(), 3, "{env}");
        assert!(parts[1].ends_with("T06:00:00Z"), "{env}");
        assert!(parts[..2].iter().all(|part| part.parse::<Timestamp>().is_ok()), "{env}");
        assert_eq!(parts[2], "60");
    }
}
