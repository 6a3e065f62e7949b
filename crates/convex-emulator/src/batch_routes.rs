//! Several queries at once, queries at a time, and the ad-hoc query that an emulator cannot run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::Credential;
use crate::calls::Endpoint;
use crate::deployment::Deployment;
use crate::function_routes::{self, CALL_BODY_BYTES_MAX, CallBody};
use crate::functions::FunctionKind;
use crate::wire::{ApiError, Request, Response};

/// Which of these endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BatchRoute {
    QueryBatch,
    QueryTs,
    QueryAtTs,
    RunTestFunction,
}

#[derive(Deserialize)]
struct BatchBody {
    queries: Vec<CallBody>,
}

#[derive(Deserialize)]
struct AtBody {
    ts: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestBody {
    admin_key: String,
}

impl BatchRoute {
    pub(crate) fn find(path: &str) -> Option<Self> {
        match path {
            "/api/query_batch" => Some(Self::QueryBatch),
            "/api/query_ts" => Some(Self::QueryTs),
            "/api/query_at_ts" => Some(Self::QueryAtTs),
            "/api/run_test_function" => Some(Self::RunTestFunction),
            _ => None,
        }
    }
}

pub(crate) fn answer(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    route: BatchRoute,
) -> Result<Response, ApiError> {
    let query = Endpoint::Typed(FunctionKind::Query);
    let body = match route {
        BatchRoute::QueryBatch => {
            let BatchBody { queries } = request.read_json(CALL_BODY_BYTES_MAX)?;
            let results: Vec<Json> = queries
                .into_iter()
                .map(|call| function_routes::run_body(deployment, now, request, query, call))
                .collect::<Result<_, _>>()?;
            json!({ "results": results })
        }
        BatchRoute::QueryTs => json!({ "ts": BASE64.encode(nanos(now).to_le_bytes()) }),
        BatchRoute::QueryAtTs => {
            let AtBody { ts } = request.read_json(CALL_BODY_BYTES_MAX)?;
            let call: CallBody = request.read_json(CALL_BODY_BYTES_MAX)?;
            check_ts(deployment, now, &ts)?;
            function_routes::run_body(deployment, now, request, query, call)?
        }
        BatchRoute::RunTestFunction => {
            let TestBody { admin_key } = request.read_json(CALL_BODY_BYTES_MAX)?;
            deployment.keys().identify(&Credential::Key(admin_key))?;
            let reason = "This is an emulator: it runs no JavaScript, and so no ad-hoc queries.";
            let request_id = deployment.next_request_id();
            let message = deployment.error_message(&request_id, reason);
            json!({ "status": "error", "errorMessage": message })
        }
    };
    Ok(Response::json(200, &body))
}

/// The emulator keeps no history: a time before the last change is one it cannot answer for.
fn check_ts(deployment: &Deployment, now: Timestamp, ts: &str) -> Result<(), ApiError> {
    let bytes = BASE64.decode(ts).ok().and_then(|bytes| bytes.try_into().ok());
    let Some(ts) = bytes.map(u64::from_le_bytes) else {
        return Err(ApiError::new(400, "BadJsonBody", "`ts` is not base64 of 8 bytes"));
    };
    if ts > nanos(now) {
        return Err(ApiError::new(400, "InvalidTimestamp", "`ts` lies in the future"));
    }
    if ts < nanos(deployment.changed_at()) {
        let message = "`ts` is older than the last change, and the emulator keeps no history";
        return Err(ApiError::new(400, "SnapshotTooOld", message));
    }
    Ok(())
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}
