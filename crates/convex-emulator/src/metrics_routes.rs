//! The routes of `/api/app_metrics/`, with every trap of the real ones.
//!
//! A bad window, metric, type or list of percentiles is answered with 500, only a bad `k` with 400:
//! that is how the real server answers, and a client must not take it for an outage.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::Operation;
use crate::completion::UdfType;
use crate::deployment::Deployment;
use crate::histogram::Histogram;
use crate::metrics::{Counts, FunctionKey, Metrics, Minute, Window, canonical_path};
use crate::metrics_json::{Share, counts_json, percent_json, rate_json, series_json, with_rest};
use crate::wire::{ApiError, Request, Response, identify};

/// Which metric is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MetricsRoute {
    UdfRate,
    FailurePercentageTopK,
    FunctionCallCountTopK,
    CacheHitPercentage,
    CacheHitPercentageTopK,
    LatencyPercentiles,
    SubscriptionInvalidationsTopK,
    TableRate,
    ScheduledJobLag,
    FunctionConcurrency,
}

#[derive(Deserialize)]
struct WindowText {
    start: TimeText,
    end: TimeText,
    num_buckets: u32,
}

#[derive(Deserialize)]
struct TimeText {
    secs_since_epoch: i64,
    nanos_since_epoch: i32,
}

impl MetricsRoute {
    pub(crate) fn find(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/api/app_metrics/")? {
            "udf_rate" => Self::UdfRate,
            "failure_percentage_top_k" => Self::FailurePercentageTopK,
            "function_call_count_top_k" => Self::FunctionCallCountTopK,
            "cache_hit_percentage" => Self::CacheHitPercentage,
            "cache_hit_percentage_top_k" => Self::CacheHitPercentageTopK,
            "latency_percentiles" => Self::LatencyPercentiles,
            "subscription_invalidations_top_k" => Self::SubscriptionInvalidationsTopK,
            "table_rate" => Self::TableRate,
            "scheduled_job_lag" => Self::ScheduledJobLag,
            "function_concurrency" => Self::FunctionConcurrency,
            _ => return None,
        })
    }
}

pub(crate) fn answer(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    route: MetricsRoute,
) -> Result<Response, ApiError> {
    let identity = identify(deployment, request)?;
    let window = field(request, "window")?;
    identity.require(Operation::ViewMetrics)?;
    let window = read_window(window)?;
    deployment.catch_up(now);
    let metrics = deployment.activity().metrics();
    let body = match route {
        MetricsRoute::UdfRate => udf_rate(metrics, &window, request)?,
        MetricsRoute::FailurePercentageTopK => {
            failure_percentage(metrics, &window, read_k(request)?)
        }
        MetricsRoute::FunctionCallCountTopK => call_count(metrics, &window, read_k(request)?),
        MetricsRoute::CacheHitPercentage => {
            let wanted = Wanted::read(request)?;
            let series = metrics.fold(&window, |share: &mut Share, minute| {
                wanted.of(minute).for_each(|counts| share.add(hits(counts)));
            });
            percent_json(&window, &series)
        }
        MetricsRoute::CacheHitPercentageTopK => cache_hits(metrics, &window, read_k(request)?),
        MetricsRoute::LatencyPercentiles => latency(metrics, &window, request)?,
        MetricsRoute::SubscriptionInvalidationsTopK => {
            // Variables are the only thing here that a subscription can depend on, and writing
            // them is no function of the app: nobody invalidates anything.
            read_k(request)?;
            let none = metrics.fold(&window, |_: &mut u64, _| {});
            json!([["_rest", counts_json(&window, &none)]])
        }
        MetricsRoute::TableRate => table_rate(metrics, &window, request)?,
        MetricsRoute::ScheduledJobLag => {
            let lag = metrics.gauges.scheduled_job_lag;
            let series = metrics.fold(&window, |known: &mut f64, _| *known = lag);
            series_json(&window, &series, |lag| Some(*lag))
        }
        MetricsRoute::FunctionConcurrency => concurrency(metrics, &window),
    };
    Ok(Response::json(200, &body))
}

fn udf_rate(metrics: &Metrics, window: &Window, request: &Request) -> Result<Json, ApiError> {
    let count: fn(&Counts) -> u64 = match field(request, "metric")? {
        "invocations" => |counts| counts.invocations,
        "errors" => |counts| counts.errors,
        "cacheHits" => |counts| counts.cache_hits,
        "cacheMisses" => |counts| counts.cache_misses,
        "subscriptionInvalidations" => |_| 0,
        _ => return Err(internal()),
    };
    let wanted = Wanted::read(request)?;
    let series = metrics.fold(window, |sum: &mut u64, minute| {
        *sum += wanted.of(minute).map(count).sum::<u64>();
    });
    Ok(rate_json(window, &series))
}

