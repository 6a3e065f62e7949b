//! The emulator's clock: the only file of this crate which reads the system clock.
//!
//! Emulator time is a straight line through real time, `origin + (real - real_origin) * scale`.
//! Two processes given the same three numbers therefore agree on the time without talking to
//! each other. Everything else in the crate receives the time as a parameter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Maps real time to emulator time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmulatorClock {
    real_origin: Timestamp,
    origin: Timestamp,
    scale: f64,
}

impl EmulatorClock {
    /// Makes a clock that shows real time.
    #[must_use]
    pub fn real() -> Self {
        let now = read_system_clock();
        Self { real_origin: now, origin: now, scale: 1.0 }
    }

    /// Makes a clock that shows `origin` at the real instant `real_origin` and runs `scale` times
    /// as fast as real time. A `scale` that is not finite or not above zero counts as 1.
    #[must_use]
    pub fn scaled(real_origin: Timestamp, origin: Timestamp, scale: f64) -> Self {
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        Self { real_origin, origin, scale }
    }

    /// Makes a clock that shows real time now and runs `scale` times as fast from here on.
    #[must_use]
    pub fn accelerated(scale: f64) -> Self {
        let now = read_system_clock();
        Self::scaled(now, now, scale)
    }

    /// Emulator time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(read_system_clock())
    }

    /// Emulator time at the real instant `real`; stays inside what a timestamp can hold.
    #[must_use]
    pub fn at(&self, real: Timestamp) -> Timestamp {
        let elapsed = real.duration_since(self.real_origin);
        // At scale 1 nothing may be rounded: the emulator then shows the system clock itself.
        let scaled = if self.scale.to_bits() == 1.0_f64.to_bits() {
            elapsed
        } else {
            scale_span(elapsed, self.scale)
        };
        let end = if scaled.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        self.origin.checked_add(scaled).unwrap_or(end)
    }

    /// How long `span` of emulator time takes in real time.
    #[must_use]
    pub fn real_span(&self, span: SignedDuration) -> Duration {
        let seconds = span.as_secs_f64().max(0.0) / self.scale;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The real instant at which this clock shows [`EmulatorClock::origin`].
    #[must_use]
    pub fn real_origin(&self) -> Timestamp {
        self.real_origin
    }

    /// The emulator time shown at [`EmulatorClock::real_origin`].
    #[must_use]
    pub fn origin(&self) -> Timestamp {
        self.origin
    }

    /// How many emulator seconds pass in one real second.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

/// Multiplies a span; saturates at the longest span there is.
fn scale_span(span: SignedDuration, scale: f64) -> SignedDuration {
    let seconds = span.as_secs_f64() * scale;
    let size = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::MAX);
    let size = SignedDuration::try_from(size).unwrap_or(SignedDuration::MAX);
    if seconds < 0.0 { -size } else { size }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock of the emulator")]
fn read_system_clock() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ts(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn runs_scale_times_as_fast_from_the_common_origin() {
        let clock =
            EmulatorClock::scaled(ts("2026-01-01T00:00:00Z"), ts("2030-01-01T00:00:00Z"), 3600.0);
        assert_eq!(clock.at(ts("2026-01-01T00:00:00Z")), ts("2030-01-01T00:00:00Z"));
        assert_eq!(clock.at(ts("2026-01-01T00:00:02Z")), ts("2030-01-01T02:00:00Z"));
        assert_eq!(clock.at(ts("2025-12-31T23:59:59Z")), ts("2029-12-31T23:00:00Z"));
    }

    #[test]
    fn at_scale_one_shows_the_system_clock_exactly() {
        let clock = EmulatorClock::real();
        let later = clock.real_origin() + SignedDuration::new(12_345, 987_654_321);
        assert_eq!(clock.at(later), later);
    }

    #[test]
    fn stays_in_range_and_refuses_nonsense_scales() {
        let origin = ts("2026-01-01T00:00:00Z");
        let clock = EmulatorClock::scaled(origin, origin, 1e300);
        assert_eq!(clock.at(ts("2026-01-02T00:00:00Z")), Timestamp::MAX);
        assert_eq!(clock.at(ts("2025-12-31T00:00:00Z")), Timestamp::MIN);
        for nonsense in [0.0, -2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(EmulatorClock::scaled(origin, origin, nonsense).scale(), 1.0);
        }
    }
}
