//! The app's own traffic: executions that nobody sends, generated for the time that is asked about.
//!
//! Each function has a grid of moments that depends on the scenario alone. Which of them really
//! happen, how long they take and how they end is drawn from the scenario's seed, the function and
//! the moment's number, so two runs of one scenario see the same calls, whoever looks and when.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::completion::{Caller, Completion, EntryKind, UdfType};
use crate::health::Progress;
use crate::stamps::hash;

/// The calls of one function.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// `module:function`, or `METHOD /path` of an HTTP action.
    pub function: String,
    /// What kind of function.
    pub udf_type: UdfType,
    /// Who calls.
    pub caller: Caller,
    /// How much, and how well it goes.
    pub load: Load,
}

/// How often a function is called and how it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Calls in a minute of emulator time.
    pub per_minute: f64,
    /// How many of 100 calls fail.
    pub error_percent: f64,
    /// The message of a failed call.
    pub message: String,
    /// How long calls take.
    pub latency: Latency,
    /// The share of calls answered from the cache, 0 to 1.
    pub cached: f64,
}

/// A distribution by three of its quantiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Half of the calls take at most this.
    pub p50: f64,
    /// 95 % of the calls take at most this.
    pub p95: f64,
    /// 99 % of the calls take at most this.
    pub p99: f64,
}

/// What a change does to a function's traffic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficChange {
    /// The function.
    pub function: String,
    /// See [`Load`].
    pub per_minute: Option<f64>,
    /// See [`Load`].
    pub error_percent: Option<f64>,
    /// See [`Load`].
    pub message: Option<String>,
    /// See [`Load`].
    pub latency: Option<Latency>,
    /// See [`Load`].
    pub cached: Option<f64>,
}

impl Load {
    /// The load under a change.
    pub fn apply(&mut self, change: &TrafficChange) {
        self.per_minute = change.per_minute.unwrap_or(self.per_minute);
        self.error_percent = change.error_percent.unwrap_or(self.error_percent);
        self.latency = change.latency.unwrap_or(self.latency);
        self.cached = change.cached.unwrap_or(self.cached);
        if let Some(message) = &change.message {
            self.message.clone_from(message);
        }
    }
}

impl Latency {
    /// The latency of a call whose rank among all calls is `rank`, 0 to 1.
    fn at(&self, rank: f64) -> Duration {
        let stretch = |from: f64, to: f64, low: f64, high: f64| {
            low + (high - low) * ((rank - from) / (to - from))
        };
        let milliseconds = if rank < 0.50 {
            stretch(0.0, 0.50, self.p50 * 0.5, self.p50)
        } else if rank < 0.95 {
            stretch(0.50, 0.95, self.p50, self.p95)
        } else if rank < 0.99 {
            stretch(0.95, 0.99, self.p95, self.p99)
        } else {
            stretch(0.99, 1.0, self.p99, self.p99 * 1.25)
        };
        Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()
    }
}

/// The calls of all functions after `from` up to and including `to`, in order of their time.
#[must_use]
pub fn between(progress: &Progress, from: Timestamp, to: Timestamp) -> Vec<Completion> {
    let mut calls = Vec::new();
    for (index, traffic) in progress.scenario().traffic.iter().enumerate() {
        let Some(grid) = Grid::of(progress, index) else { continue };
        let mut number = grid.first_after(from);
        loop {
            let at = grid.moment(number);
            if at > to {
                break;
            }
            let load = progress.load(traffic, at);
            if grid.draw(number, "call") * grid.per_minute < load.per_minute {
                calls.push(call(traffic, &load, &grid, number, at));
            }
            number += 1;
        }
    }
    // Stable: calls of the same moment stay in the order of the scenario.
    calls.sort_by_key(|call| call.finished_at);
    calls
}

/// When the next call may happen after `now`.
#[must_use]
pub fn next_after(progress: &Progress, now: Timestamp) -> Option<Timestamp> {
    let grids = (0..progress.scenario().traffic.len()).filter_map(|i| Grid::of(progress, i));
    grids.map(|grid| grid.moment(grid.first_after(now))).min()
}

/// The moments at which one function may be called: one somewhere in each gap.
struct Grid {
    started_at: Timestamp,
    gap_micros: f64,
    /// The most calls in a minute, of all that the scenario can lead to.
    per_minute: f64,
    /// Where the draws of this function begin.
    seed: u64,
}

impl Grid {
    fn of(progress: &Progress, index: usize) -> Option<Self> {
        let scenario = progress.scenario();
        let traffic = &scenario.traffic[index];
        let changes = scenario.changes.iter().flat_map(|change| &change.traffic);
        let per_minute = changes
            .filter(|change| change.function == traffic.function)
            .filter_map(|change| change.per_minute)
            .fold(traffic.load.per_minute, f64::max);
        (per_minute > 0.0).then(|| Self {
            started_at: progress.started_at(),
            gap_micros: MINUTE_MICROS / per_minute,
            per_minute,
            seed: hash(scenario.seed, &format!("{index} {}", traffic.function)),
        })
    }

    fn moment(&self, number: u64) -> Timestamp {
        #[expect(clippy::cast_precision_loss, reason = "fewer calls than 53 bits count")]
        let micros = (number as f64 + self.draw(number, "moment")) * self.gap_micros;
        #[expect(clippy::cast_possible_truncation, reason = "stays far below 63 bits")]
        let span = SignedDuration::from_micros(micros as i64);
        self.started_at.checked_add(span).unwrap_or(Timestamp::MAX)
    }

    fn first_after(&self, from: Timestamp) -> u64 {
        let elapsed = from.duration_since(self.started_at).as_secs_f64() * 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts gaps since the start, and none before it"
        )]
        let mut number = (elapsed / self.gap_micros).max(1.0) as u64 - 1;
        while self.moment(number) <= from {
            number += 1;
        }
        number
    }

    /// A number in [0, 1) that belongs to this call alone.
    fn draw(&self, number: u64, what: &str) -> f64 {
        let draw = hash(number.wrapping_add(self.seed), what);
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let unit = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    fn id(&self, number: u64, what: &str) -> String {
        format!("{:016x}", hash(number.wrapping_add(self.seed), what))
    }
}

fn call(traffic: &Traffic, load: &Load, grid: &Grid, number: u64, at: Timestamp) -> Completion {
    let fails = grid.draw(number, "end") * 100.0 < load.error_percent;
    let cached = !fails && grid.draw(number, "cache") < load.cached;
    let took = if cached { Duration::ZERO } else { load.latency.at(grid.draw(number, "latency")) };
    let age = if cached { CACHED_AGE } else { took };
    let writes = traffic.udf_type == UdfType::Mutation && !fails;
    Completion {
        kind: EntryKind::Completion,
        udf_type: traffic.udf_type,
        identifier: traffic.function.clone(),
        component_path: None,
        finished_at: at,
        executed_at: at.checked_sub(age).unwrap_or(at),
        took,
        cached,
        error: fails.then(|| format!("Uncaught Error: {}", load.message)),
        http_status: (traffic.udf_type == UdfType::HttpAction && !fails).then_some(200),
        will_retry: false,
        caller: traffic.caller,
        identity: if traffic.caller == Caller::SyncWorker { "user" } else { "system" },
        request_id: grid.id(number, "request"),
        execution_id: grid.id(number, "execution"),
        parent_execution_id: None,
        log_lines: Vec::new(),
        documents: (1, u64::from(writes)),
    }
}

const MINUTE_MICROS: f64 = 60e6;
/// How old a cached result is.
const CACHED_AGE: Duration = Duration::from_secs(30);
