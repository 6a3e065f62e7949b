//! Owns the bytes: calls to requests, responses to replies. Pure, so that a simulator can carry them without sockets.
//!
//! Refuses to guess: a reply that has not the documented shape is a [`WireError`]. The `Authorization` header is never part
//! of a [`Request`]; the transport adds it, so that requests can be shown. Function arguments are always one object, the
//! format is always `convex_encoded_json` (wire contract, section 3.4).

mod about;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use rollout_core::EffectKey;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::key::{KeyReport, Operations};
use crate::text::useful_line;
use crate::value::{ConvexValue, ValueError};

pub use about::{
    DeployedFunction, DeploymentKind, decode_deployment_info, decode_functions, decode_line,
    normal_path,
};

/// One thing to ask of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// All environment variables, from one snapshot.
    ListVariables(Paths),
    /// The same through the system query, for servers older than August 2025.
    QueryVariables,
    /// One atomic batch of sets.
    SetVariables(Paths, BTreeMap<String, String>),
    /// A user's function of any type and visibility.
    Run {
        /// `dir/module:function`.
        path: String,
        /// One object.
        args: Json,
    },
    /// A user's query. Whatever else has that name is not run.
    Query {
        /// `dir/module:function`.
        path: String,
        /// One object.
        args: Json,
    },
    /// Running, paused, disabled or suspended; works in all of these states.
    DeploymentState,
    /// What the key may do.
    CheckKey,
    /// The deployment's name; needs no key. Cloud may not answer.
    InstanceName,
    /// The server's version; needs no key. Cloud may not answer.
    ServerVersion,
    /// What kind of deployment it is.
    DeploymentInfo,
    /// All functions of the app, with their types.
    ApiSpec,
    /// The last push of code.
    LastPush,
    /// Who changed what, where the deployment keeps a log of it.
    AuditLog {
        /// From when on, in milliseconds since 1970.
        from: i64,
    },
    /// The executions that finished after a cursor. The answer waits for up to a minute until there is one.
    StreamExecutions {
        /// As the deployment said it; `0` = everything that it still keeps.
        cursor: String,
    },
    /// Metrics that the deployment keeps of itself.
    AppMetrics {
        /// Which ones.
        route: MetricRoute,
        /// Names and values, not encoded.
        params: Vec<(&'static str, String)>,
    },
}

/// Which metrics of a deployment are asked for (wire contract, section 7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricRoute {
    /// Events of one function per second.
    UdfRate,
    /// Share of failed calls, of the functions with failures.
    FailurePercentageTopK,
    /// Calls, of the functions with the most.
    FunctionCallCountTopK,
    /// Latencies of one function.
    LatencyPercentiles,
    /// Functions that run, or wait for it.
    FunctionConcurrency,
    /// How far scheduled functions are behind.
    ScheduledJobLag,
}

impl MetricRoute {
    /// Its path.
    fn path(self) -> &'static str {
        match self {
            Self::UdfRate => "/api/app_metrics/udf_rate",
            Self::FailurePercentageTopK => "/api/app_metrics/failure_percentage_top_k",
            Self::FunctionCallCountTopK => "/api/app_metrics/function_call_count_top_k",
            Self::LatencyPercentiles => "/api/app_metrics/latency_percentiles",
            Self::FunctionConcurrency => "/api/app_metrics/function_concurrency",
            Self::ScheduledJobLag => "/api/app_metrics/scheduled_job_lag",
        }
    }
}

/// Which spelling of the environment variable paths is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// `/api/v1/…`
    Versioned,
    /// `/api/…`, which older servers know as well.
    Unversioned,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// A request, complete but for `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The path below the deployment's origin.
    pub path: &'static str,
    /// The query string, percent-encoded and without its `?`; empty = none.
    pub query: String,
    /// Header names, in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON body, empty for `GET`.
    pub body: String,
    /// Set where the deployment holds the answer back until there is something to tell: longest time until it is there.
    /// `None` = it answers as soon as it can, within the transport's own time.
    pub held: Option<Duration>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    /// The server's clock in whole seconds, where it says so (header `Date`).
    pub date: Option<Timestamp>,
}

/// How a function ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ran {
    /// It returned this.
    Returned(ConvexValue),
    /// It threw, does not exist, or was not run at all.
    Threw(Thrown),
}

/// What is known about a function that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Thrown {
    /// The useful line of the message; `None` where the deployment redacts it.
    pub line: Option<String>,
    /// The data of a `ConvexError`.
    pub data: Option<ConvexValue>,
}

