//! Environment variables: validation, limits and the atomic update.
//!
//! An update is judged as a whole and applied as a whole. Changes are applied in Convex's own
//! order, not in the order of the request: removals first, then sets by name and value. So the
//! same name set twice ends with the greatest value, and `"true"` beats `"false"`. Setting an
//! equal value is a write like any other: the row gets a new id and a new creation time.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::declared::DeclaredVariable;
use crate::stamps::{Stamp, Stamps};

/// One change of an update; no value means removal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct EnvChange {
    /// The variable.
    pub name: String,
    /// The new value, or `None` to remove the variable.
    #[serde(default)]
    pub value: Option<String>,
}

/// One variable as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvRow {
    /// The id and time of the last write.
    pub stamp: Stamp,
    /// The value.
    pub value: String,
}

/// All variables of a deployment, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct EnvVars {
    rows: BTreeMap<String, EnvRow>,
    declared: Vec<DeclaredVariable>,
}

/// Why an update was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvVarRejected {
    /// The app declares the variable with other values.
    #[error("environment variable `{name}` must be one of \"{expected}\"")]
    Undeclared {
        /// The name.
        name: String,
        /// The values it takes.
        expected: String,
    },
    /// The app declares that the variable must be there.
    #[error("environment variable `{name}` is required and cannot be removed")]
    Required {
        /// The name.
        name: String,
    },
    /// The name does not match `^[a-zA-Z_]+[a-zA-Z0-9_]*$`.
    #[error(
        "environment variable name `{name}` must start with a letter and hold only letters, numbers and underscores"
    )]
    NameInvalid {
        /// The name.
        name: String,
    },
    /// The name has more than [`NAME_BYTES_MAX`] bytes.
    #[error("environment variable name is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// The value has more than [`VALUE_BYTES_MAX`] bytes.
    #[error("value of environment variable `{name}` is larger than {VALUE_BYTES_MAX} bytes")]
    ValueTooLarge {
        /// The name.
        name: String,
    },
    /// The name is one of the built-in ones.
    #[error("environment variable `{name}` is built in and cannot be set")]
    NameForbidden {
        /// The name.
        name: String,
    },
    /// The deployment would have more than [`VARIABLES_MAX`] variables.
    #[error("the deployment would have more than {VARIABLES_MAX} environment variables")]
    LimitMet,
    /// Names and values would take more than [`TOTAL_BYTES_MAX`] bytes.
    #[error("environment variables would take more than {TOTAL_BYTES_MAX} bytes")]
    TotalSizeLimitMet,
}

impl EnvVarRejected {
    /// The `code` of the error on the wire.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Undeclared { .. } => "InvalidEnvironmentVariable",
            Self::Required { .. } => "RequiredEnvironmentVariable",
            Self::NameInvalid { .. } => "EnvironmentVariableNameInvalid",
            Self::NameTooLong => "EnvironmentVariableNameTooLong",
            Self::ValueTooLarge { .. } => "EnvironmentVariableValueTooLarge",
            Self::NameForbidden { .. } => "EnvVarNameForbidden",
            Self::LimitMet => "EnvVarLimitMet",
            Self::TotalSizeLimitMet => "EnvVarTotalSizeLimitMet",
        }
    }
}

impl EnvVars {
    /// Applies all changes, or none. Each set row gets a stamp of its own from `stamps`.
    ///
    /// # Errors
    ///
    /// Returns why the whole update was refused.
    pub fn apply(
        &mut self,
        changes: &[EnvChange],
        stamps: &mut Stamps,
        now: jiff::Timestamp,
    ) -> Result<(), EnvVarRejected> {
        changes.iter().try_for_each(validate)?;
        let mut ordered: Vec<&EnvChange> = changes.iter().collect();
        // `None` sorts before `Some`, so removals come first.
        ordered.sort_by_key(|change| (change.value.is_some(), &change.name, &change.value));
        let mut values: BTreeMap<&str, &str> = self.iter_values().collect();
        for change in &ordered {
            match &change.value {
                Some(value) => values.insert(&change.name, value),
                None => values.remove(change.name.as_str()),
            };
        }
        if values.len() > VARIABLES_MAX {
            return Err(EnvVarRejected::LimitMet);
        }
        if values.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            > TOTAL_BYTES_MAX
        {
            return Err(EnvVarRejected::TotalSizeLimitMet);
        }
        for declared in &self.declared {
            let mut sets = ordered.iter().filter(|change| change.value.is_some());
            let is_set = sets.any(|change| change.name == declared.name);
            declared.check(self.get(&declared.name), &values, is_set)?;
        }
        for change in ordered {
            match &change.value {
                Some(value) => {
                    let row = EnvRow { stamp: stamps.next(now), value: value.clone() };
                    self.rows.insert(change.name.clone(), row);
                }
                None => {
                    self.rows.remove(&change.name);
                }
            }
        }
        Ok(())
    }

    /// Judges updates from now on by what the app declares.
    pub fn declare(&mut self, declared: Vec<DeclaredVariable>) {
        self.declared = declared;
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.rows.get(name).map(|row| row.value.as_str())
    }

