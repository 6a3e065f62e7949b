//! Variables that the app declares in its `convex.config.ts`: which values they take, and whether
//! they may be missing.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::envvars::EnvVarRejected;

/// A declared variable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredVariable {
    /// Its name.
    pub name: String,
    /// The literals that it takes; empty is any text.
    #[serde(default)]
    pub values: Vec<String>,
    /// Whether it may be removed.
    #[serde(default)]
    pub presence: DeclaredPresence,
}

/// Whether a declared variable may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredPresence {
    /// It may: `v.optional(…)`.
    #[default]
    Optional,
    /// It may not.
    Required,
}

impl DeclaredVariable {
    /// Checks what an update leaves of this variable; `is_set` when the update sets it, to whatever value,
    /// also the one that it has. One that was missing before may stay so: the server judges updates, not
    /// what is.
    ///
    /// # Errors
    ///
    /// Returns why the update is refused.
    pub(crate) fn check(
        &self,
        before: Option<&str>,
        after: &BTreeMap<&str, &str>,
        is_set: bool,
    ) -> Result<(), EnvVarRejected> {
        let name = || self.name.clone();
        match after.get(self.name.as_str()) {
            None if self.presence == DeclaredPresence::Required && before.is_some() => {
                Err(EnvVarRejected::Required { name: name() })
            }
            Some(value)
                if is_set
                    && !self.values.is_empty()
                    && !self.values.iter().any(|known| known == value) =>
            {
                let expected = self.values.join("\", \"");
                Err(EnvVarRejected::Undeclared { name: name(), expected })
            }
            None | Some(_) => Ok(()),
        }
    }
}
