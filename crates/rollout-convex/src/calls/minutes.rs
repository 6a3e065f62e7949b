//! Owns the minutes of a deployment's own metrics: which ones a question is about, and how their answers are read.
//!
//! The deployment keeps one-minute buckets that begin whenever its process began, and puts each whole into the minute of the
//! window in which it *starts* (wire contract, section 7.1.1). So the window begins where the span begins, which leaves out
//! the bucket that holds both sides of a flip, and the last two minutes before the end are left out, one of which is still
//! filling. An hour beyond the end is asked for as well: figures there show a clock that is ahead of ours.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Calls, Span, SpanEnd};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::told::Lack;
use crate::wire::{MetricRoute, Response, WireError, parse};

/// The minutes of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minutes {
    /// Where the first one begins, by our clock.
    start: Timestamp,
    /// How many count.
    count: usize,
    /// Whether the end is the present, so that nothing can be known of a time after it.
    end: SpanEnd,
    /// Whether the question looks back further than a deployment can.
    pub(crate) cut: Cut,
}

/// Whether a question was shortened to what a deployment keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It was not.
    No,
    /// It was.
    Yes,
}

/// One figure per minute, oldest first; `None` = the deployment has none for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series(Vec<Option<f64>>);

/// An answer: named series.
pub(crate) type Figures = BTreeMap<String, Series>;

impl Minutes {
    /// The minutes that lie whole in a span, as far back as the source looks.
    ///
    /// # Errors
    ///
    /// [`Lack::Missing`] when there is no whole minute in it yet.
    pub(crate) fn of(calls: &Calls, span: Span) -> Result<Self, Lack> {
        let wanted = span.to.saturating_sub(calls.over).unwrap_or(span.from).max(span.from);
        let kept = span.to.saturating_sub(KEPT).unwrap_or(wanted);
        let start = wanted.max(kept);
        let whole = span.to.duration_since(start).as_mins() - UNSETTLED;
        let count = usize::try_from(whole).ok().filter(|count| *count > 0).ok_or_else(|| {
            let words =
                "the deployment's own metrics need two whole minutes within the time asked about";
            Lack::Missing(words.into())
        })?;
        let cut = if start > wanted { Cut::Yes } else { Cut::No };
        Ok(Self { start, count, end: span.end, cut })
    }

    /// The window parameter.
    pub(crate) fn window(&self) -> String {
        let buckets = i64::try_from(self.count).unwrap_or(0) + BEYOND;
        let end = self.start.saturating_add(SignedDuration::from_mins(buckets));
        let time = |at: Timestamp| json!({ "secs_since_epoch": at.as_second(), "nanos_since_epoch": at.subsec_nanosecond() });
        let end = end.unwrap_or(Timestamp::MAX);
        json!({ "start": time(self.start), "end": time(end), "num_buckets": buckets }).to_string()
    }

    /// The time that the minutes speak for.
    pub(crate) fn range(&self) -> (Timestamp, Timestamp) {
        let span = SignedDuration::from_mins(i64::try_from(self.count).unwrap_or(0));
        (self.start, self.start.saturating_add(span).unwrap_or(self.start))
    }

    /// The figures that count.
    pub(crate) fn counted<'a>(&self, series: &'a Series) -> &'a [Option<f64>] {
        series.0.get(..self.count).unwrap_or(&series.0)
    }

    /// Refuses figures of a time that has not come yet: with a clock that is ahead, the minutes asked for are old ones.
    pub(crate) fn not_ahead(&self, figures: &Figures) -> Result<(), Lack> {
        if self.end == SpanEnd::Past {
            return Ok(());
        }
        let from = self.count + usize::try_from(UNSETTLED).unwrap_or(0) + 1;
        let beyond = figures.values().flat_map(|series| series.0.iter().enumerate().skip(from));
        match beyond
            .filter(|(_, figure)| figure.is_some_and(|figure| figure > 0.0))
            .map(|(at, _)| at)
            .max()
        {
            None => Ok(()),
            Some(last) => {
                let minutes = last - from + 1;
                Err(Lack::Failed(format!(
                    "the deployment's clock is at least {minutes} min ahead of ours, so its metrics cannot be placed; set the clocks"
                )))
            }
        }
    }
}

