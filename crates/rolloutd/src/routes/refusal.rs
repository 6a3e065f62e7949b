//! Owns the way from every error to a problem: code, HTTP status, and a sentence that says the way out.

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rollout_api::{Code, PROBLEM_MEDIA_TYPE, Problem, ViolationView};
use rollout_convex::Finding;
use rollout_core::Rejection;
use rollout_engine::store::StoreError;
use rollout_engine::{EngineError, Unrecorded};
use tracing::error;

use crate::wiring::Unfit;

/// A request that was not done, and why.
#[derive(Debug)]
pub(super) struct Refused(Box<Problem>);

impl Refused {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// Why something could not be read. In the dark it says what still can.
    pub(super) fn unread(refusal: EngineError) -> Self {
        let EngineError::Unrecorded { source, .. } = &refusal else { return refusal.into() };
        let detail = format!(
            "journals cannot be read while nothing can be recorded: {source}; `rolloutctl list` goes on, and so do `get` and \
             `status` for rollouts that have not ended. The store is tried every 10 s, and the log is there again with it"
        );
        Problem::new(Code::StoreUnrecorded, detail).with_sources_of(&refusal).into()
    }

    /// A problem whose status is another one than its code's.
    pub(super) fn with_status(problem: Problem, status: u16) -> Self {
        Self(Box::new(Problem { status, ..problem }))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let media_type = HeaderValue::from_static(PROBLEM_MEDIA_TYPE);
        (status, [(CONTENT_TYPE, media_type)], Json(self.0)).into_response()
    }
}

impl From<EngineError> for Refused {
    fn from(refusal: EngineError) -> Self {
        engine_problem(&refusal).with_sources_of(&refusal).into()
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        let hint = match &unfit {
            Unfit::Unknown { .. } => {
                "add it to rolloutd.toml with its URL and credential, then restart rolloutd"
            }
            Unfit::Unusable { .. } => "`rolloutd serve --check` shows every deployment",
            Unfit::Barred { findings, .. } => return barred(&unfit, findings).into(),
        };
        let violation = violation("/deployment".to_owned(), unfit.to_string(), hint);
        let detail = format!("{unfit}; {hint}");
        Problem::new(Code::UnknownDeployment, detail).with_violations(vec![violation]).into()
    }
}

/// Every line that keeps the plan from being run, each at its place in the plan.
fn barred(unfit: &Unfit, findings: &[Finding]) -> Problem {
    let shown = findings.iter().map(|finding| {
        let pointer = finding.pointer.clone().unwrap_or_else(|| "/deployment".to_owned());
        violation(pointer, finding.found.clone(), finding.advice.as_deref().unwrap_or_default())
    });
    let detail = format!("{unfit}; `rolloutctl doctor PLAN` shows all that the plan stands on");
    Problem::new(Code::DeploymentUnfit, detail).with_violations(shown.collect())
}

fn engine_problem(refusal: &EngineError) -> Problem {
    match refusal {
        EngineError::Store(source) => store_problem(source),
        EngineError::Unrecorded { did, source } => unrecorded_problem(did, source),
        EngineError::OnReserve => {
            let detail = format!("{refusal}; make room on the disk, it notices within a minute");
            Problem::new(Code::StoreOnReserve, detail)
        }
        EngineError::Record { .. } => {
            error!(%refusal, "a journal cannot be read");
            let detail =
                format!("{refusal}; restore the store from a backup, or run a newer rolloutd");
            Problem::new(Code::StoreDamaged, detail)
        }
        EngineError::UnknownRollout(_) => {
            let detail = format!("{refusal}; `rolloutctl list` shows all there are");
            Problem::new(Code::UnknownRollout, detail)
        }
        EngineError::Quarantined(aside) => {
            let detail = format!(
                "{refusal}; what could be read of it is in {} below the store, and the page of this code says how to find the flags that it may have left on",
                aside.place
            );
            Problem::new(Code::Quarantined, detail)
        }
        EngineError::Rejected(rejection) => rejection_problem(rejection),
        EngineError::DeploymentBusy { by, .. } => {
            let detail = format!("{refusal}; wait until {by} has ended, or abort it");
            Problem::new(Code::DeploymentBusy, detail)
        }
        EngineError::FlagLocked { by, incident, .. } => {
            let detail = format!(
                "{refusal}; `rolloutctl incident resolve {by} {incident} --reason …` unlocks it"
            );
            Problem::new(Code::FlagLocked, detail)
        }
        EngineError::KeyReused(_) => {
            let detail = format!("{refusal}; send a new key with a new plan");
            Problem::new(Code::KeyReused, detail)
        }
        EngineError::ChangeWindow { phase, source } => {
            let pointer = format!("/phases/{}/change_window", phase.index());
            let hint = "five cron fields, a length, and an IANA time zone";
            let violation = violation(pointer, source.to_string(), hint);
            Problem::new(Code::PlanInvalid, refusal.to_string()).with_violations(vec![violation])
        }
        EngineError::Stopped => {
            let detail = "the daemon is stopping and takes nothing more; try again in a moment";
            Problem::new(Code::ShuttingDown, detail)
        }
    }
}

fn rejection_problem(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotNow { verb, why, allowed } => {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            Problem::new(Code::RefusedNow, format!("{verb}: {why}")).with_allowed(allowed)
        }
        Rejection::Unknown { what } => Problem::new(Code::UnknownPart, what.clone()),
        Rejection::NoReason | Rejection::ReasonTooLong { .. } => {
            Problem::new(Code::ReasonMissing, rejection.to_string())
        }
        // Only outcomes of effects are misfits, and those do not come over HTTP.
        Rejection::Misfit { .. } => Problem::new(Code::RefusedNow, rejection.to_string()),
    }
}

