//! Who is asking: the Authorization header, the two keys, and what each key may do.
//!
//! A header that cannot be read is refused before anything else is looked at. A key is checked
//! when the endpoint asks for it, because endpoints differ in whether they read the body first.
//! Keys are the fixed texts the emulator was started with; a key can be revoked and restored.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

use crate::wire::{ApiError, Request};

/// What a request says about its sender, before the key is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// No Authorization header.
    Absent,
    /// `Convex <key>`.
    Key(String),
    /// `Bearer <jwt>`: an end user, never an admin.
    User,
}

/// Who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Nobody the deployment knows, or an end user.
    Anyone,
    /// The holder of the read-only key.
    Reader,
    /// The holder of the full key.
    Admin,
}

/// An operation which not every key may perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// List variables.
    ViewEnvironmentVariables,
    /// Update variables.
    WriteEnvironmentVariables,
    /// Read tables and modules.
    ViewData,
    /// Read the audit log.
    ViewAuditLog,
    /// Read the streams of executions.
    ViewLogs,
    /// Read the metrics.
    ViewMetrics,
    /// Run internal queries.
    RunInternalQueries,
    /// Run internal mutations.
    RunInternalMutations,
    /// Run internal actions.
    RunInternalActions,
}

/// The keys of a deployment.
#[derive(Debug, Clone)]
pub struct Keys {
    deployment: String,
    admin: String,
    read_only: String,
    revoked: BTreeSet<String>,
}

/// A key the emulator cannot be started with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The key is not of the form `name|secret`.
    #[error("the {which} key must have the form `{deployment}|<secret>` with no second `|` or `:`")]
    Form {
        /// Which key.
        which: &'static str,
        /// The name that must be in front.
        deployment: String,
    },
    /// Both keys are the same.
    #[error("the admin key and the read-only key must differ")]
    Equal,
}

impl Operation {
    /// The operation in the spelling of role statements, as 403 messages show it.
    #[must_use]
    pub fn role_spelling(self) -> &'static str {
        match self {
            Self::ViewEnvironmentVariables => "deployment:env:view",
            Self::WriteEnvironmentVariables => "deployment:env:write",
            Self::ViewData => "deployment:data:view",
            Self::ViewAuditLog => "deployment:auditLog:view",
            Self::ViewLogs => "deployment:logs:view",
            Self::ViewMetrics => "deployment:metrics:view",
            Self::RunInternalQueries => "deployment:functions:runInternalQueries",
            Self::RunInternalMutations => "deployment:functions:runInternalMutations",
            Self::RunInternalActions => "deployment:functions:runInternalActions",
        }
    }

    fn is_read_only(self) -> bool {
        match self {
            Self::ViewEnvironmentVariables
            | Self::ViewData
            | Self::ViewAuditLog
            | Self::ViewLogs
            | Self::ViewMetrics
            | Self::RunInternalQueries => true,
            Self::WriteEnvironmentVariables
            | Self::RunInternalMutations
            | Self::RunInternalActions => false,
        }
    }
}

impl Identity {
    /// Checks that the sender may perform `operation`.
    ///
    /// # Errors
    ///
    /// 403 `BadDeployKey` without a key, 403 `OperationNotPermitted` with a key that lacks it.
    pub fn require(self, operation: Operation) -> Result<(), ApiError> {
        match self {
            Self::Admin => Ok(()),
            Self::Reader if operation.is_read_only() => Ok(()),
            Self::Reader => Err(ApiError::new(
                403,
                "OperationNotPermitted",
                format!(
                    "You do not have permission to perform this operation ({}).",
                    operation.role_spelling()
                ),
            )),
            Self::Anyone => Err(no_deploy_key()),
        }
    }

    /// Checks that the sender has some key.
    ///
    /// # Errors
    ///
    /// 403 `BadDeployKey` without a key.
    pub fn require_key(self) -> Result<(), ApiError> {
        if self == Self::Anyone { Err(no_deploy_key()) } else { Ok(()) }
    }
}

