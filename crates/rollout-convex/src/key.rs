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

impl KeyReport {
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
const WRITE: &str = "WriteEnvironmentVariables";
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