fn store_problem(failure: &StoreError) -> Problem {
    error!(code = failure.code(), %failure, "the store failed");
    let code = Code::from_text(failure.code()).unwrap_or(Code::StoreIo);
    let detail = format!("{failure}; nothing was acknowledged, see the daemon's journal");
    Problem::new(code, detail)
}

/// What was not recorded is never called done, not even the rollback that is under way.
fn unrecorded_problem(did: &Unrecorded, cause: &StoreError) -> Problem {
    let way_out = match did {
        Unrecorded::Nothing => "make the store writable again, then repeat it",
        Unrecorded::NotKnown => "make the store writable again, then look before you repeat it",
        Unrecorded::RollbackUnderWay => {
            "this is no acknowledgement: look at the flags with `rolloutctl get`; it goes into the journal once the store can be written"
        }
        Unrecorded::Ended { .. } => "see the daemon's journal",
    };
    let detail = format!("{did}: {cause}; {way_out}");
    Problem::new(Code::StoreUnrecorded, detail)
}

fn violation(pointer: String, message: String, hint: &str) -> ViolationView {
    ViolationView { pointer, message, hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use rollout_core::{FlagName, IncidentNumber, RolloutId, Verb};

    use super::*;

    fn problem(refusal: EngineError) -> Problem {
        *Refused::from(refusal).0
    }

    #[test]
    fn every_error_of_the_engine_has_its_code_and_status() {
        let by = RolloutId::FIRST;
        let io = io::Error::from(io::ErrorKind::StorageFull);
        let not_now = Rejection::NotNow {
            verb: Verb::Promote,
            why: "no window is running".into(),
            allowed: vec![Verb::Hold, Verb::Abort],
        };
        let table = [
            (EngineError::UnknownRollout(by), "RO0302", 404),
            (EngineError::Rejected(not_now), "RO0301", 409),
            (EngineError::Rejected(Rejection::NoReason), "RO0303", 422),
            (EngineError::Rejected(Rejection::ReasonTooLong { max: 1 }), "RO0303", 422),
            (EngineError::Rejected(Rejection::Unknown { what: "x".into() }), "RO0304", 404),
            (EngineError::DeploymentBusy { deployment: "p".into(), by }, "RO0306", 409),
            (EngineError::KeyReused("k".into()), "RO0307", 422),
            (
                EngineError::FlagLocked {
                    flag: FlagName::new("A").unwrap(),
                    by,
                    incident: IncidentNumber::new(1).unwrap(),
                },
                "RO0308",
                409,
            ),
            (EngineError::OnReserve, "RO0211", 503),
            (EngineError::Record { rollout: by, seq: 1, why: "x".into() }, "RO0202", 503),
            (
                EngineError::Unrecorded {
                    did: Unrecorded::RollbackUnderWay,
                    source: StoreError::Closed,
                },
                "RO0210",
                503,
            ),
            (EngineError::Stopped, "RO0405", 503),
            (EngineError::Store(StoreError::Closed), "RO0207", 503),
            (
                EngineError::Store(StoreError::Io { doing: "commit", source: Arc::new(io) }),
                "RO0205",
                503,
            ),
        ];
        for (refusal, code, status) in table {
            let words = refusal.to_string();
            let problem = problem(refusal);
            assert_eq!((problem.code.as_str(), problem.status), (code, status), "{words}");
            assert!(!problem.detail.is_empty());
        }
    }

    #[test]
    fn what_cannot_be_read_in_the_dark_says_what_still_can() {
        let source = StoreError::Closed;
        let dark = EngineError::Unrecorded { did: Unrecorded::Nothing, source };
        let problem = *Refused::unread(dark).0;
        assert_eq!((problem.code.as_str(), problem.status), ("RO0210", 503));
        for command in ["`rolloutctl list`", "`get`", "`status`"] {
            assert!(problem.detail.contains(command), "{}", problem.detail);
        }
        let unknown = *Refused::unread(EngineError::UnknownRollout(RolloutId::FIRST)).0;
        assert_eq!(unknown.code, "RO0302");
    }

    #[test]
    fn a_refusal_says_what_is_allowed_and_a_failure_why() {
        let refused = problem(EngineError::Rejected(Rejection::NotNow {
            verb: Verb::Promote,
            why: "no window is running".into(),
            allowed: vec![Verb::Hold, Verb::ResolveIncident],
        }));
        assert_eq!(refused.allowed, ["hold", "incident resolve"]);
        assert_eq!(refused.detail, "promote: no window is running");
        let full = io::Error::other("no space left");
        let failed =
            problem(EngineError::Store(StoreError::Io { doing: "commit", source: Arc::new(full) }));
        assert_eq!(failed.sources.last().map(String::as_str), Some("no space left"));
    }

    #[test]
    fn a_deployment_that_is_not_there_is_shown_in_the_plan() {
        let unfit = Unfit::Unknown { name: "p".into(), known: vec![] };
        let problem = *Refused::from(unfit).0;
        assert_eq!((problem.code.as_str(), problem.status), ("RO0305", 422));
        assert_eq!(problem.violations[0].pointer, "/deployment");
        assert!(problem.detail.contains("none is configured yet"), "{}", problem.detail);
    }
}