impl Credential {
    /// Reads the Authorization header, or `adminKey` of the query string without one.
    ///
    /// # Errors
    ///
    /// 400 `InvalidHeaderFailure` or `InvalidAdminKey`.
    pub fn read(request: &Request) -> Result<Self, ApiError> {
        let Some(header) = request.headers.get("authorization") else {
            let key = request.query.get("adminKey").cloned();
            return Ok(key.map_or(Self::Absent, Self::Key));
        };
        if header.len() < AUTHORIZATION_BYTES_MIN {
            let message = "the Authorization header is too short";
            return Err(ApiError::new(400, "InvalidHeaderFailure", message));
        }
        match header.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("convex") => {
                Ok(Self::Key(key.trim().to_owned()))
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Self::User),
            _ => {
                let message = "the Authorization header must start with `Convex ` or `Bearer `";
                Err(ApiError::new(400, "InvalidAdminKey", message))
            }
        }
    }
}

impl Keys {
    /// Takes the keys of a deployment.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a key.
    pub fn new(
        deployment: impl Into<String>,
        admin: impl Into<String>,
        read_only: impl Into<String>,
    ) -> Result<Self, KeyError> {
        let (deployment, admin, read_only) = (deployment.into(), admin.into(), read_only.into());
        for (which, key) in [("admin", &admin), ("read-only", &read_only)] {
            let secret = key.strip_prefix(&deployment).and_then(|rest| rest.strip_prefix('|'));
            if secret.is_none_or(|secret| secret.is_empty() || secret.contains(['|', ':'])) {
                return Err(KeyError::Form { which, deployment });
            }
        }
        if admin == read_only {
            return Err(KeyError::Equal);
        }
        Ok(Self { deployment, admin, read_only, revoked: BTreeSet::new() })
    }

    /// Checks a credential.
    ///
    /// # Errors
    ///
    /// 401 `BadAdminKey` for a key that is wrong or revoked, 400 `HeaderParseFailure` for a broken
    /// acting-as suffix.
    pub fn identify(&self, credential: &Credential) -> Result<Identity, ApiError> {
        let Credential::Key(key) = credential else { return Ok(Identity::Anyone) };
        let presented = PresentedKey::parse(key)?;
        for (own, identity) in [(&self.admin, Identity::Admin), (&self.read_only, Identity::Reader)]
        {
            if presented.matches(&self.deployment, own) && !self.revoked.contains(own) {
                return Ok(identity);
            }
        }
        let message = "The provided admin key was invalid for this instance";
        Err(ApiError::new(401, "BadAdminKey", message))
    }

    /// Makes a key invalid, in whatever form it is presented; unknown keys change nothing.
    pub fn revoke(&mut self, key: &str) {
        let Ok(presented) = PresentedKey::parse(key) else { return };
        for own in [&self.admin, &self.read_only] {
            if presented.matches(&self.deployment, own) {
                self.revoked.insert(own.clone());
            }
        }
    }

    /// Makes all keys valid again.
    pub fn restore(&mut self) {
        self.revoked.clear();
    }

    /// The full key.
    #[must_use]
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The read-only key.
    #[must_use]
    pub fn read_only(&self) -> &str {
        &self.read_only
    }
}

/// A key as sent, taken apart: `[type:]name|secret[:acting-as]`.
struct PresentedKey<'a> {
    /// The deployment it names; `preview` and `project` keys name none.
    deployment: Option<&'a str>,
    secret: &'a str,
}

