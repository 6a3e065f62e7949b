//! Owns where a health source's numbers come from, and what one answer stands on, as plain data.
//!
//! The core knows of each kind only what judging needs: whether it can be asked about the past, and which range of time it
//! is asked about. Whatever the kind, its answer is one JSON document, and criteria point into it (RFC 6901).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use crate::criterion::Unit;
use crate::measurement::FunctionCall;

/// A health source as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A function of the app on the deployment. The document is its result.
    Function(FunctionCall),
    /// The deployment's stream of finished executions: exact rates and latencies, no code of the app needed.
    Executions(Calls),
    /// The deployment's own one-minute metrics of the last hour.
    AppMetrics(Calls),
    /// A JSON document from a web server in the daemon's configuration.
    Http(HttpGet),
    /// A query of a Prometheus server in the daemon's configuration. The document is one number.
    Prometheus(PromQuery),
}

/// Executions of functions over a stretch of time.
///
/// The document has one field for each [`CallFigure`] that the source tells, and the levels `functions` and `callers`
/// (executions only), each an object of names with the figures of that function or caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Which functions, as `dir/module:function` or `METHOD /path`; empty = all.
    pub functions: Vec<String>,
    /// Which callers (`SyncWorker`, `HttpApi`, `Cron` …); empty = all. Only the stream knows them.
    pub callers: Vec<String>,
    /// How long before the moment that is asked about a call counts.
    pub over: SignedDuration,
    /// With fewer calls than this the rates and latencies show nothing.
    pub calls_min: u32,
}

/// A figure of the documents that sources of calls tell: its name and unit are what the adapter writes and what a plan may
/// point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallFigure {
    /// How many calls.
    Calls,
    /// How many of them failed.
    Errors,
    /// Share of them that failed.
    ErrorRate,
    /// The latency that half of the calls do not exceed.
    P50,
    /// The latency that 95 of 100 calls do not exceed.
    P95,
    /// The latency that 99 of 100 calls do not exceed.
    P99,
    /// Functions that waited for their turn.
    Queued,
    /// How far scheduled functions are behind.
    ScheduledJobLag,
    /// Share of the calls that were answered from the cache.
    CacheHitPercentage,
}

/// What a [`CallFigure`] is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureOf {
    /// Of all calls that are asked about, of each function and of each caller.
    Calls,
    /// Of the functions that the source names, together; by the deployment's metrics only.
    NamedFunctions,
    /// Of the deployment as a whole; by its metrics only.
    Deployment,
}

/// One `GET` of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    /// Name of the endpoint in the daemon's configuration.
    pub endpoint: String,
    /// Path and query below the endpoint's URL: `/health?full=1`. `$from` and `$to` in it become milliseconds since 1970.
    pub path: String,
}

/// One query of a Prometheus server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromQuery {
    /// Name of the endpoint in the daemon's configuration.
    pub endpoint: String,
    /// PromQL that gives one series.
    pub query: String,
    /// `None` = an instant query at the moment that is asked about.
    pub range: Option<PromRange>,
}

/// A range query and how its values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromRange {
    /// How far back from the moment that is asked about.
    pub over: SignedDuration,
    /// Distance of the values.
    pub step: SignedDuration,
    /// Which one counts.
    pub reduce: Reduce,
}

/// How several values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// The greatest.
    Max,
    /// The smallest.
    Min,
    /// Their mean.
    Mean,
    /// The latest.
    Last,
}

/// The range of time that one asking of a source is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its start. No call from before it counts, however far back the source looks: another value of the flags was in force.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Whether its end is the present.
    pub end: SpanEnd,
}

/// Whether a range of time ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanEnd {
    /// Now, to the source's best knowledge.
    Now,
    /// Earlier: a source that cannot tell of the past must say so.
    Past,
}

/// What one answer of a source stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// Start of the time that it speaks for.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// How many calls it counts, where the source knows.
    pub samples: Option<u64>,
    /// Whether all of them were seen.
    pub extent: Extent,
}

/// Whether a source saw everything that it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// A part: rates are those of a sample, counts are unknown.
    Part,
}

impl Source {
    /// True when the source can be asked about a range of time that is over, both its ends given.
    ///
    /// The stream and the deployment's metrics forget too soon for that: what they still know of the last hour says nothing
    /// about a night.
    pub fn answers_for_a_range(&self) -> bool {
        match self {
            Self::Function(call) => call.answers_for_a_range(),
            Self::Http(get) => get.answers_for_a_range(),
            Self::Prometheus(_) => true,
            Self::Executions(_) | Self::AppMetrics(_) => false,
        }
    }

    /// True when the question names a time, be it only how far back to look.
    pub(crate) fn asks_about_a_time(&self) -> bool {
        match self {
            Self::Function(_) | Self::Http(_) => self.answers_for_a_range(),
            Self::Executions(_) | Self::AppMetrics(_) | Self::Prometheus(_) => true,
        }
    }

    /// The source as it is asked about one range of time.
    pub(crate) fn about(&self, from: Timestamp, to: Timestamp) -> Self {
        match self {
            Self::Function(call) => Self::Function(call.about(from, to)),
            Self::Executions(_) | Self::AppMetrics(_) | Self::Http(_) | Self::Prometheus(_) => {
                self.clone()
            }
        }
    }

