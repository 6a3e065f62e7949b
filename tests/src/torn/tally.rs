//! Owns the figures of the torn writes, and what they say against rolloutd or against the test itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Judged;
use super::recording::{Ours, SEGMENT_BYTES, is_database};
use super::trace::{Deed, Trace};
use crate::power_cut::check::Findings;
use crate::power_cut::row;

/// Failures that a report shows.
const SHOWN_MAX: usize = 8;

/// What became of the disks of one arm.
#[derive(Clone, Debug)]
pub struct Tally {
    subject: &'static str,
    ours: Ours,
    disks: u32,
    failed: u32,
    acknowledged: usize,
    lost: usize,
    failed_opens: u32,
    stuck: usize,
    /// Of the recordings: steps, returned syncs, segments of the database that were begun on top of an earlier one.
    steps: usize,
    syncs: usize,
    written_over: usize,
    repairs: BTreeMap<String, u32>,
    examples: Vec<String>,
}

impl Tally {
    pub(super) fn new(subject: &'static str, ours: Ours) -> Self {
        Self {
            subject,
            ours,
            disks: 0,
            failed: 0,
            acknowledged: 0,
            lost: 0,
            failed_opens: 0,
            stuck: 0,
            steps: 0,
            syncs: 0,
            written_over: 0,
            repairs: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    pub(super) fn disks(&self) -> u32 {
        self.disks
    }

    /// Notes what a recording is like.
    pub(super) fn recorded(&mut self, trace: &Trace) {
        self.steps += trace.steps.len();
        let is_sync = |deed: &Deed| matches!(deed, Deed::Synced { .. });
        self.syncs += trace.steps.iter().filter(|step| is_sync(&step.deed)).count();
        let mut begun = BTreeSet::new();
        for step in &trace.steps {
            let Deed::Write { path, at, .. } = &step.deed else { continue };
            if is_database(path) && at % SEGMENT_BYTES == 0 && !begun.insert(*at) {
                self.written_over += 1;
            }
        }
    }

    /// Counts one disk; true when something failed on it.
    pub(super) fn count(
        &mut self,
        words: String,
        acknowledged: usize,
        judged: Result<Judged, String>,
    ) -> bool {
        self.disks += 1;
        self.acknowledged += acknowledged;
        let why: Vec<String> = match judged {
            Ok(Judged { findings: Findings { lost, stuck }, repairs }) => {
                self.lost += lost.len();
                self.stuck += stuck.len();
                for repair in repairs {
                    *self.repairs.entry(without_names(&repair)).or_default() += 1;
                }
                lost.into_iter().chain(stuck).collect()
            }
            Err(why) => {
                self.failed_opens += 1;
                vec![why]
            }
        };
        let Some(first) = why.first() else { return false };
        self.failed += 1;
        if self.examples.len() < SHOWN_MAX {
            let more = why.len() - 1;
            self.examples
                .push(format!("disk {} ({words}):\n  {first} (and {more} more)", self.disks));
        }
        true
    }

    /// What the figures say against rolloutd, or against the test itself; `None` = nothing.
    pub fn objection(&self) -> Option<String> {
        let enough = self.acknowledged >= self.disks as usize;
        let problem = match self.ours {
            Ours::Counts if self.failed > 0 => "power cuts did damage",
            Ours::IsLeftOut if self.failed * 2 <= self.disks => {
                "the control arm survives without our fdatasync, so the disks prove nothing"
            }
            Ours::Counts | Ours::IsLeftOut if !enough => "hardly anything was acknowledged",
            Ours::Counts | Ours::IsLeftOut => return None,
        };
        Some(format!("{problem}:\n{}\n{self}\n{}", Self::heading(), self.examples.join("\n")))
    }

    /// How often the database was written over, segment by segment.
    pub fn segments_written_over(&self) -> usize {
        self.written_over
    }

    /// What was recorded and what was put right, in words.
    pub fn remarks(&self) -> String {
        let Self { subject, steps, syncs, written_over, .. } = self;
        let mut words = format!(
            "{subject}: {steps} steps and {syncs} syncs recorded; segments begun over earlier ones: {written_over}"
        );
        for (repair, times) in &self.repairs {
            words += &format!("\n  {times} times: {repair}");
        }
        words
    }

    /// The first failures, in words.
    pub fn examples(&self) -> String {
        self.examples.join("\n")
    }

    /// The heading of the table whose rows tallies are.
    pub fn heading() -> String {
        row(["torn writes", "disks", "failed", "acknowledged", "lost", "failed opens", "stuck"])
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arm = match self.ours {
            Ours::Counts => format!("{}, as it is", self.subject),
            Ours::IsLeftOut => format!("{}, control", self.subject),
        };
        let Self { disks, failed, acknowledged, lost, failed_opens, stuck, .. } = self;
        let numbers = [
            disks.to_string(),
            failed.to_string(),
            acknowledged.to_string(),
            lost.to_string(),
            failed_opens.to_string(),
            stuck.to_string(),
        ];
        let [a, b, c, d, e, g] = numbers.each_ref().map(String::as_str);
        f.write_str(&row([&arm, a, b, c, d, e, g]))
    }
}

/// A repair's words, with the same name for every snapshot.
fn without_names(repair: &str) -> String {
    let word = |word| if str::starts_with(word, "snap.") { "snap.*," } else { word };
    repair.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
