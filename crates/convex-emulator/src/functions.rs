//! The app's functions: the guide's dashboard, and tasks as a stand-in for real work.
//!
//! Functions are looked up by their canonical name `module:function`. They read and change the
//! deployment only; who may call them and how answers are written is decided by the caller.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::deployment::Deployment;
use crate::health;
use crate::scenario::Alert;
use crate::stamps::to_millis;
use crate::system;
use crate::value::Value;

/// What kind of function it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// Reads.
    Query,
    /// Reads and writes.
    Mutation,
    /// Does anything; the app has none.
    Action,
}

/// Who may call a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Anyone.
    Public,
    /// Holders of a key.
    Internal,
}

/// Arguments by name, decoded.
pub type Args = BTreeMap<String, Value>;

/// A function of the app.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// `module:function`.
    pub name: &'static str,
    /// What kind it is.
    pub kind: FunctionKind,
    /// Who may call it.
    pub visibility: Visibility,
    /// Its arguments.
    pub args: &'static [ArgSpec],
    pub(crate) body: fn(&mut Deployment, Timestamp, &Args) -> Value,
}

/// An argument.
#[derive(Debug, Clone, Copy)]
pub struct ArgSpec {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// Whether it may be left out.
    pub presence: Presence,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    /// `v.string()`
    Text,
    /// `v.number()`
    Number,
}

/// Whether an argument may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It may not.
    Required,
    /// It may.
    Optional,
}

/// Why a function did not return.
#[derive(Debug, Clone, PartialEq)]
pub enum Thrown {
    /// The arguments do not fit; nothing ran.
    Arguments(String),
    /// An ordinary error.
    Error(String),
    /// A `ConvexError`.
    ConvexError {
        /// Its text.
        message: String,
        /// What was thrown.
        error_value: Value,
    },
}

impl FunctionKind {
    /// The kind as Convex spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::Mutation => "Mutation",
            Self::Action => "Action",
        }
    }
}

impl Visibility {
    /// The visibility as Convex spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
        }
    }
}

/// Finds a function of the app or of the system.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    all().chain(&system::FUNCTIONS).find(|function| function.name == name)
}

/// The functions of the app.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter()
}

/// The names of the functions of the app.
#[must_use]
pub fn names() -> Vec<&'static str> {
    all().map(|function| function.name).collect()
}

/// Runs a function: checks its arguments, throws what the scenario says, else calls it.
///
/// # Errors
///
/// Returns what was thrown; nothing was changed then.
pub fn run(
    deployment: &mut Deployment,
    now: Timestamp,
    function: &Function,
    args: &Args,
) -> Result<Value, Thrown> {
    check_args(function, args)?;
    if let Some(throw) = deployment.progress().thrown(function.name, now) {
        let message = throw.message.clone();
        return Err(match throw.error_value.clone() {
            Some(error_value) => Thrown::ConvexError { message, error_value },
            None => Thrown::Error(message),
        });
    }
    Ok((function.body)(deployment, now, args))
}

fn check_args(function: &Function, args: &Args) -> Result<(), Thrown> {
    for spec in function.args {
        match args.get(spec.name) {
            Some(Value::Text(_)) if spec.kind == ArgKind::Text => {}
            Some(Value::Float(_)) if spec.kind == ArgKind::Number => {}
            None if spec.presence == Presence::Optional => {}
            None => {
                let name = spec.name;
                let message = format!("Object is missing the required field `{name}`.");
                return Err(Thrown::Arguments(message));
            }
            Some(_) => {
                let message = format!("Value does not match validator. Path: .{}", spec.name);
                return Err(Thrown::Arguments(message));
            }
        }
    }
    for name in args.keys() {
        if !function.args.iter().any(|spec| spec.name == name) {
            let message =
                format!("Object contains extra field `{name}` that is not in the validator.");
            return Err(Thrown::Arguments(message));
        }
    }
    Ok(())
}

/// The moment that is asked about: the end of the range, where there is one, and never the future.
fn asked_about(now: Timestamp, args: &Args) -> Timestamp {
    // Milliseconds since 1970 fit a float exactly; what does not is no moment.
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a moment")]
    let moment = |to: f64| Timestamp::from_millisecond(to as i64).ok();
    args.get("to").and_then(Value::as_float).and_then(moment).map_or(now, |to| to.min(now))
}

