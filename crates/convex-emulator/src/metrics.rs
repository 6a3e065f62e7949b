//! The server's own metrics: one bucket a minute, the last sixty, in memory only.
//!
//! Buckets start at the start of the process and every 60 seconds after it, not at wall-clock
//! minutes. A bucket goes whole into the output bucket that holds its start. Past the newest bucket
//! in which anything ran the store knows nothing, which is not the same as zero.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::completion::{Completion, EntryKind, UdfType};
use crate::histogram::Histogram;

/// The metrics of one life of the server.
#[derive(Debug, Clone)]
pub struct Metrics {
    started_at: Timestamp,
    /// Ascending by minute; a minute in which nothing ran has no entry.
    minutes: VecDeque<(i64, Minute)>,
    /// What the gauges show.
    pub gauges: Gauges,
}

/// Values that are not counted from executions but set from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gauges {
    /// How far scheduled jobs are behind, in seconds.
    pub scheduled_job_lag: f64,
    /// How many functions wait for a place to run.
    pub queued: f64,
}

/// What ran in one minute.
#[derive(Debug, Clone, Default)]
pub struct Minute {
    /// By function.
    pub functions: BTreeMap<FunctionKey, Counts>,
    /// Rows read and written, by table.
    pub tables: BTreeMap<String, (u64, u64)>,
}

/// A function as the metrics name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionKey {
    /// The component; `None` is the app itself.
    pub component: Option<String>,
    /// `dir/module.js:function`, or `METHOD /path`.
    pub path: String,
    /// What kind of function.
    pub udf_type: UdfType,
}

/// What is counted of one function.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Finished executions.
    pub invocations: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Queries answered from the cache.
    pub cache_hits: u64,
    /// Queries that had to run.
    pub cache_misses: u64,
    /// How long they took.
    pub latency: Histogram,
}

/// A range of time, cut into output buckets.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Its start.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// In how many output buckets; above 0.
    pub buckets: u32,
}

impl Window {
    /// How long one output bucket is.
    #[must_use]
    pub fn width(&self) -> SignedDuration {
        let buckets = i32::try_from(self.buckets).unwrap_or(i32::MAX).max(1);
        self.end.duration_since(self.start) / buckets
    }

    /// Where an output bucket starts.
    #[must_use]
    pub fn bucket_start(&self, bucket: usize) -> Timestamp {
        let bucket = i32::try_from(bucket).unwrap_or(i32::MAX);
        self.start.checked_add(self.width() * bucket).unwrap_or(self.end)
    }

    fn bucket_of(&self, at: Timestamp) -> Option<usize> {
        if at < self.start || at >= self.end {
            return None;
        }
        let bucket = at.duration_since(self.start).as_nanos() / self.width().as_nanos().max(1);
        usize::try_from(bucket).ok().filter(|bucket| *bucket < self.buckets as usize)
    }
}

impl FunctionKey {
    /// The function of an execution.
    #[must_use]
    pub fn of(completion: &Completion) -> Self {
        let path = match completion.udf_type {
            UdfType::HttpAction => completion.identifier.clone(),
            UdfType::Query | UdfType::Mutation | UdfType::Action => {
                canonical_path(&completion.identifier)
            }
        };
        Self { component: completion.component_path.clone(), path, udf_type: completion.udf_type }
    }

    /// The key in answers: with its component, and of an HTTP action the path alone.
    #[must_use]
    pub fn shown(&self) -> String {
        let path = match self.udf_type {
            UdfType::HttpAction => self.path.split_once(' ').map_or(&*self.path, |(_, path)| path),
            UdfType::Query | UdfType::Mutation | UdfType::Action => &self.path,
        };
        match &self.component {
            Some(component) => format!("{component}/{path}"),
            None => path.to_owned(),
        }
    }
}

impl Metrics {
    /// Starts to count at `now`.
    #[must_use]
    pub fn start(now: Timestamp) -> Self {
        Self { started_at: now, minutes: VecDeque::new(), gauges: Gauges::default() }
    }

    /// Counts an execution that was logged at `now`.
    pub fn record(&mut self, now: Timestamp, completion: &Completion) {
        if completion.kind == EntryKind::Progress || now < self.started_at {
            return;
        }
        let minute = self.minute_at(now);
        let counts = minute.functions.entry(FunctionKey::of(completion)).or_default();
        counts.invocations += 1;
        counts.errors += u64::from(completion.error.is_some());
        if completion.udf_type == UdfType::Query {
            counts.cache_hits += u64::from(completion.cached);
            counts.cache_misses += u64::from(!completion.cached);
        }
        counts.latency.record(u64::try_from(completion.took.as_millis()).unwrap_or(u64::MAX));
        if let Some((module, _)) = completion.identifier.split_once(':') {
            let (read, written) = minute.tables.entry(module.to_owned()).or_default();
            *read += completion.documents.0;
            *written += completion.documents.1;
        }
    }

    /// Adds up the minutes of each output bucket; `None` is a bucket of which nothing is known.
    pub fn fold<A: Default>(
        &self,
        window: &Window,
        mut add: impl FnMut(&mut A, &Minute),
    ) -> Vec<Option<A>> {
        let mut sums: Vec<Option<A>> = (0..window.buckets).map(|_| None).collect();
        let Some((newest, _)) = self.minutes.back() else { return sums };
        let empty = Minute::default();
        for index in (newest - MINUTES_MAX + 1).max(0)..=*newest {
            let at = self.started_at + MINUTE * i32::try_from(index).unwrap_or(i32::MAX);
            let Some(bucket) = window.bucket_of(at) else { continue };
            let place = self.minutes.partition_point(|(minute, _)| *minute < index);
            let minute = self.minutes.get(place).filter(|(minute, _)| *minute == index);
            let sum = sums[bucket].get_or_insert_default();
            add(sum, minute.map_or(&empty, |(_, minute)| minute));
        }
        sums
    }

    /// The functions that ran within the last hour.
    pub fn functions(&self) -> impl Iterator<Item = (&FunctionKey, &Counts)> {
        self.minutes.iter().flat_map(|(_, minute)| &minute.functions)
    }

    fn minute_at(&mut self, at: Timestamp) -> &mut Minute {
        let index = at.duration_since(self.started_at).as_secs() / MINUTE.as_secs();
        let newest = self.minutes.back().map_or(index, |(newest, _)| index.max(*newest));
        while self.minutes.front().is_some_and(|(oldest, _)| *oldest <= newest - MINUTES_MAX) {
            self.minutes.pop_front();
        }
        let place = self.minutes.partition_point(|(minute, _)| *minute < index);
        if self.minutes.get(place).is_none_or(|(minute, _)| *minute != index) {
            self.minutes.insert(place, (index, Minute::default()));
        }
        &mut self.minutes[place].1
    }
}

/// Turns `dir/module:function` and `dir/module` into the name with `.js` and function.
#[must_use]
pub fn canonical_path(path: &str) -> String {
    let (module, function) = path.split_once(':').unwrap_or((path, "default"));
    let module = module.strip_suffix(".js").unwrap_or(module);
    format!("{module}.js:{function}")
}

const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// How many one-minute buckets a server keeps.
const MINUTES_MAX: i64 = 60;
