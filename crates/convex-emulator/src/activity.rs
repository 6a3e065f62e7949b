//! What ran on the deployment, whoever called: the log of executions and the metrics of one life of
//! the server, and the app's own traffic that goes into both.
//!
//! Traffic is generated when somebody looks or something changes, and only for as far back as the
//! metrics reach. Whoever changes what traffic depends on first lets it catch up.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::calls::{Call, Outcome};
use crate::completion::{Caller, Completion, EntryKind, LogLine, identity_type};
use crate::executions::ExecutionLog;
use crate::functions::FunctionKind;
use crate::health::Progress;
use crate::metrics::Metrics;
use crate::stamps::hash;
use crate::traffic;

/// Executions and metrics of a deployment.
#[derive(Debug, Clone)]
pub struct Activity {
    log: ExecutionLog,
    metrics: Metrics,
    /// Up to when the app's own traffic has happened.
    caught_up: Timestamp,
    noted: u64,
    restarts: u64,
}

impl Activity {
    /// Starts at `now` with nothing.
    #[must_use]
    pub fn start(now: Timestamp) -> Self {
        Self {
            log: ExecutionLog::default(),
            metrics: Metrics::start(now),
            caught_up: now,
            noted: 0,
            restarts: 0,
        }
    }

    /// Lets the app's own traffic happen up to `now`. While functions are refused for `refusal`,
    /// its calls fail with it, and jobs of the deployment itself do not start.
    pub fn catch_up(&mut self, progress: &Progress, refusal: Option<&str>, now: Timestamp) {
        if now <= self.caught_up || progress.scenario().traffic.is_empty() {
            return;
        }
        let from = self.caught_up.max(now.checked_sub(TRAFFIC_REACH).unwrap_or(now));
        for mut call in traffic::between(progress, from, now) {
            if let Some(refusal) = refusal {
                if matches!(call.caller, Caller::Scheduler | Caller::Cron) {
                    continue;
                }
                call.error = Some(refusal.to_owned());
                (call.cached, call.took, call.http_status) = (false, Duration::ZERO, None);
                call.executed_at = call.finished_at;
            }
            self.record(call.finished_at, call);
        }
        self.caught_up = now;
    }

    /// Adds an execution that is logged at `now`.
    pub fn record(&mut self, now: Timestamp, completion: Completion) {
        self.metrics.record(now, &completion);
        self.log.push(now, completion);
    }

    /// Notes that a function ran for a client.
    pub(crate) fn note(
        &mut self,
        now: Timestamp,
        call: &Call<'_>,
        kind: FunctionKind,
        outcome: &Outcome,
        log_lines: Vec<LogLine>,
    ) {
        self.noted += 1;
        let draw = hash(self.noted, "execution");
        let took = Duration::from_micros(TOOK_MICROS_MIN + draw % TOOK_MICROS_MIN);
        let completion = Completion {
            kind: EntryKind::Completion,
            udf_type: kind.into(),
            identifier: call.name.strip_suffix(":default").unwrap_or(call.name).to_owned(),
            component_path: None,
            finished_at: now.checked_add(took).unwrap_or(now),
            executed_at: now,
            took,
            cached: false,
            error: match outcome {
                Outcome::Value(_) => None,
                Outcome::Failed(text, _) => Some(text.clone()),
            },
            http_status: None,
            will_retry: false,
            caller: call.caller,
            identity: identity_type(call.identity),
            request_id: call.request_id.to_owned(),
            execution_id: format!("{draw:016x}"),
            parent_execution_id: None,
            log_lines,
            documents: (1, u64::from(kind == FunctionKind::Mutation)),
        };
        self.record(now, completion);
    }

    /// Restarts the server process: log and metrics are lost, and the cursors of the streams go on
    /// `cursor_back_ms` behind the clock.
    pub fn restart(&mut self, now: Timestamp, cursor_back_ms: f64) {
        self.log.restart(cursor_back_ms);
        self.metrics = Metrics::start(now);
        self.caught_up = self.caught_up.max(now);
        self.restarts += 1;
    }

    /// How often the server process was restarted.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Changes with everything that is logged and with every restart.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.log.pushed().wrapping_add(self.restarts)
    }

    /// The log of executions.
    #[must_use]
    pub fn log(&self) -> &ExecutionLog {
        &self.log
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The metrics, to set a gauge.
    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.metrics
    }
}

/// A function of the emulated app takes this long, or up to twice as long.
const TOOK_MICROS_MIN: u64 = 200;
/// Traffic from longer ago is in no metric any more: sixty minutes and the one that runs.
const TRAFFIC_REACH: SignedDuration = SignedDuration::from_mins(61);
