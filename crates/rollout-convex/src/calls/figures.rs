//! Owns what the figures of a deployment's own metrics mean, with every trap of the wire contract (section 7.1).
//!
//! * `null` is no data, `0.0` is no calls; neither is a pass.
//! * The `_rest` of two lists are different sets and are never combined.
//! * Latencies come from histograms that overflow: a minute with more than 250 calls, with percentiles that fall, or with a
//!   highest one of a millisecond is *unknown*. Over several minutes and functions the greatest percentile is told, which is
//!   an upper bound of the true one and not the true one; histograms that could be added are not on offer.

use std::collections::BTreeMap;

use rollout_core::{Basis, CallFigure, Calls, Extent};

use super::minutes::{Cut, Figures, Minutes, Series};
use super::told::{Document, Lack, Latencies, Tally, Told};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Events of one function, by its name.
    Rate(String, RateOf),
    /// Latencies of one function.
    Latencies(String),
    /// Share of failed calls, by function.
    Failures,
    /// Calls, by function.
    Counts,
    /// Functions that run or wait.
    Concurrency,
    /// How far scheduled functions are behind.
    Lag,
}

/// What is counted of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RateOf {
    Invocations,
    Errors,
    CacheHits,
    CacheMisses,
}

/// What came of the requests.
pub(crate) type Answers = BTreeMap<Ask, Result<Figures, Lack>>;

/// The requests that a question needs; `pointers` say which figures are wanted.
pub(crate) fn asks(calls: &Calls, pointers: &[&str]) -> Vec<Ask> {
    let wants = |is_wanted: &dyn Fn(CallFigure) -> bool| {
        let last = |pointer: &&str| {
            let name = pointer.rsplit('/').next();
            CallFigure::ALL.iter().any(|one| Some(one.name()) == name && is_wanted(*one))
        };
        pointers.iter().any(last)
    };
    let mut asks = Vec::new();
    if calls.functions.is_empty() {
        asks.extend([Ask::Failures, Ask::Counts]);
    }
    for name in &calls.functions {
        let mut rates = vec![RateOf::Invocations, RateOf::Errors];
        if wants(&|one| one == CACHE) {
            rates.extend([RateOf::CacheHits, RateOf::CacheMisses]);
        }
        asks.extend(rates.into_iter().map(|of| Ask::Rate(Calls::function_name(name), of)));
        asks.extend(
            wants(&CallFigure::is_latency).then(|| Ask::Latencies(Calls::function_name(name))),
        );
    }
    asks.extend(wants(&|one| one == QUEUED).then_some(Ask::Concurrency));
    asks.extend(wants(&|one| one == LAG).then_some(Ask::Lag));
    asks
}

/// Further requests, known once the first are answered: functions with failures that the list of calls does not name.
pub(crate) fn more_asks(answers: &Answers) -> Vec<Ask> {
    let (Some(Ok(failures)), Some(Ok(counts))) =
        (answers.get(&Ask::Failures), answers.get(&Ask::Counts))
    else {
        return Vec::new();
    };
    let unnamed = failures.keys().filter(|name| *name != REST && !counts.contains_key(*name));
    unnamed.map(|name| Ask::Rate(name.clone(), RateOf::Errors)).collect()
}

/// Makes a document of the answers.
///
/// # Errors
///
/// [`Lack`] when the calls themselves are not known.
pub(crate) fn told(
    calls: &Calls,
    pointers: &[&str],
    minutes: Minutes,
    answers: &Answers,
) -> Result<Told, Lack> {
    for figures in answers.values().flatten() {
        minutes.not_ahead(figures)?;
    }
    let functions = if calls.functions.is_empty() {
        per_function_of_all(minutes, answers)?
    } else {
        per_function_named(calls, pointers, minutes, answers)?
    };
    let Functions { each, total, extent } = functions;
    let extent = if minutes.cut == Cut::Yes { Extent::Part } else { extent };
    let (from, to) = minutes.range();
    let basis = Basis { from, to, samples: Some(total.calls), extent };
    let mut document = Document::new(calls.calls_min, extent);
    document.total(total);
    document.each("functions", each);
    for (ask, figure) in [(Ask::Concurrency, QUEUED), (Ask::Lag, LAG)] {
        if let Some(answer) = answers.get(&ask) {
            document.number(
                figure,
                answer.clone().and_then(|figures| highest(&minutes, &figures, &ask)),
            );
        }
    }
    if calls.functions.iter().any(|name| answers.contains_key(&hits(name))) {
        document.number(CACHE, cached(calls, minutes, answers));
    }
    Ok(document.told(basis, None))
}

/// Calls by function, and together.
struct Functions {
    each: BTreeMap<String, Tally>,
    total: Tally,
    extent: Extent,
}

