//! Owns the control query: each health source asked once, its values judged as the watch would judge them.
//!
//! Nothing here bars a start: values pass, and the baseline of the rollout looks again. They are shown so that a source
//! which never answers is seen before the night and not in it.

use std::collections::BTreeMap;

use rollout_core::{Measured, Source, Unit, Verdict};

use crate::endpoint::Answer;
use crate::measure::{REASON_BYTES_MAX, measured};
use crate::text::clip;

use super::look::{Control, Look, is_on_deployment};
use super::{Finding, Needs};

const CHECK: &str = "health";

/// One finding for each source that the deployment is asked.
pub(super) fn findings(look: &Look, needs: &Needs) -> Vec<Finding> {
    let asked = needs.sources.iter().filter(|(_, source)| is_on_deployment(source));
    let lost = asked.clone().filter_map(|(name, source)| match look.controls.get(name) {
        Some(Control::Lost(path, reason)) => Some((name.as_str(), source, path, reason)),
        _ => None,
    });
    let lost = lost_findings(lost);
    let asked = asked
        .filter(|(name, _)| !matches!(look.controls.get(name.as_str()), Some(Control::Lost(..))));
    let each = asked.map(|(name, source)| match look.controls.get(name) {
        Some(Control::Document(document)) => {
            judged(name, source, needs, |pointer, unit| measured(document, pointer, unit))
        }
        Some(Control::Told(told)) => {
            judged(name, source, needs, |pointer, unit| told.measured(pointer, unit))
        }
        Some(Control::Missing(words)) => missing(name, source, words),
        Some(Control::Failed(words)) => failed(name, source, words),
        Some(Control::NotAsked(words, advice)) => {
            Finding::unknown(CHECK, format!("{name} was not asked: {words}"), *advice)
        }
        Some(Control::Lost(..)) | None => {
            Finding::unknown(CHECK, format!("{name} was not asked"), RUN_AGAIN)
        }
    });
    each.chain(lost).collect()
}

/// Why functions could not be asked. What is wrong with the way there is said once, however many functions it kept away.
fn lost_findings<'a>(
    lost: impl Iterator<Item = (&'a str, &'a Source, &'a String, &'a String)>,
) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&String, Vec<(&str, &Source, &String)>> = BTreeMap::new();
    for (name, source, path, reason) in lost {
        by_reason.entry(reason).or_default().push((name, source, path));
    }
    let finding = |(reason, sources): (&String, Vec<(&str, &Source, &String)>)| {
        if let [(name, source, path)] = sources.as_slice() {
            return failed(name, source, &format!("could not ask {path}: {reason}"));
        }
        let names: Vec<_> = sources.iter().map(|(name, ..)| *name).collect();
        let (count, names) = (names.len(), names.join(", "));
        let words = format!("{count} functions could not be asked ({names}): {reason}");
        Finding::fail(CHECK, clip(&words, REASON_BYTES_MAX), LOST_ADVICE)
    };
    by_reason.into_iter().map(finding).collect()
}

/// The finding for a source that an endpoint was asked for, judged as the watch would judge it.
pub fn endpoint_finding(name: &str, source: &Source, needs: &Needs, answer: &Answer) -> Finding {
    match answer {
        Answer::Told { document, .. } => {
            judged(name, source, needs, |pointer, unit| measured(document, pointer, unit))
        }
        Answer::Missing(words) => missing(name, source, words),
        Answer::Failed(words) => failed(name, source, words),
    }
}

fn missing(name: &str, source: &Source, words: &str) -> Finding {
    let words = clip(words, REASON_BYTES_MAX);
    Finding::warn(CHECK, format!("{name} has nothing to show: {words}"), missing_advice(source))
}

fn failed(name: &str, source: &Source, words: &str) -> Finding {
    let words = clip(words, REASON_BYTES_MAX);
    Finding::fail(CHECK, format!("{name}: {words}"), failed_advice(source))
}

