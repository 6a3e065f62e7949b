//! Owns the HTTP surface: which path does what, and what every handler may rely on.
//!
//! Every answer that is not a success is a problem (`refusal`), unknown paths and wrong methods included. Reading is open to
//! whoever could open the socket; orders go through `operator`. Nothing here keeps state: the engine is asked each time.

mod backup;
mod body;
mod doctor;
mod events;
mod operator;
mod order;
mod path;
mod read;
mod refusal;
mod start;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use jiff::Timestamp;
use rollout_api::{Code, Problem};
use rollout_engine::{Clock, Handle};
use tokio::sync::watch;

use crate::access::Operators;
use crate::endpoints::Endpoints;
use crate::quarantine::Quarantine;
use crate::wiring::Deployments;

use self::refusal::Refused;

/// What handlers work with.
pub(crate) struct App {
    /// The way to the engine.
    pub(crate) handle: Handle,
    /// What rollouts can be run on.
    pub(crate) deployments: Arc<Deployments>,
    /// What else health is asked of.
    pub(crate) endpoints: Arc<Endpoints>,
    /// Who may give orders.
    pub(crate) operators: Operators,
    /// Time, for what is left of a window.
    pub(crate) clock: Arc<dyn Clock>,
    /// When this process began.
    pub(crate) started_at: Timestamp,
    /// When it began the store, if there was none.
    pub(crate) begun_at: Option<Timestamp>,
    /// Rollouts that were set aside as damaged.
    pub(crate) quarantine: Quarantine,
    /// Where it listens.
    pub(crate) socket: PathBuf,
    /// Becomes true when the daemon stops; streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/status", get(read::status))
        .route("/v1/backup", get(backup::backup))
        .route("/v1/verify", get(backup::verify))
        .route("/v1/doctor", post(doctor::doctor))
        .route("/v1/deployments/{name}", get(doctor::deployment))
        .route("/v1/rollouts", get(read::list).post(start::start))
        .route("/v1/rollouts/{id}", get(read::detail))
        .route("/v1/rollouts/{id}/log", get(read::log))
        .route("/v1/rollouts/{id}/events", get(events::events))
        .route("/v1/rollouts/{id}/{verb}", post(order::order))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .with_state(Arc::new(app))
}

async fn no_such_path(uri: Uri) -> Refused {
    let detail =
        format!("there is no {}; the API begins at /v1/status and /v1/rollouts", uri.path());
    Problem::new(Code::NoSuchPath, detail).into()
}

async fn wrong_method(method: Method, uri: Uri) -> Refused {
    let detail = format!(
        "{} does not take {method}; GET reads, POST starts a rollout or gives an order",
        uri.path()
    );
    Refused::with_status(Problem::new(Code::NoSuchPath, detail), 405)
}
