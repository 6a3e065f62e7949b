//! Owns what is news: executions that were not told before, and those that should not wait for the next question.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use rollout_core::Calls;

use super::completion::{Completion, Ended};
use super::samples::{Filter, Tallies};
use super::told::{Latencies, nearest_rank};

/// Whether there is news for somebody who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An execution that was asked about failed, or was far slower than before.
    Stirring,
    /// Nothing that could not wait for the next question.
    Calm,
}

/// Questions that will be asked again, so that news for them are told at once.
#[derive(Debug, Default)]
pub(crate) struct Interests(Vec<Interest>);

#[derive(Debug)]
struct Interest {
    calls: Calls,
    filter: Filter,
    ran_from: i64,
    until: Duration,
    /// From this latency on, in microseconds, a call is far slower than before.
    slow_from: Option<u32>,
}

/// The identities of the newest executions.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    order: VecDeque<u64>,
    set: BTreeSet<u64>,
}

impl Interests {
    /// Keeps a question from now until then, in place of the same one asked before.
    pub(crate) fn remember(
        &mut self,
        calls: &Calls,
        filter: Filter,
        ran_from: i64,
        during: Range<Duration>,
    ) {
        let before = self.0.iter().find(|interest| interest.calls == *calls);
        let slow_from = before.and_then(|interest| interest.slow_from);
        self.0.retain(|interest| interest.until > during.start && interest.calls != *calls);
        if self.0.len() < INTERESTS_MAX {
            let (calls, until) = (calls.clone(), during.end);
            self.0.push(Interest { calls, filter, ran_from, until, slow_from });
        }
    }

    /// Learns from the answer to a question what would be far slower than it.
    pub(crate) fn learn_latencies(&mut self, calls: &Calls, tallies: &Tallies) {
        let slow_from = match &tallies.total.latencies {
            Latencies::Each(each) if each.len() >= SLOW_CALLS_MIN => {
                let mut each = each.clone();
                each.sort_unstable();
                Some(nearest_rank(&each, 99).saturating_mul(SLOW_TIMES).max(SLOW_MIN))
            }
            Latencies::Each(_) | Latencies::Percentiles(_) | Latencies::Unknown(_) => None,
        };
        let asked = self.0.iter_mut().filter(|interest| interest.calls == *calls);
        asked.for_each(|interest| interest.slow_from = slow_from);
    }

    /// Whether an execution is news that somebody should have at once.
    pub(crate) fn stirs(&self, one: &Completion) -> bool {
        self.0.iter().any(|interest| {
            let is_slow = interest.slow_from.is_some_and(|from| one.took >= Some(from));
            one.executed >= interest.ran_from
                && (one.ended == Ended::Failed || is_slow)
                && interest.filter.takes(&one.name, &one.caller, one.standing)
        })
    }
}

impl Recent {
    /// Whether it was told before.
    pub(crate) fn knows(&self, identity: u64) -> bool {
        self.set.contains(&identity)
    }

    /// Notes that it was told. `buffer` entries can be repeated by an answer, as far as is known.
    pub(crate) fn learn(&mut self, identity: u64, buffer: usize) {
        if self.set.insert(identity) {
            self.order.push_back(identity);
        }
        if self.order.len() > RECENT_MAX.max(buffer.saturating_mul(2))
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }
}

/// Identities that are kept, or twice the server's buffer where that is larger.
const RECENT_MAX: usize = 4_000;
/// Most different questions whose news are told at once.
const INTERESTS_MAX: usize = 64;
/// With fewer calls, nothing is known to be slow.
const SLOW_CALLS_MIN: usize = 100;
/// So many times the 99th percentile is far slower than before.
const SLOW_TIMES: u32 = 4;
/// Nothing faster is slow, in microseconds.
const SLOW_MIN: u32 = 1_000_000;