/// The body of an HTTP error; both parts are absent where the body is empty or not JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ErrorBody {
    /// Stable: `BadAdminKey`.
    #[serde(default)]
    pub code: Option<String>,
    /// For people.
    #[serde(default)]
    pub message: Option<String>,
}

/// Why a reply cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It is no JSON, or has another shape.
    #[error("the answer is not {expected}")]
    Shape {
        /// What was expected.
        expected: &'static str,
        /// What the JSON reader says.
        #[source]
        cause: serde_json::Error,
    },
    /// A value is not in the exact encoding.
    #[error("the answer holds a value that cannot be decoded")]
    Value(#[from] ValueError),
    /// A value is fine, but not what this question is answered with.
    #[error("the answer is not {0}")]
    Unexpected(&'static str),
}

/// Encodes a call; `key` becomes the request id in the deployment's logs.
pub fn encode(call: &Call, key: Option<EffectKey>) -> Request {
    let (method, path, body) = match call {
        Call::ListVariables(Paths::Versioned) => {
            (Method::Get, "/api/v1/list_environment_variables", None)
        }
        Call::ListVariables(Paths::Unversioned) => {
            (Method::Get, "/api/list_environment_variables", None)
        }
        Call::SetVariables(paths, changes) => {
            let path = match paths {
                Paths::Versioned => "/api/v1/update_environment_variables",
                Paths::Unversioned => "/api/update_environment_variables",
            };
            let changes: Vec<_> =
                changes.iter().map(|(name, value)| Change { name, value }).collect();
            (Method::Post, path, Some(serde_json::json!({ "changes": changes })))
        }
        Call::QueryVariables => (Method::Post, "/api/query", Some(system_query(VARIABLES_QUERY))),
        Call::DeploymentState => (Method::Post, "/api/query", Some(system_query(STATE_QUERY))),
        Call::Run { path, args } => (Method::Post, "/api/function", Some(question(path, args))),
        Call::Query { path, args } => (Method::Post, "/api/query", Some(question(path, args))),
        Call::CheckKey => (Method::Get, "/api/check_admin_key", None),
        Call::InstanceName => (Method::Get, "/instance_name", None),
        Call::ServerVersion => (Method::Get, "/version", None),
        Call::DeploymentInfo => (Method::Get, "/api/v1/deployment_info", None),
        Call::ApiSpec => (Method::Post, "/api/query", Some(system_query(FUNCTIONS_QUERY))),
        Call::LastPush => (Method::Post, "/api/query", Some(system_query(PUSH_QUERY))),
        Call::AuditLog { .. } => (Method::Get, "/api/v1/list_audit_log_events", None),
        Call::StreamExecutions { .. } => (Method::Get, "/api/stream_udf_execution", None),
        Call::AppMetrics { route, .. } => (Method::Get, route.path(), None),
    };
    let (query, held) = match call {
        Call::StreamExecutions { cursor } => {
            (query(&[("cursor", cursor.clone())]), Some(LONG_POLL))
        }
        Call::AppMetrics { params, .. } => (query(params), None),
        Call::AuditLog { from } => {
            (query(&[("from", from.to_string()), ("limit", String::from("100"))]), None)
        }
        Call::ListVariables(_)
        | Call::InstanceName
        | Call::ServerVersion
        | Call::DeploymentInfo
        | Call::ApiSpec
        | Call::LastPush
        | Call::QueryVariables
        | Call::SetVariables(..)
        | Call::Run { .. }
        | Call::Query { .. }
        | Call::DeploymentState
        | Call::CheckKey => (String::new(), None),
    };
    let mut headers =
        vec![("convex-client", CLIENT.to_owned()), ("user-agent", USER_AGENT.to_owned())];
    headers.extend(key.map(|key| ("convex-request-id", key.to_string())));
    headers.extend(body.as_ref().map(|_| ("content-type", String::from("application/json"))));
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    Request { method, path, query, headers, body, held }
}

fn question(path: &str, args: &Json) -> Json {
    serde_json::json!({ "path": path, "args": args, "format": FORMAT })
}

/// Reads the answer to [`Call::ListVariables`].
///
/// # Errors
///
/// [`WireError`] when it is not an object of texts.
pub fn decode_variables(response: &Response) -> Result<BTreeMap<String, String>, WireError> {
    let body: VariablesBody = parse(response, "a list of environment variables")?;
    Ok(body.environment_variables)
}

/// Reads the answer to [`Call::QueryVariables`] from the query's value.
///
/// # Errors
///
/// [`WireError`] when it is not a list of names and values.
pub fn decode_queried_variables(value: ConvexValue) -> Result<BTreeMap<String, String>, WireError> {
    let unexpected = WireError::Unexpected("a list of environment variables");
    let ConvexValue::List(rows) = value else { return Err(unexpected) };
    let pairs = rows.into_iter().map(|row| {
        let ConvexValue::Object(mut fields) = row else { return None };
        match (fields.remove("name"), fields.remove("value")) {
            (Some(ConvexValue::Text(name)), Some(ConvexValue::Text(value))) => Some((name, value)),
            _ => None,
        }
    });
    pairs.collect::<Option<_>>().ok_or(unexpected)
}

/// One variable with the time of its last write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VariableRow {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) at: Timestamp,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuditEvent {
    /// In words: `member ada@example.com`.
    pub(crate) actor: String,
    pub(crate) variable: Option<String>,
    pub(crate) at: Timestamp,
}

