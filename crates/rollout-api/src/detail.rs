//! Owns a rollout in full: every phase with its flags, window, checkpoints, items and approvals.

use serde::{Deserialize, Serialize};

use crate::rollout::RolloutSummary;
use crate::server::StoreWord;

/// A rollout in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutDetail {
    /// The rollout in short.
    pub summary: RolloutSummary,
    /// SHA-256 of the plan file as it was sent, in hex.
    pub digest: String,
    /// The phases, in order.
    pub phases: Vec<PhaseView>,
    /// All incidents, oldest first.
    pub incidents: Vec<IncidentView>,
    /// What was read last.
    pub last_reading: Option<ReadingView>,
    /// What the rollout waits for, in words; never empty while it lives.
    pub waits: Vec<String>,
    /// Verbs that would be accepted now.
    pub allowed: Vec<String>,
    /// What everybody should know who reads this, in calm lines: the store is not well, or a deployment does not tell
    /// everything that is watched for, or will refuse this version of rolloutd. `None` = nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// How the store does; left out while it is well. Where it is not, nothing is turned on and the rollout does not advance.
    #[serde(default, skip_serializing_if = "StoreWord::is_ok")]
    pub store: StoreWord,
}

/// One phase and its latest attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseView {
    /// Its number, from 1 on.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// Heading of its group.
    pub group: String,
    /// What its flags are for.
    pub purpose: String,
    /// How risky it is: `Low`.
    pub risk: String,
    /// Its flags.
    pub flags: Vec<FlagView>,
    /// How far the attempt is, in one word: `baking`.
    pub stage: String,
    /// Which attempt it is, from 1 on.
    pub attempt: u32,
    /// The window, once it began.
    pub bake: Option<BakeView>,
    /// The checkpoints of the window, in order.
    pub checkpoints: Vec<CheckpointView>,
    /// The checklist, in order.
    pub items: Vec<ItemView>,
    /// How many different people must approve.
    pub approvals_needed: u8,
    /// Who approved.
    pub approved_by: Vec<String>,
    /// Why the phase was left out.
    pub skipped_why: Option<String>,
}

/// One flag of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagView {
    /// Its name.
    pub name: String,
    /// The value that turns it on.
    pub on: String,
    /// The value that turns it off.
    pub safe: String,
    /// The value that was read last; `None` = not set, or not read yet.
    pub seen: Option<String>,
    /// When that was read; `None` = not read yet. Older than the last reading when that one could not read flags.
    pub seen_at: Option<String>,
}

/// A bake window by two clocks: what has passed, and what of it was observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakeView {
    /// When it began.
    pub started_at: String,
    /// How long the plan wants it to be.
    pub window_secs: u64,
    /// When it ends, with what it has grown by.
    pub ends_at: String,
    /// How much of it was observed.
    pub observed_secs: u64,
    /// How much of it was not.
    pub unobserved_secs: u64,
    /// The observed share in basis points: 10,000 = all of it.
    pub coverage_bp: u16,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointView {
    /// Its place in the window: `T+6h`.
    pub label: String,
    /// When it is due; `None` before the window began.
    pub due: Option<String>,
    /// Its verdict, once it has one.
    pub verdict: Option<String>,
    /// When it was judged.
    pub judged_at: Option<String>,
    /// How much later than due, where the plan calls that late.
    pub late_secs: Option<u64>,
}

/// One checklist item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemView {
    /// Its short name, for `check`.
    pub name: String,
    /// The item as the plan words it.
    pub text: String,
    /// When it must be done.
    pub when: ItemWhen,
    /// The deployment or the plan answers it, not a person.
    pub by_machine: bool,
    /// It is done.
    pub done: bool,
    /// Who did it.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
}

/// When a checklist item must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemWhen {
    /// Before the phase is enabled.
    Before,
    /// After the phase was enabled, before it completes.
    After,
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its number, from 1 on.
    pub number: u32,
    /// When it was opened.
    pub opened_at: String,
    /// The phases that were rolled back.
    pub phases: Vec<u8>,
    /// Why, in words.
    pub cause: String,
    /// How it stands.
    pub state: IncidentState,
    /// What the person wrote who resolved it.
    pub note: Option<String>,
    /// Who resolved it.
    pub resolved_by: Option<String>,
}

/// How an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// The flags are being put back.
    RollingBack,
    /// The flags are back; somebody must look.
    Open,
    /// Somebody looked and wrote down what it was.
    Resolved,
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingView {
    /// When it was taken.
    pub at: String,
    /// Why: `check`, `baseline`.
    pub purpose: String,
    /// The worst verdict of its values.
    pub verdict: String,
    /// One value per criterion, in the plan's order.
    pub values: Vec<ValueView>,
}

/// One value of a reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueView {
    /// The criterion.
    pub criterion: String,
    /// Its heading.
    pub label: String,
    /// The value with its unit, or a dash.
    pub shown: String,
    /// The verdict.
    pub verdict: String,
    /// Why, where there is no value to show for it.
    pub reason: Option<String>,
    /// The target: `< 1`.
    pub target: Option<String>,
    /// The alert threshold: `> 5`.
    pub alert: Option<String>,
}

impl IncidentState {
    /// The state in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RollingBack => "rolling back",
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }
}
