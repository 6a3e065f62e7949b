//! Owns where a health source's numbers come from, and what one answer stands on, as plain data.
//!
//! The core knows of each kind only what judging needs: whether it can be asked about the past, and which range of time it
//! is asked about. Whatever the kind, its answer is one JSON document, and criteria point into it (RFC 6901).

use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

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
/// The document: `{"calls", "errors", "errorRate", "p50", "p95", "p99", "functions": {name: …}, "callers": {name: …}}`, rates in
/// percent, latencies in milliseconds, the last two levels with the same fields.
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
