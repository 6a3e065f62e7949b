//! Owns the waiting time before an effect is tried again: a pure function of the attempt and a seed.
//!
//! There is one retry loop in the whole product and this is its clock: the delay is decided here, persisted with the
//! failure, and so survives a restart. The adapter never retries on its own.

use jiff::SignedDuration;

use crate::effect::Pace;

/// First wait after a failed write when nothing is known.
const WRITE_FIRST: SignedDuration = SignedDuration::from_secs(2);
/// First wait after a write that was refused for load: as long as the official client (wire contract, section 1.3).
const OVERLOADED_FIRST: SignedDuration = SignedDuration::from_secs(3);
/// First wait after a write that came too soon after a start: as long as the official client.
const RESTARTING_FIRST: SignedDuration = SignedDuration::from_secs(1);
/// Longest wait between two tries of a write; a rollback must not sleep long after an outage ends.
const WRITE_MAX: SignedDuration = SignedDuration::from_secs(30);
/// The same where the deployment answers and only asks for time: as long as the official client.
const ANSWERED_MAX: SignedDuration = SignedDuration::from_secs(16);
/// First wait after a reading that could not be judged.
const READ_FIRST: SignedDuration = SignedDuration::from_secs(15);
/// Jitter, as a share of the delay: up to one fifth is added.
const JITTER_PART: u64 = 5;

/// Wait before try number `failed + 1` of a write, after `failed` failures (from 1 on), of which the last one asked for
/// `pace`.
pub(crate) fn write_delay(failed: u32, seed: u64, pace: Pace) -> SignedDuration {
    let (first, max) = match pace {
        Pace::Usual => (WRITE_FIRST, WRITE_MAX),
        Pace::Overloaded => (OVERLOADED_FIRST, ANSWERED_MAX),
        Pace::Restarting => (RESTARTING_FIRST, ANSWERED_MAX),
    };
    backoff(first, max, failed, seed)
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
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn grows_to_the_cap_with_at_most_a_fifth_of_jitter() {
        for (pace, first, max, grows) in [
            (Pace::Usual, WRITE_FIRST, WRITE_MAX, 4),
            (Pace::Overloaded, OVERLOADED_FIRST, ANSWERED_MAX, 3),
            (Pace::Restarting, RESTARTING_FIRST, ANSWERED_MAX, 5),
        ] {
            for seed in 0..200 {
                let mut last = SignedDuration::ZERO;
                for failed in 1..40 {
                    let delay = write_delay(failed, seed, pace);
                    assert!(delay >= first && delay <= max + max / 5, "{pace:?}: {delay:?}");
                    assert!(
                        failed > grows || delay > last,
                        "{pace:?}: wait {failed} did not grow: {delay:?} after {last:?}"
                    );
                    last = delay;
                }
            }
        }
    }

    #[test]
    fn without_jitter_the_waits_are_the_official_clients() {
        let waits = |pace| -> Vec<u64> {
            // The least over many seeds: the jitter is only ever added.
            let least = |failed| (0..2_000).map(|seed| write_delay(failed, seed, pace)).min();
            (1..=6).map(|failed| least(failed).unwrap().as_secs().unsigned_abs()).collect()
        };
        assert_eq!(waits(Pace::Overloaded), [3, 6, 12, 16, 16, 16]);
        assert_eq!(waits(Pace::Restarting), [1, 2, 4, 8, 16, 16]);
        assert_eq!(waits(Pace::Usual), [2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_reading_is_never_put_off_longer_than_its_interval() {
        let every = SignedDuration::from_mins(15);
        assert!((1..60).all(|failed| read_delay(failed, 7, every) <= every));
    }

    #[test]
    fn same_seed_same_delay() {
        let delay = |seed| write_delay(3, seed, Pace::Usual);
        assert_eq!(delay(9), delay(9));
        assert_ne!(delay(9), delay(10));
    }
}