fn judged(
    name: &str,
    source: &Source,
    needs: &Needs,
    measured: impl Fn(&str, Unit) -> Measured,
) -> Finding {
    let criteria = needs.criteria.iter().filter(|criterion| criterion.source == name);
    let mut worst = Verdict::Pass;
    let mut words = Vec::new();
    for criterion in criteria {
        let value = measured(&criterion.pointer, criterion.unit);
        let (verdict, _) = criterion.judge(&value);
        worst = worst.max(verdict);
        let shown = clip(&value.shown(criterion.unit), SHOWN_BYTES_MAX);
        let said = if verdict == Verdict::Pass { String::new() } else { format!(" ({verdict})") };
        words.push(format!("{} {shown}{said}", criterion.label));
    }
    let found = match words.is_empty() {
        true => format!("{name} answers; no criterion reads it"),
        false => format!("{name}: {}", words.join(", ")),
    };
    match worst {
        Verdict::Pass => Finding::well(CHECK, found),
        Verdict::Warn => Finding::warn(
            CHECK,
            found,
            "look at it before a flag is turned on: it is beyond its target already",
        ),
        Verdict::NoData => Finding::warn(CHECK, found, missing_advice(source)),
        Verdict::Error => Finding::fail(
            CHECK,
            found,
            "correct pointer or unit of that criterion: the source answers, and not with such a value there",
        ),
        Verdict::Breach => Finding::fail(
            CHECK,
            found,
            "wait until the app is well, or correct the alert threshold: a phase would be rolled back at once",
        ),
    }
}

/// What helps where a source could not be asked, or answered with something that cannot be used.
fn failed_advice(source: &Source) -> String {
    match source {
        Source::Function(call) => {
            format!(
                "try it with `npx convex run {} '{}'` and put it right",
                call.path,
                clip(&call.args, 80)
            )
        }
        Source::Executions(_) | Source::AppMetrics(_) => String::from(
            "run this again; if it stays, look at the deployment's own health page and at the permissions above",
        ),
        Source::Http(_) => String::from(
            "correct `path` in the plan, or the endpoint in rolloutd.toml; curl shows what it answers",
        ),
        Source::Prometheus(_) => String::from(
            "correct `query` in the plan, or the endpoint in rolloutd.toml; Prometheus' own page shows what it answers",
        ),
    }
}

/// What helps where a source has no value.
fn missing_advice(source: &Source) -> String {
    let way = match source {
        Source::Function(_) | Source::Http(_) => "make it show a value, or correct the pointer",
        Source::Executions(_) | Source::AppMetrics(_) => {
            "wait for calls, or correct functions, callers, `over` or `calls_min` in the plan"
        }
        Source::Prometheus(_) => "ask for something that always has a value",
    };
    format!("{way}: what shows nothing is never a pass, and holds up the phase")
}

/// What helps where no function could be asked.
const LOST_ADVICE: &str = "run this again; if it stays, look at the network between here and there and at the deployment's own health page";
/// What helps where nothing was asked.
const RUN_AGAIN: &str = "run this again";
/// Longest value that is shown.
const SHOWN_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use rollout_core::FunctionCall;

    use super::*;

    #[test]
    fn what_kept_several_functions_away_is_said_once_with_their_number() {
        let call = |path: &str| FunctionCall { path: path.into(), args: "{}".into() };
        let sources = ["m:a", "m:b", "m:c"].map(|path| (path.to_owned(), Source::from(call(path))));
        let (down, slow) = ("connection refused".to_owned(), "no answer within 5 s".to_owned());
        let lost =
            [("a", &sources[0], &down), ("b", &sources[1], &slow), ("c", &sources[2], &down)];
        let lost = lost.iter().map(|(name, (path, source), reason)| (*name, source, path, *reason));
        let found: Vec<_> = lost_findings(lost).into_iter().map(|finding| finding.found).collect();
        assert_eq!(
            found,
            [
                "2 functions could not be asked (a, c): connection refused",
                "b: could not ask m:b: no answer within 5 s",
            ]
        );
    }
}