/// Reads an answer of `route`. A single series has the empty name.
///
/// # Errors
///
/// [`WireError`] when it has another shape.
pub(crate) fn decode(route: MetricRoute, response: &Response) -> Result<Figures, WireError> {
    match route {
        MetricRoute::UdfRate | MetricRoute::ScheduledJobLag => {
            let points = parse(response, "a series of figures")?;
            Ok(Figures::from([(String::new(), series(points))]))
        }
        MetricRoute::FunctionConcurrency => {
            let named: BTreeMap<String, Vec<Point>> = parse(response, "series of figures by name")?;
            Ok(named.into_iter().map(|(name, points)| (name, series(points))).collect())
        }
        MetricRoute::FailurePercentageTopK
        | MetricRoute::FunctionCallCountTopK
        | MetricRoute::LatencyPercentiles => {
            let named: Vec<(Json, Vec<Point>)> =
                parse(response, "a list of named series of figures")?;
            let name = |name: Json| match name {
                Json::String(text) => text,
                // A percentile may be written as 50 or as 50.0.
                Json::Number(number) => number.as_f64().unwrap_or(f64::NAN).to_string(),
                other @ (Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_)) => {
                    other.to_string()
                }
            };
            Ok(named.into_iter().map(|(is, points)| (name(is), series(points))).collect())
        }
    }
}

/// A moment, which the window has said already, and a figure.
#[derive(Deserialize)]
struct Point(#[expect(dead_code, reason = "it holds the place of the moment")] Json, Option<f64>);

fn series(points: Vec<Point>) -> Series {
    Series(points.into_iter().map(|point| point.1.filter(|figure| figure.is_finite())).collect())
}

/// How far back a deployment keeps its metrics.
const KEPT: SignedDuration = SignedDuration::from_mins(61);
/// Minutes before the end that may hold a bucket which is still filling.
const UNSETTLED: i64 = 1;
/// Minutes that are asked for beyond those that count.
const BEYOND: i64 = 61;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_795_334_017 + secs).unwrap()
    }

    fn of(over_secs: i64, from: i64, to: i64) -> Result<Minutes, Lack> {
        let over = SignedDuration::from_secs(over_secs);
        let calls = Calls { functions: vec![], callers: vec![], over, calls_min: 1 };
        Minutes::of(&calls, Span { from: at(from), to: at(to), end: SpanEnd::Now })
    }

    #[test]
    fn only_whole_minutes_after_the_flip_and_before_the_filling_one_count() {
        assert!(matches!(of(3_600, 0, 119), Err(Lack::Missing(_))));
        assert!(matches!(of(60, 0, 600), Err(Lack::Missing(_))));
        assert!(matches!(of(3_600, 100, 0), Err(Lack::Missing(_))));
        assert_eq!(of(3_600, 0, 120).unwrap().range(), (at(0), at(60)));
        assert_eq!(of(300, 0, 1_000).unwrap().range(), (at(700), at(940)));
        let long = of(86_400, 0, 86_400).unwrap();
        assert_eq!((long.cut, long.count), (Cut::Yes, 60));
        assert_eq!(
            of(300, 0, 1_000).unwrap().window(),
            r#"{"end":{"nanos_since_epoch":0,"secs_since_epoch":1795338617},"num_buckets":65,"start":{"nanos_since_epoch":0,"secs_since_epoch":1795334717}}"#
        );
    }

    #[test]
    fn answers_of_every_shape_are_read() {
        let read = |route, body: &str| {
            decode(route, &Response { status: 200, body: body.as_bytes().to_vec(), date: None })
        };
        let point = r#"[{"secs_since_epoch":1,"nanos_since_epoch":0},12.0],[{"secs_since_epoch":61,"nanos_since_epoch":0},null]"#;
        let expected = Series(vec![Some(12.0), None]);
        let rate = read(MetricRoute::UdfRate, &format!("[{point}]")).unwrap();
        assert_eq!(rate, Figures::from([(String::new(), expected.clone())]));
        let top = read(MetricRoute::FunctionCallCountTopK, &format!(r#"[["a.js:f",[{point}]]]"#));
        assert_eq!(top.unwrap(), Figures::from([("a.js:f".into(), expected.clone())]));
        let slow =
            read(MetricRoute::LatencyPercentiles, &format!("[[50,[{point}]],[95.0,[]]]")).unwrap();
        assert_eq!(slow["50"], expected);
        assert!(slow.contains_key("95"));
        let queue =
            read(MetricRoute::FunctionConcurrency, &format!(r#"{{"x":[{point}]}}"#)).unwrap();
        assert_eq!(queue["x"], expected);
        for garbled in ["", "{}", "[1]", r#"[["a",1]]"#] {
            assert!(read(MetricRoute::LatencyPercentiles, garbled).is_err(), "{garbled:?}");
        }
    }

    #[test]
    fn figures_of_the_future_show_a_clock_that_is_ahead() {
        let minutes = of(300, 0, 1_000).unwrap();
        let figures = |last: usize| {
            let series = (0..65).map(|index| (index <= last).then_some(1.0)).collect();
            Figures::from([(String::new(), Series(series))])
        };
        assert_eq!(minutes.not_ahead(&figures(5)), Ok(()));
        let Err(Lack::Failed(words)) = minutes.not_ahead(&figures(15)) else { panic!("not seen") };
        assert!(words.contains("at least 10 min ahead"), "{words}");
    }
}
