//! Owns a rollout in short: what a list shows and what a waiting script judges by.

use serde::{Deserialize, Serialize};

/// All rollouts of a daemon, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutList {
    /// The rollouts.
    pub rollouts: Vec<RolloutSummary>,
    /// What everybody should know who reads this, in calm lines: the store is not well, or a deployment does not tell
    /// everything that is watched for, or will refuse this version of rolloutd. `None` = nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// A rollout in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSummary {
    /// `r42`.
    pub id: String,
    /// Name of its plan.
    pub plan: String,
    /// Heading of its log.
    pub title: String,
    /// Name of the deployment.
    pub deployment: String,
    /// Where the deployment answers.
    pub url: String,
    /// How far it is.
    pub status: RolloutStatus,
    /// One short phrase: `watching phase 2, next checkpoint T+6h`.
    pub headline: String,
    /// The current phase, while there is one.
    pub phase: Option<PhaseBrief>,
    /// Why it does not advance; empty = it does.
    pub holds: Vec<HoldView>,
    /// Numbers of the incidents that nobody has resolved.
    pub open_incidents: Vec<u32>,
    /// When it was started.
    pub created_at: String,
    /// When the next check is due.
    pub next_check: Option<String>,
    /// When it wakes next by itself.
    pub next_deadline: Option<String>,
    /// Position of its last journal entry.
    pub seq: u64,
    /// A phase was rolled back and the safe values were read back.
    pub rolled_back: bool,
    /// A rollback is on its way.
    pub rolling_back: bool,
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutStatus {
    /// Its start time has not come.
    Scheduled,
    /// Looked at before the first phase.
    Baseline,
    /// In its phases.
    Running,
    /// Looked at after the last phase.
    FinalChecks,
    /// Done.
    Completed,
    /// Ended without its end.
    Aborted,
}

/// The current phase in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseBrief {
    /// Its number, from 1 on.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// How far its attempt is, in one word: `baking`.
    pub stage: String,
    /// How many phases the plan has.
    pub of: u8,
}

/// One reason why a rollout does not advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// What kind of hold it is.
    pub kind: HoldKind,
    /// The reason in words.
    pub words: String,
    /// Since when.
    pub since: String,
    /// What a person says to end it, with the commands; `None` = it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
    /// Of `drift`: the flag that had another value than it should have when flags were read last. `None` = it has its value again, or
    /// it is another kind of hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftView>,
}

/// A flag with a value that this rollout did not give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftView {
    /// The flag.
    pub flag: String,
    /// The value it should have.
    pub expected: String,
    /// The value it has; `None` = not set.
    pub found: Option<String>,
    /// When that was read.
    pub read_at: String,
    /// When it was written, by the deployment's clock; `None` = the deployment does not tell.
    pub written_at: Option<String>,
    /// Who wrote it; `None` = the deployment does not tell.
    pub written_by: Option<String>,
}

/// What kind of hold it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// A person said so.
    Person,
    /// The baseline is not what the plan asks for.
    Baseline,
    /// A flag has a foreign value.
    Drift,
    /// Code was pushed in the middle of a bake window.
    CodePush,
    /// Phases were rolled back.
    RolledBack,
    /// Something failed in a way that only a person can mend.
    EffectFailed,
    /// Nothing has been seen for too long; ends by itself with the next good reading.
    Blind,
    /// A checkpoint was settled late.
    Missed,
    /// Too little of the window was observed.
    CoverageShort,
    /// The wall clock went backward.
    ClockJump,
    /// The smoke test failed, or nobody knows whether it ran.
    Smoke,
    /// The final reading is not what the plan asks for.
    FinalChecks,
}

impl RolloutSummary {
    /// True when the rollout has ended, well or not.
    pub fn is_ended(&self) -> bool {
        matches!(self.status, RolloutStatus::Completed | RolloutStatus::Aborted)
    }

    /// True when at least one hold will not end without a person.
    pub fn needs_a_person(&self) -> bool {
        !self.is_ended() && self.holds.iter().any(|hold| !hold.kind.ends_by_itself())
    }
}

impl RolloutStatus {
    /// The status in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Baseline => "baseline",
            Self::Running => "running",
            Self::FinalChecks => "final checks",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
        }
    }
}

impl HoldKind {
    /// True for the one hold that ends without a person.
    pub fn ends_by_itself(self) -> bool {
        self == Self::Blind
    }
}