/// Reads the answer to [`Call::QueryVariables`] with the times of the last writes; rows without one are left out.
pub(crate) fn decode_rows(value: ConvexValue) -> Result<Vec<VariableRow>, WireError> {
    let ConvexValue::List(rows) = value else {
        return Err(WireError::Unexpected("a list of environment variables"));
    };
    let row = |row| {
        let ConvexValue::Object(mut fields) = row else { return None };
        let mut text = |name: &str| match fields.remove(name) {
            Some(ConvexValue::Text(text)) => Some(text),
            _ => None,
        };
        let (name, value) = (text("name")?, text("value")?);
        Some(VariableRow { name, value, at: created(&fields)? })
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

/// Reads the answer to [`Call::LastPush`]; `None` = never.
pub(crate) fn decode_push(value: ConvexValue) -> Result<Option<Timestamp>, WireError> {
    match value {
        ConvexValue::Null => Ok(None),
        ConvexValue::Object(fields) => Ok(created(&fields)),
        ConvexValue::Boolean(_)
        | ConvexValue::Number(_)
        | ConvexValue::Integer(_)
        | ConvexValue::Text(_)
        | ConvexValue::Bytes(_)
        | ConvexValue::List(_) => Err(WireError::Unexpected("the last push of code")),
    }
}

/// The time at which a row was made, in milliseconds since 1970 as the deployment has it.
fn created(fields: &BTreeMap<String, ConvexValue>) -> Option<Timestamp> {
    match fields.get("_creationTime") {
        Some(ConvexValue::Number(ms)) => moment_of(*ms),
        _ => None,
    }
}

/// Milliseconds since 1970, with their fraction down to the microsecond: two writes in one millisecond are two.
fn moment_of(ms: f64) -> Option<Timestamp> {
    let micros = (ms * 1_000.0).round();
    // Floats beyond this are no time of ours, and the cast below would cut them off.
    (micros.abs() < 9e15).then(|| Timestamp::from_microsecond(micros as i64).ok()).flatten()
}

/// Reads the answer to [`Call::AuditLog`]. What is not told is left out; entries without a time are none.
pub(crate) fn decode_audit(response: &Response) -> Result<Vec<AuditEvent>, WireError> {
    let body: AuditBody = parse(response, "a page of the audit log")?;
    let event = |item: AuditItem| {
        let kind = item.actor.get("kind").and_then(Json::as_str).unwrap_or("somebody");
        let who = ["email", "name", "id"].iter().find_map(|ending| named(&item.actor, ending));
        let actor = who.map_or_else(|| kind.to_owned(), |who| format!("{kind} {who}"));
        let variable = item.metadata.get("variable_name").and_then(Json::as_str);
        Some(AuditEvent {
            actor,
            variable: variable.map(str::to_owned),
            at: moment_of(item.create_time?)?,
        })
    };
    Ok(body.items.into_iter().filter_map(event).collect())
}

/// What an actor is called under a name that ends so. Beyond `kind` the names differ from kind to kind (`memberEmail`,
/// `tokenName`) and are not documented.
fn named(actor: &Json, ending: &str) -> Option<String> {
    let fields = actor.as_object()?.iter();
    let ends = |name: &str| name.to_ascii_lowercase().ends_with(ending);
    fields.filter(|(name, _)| ends(name)).find_map(|(_, value)| match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    })
}

/// Reads the answer to [`Call::DeploymentState`] from the query's value: `running`, `paused` …
///
/// # Errors
///
/// [`WireError`] when it names no state.
pub fn decode_state(value: ConvexValue) -> Result<String, WireError> {
    let ConvexValue::Object(mut fields) = value else {
        return Err(WireError::Unexpected("a deployment state"));
    };
    match fields.remove("state") {
        Some(ConvexValue::Text(state)) => Ok(state),
        _ => Err(WireError::Unexpected("a deployment state")),
    }
}

/// Reads the answer of a function: a value, or how it failed. Accepts the status 560 of old servers, which the caller
/// passes on here.
///
/// # Errors
///
/// [`WireError`] when it is neither a success nor an error as documented.
pub fn decode_ran(response: &Response) -> Result<Ran, WireError> {
    let body: RanBody = parse(response, "the result of a function")?;
    match (body.status, response.status) {
        (Some(RanStatus::Success), 200..300) => {
            let value = body.value.ok_or(WireError::Unexpected("the result of a function"))?;
            Ok(Ran::Returned(ConvexValue::decode(value)?))
        }
        (Some(RanStatus::Error), _) | (None, FUNCTION_FAILED) => Ok(Ran::Threw(Thrown {
            line: body.error_message.as_deref().and_then(useful_line).map(str::to_owned),
            data: body.error_data.map(ConvexValue::decode).transpose()?,
        })),
        (Some(RanStatus::Success) | None, _) => {
            Err(WireError::Unexpected("the result of a function"))
        }
    }
}

/// Reads the answer to [`Call::CheckKey`]. Servers older than April 2026 say nothing about operations.
///
/// # Errors
///
/// [`WireError`] when it is not a success as documented.
pub fn decode_key(response: &Response) -> Result<KeyReport, WireError> {
    let body: KeyBody = parse(response, "a report about the key")?;
    if !body.success {
        return Err(WireError::Unexpected("a report about a valid key"));
    }
    let operations = match body.allowed_ops {
        None => Operations::NotSaid,
        Some(names) if names.is_empty() => Operations::All,
        Some(names) => Operations::Only(names.into_iter().collect()),
    };
    Ok(KeyReport { operations, is_read_only: body.is_read_only })
}

/// Reads the body of an HTTP error; never fails, because proxies answer with pages.
pub fn decode_error(response: &Response) -> ErrorBody {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(
    response: &'a Response,
    expected: &'static str,
) -> Result<T, WireError> {
    serde_json::from_slice(&response.body).map_err(|cause| WireError::Shape { expected, cause })
}

/// A query string: everything but letters, digits and `-._~` is percent-encoded (RFC 3986).
fn query(params: &[(&str, String)]) -> String {
    let mut query = String::new();
    for (name, value) in params {
        let separator = if query.is_empty() { "" } else { "&" };
        let _ = write!(query, "{separator}{name}=");
        for byte in value.bytes() {
            let _ = match byte {
                b'-' | b'.' | b'_' | b'~' => query.write_char(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => query.write_char(char::from(byte)),
                byte => write!(query, "%{byte:02X}"),
            };
        }
    }
    query
}

fn system_query(path: &str) -> Json {
    serde_json::json!({ "path": path, "args": {}, "format": FORMAT })
}

#[derive(Serialize)]
struct Change<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VariablesBody {
    environment_variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RanBody {
    #[serde(default)]
    status: Option<RanStatus>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Json>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default, deserialize_with = "present")]
    error_data: Option<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RanStatus {
    Success,
    Error,
}

/// Tells a null from an absent field: a function may well return null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct AuditBody {
    items: Vec<AuditItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditItem {
    #[serde(default)]
    actor: Json,
    #[serde(default)]
    create_time: Option<f64>,
    #[serde(default)]
    metadata: Json,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    success: bool,
    #[serde(default)]
    allowed_ops: Option<Vec<String>>,
    #[serde(default)]
    is_read_only: bool,
}

/// The status with which old servers say that a function failed.
pub(crate) const FUNCTION_FAILED: u16 = 560;
/// Longest time for an answer that the deployment may hold back for 60 s.
pub(crate) const LONG_POLL: Duration = Duration::from_secs(75);
/// The last push of code, or null.
const PUSH_QUERY: &str = "_system/frontend/deploymentEvents:lastPushEvent";
/// Exact encoding of values.
const FORMAT: &str = "convex_encoded_json";
/// Default export of this system module: all variables. Run by `/api/query`, refused by `/api/function`.
const VARIABLES_QUERY: &str = "_system/cli/queryEnvironmentVariables";
/// Tells a paused deployment from a failing one.
const STATE_QUERY: &str = "_system/frontend/deploymentState:deploymentState";
/// All functions of the app.
const FUNCTIONS_QUERY: &str = "_system/cli/modules:apiSpec";
/// Name and version; a name without a dash is refused by the server.
const CLIENT: &str = concat!("rolloutd-", env!("CARGO_PKG_VERSION"));
/// Stored in the deployment's audit log.
pub(crate) const USER_AGENT: &str = concat!("rolloutd/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use rollout_core::{RolloutId, Seq};
    use serde_json::json;

    use super::*;

    fn ok(body: &str) -> Response {
        Response { status: 200, body: body.as_bytes().to_vec(), date: None }
    }

    fn ran(body: &str) -> Ran {
        decode_ran(&ok(body)).unwrap()
    }

    #[test]
    fn an_actor_is_called_what_its_kind_calls_it() {
        let actor = |actor: Json| {
            let item = json!({ "actor": actor, "createTime": 1.0, "metadata": {} });
            let page = decode_audit(&ok(&json!({ "items": [item] }).to_string())).unwrap();
            page[0].actor.clone()
        };
        let member = json!({ "kind": "member", "memberId": 7, "memberName": "Kim", "memberEmail": "kim@x.org" });
        assert_eq!(actor(member), "member kim@x.org");
        assert_eq!(actor(json!({ "kind": "token", "tokenId": 1, "tokenName": "ci" })), "token ci");
        assert_eq!(actor(json!({ "kind": "token", "tokenId": 1, "name": "" })), "token 1");
        assert_eq!(actor(json!({ "kind": "system" })), "system");
        assert_eq!(actor(json!({ "email": "kim@x.org" })), "somebody kim@x.org");
        assert_eq!(actor(Json::Null), "somebody");
    }

    #[test]
    fn requests_are_the_documented_ones() {
        let key = EffectKey { rollout: RolloutId::FIRST, seq: Seq::FIRST };
        let changes =
            BTreeMap::from([("B".to_owned(), "1".to_owned()), ("A".to_owned(), String::new())]);
        let set = encode(&Call::SetVariables(Paths::Versioned, changes), Some(key));
        assert_eq!((set.method, set.path), (Method::Post, "/api/v1/update_environment_variables"));
        assert_eq!(set.body, r#"{"changes":[{"name":"A","value":""},{"name":"B","value":"1"}]}"#);
        assert!(set.headers.contains(&("convex-request-id", "r1-s1".into())), "{:?}", set.headers);
        assert!(set.headers.contains(&("content-type", "application/json".into())));
        assert!(
            set.headers.contains(&(
                "convex-client",
                concat!("rolloutd-", env!("CARGO_PKG_VERSION")).into()
            ))
        );
        assert!(set.headers.iter().all(|(name, _)| *name != "authorization"));

        let list = encode(&Call::ListVariables(Paths::Unversioned), None);
        assert_eq!(
            (list.method, list.path, list.body.as_str()),
            (Method::Get, "/api/list_environment_variables", "")
        );
        assert!(
            list.headers
                .iter()
                .all(|(name, _)| *name != "convex-request-id" && *name != "content-type")
        );

        let run = encode(&Call::Run { path: "m:f".into(), args: json!({"n": 1}) }, Some(key));
        assert_eq!(run.path, "/api/function");
        let body: Json = serde_json::from_str(&run.body).unwrap();
        assert_eq!(body, json!({"path": "m:f", "args": {"n": 1}, "format": "convex_encoded_json"}));
    }

    #[test]
    fn values_in_a_query_string_are_encoded() {
        let metrics = encode(
            &Call::AppMetrics {
                route: MetricRoute::UdfRate,
                params: vec![("path", "a/b:c d".into()), ("window", r#"{"x":1}"#.into())],
            },
            None,
        );
        assert_eq!((metrics.method, metrics.path), (Method::Get, "/api/app_metrics/udf_rate"));
        assert_eq!(metrics.query, "path=a%2Fb%3Ac%20d&window=%7B%22x%22%3A1%7D");
        let stream = encode(&Call::StreamExecutions { cursor: "1795334137371.4243".into() }, None);
        assert_eq!(stream.query, "cursor=1795334137371.4243");
        assert!(stream.held.unwrap() > Duration::from_secs(60), "it would end before its answer");
    }

    #[test]
    fn a_function_returns_or_throws() {
        assert_eq!(
            ran(r#"{"status":"success","value":5.0}"#),
            Ran::Returned(ConvexValue::Number(5.0))
        );
        assert_eq!(
            ran(r#"{"status":"success","value":null,"logLines":["[LOG] 'x'"]}"#),
            Ran::Returned(ConvexValue::Null)
        );
        let Ran::Threw(thrown) = ran(
            r#"{"status":"error","errorMessage":"[Request ID: r1-s1] Server Error\nUncaught ConvexError: x\n    at f","errorData":{"why":"x"}}"#,
        ) else {
            panic!("it returned")
        };
        assert_eq!(thrown.line.as_deref(), Some("Uncaught ConvexError: x"));
        assert_eq!(thrown.data.unwrap().show(100), r#"{"why":"x"}"#);
    }

    #[test]
    fn status_560_of_old_servers_is_a_function_that_failed() {
        let old = |body: &str| Response { status: 560, body: body.as_bytes().to_vec(), date: None };
        for body in [
            r#"{"status":"error","errorMessage":"Uncaught Error: boom"}"#,
            r#"{"errorMessage":"Uncaught Error: boom"}"#,
        ] {
            let Ran::Threw(thrown) = decode_ran(&old(body)).unwrap() else { panic!("it returned") };
            assert_eq!(thrown.line.as_deref(), Some("Uncaught Error: boom"));
        }
        assert!(decode_ran(&old(r#"{"status":"success","value":1.0}"#)).is_err());
    }

    #[test]
    fn other_shapes_are_errors_and_not_guesses() {
        for body in [
            "",
            "<html>",
            "{",
            "null",
            "[]",
            r#"{"status":"success"}"#,
            r#"{"status":"maybe","value":1}"#,
            r#"{"value":1}"#,
            r#"{"status":"success","value":{"$x":1}}"#,
        ] {
            assert!(decode_ran(&ok(body)).is_err(), "{body:?} was understood");
            assert!(decode_variables(&ok(body)).is_err(), "{body:?} was understood");
            assert!(decode_key(&ok(body)).is_err(), "{body:?} was understood");
        }
        assert!(decode_variables(&ok(r#"{"environmentVariables":{"A":1}}"#)).is_err());
        assert!(decode_key(&ok(r#"{"success":false}"#)).is_err());
        let rows =
            ConvexValue::decode(json!([{"name": "A", "value": "1"}, {"name": "B"}])).unwrap();
        assert!(decode_queried_variables(rows).is_err());
        assert!(decode_state(ConvexValue::Null).is_err());
    }

    #[test]
    fn variables_are_read_from_both_sources() {
        let listed =
            decode_variables(&ok(r#"{"environmentVariables":{"A":"","B":"x\ny"}}"#)).unwrap();
        let rows = json!([{"_id": "j", "_creationTime": 1.0, "name": "A", "value": ""}, {"name": "B", "value": "x\ny"}]);
        assert_eq!(decode_queried_variables(ConvexValue::decode(rows).unwrap()).unwrap(), listed);
        assert_eq!(listed.get("A").map(String::as_str), Some(""));
    }

    #[test]
    fn keys_may_do_everything_something_or_nobody_knows() {
        let operations = |body: &str| decode_key(&ok(body)).unwrap().operations;
        assert_eq!(
            operations(r#"{"success":true,"allowedOps":[],"isReadOnly":false}"#),
            Operations::All
        );
        assert_eq!(operations(r#"{"success":true}"#), Operations::NotSaid);
        let some = operations(r#"{"success":true,"allowedOps":["ViewLogs"],"isReadOnly":true}"#);
        assert_eq!(some, Operations::Only(["ViewLogs".to_owned()].into()));
    }

    #[test]
    fn error_bodies_may_be_anything() {
        let error = |body: &str| decode_error(&ok(body));
        assert_eq!(
            error(r#"{"code":"BadAdminKey","message":"no"}"#).code.as_deref(),
            Some("BadAdminKey")
        );
        for body in ["", "<html>500</html>", "[1]", r#"{"code":7}"#] {
            assert_eq!(error(body), ErrorBody::default(), "{body:?}");
        }
    }
}
