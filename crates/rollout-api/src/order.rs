//! Owns what a client may ask for: starting a rollout and giving it orders.
//!
//! Every order carries a reason. An order that is already so (holding what that person holds) is answered with
//! [`Answer::Already`] and changes nothing.

use serde::{Deserialize, Serialize};

use crate::journal::JournalEntry;
use crate::rollout::RolloutSummary;

/// Body of `POST /v1/rollouts`. The header `Idempotency-Key` makes repeating it harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The plan file, as it was written.
    pub plan: String,
    /// When the baseline may begin; absent = now.
    #[serde(default)]
    pub start_at: Option<String>,
    /// Why; goes into the log. At most 2,000 bytes.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Answer to `POST /v1/rollouts`: status 201 when it was accepted, 200 when the same request was accepted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartResponse {
    /// Whether this request started it.
    pub answer: Answer,
    /// The rollout.
    pub rollout: RolloutSummary,
    /// What it will have to wait for, each in one sentence: a deployment or an endpoint that is away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What a person should look at before its flags are turned on, one calm line each: a quarantined rollout may have left flags
    /// on, and nobody watches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// Body of `POST /v1/rollouts/{id}/{verb}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// Why; goes into the log.
    pub reason: String,
    /// The phase, for `approve`, `check` and `skip`; absent = the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<u8>,
    /// The checklist item, for `check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// The incident, for `resolve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<u32>,
    /// How much, for `rollback`; absent = the latest phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<OrderScope>,
}

/// Answer to an order that was not refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderResponse {
    /// Whether the order changed anything.
    pub answer: Answer,
    /// The rollout afterwards.
    pub rollout: RolloutSummary,
    /// What the order made happen at once.
    pub events: Vec<JournalEntry>,
    /// What the person who gave it should know besides, in one calm line: a hold that was released will come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// Whether a request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It did, and that is on disk.
    Accepted,
    /// It was so already.
    Already,
}

/// How much is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderScope {
    /// The running phase; between phases the one completed last.
    Latest,
    /// Every phase whose flags may be on.
    All,
}

/// The last part of an order's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderVerb {
    /// `approve`
    Approve,
    /// `check`
    Check,
    /// `hold`
    Hold,
    /// `resume`
    Resume,
    /// `promote`
    Promote,
    /// `skip`
    Skip,
    /// `retry`
    Retry,
    /// `abort`
    Abort,
    /// `rollback`
    Rollback,
    /// `resolve`
    Resolve,
}

impl OrderVerb {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Approve,
        Self::Check,
        Self::Hold,
        Self::Resume,
        Self::Promote,
        Self::Skip,
        Self::Retry,
        Self::Abort,
        Self::Rollback,
        Self::Resolve,
    ];

    /// The verb in the path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Check => "check",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Skip => "skip",
            Self::Retry => "retry",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
            Self::Resolve => "resolve",
        }
    }

    /// The verb that a path ends with.
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.path() == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_field_of_an_order_is_refused() {
        let refused =
            serde_json::from_str::<OrderRequest>(r#"{"reason":"r","phases":2}"#).unwrap_err();
        assert!(refused.to_string().contains("unknown field `phases`"), "{refused}");
        let taken: OrderRequest = serde_json::from_str(r#"{"reason":"r","scope":"all"}"#).unwrap();
        assert_eq!(taken.scope, Some(OrderScope::All));
        assert_eq!(serde_json::to_string(&taken).unwrap(), r#"{"reason":"r","scope":"all"}"#);
    }

    #[test]
    fn every_verb_is_found_by_its_path() {
        for verb in OrderVerb::ALL {
            assert_eq!(OrderVerb::from_path(verb.path()), Some(verb));
        }
        assert_eq!(OrderVerb::from_path("incident"), None);
    }
}
