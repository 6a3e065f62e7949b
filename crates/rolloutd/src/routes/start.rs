//! Owns `POST /v1/rollouts`: plan text in, a rollout on disk out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use jiff::Timestamp;
use rollout_api::client::IdempotencyKey;
use rollout_api::{Answer, StartRequest, StartResponse, plan};
use rollout_convex::Needs;
use rollout_core::{Order, Plan};
use rollout_engine::{Created, NewRollout};
use sha2::{Digest as _, Sha256};
use tracing::info;

use crate::doctor::endpoints;
use crate::view;
use crate::wiring::{Admitted, LOOK_MAX, Unfit};

use super::App;
use super::body;
use super::operator::Operator;
use super::path::bad_request;
use super::refusal::Refused;

/// Makes a repeated start harmless.
const KEY_HEADER: &str = "idempotency-key";

/// Starts a rollout: 201 with its place, or 200 when the same request did so before.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    Operator(actor): Operator,
    request: Request,
) -> Result<impl IntoResponse, Refused> {
    let idempotency_key = key(request.headers())?;
    let StartRequest { plan: text, start_at, reason, .. } = body::take(body::read(request).await?)?;
    let plan = plan::parse(&text).map_err(|errors| Refused::from(errors.to_problem()))?;
    let start_at = start_at.map(|text| moment(&text)).transpose()?;
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > Order::REASON_BYTES_MAX) {
        return Err(bad_request(format!(
            "the reason is longer than {} bytes",
            Order::REASON_BYTES_MAX
        )));
    }
    let needs = Needs::of(&plan);
    let (url, warnings) = admit(&app, &plan, &needs).await?;
    let notice = app.quarantine.notice(&plan, &url);
    let new = NewRollout {
        plan,
        digest: Sha256::digest(text.as_bytes()).into(),
        request_digest: digest_of_all(&text, start_at, reason.as_deref()),
        url,
        start_at,
        reason: reason.unwrap_or_else(|| format!("started by {actor}")),
        actor,
        idempotency_key,
    };
    let created = app.handle.create(new).await?;
    let (status, answer, said) = match &created {
        Created::New(_) => (StatusCode::CREATED, Answer::Accepted, "started"),
        Created::Before(_) => (StatusCode::OK, Answer::Already, "started before with this key"),
    };
    let rollout = view::short(created.rollout(), app.clock.now());
    info!(rollout = rollout.id, plan = rollout.plan, "{said}");
    let place = format!("/v1/rollouts/{}", rollout.id);
    Ok((status, [(LOCATION, place)], Json(StartResponse { answer, rollout, warnings, notice })))
}

/// What a key stands for: the plan, when it was to start, and why. Each part says how long it is, so that no two requests read alike.
fn digest_of_all(plan: &str, start_at: Option<Timestamp>, reason: Option<&str>) -> [u8; 32] {
    let start_at = start_at.map(|at| at.to_string());
    let mut digest = Sha256::new_with_prefix("rolloutd start 1\n");
    for part in [Some(plan), start_at.as_deref(), reason] {
        let length = part.map_or("none".to_owned(), |part| part.len().to_string());
        digest.update(format!("{length}\n{}\n", part.unwrap_or_default()));
    }
    digest.finalize().into()
}

/// Where the deployment answers and what the rollout will have to wait for, when nothing definite is against the plan. What
/// is against it is said all at once.
async fn admit(app: &App, plan: &Plan, needs: &Needs) -> Result<(String, Vec<String>), Unfit> {
    let strange = endpoints::bars(&app.endpoints, needs);
    let asking = endpoints::away(&app.endpoints, needs, app.clock.now());
    let (admitted, away) = tokio::join!(
        app.deployments.admit(&plan.deployment, needs, app.clock.as_ref()),
        tokio::time::timeout(LOOK_MAX, asking),
    );
    // Who cannot say so in that time is away as well.
    let slow = || vec!["not every endpoint of the plan's sources answered in time".to_owned()];
    match admitted {
        Ok(Admitted { url, away: deployment }) if strange.is_empty() => {
            let away = away.unwrap_or_else(|_| slow());
            Ok((url, deployment.into_iter().chain(away).collect()))
        }
        Ok(_) => Err(Unfit::Barred { name: plan.deployment.clone(), findings: strange }),
        Err(Unfit::Barred { name, findings }) => {
            Err(Unfit::Barred { name, findings: [findings, strange].concat() })
        }
        Err(unfit) => Err(unfit),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    let key = value.to_str().ok().and_then(IdempotencyKey::new);
    let key = key.ok_or_else(|| {
        bad_request(
            "the header Idempotency-Key must be 1 to 128 visible ASCII characters; a UUID is good",
        )
    })?;
    Ok(Some(key.as_str().to_owned()))
}

fn moment(text: &str) -> Result<Timestamp, Refused> {
    text.parse().map_err(|_| {
        bad_request(format!("`start_at` is `{text}`; write it like 2026-05-04T09:00:00Z"))
    })
}
