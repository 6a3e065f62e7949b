//! Owns the sorting of failures: what happened on the wire becomes a [`Fault`] with a class and one calm sentence.
//!
//! Invariant: *did it happen?* is answered pessimistically. A write is [`FaultClass::Unknown`] unless it surely did not
//! happen: nothing was sent, or the deployment itself said that it refused. A bare 503 may come from a proxy that had
//! already passed the request on, so only one with the deployment's own code counts as refused.

use std::time::Duration;

use rollout_core::{Fault, FaultClass};

use crate::text::clip;
use crate::wire::{ErrorBody, WireError};

/// What a call may change, and so what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stakes {
    /// Nothing.
    Read,
    /// Flags, to absolute values: repeating it is harmless.
    Write,
    /// Whatever a user's function changes: repeating it is not harmless.
    Once,
}

/// How a request ended without a whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: nothing of the request left this machine.
    #[error("failed to connect: {cause}")]
    NotSent {
        /// In words: `connection refused`.
        cause: String,
    },
    /// No whole answer in time; the request may have arrived.
    #[error("no answer within {} ms", .after.as_millis())]
    TimedOut {
        /// The time given.
        after: Duration,
    },
    /// The connection broke before the whole answer was read; the request may have arrived.
    #[error("connection lost: {cause}")]
    Lost {
        /// In words: `connection reset`.
        cause: String,
    },
    /// The answer is too long to be one.
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An HTTP error.
    #[error("refused with status {status}")]
    Refused { status: u16, body: ErrorBody },
    /// The answer cannot be understood.
    #[error("garbled answer")]
    Garbled(#[from] WireError),
}

