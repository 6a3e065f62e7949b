//! Owns the sorting of failures: what happened on the wire becomes a [`Fault`] with a class and one calm sentence.
//!
//! Invariant: *did it happen?* is answered pessimistically. A write is [`FaultClass::Unknown`] unless it surely did not
//! happen: nothing was sent, or the deployment itself said that it refused. A bare 503 may come from a proxy that had
//! already passed the request on, so only one with a code that is known to come before the commit counts as refused.
//!
//! The sentences are in `words`; what a deployment that runs no functions is called is in `stopped`. Each row of
//! `docs/convex-errors.md` is driven through here by a test.

pub(crate) mod stopped;
mod words;

pub(crate) use words::span;

use std::time::Duration;

use rollout_core::{Fault, FaultClass, Outcome, Pace};

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
                (503, Stakes::Write, Some(code)) if is_before_commit(code) => FaultClass::Transient,
                (408 | 429 | 500.., _, _) => unless_read(FaultClass::Unknown),
                (302 | 303 | 307, _, _) => FaultClass::Transient,
                (_, _, _) => FaultClass::Permanent,
            },
        }
    }

    /// How long the deployment wants to be left alone. There is no `Retry-After`; its official client goes by the codes.
    pub(crate) fn pace(&self) -> Pace {
        match self {
            Self::Refused { status: 429, .. } => Pace::Overloaded,
            Self::Refused { status: 503, body } => match body.code.as_deref() {
                None | Some(LOST_RACE) => Pace::Usual,
                Some(code) if JUST_RESTARTED.contains(&code) => Pace::Restarting,
                Some(_) => Pace::Overloaded,
            },
            Self::Transport(_) | Self::Garbled(_) | Self::Refused { .. } => Pace::Usual,
        }
    }

    /// The fault to report for it.
    pub(crate) fn fault(&self, stakes: Stakes, deployment: &str) -> Fault {
        Fault::new(self.class(stakes), self.code(), self.reason(deployment))
    }

    /// The end of an effect that it is the whole reason for.
    pub(crate) fn outcome(&self, stakes: Stakes, deployment: &str) -> Outcome {
        Outcome::Failed { fault: self.fault(stakes, deployment), pace: self.pace() }
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

/// True for a code of a 503 with which the deployment says that nothing was committed. The codes about subscriptions and
/// indexes are not among them: those may come after a commit. Neither is a code that nobody has heard of, because it may
/// be a proxy's.
fn is_before_commit(code: &str) -> bool {
    code == LOST_RACE || JUST_RESTARTED.contains(&code) || REJECTED.contains(&code)
}

/// Another change of the same variables was committed first.
pub(crate) const LOST_RACE: &str = "OptimisticConcurrencyControlFailure";
/// Codes of a 503 that pass once the deployment has been up for a moment.
const JUST_RESTARTED: [&str; 3] =
    ["SearchIndexesUnavailable", "VectorIndexesUnavailable", "TableSummariesUnavailable"];
/// Codes of a 503 of an overloaded deployment that had not committed anything, and mostly not begun.
const REJECTED: [&str; 7] = [
    "CommitterFullError",
    "ExecuteFullError",
    "ExpiredInQueue",
    "InitialPermitTimeoutError",
    "IsolateNotClean",
    "UpstreamConnectError",
    "WorkerOverloaded",
];
/// Longest code that is kept; the deployment's longest has 36 bytes.
const CODE_BYTES_MAX: usize = 64;

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
            (refused(503, Some("WorkerOverloaded")), "TTU"),
            (refused(503, Some("SubscriptionsWorkerFullError")), "TUU"),
            (refused(503, Some("TextIndexTooLarge")), "TUU"),
            (refused(503, Some("NeverHeardOf")), "TUU"),
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
    fn the_pace_is_what_the_deployment_asks_for() {
        for (status, code, pace) in [
            (429, Some("TooManyWrites"), Pace::Overloaded),
            (429, None, Pace::Overloaded),
            (503, Some("CommitterFullError"), Pace::Overloaded),
            (503, Some("SubscriptionsWorkerFullError"), Pace::Overloaded),
            (503, Some("NeverHeardOf"), Pace::Overloaded),
            (503, Some("TableSummariesUnavailable"), Pace::Restarting),
            (503, Some(LOST_RACE), Pace::Usual),
            (503, None, Pace::Usual),
            (500, Some("InternalServerError"), Pace::Usual),
            (401, Some("BadAdminKey"), Pace::Usual),
        ] {
            assert_eq!(refused(status, code).pace(), pace, "{status} {code:?}");
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
            reason(500, None),
            "deployment prod failed internally (500); its status page or logs say more"
        );
    }
}
