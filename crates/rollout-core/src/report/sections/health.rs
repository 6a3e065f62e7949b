//! Owns how readings are shown: values with their units, verdicts as signs, flags as JSON.
//!
//! A value is shown to the letter of the reading; a probe for a variable shows whether it is set and never its value.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::json;
use super::super::markdown::{Table, inline};
use crate::criterion::{Criterion, Verdict};
use crate::id::FlagName;
use crate::measurement::{
    FlagValues, Judged, JudgedReading, Measured, Probe, ProbeAnswer, ProbeKind, ProbeState,
};
use crate::plan::Plan;

/// Metric | Value | Status, one row per criterion of the plan.
pub(super) fn table(plan: &Plan, reading: &JudgedReading) -> Table {
    let mut table = Table::new(["Metric", "Value", "Status"]);
    for criterion in &plan.criteria {
        let judged = reading.of(&criterion.name);
        table.row([inline(&criterion.label), value(criterion, judged), status(criterion, judged)]);
    }
    table
}

/// Metric | Baseline Value, one row per criterion of the plan.
pub(super) fn baseline_table(plan: &Plan, reading: &JudgedReading) -> Table {
    let mut table = Table::new(["Metric", "Baseline Value"]);
    for criterion in &plan.criteria {
        table.row([inline(&criterion.label), marked(criterion, reading)]);
    }
    table
}

/// The value of one criterion, with a sign when it is not as it should be.
pub(super) fn marked(criterion: &Criterion, reading: &JudgedReading) -> String {
    let judged = reading.of(&criterion.name);
    let shown = value(criterion, judged);
    match judged.map(|judged| judged.verdict) {
        Some(verdict @ (Verdict::Warn | Verdict::Breach)) => format!("{shown} {}", sign(verdict)),
        Some(Verdict::Pass | Verdict::NoData | Verdict::Error) | None => shown,
    }
}

/// One line per criterion that is not within its target: value, target, alert threshold.
pub(super) fn off_target(plan: &Plan, reading: &JudgedReading) -> Vec<String> {
    let line = |criterion: &Criterion| {
        let judged = reading.of(&criterion.name)?;
        let bounds = [("target", &criterion.target), ("alert threshold", &criterion.alert)];
        let bounds = bounds.iter().filter_map(|(name, bound)| {
            bound.as_ref().map(|bound| format!(", {name} {}", inline(&bound.words(criterion.unit))))
        });
        (criterion.is_judged() && judged.verdict != Verdict::Pass).then(|| {
            let shown = value(criterion, Some(judged));
            let mark = status(criterion, Some(judged));
            format!("{}: {shown}{} {mark}", inline(&criterion.label), bounds.collect::<String>())
        })
    };
    plan.criteria.iter().filter_map(line).collect()
}

/// A verdict as a sign.
pub(super) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅",
        Verdict::Warn => "⚠️",
        Verdict::NoData => "❔",
        Verdict::Error => "❌",
        Verdict::Breach => "🔴",
    }
}

/// A verdict as a sign and its word.
pub(super) fn verdict(verdict: Verdict) -> String {
    format!("{} {verdict}", sign(verdict))
}

fn status(criterion: &Criterion, judged: Option<&Judged>) -> String {
    match judged.map(|judged| judged.verdict) {
        _ if !criterion.is_judged() => "shown only".to_string(),
        None => "⬜".to_string(),
        Some(Verdict::Pass) => sign(Verdict::Pass).to_string(),
        Some(other) => verdict(other),
    }
}

fn value(criterion: &Criterion, judged: Option<&Judged>) -> String {
    match judged.map(|judged| &judged.measured) {
        Some(Measured::Number(number)) => criterion.unit.show(*number),
        Some(Measured::Text(text)) => inline(text),
        Some(Measured::Missing(reason)) => format!("no data: {}", inline(reason)),
        Some(Measured::Failed(reason)) => format!("error: {}", inline(reason)),
        None => String::new(),
    }
}

/// Flags as entries of a JSON block, in the order of their names.
pub(super) fn flag_entries<'f>(
    flags: impl IntoIterator<Item = &'f FlagName>,
    found: &FlagValues,
) -> Vec<(String, String)> {
    let entry = |flag: &FlagName| {
        let value = found.get(flag).and_then(|value| value.as_deref());
        (flag.to_string(), json::flag(value))
    };
    flags.into_iter().map(entry).collect()
}

/// Which of the flags are not set at all: `not set: A, B`.
pub(super) fn not_set<'f>(
    flags: impl IntoIterator<Item = &'f FlagName>,
    found: &FlagValues,
) -> Option<String> {
    let absent = flags.into_iter().filter(|flag| !matches!(found.get(*flag), Some(Some(_))));
    let names: Vec<String> = absent.map(|flag| inline(flag.as_str())).collect();
    (!names.is_empty()).then(|| format!("not set: {}", names.join(", ")))
}

/// What a probe found, as JSON.
pub(super) fn probe_json(probe: Option<&Probe>, answer: &ProbeAnswer) -> String {
    match (answer.state, is_variable(probe)) {
        (ProbeState::Failed, _) => "null".to_string(),
        (state, true) => (state == ProbeState::Met).to_string(),
        (_, false) => json::found(&answer.found),
    }
}

/// What a probe found, in a sentence.
pub(super) fn probe_words(probe: Option<&Probe>, answer: &ProbeAnswer) -> String {
    match (answer.state, is_variable(probe)) {
        (ProbeState::Failed, _) => format!("could not be asked: {}", inline(&answer.found)),
        (ProbeState::Met, true) => "the variable is set".to_string(),
        (ProbeState::NotMet, true) => "the variable is not set".to_string(),
        (ProbeState::Met | ProbeState::NotMet, false) => format!("found {}", inline(&answer.found)),
    }
}

/// Whether a probe found what it expected, as a sign.
pub(super) fn probe_sign(state: ProbeState) -> &'static str {
    match state {
        ProbeState::Met => "✅",
        ProbeState::NotMet => "🔴 not met",
        ProbeState::Failed => "❌ error",
    }
}

fn is_variable(probe: Option<&Probe>) -> bool {
    probe.is_some_and(|probe| matches!(probe.kind, ProbeKind::VariableSet(_)))
}
