//! The audit log: who wrote which variable, when, with what.
//!
//! Off as on a self-hosted deployment, until somebody turns it on; events are kept in any case, so
//! that turning it on late hides nothing. One event for each variable that a write really touched.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::access::Operation;
use crate::deployment::Deployment;
use crate::envvars::EnvVars;
use crate::records::{Records, Write, WriteOrigin};
use crate::wire::{ApiError, Request, Response, identify};

/// Whether the deployment has an audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditAccess {
    /// It has none, as every self-hosted one.
    #[default]
    Disabled,
    /// It has one, as a cloud deployment on a plan with audit logs.
    Enabled,
}

/// The audit log of a deployment.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    /// Whether it can be read.
    pub access: AuditAccess,
    events: Records<AuditEvent>,
}

/// A variable that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Emulator time.
    pub at: Timestamp,
    /// `create_`, `update_` or `delete_environment_variable`.
    pub action: &'static str,
    /// The variable.
    pub variable: String,
    /// Who wrote it.
    pub actor: Actor,
    /// The `User-Agent` of the request.
    pub user_agent: Option<String>,
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a key.
    Token,
    /// A member of the team, in the dashboard.
    Member(String),
}

impl AuditLog {
    /// Makes an empty log.
    #[must_use]
    pub fn new(access: AuditAccess) -> Self {
        Self { access, events: Records::default() }
    }

    pub(crate) fn extend(&mut self, events: Vec<AuditEvent>) {
        events.into_iter().for_each(|event| self.events.push(event));
    }

    /// All events, oldest first.
    #[must_use]
    pub fn events(&self) -> &Records<AuditEvent> {
        &self.events
    }
}

impl AuditEvent {
    /// What `write` does to the variables as they are before it.
    pub(crate) fn of(write: &Write, before: &EnvVars) -> Vec<Self> {
        let touched = |(name, value): &(String, Option<String>)| {
            let action = match (before.get(name).is_some(), value) {
                (false, Some(_)) => "create_environment_variable",
                (true, Some(_)) => "update_environment_variable",
                (true, None) => "delete_environment_variable",
                (false, None) => return None,
            };
            let actor = match write.origin {
                WriteOrigin::Client => Actor::Token,
                WriteOrigin::Foreign => {
                    Actor::Member(write.member.clone().unwrap_or_else(|| MEMBER.to_owned()))
                }
            };
            let (variable, user_agent) = (name.clone(), write.user_agent.clone());
            Some(Self { at: write.at, action, variable, actor, user_agent })
        };
        write.changes.iter().filter_map(touched).collect()
    }

    fn to_json(&self) -> Json {
        let actor = match &self.actor {
            Actor::Token => json!({ "kind": "token", "tokenId": 1, "tokenName": "deploy key" }),
            Actor::Member(name) => json!({
                "kind": "member",
                "memberId": 1,
                "memberName": name,
                "memberEmail": format!("{name}@example.com"),
            }),
        };
        json!({
            "actor": actor,
            "action": self.action,
            "createTime": self.at.as_millisecond(),
            "metadata": { "variable_name": self.variable },
            "clientIp": "127.0.0.1",
            "clientUserAgent": self.user_agent,
        })
    }
}

/// Lists events from a time on, oldest first, a page at a time.
pub(crate) fn list(
    deployment: &Deployment,
    now: Timestamp,
    request: &Request,
) -> Result<Response, ApiError> {
    identify(deployment, request)?.require(Operation::ViewAuditLog)?;
    if deployment.audit_log().access == AuditAccess::Disabled {
        let message = "audit logs are not available on this deployment";
        return Err(ApiError::new(403, "AuditLogsDisabled", message));
    }
    let number = |name: &str| -> Result<Option<i64>, ApiError> {
        let bad = |_| ApiError::new(400, "BadQueryArgs", format!("`{name}` is not a number"));
        request
            .query
            .get(name)
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().map_err(bad))
            .transpose()
    };
    let from = number("from")?.unwrap_or(0);
    if from != 0 && from < (now - RETENTION).as_millisecond() {
        let message = "audit logs from before the retention time are not available";
        return Err(ApiError::new(403, "AuditLogsTooOld", message));
    }
    let limit = number("limit")?.unwrap_or(LIMIT_MAX);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let message = format!("limit must be between 1 and {LIMIT_MAX}");
        return Err(ApiError::new(400, "LimitOutOfRange", message));
    }
    let (skip, limit) = (number("cursor")?.unwrap_or(0).unsigned_abs(), limit.unsigned_abs());
    let found = deployment.audit_log().events().iter();
    let mut left = found
        .filter(|event| event.at.as_millisecond() >= from)
        .skip(usize::try_from(skip).unwrap_or(usize::MAX));
    let items: Vec<Json> = left
        .by_ref()
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .map(AuditEvent::to_json)
        .collect();
    let has_more = left.next().is_some();
    let next = has_more.then(|| (skip + limit).to_string());
    let pagination = json!({ "hasMore": has_more, "nextCursor": next });
    Ok(Response::json(200, &json!({ "items": items, "pagination": pagination })))
}

/// Who edits when a test does not say.
const MEMBER: &str = "robin";
const LIMIT_MAX: i64 = 100;
/// How far back a plan's audit log goes.
const RETENTION: SignedDuration = SignedDuration::from_hours(90 * 24);
