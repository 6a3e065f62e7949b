//! Owns refusals: the body of every answer that is not a success (RFC 9457), and the table of stable codes.
//!
//! A code never changes its meaning. `docs/errors/` has a page for each; the CLI and the log show the same code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// Media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names the kind of problem: `urn:rolloutd:error:RO0301`.
    #[serde(rename = "type")]
    pub type_url: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code: `RO0301`.
    pub code: String,
    /// What is wrong in this case.
    pub detail: String,
    /// Verbs that would be accepted now.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// What is wrong with the plan, in file order.
    #[serde(default)]
    pub violations: Vec<ViolationView>,
    /// The chain of causes, nearest first.
    #[serde(default)]
    pub sources: Vec<String>,
}

/// One rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViolationView {
    /// Where in the plan: a JSON pointer such as `/phases/2/checkpoints/3`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

/// A stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// `RO0001`
    Usage,
    /// `RO0101`
    PlanMalformed,
    /// `RO0102`
    PlanInvalid,
    /// `RO0201`
    StoreTooNew,
    /// `RO0202`
    StoreDamaged,
    /// `RO0203`
    StoreWentBack,
    /// `RO0204`
    StoreLocked,
    /// `RO0205`
    StoreIo,
    /// `RO0206`
    StoreConflict,
    /// `RO0207`
    StorePanicked,
    /// `RO0208`
    Quarantined,
    /// `RO0209`
    BackupDamaged,
    /// `RO0210`
    StoreUnrecorded,
    /// `RO0211`
    StoreOnReserve,
    /// `RO0301`
    RefusedNow,
    /// `RO0302`
    UnknownRollout,
    /// `RO0303`
    ReasonMissing,
    /// `RO0304`
    UnknownPart,
    /// `RO0305`
    UnknownDeployment,
    /// `RO0306`
    DeploymentBusy,
    /// `RO0307`
    KeyReused,
    /// `RO0308`
    FlagLocked,
    /// `RO0309`
    DeploymentUnfit,
    /// `RO0310`
    OtherJournal,
    /// `RO0401`
    BodyTooLarge,
    /// `RO0402`
    BadBody,
    /// `RO0403`
    NotAllowed,
    /// `RO0404`
    NoSuchPath,
    /// `RO0405`
    ShuttingDown,
}

/// What is fixed about a code: its name, HTTP status, exit code and title.
struct Row(&'static str, u16, Exit, &'static str);

