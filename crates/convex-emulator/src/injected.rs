//! Executions that a test adds by hand, as `POST /_emulator/executions` takes them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::completion::{Caller, Completion, EntryKind, LogLine, UdfType};
use crate::stamps::hash;

/// Executions that are alike.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct InjectedExecutions {
    /// How many.
    pub times: u32,
    /// Finished, or the progress of an action.
    pub kind: EntryKind,
    /// `module:function`, or `METHOD /path`.
    pub function: String,
    /// What kind of function.
    #[serde(rename = "type")]
    pub udf_type: UdfType,
    /// The component; none is the app itself.
    pub component: Option<String>,
    /// Who called.
    pub caller: Caller,
    /// How long ago it finished, in milliseconds. It is logged now in any case.
    pub ago_ms: f64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Whether the result was cached.
    pub cached: bool,
    /// Why it failed; none is success.
    pub error: Option<String>,
    /// The status that an HTTP action answered.
    pub http_status: Option<u16>,
    /// Whether the server tries it again.
    pub will_retry: bool,
    /// The id of the request; made up when left out.
    pub request_id: Option<String>,
    /// Lines that it logged, without their level.
    pub log_lines: Vec<String>,
}

impl Default for InjectedExecutions {
    fn default() -> Self {
        Self {
            times: 1,
            kind: EntryKind::Completion,
            function: "messages:send".to_owned(),
            udf_type: UdfType::Mutation,
            component: None,
            caller: Caller::SyncWorker,
            ago_ms: 0.0,
            took_ms: 20.0,
            cached: false,
            error: None,
            http_status: None,
            will_retry: false,
            request_id: None,
            log_lines: Vec::new(),
        }
    }
}

impl InjectedExecutions {
    /// The entries to log at `now`; `count` is how many were logged before, and tells their ids
    /// apart.
    #[must_use]
    pub fn completions(&self, now: Timestamp, count: u64) -> Vec<Completion> {
        let span = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
        let (took, ago) = (span(self.took_ms), span(self.ago_ms));
        let finished_at = now.checked_sub(ago).unwrap_or(now);
        let entry = |number: u64| Completion {
            kind: self.kind,
            udf_type: self.udf_type,
            identifier: self.function.clone(),
            component_path: self.component.clone(),
            finished_at,
            executed_at: finished_at.checked_sub(took).unwrap_or(finished_at),
            took,
            cached: self.cached,
            error: self.error.clone(),
            http_status: self.http_status,
            will_retry: self.will_retry,
            caller: self.caller,
            identity: "unknown",
            request_id: self.request_id.clone().unwrap_or_else(|| id(number, "request")),
            execution_id: id(number, "injected"),
            parent_execution_id: None,
            log_lines: self.log_lines.iter().map(|text| line(text)).collect(),
            documents: (1, u64::from(self.udf_type == UdfType::Mutation)),
        };
        (0..u64::from(self.times)).map(|number| entry(count + number)).collect()
    }
}

fn line(text: &str) -> LogLine {
    LogLine { level: "LOG".to_owned(), text: format!("'{text}'") }
}

fn id(number: u64, what: &str) -> String {
    format!("{:016x}", hash(number, what))
}
