//! The endpoints that run functions, in Convex's order of checks: body, then key, then the rest.
//!
//! A function that does not exist, may not be seen, has another type, refuses its arguments, is
//! paused or throws answers HTTP 200 with `"status":"error"`; only the text tells which.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::{Credential, Identity, Operation};
use crate::deployment::{Deployment, RunState};
use crate::functions::{self, Args, Function, FunctionKind, Thrown, Visibility};
use crate::value::{Encoding, Value};
use crate::wire::{ApiError, Request, Response};

/// Which endpoint was called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint<'a> {
    /// `/api/function`: any type, with a key only.
    Any,
    /// `/api/query`, `/api/mutation`, `/api/action`.
    Typed(FunctionKind),
    /// `/api/run/<path>`: any type.
    Run(&'a str),
}

#[derive(Deserialize)]
struct CallBody {
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

/// What came of a call.
enum Outcome {
    Value(Value),
    /// A function error: the text after `Server Error`, and the thrown value of a `ConvexError`.
    Failed(String, Option<Value>),
}

pub(crate) fn call(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    endpoint: Endpoint<'_>,
) -> Result<Response, ApiError> {
    let credential = Credential::read(request)?;
    let body = read_body(request, endpoint)?;
    let identity = deployment.keys().identify(&credential)?;
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
    let outcome = run(deployment, now, identity, endpoint, &name, &args)?;
    let request_id = request.headers.get("convex-request-id").cloned();
    let request_id = request_id.unwrap_or_else(|| deployment.next_request_id());
    Ok(Response::json(200, &encode(outcome, encoding, &request_id)))
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

/// Turns `dir/module.js:function` into `dir/module:function`, and adds `:default`.
fn canonical_name(path: &str) -> Result<String, ApiError> {
    let refuse = || {
        let message = format!("`{path}` is not a path to a function");
        ApiError::new(400, "BadConvexFunctionIdentifier", message)
    };
    let (module, name) = path.split_once(':').unwrap_or((path, "default"));
    let module = module.strip_suffix(".js").unwrap_or(module);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_component =
        |part: &str| !part.is_empty() && part.chars().all(|c| is_word(c) || c == '.' || c == '-');
    let is_name = !name.is_empty()
        && name.chars().all(is_word)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name || !module.split('/').all(is_component) {
        return Err(refuse());
    }
    Ok(format!("{module}:{name}"))
}

fn read_args(args: &Json) -> Result<Result<Args, Thrown>, ApiError> {
    // The old form: an array of one object.
    let args = args.as_array().filter(|items| items.len() == 1).map_or(args, |items| &items[0]);
    let value = Value::decode(args)
        .map_err(|error| ApiError::new(400, "InvalidArguments", error.to_string()))?;
    let Value::Object(args) = value else {
        return Ok(Err(Thrown::Arguments("Value does not match validator.".to_owned())));
    };
    Ok(Ok(args))
}

fn run(
    deployment: &mut Deployment,
    now: Timestamp,
    identity: Identity,
    endpoint: Endpoint<'_>,
    name: &str,
    args: &Result<Args, Thrown>,
) -> Result<Outcome, ApiError> {
    let is_system = name.starts_with("_system/");
    if !is_system && let Some(refusal) = refusal_while_stopped(deployment.run_state()) {
        return Ok(Outcome::Failed(refusal.to_owned(), None));
    }
    let is_visible = |function: &&Function| match function.visibility {
        Visibility::Public => true,
        Visibility::Internal => identity != Identity::Anyone,
    };
    let can_find = !is_system || matches!(endpoint, Endpoint::Typed(_));
    let Some(function) = functions::find(name).filter(is_visible).filter(|_| can_find) else {
        return Ok(Outcome::Failed(not_found(endpoint, name), None));
    };
    if let Endpoint::Typed(kind) = endpoint
        && kind != function.kind
    {
        let (asked, is) = (kind.as_str(), function.kind.as_str());
        let name = name.replacen(':', ".js:", 1);
        let text = format!("Trying to execute {name} as {asked}, but it is defined as {is}.");
        return Ok(Outcome::Failed(text, None));
    }
    if function.visibility == Visibility::Internal {
        identity.require(match function.kind {
            FunctionKind::Query => Operation::RunInternalQueries,
            FunctionKind::Mutation => Operation::RunInternalMutations,
            FunctionKind::Action => Operation::RunInternalActions,
        })?;
    }
    let result = args.clone().and_then(|args| functions::run(deployment, now, function, &args));
    Ok(result.map_or_else(|thrown| failed(function, thrown), Outcome::Value))
}

fn refusal_while_stopped(state: RunState) -> Option<&'static str> {
    match state {
        RunState::Running => None,
        RunState::Paused => Some(
            "Cannot run functions while this deployment is paused. Resume the deployment in the dashboard settings to allow functions to run.",
        ),
        RunState::Disabled => {
            Some("This deployment has been disabled because it exceeded a configured usage limit.")
        }
        RunState::Suspended => {
            Some("Cannot run functions while this deployment is suspended. Please contact support.")
        }
    }
}

fn not_found(endpoint: Endpoint<'_>, name: &str) -> String {
    let name = name.strip_suffix(":default").unwrap_or(name);
    let what = match endpoint {
        Endpoint::Any | Endpoint::Run(_) => "function",
        Endpoint::Typed(_) => "public function",
    };
    format!(
        "Could not find {what} for '{name}'. Did you forget to run `npx convex dev` or `npx convex deploy`?"
    )
}

fn failed(function: &Function, thrown: Thrown) -> Outcome {
    let module = function.name.split(':').next().unwrap_or_default();
    let trace = format!("    at handler (../convex/{module}.ts:1:1)\n");
    match thrown {
        Thrown::Arguments(message) => {
            Outcome::Failed(format!("ArgumentValidationError: {message}\n"), None)
        }
        Thrown::Error(message) => {
            Outcome::Failed(format!("Uncaught Error: {message}\n{trace}"), None)
        }
        Thrown::ConvexError { message, error_value } => {
            Outcome::Failed(format!("Uncaught ConvexError: {message}\n{trace}"), Some(error_value))
        }
    }
}

fn encode(outcome: Outcome, encoding: Encoding, request_id: &str) -> Json {
    match outcome {
        Outcome::Value(value) => json!({ "status": "success", "value": value.encode(encoding) }),
        Outcome::Failed(text, error_value) => {
            let message = format!("[Request ID: {request_id}] Server Error\n{text}");
            let mut body = BTreeMap::from([
                ("status", json!("error")),
                ("errorMessage", Json::String(message)),
            ]);
            if let Some(error_value) = error_value {
                body.insert("errorData", error_value.encode(encoding));
            }
            json!(body)
        }
    }
}

/// Arguments of 16 MiB and what surrounds them.
pub(crate) const CALL_BODY_BYTES_MAX: usize = (16 << 20) + 2000;