fn per_function_named(
    calls: &Calls,
    pointers: &[&str],
    minutes: Minutes,
    answers: &Answers,
) -> Result<Functions, Lack> {
    let mut functions =
        Functions { each: BTreeMap::new(), total: Tally::default(), extent: Extent::Whole };
    let mut worst: Result<[f64; 3], Lack> = Ok([0.0; 3]);
    for name in calls.functions.iter().map(|name| Calls::function_name(name)) {
        let invocations = rate(answers, &name, RateOf::Invocations)?;
        let errors = rate(answers, &name, RateOf::Errors)?;
        let (count, extent) = events(&minutes, &invocations)?;
        if extent == Extent::Part {
            functions.extent = Extent::Part;
        }
        let latencies = match answers.get(&Ask::Latencies(name.clone())) {
            None => Err(Lack::Missing(format!("not asked for by any of {}", pointers.join(", ")))),
            Some(Err(lack)) => Err(lack.clone()),
            Some(Ok(figures)) => percentiles(&minutes, figures, &invocations),
        };
        // A function without a call has no latency, and takes nothing from those of the others.
        if count > 0.0 {
            worst = worst.and_then(|[a, b, c]| {
                latencies.clone().map(|[x, y, z]| [a.max(x), b.max(y), c.max(z)])
            });
        }
        let tally = Tally {
            calls: count.round() as u64,
            errors: events(&minutes, &errors)?.0.round() as u64,
            latencies: latencies.map_or_else(Latencies::Unknown, Latencies::Percentiles),
        };
        functions.total.calls += tally.calls;
        functions.total.errors += tally.errors;
        functions.each.insert(name, tally);
    }
    functions.total.latencies = worst.map_or_else(Latencies::Unknown, Latencies::Percentiles);
    Ok(functions)
}

fn per_function_of_all(minutes: Minutes, answers: &Answers) -> Result<Functions, Lack> {
    let list = |ask: &Ask| answers.get(ask).cloned().unwrap_or_else(|| Err(unasked()));
    let (failures, counts) = (list(&Ask::Failures)?, list(&Ask::Counts)?);
    let is_failing = |figure: &Option<f64>| figure.is_some_and(|percent| percent > 0.0);
    if failures.get(REST).is_some_and(|rest| minutes.counted(rest).iter().any(is_failing)) {
        let words = "more functions have failed within the hour than the deployment names; name those that matter";
        return Err(Lack::Missing(words.into()));
    }
    let unknown = || Latencies::Unknown(Lack::Missing(LATENCY_OF_ALL.into()));
    let mut functions =
        Functions { each: BTreeMap::new(), total: Tally::default(), extent: Extent::Whole };
    let (mut calls_of_all, mut errors_of_all) = (0.0, 0.0);
    let mut is_known = false;
    for (name, series) in &counts {
        let Ok((count, extent)) = summed(&minutes, series) else { continue };
        is_known = true;
        if extent == Extent::Part {
            functions.extent = Extent::Part;
        }
        calls_of_all += count;
        if name != REST {
            let errors = failed(&minutes, failures.get(name), series)?;
            errors_of_all += errors;
            let (calls, errors) = (count.round() as u64, errors.round() as u64);
            functions
                .each
                .insert(Calls::function_name(name), Tally { calls, errors, latencies: unknown() });
        }
    }
    if !is_known {
        return Err(no_data());
    }
    for name in failures.keys().filter(|name| *name != REST && !counts.contains_key(*name)) {
        errors_of_all += events(&minutes, &rate(answers, name, RateOf::Errors)?)?.0;
    }
    let (calls, errors) = (calls_of_all.round() as u64, errors_of_all.round() as u64);
    functions.total = Tally { calls, errors, latencies: unknown() };
    Ok(functions)
}

/// Failed calls of one function: its share times its calls, minute by minute. Not in the list = none failed.
fn failed(minutes: &Minutes, share: Option<&Series>, counts: &Series) -> Result<f64, Lack> {
    let Some(share) = share else { return Ok(0.0) };
    let pairs = minutes.counted(share).iter().zip(minutes.counted(counts));
    let mut failed = 0.0;
    for (percent, count) in pairs {
        match (percent, count) {
            (_, None) => {}
            (_, Some(count)) if *count == 0.0 => {}
            (Some(percent), Some(count)) => failed += percent / 100.0 * count,
            (None, Some(_)) => {
                let words = "the deployment's metrics know of calls, and not which of them failed";
                return Err(Lack::Missing(words.into()));
            }
        }
    }
    Ok(failed)
}