fn table_rate(metrics: &Metrics, window: &Window, request: &Request) -> Result<Json, ApiError> {
    let name = field(request, "name")?;
    let rows: fn(&(u64, u64)) -> u64 = match field(request, "metric")? {
        "rowsRead" => |(read, _)| *read,
        "rowsWritten" => |(_, written)| *written,
        _ => return Err(internal()),
    };
    let series = metrics.fold(window, |sum: &mut u64, minute| {
        *sum += minute.tables.get(name).map_or(0, rows);
    });
    Ok(rate_json(window, &series))
}

/// Functions with an error within the last hour by name, all others together.
fn failure_percentage(metrics: &Metrics, window: &Window, k: usize) -> Json {
    let failed = |(key, counts): (&FunctionKey, &Counts)| (counts.errors > 0).then(|| key.clone());
    let share = |counts: &Counts| Share { part: counts.errors, whole: counts.invocations };
    // 0/0 is not a number, and sorts before every number.
    let rank = |share: &Share| share.percent().unwrap_or(f64::INFINITY);
    let named = top(metrics, window, k, failed, share, rank);
    shares_json(metrics, window, &named, |_| true, share)
}

/// Queries by name, the worst hit rates first.
fn cache_hits(metrics: &Metrics, window: &Window, k: usize) -> Json {
    let query =
        |(key, _): (&FunctionKey, &Counts)| (key.udf_type == UdfType::Query).then(|| key.clone());
    let rank = |share: &Share| share.percent().map_or(f64::INFINITY, |percent| -percent);
    let named = top(metrics, window, k, query, hits, rank);
    shares_json(metrics, window, &named, |key| key.udf_type == UdfType::Query, hits)
}

fn call_count(metrics: &Metrics, window: &Window, k: usize) -> Json {
    let any = |(key, _): (&FunctionKey, &Counts)| Some(key.clone());
    let share = |counts: &Counts| Share { part: counts.invocations, whole: 0 };
    #[expect(clippy::cast_precision_loss, reason = "counts of an hour fit")]
    let rank = |share: &Share| share.part as f64;
    let named = top(metrics, window, k, any, share, rank);
    let series = |wanted: &dyn Fn(&FunctionKey) -> bool| {
        let counts = metrics.fold(window, |sum: &mut u64, minute| {
            let of_minute = minute.functions.iter().filter(|(key, _)| wanted(key));
            *sum += of_minute.map(|(_, counts)| counts.invocations).sum::<u64>();
        });
        counts_json(window, &counts)
    };
    with_rest(&named, &series, |_| true)
}

fn latency(metrics: &Metrics, window: &Window, request: &Request) -> Result<Json, ApiError> {
    let wanted = Wanted::read(request)?;
    let percentiles: Vec<u8> =
        serde_json::from_str(field(request, "percentiles")?).map_err(|_| internal())?;
    let percentiles: BTreeSet<u8> = percentiles.into_iter().collect();
    if percentiles.len() > PERCENTILES_MAX || percentiles.iter().any(|p| *p > 100) {
        return Err(internal());
    }
    let series = metrics.fold(window, |sum: &mut Histogram, minute| {
        wanted.of(minute).for_each(|counts| {
            // A single histogram keeps its own total; only a merge forgets what ran over.
            if *sum == Histogram::default() {
                sum.clone_from(&counts.latency);
            } else {
                sum.merge(&counts.latency);
            }
        });
    });
    let row = |percentile: &u8| {
        let at = |histogram: &Histogram| Some(histogram.percentile(*percentile));
        json!([percentile, series_json(window, &series, at)])
    };
    Ok(percentiles.iter().map(row).collect())
}

/// Running and waiting functions, by environment and type; the most of each minute.
fn concurrency(metrics: &Metrics, window: &Window) -> Json {
    let mut body = BTreeMap::new();
    for kind in [UdfType::Query, UdfType::Mutation, UdfType::Action, UdfType::HttpAction] {
        let running = metrics.fold(window, |most: &mut f64, minute: &Minute| {
            let ran = minute.functions.iter().any(|(key, _)| key.udf_type == kind);
            *most = most.max(f64::from(u8::from(ran)));
        });
        let queued = metrics.fold(window, |most: &mut f64, _| *most = metrics.gauges.queued);
        for environment in ["isolate", "node"] {
            let is_isolate = environment == "isolate";
            for (state, series) in [("running", &running), ("queued", &queued)] {
                let key = format!("outstanding_functions:{environment}:{}:{state}", kind.as_str());
                let value = |most: &f64| Some(if is_isolate { *most } else { 0.0 });
                body.insert(key, series_json(window, series, value));
            }
        }
    }
    json!(body)
}

/// Which function a request asks about.
struct Wanted {
    path: String,
    udf_type: Option<UdfType>,
    component: Option<String>,
}