    /// All rows, sorted by name.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &EnvRow)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), row))
    }

    /// Names and values, sorted by name.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter_values().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn iter_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), row.value.as_str()))
    }
}

fn validate(change: &EnvChange) -> Result<(), EnvVarRejected> {
    let name = &change.name;
    if name.len() > NAME_BYTES_MAX {
        return Err(EnvVarRejected::NameTooLong);
    }
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(EnvVarRejected::NameInvalid { name: name.clone() });
    }
    let Some(value) = &change.value else { return Ok(()) };
    if BUILT_IN_NAMES.contains(&name.as_str()) {
        return Err(EnvVarRejected::NameForbidden { name: name.clone() });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(EnvVarRejected::ValueTooLarge { name: name.clone() });
    }
    Ok(())
}

/// Longest name, in bytes: Convex's limit since mid 2025.
pub const NAME_BYTES_MAX: usize = 256;
/// Largest value, in bytes of UTF-8: Convex's limit.
pub const VALUE_BYTES_MAX: usize = 8192;
/// Most variables of one deployment: the default of a Convex server.
pub const VARIABLES_MAX: usize = 512;
/// Most bytes of all names and values together: the default of a Convex server.
pub const TOTAL_BYTES_MAX: usize = 524_288;
const BUILT_IN_NAMES: [&str; 2] = ["CONVEX_CLOUD_URL", "CONVEX_SITE_URL"];

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> EnvChange {
        EnvChange { name: name.to_owned(), value: Some(value.to_owned()) }
    }

    fn remove(name: &str) -> EnvChange {
        EnvChange { name: name.to_owned(), value: None }
    }

    fn applied(batches: &[&[EnvChange]]) -> (EnvVars, Result<(), EnvVarRejected>) {
        let (mut env, mut stamps) = (EnvVars::default(), Stamps::default());
        let mut last = Ok(());
        for batch in batches {
            last = env.apply(batch, &mut stamps, jiff::Timestamp::UNIX_EPOCH);
        }
        (env, last)
    }

    #[test]
    fn one_bad_change_refuses_the_whole_update() {
        let (env, result) =
            applied(&[&[set("A", "1")], &[set("A", "2"), remove("A"), set("9", "x")]]);
        assert_eq!(result.unwrap_err().code(), "EnvironmentVariableNameInvalid");
        assert_eq!(env.get("A"), Some("1"));
    }

    #[test]
    fn the_greatest_value_of_a_name_set_twice_wins() {
        let (env, _) = applied(&[&[set("A", "true"), set("A", "false")]]);
        assert_eq!(env.get("A"), Some("true"));
    }

    #[test]
    fn removals_come_first_and_removing_what_is_missing_succeeds() {
        let (env, result) = applied(&[&[set("A", "1"), remove("A"), remove("NEVER_THERE")]]);
        assert_eq!(result, Ok(()));
        assert_eq!(env.get("A"), Some("1"));
    }

    #[test]
    fn an_equal_set_rewrites_the_row() {
        let (first, _) = applied(&[&[set("A", "1")]]);
        let (second, _) = applied(&[&[set("A", "1")], &[set("A", "1")]]);
        let stamp = |env: &EnvVars| env.rows().next().unwrap().1.stamp.clone();
        assert_ne!(stamp(&first).id, stamp(&second).id);
        assert!(stamp(&second).creation_time > stamp(&first).creation_time);
    }

    #[track_caller]
    fn check(changes: &[EnvChange], code: Option<&str>) {
        let (env, result) = applied(&[changes]);
        assert_eq!(result.err().map(|error| error.code()), code);
        assert_eq!(env.to_map().is_empty(), code.is_some());
    }

    #[test]
    fn limits_are_exact() {
        check(&[set("_OK_1", "")], None);
        check(&[set("", "x")], Some("EnvironmentVariableNameInvalid"));
        check(&[set("1A", "x")], Some("EnvironmentVariableNameInvalid"));
        check(&[set("A-B", "x")], Some("EnvironmentVariableNameInvalid"));
        check(&[set(&"A".repeat(256), "x")], None);
        check(&[set(&"A".repeat(257), "x")], Some("EnvironmentVariableNameTooLong"));
        check(&[set("A", &"ä".repeat(4096))], None);
        check(&[set("A", &"x".repeat(8193))], Some("EnvironmentVariableValueTooLarge"));
        check(&[set("CONVEX_SITE_URL", "x")], Some("EnvVarNameForbidden"));
    }

    #[test]
    fn count_and_total_size_are_limited() {
        let many = |count: usize, value: &str| {
            (0..count).map(|n| set(&format!("V{n:03}"), value)).collect::<Vec<_>>()
        };
        check(&many(512, ""), None);
        check(&many(513, ""), Some("EnvVarLimitMet"));
        // 63 * (4 + 8192) + (4 + 7936) = 524,288: exactly the limit.
        let mut full = many(63, &"x".repeat(8192));
        full.push(set("W000", &"x".repeat(7936)));
        check(&full, None);
        full.push(set("X", ""));
        check(&full, Some("EnvVarTotalSizeLimitMet"));
    }
}
