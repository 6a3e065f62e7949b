//! The system queries that a rollout tool needs, as Convex offers them under `_system/`.
//!
//! They answer holders of a key only, through `/api/query` only, and also while the deployment is
//! paused. None of them changes anything.

use jiff::Timestamp;
use serde_json::json;

use crate::completion::UdfType;
use crate::deployment::Deployment;
use crate::functions::{
    self, ArgKind, ArgSpec, Args, Function, FunctionKind, Presence, Visibility,
};
use crate::metrics::canonical_path;
use crate::traffic::Traffic;
use crate::value::Value;

fn query_environment_variables(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    let rows = deployment.env().rows().map(|(name, row)| {
        Value::object([
            ("_id", Value::text(&row.stamp.id)),
            ("_creationTime", Value::Float(row.stamp.creation_time)),
            ("name", Value::text(name)),
            ("value", Value::text(&row.value)),
        ])
    });
    Value::Array(rows.collect())
}

fn get_environment_variable(deployment: &mut Deployment, _: Timestamp, args: &Args) -> Value {
    let name = args.get("name").and_then(Value::as_text).unwrap_or_default();
    // The built-in variables are in no table but in the runtime environment, which this query reads.
    let value = match name {
        "CONVEX_CLOUD_URL" => Some(format!("https://{}.convex.cloud", deployment.name())),
        "CONVEX_SITE_URL" => Some(format!("https://{}.convex.site", deployment.name())),
        _ => deployment.env().get(name).map(str::to_owned),
    };
    value.map_or(Value::Null, |value| {
        Value::object([("name", Value::text(name)), ("value", Value::Text(value))])
    })
}

fn deployment_state(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    Value::object([("state", Value::text(deployment.run_state().as_str()))])
}

fn last_push_event(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    let push = deployment.last_push();
    Value::object([
        ("_id", Value::text(&push.id)),
        ("_creationTime", Value::Float(push.creation_time)),
        ("action", Value::text("push_config")),
    ])
}

fn api_spec(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    let spec = |function: &Function| {
        let (module, name) = function.name.split_once(':').unwrap_or((function.name, "default"));
        Value::object([
            ("identifier", Value::Text(format!("{module}.js:{name}"))),
            ("functionType", Value::text(function.kind.as_str())),
            ("visibility", Value::object([("kind", Value::text(function.visibility.as_str()))])),
            ("args", args_validator(function.args)),
            ("returns", Value::object([("type", Value::text("any"))])),
        ])
    };
    let mut specs: Vec<Value> = functions::all().map(spec).collect();
    let traffic = &deployment.progress().scenario().traffic;
    let is_new = |traffic: &&Traffic| functions::find(&traffic.function).is_none();
    specs.extend(traffic.iter().filter(is_new).map(traffic_spec));
    Value::Array(specs)
}

/// The spec of a function that is only called by traffic.
fn traffic_spec(traffic: &Traffic) -> Value {
    let kind = ("functionType", Value::text(traffic.udf_type.as_str()));
    if let (UdfType::HttpAction, Some((method, path))) =
        (traffic.udf_type, traffic.function.split_once(' '))
    {
        return Value::object([kind, ("method", Value::text(method)), ("path", Value::text(path))]);
    }
    let any = || Value::object([("type", Value::text("any"))]);
    Value::object([
        ("identifier", Value::text(canonical_path(&traffic.function))),
        kind,
        ("visibility", Value::object([("kind", Value::text("public"))])),
        ("args", any()),
        ("returns", any()),
    ])
}

fn args_validator(args: &[ArgSpec]) -> Value {
    let fields: serde_json::Map<String, serde_json::Value> = args
        .iter()
        .map(|arg| {
            let optional = arg.presence == Presence::Optional;
            let kind = match arg.kind {
                ArgKind::Text => "string",
                ArgKind::Number => "number",
            };
            (arg.name.to_owned(), json!({"fieldType": {"type": kind}, "optional": optional}))
        })
        .collect();
    let validator = json!({"type": "object", "value": fields});
    Value::decode(&validator).unwrap_or(Value::Null)
}

fn cloud_url(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    Value::Text(format!("https://{}.convex.cloud", deployment.name()))
}

fn site_url(deployment: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    Value::Text(format!("https://{}.convex.site", deployment.name()))
}

fn get_version(_: &mut Deployment, _: Timestamp, _: &Args) -> Value {
    Value::text(PUSHED_NPM_VERSION)
}

const fn query(
    name: &'static str,
    args: &'static [ArgSpec],
    body: fn(&mut Deployment, Timestamp, &Args) -> Value,
) -> Function {
    Function { name, kind: FunctionKind::Query, visibility: Visibility::Internal, args, body }
}

/// The version of the npm package that the app was pushed with.
const PUSHED_NPM_VERSION: &str = "1.48.0";
const NAME: [ArgSpec; 1] =
    [ArgSpec { name: "name", kind: ArgKind::Text, presence: Presence::Required }];
pub(crate) static FUNCTIONS: [Function; 9] = [
    query("_system/cli/queryEnvironmentVariables:default", &[], query_environment_variables),
    query("_system/cli/queryEnvironmentVariables:get", &NAME, get_environment_variable),
    query("_system/frontend/listEnvironmentVariables:default", &[], query_environment_variables),
    query("_system/frontend/deploymentState:deploymentState", &[], deployment_state),
    query("_system/frontend/deploymentEvents:lastPushEvent", &[], last_push_event),
    query("_system/cli/convexUrl:cloudUrl", &[], cloud_url),
    query("_system/cli/convexUrl:siteUrl", &[], site_url),
    query("_system/cli/modules:apiSpec", &[], api_spec),
    query("_system/frontend/getVersion:default", &[], get_version),
];