    /// Executions over a stretch of time, where the source counts them.
    pub fn calls(&self) -> Option<&Calls> {
        match self {
            Self::Executions(calls) | Self::AppMetrics(calls) => Some(calls),
            Self::Function(_) | Self::Http(_) | Self::Prometheus(_) => None,
        }
    }

    /// The endpoint of the daemon's configuration that the source needs.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Http(HttpGet { endpoint, .. }) | Self::Prometheus(PromQuery { endpoint, .. }) => {
                Some(endpoint)
            }
            Self::Function(_) | Self::Executions(_) | Self::AppMetrics(_) => None,
        }
    }

    /// How a person makes time that nobody watched be filled in, where this source cannot be asked about the past.
    pub(crate) fn way_to_backfill(&self) -> String {
        let way = match self {
            Self::Function(_) => {
                "give its function the time it is asked about: `args = { from = \"$from\", to = \"$to\" }`"
            }
            Self::Http(_) => {
                "put the time it is asked about into its path: `/health?from=$from&to=$to`"
            }
            Self::Executions(_) => {
                "executions are forgotten too soon for that; judge by a source that remembers, such as `prometheus`"
            }
            Self::AppMetrics(_) => {
                "the deployment's metrics are forgotten too soon for that; judge by a source that remembers, such as `prometheus`"
            }
            Self::Prometheus(_) => "a query can be asked about the past",
        };
        format!("{way}, or use `missed = \"extend\"`")
    }
}

impl Calls {
    /// Every caller that a deployment's stream tells of (wire contract, section 7.2).
    pub const CALLERS: [&'static str; 7] =
        ["SyncWorker", "HttpApi", "Scheduler", "Cron", "Action", "HttpEndpoint", "Tester"];
    /// Least time that the deployment's metrics are looked back over: of two whole minutes one is told, the last is still
    /// filling.
    pub const METRICS_OVER_MIN: SignedDuration = SignedDuration::from_mins(2);

    /// One spelling for every function: without `.js` after its module and without `:default`. HTTP actions (`GET /x`) stay.
    pub fn function_name(name: &str) -> String {
        let name = name.strip_suffix(":default").unwrap_or(name);
        match name.rsplit_once(':') {
            Some((module, function)) if !name.contains(' ') => {
                format!("{}:{function}", module.strip_suffix(".js").unwrap_or(module))
            }
            Some(_) => name.to_string(),
            None if name.contains(' ') => name.to_string(),
            None => name.strip_suffix(".js").unwrap_or(name).to_string(),
        }
    }
}

impl CallFigure {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Calls,
        Self::Errors,
        Self::ErrorRate,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Queued,
        Self::ScheduledJobLag,
        Self::CacheHitPercentage,
    ];

    /// The table: name in the document, unit, and what it is told of.
    const fn row(self) -> (&'static str, Unit, FigureOf) {
        match self {
            Self::Calls => ("calls", Unit::Count, FigureOf::Calls),
            Self::Errors => ("errors", Unit::Count, FigureOf::Calls),
            Self::ErrorRate => ("errorRate", Unit::Percent, FigureOf::Calls),
            Self::P50 => ("p50", Unit::Milliseconds, FigureOf::Calls),
            Self::P95 => ("p95", Unit::Milliseconds, FigureOf::Calls),
            Self::P99 => ("p99", Unit::Milliseconds, FigureOf::Calls),
            Self::Queued => ("queued", Unit::Count, FigureOf::Deployment),
            Self::ScheduledJobLag => ("scheduledJobLag", Unit::Seconds, FigureOf::Deployment),
            Self::CacheHitPercentage => {
                ("cacheHitPercentage", Unit::Percent, FigureOf::NamedFunctions)
            }
        }
    }

    /// Its name in the document.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// What its numbers are told in.
    pub const fn unit(self) -> Unit {
        self.row().1
    }

    /// What it is told of.
    pub const fn of(self) -> FigureOf {
        self.row().2
    }

    /// True for a latency, which the deployment's metrics know of named functions only.
    pub fn is_latency(self) -> bool {
        self.unit() == Unit::Milliseconds
    }
}

impl PromRange {
    /// Most steps of a range: Prometheus refuses to tell 11,000 values or more of one series.
    pub const STEPS_MAX: i64 = 11_000;
}

impl Span {
    /// The present as one moment, for sources that tell of nothing else.
    pub fn at(now: Timestamp) -> Self {
        Self { from: now, to: now, end: SpanEnd::Now }
    }
}

impl From<FunctionCall> for Source {
    fn from(call: FunctionCall) -> Self {
        Self::Function(call)
    }
}

impl HttpGet {
    /// True when the path says which range of time is asked about: `$from` and `$to` are both in it, as whole names.
    pub fn answers_for_a_range(&self) -> bool {
        let names = |wanted: &str| {
            self.path.split('$').skip(1).any(|part| {
                let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                part[..end.unwrap_or(part.len())] == *wanted
            })
        };
        names("from") && names("to")
    }
}
