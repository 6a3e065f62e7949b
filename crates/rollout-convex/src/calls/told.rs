//! Owns what a source of calls tells: a document to point into, with words for each value that it keeps back.
//!
//! Invariants: a value that does not stand on enough is null, never zero; quantiles are exact (nearest rank); counts are only
//! told where every call was seen.

use std::collections::BTreeMap;

use rollout_core::{Basis, CallFigure, Extent, Measured, Unit};

use crate::measure;
use crate::value::ConvexValue;

/// What a source of calls answers with.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// One field for each [`CallFigure`], and the levels `functions` and `callers` with the same. What is not known is null.
    pub document: ConvexValue,
    /// What it stands on.
    pub basis: Basis,
    /// Where the source goes on after a restart; to be given back with the next question.
    pub cursor: Option<String>,
    /// Why values are null, by JSON pointer.
    pub(crate) whys: BTreeMap<String, Lack>,
}

/// Why there is nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// The source works, and has nothing that shows anything.
    #[error("{0}")]
    Missing(String),
    /// The source could not be asked, or answered with something that is no answer.
    #[error("{0}")]
    Failed(String),
}

impl From<Lack> for Measured {
    fn from(lack: Lack) -> Self {
        match lack {
            Lack::Missing(words) => Self::Missing(words),
            Lack::Failed(words) => Self::Failed(words),
        }
    }
}

impl Told {
    /// Takes the value at a JSON pointer; a value that is kept back comes with the reason why.
    pub fn measured(&self, pointer: &str, unit: Unit) -> Measured {
        let found = measure::measured(&self.document, pointer, unit);
        match (&found, self.whys.get(pointer)) {
            (Measured::Missing(_), Some(lack)) => lack.clone().into(),
            (_, Some(_) | None) => found,
        }
    }
}

/// Calls of one function, of one caller, or of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// How many.
    pub(crate) calls: u64,
    /// How many of them ended in an error.
    pub(crate) errors: u64,
    /// What is known of their latencies.
    pub(crate) latencies: Latencies,
}

/// What is known of latencies, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Latencies {
    /// Each one, in microseconds.
    Each(Vec<u32>),
    /// The percentiles 50, 95 and 99.
    Percentiles([f64; 3]),
    /// Nothing, and why.
    Unknown(Lack),
}

impl Default for Latencies {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

/// Builds a document with its reasons.
#[derive(Debug)]
pub(crate) struct Document {
    fields: BTreeMap<String, ConvexValue>,
    whys: BTreeMap<String, Lack>,
    calls_min: u32,
    extent: Extent,
}

impl Document {
    /// Begins one. With fewer calls than `calls_min`, nothing but their number is told.
    pub(crate) fn new(calls_min: u32, extent: Extent) -> Self {
        Self { fields: BTreeMap::new(), whys: BTreeMap::new(), calls_min, extent }
    }

    /// Tells of all calls together.
    pub(crate) fn total(&mut self, tally: Tally) {
        let fields = self.fields_of(tally, "");
        self.fields.extend(fields);
    }

    /// Tells of each function, or of each caller, under `level`.
    pub(crate) fn each(&mut self, level: &'static str, tallies: BTreeMap<String, Tally>) {
        let mut each = BTreeMap::new();
        for (name, tally) in tallies {
            let place = format!("/{level}/{}", name.replace('~', "~0").replace('/', "~1"));
            each.insert(name, ConvexValue::Object(self.fields_of(tally, &place)));
        }
        self.fields.insert(level.to_owned(), ConvexValue::Object(each));
    }

    /// Tells one more number of all, or why there is none.
    pub(crate) fn number(&mut self, figure: CallFigure, number: Result<f64, Lack>) {
        let name = figure.name();
        let value = self.value(&format!("/{name}"), number);
        self.fields.insert(name.to_owned(), value);
    }

    /// Ends it.
    pub(crate) fn told(self, basis: Basis, cursor: Option<String>) -> Told {
        Told { document: ConvexValue::Object(self.fields), basis, cursor, whys: self.whys }
    }

    fn fields_of(&mut self, tally: Tally, place: &str) -> BTreeMap<String, ConvexValue> {
        let Tally { calls, errors, latencies } = tally;
        let enough = self.enough(calls, "calls");
        let counted = match self.extent {
            Extent::Whole => Ok(()),
            Extent::Part => Err(Lack::Missing(String::from(
                "some executions were lost, so their number is not known",
            ))),
        };
        let percentiles = enough.clone().and_then(|()| self.percentiles(latencies));
        let percentile = |index: usize| match &percentiles {
            Ok(values) => values.get(index).copied().ok_or_else(|| Lack::Missing(String::new())),
            Err(lack) => Err(lack.clone()),
        };
        let fields = [
            (CallFigure::Calls, counted.clone().map(|()| calls as f64)),
            (CallFigure::Errors, enough.clone().and(counted).map(|()| errors as f64)),
            (CallFigure::ErrorRate, enough.map(|()| errors as f64 / calls as f64 * 100.0)),
            (CallFigure::P50, percentile(0)),
            (CallFigure::P95, percentile(1)),
            (CallFigure::P99, percentile(2)),
        ];
        let told = fields.map(|(figure, number)| {
            let name = figure.name();
            (name.to_owned(), self.value(&format!("{place}/{name}"), number))
        });
        told.into_iter().collect()
    }

