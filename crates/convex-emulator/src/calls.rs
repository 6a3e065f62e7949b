//! Running a function for a caller, over HTTP or the websocket: finds it, judges who may, runs it,
//! and notes the execution.
//!
//! Everything that goes wrong before user code runs is an answer like any other here, told apart
//! by its text only; [`ApiError`] is left for what the server refuses to look at.

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::access::{Identity, Operation};
use crate::completion::{Caller, LogLine};
use crate::deployment::Deployment;
use crate::functions::{self, Args, Function, FunctionKind, Thrown, Visibility};
use crate::value::Value;
use crate::wire::ApiError;

/// Which way a function was called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint<'a> {
    /// `/api/function`: any type, with a key only.
    Any,
    /// `/api/query`, `/api/mutation`, `/api/action`, and the websocket.
    Typed(FunctionKind),
    /// `/api/run/<path>`: any type.
    Run(&'a str),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Value(Value),
    /// A function error: the text after `Server Error`, and the thrown value of a `ConvexError`.
    Failed(String, Option<Value>),
}

/// What is answered to a call.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// What the function logged, as answers show it.
    pub(crate) log_lines: Vec<String>,
}

/// A call that was judged, and run if it came to that.
struct Ran {
    outcome: Outcome,
    /// As what it is noted; `None` is not at all.
    noted: Option<FunctionKind>,
    log_lines: Vec<LogLine>,
}

/// A call, read and taken apart.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: Endpoint<'a>,
    pub(crate) identity: Identity,
    /// Canonical: `module:function`.
    pub(crate) name: &'a str,
    pub(crate) args: &'a Result<Args, Thrown>,
    pub(crate) caller: Caller,
    pub(crate) request_id: &'a str,
}

/// Runs a function and notes the execution, unless it is one of the system's own.
pub(crate) fn execute(
    deployment: &mut Deployment,
    now: Timestamp,
    call: &Call<'_>,
) -> Result<Answer, ApiError> {
    let Ran { outcome, noted, log_lines } = run(deployment, now, call)?;
    let shown = if deployment.redacts() { &[] } else { &*log_lines };
    let answer = Answer {
        outcome: outcome.clone(),
        log_lines: shown.iter().map(LogLine::to_text).collect(),
    };
    if let Some(kind) = noted {
        deployment.catch_up(now);
        deployment.activity_mut().note(now, call, kind, &outcome, log_lines);
    }
    Ok(answer)
}

/// Turns `dir/module.js:function` into `dir/module:function`, and adds `:default`.
pub(crate) fn canonical_name(path: &str) -> Result<String, ApiError> {
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

pub(crate) fn read_args(args: &Json) -> Result<Result<Args, Thrown>, ApiError> {
    // The old form: an array of one object.
    let args = args.as_array().filter(|items| items.len() == 1).map_or(args, |items| &items[0]);
    let value = Value::decode(args)
        .map_err(|error| ApiError::new(400, "InvalidArguments", error.to_string()))?;
    let Value::Object(args) = value else {
        return Ok(Err(Thrown::Arguments("Value does not match validator.".to_owned())));
    };
    Ok(Ok(args))
}

/// The outcome, and as what kind of function it is noted: refusals count under the name that was
/// asked for, except where the endpoint first has to find out what the name stands for.
fn run(deployment: &mut Deployment, now: Timestamp, call: &Call<'_>) -> Result<Ran, ApiError> {
    let is_system = call.name.starts_with("_system/");
    let asked = match call.endpoint {
        Endpoint::Typed(kind) if !is_system => Some(kind),
        Endpoint::Typed(_) | Endpoint::Any | Endpoint::Run(_) => None,
    };
    let refuse = |text: String, noted| {
        Ok(Ran { outcome: Outcome::Failed(text, None), noted, log_lines: Vec::new() })
    };
    let is_visible = |function: &&Function| match function.visibility {
        Visibility::Public => true,
        Visibility::Internal => call.identity != Identity::Anyone,
    };
    let can_find = !is_system || matches!(call.endpoint, Endpoint::Typed(_));
    let found = functions::find(call.name).filter(is_visible).filter(|_| can_find);
    let noted = asked.or_else(|| found.filter(|_| !is_system).map(|function| function.kind));
    if !is_system && let Some(refusal) = deployment.refusal() {
        return refuse(refusal.to_owned(), noted);
    }
    let Some(function) = found else {
        return match deployment.progress().scenario().kind_of_traffic(call.name) {
            Some(kind) if asked.is_none_or(|asked| asked == kind) => {
                let (outcome, noted) = (Outcome::Value(Value::Null), Some(kind));
                Ok(Ran { outcome, noted, log_lines: Vec::new() })
            }
            Some(kind) => refuse(wrong_kind(call.name, asked.unwrap_or(kind), kind), noted),
            None => refuse(not_found(call.endpoint, call.name), noted),
        };
    };
    if let Endpoint::Typed(kind) = call.endpoint
        && kind != function.kind
    {
        return refuse(wrong_kind(call.name, kind, function.kind), noted);
    }
    if function.visibility == Visibility::Internal {
        call.identity.require(match function.kind {
            FunctionKind::Query => Operation::RunInternalQueries,
            FunctionKind::Mutation => Operation::RunInternalMutations,
            FunctionKind::Action => Operation::RunInternalActions,
        })?;
    }
    let args = call.args.clone();
    let result = args.and_then(|args| functions::run(deployment, now, function, &args));
    let log_lines = match result {
        Err(Thrown::Arguments(_)) => Vec::new(),
        Ok(_) | Err(_) => deployment.progress().logged(function.name, now),
    };
    let outcome = result.map_or_else(|thrown| failed(function, thrown), Outcome::Value);
    Ok(Ran { outcome, noted, log_lines })
}

fn wrong_kind(name: &str, asked: FunctionKind, is: FunctionKind) -> String {
    let (asked, is) = (asked.as_str(), is.as_str());
    let name = name.replacen(':', ".js:", 1);
    format!("Trying to execute {name} as {asked}, but it is defined as {is}.")
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