impl<'a> PresentedKey<'a> {
    fn parse(key: &'a str) -> Result<Self, ApiError> {
        let Some((left, right)) = key.split_once('|') else {
            return Ok(Self { deployment: None, secret: key });
        };
        let deployment = match left.split_once(':') {
            None => Some(left),
            Some(("preview" | "project", _)) => None,
            Some((_, deployment)) => Some(deployment),
        };
        let Some((secret, acting_as)) = right.split_once(':') else {
            return Ok(Self { deployment, secret: right });
        };
        let is_identity = BASE64
            .decode(acting_as)
            .is_ok_and(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        if !is_identity {
            let message = "the acting-as part of the key is not base64 of JSON";
            return Err(ApiError::new(400, "HeaderParseFailure", message));
        }
        Ok(Self { deployment, secret })
    }

    fn matches(&self, deployment: &str, own: &str) -> bool {
        let own_secret = own.split_once('|').map_or(own, |(_, secret)| secret);
        self.secret == own_secret && self.deployment.is_none_or(|name| name == deployment)
    }
}

fn no_deploy_key() -> ApiError {
    ApiError::new(403, "BadDeployKey", "this endpoint needs a deploy key or an admin key")
}

/// The names of `allowedOps` that a read-only key has, as `check_admin_key` lists them.
pub const READ_ONLY_OPERATIONS: [&str; 12] = [
    "ViewEnvironmentVariables",
    "ViewLogs",
    "ViewMetrics",
    "ViewIntegrations",
    "ViewData",
    "ViewBackups",
    "DownloadBackups",
    "RunInternalQueries",
    "RunTestQuery",
    "ViewAuditLog",
    "ViewUsageLimits",
    "ViewUsage",
];
/// Length of the shortest scheme with its blank.
const AUTHORIZATION_BYTES_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn identify(keys: &Keys, header: &str) -> Result<Identity, (u16, String)> {
        let request = Request::new("GET", "/").header("Authorization", header);
        Credential::read(&request)
            .and_then(|credential| keys.identify(&credential))
            .map_err(|error| (error.status, error.code))
    }

    #[test]
    fn every_form_of_a_key_is_understood() {
        let mut keys = Keys::new("otter", "otter|01ff", "otter|02ff").unwrap();
        let refused = |status, code: &str| Err((status, code.to_owned()));
        let check = |keys: &Keys, header, expected| assert_eq!(identify(keys, header), expected);
        check(&keys, "Convex otter|01ff", Ok(Identity::Admin));
        check(&keys, "cONVEX otter|02ff", Ok(Identity::Reader));
        check(&keys, "Convex prod:otter|01ff", Ok(Identity::Admin));
        check(&keys, "Convex project:team:app|01ff", Ok(Identity::Admin));
        check(&keys, "Convex preview:team:app|02ff", Ok(Identity::Reader));
        check(&keys, "Convex otter|01ff:eyJhIjoxfQ==", Ok(Identity::Admin));
        check(&keys, "Convex otter|01ff:nonsense", refused(400, "HeaderParseFailure"));
        check(&keys, "Convex otter|03ff", refused(401, "BadAdminKey"));
        check(&keys, "Convex walrus|01ff", refused(401, "BadAdminKey"));
        check(&keys, "Bearer some.jwt.here", Ok(Identity::Anyone));
        check(&keys, "Conv", refused(400, "InvalidHeaderFailure"));
        check(&keys, "Basic abcdef", refused(400, "InvalidAdminKey"));
        keys.revoke("prod:otter|01ff");
        check(&keys, "Convex otter|01ff", refused(401, "BadAdminKey"));
        check(&keys, "Convex otter|02ff", Ok(Identity::Reader));
        keys.restore();
        check(&keys, "Convex otter|01ff", Ok(Identity::Admin));
    }

    #[test]
    fn a_reader_may_look_and_run_queries_but_not_write() {
        let code = |result: Result<(), ApiError>| result.err().map(|error| error.code);
        assert_eq!(Identity::Reader.require(Operation::RunInternalQueries), Ok(()));
        let error = Identity::Reader.require(Operation::WriteEnvironmentVariables).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (403, "OperationNotPermitted"));
        assert!(error.message.ends_with("(deployment:env:write)."), "{}", error.message);
        let anyone = Identity::Anyone.require(Operation::ViewEnvironmentVariables);
        assert_eq!(code(anyone).as_deref(), Some("BadDeployKey"));
    }

    #[test]
    fn keys_of_the_wrong_form_are_refused_at_the_start() {
        let form = |which| KeyError::Form { which, deployment: "otter".to_owned() };
        let refused = |admin, read_only| Keys::new("otter", admin, read_only).unwrap_err();
        assert_eq!(refused("walrus|1", "otter|2"), form("admin"));
        assert_eq!(refused("otter|1", "otter|"), form("read-only"));
        assert_eq!(refused("otter|1:2", "otter|2"), form("admin"));
        assert_eq!(refused("otter|1", "otter|1"), KeyError::Equal);
    }
}
