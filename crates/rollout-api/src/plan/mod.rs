//! Owns the plan file as a person writes it: TOML in, the core's [`Plan`] out, or every mistake with its place.
//!
//! Refuses what it does not understand: an unknown key is an error with the key that was probably meant, never ignored.
//! All mistakes are reported at once and in file order, each with a byte range into the text; rules that span several
//! keys are the core's, and their JSON pointers are mapped back to the text here.

mod bound;
mod complaint;
mod criteria;
mod duration;
mod figures;
mod items;
mod phases;
mod placeholders;
mod promql;
mod smoke;
mod sources;
mod spans;
mod top;
mod tree;

use std::fmt;
use std::ops::Range;

use rollout_core::{Plan, Violation};
use toml::de::DeTable;

use crate::problem::{Code, Problem, ViolationView};

use self::complaint::Notes;
use self::spans::Spans;

/// Largest plan file, in bytes. The guide's is 9 KiB; the whole text is kept in the journal.
pub const PLAN_BYTES_MAX: usize = 256 * 1024;

/// One mistake in a plan file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    /// `RO0101` when the text is no TOML, `RO0102` when it is no plan.
    pub code: Code,
    /// JSON pointer into the plan: `/phases/2/checkpoints/3`. Empty = the plan as a whole.
    pub pointer: String,
    /// Where in the text, in bytes; `None` = nowhere in particular.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

/// Every mistake in a plan file, in file order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanErrors(Vec<PlanError>);

/// Reads a plan file.
///
/// # Errors
///
/// Every mistake: `RO0101` where the text is too large or no TOML, `RO0102` where it is no plan.
///
/// ```
/// let text = r#"
///     name = "first"
///     deployment = "production"
///     [[phases]]
///     name = "one"
///     flags = ["ENABLE_ONE"]
///     bake = "1h"
///     chekpoints = ["30m"]
/// "#;
/// let errors = rollout_api::plan::parse(text).unwrap_err();
/// assert_eq!(errors.iter().next().unwrap().hint.as_deref(), Some("did you mean `checkpoints`?"));
/// ```
pub fn parse(text: &str) -> Result<Plan, PlanErrors> {
    if text.len() > PLAN_BYTES_MAX {
        let message =
            format!("the plan has {} bytes; at most {PLAN_BYTES_MAX} are allowed", text.len());
        return Err(PlanErrors(vec![PlanError::nowhere(Code::PlanMalformed, message)]));
    }
    let (document, mistakes) = DeTable::parse_recoverable(text);
    if !mistakes.is_empty() {
        return Err(PlanErrors::sorted(mistakes.iter().map(PlanError::malformed).collect()));
    }
    let notes = Notes::default();
    let parts = top::read(&document, &notes);
    let spans = Spans::of(&document);
    let broken: Vec<PlanError> = match Plan::try_new(parts) {
        Ok(plan) if notes.is_empty() => return Ok(plan),
        Err(violations) if notes.keeps_places() => {
            let fresh = violations.into_iter().filter(|found| !notes.explains(&found.pointer));
            fresh.map(|found| PlanError::broken_rule(found, &spans)).collect()
        }
        Ok(_) | Err(_) => Vec::new(),
    };
    let mut errors = notes.into_errors();
    errors.extend(broken);
    Err(PlanErrors::sorted(errors))
}

/// Where a JSON pointer lies in a plan file, or its nearest ancestor that is there; for what a daemon found wrong with a
/// plan that reads well. `None` where the text is no TOML or nothing of the pointer is there.
pub fn locate(text: &str, pointer: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    Spans::of(&document).nearest(pointer)
}

impl PlanErrors {
    fn sorted(mut errors: Vec<PlanError>) -> Self {
        errors.sort_by_key(|error| error.span.as_ref().map(|span| span.start));
        errors.dedup();
        Self(errors)
    }

    /// The mistakes, in file order.
    pub fn iter(&self) -> impl Iterator<Item = &PlanError> {
        self.0.iter()
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The mistakes as the daemon answers them.
    pub fn to_problem(&self) -> Problem {
        let code = self.0.first().map_or(Code::PlanInvalid, |error| error.code);
        let view = |error: &PlanError| ViolationView {
            pointer: error.pointer.clone(),
            message: error.message.clone(),
            hint: error.hint.clone(),
        };
        Problem::new(code, self.to_string()).with_violations(self.0.iter().map(view).collect())
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the plan has a mistake: {only}"),
            [first, rest @ ..] => {
                write!(f, "the plan has {} mistakes, the first: {first}", rest.len() + 1)
            }
            [] => f.write_str("the plan has mistakes"),
        }
    }
}

impl PlanError {
    fn nowhere(code: Code, message: String) -> Self {
        Self { code, pointer: String::new(), span: None, message, hint: None }
    }

    fn malformed(mistake: &toml::de::Error) -> Self {
        let message = match mistake.message() {
            "duplicate key" => "this key is there twice",
            other => other,
        };
        Self { span: mistake.span(), ..Self::nowhere(Code::PlanMalformed, message.to_string()) }
    }

    fn broken_rule(found: Violation, spans: &Spans) -> Self {
        let span = spans.nearest(&found.pointer);
        let Violation { pointer, message, hint } = found;
        Self { code: Code::PlanInvalid, pointer, span, message, hint }
    }

    /// The line in `text` that the mistake is on, from 1 on.
    pub fn line(&self, text: &str) -> Option<usize> {
        let start = self.span.as_ref()?.start.min(text.len());
        Some(text.as_bytes().iter().take(start).filter(|byte| **byte == b'\n').count() + 1)
    }
}

#[cfg(test)]
mod tests;
