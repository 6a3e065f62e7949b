//! Owns what a person watches while the demo runs: one calm line per important event, and on a terminal a line below that
//! shows how far the current window is.
//!
//! A story never fails the demo: an output that is closed is written to in vain.

use std::io::Write;

use jiff::{SignedDuration, Timestamp};
use rollout_api::JournalEntry;
use rollout_core::Plan;
use serde_json::Value;

use super::DemoScenario;
use super::clock::DemoClock;
use super::error::DemoError;
use super::play::Window;

/// Width of the bar of the live line.
const BAR_CELLS: i64 = 30;
/// Back to the first column, and everything to its right away.
const CLEAR_LINE: &str = "\r\x1b[K";

/// How the story is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Display {
    /// Lines, and a live line below them.
    Live,
    /// Lines only.
    Lines,
}

/// The story as it is told.
#[derive(Debug)]
pub(super) struct Story {
    display: Display,
    clock: Option<DemoClock>,
    titles: Vec<String>,
}

impl Story {
    /// A story that has not begun.
    pub(super) fn new(display: Display) -> Self {
        Self { display, clock: None, titles: Vec::new() }
    }

    /// What is going to happen.
    pub(super) fn begin(
        &mut self,
        clock: &DemoClock,
        scenario: DemoScenario,
        plan: &Plan,
        url: &str,
        seed: u64,
    ) {
        self.clock = Some(*clock);
        self.titles = plan
            .numbered()
            .map(|(number, phase)| {
                let flags: Vec<_> = phase.flags.keys().map(ToString::to_string).collect();
                format!(
                    "phase {number} of {}  {}: {}",
                    plan.phases.len(),
                    flags.join(", "),
                    phase.purpose
                )
            })
            .collect();
        let what = match scenario {
            DemoScenario::Healthy => {
                "The app stays well. The engine is killed (SIGKILL) in two bake windows and must not mind."
            }
            DemoScenario::Breach => {
                "The third flag drives the app's error rate to 7 %. Nobody is watching but rolloutd."
            }
        };
        self.say(&format!(
            "rolloutd demo: the rollout guide, five flags in five days, {} times as fast",
            clock.scale()
        ));
        self.say(what);
        self.say(&format!(
            "deployment {url} (emulated)   scenario {}   seed {seed}",
            scenario.name()
        ));
        self.say("");
    }

    /// Tells an entry of the journal when it matters to somebody who watches; `values` are those of the last reading, which
    /// is the one that a checkpoint was settled by.
    pub(super) fn tell(
        &mut self,
        entry: &JournalEntry,
        at: Timestamp,
        values: &str,
        killed_at: Option<Timestamp>,
    ) {
        if entry.kind == "phase_started" {
            let title =
                entry.phase.and_then(|phase| self.titles.get(usize::from(phase) - 1)).cloned();
            self.say("");
            self.line(at, &title.unwrap_or_else(|| entry.text.clone()));
        } else if let Some(text) = words(entry, at, values, killed_at) {
            match entry.phase {
                Some(phase) => self.phase_line(at, phase, &text),
                None => self.line(at, &text),
            }
        }
    }

    /// What the operator did.
    pub(super) fn operator(&mut self, at: Timestamp, phase: u8, done: &[String]) {
        if !done.is_empty() {
            self.phase_line(at, phase, &format!("operator: {}", done.join(", ")));
        }
    }

    /// The engine is about to be killed.
    pub(super) fn killed(&mut self, at: Timestamp, window: &Window) {
        let text = format!("✂ engine killed (SIGKILL), {} % into the window", window.percent(at));
        self.phase_line(at, window.phase, &text);
    }