impl CallError {
    /// True for a path that the deployment does not know, so that an older spelling may be tried: nothing has happened.
    pub(crate) fn is_unknown_path(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// What may be done about it.
    pub(crate) fn class(&self, stakes: Stakes) -> FaultClass {
        let unless_read =
            |class| if stakes == Stakes::Read { FaultClass::Transient } else { class };
        match self {
            Self::Transport(TransportError::NotSent { .. }) => FaultClass::Transient,
            Self::Transport(_) | Self::Garbled(_) => unless_read(FaultClass::Unknown),
            Self::Refused { status, body } => match (status, stakes, &body.code) {
                (404, _, Some(code)) if code.starts_with("FunctionPath") => FaultClass::Permanent,
                (404 | 421 | 425, _, _) | (429, Stakes::Read | Stakes::Write, _) => {
                    FaultClass::Transient
                }
                (503, Stakes::Write, Some(_)) => FaultClass::Transient,
                (408 | 429 | 500.., _, _) => unless_read(FaultClass::Unknown),
                (302 | 303 | 307, _, _) => FaultClass::Transient,
                (_, _, _) => FaultClass::Permanent,
            },
        }
    }

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

    /// The fault to report for it.
    pub(crate) fn fault(&self, stakes: Stakes, deployment: &str) -> Fault {
        Fault::new(self.class(stakes), self.code(), self.reason(deployment))
    }

    /// The deployment's own code, where it gave one.
    pub(crate) fn code(&self) -> Option<String> {
        match self {
            Self::Refused { body, .. } => {
                body.code.as_deref().map(|code| clip(code, CODE_BYTES_MAX))
            }
            Self::Transport(_) | Self::Garbled(_) => None,
        }
    }
}

/// Words for an HTTP error. The message of the deployment is quoted where it helps, never a page of a proxy.
fn refusal(status: u16, body: &ErrorBody, deployment: &str) -> String {
    let code = body.code.as_deref().map(|code| clip(code, CODE_BYTES_MAX));
    let named = code.unwrap_or_else(|| status.to_string());
    let message = body.message.as_deref().map(|message| clip(message.trim(), MESSAGE_BYTES_MAX));
    let said = message
        .filter(|message| !message.is_empty())
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    let key_file =
        format!("put a valid deploy key into the credential file of deployment {deployment}");
    match (status, named.as_str()) {
        (401, _) | (403, "BadDeployKey" | "403") => {
            format!("the deployment refused the key ({named}); {key_file}")
        }
        (403, _) => {
            format!(
                "the key of deployment {deployment} may not do this ({named}){said}; use a key that is permitted to"
            )
        }
        (404, "404") => format!(
            "deployment {deployment} does not know the path (404); a new deployment needs a moment, otherwise check its URL"
        ),
        (429, _) => format!("deployment {deployment} is too busy ({named}){said}"),
        (503, "OptimisticConcurrencyControlFailure") => {
            format!(
                "another change of deployment {deployment} came first ({named}), so nothing was changed"
            )
        }
        (408 | 503 | 504, _) => format!("deployment {deployment} is not available ({named}){said}"),
        (500.., _) => format!("deployment {deployment} failed internally ({named}){said}"),
        (300..=399, _) => {
            format!(
                "deployment {deployment} is somewhere else ({status}); redirects are not followed, correct its URL"
            )
        }
        (_, _) => format!("deployment {deployment} refused the request ({named}){said}"),
    }
}

/// A time span in words: `20 s`, `250 ms`.
pub(crate) fn span(span: Duration) -> String {
    match span.subsec_millis() {
        0 => format!("{} s", span.as_secs()),
        _ => format!("{} ms", span.as_millis()),
    }
}

/// Longest code that is kept; the deployment's longest has 36 bytes.
const CODE_BYTES_MAX: usize = 64;
/// Longest quotation of a deployment's message.
const MESSAGE_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&str>) -> CallError {
        let message = code.map(|_| String::from("some words"));
        CallError::Refused { status, body: ErrorBody { code: code.map(str::to_owned), message } }
    }

    /// One letter per class for reads, writes and functions that must not be repeated.
    fn classes(error: &CallError) -> String {
        let letter = |stakes| match error.class(stakes) {
            FaultClass::Transient => 'T',
            FaultClass::Permanent => 'P',
            FaultClass::Unknown => 'U',
        };
        [Stakes::Read, Stakes::Write, Stakes::Once].map(letter).into_iter().collect()
    }

    #[test]
    fn every_failure_has_its_class() {
        let not_sent =
            CallError::from(TransportError::NotSent { cause: "connection refused".into() });
        let timed_out =
            CallError::from(TransportError::TimedOut { after: Duration::from_secs(20) });
        let lost = CallError::from(TransportError::Lost { cause: "connection reset".into() });
        let too_long = CallError::from(TransportError::TooLong { bytes_max: 1 << 24 });
        let garbled = CallError::from(WireError::Unexpected("a list"));
        for (error, expected) in [
            (not_sent, "TTT"),
            (timed_out, "TUU"),
            (lost, "TUU"),
            (too_long, "TUU"),
            (garbled, "TUU"),
            (refused(400, Some("EnvironmentVariableNameTooLong")), "PPP"),
            (refused(401, Some("BadAdminKey")), "PPP"),
            (refused(403, Some("OperationNotPermitted")), "PPP"),
            (refused(404, None), "TTT"),
            (refused(404, Some("FunctionPathNotFound")), "PPP"),
            (refused(405, None), "PPP"),
            (refused(408, None), "TUU"),
            (refused(409, None), "PPP"),
            (refused(421, None), "TTT"),
            (refused(425, None), "TTT"),
            (refused(429, Some("TooManyConcurrentRequests")), "TTU"),
            (refused(500, Some("InternalServerError")), "TUU"),
            (refused(502, None), "TUU"),
            (refused(503, Some("OptimisticConcurrencyControlFailure")), "TTU"),
            (refused(503, None), "TUU"),
            (refused(504, None), "TUU"),
            (refused(560, None), "TUU"),
            (refused(301, None), "PPP"),
            (refused(307, None), "TTT"),
        ] {
            assert_eq!(classes(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn sentences_say_what_a_person_must_do() {
        let reason = |status, code| refused(status, code).reason("prod");
        assert_eq!(
            reason(401, Some("BadAdminKey")),
            "the deployment refused the key (BadAdminKey); put a valid deploy key into the credential file of deployment prod"
        );
        assert_eq!(
            reason(403, Some("OperationNotPermitted")),
            "the key of deployment prod may not do this (OperationNotPermitted): some words; use a key that is permitted to"
        );
        assert_eq!(
            reason(400, Some("BadFormat")),
            "deployment prod refused the request (BadFormat): some words"
        );
        assert_eq!(reason(500, None), "deployment prod failed internally (500)");
        assert_eq!(span(Duration::from_millis(250)), "250 ms");
    }
}