fn get_system_health(deployment: &mut Deployment, now: Timestamp, args: &Args) -> Value {
    Value::Object(deployment.health(asked_about(now, args)).fields)
}

fn check_alerts(deployment: &mut Deployment, now: Timestamp, args: &Args) -> Value {
    let alerts =
        deployment.health(asked_about(now, args)).alerts.into_iter().map(alert_value).collect();
    Value::object([
        ("alerts", Value::Array(alerts)),
        ("checkedAt", Value::Float(to_millis(now).floor())),
    ])
}

fn alert_value(alert: Alert) -> Value {
    let mut object = BTreeMap::from([
        ("severity".to_owned(), Value::Text(alert.severity)),
        ("message".to_owned(), Value::Text(alert.message)),
    ]);
    if let Some(metric) = alert.metric {
        object.insert("metric".to_owned(), Value::Text(metric));
    }
    Value::Object(object)
}

fn get_feature_flags(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    let env = deployment.env();
    let mut flags: BTreeMap<String, Value> = FLAGS
        .iter()
        .map(|flag| ((*flag).to_owned(), Value::Bool(env.get(flag) == Some("true"))))
        .collect();
    flags.insert("mode".to_owned(), Value::text(health::mode(env)));
    Value::Object(flags)
}

fn create_task(deployment: &mut Deployment, now: Timestamp, args: &Args) -> Value {
    let text = |name: &str| args.get(name).and_then(Value::as_text);
    let task =
        deployment.tasks_mut().create(text("name").unwrap_or_default(), text("requestKey"), now);
    Value::text(&task.id)
}

fn get_task(deployment: &mut Deployment, now: Timestamp, args: &Args) -> Value {
    let id = args.get("id").and_then(Value::as_text).unwrap_or_default();
    let Some(task) = deployment.tasks().get(id) else { return Value::Null };
    let status = task.status(&deployment.progress().scenario().tasks, now);
    Value::object([
        ("id", Value::text(&task.id)),
        ("name", Value::text(&task.name)),
        ("status", Value::text(status)),
    ])
}

/// Removes every task; answers how many there were.
fn clear_tasks(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "an emulator has not that many tasks")]
    Value::Float(deployment.tasks_mut().clear() as f64)
}

const fn required(name: &'static str) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::Text, presence: Presence::Required }
}

const fn optional(name: &'static str, kind: ArgKind) -> ArgSpec {
    ArgSpec { name, kind, presence: Presence::Optional }
}

/// A range of time in milliseconds since 1970; health is the one at its end.
const RANGE: &[ArgSpec] = &[optional("from", ArgKind::Number), optional("to", ArgKind::Number)];

/// The flags of the guide.
pub const FLAGS: [&str; 5] = [
    "ENABLE_RETRY_WITH_BACKOFF",
    "ENABLE_PROMPT_MESSAGE_ID",
    "ENABLE_MESSAGE_COMPRESSION",
    "LOG_PROVIDER_ENABLED",
    "ENABLE_WORKFLOW",
];
static FUNCTIONS: [Function; 6] = [
    Function {
        name: "monitoring/dashboard:getSystemHealth",
        kind: FunctionKind::Query,
        visibility: Visibility::Internal,
        args: RANGE,
        body: get_system_health,
    },
    Function {
        name: "monitoring/dashboard:checkAlerts",
        kind: FunctionKind::Query,
        visibility: Visibility::Internal,
        args: RANGE,
        body: check_alerts,
    },
    Function {
        name: "monitoring/dashboard:getFeatureFlags",
        kind: FunctionKind::Query,
        visibility: Visibility::Internal,
        args: &[],
        body: get_feature_flags,
    },
    Function {
        name: "tasks:create",
        kind: FunctionKind::Mutation,
        visibility: Visibility::Public,
        args: &[required("name"), optional("requestKey", ArgKind::Text)],
        body: create_task,
    },
    Function {
        name: "tasks:get",
        kind: FunctionKind::Query,
        visibility: Visibility::Public,
        args: &[required("id")],
        body: get_task,
    },
    Function {
        name: "tasks:clear",
        kind: FunctionKind::Mutation,
        visibility: Visibility::Internal,
        args: &[],
        body: clear_tasks,
    },
];
