//! What happened: every write of variables and every request, so that tests can count effects.
//!
//! Records are kept in order and the oldest are dropped beyond a limit; nothing here
//! influences what the deployment answers.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::envvars::EnvChange;
use crate::wire::Request;

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOrigin {
    /// A client, through the public update endpoint.
    Client,
    /// Somebody else, as injected by a test or a fault.
    Foreign,
}

/// One attempt to write variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Emulator time.
    pub at: Timestamp,
    /// Who wrote.
    pub origin: WriteOrigin,
    /// Names and new values in the order of the request; no value is a removal.
    pub changes: Vec<(String, Option<String>)>,
    /// Which member of the team wrote, of a foreign write that says so.
    pub member: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Convex-Client` header.
    pub convex_client: Option<String>,
    /// The `convex-request-id` header.
    pub request_id: Option<String>,
    /// Whether it took effect. A write that was refused or cut before its commit did not.
    pub applied: bool,
}

/// One request, without those to `/_emulator/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Emulator time.
    pub at: Timestamp,
    /// `GET`, `POST` ...
    pub method: String,
    /// The path without its query string.
    pub path: String,
    /// The status answered; `None` when the connection was closed instead.
    pub status: Option<u16>,
}

/// A bounded list that drops its oldest entries.
#[derive(Debug, Clone)]
pub struct Records<T, const MAX: usize = RECORDS_MAX>(VecDeque<T>);

impl Write {
    /// Records `changes` as sent by `request`.
    #[must_use]
    pub fn by_client(at: Timestamp, request: &Request, changes: &[EnvChange]) -> Self {
        let header = |name: &str| request.headers.get(name).cloned();
        Self {
            at,
            origin: WriteOrigin::Client,
            changes: to_pairs(changes),
            member: None,
            user_agent: header("user-agent"),
            convex_client: header("convex-client"),
            request_id: header("convex-request-id"),
            applied: false,
        }
    }

    /// Records `changes` made by somebody else.
    #[must_use]
    pub fn foreign(at: Timestamp, changes: &[EnvChange]) -> Self {
        Self {
            at,
            origin: WriteOrigin::Foreign,
            changes: to_pairs(changes),
            member: None,
            user_agent: None,
            convex_client: None,
            request_id: None,
            applied: false,
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        let origin = match self.origin {
            WriteOrigin::Client => "client",
            WriteOrigin::Foreign => "foreign",
        };
        let changes =
            self.changes.iter().map(|(name, value)| json!({"name": name, "value": value}));
        json!({
            "at": self.at.to_string(),
            "origin": origin,
            "changes": changes.collect::<Json>(),
            "userAgent": self.user_agent,
            "convexClient": self.convex_client,
            "requestId": self.request_id,
            "applied": self.applied,
        })
    }
}

impl RequestRecord {
    pub(crate) fn to_json(&self) -> Json {
        json!({
            "at": self.at.to_string(),
            "method": self.method,
            "path": self.path,
            "status": self.status,
        })
    }
}

impl<T, const MAX: usize> Records<T, MAX> {
    /// Adds an entry; drops the oldest one beyond the limit.
    pub fn push(&mut self, entry: T) {
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T, const MAX: usize> Default for Records<T, MAX> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

fn to_pairs(changes: &[EnvChange]) -> Vec<(String, Option<String>)> {
    changes.iter().map(|change| (change.name.clone(), change.value.clone())).collect()
}

/// Most entries of each list: months of checks, and some ten megabytes.
pub const RECORDS_MAX: usize = 100_000;
