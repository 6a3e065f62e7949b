//! Owns the source `prometheus`: which query is sent, and how its answer becomes one number. Pure.
//!
//! Refuses to choose among several series, and to take an old value for the present: a series that has ended shows nothing,
//! however good its last values were. A value that the server itself doubts (a warning: a part of its stores did not answer) and
//! one of fewer than half of the moments asked about are none. What Prometheus says is not a number stays none.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use rollout_core::{Basis, Extent, PromQuery, PromRange, Reduce, Span};
use serde::Deserialize;
use serde_json::Value as Json;

use super::answer::Answer;
use super::document::replaced;
use super::page::Page;
use super::words;
use crate::text::clip;
use crate::value::ConvexValue;

/// One query, complete: what is asked about is fixed, however often its answer is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query<'a> {
    endpoint: &'a str,
    /// PromQL, placeholders replaced.
    text: String,
    span: Span,
    /// Whether the query itself was told where the time begins that counts.
    is_bounded: bool,
    grid: Option<Grid>,
}

/// The moments of a range query. The last one is the moment that is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    first_ms: i64,
    to_ms: i64,
    step_ms: i64,
    reduce: Reduce,
}

/// One moment of one series; the value as Prometheus writes it.
#[derive(Debug, Default, Deserialize)]
struct Point(f64, String);

/// One series of an instant query (`value`) or a range query (`values`).
#[derive(Debug, Deserialize)]
struct Series {
    value: Option<Point>,
    #[serde(default)]
    values: Vec<Point>,
}

/// Every answer of Prometheus' API, whatever its status.
#[derive(Debug, Deserialize)]
struct Body {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Json,
}

impl<'a> Query<'a> {
    /// The query for one range of time.
    ///
    /// # Errors
    ///
    /// The answer, where the range cannot be asked about.
    pub(super) fn new(asked: &'a PromQuery, span: Span) -> Result<Self, Answer> {
        let length = span.to.duration_since(span.from).as_secs().max(1);
        let text = replaced(&asked.query, &|name| (name == "span").then(|| format!("{length}s")));
        let is_bounded = text != asked.query;
        let grid = asked.range.map(|range| Grid::new(range, span)).transpose()?;
        Ok(Self { endpoint: &asked.endpoint, text, span, is_bounded, grid })
    }

    /// The whole URL, below that of the endpoint.
    pub(super) fn url(&self, endpoint: &Url, timeout: Duration) -> Url {
        let mut url = self.url_without_time(endpoint, timeout);
        let mut pairs = url.query_pairs_mut();
        match self.grid {
            None => pairs.append_pair("time", &seconds(self.span.to.as_millisecond())),
            Some(Grid { first_ms, to_ms, step_ms, reduce: _ }) => pairs
                .append_pair("start", &seconds(first_ms))
                .append_pair("end", &seconds(to_ms))
                .append_pair("step", &seconds(step_ms)),
        };
        drop(pairs);
        url
    }

    /// The same without a time, so that the server answers about its own present.
    pub(super) fn url_without_time(&self, endpoint: &Url, timeout: Duration) -> Url {
        let mut url = endpoint.clone();
        let name = if self.grid.is_some() { "query_range" } else { "query" };
        url.set_path(&format!("{}/api/v1/{name}", endpoint.path().trim_end_matches('/')));
        // When nobody waits for the answer any more, the server need not go on.
        let timeout = format!("{}ms", timeout.as_millis());
        url.query_pairs_mut().append_pair("query", &self.text).append_pair("timeout", &timeout);
        url
    }

    /// What the answer means.
    pub(super) fn read(&self, page: &Page) -> Answer {
        let data = match self.data(page) {
            Ok(data) => data,
            Err(answer) => return answer,
        };
        match (data.result_type.as_str(), self.grid) {
            ("scalar", None) => match serde_json::from_value(data.result) {
                Ok(point) => self.instant(&point),
                Err(error) => self.strange(&error),
            },
            ("vector", None) => match self.one_series(data.result) {
                Ok(Series { value: Some(point), .. }) => self.instant(&point),
                Ok(Series { value: None, .. }) => histogram(),
                Err(answer) => answer,
            },
            ("matrix", Some(grid)) => match self.one_series(data.result) {
                Ok(series) if series.values.is_empty() => histogram(),
                Ok(series) => self.range(&grid, &series.values),
                Err(answer) => answer,
            },
            ("matrix", None) => Answer::failed(
                "the query gives a range of values; make it one, e.g. with last_over_time(...)",
            ),
            (kind, _) => Answer::failed(&format!("the query gives a {kind}; a number is needed")),
        }
    }

    /// The server's own time and the value, of a query that was sent without a time.
    pub(super) fn control(&self, page: &Page) -> Result<(Timestamp, f64), Answer> {
        let series = self.one_series(self.data(page)?.result)?;
        let point = series.value.unwrap_or_default();
        let (at_ms, number) = point.read().ok_or_else(|| self.no_number(&point.1))?;
        let at = Timestamp::from_millisecond(at_ms).map_err(|_| self.no_number(&point.1))?;
        Ok((at, number))
    }