impl Code {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 29] = [
        Self::Usage,
        Self::PlanMalformed,
        Self::PlanInvalid,
        Self::StoreTooNew,
        Self::StoreDamaged,
        Self::StoreWentBack,
        Self::StoreLocked,
        Self::StoreIo,
        Self::StoreConflict,
        Self::StorePanicked,
        Self::Quarantined,
        Self::BackupDamaged,
        Self::StoreUnrecorded,
        Self::StoreOnReserve,
        Self::RefusedNow,
        Self::UnknownRollout,
        Self::ReasonMissing,
        Self::UnknownPart,
        Self::UnknownDeployment,
        Self::DeploymentBusy,
        Self::KeyReused,
        Self::FlagLocked,
        Self::DeploymentUnfit,
        Self::OtherJournal,
        Self::BodyTooLarge,
        Self::BadBody,
        Self::NotAllowed,
        Self::NoSuchPath,
        Self::ShuttingDown,
    ];

    fn row(self) -> Row {
        use Exit::{Failed, Refused, Unreachable};
        match self {
            Self::Usage => Row("RO0001", 400, Exit::Usage, "the command line makes no sense"),
            Self::PlanMalformed => Row("RO0101", 400, Refused, "the plan file cannot be read"),
            Self::PlanInvalid => Row("RO0102", 422, Refused, "the plan breaks rules"),
            Self::StoreTooNew => {
                Row("RO0201", 503, Failed, "the store was written by a newer version")
            }
            Self::StoreDamaged => Row("RO0202", 503, Failed, "the store is damaged"),
            Self::StoreWentBack => {
                Row("RO0203", 503, Failed, "the store lost entries that were acknowledged")
            }
            Self::StoreLocked => {
                Row("RO0204", 503, Failed, "the store is in use by another process")
            }
            Self::StoreIo => Row("RO0205", 503, Failed, "the store cannot be read or written"),
            Self::StoreConflict => Row("RO0206", 409, Failed, "the journal has moved on"),
            Self::StorePanicked => Row("RO0207", 503, Failed, "the store's library panicked"),
            Self::Quarantined => Row("RO0208", 409, Refused, "the rollout is quarantined"),
            Self::BackupDamaged => Row("RO0209", 500, Refused, "the backup cannot be read"),
            Self::StoreUnrecorded => Row("RO0210", 503, Failed, "nothing can be recorded"),
            Self::StoreOnReserve => {
                Row("RO0211", 503, Refused, "the disk is full, nothing is turned on")
            }
            Self::RefusedNow => Row("RO0301", 409, Refused, "refused now"),
            Self::UnknownRollout => Row("RO0302", 404, Refused, "there is no such rollout"),
            Self::ReasonMissing => Row("RO0303", 422, Refused, "the reason is missing or too long"),
            Self::UnknownPart => {
                Row("RO0304", 404, Refused, "there is no such phase, item or incident")
            }
            Self::UnknownDeployment => {
                Row("RO0305", 422, Refused, "the deployment is not configured")
            }
            Self::DeploymentBusy => {
                Row("RO0306", 409, Refused, "another rollout is live on the deployment")
            }
            Self::KeyReused => {
                Row("RO0307", 422, Refused, "the idempotency key was used for another request")
            }
            Self::FlagLocked => Row("RO0308", 409, Refused, "a flag is locked by an open incident"),
            Self::DeploymentUnfit => {
                Row("RO0309", 422, Refused, "the deployment cannot run this plan")
            }
            Self::OtherJournal => {
                Row("RO0310", 409, Refused, "the journal is another one than the reader's")
            }
            Self::BodyTooLarge => Row("RO0401", 413, Refused, "the request is too large"),
            Self::BadBody => Row("RO0402", 400, Refused, "the request cannot be read"),
            Self::NotAllowed => Row("RO0403", 403, Refused, "not allowed"),
            Self::NoSuchPath => Row("RO0404", 404, Failed, "there is no such path"),
            Self::ShuttingDown => Row("RO0405", 503, Unreachable, "the daemon is shutting down"),
        }
    }

    /// The code as it is written: `RO0301`.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of an answer with this code.
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// How a command ends that was answered with this code.
    pub fn exit(self) -> Exit {
        self.row().2
    }

    /// The kind of problem in words.
    pub fn title(self) -> &'static str {
        self.row().3
    }

    /// The code that is written like this.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Problem {
    /// A problem with this code and nothing but a detail.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            type_url: format!("urn:rolloutd:error:{code}"),
            title: code.title().to_string(),
            status: code.status(),
            code: code.to_string(),
            detail: detail.into(),
            allowed: Vec::new(),
            violations: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Adds the verbs that would be accepted now.
    #[must_use]
    pub fn with_allowed(mut self, allowed: Vec<String>) -> Self {
        self.allowed = allowed;
        self
    }

    /// Adds what is wrong with the plan.
    #[must_use]
    pub fn with_violations(mut self, violations: Vec<ViolationView>) -> Self {
        self.violations = violations;
        self
    }

    /// Adds the causes of an error, nearest first.
    #[must_use]
    pub fn with_sources_of(mut self, error: &dyn std::error::Error) -> Self {
        self.sources = std::iter::successors(error.source(), |cause| cause.source())
            .map(ToString::to_string)
            .collect();
        self
    }

    /// The code, where this version knows it.
    pub fn known_code(&self) -> Option<Code> {
        Code::from_text(&self.code)
    }

    /// How a command ends that was answered with this problem. A code of a newer daemon goes by its HTTP status.
    pub fn exit(&self) -> Exit {
        let by_status =
            if (400..500).contains(&self.status) { Exit::Refused } else { Exit::Failed };
        self.known_code().map_or(by_status, Code::exit)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_found_by_their_text() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.as_str() < b.as_str()));
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(code));
            assert!((400..600).contains(&code.status()), "{code}");
            let title = code.title();
            assert!(title.starts_with(char::is_lowercase) && !title.ends_with('.'), "{title}");
        }
    }

    #[test]
    fn a_problem_is_what_the_rfc_says() {
        let problem =
            Problem::new(Code::RefusedNow, "phase 2 is baking").with_allowed(vec!["hold".into()]);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:rolloutd:error:RO0301");
        assert_eq!(json["status"], 409);
        assert_eq!(json["allowed"][0], "hold");
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }

    #[test]
    fn a_code_from_the_future_goes_by_its_status() {
        let mut problem = Problem::new(Code::RefusedNow, "new");
        problem.code = "RO0399".into();
        assert_eq!(problem.exit(), Exit::Refused);
        problem.status = 500;
        assert_eq!(problem.exit(), Exit::Failed);
    }
}
