//! Owns the executions that were seen, as compact samples, and their tallies.
//!
//! Bounded: beyond [`SAMPLES_MAX`] the oldest are dropped, and [`Samples::dropped_to`] says up to when. Names beyond
//! [`NAMES_MAX`] share one, because anybody on the internet may make up paths of HTTP actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollout_core::Calls;

use super::completion::{Completion, Ended, Standing};
use super::told::{Latencies, Tally};

/// Which executions are asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Empty = all.
    functions: BTreeSet<String>,
    /// Empty = all.
    callers: BTreeSet<String>,
}

/// Which part of the time is asked about, by the deployment's clock in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// Nothing that ran before this counts: another value of the flags was in force.
    pub(crate) ran_from: i64,
    /// Nothing that ended before this counts.
    pub(crate) ended_from: i64,
    /// Nothing that ended after this counts.
    pub(crate) ended_to: i64,
}

/// Tallies of one question.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tallies {
    pub(crate) total: Tally,
    pub(crate) functions: BTreeMap<String, Tally>,
    pub(crate) callers: BTreeMap<String, Tally>,
}

/// The executions that were seen.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    ring: VecDeque<Sample>,
    functions: Names,
    callers: Names,
    dropped_to: Option<i64>,
}

/// One execution in 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Sample {
    executed: i64,
    finished: i64,
    took: u32,
    function: u16,
    caller: u8,
    is: Is,
}

/// How it ended and what it counts as, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Well,
    Failed,
    Refused,
}

/// Names by number.
#[derive(Debug, Default)]
struct Names {
    numbers: BTreeMap<String, u16>,
    names: Vec<String>,
}

impl Filter {
    /// The filter of a planned source, names in their one spelling.
    pub(crate) fn of(calls: &Calls) -> Self {
        Self {
            functions: calls.functions.iter().map(|name| Calls::function_name(name)).collect(),
            callers: calls.callers.iter().cloned().collect(),
        }
    }

    /// Whether an execution counts. One that was refused before any code ran may carry a name that a stranger made up, so it
    /// counts only where its name is asked about.
    pub(crate) fn takes(&self, name: &str, caller: &str, standing: Standing) -> bool {
        self.takes_function(name, standing) && self.takes_caller(caller)
    }

    fn takes_function(&self, name: &str, standing: Standing) -> bool {
        match standing {
            Standing::Nothing => false,
            Standing::Call if self.functions.is_empty() => true,
            Standing::Call | Standing::Refused => self.functions.contains(name),
        }
    }

    fn takes_caller(&self, caller: &str) -> bool {
        self.callers.is_empty() || self.callers.contains(caller)
    }
}

impl Samples {
    /// Keeps one execution, if it counts at all.
    pub(crate) fn push(&mut self, completion: &Completion) {
        let is = match (completion.standing, completion.ended) {
            (Standing::Nothing, _) => return,
            (Standing::Refused, _) => Is::Refused,
            (Standing::Call, Ended::Failed) => Is::Failed,
            (Standing::Call, Ended::Well) => Is::Well,
        };
        if self.ring.len() >= SAMPLES_MAX
            && let Some(oldest) = self.ring.pop_front()
        {
            self.dropped_to = self.dropped_to.max(Some(oldest.finished));
        }
        self.ring.push_back(Sample {
            executed: completion.executed,
            finished: completion.finished,
            took: completion.took.unwrap_or(NO_LATENCY),
            function: self.functions.number(&completion.name, NAMES_MAX),
            caller: u8::try_from(self.callers.number(&completion.caller, CALLERS_MAX)).unwrap_or(0),
            is,
        });
    }

    /// Until when executions were dropped to make room; `None` = none was.
    pub(crate) fn dropped_to(&self) -> Option<i64> {
        self.dropped_to
    }

    /// Counts what a question is about. Every function that is named by it has a tally, also without a call.
    pub(crate) fn tallies(&self, filter: &Filter, when: When) -> Tallies {
        let mut tallies = Tallies::default();
        for name in &filter.functions {
            tallies.functions.insert(name.clone(), Tally::default());
        }
        for name in &filter.callers {
            tallies.callers.insert(name.clone(), Tally::default());
        }
        // Whatever depends on a name is looked up once per name, not once per execution: there may be half a million.
        let standings = [Standing::Call, Standing::Refused];
        let functions = self.functions.names.iter();
        let takes: Vec<_> = functions
            .map(|name| standings.map(|standing| filter.takes_function(name, standing)))
            .collect();
        let callers = self.callers.names.iter();
        let takes_caller: Vec<_> = callers.map(|name| filter.takes_caller(name)).collect();
        let mut by_function = vec![Tally::default(); takes.len()];
        let mut by_caller = vec![Tally::default(); takes_caller.len()];
        for sample in &self.ring {
            let (function, caller) = (usize::from(sample.function), usize::from(sample.caller));
            let is_within = sample.executed >= when.ran_from
                && (when.ended_from..=when.ended_to).contains(&sample.finished);
            let [as_call, as_refused] = takes.get(function).copied().unwrap_or_default();
            let is_named = if sample.is == Is::Refused { as_refused } else { as_call };
            if is_within && is_named && takes_caller.get(caller) == Some(&true) {
                sample.count(&mut tallies.total);
                by_function.get_mut(function).into_iter().for_each(|tally| sample.count(tally));
                by_caller.get_mut(caller).into_iter().for_each(|tally| sample.count(tally));
            }
        }
        let named = |names: &Names, counted: Vec<Tally>, into: &mut BTreeMap<String, Tally>| {
            let pairs = names.names.iter().cloned().zip(counted);
            into.extend(pairs.filter(|(_, tally)| tally.calls > 0));
        };
        named(&self.functions, by_function, &mut tallies.functions);
        named(&self.callers, by_caller, &mut tallies.callers);
        tallies
    }
}

