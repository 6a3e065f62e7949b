//! The control endpoints `/_emulator/*`: faults, foreign edits and records, from outside.
//!
//! They need no key and no content type, and never meet a fault. They exist for tests and demos on loopback; nothing a
//! client of a real deployment could call is here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::clock::EmulatorClock;
use crate::connection::{Carried, ConnectionCounts};
use crate::deployment::Deployment;
use crate::envvars::EnvChange;
use crate::faults::{self, Fault};
use crate::injected::InjectedExecutions;
use crate::metrics::Gauges;
use crate::records::{RequestRecord, Write};
use crate::run_state::{DisabledBy, RunState};
use crate::sent::Sent;
use crate::tasks::Task;
use crate::wire::{ApiError, Request, Response};

/// The part of the path that leads here.
pub const PREFIX: &str = "/_emulator/";

/// What controls show of the server around a deployment.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its clock.
    pub clock: EmulatorClock,
    /// Its connections.
    pub connections: ConnectionCounts,
    /// What each of them carried, oldest first.
    pub carried: Vec<Carried>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RestartBody {
    cursor_back_ms: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateBody {
    state: RunState,
    #[serde(rename = "disabledBy", default)]
    disabled_by: DisabledBy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactionBody {
    redacts: bool,
}

/// Answers a control request at `now`.
pub fn handle(
    deployment: &mut Deployment,
    server: &Server,
    now: Timestamp,
    request: &Request,
) -> Response {
    answer(deployment, server, now, request).unwrap_or_else(Response::from)
}

fn answer(
    deployment: &mut Deployment,
    server: &Server,
    now: Timestamp,
    request: &Request,
) -> Result<Response, ApiError> {
    let name = request.path.strip_prefix(PREFIX).unwrap_or_default();
    let known = match request.method.as_str() {
        "GET" => show(deployment, server, now, name).map(|body| Response::json(200, &body)),
        _ if act(deployment, now, request, name)? => Some(Response::empty(200)),
        _ => None,
    };
    known.ok_or_else(|| ApiError::new(404, "NoSuchControl", format!("there is no {name} here")))
}

/// What a `GET` shows; `None` for a name that is none.
fn show(deployment: &Deployment, server: &Server, now: Timestamp, name: &str) -> Option<Json> {
    Some(match name {
        "writes" => deployment.writes().iter().map(Write::to_json).collect(),
        "requests" => deployment.requests().iter().map(RequestRecord::to_json).collect(),
        "sent" => deployment.sent().iter().map(Sent::to_json).collect(),
        "tasks" => deployment.tasks().iter().map(task_json).collect(),
        "env" => json!(deployment.env().to_map()),
        "faults" => faults::to_json(deployment.faults()),
        "clock" => {
            json!({
                "now": now.to_string(),
                "startedAt": deployment.progress().started_at().to_string(),
                "realOrigin": server.clock.real_origin().to_string(),
                "origin": server.clock.origin().to_string(),
                "scale": server.clock.scale(),
            })
        }
        "connections" => {
            json!({
                "accepted": server.connections.accepted,
                "open": server.connections.open,
                "each": server.carried.iter().map(Carried::to_json).collect::<Json>(),
            })
        }
        _ => return None,
    })
}

/// Does what another request asks for; `false` for a name that is none.
fn act(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    name: &str,
) -> Result<bool, ApiError> {
    match (request.method.as_str(), name) {
        ("POST", "faults") => {
            deployment.inject(request.read_any::<Fault>(BODY_BYTES_MAX)?);
        }
        ("DELETE", "faults") => {
            deployment.faults_mut().clear();
        }
        ("POST", "env") => {
            let values = request.read_any::<BTreeMap<String, Option<String>>>(BODY_BYTES_MAX)?;
            let changes: Vec<EnvChange> =
                values.into_iter().map(|(name, value)| EnvChange { name, value }).collect();
            match request.query.get("by") {
                Some(member) => deployment.edit_as(member, &changes, now)?,
                None => deployment.edit(&changes, now)?,
            }
        }
        ("POST", "state") => {
            deployment.catch_up(now);
            let body = request.read_any::<StateBody>(BODY_BYTES_MAX)?;
            deployment.set_disabled_by(body.disabled_by);
            deployment.set_run_state(body.state);
        }
        ("POST", "executions") => {
            let injected = request.read_any::<Vec<InjectedExecutions>>(BODY_BYTES_MAX)?;
            deployment.inject_executions(now, &injected);
        }
        ("POST", "gauges") => {
            let gauges = request.read_any::<Gauges>(BODY_BYTES_MAX)?;
            deployment.activity_mut().metrics_mut().gauges = gauges;
        }
        ("POST", "restart") => {
            let body = if request.body.is_empty() {
                RestartBody::default()
            } else {
                request.read_any::<RestartBody>(BODY_BYTES_MAX)?
            };
            deployment.restart(now, body.cursor_back_ms.max(0.0));
        }
        ("POST", "audit_log") => {
            deployment.set_audit_access(request.read_any(BODY_BYTES_MAX)?);
        }
        ("POST", "variables") => {
            deployment.declare(request.read_any(BODY_BYTES_MAX)?);
        }
        ("POST", "redaction") => {
            let body = request.read_any::<RedactionBody>(BODY_BYTES_MAX)?;
            deployment.set_redaction(body.redacts);
        }
        ("POST", "push") => {
            deployment.push(now);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn task_json(task: &Task) -> Json {
    json!({
        "id": task.id,
        "name": task.name,
        "requestKey": task.request_key,
        "createdAt": task.created_at.to_string(),
    })
}

/// Far more than any control request needs.
const BODY_BYTES_MAX: usize = 2 << 20;
