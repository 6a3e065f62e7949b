//! Owns what can be read: the daemon's state, all rollouts, one rollout, its log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use rollout_api::{RolloutDetail, RolloutList, ServerStatus};
use rollout_core::{LogOptions, Seq};

use crate::view;

use super::App;
use super::path::RolloutPath;
use super::refusal::Refused;

/// `GET /v1/status`
pub(super) async fn status(State(app): State<Arc<App>>) -> Result<Json<ServerStatus>, Refused> {
    let engine = app.handle.status().await?;
    Ok(Json(ServerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: view::moment(app.started_at),
        live: engine.live as u64,
        ended: engine.ended as u64,
        store: view::store(&engine, app.begun_at),
        socket: app.socket.display().to_string(),
    }))
}

/// `GET /v1/rollouts`, newest first.
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<RolloutList>, Refused> {
    let all = app.handle.list().await?;
    let now = app.clock.now();
    let rollouts = all.iter().rev().map(|rollout| view::short(rollout, now)).collect();
    Ok(Json(RolloutList { rollouts, notice: notice(&app).await? }))
}

/// `GET /v1/rollouts/{id}`
pub(super) async fn detail(
    State(app): State<Arc<App>>,
    RolloutPath(id): RolloutPath,
) -> Result<Json<RolloutDetail>, Refused> {
    let rollout = app.handle.get(id).await.map_err(Refused::unread)?;
    let engine = app.handle.status().await?;
    let shown = view::full(&rollout, app.clock.now());
    // What the rollout would take and the store does not is not offered.
    let allowed = rollout.allowed().into_iter();
    let allowed = allowed.filter(|verb| engine.store.state.takes(*verb, &rollout));
    let allowed = allowed.map(|verb| verb.to_string()).collect();
    let notice = view::store(&engine, app.begun_at).notice();
    Ok(Json(RolloutDetail { notice, allowed, ..shown }))
}

/// What everybody should know who reads this.
async fn notice(app: &App) -> Result<Option<String>, Refused> {
    Ok(view::store(&app.handle.status().await?, app.begun_at).notice())
}

/// `GET /v1/rollouts/{id}/log`, as Markdown.
pub(super) async fn log(
    State(app): State<Arc<App>>,
    RolloutPath(id): RolloutPath,
) -> Result<impl IntoResponse, Refused> {
    let entries = app.handle.journal(id, Seq::FIRST).await.map_err(Refused::unread)?;
    let events: Vec<_> = entries.into_iter().map(|entry| entry.event).collect();
    let page = rollout_core::log(&events, LogOptions::default());
    Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], page))
}
