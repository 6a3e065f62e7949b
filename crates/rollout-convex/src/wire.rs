//! Owns the bytes: calls to requests, responses to replies. Pure, so that a simulator can carry them without sockets.
//!
//! Refuses to guess: a reply that has not the documented shape is a [`WireError`].

mod about;
mod call;
mod changes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::key::{KeyReport, Operations};
use crate::text::useful_line;
use crate::value::{ConvexValue, ValueError};

pub use about::{
    DeployedFunction, DeploymentKind, decode_deployment_info, decode_functions, decode_line,
    normal_path,
};
pub use call::{Call, Method, MetricRoute, Paths, Request, encode};
pub(crate) use call::{LONG_POLL, USER_AGENT};
pub(crate) use changes::{AuditEvent, VariableRow, decode_audit, decode_push, decode_rows};

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ok(body: &str) -> Response {
        Response { status: 200, body: body.as_bytes().to_vec(), date: None }
    }

    fn ran(body: &str) -> Ran {
        decode_ran(&ok(body)).unwrap()
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
