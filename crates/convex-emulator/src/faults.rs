//! Faults: what goes wrong with requests, on demand.
//!
//! A fault matches requests by a part of their path and fires a number of times or for ever; of
//! several that match, the oldest one that is not used up fires, and only that one. Requests to
//! `/_emulator/` never meet a fault, so that a test can always take one back.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::json;

use crate::wire::{ApiError, Response};

/// A fault and the requests it is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A part of the path; empty for every request.
    #[serde(rename = "match", default)]
    pub path_part: String,
    /// How many requests it is for; `None` is all of them.
    pub times: Option<NonZeroU32>,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// What goes wrong with a request. Waits are in real milliseconds, because they are about the
/// network between two real processes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Answered with a status; nothing is applied.
    Status {
        /// The HTTP status.
        status: u16,
        /// The `code` of the body; without one the body is empty.
        code: Option<String>,
        /// The `message` of the body.
        message: Option<String>,
    },
    /// Answered with a status and a page of HTML, as a proxy would; nothing is applied.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// Applied at once, answered late.
    Slow {
        /// The wait.
        ms: u64,
    },
    /// Applied and answered late: even when the client has given up and read back by then.
    SlowApply {
        /// The wait.
        ms: u64,
    },
    /// Not applied; the connection is closed late, with no answer.
    SlowDrop {
        /// The wait.
        ms: u64,
    },
    /// Not applied; the connection is closed at once, with no answer.
    CutBeforeCommit,
    /// Applied; the connection is closed with no answer.
    CutAfterCommit,
    /// The key of the request is revoked before the request is judged.
    RevokeKey,
    /// All keys are valid again before the request is judged.
    RestoreKey,
    /// Answered as always, with the headers of a deployment that will refuse its client, or does.
    Deprecated {
        /// `UpgradeRequired` or `Unsupported`.
        state: String,
        /// For people.
        message: String,
    },
    /// Somebody else sets a variable: after a request that reads, before one that writes.
    ForeignEdit {
        /// The variable.
        name: String,
        /// Its value; `None` removes it.
        value: Option<String>,
    },
}

impl Fault {
    /// Makes a fault for the next request whose path has `path_part`.
    #[must_use]
    pub fn once(path_part: impl Into<String>, kind: FaultKind) -> Self {
        Self::times(path_part, NonZeroU32::MIN, kind)
    }

    /// Makes a fault for the next `times` requests whose path has `path_part`.
    #[must_use]
    pub fn times(path_part: impl Into<String>, times: NonZeroU32, kind: FaultKind) -> Self {
        Self { path_part: path_part.into(), times: Some(times), kind }
    }

    /// Makes a fault for every request whose path has `path_part`.
    #[must_use]
    pub fn always(path_part: impl Into<String>, kind: FaultKind) -> Self {
        Self { path_part: path_part.into(), times: None, kind }
    }
}

impl FaultKind {
    /// Answers with a status and a JSON body with this `code`.
    #[must_use]
    pub fn status(status: u16, code: impl Into<String>) -> Self {
        Self::Status { status, code: Some(code.into()), message: None }
    }

    /// Answers with a status and an empty body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self::Status { status, code: None, message: None }
    }
}

/// The faults in force, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Forgets all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many faults are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether a request to `path` would meet a fault.
    #[must_use]
    pub fn meets(&self, path: &str) -> bool {
        self.0.iter().any(|fault| path.contains(&fault.path_part))
    }

    /// Takes the fault that a request to `path` meets.
    pub fn fire(&mut self, path: &str) -> Option<FaultKind> {
        let index = self.0.iter().position(|fault| path.contains(&fault.path_part))?;
        let fault = &mut self.0[index];
        let kind = fault.kind.clone();
        if let Some(times) = fault.times {
            match NonZeroU32::new(times.get() - 1) {
                Some(left) => fault.times = Some(left),
                None => drop(self.0.remove(index)),
            }
        }
        Some(kind)
    }
}

/// A bare status, with an error body when there is a code.
pub(crate) fn status_response(status: u16, code: Option<&str>, message: Option<&str>) -> Response {
    match code {
        Some(code) => ApiError::new(status, code, message.unwrap_or("injected by a test")).into(),
        None => Response::empty(status),
    }
}

pub(crate) fn html_response(status: u16) -> Response {
    let body = format!("<html><body><h1>{status}</h1><hr>proxy</body></html>");
    Response { content_type: Some("text/html"), body: body.into_bytes(), ..Response::empty(status) }
}

/// The faults in force as JSON, for `GET /_emulator/faults`.
pub(crate) fn to_json(faults: &Faults) -> serde_json::Value {
    let left = |fault: &Fault| {
        json!({
            "match": fault.path_part,
            "times": fault.times.map(NonZeroU32::get),
            "kind": format!("{:?}", fault.kind),
        })
    };
    faults.0.iter().map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_matching_fault_fires_until_it_is_used_up() {
        let mut faults = Faults::default();
        let two = NonZeroU32::new(2).unwrap();
        faults.add(Fault::times("update_env", two, FaultKind::CutAfterCommit));
        faults.add(Fault::always("env", FaultKind::empty(404)));
        let update = "/api/v1/update_environment_variables";
        assert_eq!(faults.fire("/api/function"), None);
        assert_eq!(faults.fire(update), Some(FaultKind::CutAfterCommit));
        assert_eq!(faults.fire(update), Some(FaultKind::CutAfterCommit));
        assert_eq!(faults.fire(update), Some(FaultKind::empty(404)));
        assert_eq!(faults.fire("/api/list_environment_variables"), Some(FaultKind::empty(404)));
        faults.clear();
        assert_eq!(faults.fire(update), None);
    }

    #[test]
    fn faults_are_read_from_json_and_mistakes_are_refused() {
        let read = |text| serde_json::from_str::<Fault>(text);
        let fault = r#"{"match":"update","times":1,"kind":{"status":{"status":429,"code":"X"}}}"#;
        assert_eq!(read(fault).unwrap(), Fault::once("update", FaultKind::status(429, "X")));
        let fault = r#"{"match":"","times":null,"kind":"cut_before_commit"}"#;
        assert_eq!(read(fault).unwrap(), Fault::always("", FaultKind::CutBeforeCommit));
        let fault = r#"{"match":"list","kind":{"foreign_edit":{"name":"A","value":null}}}"#;
        let edit = FaultKind::ForeignEdit { name: "A".to_owned(), value: None };
        assert_eq!(read(fault).unwrap(), Fault::always("list", edit));
        assert!(read(r#"{"match":"","times":0,"kind":"cut_before_commit"}"#).is_err());
        assert!(read(r#"{"match":"","kind":"cut"}"#).is_err());
        assert!(read(r#"{"match":"","kind":"restore_key","extra":1}"#).is_err());
    }
}
