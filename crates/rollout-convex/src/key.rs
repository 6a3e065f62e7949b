//! Owns what a key may do: the report of the deployment, and what a rollout misses in it.
//!
//! Refuses to read silence as permission or as refusal: servers older than April 2026 do not list operations, and that is
//! [`Operations::NotSaid`].

use std::collections::BTreeSet;

/// What a deployment says about its key. Read-only to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReport {
    /// The operations it permits.
    pub operations: Operations,
    /// True for a key that can write nothing.
    pub is_read_only: bool,
}

/// Which operations a key permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operations {
    /// All.
    All,
    /// Only these, by the deployment's names: `ViewLogs`.
    Only(BTreeSet<String>),
    /// The server is too old to say.
    NotSaid,
}

/// What a key says about itself in front of its `|`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyIdentity {
    /// In words: `an admin key`, `a deploy key (prod)`, `a token`.
    pub(crate) kind: String,
    /// The deployment that it names; `None` for a token.
    pub(crate) names: Option<String>,
}

impl KeyIdentity {
    /// Reads the open part of a key. The secret part is not looked at.
    pub(crate) fn of(key: &str) -> Self {
        let Some((left, _)) = key.split_once('|') else {
            return Self { kind: String::from("a token"), names: None };
        };
        match left.split_once(':') {
            None => Self { kind: String::from("an admin key"), names: Some(left.to_owned()) },
            Some((kind, name)) => {
                let kind = format!("a deploy key ({})", crate::text::clip(kind, KIND_BYTES_MAX));
                Self { kind, names: Some(name.to_owned()) }
            }
        }
    }
}

impl KeyReport {
    /// Whether the key permits an operation; `None` = the server is too old to say.
    pub(crate) fn permits(&self, operation: &str) -> Option<bool> {
        match &self.operations {
            Operations::Only(names) => Some(names.contains(operation)),
            Operations::All => Some(!(self.is_read_only && operation == WRITE)),
            Operations::NotSaid if self.is_read_only && operation == WRITE => Some(false),
            Operations::NotSaid => None,
        }
    }

    /// The operations a rollout needs and this key lacks; empty = none is known to be missing.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |operation: &&str| match &self.operations {
            Operations::Only(names) => !names.contains(*operation),
            Operations::All | Operations::NotSaid => self.is_read_only && *operation == WRITE,
        };
        NEEDED.into_iter().filter(is_missing).collect()
    }

    /// Why a rollout cannot be run with this key, if so: `the key lacks WriteEnvironmentVariables`.
    pub fn complaint(&self) -> Option<String> {
        let missing = self.missing();
        (!missing.is_empty())
            .then(|| format!("the key lacks {}; use a key that permits it", missing.join(" and ")))
    }
}

/// Sets flags.
pub(crate) const WRITE: &str = "WriteEnvironmentVariables";
/// Longest kind of a key that is shown; the known ones are `prod`, `dev`, `preview`, `custom`.
const KIND_BYTES_MAX: usize = 20;
/// What every rollout needs.
const NEEDED: [&str; 2] = ["ViewEnvironmentVariables", WRITE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let only = |names: &[&str]| {
            Operations::Only(names.iter().map(|name| (*name).to_owned()).collect())
        };
        let report = |operations, is_read_only| KeyReport { operations, is_read_only };
        assert_eq!(report(Operations::All, false).complaint(), None);
        assert_eq!(report(Operations::NotSaid, false).complaint(), None);
        assert_eq!(report(Operations::All, true).missing(), [WRITE]);
        assert_eq!(report(only(&NEEDED), false).complaint(), None);
        let watcher = report(only(&["ViewEnvironmentVariables", "ViewLogs"]), true);
        assert_eq!(
            watcher.complaint().unwrap(),
            "the key lacks WriteEnvironmentVariables; use a key that permits it"
        );
        assert_eq!(report(only(&["ViewLogs"]), true).missing(), NEEDED);
    }
}