    /// Whether so many calls show anything.
    fn enough(&self, calls: u64, what: &str) -> Result<(), Lack> {
        let wanted = self.calls_min;
        match calls {
            0 if wanted == 0 => Err(Lack::Missing(format!("no {what}"))),
            few if few < u64::from(wanted) => {
                Err(Lack::Missing(format!("{few} {what}, at least {wanted} wanted")))
            }
            _ => Ok(()),
        }
    }

    fn percentiles(&self, latencies: Latencies) -> Result<[f64; 3], Lack> {
        match latencies {
            Latencies::Each(mut each) => {
                self.enough(each.len() as u64, "calls that were not cached")?;
                each.sort_unstable();
                Ok(PERCENTILES.map(|percent| f64::from(nearest_rank(&each, percent)) / 1e3))
            }
            Latencies::Percentiles(percentiles) => Ok(percentiles),
            Latencies::Unknown(lack) => Err(lack),
        }
    }

    fn value(&mut self, pointer: &str, number: Result<f64, Lack>) -> ConvexValue {
        match number {
            Ok(number) => ConvexValue::Number(number),
            Err(lack) => {
                self.whys.insert(pointer.to_owned(), lack);
                ConvexValue::Null
            }
        }
    }
}

/// The smallest value that at least `percent` of all values do not exceed. `sorted` is not empty.
pub(crate) fn nearest_rank(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// What every document tells of latencies.
const PERCENTILES: [usize; 3] = [50, 95, 99];

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn told(tally: Tally, calls_min: u32, extent: Extent) -> Told {
        let mut document = Document::new(calls_min, extent);
        document.total(tally.clone());
        document.each("functions", BTreeMap::from([("a/b:f".to_owned(), tally)]));
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        document.told(Basis { from, to, samples: None, extent }, None)
    }

    fn missing(told: &Told, pointer: &str) -> String {
        let measured = told.measured(pointer, Unit::Count);
        let Measured::Missing(words) = measured else { panic!("{pointer}: {measured:?}") };
        words
    }

    #[test]
    fn numbers_are_told_on_every_level() {
        let each = Latencies::Each((1..=200).map(|ms| ms * 1_000).collect());
        let told = told(Tally { calls: 200, errors: 3, latencies: each }, 20, Extent::Whole);
        for level in ["", "/functions/a~1b:f"] {
            for (field, number) in [
                ("calls", 200.0),
                ("errors", 3.0),
                ("errorRate", 1.5),
                ("p50", 100.0),
                ("p99", 198.0),
            ] {
                let pointer = format!("{level}/{field}");
                assert_eq!(
                    told.measured(&pointer, Unit::Count),
                    Measured::Number(number),
                    "{pointer}"
                );
            }
        }
        assert!(missing(&told, "/nope").starts_with("nothing at /nope"));
    }

    #[test]
    fn too_few_calls_show_nothing_but_their_number() {
        let tally = Tally { calls: 12, errors: 0, latencies: Latencies::Each(vec![1; 12]) };
        let few = told(tally, 20, Extent::Whole);
        assert_eq!(few.measured("/calls", Unit::Count), Measured::Number(12.0));
        for field in ["errors", "errorRate", "p50", "p95", "p99"] {
            assert_eq!(missing(&few, &format!("/{field}")), "12 calls, at least 20 wanted");
            assert_eq!(
                missing(&few, &format!("/functions/a~1b:f/{field}")),
                "12 calls, at least 20 wanted"
            );
        }
        let none = told(Tally::default(), 0, Extent::Whole);
        assert_eq!(none.measured("/calls", Unit::Count), Measured::Number(0.0));
        assert_eq!(missing(&none, "/errors"), "no calls");
        let cached = Tally { calls: 50, errors: 0, latencies: Latencies::Each(vec![1; 2]) };
        let cached = told(cached, 20, Extent::Whole);
        assert_eq!(cached.measured("/errorRate", Unit::Percent), Measured::Number(0.0));
        assert_eq!(missing(&cached, "/p95"), "2 calls that were not cached, at least 20 wanted");
    }

    #[test]
    fn a_part_has_rates_and_no_counts() {
        let tally = Tally { calls: 50, errors: 5, latencies: Latencies::Each(vec![7_000; 50]) };
        let part = told(tally, 20, Extent::Part);
        assert_eq!(part.measured("/errorRate", Unit::Percent), Measured::Number(10.0));
        assert_eq!(part.measured("/p95", Unit::Milliseconds), Measured::Number(7.0));
        assert!(missing(&part, "/calls").contains("lost"));
        assert!(missing(&part, "/errors").contains("lost"));
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_a_naive_sort(mut each in prop::collection::vec(0u32..5_000, 1..400), percent in 1usize..=100) {
            each.sort_unstable();
            let found = nearest_rank(&each, percent);
            let share = |holds: &dyn Fn(u32) -> bool| each.iter().filter(|one| holds(**one)).count() * 100;
            prop_assert!(each.contains(&found));
            prop_assert!(share(&|one| one <= found) >= percent * each.len());
            prop_assert!(share(&|one| one < found) < percent * each.len());
        }
    }
}
