//! Owns the requests: what may be asked of a deployment, and how each question is written.
//!
//! The `Authorization` header is never part of a [`Request`]; the transport adds it, so that requests can be shown. Function
//! arguments are always one object, the format is always `convex_encoded_json` (wire contract, section 3.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rollout_core::EffectKey;
use serde::Serialize;
use serde_json::Value as Json;

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
}
