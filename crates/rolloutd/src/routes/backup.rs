//! Owns `GET /v1/backup` and `GET /v1/verify`: long reads of the whole store, for operators only, while everything goes on.
//!
//! A backup that cannot be finished breaks off: what has arrived then has no end, and nobody can restore it by mistake.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use futures_util::stream::unfold;
use rollout_api::VerifyReport;
use tracing::{error, info};

use crate::verify;

use super::App;
use super::operator::Operator;
use super::refusal::Refused;

/// `GET /v1/backup`, as it is made.
pub(super) async fn backup(
    State(app): State<Arc<App>>,
    Operator(actor): Operator,
) -> Result<impl IntoResponse, Refused> {
    let stream = app.handle.backup(app.clock.now(), env!("CARGO_PKG_VERSION")).await?;
    info!(actor, "a backup is being made");
    let pieces = unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        match stream.next().await {
            Ok(piece) => piece.map(|piece| (Ok(piece), Some(stream))),
            Err(failure) => {
                error!(code = failure.code(), %failure, "a backup breaks off");
                Some((Err(failure), None))
            }
        }
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)))
}

/// `GET /v1/verify`
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    Operator(_): Operator,
) -> Result<Json<VerifyReport>, Refused> {
    Ok(Json(verify::report(&app.handle.verify().await?)))
}
