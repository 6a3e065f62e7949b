//! The two execution streams: what a poll with a cursor finds, and whether it has to wait.
//!
//! A long poll is decided here and held by the shell: as long as [`waits`] says so, nothing is
//! newer than the cursor. `answer` never waits; with nothing new it is the empty answer that
//! ends a poll after 60 seconds.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::access::Operation;
use crate::completion::{Completion, EntryKind, LogForm};
use crate::deployment::Deployment;
use crate::wire::{ApiError, Request, Response, identify};

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// `stream_udf_execution`: completions.
    Executions,
    /// `stream_function_logs`: completions and the progress of running actions.
    FunctionLogs,
}

/// The cursor and filter of a poll.
struct Poll {
    cursor: f64,
    /// With a session only what its requests led to: an emulated client has none in the log.
    of_session: bool,
    form: LogForm,
}

impl StreamKind {
    pub(crate) fn find(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/api/app_metrics/").or_else(|| path.strip_prefix("/api/"))?;
        match name {
            "stream_udf_execution" => Some(Self::Executions),
            "stream_function_logs" => Some(Self::FunctionLogs),
            _ => None,
        }
    }

    fn shows(self, entry: &Completion) -> bool {
        match self {
            Self::Executions => entry.kind == EntryKind::Completion,
            Self::FunctionLogs => true,
        }
    }
}

/// Whether `request` is a poll in order that finds nothing new yet.
#[must_use]
pub fn waits(deployment: &Deployment, now: Timestamp, request: &Request) -> bool {
    let Some(kind) = StreamKind::find(&request.path) else { return false };
    if request.method != "GET" {
        return false;
    }
    read(deployment, request).is_ok_and(|poll| find(deployment, now, kind, &poll).is_none())
}

/// Answers a poll with what there is.
pub(crate) fn answer(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    kind: StreamKind,
) -> Result<Response, ApiError> {
    let poll = read(deployment, request)?;
    deployment.catch_up(now);
    let (entries, cursor) = find(deployment, now, kind, &poll).unwrap_or((json!([]), poll.cursor));
    Ok(Response::json(200, &json!({ "entries": entries, "newCursor": cursor })))
}

fn find(
    deployment: &Deployment,
    now: Timestamp,
    kind: StreamKind,
    poll: &Poll,
) -> Option<(Json, f64)> {
    let wanted = |entry: &Completion| kind.shows(entry) && !poll.of_session;
    let found = deployment.activity().log().after(poll.cursor, now, wanted)?;
    let entries = found.entries.iter().map(|entry| entry.to_json(poll.form)).collect();
    Some((entries, found.cursor))
}

fn read(deployment: &Deployment, request: &Request) -> Result<Poll, ApiError> {
    let identity = identify(deployment, request)?;
    let bad = |message: &str| ApiError::new(400, "BadQueryArgs", message);
    let cursor = request.query.get("cursor").ok_or_else(|| bad("missing field `cursor`"))?;
    let cursor = cursor.parse::<f64>().ok().filter(|cursor| !cursor.is_nan());
    let cursor = cursor.ok_or_else(|| bad("`cursor` is not a number"))?;
    identity.require(Operation::ViewLogs)?;
    let client = request.headers.get("convex-client").map_or("", String::as_str);
    let structured = ["npm-cli-", "dashboard-"].iter().any(|prefix| client.starts_with(prefix));
    let form = if structured { LogForm::Structured } else { LogForm::Text };
    Ok(Poll { cursor, of_session: request.query.contains_key("sessionId"), form })
}