    /// What the server found, or what it says instead.
    fn data(&self, page: &Page) -> Result<Data, Answer> {
        let endpoint = self.endpoint;
        let refused = || words::refusal(endpoint, "/api/v1/query", page.status);
        let json = match &page.body {
            Ok(json) => json.clone(),
            Err(instead) => {
                let words = || format!("endpoint {endpoint} answered with {instead}");
                return Err(Answer::failed(&refused().unwrap_or_else(words)));
            }
        };
        // An error has its status and its words, and the words are in the body; a proxy's body has none of ours.
        let body: Body = match serde_json::from_value(json) {
            Ok(body) => body,
            Err(error) => {
                return Err(
                    refused().map_or_else(|| self.strange(&error), |words| Answer::failed(&words))
                );
            }
        };
        for info in &body.infos {
            let info = clip(info, WARNING_BYTES_MAX);
            tracing::info!(endpoint, info, "the query was answered with a remark");
        }
        if body.status == "success"
            && let Some(words) = refused()
        {
            return Err(Answer::failed(&words));
        }
        if let Some(warning) = body.warnings.first().filter(|_| body.status == "success") {
            return Err(self.doubted(warning));
        }
        body.data.filter(|_| body.status == "success").ok_or_else(|| {
            let (kind, said) =
                (body.error_type.unwrap_or_default(), body.error.unwrap_or_default());
            Answer::failed(&self.error(&kind, &said))
        })
    }

    /// What is left of a value that the server warns of: Thanos and remote reads say so that a part of the data is missing, and
    /// the part that is there looks like all of it.
    fn doubted(&self, warning: &str) -> Answer {
        let (endpoint, warning) = (self.endpoint, clip(warning, WARNING_BYTES_MAX));
        tracing::warn!(endpoint, warning, "the query was answered with a warning");
        Answer::missing(&format!("endpoint {endpoint} answered with a warning: {warning}"))
    }

    /// The one series of an answer.
    fn one_series(&self, result: Json) -> Result<Series, Answer> {
        let mut all: Vec<Series> =
            serde_json::from_value(result).map_err(|error| self.strange(&error))?;
        match (all.pop(), all.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(Answer::missing(&format!(
                "endpoint {} has no series for the query",
                self.endpoint
            ))),
            (Some(_), others) => Err(Answer::failed(&format!(
                "the query gives {} series; aggregate them, e.g. with sum(...)",
                others + 1
            ))),
        }
    }

    /// The value of an instant query.
    fn instant(&self, point: &Point) -> Answer {
        let Some((at_ms, number)) = point.read() else { return self.no_number(&point.1) };
        let off = at_ms.saturating_sub(self.span.to.as_millisecond());
        // A cache in front of the server may answer about another moment than the one asked about.
        if !(-LOOKBACK_MS..=AHEAD_MS_MAX).contains(&off) {
            return Answer::missing(&format!(
                "endpoint {} answered about another time: {} s {} the moment that was asked about",
                self.endpoint,
                off.unsigned_abs() / 1000,
                if off < 0 { "before" } else { "after" }
            ));
        }
        let from = if self.is_bounded { self.span.from } else { self.span.to };
        told(number, Basis { from, to: self.span.to, samples: None, extent: Extent::Whole })
    }

    /// The values of a range query as one.
    fn range(&self, grid: &Grid, points: &[Point]) -> Answer {
        let mut seen = Vec::with_capacity(points.len());
        let (mut newest, mut told_moments) = (None, 0);
        for point in points {
            let Some((at_ms, number)) = point.read() else { return self.no_number(&point.1) };
            if !(grid.first_ms..=grid.to_ms).contains(&at_ms) {
                continue;
            }
            told_moments += i64::from(newest.is_none_or(|newest| newest < at_ms));
            newest = newest.max(Some(at_ms));
            if !number.is_nan() {
                seen.push((at_ms, number));
            }
        }
        let Some(newest) = newest else {
            let endpoint = self.endpoint;
            return Answer::missing(&format!(
                "endpoint {endpoint} has no value of the query in this time"
            ));
        };
        if let Some(words) = grid.stale(newest) {
            return Answer::missing(&words);
        }
        let extent = match grid.extent(told_moments) {
            Ok(extent) => extent,
            Err(words) => return Answer::missing(&words),
        };
        let Some(&(last_ms, last)) = seen.last() else {
            return Answer::missing(&format!("all {} values of the query are NaN", points.len()));
        };
        let numbers = seen.iter().map(|(_, number)| *number);
        let number = match grid.reduce {
            Reduce::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
            Reduce::Min => numbers.fold(f64::INFINITY, f64::min),
            Reduce::Mean => mean(numbers),
            Reduce::Last => match grid.stale(last_ms) {
                Some(words) => return Answer::missing(&words),
                None => last,
            },
        };
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or(self.span.to);
        let samples = Some(seen.len() as u64);
        let (from, to) = (at(grid.first_ms), at(newest));
        told(number, Basis { from, to, samples, extent })
    }

