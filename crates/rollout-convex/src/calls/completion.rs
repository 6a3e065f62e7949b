//! Owns one finished execution as a deployment's stream tells it: its fields, its name, and whether it counts.
//!
//! Refuses little: unknown fields are ignored and missing ones do without, because servers of many ages speak this. What has
//! no time of its end cannot be placed and is *unreadable*, which is a loss like any other. Times are microseconds since
//! 1970 by the deployment's clock.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use rollout_core::Calls;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::error::stopped::is_refusal;
use crate::wire::{Response, WireError, parse};

/// One answer of the stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// In the order of the answer.
    pub(crate) completions: Vec<Completion>,
    /// Entries that cannot be understood.
    pub(crate) unreadable: usize,
    /// Where the next request goes on.
    pub(crate) cursor: Cursor,
}

/// A place in the stream: milliseconds since 1970 as the server counts them, kept to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Cursor(f64);

/// One finished execution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Completion {
    /// Tells it from every other one.
    pub(crate) identity: u64,
    /// Normalised, see [`Calls::function_name`].
    pub(crate) name: String,
    /// `SyncWorker`, `HttpApi` …
    pub(crate) caller: String,
    /// When it ran. Of a cached result: when that was made.
    pub(crate) executed: i64,
    /// When it ended.
    pub(crate) finished: i64,
    /// How long it took, in microseconds; `None` where that says nothing about a latency.
    pub(crate) took: Option<u32>,
    /// How it ended.
    pub(crate) ended: Ended,
    /// What it counts as.
    pub(crate) standing: Standing,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Without an error.
    Well,
    /// It threw, timed out, was refused, or answered with a status from 500 on.
    Failed,
}

/// What an execution counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A call.
    Call,
    /// Refused before any code ran, so perhaps under a name that somebody made up. A call where its name is asked about.
    Refused,
    /// Nothing: our own, the system's, an attempt that the server repeats by itself, or one that was refused because the
    /// deployment is stopped.
    Nothing,
}

impl Cursor {
    /// Before everything.
    pub(crate) const START: Self = Self(0.0);

    /// Reads what [`Cursor::text`] wrote; `None` when it is something else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|cursor: &f64| cursor.is_finite()).map(Self)
    }

    /// The shortest text that is read as the same cursor again.
    pub(crate) fn text(self) -> String {
        self.0.to_string()
    }

    /// The moment it stands for, in microseconds.
    pub(crate) fn micros(self) -> i64 {
        (self.0 * 1e3) as i64
    }
}

