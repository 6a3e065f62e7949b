//! Owns what stands in the URL: the rollout's id, and where in a journal to begin.

use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use rollout_api::{Code, OrderVerb};
use rollout_core::RolloutId;

use super::refusal::Refused;

/// The rollout that a path names.
pub(super) struct RolloutPath(pub(super) RolloutId);

/// The rollout and the verb that a path names.
pub(super) struct OrderPath(pub(super) RolloutId, pub(super) OrderVerb);

/// The deployment that a path names.
pub(super) struct DeploymentPath(pub(super) String);

/// The parts of a query, each at most once as far as anybody looks.
pub(super) struct QueryParts(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for RolloutPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let names = segments(parts, state).await?;
        Ok(Self(rollout_id(&names)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let names = segments(parts, state).await?;
        let verb = names.get("verb").map(String::as_str).unwrap_or_default();
        let verb = OrderVerb::from_path(verb).ok_or_else(|| {
            let known = OrderVerb::ALL.map(OrderVerb::path).join(", ");
            Refused::new(Code::NoSuchPath, format!("`{verb}` is not an order; orders are {known}"))
        })?;
        Ok(Self(rollout_id(&names)?, verb))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DeploymentPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let names = segments(parts, state).await?;
        Ok(Self(names.get("name").cloned().unwrap_or_default()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueryParts {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(found)) => Ok(Self(found)),
            Err(rejection) => Err(bad_request(rejection.body_text())),
        }
    }
}

impl QueryParts {
    /// The number behind `name`, if it is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refused> {
        self.0.get(name).map(|text| number(name, text)).transpose()
    }
}

/// A number that somebody sent.
pub(super) fn number(name: &str, text: &str) -> Result<u64, Refused> {
    u64::from_str(text.trim())
        .map_err(|_| bad_request(format!("`{name}` must be a whole number, not `{text}`")))
}

/// A request whose head makes no sense.
pub(super) fn bad_request(detail: impl Into<String>) -> Refused {
    Refused::new(Code::BadBody, detail)
}

async fn segments<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<HashMap<String, String>, Refused> {
    let path = Path::from_request_parts(parts, state).await;
    path.map(|Path(names)| names).map_err(|rejection| bad_request(rejection.body_text()))
}

fn rollout_id(names: &HashMap<String, String>) -> Result<RolloutId, Refused> {
    let text = names.get("id").map(String::as_str).unwrap_or_default();
    text.parse::<RolloutId>().map_err(|error| bad_request(error.to_string()))
}
