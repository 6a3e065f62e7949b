//! Owns the moments at which the demo kills its own engine: drawn from a seed, inside the bake windows of two different
//! phases, and met by rollout time alone.

use jiff::SignedDuration;
use rollout_core::Plan;

/// How often the engine is killed.
const KILLS: usize = 2;
/// The earliest share of a window, in thousandths, at which a kill may fall.
const SHARE_MIN: u64 = 200;
/// How many thousandths later the latest one is.
const SHARE_RANGE: u64 = 600;

/// One planned kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kill {
    /// The phase in whose window it falls.
    phase: u8,
    /// The share of the window that has passed then, in thousandths.
    share: u64,
}

/// The kills that are still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kills(Vec<Kill>);

impl Kills {
    /// Draws the windows of different phases and a moment in each.
    pub(super) fn draw(seed: u64, plan: &Plan) -> Self {
        let watched = plan.numbered().filter(|(_, phase)| phase.bake > SignedDuration::ZERO);
        let mut phases: Vec<u8> = watched.map(|(number, _)| number.get()).collect();
        let mut random = SplitMix(seed);
        let mut kills = Vec::new();
        while kills.len() < KILLS && !phases.is_empty() {
            let phase = phases.swap_remove(random.below(phases.len()));
            kills.push(Kill { phase, share: SHARE_MIN + random.next() % (SHARE_RANGE + 1) });
        }
        Self(kills)
    }

    /// The engine lives to the end.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// True once for each planned kill: when at least its share of the phase's window has passed.
    pub(super) fn strikes(
        &mut self,
        phase: u8,
        passed: SignedDuration,
        window: SignedDuration,
    ) -> bool {
        let reached = |kill: &Kill| {
            let share = i64::try_from(kill.share).unwrap_or(i64::MAX);
            kill.phase == phase
                && passed.as_secs().saturating_mul(1_000) >= window.as_secs().saturating_mul(share)
        };
        let struck = self.0.iter().position(reached);
        if let Some(index) = struck {
            self.0.remove(index);
        }
        struck.is_some()
    }
}

/// The smallest generator that is good enough to pick two moments: splitmix64.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide() -> Plan {
        rollout_api::plan::parse(super::super::GUIDE).unwrap()
    }

    #[test]
    fn two_different_windows_at_a_fifth_to_four_fifths() {
        let windows = [1, 2, 3, 5];
        let mut seen = std::collections::BTreeSet::new();
        let plan = guide();
        for seed in 0..500 {
            let Kills(kills) = Kills::draw(seed, &plan);
            assert_eq!(kills.len(), 2, "seed {seed}");
            assert_ne!(kills[0].phase, kills[1].phase, "seed {seed}");
            for kill in &kills {
                assert!(windows.contains(&kill.phase), "seed {seed}: {kill:?}");
                assert!((200..=800).contains(&kill.share), "seed {seed}: {kill:?}");
                seen.insert(kill.phase);
            }
            assert_eq!(Kills::draw(seed, &plan), Kills(kills), "seed {seed} is not repeatable");
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), windows, "a window is never chosen");
    }

    #[test]
    fn a_kill_strikes_once_and_in_its_window_only() {
        let mut kills = Kills(vec![Kill { phase: 2, share: 500 }]);
        let (hour, day) = (SignedDuration::from_hours(1), SignedDuration::from_hours(24));
        assert!(!kills.strikes(1, day, day));
        assert!(!kills.strikes(2, hour * 11, day));
        assert!(kills.strikes(2, hour * 12, day));
        assert!(!kills.strikes(2, hour * 13, day));
    }
}
