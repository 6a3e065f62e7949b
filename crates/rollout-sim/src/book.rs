//! Owns the truth about one deployment's function calls: what ended there, what its server lost, and when it could
//! not be asked as usual.
//!
//! Written by whoever makes it happen; knows nothing of the adapter, and judges nothing.

use jiff::{SignedDuration, Timestamp};
use rollout_core::Calls;

/// One call that ended at the deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrueCall {
    pub(crate) function: &'static str,
    pub(crate) caller: &'static str,
    pub(crate) executed: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) how: Ended,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Failed,
    /// It never ran: the deployment was paused.
    Refused,
}

/// Calls and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
}

/// Which calls are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'a> {
    pub(crate) of: &'a Calls,
    /// Nothing that ran before this.
    pub(crate) ran_from: Timestamp,
    /// Nothing that ended before this.
    pub(crate) ended_from: Timestamp,
    pub(crate) refused: Refused,
}

/// What calls are that a paused deployment refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// None: the stream tells them apart.
    Nothing,
    /// Failed ones: the deployment's metrics know no better.
    Failures,
}

/// The truth about one deployment.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    /// In the order in which they ended.
    calls: Vec<TrueCall>,
    /// When its process began.
    pub(crate) started_at: Timestamp,
    /// When its stream may have lost entries last.
    pub(crate) lost_at: Timestamp,
    /// When anything ran there last, our own calls as well.
    pub(crate) logged_at: Timestamp,
    logged: u64,
    /// Until when an answer may have been other than it should.
    pub(crate) fault_until: Timestamp,
    /// When it was paused last, as far as that had come when somebody looked.
    pub(crate) stopped_until: Timestamp,
}

impl Book {
    pub(crate) fn new() -> Self {
        let never = Timestamp::UNIX_EPOCH;
        Self {
            calls: Vec::new(),
            started_at: never,
            lost_at: never,
            logged_at: never,
            logged: 0,
            fault_until: never,
            stopped_until: never,
        }
    }

    /// A call ended.
    pub(crate) fn add(&mut self, call: TrueCall) {
        self.calls.push(call);
    }

    /// How many calls ended.
    pub(crate) fn len(&self) -> u64 {
        self.calls.len() as u64
    }

    /// The server's log has now seen so many entries.
    pub(crate) fn note_log(&mut self, now: Timestamp, logged: u64) {
        if logged != self.logged {
            (self.logged, self.logged_at) = (logged, now);
        }
    }

    /// A request meets a fault, whose consequences last up to a time.
    pub(crate) fn note_fault(&mut self, until: Timestamp) {
        self.fault_until = self.fault_until.max(until);
    }

    /// The process was started again, and holds nothing of what was before.
    pub(crate) fn restarted(&mut self, now: Timestamp) {
        (self.started_at, self.lost_at) = (now, now);
    }

    /// What ended up to and with `to`.
    pub(crate) fn tally(&self, counted: &Counted<'_>, to: Timestamp) -> Tally {
        let mut tally = Tally::default();
        let last = self.calls.partition_point(|call| call.ended <= to);
        let first = self.calls.partition_point(|call| call.ended < counted.ended_from);
        for call in self.calls.get(first..last).unwrap_or_default() {
            tally.add(counted, call);
        }
        tally
    }

    /// The tallies as they grew between two times, each once; the first is that of `from`.
    pub(crate) fn tallies(
        &self,
        counted: &Counted<'_>,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Tally> {
        let mut tally = self.tally(counted, from);
        let mut all = vec![tally];
        let later = self.calls.partition_point(|call| call.ended <= from);
        for call in self.calls.iter().skip(later).take_while(|call| call.ended <= to) {
            let before = tally;
            if call.ended >= counted.ended_from {
                tally.add(counted, call);
            }
            if tally != before {
                all.push(tally);
            }
        }
        all
    }

    /// How long after `from`, and not much longer than `within`, calls began or ended: a microsecond after each.
    pub(crate) fn moments(
        &self,
        from: Timestamp,
        within: SignedDuration,
    ) -> impl Iterator<Item = SignedDuration> {
        let first = self.calls.partition_point(|call| call.ended < from);
        let calls = self.calls.iter().skip(first);
        let moments = calls.flat_map(|call| [call.executed, call.ended]);
        let late = moments.map(move |at| at.duration_since(from) + SignedDuration::from_micros(1));
        late.filter(move |late| {
            late.is_positive() && *late <= within + SignedDuration::from_secs(1)
        })
    }

    /// When the last of these calls failed.
    pub(crate) fn last_failure(&self, counted: &Counted<'_>) -> Option<Timestamp> {
        let mut back = self.calls.iter().rev().take_while(|call| call.ended >= counted.ended_from);
        let failed = |call: &&TrueCall| call.how == Ended::Failed && counted.takes(call);
        back.find(failed).map(|call| call.ended)
    }

    /// When the last call ended.
    pub(crate) fn last_call(&self) -> Option<Timestamp> {
        self.calls.last().map(|call| call.ended)
    }
}

impl Tally {
    fn add(&mut self, counted: &Counted<'_>, call: &TrueCall) {
        if counted.takes(call) {
            self.calls += 1;
            self.errors += u64::from(call.how != Ended::Well);
        }
    }
}

impl Counted<'_> {
    fn takes(&self, call: &TrueCall) -> bool {
        let named = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted == name)
        };
        call.executed >= self.ran_from
            && (call.how != Ended::Refused || self.refused == Refused::Failures)
            && named(&self.of.functions, call.function)
            && named(&self.of.callers, call.caller)
    }
}
