//! Owns what can be read: the daemon's state, all rollouts, one rollout, its log.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use rollout_api::{RolloutDetail, RolloutList, ServerStatus};
use rollout_core::{LogOptions, Rollout, Seq};
use rollout_engine::EngineStatus;

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
        store: view::store(&engine, app.begun_at, &app.quarantine),
        socket: app.socket.display().to_string(),
    }))
}

/// `GET /v1/rollouts`, newest first.
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<RolloutList>, Refused> {
    let all = app.handle.list().await?;
    let now = app.clock.now();
    let rollouts = all.iter().rev().map(|rollout| view::short(rollout, now)).collect();
    let notice = notice(&app, &app.handle.status().await?, all.iter().map(AsRef::as_ref));
    Ok(Json(RolloutList { rollouts, notice }))
}

/// `GET /v1/rollouts/{id}`
pub(super) async fn detail(
    State(app): State<Arc<App>>,
    RolloutPath(id): RolloutPath,
) -> Result<Json<RolloutDetail>, Refused> {
    let rollout = app.handle.get(id).await.map_err(Refused::unread)?;
    let engine = app.handle.status().await?;
    let notice = notice(&app, &engine, [rollout.as_ref()]);
    let shown = view::full(&rollout, app.clock.now());
    let shown = view::as_the_store_does(shown, engine.store.state, &rollout);
    Ok(Json(RolloutDetail { notice, ..shown }))
}

/// What everybody should know who reads about these rollouts. The deployments of those that have ended are not asked any
/// more.
fn notice<'a>(
    app: &App,
    engine: &EngineStatus,
    rollouts: impl IntoIterator<Item = &'a Rollout>,
) -> Option<String> {
    let live = rollouts.into_iter().filter(|rollout| !rollout.status().is_terminal());
    let names: BTreeSet<&str> = live.map(|rollout| rollout.plan().deployment.as_str()).collect();
    let known: Vec<_> =
        names.into_iter().filter_map(|name| Some((name, app.deployments.known(name)?))).collect();
    let known = known.iter().map(|(name, convex)| (*name, convex.as_ref()));
    view::notice(&view::store(engine, app.begun_at, &app.quarantine), known)
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
