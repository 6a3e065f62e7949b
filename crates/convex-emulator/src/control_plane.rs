//! The two calls to Convex's control plane with which the CLI begins when it has a deploy key.
//!
//! For `CONVEX_PROVISION_HOST=<url of the emulator>`: the emulator is then both the control plane
//! and the only deployment that this control plane knows.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::Credential;
use crate::deployment::Deployment;
use crate::wire::{ApiError, Request, Response};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    deploy_key: String,
}

/// Which call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ControlPlane {
    UrlForKey,
    TeamAndProjectForKey,
}

impl ControlPlane {
    pub(crate) fn find(path: &str) -> Option<Self> {
        match path {
            "/api/deployment/url_for_key" => Some(Self::UrlForKey),
            "/api/deployment/team_and_project_for_key" => Some(Self::TeamAndProjectForKey),
            _ => None,
        }
    }
}

pub(crate) fn answer(
    deployment: &Deployment,
    request: &Request,
    call: ControlPlane,
) -> Result<Response, ApiError> {
    let KeyBody { deploy_key } = request.read_json(BODY_BYTES_MAX)?;
    deployment.keys().identify(&Credential::Key(deploy_key)).map_err(|_| {
        ApiError::new(401, "InvalidDeploymentKey", "the deploy key is of no deployment here")
    })?;
    let body = match call {
        ControlPlane::UrlForKey => {
            let host = request.headers.get("host").map_or("127.0.0.1", String::as_str);
            Json::String(format!("http://{host}"))
        }
        ControlPlane::TeamAndProjectForKey => json!({
            "team": "emulated-team",
            "project": "emulated-project",
            "teamId": 1,
            "projectId": 1,
            "reference": null,
            "isDefault": true,
        }),
    };
    Ok(Response::json(200, &body))
}

/// Far more than a key.
const BODY_BYTES_MAX: usize = 64 << 10;
