//! Owns the choice of the clock: the system's, or a faster one for demonstrations and tests.

use std::sync::Arc;

use jiff::Timestamp;
use rollout_engine::{Clock, ScaledClock, SystemClock};
use tracing::warn;

/// Selects a faster clock: `<real origin>,<origin>,<scale>`, the first two in RFC 3339. Not for real rollouts.
const CLOCK_VARIABLE: &str = "ROLLOUTD_CLOCK";

/// A clock that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{CLOCK_VARIABLE} is `{0}`; it must be <real origin>,<origin>,<scale>")]
pub(crate) struct NoSuchClock(String);

/// The clock that the environment asks for.
///
/// # Errors
///
/// [`NoSuchClock`] when it asks for one that cannot be.
pub(crate) fn from_env() -> Result<Arc<dyn Clock>, NoSuchClock> {
    let Ok(text) = std::env::var(CLOCK_VARIABLE) else { return Ok(Arc::new(SystemClock::new())) };
    let clock = scaled(&text).ok_or_else(|| NoSuchClock(text.clone()))?;
    warn!("{CLOCK_VARIABLE}={text}: time is not real; this is a demonstration or a test");
    Ok(Arc::new(clock))
}

fn scaled(text: &str) -> Option<ScaledClock> {
    let mut parts = text.split(',');
    let real_origin: Timestamp = parts.next()?.trim().parse().ok()?;
    let origin: Timestamp = parts.next()?.trim().parse().ok()?;
    let scale: f64 = parts.next()?.trim().parse().ok()?;
    let fits = parts.next().is_none() && scale.is_finite() && scale >= 1.0;
    fits.then(|| ScaledClock::new(real_origin, origin, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_has_three_numbers() {
        assert!(scaled("2026-01-01T00:00:00Z,2026-05-01T00:00:00Z,7200").is_some());
        for wrong in
            ["", "7200", "now,now,1", "2026-01-01T00:00:00Z,2026-05-01T00:00:00Z,NaN", "a,b,c,d"]
        {
            assert!(scaled(wrong).is_none(), "{wrong:?} was accepted");
        }
    }
}
