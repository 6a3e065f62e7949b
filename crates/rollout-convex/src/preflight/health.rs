//! Owns the control query: each health source asked once, its values judged as the watch would judge them.
//!
//! Nothing here bars a start: values pass, and the baseline of the rollout looks again. They are shown so that a source
//! which never answers is seen before the night and not in it.

use rollout_core::{Criterion, Source, Verdict};

use crate::measure::{REASON_BYTES_MAX, measured};
use crate::text::clip;
use crate::value::ConvexValue;

use super::look::{Control, Look};
use super::{Finding, Needs};

const CHECK: &str = "health";

/// One finding for each source.
pub(super) fn findings(look: &Look, needs: &Needs) -> Vec<Finding> {
    let each = needs.sources.iter().map(|(name, source)| {
        let criteria = || needs.criteria.iter().filter(|criterion| criterion.source == *name);
        match look.controls.get(name) {
            Some(Control::Document(document)) => judged(name, source, document, criteria()),
            Some(Control::Failed(words)) => Finding::fail(
                CHECK,
                format!("{name}: {}", clip(words, REASON_BYTES_MAX)),
                failed_advice(source),
            ),
            Some(Control::NotAsked(words)) => {
                Finding::unknown(CHECK, format!("{name} was not asked: {words}"), RUN_AGAIN)
            }
            None => Finding::unknown(CHECK, format!("{name} was not asked"), RUN_AGAIN),
        }
    });
    each.collect()
}

fn judged<'a>(
    name: &str,
    source: &Source,
    document: &ConvexValue,
    criteria: impl Iterator<Item = &'a Criterion>,
) -> Finding {
    let mut worst = Verdict::Pass;
    let mut words = Vec::new();
    for criterion in criteria {
        let value = measured(document, &criterion.pointer, criterion.unit);
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
        Verdict::NoData => Finding::warn(
            CHECK,
            found,
            "make the source answer with a value, or correct the pointer: what shows nothing is never a pass",
        ),
        Verdict::Error => Finding::fail(CHECK, found, failed_advice(source)),
        Verdict::Breach => Finding::fail(
            CHECK,
            found,
            "wait until the app is well, or correct the alert threshold: a phase would be rolled back at once",
        ),
    }
}

fn failed_advice(source: &Source) -> String {
    match source {
        Source::Function(call) => {
            format!(
                "try it with `npx convex run {} '{}'` and put it right",
                call.path,
                clip(&call.args, 80)
            )
        }
        Source::Executions(_) | Source::AppMetrics(_) => {
            String::from("look at the key's permissions and at the deployment's health page")
        }
        Source::Http(_) | Source::Prometheus(_) => {
            String::from("look at its endpoint in rolloutd.toml, and ask it with curl")
        }
    }
}

/// What helps where nothing was asked.
const RUN_AGAIN: &str = "put right what is said above, then run this again";
/// Longest value that is shown.
const SHOWN_BYTES_MAX: usize = 80;