/// Reads an answer of the stream.
///
/// # Errors
///
/// [`WireError`] when it is no object with a list of entries and a cursor.
pub(crate) fn decode(response: &Response) -> Result<Answer, WireError> {
    let body: Body = parse(response, "a part of the stream of executions")?;
    let mut answer =
        Answer { completions: Vec::new(), unreadable: 0, cursor: Cursor(body.new_cursor) };
    for json in body.entries {
        match serde_json::from_value::<Entry>(json).map(Entry::completion) {
            Ok(Read::Completion(completion)) => answer.completions.push(completion),
            Ok(Read::Other) => {}
            Ok(Read::Unreadable) | Err(_) => answer.unreadable += 1,
        }
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    entries: Vec<Json>,
    new_cursor: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Entry {
    kind: Option<String>,
    identifier: Option<String>,
    component_path: Option<String>,
    timestamp: Option<f64>,
    execution_timestamp: Option<f64>,
    execution_time: Option<f64>,
    cached_result: Option<bool>,
    error: Option<Json>,
    success: Option<BTreeMap<String, Json>>,
    will_retry: Option<bool>,
    caller: Option<String>,
    environment: Option<String>,
    request_id: Option<String>,
    execution_id: Option<String>,
}

enum Read {
    Completion(Completion),
    /// Progress of an action, and kinds that come later.
    Other,
    Unreadable,
}

impl Entry {
    fn completion(self) -> Read {
        if self.kind.as_deref().is_some_and(|kind| kind != "Completion") {
            return Read::Other;
        }
        let (Some(finished), Some(identifier)) = (self.timestamp, &self.identifier) else {
            return Read::Unreadable;
        };
        let took = self.execution_time.filter(|took| *took >= 0.0);
        let executed = self.execution_timestamp.unwrap_or(finished - took.unwrap_or(0.0));
        let name = Calls::function_name(identifier);
        let name = match self.component_path.as_deref() {
            Some(path) if !path.is_empty() => format!("{path}/{name}"),
            Some(_) | None => name,
        };
        let is_cached = self.cached_result == Some(true);
        Read::Completion(Completion {
            identity: self.identity(finished),
            executed: micros(executed),
            finished: micros(finished),
            took: took.filter(|_| !is_cached).map(|took| (took * 1e6).round() as u32),
            ended: self.ended(),
            standing: self.standing(&name),
            caller: self.caller.unwrap_or_default(),
            name,
        })
    }

    fn ended(&self) -> Ended {
        let status = self.success.as_ref().and_then(|success| success.get("status"));
        let status = match status {
            Some(Json::String(text)) => text.parse().ok(),
            Some(other) => other.as_f64(),
            None => None,
        };
        let has_error = self.error.as_ref().is_some_and(|error| !error.is_null());
        if has_error || status.is_some_and(|status| status >= 500.0) {
            Ended::Failed
        } else {
            Ended::Well
        }
    }

    fn standing(&self, name: &str) -> Standing {
        let is_ours = self.request_id.as_deref().is_some_and(is_our_request);
        let is_stopped = matches!(&self.error, Some(Json::String(error)) if is_refusal(error));
        if is_ours || is_stopped || self.will_retry == Some(true) || name.starts_with("_system/") {
            return Standing::Nothing;
        }
        match self.environment.as_deref() {
            Some("invalid") => Standing::Refused,
            Some(_) | None => Standing::Call,
        }
    }

    fn identity(&self, finished: f64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.execution_id, &self.identifier, finished.to_bits()).hash(&mut hasher);
        hasher.finish()
    }
}

/// True for the request id of an effect (`r42-s7`): the adapter sends it with every function that it runs.
fn is_our_request(id: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = id.strip_prefix('r').and_then(|rest| rest.split_once("-s"));
    numbers.is_some_and(|(rollout, seq)| is_number(rollout) && is_number(seq))
}

/// Seconds as microseconds. A number that is none of a time becomes the beginning of time, where nobody asks.
fn micros(secs: f64) -> i64 {
    if secs.is_nan() { 0 } else { (secs * 1e6).round() as i64 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(entries: Json) -> Answer {
        let body = json!({ "entries": entries, "newCursor": 1_795_334_137_371.424_3 }).to_string();
        decode(&Response { status: 200, body: body.into_bytes(), date: None }).unwrap()
    }

    fn one(entry: Json) -> Completion {
        let mut answer = decoded(json!([entry]));
        assert_eq!(answer.unreadable, 0);
        answer.completions.remove(0)
    }

    #[test]
    fn an_entry_with_every_field_and_some_more() {
        let read = one(json!({
            "kind": "Completion", "udfType": "Mutation", "identifier": "messages.js:send", "componentPath": null,
            "timestamp": 1_795_334_137.371, "executionTimestamp": 1_795_334_137.251, "executionTime": 0.12,
            "userExecutionTime": null, "cachedResult": false, "error": null, "success": null, "willRetry": false,
            "occInfo": null, "caller": "SyncWorker", "requestId": "0123456789abcdef", "executionId": "e1",
            "environment": "isolate", "identityType": "user", "logLines": ["[LOG] 'x'"], "later": {"x": 1},
        }));
        assert_eq!((read.name.as_str(), read.caller.as_str()), ("messages:send", "SyncWorker"));
        assert_eq!(read.finished, 1_795_334_137_371_000);
        assert_eq!(read.executed, 1_795_334_137_251_000);
        assert_eq!(read.took, Some(120_000));
        assert_eq!((read.ended, read.standing), (Ended::Well, Standing::Call));
    }

    #[test]
    fn an_entry_with_almost_nothing_is_still_a_call() {
        let read = one(json!({"identifier": "m:f", "timestamp": 10, "executionTime": 2.0}));
        assert_eq!((read.executed, read.finished), (8_000_000, 10_000_000));
        assert_eq!((read.ended, read.standing), (Ended::Well, Standing::Call));
        let answer =
            decoded(json!([{"identifier": "m:f"}, {"timestamp": "ten"}, 7, {"kind": "Progress"}]));
        assert_eq!((answer.completions.len(), answer.unreadable), (0, 3));
    }

    #[test]
    fn what_failed_and_what_does_not_count() {
        let with = |fields: Json| {
            let mut entry = json!({"identifier": "m:f", "timestamp": 10.0, "executionTime": 0.1, "environment": "isolate"});
            entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let read = one(entry);
            (read.ended, read.standing, read.took.is_some())
        };
        use Ended::{Failed, Well};
        use Standing::{Call, Nothing, Refused};
        assert_eq!(with(json!({"error": "boom"})), (Failed, Call, true));
        assert_eq!(with(json!({"success": {"status": "503"}})), (Failed, Call, true));
        assert_eq!(with(json!({"success": {"status": 404.0}})), (Well, Call, true));
        assert_eq!(with(json!({"cachedResult": true})), (Well, Call, false));
        assert_eq!(with(json!({"error": "conflict", "willRetry": true})).1, Nothing);
        assert_eq!(with(json!({"requestId": "r42-s7"})).1, Nothing);
        assert_eq!(with(json!({"requestId": "r42-s"})).1, Call);
        assert_eq!(with(json!({"identifier": "_system/cli/x:y"})).1, Nothing);
        let paused = "Cannot run functions while this deployment is paused. Resume it.";
        assert_eq!(with(json!({"error": paused, "environment": "invalid"})).1, Nothing);
        assert_eq!(with(json!({"error": format!("Uncaught Error: {paused}")})).1, Call);
        assert_eq!(with(json!({"error": "no", "environment": "invalid"})), (Failed, Refused, true));
    }

    #[test]
    fn names_have_one_spelling() {
        for (wire, name) in [
            ("a/b.js:f", "a/b:f"),
            ("a/b:f", "a/b:f"),
            ("a/b.js:default", "a/b"),
            ("a/b.js", "a/b"),
            ("a/b", "a/b"),
            ("GET /x.js", "GET /x.js"),
            ("POST /a:b.js:c", "POST /a:b.js:c"),
        ] {
            assert_eq!(Calls::function_name(wire), name);
        }
        assert_eq!(
            one(json!({"identifier": "m:f", "componentPath": "billing", "timestamp": 1.0})).name,
            "billing/m:f"
        );
    }

    #[test]
    fn a_cursor_survives_as_text() {
        let cursor = decoded(json!([])).cursor;
        assert_eq!(cursor.text(), "1795334137371.4243");
        assert_eq!(Cursor::read(&cursor.text()), Some(cursor));
        assert_eq!(Cursor::START.text(), "0");
        assert!(["", "x", "NaN", "inf"].into_iter().all(|text| Cursor::read(text).is_none()));
        let garbled = Response { status: 200, body: b"{\"entries\":[]}".to_vec(), date: None };
        assert!(decode(&garbled).is_err());
    }
}