    /// What Prometheus says about a query that it did not answer.
    fn error(&self, kind: &str, said: &str) -> String {
        let endpoint = self.endpoint;
        match kind {
            "bad_data" => format!("the query is wrong (bad_data): {said}; correct it in the plan"),
            "timeout" => format!(
                "endpoint {endpoint} gave the query up after its own time (timeout): {said}"
            ),
            "unavailable" => format!("endpoint {endpoint} is not available (unavailable): {said}"),
            "" => format!("endpoint {endpoint} answered without data and without an error"),
            kind => format!("endpoint {endpoint} could not answer the query ({kind}): {said}"),
        }
    }

    fn strange(&self, error: &serde_json::Error) -> Answer {
        let endpoint = self.endpoint;
        Answer::failed(&format!(
            "endpoint {endpoint} did not answer as a Prometheus server does: {error}"
        ))
    }

    fn no_number(&self, text: &str) -> Answer {
        Answer::failed(&format!("endpoint {} gave {text:?} for a number", self.endpoint))
    }
}

impl Grid {
    /// Moments `step` apart, ending where the span ends; none from before it begins.
    fn new(range: PromRange, span: Span) -> Result<Self, Answer> {
        let step_ms = millis(range.step);
        if step_ms < 1 {
            return Err(Answer::failed("the step of the range is below 1 ms"));
        }
        // Rounded inwards, so that no moment lies outside of the span.
        let to_ms = span.to.as_millisecond();
        let begins =
            span.from.as_millisecond() + i64::from(span.from.subsec_nanosecond() % 1_000_000 > 0);
        let from_ms = begins.max(to_ms.saturating_sub(millis(range.over)));
        let steps = to_ms.saturating_sub(from_ms).max(0) / step_ms;
        if steps >= PromRange::STEPS_MAX {
            return Err(Answer::failed(&format!(
                "the range has more than {} steps; make the step longer",
                PromRange::STEPS_MAX
            )));
        }
        Ok(Self { first_ms: to_ms - steps * step_ms, to_ms, step_ms, reduce: range.reduce })
    }

    /// How much of the grid `told` moments are. NaN is told as well: a rate without calls.
    ///
    /// # Errors
    ///
    /// Words, below half of it: the moments that are missing may be those when it was bad.
    fn extent(&self, told: i64) -> Result<Extent, String> {
        let all = self.to_ms.saturating_sub(self.first_ms) / self.step_ms + 1;
        match () {
            () if told >= all => Ok(Extent::Whole),
            () if told.saturating_mul(2) >= all => Ok(Extent::Part),
            () => Err(format!("the query has only {told} of {all} values in this time")),
        }
    }

    /// Says so when a value is too old to stand for the moment that is asked about.
    fn stale(&self, at_ms: i64) -> Option<String> {
        let age = self.to_ms.saturating_sub(at_ms);
        (age > self.step_ms.max(LOOKBACK_MS)).then(|| {
            format!(
                "the newest value of the query is {} s older than the moment that was asked about",
                age / 1000
            )
        })
    }
}

impl Point {
    /// Milliseconds since 1970, and the value; `None` when the text is no number.
    fn read(&self) -> Option<(i64, f64)> {
        // Rust reads all that Prometheus writes: `NaN`, `+Inf`, `-Inf`, `1e+300`.
        let number = self.1.parse().ok()?;
        Some(((self.0 * 1000.0).round() as i64, number))
    }
}

fn histogram() -> Answer {
    Answer::failed(
        "the query gives a histogram; make it a number, e.g. with histogram_quantile(0.95, ...)",
    )
}

fn told(number: f64, basis: Basis) -> Answer {
    Answer::Told { document: ConvexValue::Number(number), basis: Some(basis) }
}

/// The mean, calculated so that great values do not add up to infinity.
fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0, 0.0);
    for number in numbers {
        count += 1.0;
        // The difference of two infinities is no number, and neither is what would be shown.
        mean = if f64::is_finite(mean) {
            mean + (number / count - mean / count)
        } else {
            mean + number
        };
    }
    mean
}

fn millis(length: SignedDuration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds as seconds with three decimals, as Prometheus reads times and steps.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

/// How far back Prometheus itself looks for a value (`--query.lookback-delta`): what is older is stale.
const LOOKBACK_MS: i64 = 5 * 60 * 1000;
/// How far an answer may lie after the moment that was asked about: rounding.
const AHEAD_MS_MAX: i64 = 1000;
/// Longest quotation of a warning.
const WARNING_BYTES_MAX: usize = 240;

#[cfg(test)]
mod tests;
