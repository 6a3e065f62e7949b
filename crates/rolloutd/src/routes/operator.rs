//! Owns the gate in front of every order: who gives it, by the kernel's word, and whether they may.

use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use rollout_api::Code;
use tracing::warn;

use crate::access::Peer;

use super::App;
use super::refusal::Refused;

/// A person who may give orders, by the name that goes into the log.
pub(super) struct Operator(pub(super) String);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let peer = ConnectInfo::<Peer>::from_request_parts(parts, app).await;
        let peer = peer.map_or(Peer { uid: None }, |ConnectInfo(peer)| peer);
        // A name service may be slow; nobody else waits for it.
        let name = tokio::task::spawn_blocking(move || peer.name()).await;
        let name = name.unwrap_or_else(|_| "unknown".to_owned());
        if app.operators.includes(peer.uid, &name) {
            return Ok(Self(name));
        }
        warn!(user = name, method = %parts.method, path = parts.uri.path(), "not an operator");
        let detail = format!(
            "{name} may read but not give orders; add the user to `[access] operators` in rolloutd.toml"
        );
        Err(Refused::new(Code::NotAllowed, detail))
    }
}
