//! The two endpoints of environment variables, in Convex's order of checks: key, then body, then
//! permission, then values.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::access::Operation;
use crate::deployment::Deployment;
use crate::envvars::{EnvChange, EnvVarRejected};
use crate::records::Write;
use crate::wire::{ApiError, Request, Response, identify};

#[derive(Deserialize)]
struct UpdateBody {
    changes: Vec<EnvChange>,
}

pub(crate) fn list(deployment: &Deployment, request: &Request) -> Result<Response, ApiError> {
    identify(deployment, request)?.require(Operation::ViewEnvironmentVariables)?;
    let body = json!({ "environmentVariables": deployment.env().to_map() });
    Ok(Response::json(200, &body))
}

pub(crate) fn update(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
) -> Result<Response, ApiError> {
    let identity = identify(deployment, request)?;
    let changes = read_changes(request)?;
    let write = Write::by_client(now, request, &changes);
    if let Err(error) = identity.require(Operation::WriteEnvironmentVariables) {
        deployment.record_lost_write(write);
        return Err(error);
    }
    deployment.write(write, &changes)?;
    Ok(Response::empty(200))
}

/// Whether `path` is one of the two names of the update endpoint.
pub(crate) fn is_update(path: &str) -> bool {
    matches!(path, "/api/v1/update_environment_variables" | "/api/update_environment_variables")
}

/// Reads the changes of an update.
pub(crate) fn read_changes(request: &Request) -> Result<Vec<EnvChange>, ApiError> {
    request.read_json::<UpdateBody>(UPDATE_BODY_BYTES_MAX).map(|body| body.changes)
}

impl From<EnvVarRejected> for ApiError {
    fn from(rejected: EnvVarRejected) -> Self {
        Self::new(400, rejected.code(), rejected.to_string())
    }
}

/// Convex's default limit of a body.
pub(crate) const UPDATE_BODY_BYTES_MAX: usize = 2 << 20;
