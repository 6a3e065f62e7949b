//! The wire without sockets: a request in, a response out, as a pure function of state and time.
//!
//! Owns routing, the common checks and the form of errors. What the endpoints do is in
//! `env_routes` and `function_routes`. Faults are not met here but in
//! [`crate::delivery`]: this is how the deployment answers when nothing is wrong.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::access::{Credential, Identity, Operation, READ_ONLY_OPERATIONS};
use crate::audit;
use crate::batch_routes::{self, BatchRoute};
use crate::calls::Endpoint;
use crate::control_plane::{self, ControlPlane};
use crate::deployment::Deployment;
use crate::env_routes;
use crate::function_routes;
use crate::functions::FunctionKind;
use crate::metrics_routes::{self, MetricsRoute};
use crate::streams::{self, StreamKind};
use crate::sync_routes;

/// A request as it arrived, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` ...
    pub method: String,
    /// The path without the query string.
    pub path: String,
    /// The decoded query string.
    pub query: BTreeMap<String, String>,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A response to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The content type; `None` for an empty body.
    pub content_type: Option<&'static str>,
    /// Further headers by lower-case name.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A refusal with a body `{"code", "message"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// What programs switch on.
    pub code: String,
    /// What people read.
    pub message: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Request {
    /// Makes a request without headers and body.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: method.into(), path: path.into(), ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// Adds a JSON body with its content type.
    #[must_use]
    pub fn json(mut self, body: &Json) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    /// Reads a JSON body of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// 400 `BadJsonBody` for another content type, too many bytes, or another shape.
    pub fn read_json<T: DeserializeOwned>(&self, bytes_max: usize) -> Result<T, ApiError> {
        let content_type = self.headers.get("content-type").map_or("", String::as_str);
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_ascii_lowercase();
        let is_json = media_type == "application/json"
            || (media_type.starts_with("application/") && media_type.ends_with("+json"));
        if !is_json {
            let message = "expected a request with `Content-Type: application/json`";
            return Err(ApiError::new(400, "BadJsonBody", message.to_owned()));
        }
        self.read_any(bytes_max)
    }

    /// Reads a JSON body of at most `bytes_max` bytes, whatever it is called.
    ///
    /// # Errors
    ///
    /// 400 `BadJsonBody` for too many bytes or another shape.
    pub fn read_any<T: DeserializeOwned>(&self, bytes_max: usize) -> Result<T, ApiError> {
        let refuse = |message: String| ApiError::new(400, "BadJsonBody", message);
        if self.body.len() > bytes_max {
            return Err(refuse(format!("the body is larger than {bytes_max} bytes")));
        }
        serde_json::from_slice(&self.body).map_err(|error| refuse(error.to_string()))
    }
}

impl Response {
    /// Makes a response with an empty body and no content type.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, content_type: None, headers: Vec::new(), body: Vec::new() }
    }

    /// Makes a JSON response.
    #[must_use]
    pub fn json(status: u16, body: &Json) -> Self {
        let body = body.to_string().into_bytes();
        Self { content_type: Some("application/json"), body, ..Self::empty(status) }
    }

    /// Makes a 200 response of plain text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let content_type = Some("text/plain; charset=utf-8");
        Self { content_type, body: text.as_bytes().to_vec(), ..Self::empty(200) }
    }
}

impl ApiError {
    /// Makes an error.
    #[must_use]
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), headers: Vec::new() }
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        let body = json!({ "code": error.code, "message": error.message });
        Self { headers: error.headers, ..Self::json(error.status, &body) }
    }
}

/// Answers a request at `now`.
pub fn handle(deployment: &mut Deployment, now: Timestamp, request: &Request) -> Response {
    let Some(route) = Route::find(&request.path) else { return Response::empty(404) };
    if !route.methods().contains(&request.method.as_str()) {
        let allow = vec![("allow", route.methods().join(","))];
        return Response { headers: allow, ..Response::empty(405) };
    }
    answer(deployment, now, request, route).unwrap_or_else(Response::from)
}