impl Wanted {
    fn read(request: &Request) -> Result<Self, ApiError> {
        let udf_type = match request.query.get("udfType").map(|text| text.to_ascii_lowercase()) {
            None => None,
            Some(text) => Some(match text.as_str() {
                "query" => UdfType::Query,
                "mutation" => UdfType::Mutation,
                "action" => UdfType::Action,
                "httpaction" => UdfType::HttpAction,
                _ => return Err(internal()),
            }),
        };
        let path = match request.query.get("path") {
            Some(path) => path,
            None => field(request, "udfPath")?,
        };
        let is_route = udf_type == Some(UdfType::HttpAction) || path.contains(' ');
        let path = if is_route { path.to_owned() } else { canonical_path(path) };
        let component = request.query.get("componentPath").filter(|path| !path.is_empty());
        Ok(Self { path, udf_type, component: component.cloned() })
    }

    fn of<'a>(&'a self, minute: &'a Minute) -> impl Iterator<Item = &'a Counts> {
        let matches = |key: &FunctionKey| {
            key.path == self.path
                && key.component == self.component
                && self.udf_type.is_none_or(|udf_type| key.udf_type == udf_type)
        };
        minute.functions.iter().filter(move |(key, _)| matches(key)).map(|(_, counts)| counts)
    }
}

fn hits(counts: &Counts) -> Share {
    Share { part: counts.cache_hits, whole: counts.cache_hits + counts.cache_misses }
}

/// The first `k` candidates by their rank over the whole window, greatest first.
fn top<'a>(
    metrics: &'a Metrics,
    window: &Window,
    k: usize,
    candidate: impl FnMut((&'a FunctionKey, &'a Counts)) -> Option<FunctionKey>,
    share: impl Fn(&Counts) -> Share,
    rank: impl Fn(&Share) -> f64,
) -> Vec<FunctionKey> {
    let candidates: BTreeSet<FunctionKey> = metrics.functions().filter_map(candidate).collect();
    let whole = Window { buckets: 1, ..*window };
    let mut ranked: Vec<(f64, FunctionKey)> = candidates
        .into_iter()
        .map(|key| {
            let sums = metrics.fold(&whole, |sum: &mut Share, minute| {
                minute.functions.get(&key).into_iter().for_each(|counts| sum.add(share(counts)));
            });
            let sum = sums.into_iter().flatten().next().unwrap_or_default();
            (rank(&sum), key)
        })
        .collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranked.into_iter().take(k).map(|(_, key)| key).collect()
}

fn shares_json(
    metrics: &Metrics,
    window: &Window,
    named: &[FunctionKey],
    counts_at_all: impl Fn(&FunctionKey) -> bool,
    share: impl Fn(&Counts) -> Share,
) -> Json {
    let series = |wanted: &dyn Fn(&FunctionKey) -> bool| {
        let shares = metrics.fold(window, |sum: &mut Share, minute| {
            let of_minute = minute.functions.iter().filter(|(key, _)| wanted(key));
            of_minute.for_each(|(_, counts)| sum.add(share(counts)));
        });
        percent_json(window, &shares)
    };
    with_rest(named, &series, counts_at_all)
}

fn field<'a>(request: &'a Request, name: &str) -> Result<&'a str, ApiError> {
    let missing = || ApiError::new(400, "BadQueryArgs", format!("missing field `{name}`"));
    request.query.get(name).map(String::as_str).ok_or_else(missing)
}

fn read_window(text: &str) -> Result<Window, ApiError> {
    let text: WindowText = serde_json::from_str(text).map_err(|_| internal())?;
    let time = |time: &TimeText| {
        let is_time = (0..NANOS_PER_SECOND).contains(&time.nanos_since_epoch);
        let at = Timestamp::new(time.secs_since_epoch, time.nanos_since_epoch).ok();
        at.filter(|_| is_time).ok_or_else(internal)
    };
    let (start, end) = (time(&text.start)?, time(&text.end)?);
    let is_fine = end > start && (1..=BUCKETS_MAX).contains(&text.num_buckets);
    is_fine.then_some(Window { start, end, buckets: text.num_buckets }).ok_or_else(internal)
}

fn read_k(request: &Request) -> Result<usize, ApiError> {
    let Some(k) = request.query.get("k") else { return Ok(K_DEFAULT) };
    let bad = || ApiError::new(400, "BadQueryArgs", "`k` is not a number");
    let k: i64 = k.parse().map_err(|_| bad())?;
    let is_fine = (1..=K_MAX).contains(&k);
    usize::try_from(k).ok().filter(|_| is_fine).ok_or_else(|| {
        ApiError::new(400, "InvalidTopKParameter", format!("k must be between 1 and {K_MAX}"))
    })
}

/// What a malformed parameter is answered with.
fn internal() -> ApiError {
    let message = "Your request couldn't be completed. Try again later.";
    ApiError::new(500, "InternalServerError", message)
}

const NANOS_PER_SECOND: i32 = 1_000_000_000;
const BUCKETS_MAX: u32 = 10_000;
const PERCENTILES_MAX: usize = 5;
const K_DEFAULT: usize = 5;
const K_MAX: i64 = 25;