/// The percentiles 50, 95 and 99 in milliseconds: of each minute, and of those the greatest.
fn percentiles(
    minutes: &Minutes,
    figures: &Figures,
    invocations: &Series,
) -> Result<[f64; 3], Lack> {
    let none = Series::default();
    let rows = ASKED.map(|percent| minutes.counted(figures.get(percent).unwrap_or(&none)));
    let mut greatest = [0.0f64; 3];
    for (minute, rate) in minutes.counted(invocations).iter().enumerate() {
        let calls = rate.map(|rate| (rate * SECS).round());
        if calls.is_none_or(|calls| calls <= 0.0) {
            continue;
        }
        let [p50, p95, p99, p100] = rows.map(|row| row.get(minute).copied().flatten());
        let unknown = |words: &str| Err(Lack::Missing(format!("latencies are unknown: {words}")));
        let (Some(p50), Some(p95), Some(p99), Some(p100)) = (p50, p95, p99, p100) else {
            return unknown("the deployment has none for a minute with calls");
        };
        if calls.is_some_and(|calls| calls > CALLS_PER_MINUTE_MAX) {
            return unknown(
                "more than 250 calls in a minute overflow the deployment's histogram; use the source executions",
            );
        }
        if p100 <= OVERFLOWN || !(p50 <= p95 && p95 <= p99 && p99 <= p100) {
            return unknown("the deployment's histogram has overflown; use the source executions");
        }
        for (greatest, seconds) in greatest.iter_mut().zip([p50, p95, p99]) {
            *greatest = greatest.max(seconds * 1e3);
        }
    }
    Ok(greatest)
}

/// The events of a rate, which is per second, over its minutes.
fn events(minutes: &Minutes, rate: &Series) -> Result<(f64, Extent), Lack> {
    summed(minutes, rate).map(|(sum, extent)| (sum * SECS, extent))
}

/// The sum of figures over their minutes; a part where a minute has no data.
fn summed(minutes: &Minutes, series: &Series) -> Result<(f64, Extent), Lack> {
    let counted = minutes.counted(series);
    let known = counted.iter().flatten().count();
    let sum: f64 = counted.iter().flatten().sum();
    match known {
        0 => Err(no_data()),
        all if all == counted.len() => Ok((sum, Extent::Whole)),
        _ => Ok((sum, Extent::Part)),
    }
}

fn rate(answers: &Answers, name: &str, of: RateOf) -> Result<Series, Lack> {
    match answers.get(&Ask::Rate(name.to_owned(), of)) {
        Some(Ok(figures)) => figures.get("").cloned().ok_or_else(no_data),
        Some(Err(lack)) => Err(lack.clone()),
        None => Err(unasked()),
    }
}

/// The highest figure of all minutes: of the lag, or of the functions that wait.
fn highest(minutes: &Minutes, figures: &Figures, ask: &Ask) -> Result<f64, Lack> {
    let counts = |name: &str| *ask != Ask::Concurrency || name.ends_with(":queued");
    let wanted = figures.iter().filter(|(name, _)| counts(name));
    let known = wanted.flat_map(|(_, series)| minutes.counted(series)).flatten().copied();
    known.reduce(f64::max).ok_or_else(no_data)
}

/// Share of the calls that were answered from the cache, in percent.
fn cached(calls: &Calls, minutes: Minutes, answers: &Answers) -> Result<f64, Lack> {
    let (mut hits, mut all) = (0.0, 0.0);
    for name in calls.functions.iter().map(|name| Calls::function_name(name)) {
        let hit = events(&minutes, &rate(answers, &name, RateOf::CacheHits)?)?.0;
        let missed = events(&minutes, &rate(answers, &name, RateOf::CacheMisses)?)?.0;
        (hits, all) = (hits + hit, all + hit + missed);
    }
    let few = all.round();
    if few < f64::from(calls.calls_min.max(1)) {
        let wanted = calls.calls_min.max(1);
        return Err(Lack::Missing(format!(
            "{few} calls that may be cached, at least {wanted} wanted"
        )));
    }
    Ok(hits / all * 100.0)
}

fn hits(name: &str) -> Ask {
    Ask::Rate(Calls::function_name(name), RateOf::CacheHits)
}

fn no_data() -> Lack {
    let words = "the deployment has no metrics of that time: it keeps one hour, none from before its last start, and none after its last call";
    Lack::Missing(words.into())
}

fn unasked() -> Lack {
    Lack::Failed(String::from("the deployment's metrics were not asked for"))
}

/// The percentiles that are asked for; the last one shows whether the histogram has overflown.
pub(crate) const PERCENTILES_ASKED: &str = "[50,95,99,100]";
/// Their names in the answer.
const ASKED: [&str; 4] = ["50", "95", "99", "100"];
/// Seconds of a minute: rates are per second.
const SECS: f64 = 60.0;
/// What an overflown histogram shows, in seconds.
const OVERFLOWN: f64 = 0.001;
/// With more calls of one function, a cell of its histogram may be full.
const CALLS_PER_MINUTE_MAX: f64 = 250.0;
/// All that a list does not name.
const REST: &str = "_rest";
const QUEUED: CallFigure = CallFigure::Queued;
const LAG: CallFigure = CallFigure::ScheduledJobLag;
const CACHE: CallFigure = CallFigure::CacheHitPercentage;
const LATENCY_OF_ALL: &str = "the deployment's metrics have latencies per function only; name functions, or use the source executions";
