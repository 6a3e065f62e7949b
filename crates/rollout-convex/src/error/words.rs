//! Owns the sentences that operators read about a failed call: what happened, and what a person must do, if anything.
//!
//! Refuses to quote a proxy's page; the deployment's own message is quoted, because it names the value or the permission.
//! What passes by itself asks for nothing.

use std::time::Duration;

use super::{CODE_BYTES_MAX, CallError, LOST_RACE, TransportError};
use crate::text::clip;
use crate::wire::ErrorBody;

impl CallError {
    /// One sentence for an operator, without secrets.
    pub(crate) fn reason(&self, deployment: &str) -> String {
        match self {
            Self::Transport(TransportError::NotSent { cause }) => {
                format!("could not connect to deployment {deployment}: {cause}")
            }
            Self::Transport(TransportError::TimedOut { after }) => {
                format!("deployment {deployment} did not answer within {}", span(*after))
            }
            Self::Transport(TransportError::Lost { cause }) => {
                format!(
                    "lost the connection to deployment {deployment} before its answer was complete: {cause}"
                )
            }
            Self::Transport(TransportError::TooLong { bytes_max }) => {
                format!("deployment {deployment} answered with more than {} MiB", bytes_max >> 20)
            }
            Self::Garbled(error) => {
                format!(
                    "deployment {deployment} answered with something unexpected: {error}; is its URL right?"
                )
            }
            Self::Refused { status, body } => refusal(*status, body, deployment),
        }
    }
}

/// Words for an HTTP error.
fn refusal(status: u16, body: &ErrorBody, deployment: &str) -> String {
    let code = body.code.as_deref().map(|code| clip(code, CODE_BYTES_MAX));
    let message = body.message.as_deref().map(|message| message.trim().trim_end_matches('.'));
    let message = message.map(|message| clip(message, MESSAGE_BYTES_MAX));
    let said = message
        .filter(|message| !message.is_empty())
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    let known = code.as_deref().and_then(|code| by_code(status, code, &said, deployment));
    known.unwrap_or_else(|| by_status(status, code.as_deref(), &said, deployment))
}

/// Words for the codes that say more than their status does.
fn by_code(status: u16, code: &str, said: &str, deployment: &str) -> Option<String> {
    let refused = format!("deployment {deployment} refused the request ({code}){said}");
    let words = match code {
        // Said by other statuses as well; only then is it about the key.
        "BadDeployKey" if status == 403 => by_status(401, Some(code), said, deployment),
        "InvalidHeaderFailure" | "InvalidAdminKey" | "HeaderParseFailure" => {
            format!("the deployment cannot read the key ({code}); {}", put_key(deployment))
        }
        "OperationNotPermitted" => format!(
            "the key of deployment {deployment} may not do this ({code}){said}; use a key that is permitted to"
        ),
        "AuditLogsDisabled" => format!(
            "deployment {deployment} keeps no audit log ({code}), so it cannot say who set a flag"
        ),
        "AuditLogsTooOld" => {
            format!("the audit log of deployment {deployment} does not reach back so far ({code})")
        }
        "EnvironmentVariableNameInvalid"
        | "EnvironmentVariableNameTooLong"
        | "EnvVarNameForbidden" => format!("{refused}; correct the flag's name in the plan"),
        "EnvironmentVariableValueTooLarge" => format!("{refused}; shorten the value in the plan"),
        "EnvVarLimitMet" | "EnvVarTotalSizeLimitMet" => {
            format!("{refused}; remove variables that nothing uses any more")
        }
        "InvalidEnvironmentVariable" => format!(
            "{refused}; use a value that the app's convex.config.ts accepts, or change what it accepts"
        ),
        "RequiredEnvironmentVariable" => {
            format!("{refused}; the app's convex.config.ts says that it must be set")
        }
        "AuthConfigMissingEnvironmentVariable" | "InvalidAuthConfig" => {
            format!(
                "{refused}; put the app's auth config right first, it is checked with every write"
            )
        }
        "BadConvexFunctionIdentifier" | "MissingIdentifier" => {
            format!("{refused}; correct the function's path in the plan")
        }
        "FunctionPathNotFound" | "FunctionPathWrongType" => {
            format!(
                "{refused}; correct the function's path in the plan, or push the code that has it"
            )
        }
        "BadJsonBody" => format!(
            "{refused}; if a value or an argument in the plan is very large, shorten it, otherwise report it as a defect of rolloutd"
        ),
        "ClientVersionUnsupported" => format!(
            "deployment {deployment} no longer works with this version of rolloutd ({code}){said}; install a newer one"
        ),
        "BadQueryArgs"
        | "BadFormat"
        | "InvalidClientVersion"
        | "InvalidTopKParameter"
        | "InvalidComponentPath"
        | "ComponentPathNotFound"
        | "LimitOutOfRange" => format!("{refused}; report it as a defect of rolloutd"),
        "BackendIsNotRunning" => format!(
            "deployment {deployment} is paused or disabled ({code}){said}; a person must resume it in its dashboard"
        ),
        LOST_RACE => format!(
            "another change of deployment {deployment} came first ({code}), so nothing was changed"
        ),
        _ => return None,
    };
    Some(words)
}

/// Words for everything else.
fn by_status(status: u16, code: Option<&str>, said: &str, deployment: &str) -> String {
    let named = code.map_or_else(|| status.to_string(), str::to_owned);
    match status {
        401 => format!("the deployment refused the key ({named}); {}", put_key(deployment)),
        403 if code.is_none() => {
            format!("the deployment refused the key ({named}); {}", put_key(deployment))
        }
        403 => format!(
            "the key of deployment {deployment} may not do this ({named}){said}; use a key that is permitted to"
        ),
        404 if code.is_none() => format!(
            "deployment {deployment} does not know the path (404); a new deployment needs a moment, otherwise check its URL"
        ),
        429 => format!("deployment {deployment} is too busy ({named}){said}"),
        408 | 421 | 425 | 503 | 504 => {
            format!("deployment {deployment} is not available ({named}){said}")
        }
        500.. => format!(
            "deployment {deployment} failed internally ({named}){said}; its status page or logs say more"
        ),
        300..=399 => format!(
            "deployment {deployment} is somewhere else ({status}); redirects are not followed, correct its URL"
        ),
        _ if code.is_none() => format!(
            "deployment {deployment} refused the request ({named}); check its URL, and the proxy if there is one"
        ),
        _ => format!(
            "deployment {deployment} refused the request ({named}){said}; the deployment's logs may say more"
        ),
    }
}

fn put_key(deployment: &str) -> String {
    format!("put a valid deploy key into the credential file of deployment {deployment}")
}

/// A time span in words: `20 s`, `250 ms`.
pub(crate) fn span(span: Duration) -> String {
    match span.subsec_millis() {
        0 => format!("{} s", span.as_secs()),
        _ => format!("{} ms", span.as_millis()),
    }
}

/// Longest quotation of a deployment's message.
const MESSAGE_BYTES_MAX: usize = 300;
