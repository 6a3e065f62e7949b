//! Owns what is found wrong while reading: a complaint without a place, and the notebook that gives it one.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::problem::Code;

use super::PlanError;

/// What is wrong with a value, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// Collects complaints while a plan is read, so that reading goes on behind each of them.
#[derive(Default)]
pub(super) struct Notes {
    errors: RefCell<Vec<PlanError>>,
    excused: RefCell<Vec<String>>,
    lost_place: Cell<bool>,
}

impl Notes {
    pub(super) fn add(&self, pointer: &str, span: Option<Range<usize>>, complaint: Complaint) {
        let Complaint { message, hint } = complaint;
        let pointer = pointer.to_string();
        self.errors.borrow_mut().push(PlanError {
            code: Code::PlanInvalid,
            pointer,
            span,
            message,
            hint,
        });
    }

    /// Notes that a key is missing only because its name is misspelled, which was complained about.
    pub(super) fn excuse(&self, pointer: String) {
        self.excused.borrow_mut().push(pointer);
    }

    pub(super) fn is_excused(&self, pointer: &str) -> bool {
        self.excused.borrow().iter().any(|excused| excused == pointer)
    }

    /// Notes that an entry of a list was left out, so that the core's pointers no longer fit the file.
    pub(super) fn lose_place(&self) {
        self.lost_place.set(true);
    }

    /// True while every entry that was read stands where it stands in the file.
    pub(super) fn keeps_places(&self) -> bool {
        !self.lost_place.get()
    }

    /// True when something that was complained about explains why the rule at `pointer` is broken: one lies within the
    /// other, or the key has another name in the file.
    pub(super) fn explains(&self, pointer: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let related = |other: &str| within(other, pointer) || within(pointer, other);
        self.errors.borrow().iter().any(|error| related(&error.pointer)) || self.is_excused(pointer)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    pub(super) fn into_errors(self) -> Vec<PlanError> {
        self.errors.into_inner()
    }
}

/// The word of `known` that was probably meant by `written`.
pub(super) fn meant<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = written.to_ascii_lowercase().replace('-', "_");
    let near = known.iter().map(|word| (distance(&lower, &word.to_ascii_lowercase()), *word));
    let near = near.min()?;
    (near.0 <= written.chars().count() / 3).then_some(near.1)
}

/// The hint for a word that is not among `known`.
pub(super) fn suggestion(written: &str, known: &[&str]) -> String {
    match meant(written, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// How many letters must be changed, added, dropped or swapped with their neighbour to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["name", "flags", "bake", "checkpoints", "approvals", "only_when"];
        assert_eq!(meant("chekpoints", &known), Some("checkpoints"));
        assert_eq!(meant("flag", &known), Some("flags"));
        assert_eq!(meant("naem", &known), Some("name"));
        assert_eq!(meant("only-when", &known), Some("only_when"));
        assert_eq!(meant("Flags", &known), Some("flags"));
        assert_eq!(meant("zebra", &known), None);
        assert_eq!(suggestion("zebra", &["a", "b"]), "known here: a, b");
    }
}