    /// The live line: how far the current window is.
    pub(super) fn progress(&mut self, at: Timestamp, window: Option<&Window>) {
        if self.display == Display::Lines {
            return;
        }
        let (Some(clock), Some(window)) = (self.clock, window) else { return };
        let percent = window.percent(at);
        let full = percent * BAR_CELLS / 100;
        let cells: String =
            (0..BAR_CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect();
        let left = span(window.length - window.passed(at));
        print(&format!(
            "{CLEAR_LINE}{}  phase {}  {cells} {percent:>3} %  {left} left",
            clock.show(at),
            window.phase
        ));
    }

    /// Takes the live line away.
    pub(super) fn quiet(&mut self) {
        if self.display == Display::Live {
            print(CLEAR_LINE);
        }
    }

    /// Why the demo did not come to its end, on stderr.
    pub(super) fn fail(&mut self, error: &DemoError) {
        self.quiet();
        let mut text = format!("rolloutd demo: {error}");
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A line of its own.
    pub(super) fn say(&mut self, text: &str) {
        self.quiet();
        print(&format!("{text}\n"));
    }

    fn phase_line(&mut self, at: Timestamp, phase: u8, text: &str) {
        self.line(at, &format!("phase {phase}  {text}"));
    }

    fn line(&mut self, at: Timestamp, text: &str) {
        let moment = self.clock.map(|clock| clock.show(at)).unwrap_or_default();
        self.say(format!("{moment}  {text}").trim_end());
    }
}

/// The words for an entry; `None` where the story says nothing, or says it elsewhere.
fn words(
    entry: &JournalEntry,
    at: Timestamp,
    values: &str,
    killed_at: Option<Timestamp>,
) -> Option<String> {
    let text = || {
        let prefix = entry.phase.map(|phase| format!("phase {phase}"));
        let rest =
            prefix.and_then(|prefix| entry.text.strip_prefix(&prefix).map(ToString::to_string));
        let rest = rest.unwrap_or_else(|| entry.text.clone());
        rest.trim_start_matches([':', ' ']).to_string()
    };
    match entry.kind.as_str() {
        "engine_resumed" => {
            let away = killed_at.map(|from| format!(" after {}", span(at.duration_since(from))));
            Some(format!("↻ engine resumed{}", away.unwrap_or_default()))
        }
        "rollout_created" => Some("rollout created; first the baseline".to_string()),
        JournalEntry::CHECKPOINT_JUDGED => {
            let field = |name: &str| entry.details.get(name).and_then(Value::as_str).unwrap_or("?");
            let late =
                entry.text.split_once(", late by ").map(|(_, late)| format!(", late by {late}"));
            let (label, verdict) = (field("checkpoint"), field("verdict"));
            Some(format!("{label:<6} {verdict:<5} {values}{}", late.unwrap_or_default()))
        }
        "bake_started" => Some("read back and verified; the bake window begins".to_string()),
        "rollback_started" => Some(format!("!! {}", text())),
        "baseline_passed"
        | "flags_set"
        | "phase_completed"
        | "phase_skipped"
        | "gap_recorded"
        | "held"
        | "released"
        | "drift_seen"
        | "drift_found"
        | "code_pushed"
        | "clock_jumped"
        | "effect_failed"
        | "flags_restored"
        | "restore_lost"
        | "rollback_finished"
        | "final_checks_started"
        | "final_checks_passed"
        | "smoke_created"
        | "smoke_passed"
        | "smoke_failed"
        | "rollout_completed"
        | "rollout_aborted" => Some(text()),
        _ => None,
    }
}

/// A length of time in words: `2 d 3 h`, `1 h 05 min`, `12 min`, `40 s`.
pub(super) fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes:02} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed output is no reason to stop: the demo's verdict is its exit code.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, phase: Option<u8>, text: &str) -> JournalEntry {
        JournalEntry {
            seq: 1,
            at: "2026-01-01T00:00:00Z".into(),
            actor: "rolloutd".into(),
            note: None,
            kind: kind.into(),
            phase,
            text: text.into(),
            details: serde_json::Value::Null,
        }
    }

    #[test]
    fn the_phase_is_not_said_twice() {
        let at = Timestamp::UNIX_EPOCH;
        let said = |kind, text| words(&entry(kind, Some(3), text), at, "", None);
        assert_eq!(said("phase_skipped", "phase 3: skipped").as_deref(), Some("skipped"));
        assert_eq!(said("phase_skipped", "phase 3 skipped").as_deref(), Some("skipped"));
        assert_eq!(said("phase_skipped", "skipped").as_deref(), Some("skipped"));
        assert_eq!(said("reading_taken", "phase 3: pass"), None);
    }

    #[test]
    fn a_resumption_says_how_long_it_took() {
        let (killed, back) =
            (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(17));
        let said = words(&entry("engine_resumed", None, ""), back, "", Some(killed));
        assert_eq!(said.as_deref(), Some("↻ engine resumed after 17 min"));
    }

    #[test]
    fn lengths_of_time_are_short() {
        let shown = |secs| span(SignedDuration::from_secs(secs));
        assert_eq!(shown(40), "40 s");
        assert_eq!(shown(12 * 60), "12 min");
        assert_eq!(shown(3_600 + 300), "1 h 05 min");
        assert_eq!(shown(86_400 * 2 + 3_600 * 3), "2 d 3 h");
    }
}
