//! One finished execution of a function, and how the execution stream spells it.
//!
//! Owns the fields of an entry on the wire: times in seconds as floats, names without `.js` and
//! without `:default`. Keeps nothing and counts nothing; [`crate::executions`] does.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::Identity;
use crate::functions::FunctionKind;
use crate::stamps::to_millis;

/// What kind of function ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum UdfType {
    /// Reads.
    Query,
    /// Reads and writes.
    Mutation,
    /// Does anything.
    Action,
    /// Answers an HTTP request; its name is `METHOD /path`.
    HttpAction,
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Caller {
    /// A client's websocket.
    SyncWorker,
    /// An HTTP request to the API.
    HttpApi,
    /// The scheduler.
    Scheduler,
    /// A cron job.
    Cron,
    /// An action of the app.
    Action,
    /// An HTTP action's route.
    HttpEndpoint,
    /// The dashboard's function runner.
    Tester,
}

/// A line that a function logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `LOG`, `INFO`, `WARN`, `ERROR` or `DEBUG`.
    pub level: String,
    /// The text, formatted as `console.log` would.
    pub text: String,
}

/// How log lines are written: as texts, or as objects for the CLI and the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// `[LOG] 'text'`
    Text,
    /// With messages, level and time.
    Structured,
}

/// Whether an entry is a finished execution or the progress of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum EntryKind {
    /// Finished.
    Completion,
    /// Log lines of an action that still runs; in `stream_function_logs` only.
    Progress,
}

/// One execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Finished, or still running.
    pub kind: EntryKind,
    /// What kind of function.
    pub udf_type: UdfType,
    /// `dir/module:function`, or `METHOD /path`.
    pub identifier: String,
    /// The component it belongs to; `None` is the app itself.
    pub component_path: Option<String>,
    /// When it finished.
    pub finished_at: Timestamp,
    /// When it ran; long before, for a cached result.
    pub executed_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Whether the result was cached.
    pub cached: bool,
    /// Why it failed; `None` is success.
    pub error: Option<String>,
    /// The status that an HTTP action answered.
    pub http_status: Option<u16>,
    /// Whether the server tries it again.
    pub will_retry: bool,
    /// Who called.
    pub caller: Caller,
    /// As whom.
    pub identity: &'static str,
    /// The id of the request that led to it.
    pub request_id: String,
    /// Its own id.
    pub execution_id: String,
    /// The id of the execution that called it.
    pub parent_execution_id: Option<String>,
    /// What it logged.
    pub log_lines: Vec<LogLine>,
    /// Documents read and written.
    pub documents: (u64, u64),
}

impl UdfType {
    /// The kind as Convex spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::Mutation => "Mutation",
            Self::Action => "Action",
            Self::HttpAction => "HttpAction",
        }
    }
}

impl From<FunctionKind> for UdfType {
    fn from(kind: FunctionKind) -> Self {
        match kind {
            FunctionKind::Query => Self::Query,
            FunctionKind::Mutation => Self::Mutation,
            FunctionKind::Action => Self::Action,
        }
    }
}

impl Caller {
    /// The caller as Convex spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncWorker => "SyncWorker",
            Self::HttpApi => "HttpApi",
            Self::Scheduler => "Scheduler",
            Self::Cron => "Cron",
            Self::Action => "Action",
            Self::HttpEndpoint => "HttpEndpoint",
            Self::Tester => "Tester",
        }
    }
}

impl LogLine {
    /// The line as `logLines` of an answer shows it.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("[{}] {}", self.level, self.text)
    }

    fn to_json(&self, form: LogForm, at: Timestamp) -> Json {
        match form {
            LogForm::Text => Json::String(self.to_text()),
            LogForm::Structured => json!({
                "messages": [self.text],
                "isTruncated": false,
                "timestamp": at.as_millisecond(),
                "level": self.level,
            }),
        }
    }
}

impl Completion {
    /// The entry as the streams show it.
    #[must_use]
    pub fn to_json(&self, form: LogForm) -> Json {
        let lines: Json =
            self.log_lines.iter().map(|line| line.to_json(form, self.executed_at)).collect();
        if self.kind == EntryKind::Progress {
            return json!({
                "kind": "Progress",
                "udfType": self.udf_type.as_str(),
                "componentPath": self.component_path,
                "identifier": self.identifier,
                "timestamp": to_seconds(self.finished_at),
                "logLines": lines,
                "requestId": self.request_id,
                "executionId": self.execution_id,
            });
        }
        let success = self
            .http_status
            .filter(|_| self.error.is_none())
            .map(|status| json!({ "status": status.to_string() }));
        let user_time = (!self.cached).then_some(self.took.as_secs_f64());
        json!({
            "kind": "Completion",
            "udfType": self.udf_type.as_str(),
            "componentPath": self.component_path,
            "identifier": self.identifier,
            "logLines": lines,
            "timestamp": to_seconds(self.finished_at),
            "executionTimestamp": to_seconds(self.executed_at),
            "executionTime": self.took.as_secs_f64(),
            "userExecutionTime": user_time,
            "cachedResult": self.cached,
            "success": success,
            "error": self.error,
            "willRetry": self.will_retry,
            "occInfo": null,
            "caller": self.caller.as_str(),
            "environment": "isolate",
            "identityType": self.identity,
            "requestId": self.request_id,
            "executionId": self.execution_id,
            "parentExecutionId": self.parent_execution_id,
            "returnBytes": if self.error.is_none() { json!(RETURN_BYTES) } else { Json::Null },
            "usageStats": self.usage(),
        })
    }

    fn usage(&self) -> Json {
        let (read, written) = self.documents;
        json!({
            "databaseReadBytes": read * DOCUMENT_BYTES,
            "databaseWriteBytes": written * DOCUMENT_BYTES,
            "databaseIoReadBytes": read * DOCUMENT_BYTES,
            "databaseIoWriteBytes": written * DOCUMENT_BYTES,
            "databaseReadDocuments": read,
            "databaseWriteDocuments": written,
            "databaseWriteIndexRows": written,
            "storageReadBytes": 0,
            "storageWriteBytes": 0,
            "vectorIndexReadBytes": 0,
            "vectorIndexWriteBytes": 0,
            "textIndexQueryBytes": 0,
            "textIndexWriteQueryBytes": 0,
            "vectorIndexReadQueryBytes": 0,
            "vectorIndexWriteQueryBytes": 0,
            "networkEgressBytes": 0,
            "memoryUsedMb": 64,
        })
    }
}

/// Seconds since the epoch as a float.
#[must_use]
pub fn to_seconds(at: Timestamp) -> f64 {
    to_millis(at) / 1000.0
}

/// The identity as the stream spells it.
#[must_use]
pub fn identity_type(identity: Identity) -> &'static str {
    match identity {
        Identity::Anyone => "unknown",
        Identity::Reader | Identity::Admin => "instance_admin",
    }
}

/// What a small answer weighs.
const RETURN_BYTES: f64 = 64.0;
/// What a small document weighs.
const DOCUMENT_BYTES: u64 = 256;
