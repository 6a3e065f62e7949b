//! Owns what is said of a function that failed, and of a deployment that runs none: paused, disabled by one of three
//! limits, or suspended. Each has another person to turn to.
//!
//! Invariant: a stopped deployment is not a broken one. Its variables can still be read and set, so a rollback works, and
//! the sentence says so. The state that the deployment tells goes before the text of its refusal; the text alone counts
//! only where the state cannot be asked.

use crate::measure::FOUND_BYTES_MAX;
use crate::text::{clip, useful_line};
use crate::wire::Thrown;

/// Says why a function failed. `state` is the deployment's own word about itself: `None` when it could not be asked or was
/// not.
pub(crate) fn thrown_words(
    path: &str,
    thrown: &Thrown,
    state: Option<&str>,
    deployment: &str,
) -> String {
    if let Some(data) = &thrown.data {
        return format!("{path} threw a ConvexError: {}", data.show(FOUND_BYTES_MAX));
    }
    let stopped = may_be_stopped(thrown).then(|| stopped_words(thrown, state, deployment));
    if let Some(words) = stopped.flatten() {
        return words;
    }
    match thrown.line.as_deref().map(|line| clip(line, LINE_BYTES_MAX)) {
        Some(line) => match advice(&line) {
            Some(advice) => format!("{path} failed: {}; {advice}", line.trim_end_matches('.')),
            None => format!("{path} failed: {line}"),
        },
        None => format!(
            "{path} failed, and the deployment does not say why; throw a ConvexError to see it"
        ),
    }
}

/// True when a failure reads like a stopped deployment, or like nothing at all: a deployment that redacts says no more.
pub(crate) fn may_be_stopped(thrown: &Thrown) -> bool {
    thrown.data.is_none() && thrown.line.as_ref().is_none_or(|line| Cause::read(line).is_some())
}

/// Why a deployment runs no functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Paused,
    FreePlan,
    Spending,
    UsageLimit,
    Suspended,
}

impl Cause {
    /// Recognizes the text of a refusal (wire contract, section 6).
    fn read(line: &str) -> Option<Self> {
        let texts = [
            ("while this deployment is paused", Self::Paused),
            ("while this deployment is suspended", Self::Suspended),
            ("exceeded the free plan limits", Self::FreePlan),
            ("exceeded your spending limits", Self::Spending),
            ("This deployment has been disabled", Self::UsageLimit),
        ];
        texts.into_iter().find(|(text, _)| line.contains(text)).map(|(_, cause)| cause)
    }

    /// The state that belongs to it, as the deployment calls it.
    fn state(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::FreePlan | Self::Spending | Self::UsageLimit => "disabled",
            Self::Suspended => "suspended",
        }
    }
}

/// Says that the deployment runs no functions; `None` when `state`, its own word about itself, is that it does.
pub(crate) fn state_words(state: &str, deployment: &str) -> Option<String> {
    words_of(None, Some(state), deployment)
}

/// True for the error of an execution that was refused because the deployment was stopped. It says nothing about the
/// function. An error that the function threw begins with other words, whatever it goes on with.
pub(crate) fn is_refusal(error: &str) -> bool {
    useful_line(error).is_some_and(|line| Cause::read(line).is_some() && !line.starts_with(THROWN))
}

/// `None` when the deployment says that it is running, or nothing says that it is not.
fn stopped_words(thrown: &Thrown, state: Option<&str>, deployment: &str) -> Option<String> {
    words_of(thrown.line.as_deref().and_then(Cause::read), state, deployment)
}

fn words_of(cause: Option<Cause>, state: Option<&str>, deployment: &str) -> Option<String> {
    let state = state.or(cause.map(Cause::state)).filter(|state| *state != RUNNING)?;
    let until = match (state, cause.filter(|cause| cause.state() == state)) {
        ("paused", _) => "until a person resumes it in its dashboard",
        ("disabled", Some(Cause::FreePlan)) => {
            "until its team upgrades the plan: the limits of the free plan are exceeded"
        }
        ("disabled", Some(Cause::Spending)) => {
            "until its team raises the spending limits, or they reset"
        }
        ("disabled", Some(Cause::UsageLimit)) => {
            "until a person raises or removes the usage limit that it exceeded"
        }
        ("disabled", _) => "until its team settles in the dashboard which limit it exceeded",
        ("suspended", _) => "until Convex lifts that: ask Convex support",
        (_, _) => "until a person starts it again",
    };
    let name = clip(deployment, LINE_BYTES_MAX);
    let state = clip(state, STATE_BYTES_MAX);
    Some(format!(
        "deployment {name} is {state} and runs no functions {until}; its flags can still be set and rolled back"
    ))
}

/// What a person can do about a function that failed before it ran.
fn advice(line: &str) -> Option<&'static str> {
    match () {
        () if line.contains("Could not find function")
            || line.contains("Could not find public function") =>
        {
            Some("correct its path in the plan, or push the code that has it")
        }
        () if line.starts_with("ArgumentValidationError") => {
            Some("correct its arguments in the plan")
        }
        () if line.contains("Function execution timed out") => Some("let it do less"),
        () => None,
    }
}

/// How the error of user code begins.
const THROWN: &str = "Uncaught ";
/// The state in which functions run.
pub(crate) const RUNNING: &str = "running";
/// Longest state that is quoted; the longest known has nine bytes.
const STATE_BYTES_MAX: usize = 40;
/// Longest quotation of what a function said.
const LINE_BYTES_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: Option<&str>, state: Option<&str>) -> String {
        let thrown = Thrown { line: line.map(str::to_owned), data: None };
        thrown_words("m:f", &thrown, state, "prod")
    }

    #[test]
    fn a_refusal_is_not_taken_for_what_a_function_says() {
        let paused = "Cannot run functions while this deployment is paused. Resume it.";
        assert!(is_refusal(paused));
        assert!(is_refusal(&format!("[Request ID: 0123456789abcdef] Server Error\n{paused}\n")));
        assert!(!is_refusal(&format!("Uncaught Error: {paused}")));
        assert!(!is_refusal("Uncaught Error: boom"));
        assert!(!is_refusal(""));
        assert_eq!(state_words("running", "prod"), None);
    }

    #[test]
    fn the_state_goes_before_the_text_and_the_text_before_silence() {
        let paused = Some("Cannot run functions while this deployment is paused. Resume it.");
        let flags = "its flags can still be set and rolled back";
        let expected = format!(
            "deployment prod is paused and runs no functions until a person resumes it in its dashboard; {flags}"
        );
        assert_eq!(words(paused, Some("paused")), expected);
        assert_eq!(words(paused, None), expected);
        assert_eq!(words(None, Some("paused")), expected);
        // It was resumed while the function was refused: what it said is all there is.
        assert!(words(paused, Some("running")).starts_with("m:f failed: Cannot run functions"));
        assert!(words(None, Some("running")).contains("does not say why"));
        assert!(words(None, None).contains("does not say why"));
        // A state that fits the text less than the deployment's own word gets the word's advice only.
        assert!(words(paused, Some("disabled")).contains("which limit it exceeded"));
        assert!(
            words(None, Some("dreaming")).starts_with("deployment prod is dreaming and runs no")
        );
        assert!(words(Some("Uncaught Error: boom"), Some("paused")).ends_with("boom"));
    }
}