impl Sample {
    fn count(self, tally: &mut Tally) {
        tally.calls += 1;
        tally.errors += u64::from(self.is != Is::Well);
        if let (Latencies::Each(each), true) = (&mut tally.latencies, self.took != NO_LATENCY) {
            each.push(self.took);
        }
    }
}

impl Names {
    /// The number of a name; 0 is the one that names beyond `names_max` share.
    fn number(&mut self, name: &str, names_max: usize) -> u16 {
        if self.names.is_empty() {
            self.names.push(String::from(OTHERS));
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        match u16::try_from(self.names.len()) {
            Ok(number) if self.names.len() < names_max => {
                self.names.push(name.to_owned());
                self.numbers.insert(name.to_owned(), number);
                number
            }
            Ok(_) | Err(_) => 0,
        }
    }
}

/// Most executions that are kept: 12 MB, and an hour at 138 per second.
pub(crate) const SAMPLES_MAX: usize = 500_000;
/// Most names of functions that are told apart.
const NAMES_MAX: usize = 4_096;
/// Most callers that are told apart; a deployment knows seven.
const CALLERS_MAX: usize = 64;
/// What all further names are called; no function can be.
const OTHERS: &str = "(others)";
/// A latency that says nothing.
const NO_LATENCY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(name: &str, caller: &str, at: i64, ended: Ended) -> Completion {
        Completion {
            identity: at.unsigned_abs(),
            name: name.into(),
            caller: caller.into(),
            executed: at,
            finished: at + 10,
            took: Some(10),
            ended,
            standing: Standing::Call,
        }
    }

    const ALWAYS: When = When { ran_from: i64::MIN, ended_from: i64::MIN, ended_to: i64::MAX };

    fn filter(functions: &[&str], callers: &[&str]) -> Filter {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Filter { functions: set(functions), callers: set(callers) }
    }

    #[test]
    fn executions_are_counted_per_function_and_caller() {
        let mut samples = Samples::default();
        for at in 0..10 {
            let ended = if at < 3 { Ended::Failed } else { Ended::Well };
            samples.push(&completion("m:f", "Cron", at, ended));
            samples.push(&completion("m:g", "HttpApi", at, Ended::Well));
        }
        let all = samples.tallies(&Filter::default(), ALWAYS);
        assert_eq!((all.total.calls, all.total.errors), (20, 3));
        assert_eq!(all.functions["m:f"].errors, 3);
        assert_eq!(all.callers["HttpApi"].calls, 10);
        let some = samples.tallies(&filter(&["m:f", "m:none"], &[]), ALWAYS);
        assert_eq!((some.total.calls, some.functions["m:none"].calls), (10, 0));
        let none = samples.tallies(&filter(&["m:f"], &["HttpApi"]), ALWAYS);
        assert_eq!((none.total.calls, none.callers["HttpApi"].calls), (0, 0));
    }

    #[test]
    fn the_flip_is_exact_and_long_calls_count_when_they_end() {
        let mut samples = Samples::default();
        for (executed, finished) in [(99, 150), (100, 150), (100, 900), (850, 900), (990, 1_001)] {
            samples.push(&Completion { finished, ..completion("m:f", "", executed, Ended::Well) });
        }
        let when = When { ran_from: 100, ended_from: 800, ended_to: 1_000 };
        assert_eq!(samples.tallies(&Filter::default(), when).total.calls, 2);
        let when = When { ran_from: 100, ended_from: 100, ended_to: 1_000 };
        assert_eq!(samples.tallies(&Filter::default(), when).total.calls, 3);
    }

    #[test]
    fn what_was_refused_before_it_ran_counts_only_where_it_is_named() {
        let mut samples = Samples::default();
        let refused = completion("made:up", "HttpApi", 1, Ended::Failed);
        samples.push(&Completion { standing: Standing::Refused, ..refused });
        samples.push(&Completion {
            standing: Standing::Nothing,
            ..completion("m:f", "", 2, Ended::Well)
        });
        assert_eq!(samples.tallies(&Filter::default(), ALWAYS).total.calls, 0);
        let named = samples.tallies(&filter(&["made:up"], &[]), ALWAYS);
        assert_eq!((named.total.calls, named.total.errors), (1, 1));
    }

    #[test]
    fn memory_is_bounded_and_what_is_dropped_is_known() {
        assert_eq!(size_of::<Sample>(), 24);
        let mut samples = Samples::default();
        for at in 0..(SAMPLES_MAX as i64) {
            samples.push(&completion("m:f", "Cron", at, Ended::Well));
        }
        assert_eq!(samples.dropped_to(), None);
        samples.push(&completion("m:f", "Cron", SAMPLES_MAX as i64, Ended::Well));
        assert_eq!(samples.dropped_to(), Some(10));
        let begin = std::time::Instant::now();
        assert_eq!(samples.tallies(&Filter::default(), ALWAYS).total.calls, SAMPLES_MAX as u64);
        println!("half a million executions are counted in {:?}", begin.elapsed());

        let mut samples = Samples::default();
        for at in 0..10_000 {
            samples.push(&completion(&format!("GET /{at}"), &at.to_string(), at, Ended::Well));
        }
        let all = samples.tallies(&Filter::default(), ALWAYS);
        assert_eq!((all.total.calls, all.functions.len()), (10_000, NAMES_MAX));
        assert_eq!((all.callers.len(), all.callers[OTHERS].calls), (64, 10_000 - 63));
    }
}
