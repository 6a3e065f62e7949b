//! Owns the waiting time before an effect is tried again: a pure function of the attempt and a seed.
//!
//! There is one retry loop in the whole product and this is its clock: the delay is decided here, persisted with the
//! failure, and so survives a restart. The adapter never retries on its own.

use jiff::SignedDuration;

/// First wait after a failed write. The official client waits 1 s after "just restarted" and 3 s after "overloaded"
/// (wire contract, section 1.3).
const WRITE_FIRST: SignedDuration = SignedDuration::from_secs(2);
/// Longest wait between two tries of a write; a rollback must not sleep long after an outage ends.
const WRITE_MAX: SignedDuration = SignedDuration::from_secs(30);
/// First wait after a reading that could not be judged.
const READ_FIRST: SignedDuration = SignedDuration::from_secs(15);
/// Jitter, as a share of the delay: up to one fifth is added.
const JITTER_PART: u64 = 5;

/// Wait before try number `failed + 1` of a write, after `failed` failures (from 1 on).
pub(crate) fn write_delay(failed: u32, seed: u64) -> SignedDuration {
    backoff(WRITE_FIRST, WRITE_MAX, failed, seed)
}

/// Wait before the next reading after `failed` readings in a row that could not be judged; never longer than `every`.
pub(crate) fn read_delay(failed: u32, seed: u64, every: SignedDuration) -> SignedDuration {
    backoff(READ_FIRST, every, failed, seed).min(every)
}

/// Doubles from `first` up to `max`, then adds up to a fifth, drawn from `seed` and the attempt.
fn backoff(first: SignedDuration, max: SignedDuration, failed: u32, seed: u64) -> SignedDuration {
    let doublings = failed.saturating_sub(1).min(16);
    let delay = first.saturating_mul(1 << doublings).min(max);
    let millis = u64::try_from(delay.as_millis()).unwrap_or(0);
    let jitter = mix(seed ^ u64::from(failed)) % (millis / JITTER_PART + 1);
    delay.saturating_add(SignedDuration::from_millis(i64::try_from(jitter).unwrap_or(0)))
}

/// One round of splitmix64: spreads neighbouring seeds apart.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_with_at_most_a_fifth_of_jitter() {
        for seed in 0..200 {
            let mut last = SignedDuration::ZERO;
            for failed in 1..40 {
                let delay = write_delay(failed, seed);
                assert!(delay >= WRITE_FIRST && delay <= WRITE_MAX + WRITE_MAX / 5, "{delay:?}");
                assert!(
                    failed > 4 || delay > last,
                    "wait {failed} did not grow: {delay:?} after {last:?}"
                );
                last = delay;
            }
        }
    }

    #[test]
    fn a_reading_is_never_put_off_longer_than_its_interval() {
        let every = SignedDuration::from_mins(15);
        assert!((1..60).all(|failed| read_delay(failed, 7, every) <= every));
    }

    #[test]
    fn same_seed_same_delay() {
        assert_eq!(write_delay(3, 9), write_delay(3, 9));
        assert_ne!(write_delay(3, 9), write_delay(3, 10));
    }
}
