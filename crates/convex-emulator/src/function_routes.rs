//! The endpoints that run functions, in Convex's order of checks: body, then key, then the rest.
//!
//! A function that does not exist, may not be seen, has another type, refuses its arguments, is
//! paused or throws answers HTTP 200 with `"status":"error"`; only the text tells which.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::Credential;
use crate::calls::{self, Answer, Call, Endpoint, Outcome, canonical_name, read_args};
use crate::completion::Caller;
use crate::deployment::Deployment;
use crate::value::Encoding;
use crate::wire::{ApiError, Request, Response, identify};

#[derive(Deserialize)]
pub(crate) struct CallBody {
    path: String,
    args: Json,
    format: Option<String>,
    #[serde(rename = "componentPath")]
    component_path: Option<String>,
}

#[derive(Deserialize)]
struct RunBody {
    args: Json,
    format: Option<String>,
}

pub(crate) fn call(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    endpoint: Endpoint<'_>,
) -> Result<Response, ApiError> {
    Credential::read(request)?;
    let body = read_body(request, endpoint)?;
    let answer = run_body(deployment, now, request, endpoint, body)?;
    Ok(Response::json(200, &answer))
}

/// Runs one call of a request whose body was read, and encodes what came of it.
pub(crate) fn run_body(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    endpoint: Endpoint<'_>,
    body: CallBody,
) -> Result<Json, ApiError> {
    let identity = identify(deployment, request)?;
    if matches!(endpoint, Endpoint::Any) {
        identity.require_key()?;
    }
    if body.component_path.is_some_and(|path| !path.is_empty()) {
        let message = "the deployment has no such component";
        return Err(ApiError::new(400, "ComponentPathNotFound", message));
    }
    let encoding = Encoding::parse(body.format.as_deref())
        .ok_or_else(|| ApiError::new(400, "BadFormat", "the format is not known"))?;
    let name = canonical_name(&body.path)?;
    let args = read_args(&body.args)?;
    let request_id = request.headers.get("convex-request-id").cloned();
    let request_id = request_id.unwrap_or_else(|| deployment.next_request_id());
    let call = Call {
        endpoint,
        identity,
        name: &name,
        args: &args,
        caller: Caller::HttpApi,
        request_id: &request_id,
    };
    let answer = calls::execute(deployment, now, &call)?;
    Ok(encode(deployment, answer, encoding, &request_id))
}

fn read_body(request: &Request, endpoint: Endpoint<'_>) -> Result<CallBody, ApiError> {
    if let Endpoint::Run(path) = endpoint {
        let Some((module, name)) = path.rsplit_once('/') else {
            let message = "the path must be <module>/<function>";
            return Err(ApiError::new(400, "MissingIdentifier", message));
        };
        let RunBody { args, format } = request.read_json(CALL_BODY_BYTES_MAX)?;
        return Ok(CallBody {
            path: format!("{module}:{name}"),
            args,
            format,
            component_path: None,
        });
    }
    if request.method == "POST" {
        return request.read_json(CALL_BODY_BYTES_MAX);
    }
    let missing = |field: &str| ApiError::new(400, "BadQueryArgs", format!("`{field}` is missing"));
    let field = |name: &'static str| request.query.get(name).ok_or_else(|| missing(name));
    let path = field("path")?.clone();
    let args = serde_json::from_str(field("args")?)
        .map_err(|error| ApiError::new(400, "BadQueryArgs", error.to_string()))?;
    Ok(CallBody { path, args, format: request.query.get("format").cloned(), component_path: None })
}

fn encode(deployment: &Deployment, answer: Answer, encoding: Encoding, request_id: &str) -> Json {
    let mut body = match answer.outcome {
        Outcome::Value(value) => json!({ "status": "success", "value": value.encode(encoding) }),
        Outcome::Failed(text, thrown) => {
            let message = deployment.error_message(request_id, &text);
            let mut body = json!({ "status": "error", "errorMessage": message });
            if let Some(thrown) = thrown {
                body["errorData"] = thrown.encode(encoding);
            }
            body
        }
    };
    if !answer.log_lines.is_empty() {
        body["logLines"] = json!(answer.log_lines);
    }
    body
}

/// Arguments of 16 MiB and what surrounds them.
pub(crate) const CALL_BODY_BYTES_MAX: usize = (16 << 20) + 2000;