#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    Greeting,
    Version,
    InstanceName,
    CheckAdminKey,
    DeploymentKind,
    AuditLog,
    ListEnv,
    UpdateEnv,
    Function(Endpoint<'a>),
    Sync,
    Stream(StreamKind),
    Metrics(MetricsRoute),
    Batch(BatchRoute),
    ControlPlane(ControlPlane),
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        Some(match path {
            "/" => Self::Greeting,
            "/version" | "/instance_version" => Self::Version,
            "/instance_name" => Self::InstanceName,
            "/api/check_admin_key" => Self::CheckAdminKey,
            "/api/v1/deployment_info" => Self::DeploymentKind,
            "/api/v1/list_audit_log_events" => Self::AuditLog,
            "/api/v1/list_environment_variables" | "/api/list_environment_variables" => {
                Self::ListEnv
            }
            path if env_routes::is_update(path) => Self::UpdateEnv,
            "/api/function" => Self::Function(Endpoint::Any),
            "/api/query" => Self::Function(Endpoint::Typed(FunctionKind::Query)),
            "/api/mutation" => Self::Function(Endpoint::Typed(FunctionKind::Mutation)),
            "/api/action" => Self::Function(Endpoint::Typed(FunctionKind::Action)),
            path if sync_routes::is_sync(path) => Self::Sync,
            path => return Self::find_by_prefix(path),
        })
    }

    fn find_by_prefix(path: &'a str) -> Option<Self> {
        let stream = StreamKind::find(path).map(Self::Stream);
        let metrics = || MetricsRoute::find(path).map(Self::Metrics);
        let run = || path.strip_prefix("/api/run/").map(Endpoint::Run).map(Self::Function);
        let batch = || BatchRoute::find(path).map(Self::Batch);
        let control_plane = || ControlPlane::find(path).map(Self::ControlPlane);
        stream.or_else(metrics).or_else(batch).or_else(control_plane).or_else(run)
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Greeting
            | Self::Version
            | Self::InstanceName
            | Self::CheckAdminKey
            | Self::DeploymentKind
            | Self::AuditLog
            | Self::ListEnv
            | Self::Sync
            | Self::Stream(_)
            | Self::Metrics(_) => &["GET"],
            Self::Function(Endpoint::Typed(FunctionKind::Query)) => &["GET", "POST"],
            Self::UpdateEnv | Self::Function(_) | Self::Batch(_) | Self::ControlPlane(_) => {
                &["POST"]
            }
        }
    }
}

fn answer(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    route: Route<'_>,
) -> Result<Response, ApiError> {
    check_client(request)?;
    match route {
        Route::Greeting => Ok(Response::text("This Convex deployment is running (emulated).")),
        Route::Version => Ok(Response::text("unknown")),
        Route::InstanceName => Ok(Response::text(deployment.name())),
        Route::CheckAdminKey => check_admin_key(deployment, request),
        Route::DeploymentKind => {
            identify(deployment, request)?.require(Operation::ViewData)?;
            Ok(Response::json(200, &json!({ "kind": "selfHosted" })))
        }
        Route::AuditLog => audit::list(deployment, now, request),
        Route::ListEnv => env_routes::list(deployment, request),
        Route::UpdateEnv => env_routes::update(deployment, now, request),
        Route::Function(endpoint) => function_routes::call(deployment, now, request, endpoint),
        Route::Sync => Ok(sync_routes::upgrade(request)),
        Route::Batch(route) => batch_routes::answer(deployment, now, request, route),
        Route::ControlPlane(call) => control_plane::answer(deployment, request, call),
        Route::Metrics(route) => metrics_routes::answer(deployment, now, request, route),
        Route::Stream(kind) => streams::answer(deployment, now, request, kind),
    }
}

/// Reads the header and checks the key at once, as all endpoints but those of functions do.
pub(crate) fn identify(deployment: &Deployment, request: &Request) -> Result<Identity, ApiError> {
    deployment.keys().identify(&Credential::read(request)?)
}

fn check_admin_key(deployment: &Deployment, request: &Request) -> Result<Response, ApiError> {
    let identity = identify(deployment, request)?;
    identity.require_key()?;
    let is_read_only = identity == Identity::Reader;
    // An empty list means that everything is allowed.
    let allowed: &[&str] = if is_read_only { &READ_ONLY_OPERATIONS } else { &[] };
    let body = json!({ "success": true, "allowedOps": allowed, "isReadOnly": is_read_only });
    Ok(Response::json(200, &body))
}

/// Checks the `Convex-Client` header: its form, and the least version of the official clients.
fn check_client(request: &Request) -> Result<(), ApiError> {
    let Some(client) = request.headers.get("convex-client") else { return Ok(()) };
    let invalid = || {
        let message = format!("`{client}` is not of the form <name>-<version>");
        Err(ApiError::new(400, "InvalidClientVersion", message))
    };
    if !client.contains('-') {
        return invalid();
    }
    for (prefix, least) in CLIENT_VERSIONS_MIN {
        let Some(version) = client.strip_prefix(prefix) else { continue };
        let Some(version) = parse_version(version) else { return invalid() };
        if version < least {
            let message = format!("the client version `{client}` is no longer supported");
            let mut error = ApiError::new(400, "ClientVersionUnsupported", &message);
            error.headers = vec![
                ("x-convex-deprecation-state", "Unsupported".to_owned()),
                ("x-convex-deprecation-message", message),
            ];
            return Err(error);
        }
        return Ok(());
    }
    Ok(())
}

fn parse_version(version: &str) -> Option<[u64; 3]> {
    let core = version.split(['-', '+']).next()?;
    let numbers: Vec<u64> = core.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Official clients and their least versions; the longer prefix comes first.
const CLIENT_VERSIONS_MIN: [(&str, [u64; 3]); 5] = [
    ("npm-cli-", [0, 19, 1]),
    ("npm-", [0, 19, 1]),
    ("rust-", [0, 0, 1]),
    ("python-", [0, 0, 0]),
    ("actions-", [0, 0, 0]),
];
