//! Owns the last lines of the demo: what came out of five days, or what a person who is called at night would see.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use convex_emulator::Write;
use rollout_api::{IncidentView, PhaseView, RolloutDetail};

use super::ending::{checkpoints, writes_per_flag};
use super::play::Tally;
use super::story::{Story, span};

impl Story {
    /// The healthy scenario in a few numbers.
    pub(super) fn summary(
        &mut self,
        detail: &RolloutDetail,
        tally: &Tally,
        writes: &[Write],
        took: Duration,
    ) {
        let count = |stage: &str| detail.phases.iter().filter(|phase| phase.stage == stage).count();
        let (filled, all) = checkpoints(detail);
        let written = writes_per_flag(writes);
        let times: usize = written.values().sum();
        let gaps = match tally.gaps {
            0 => "none: the engine was back within two checks each time".to_string(),
            gaps => format!("{gaps}, each in the log; the windows grew by what was not observed"),
        };
        self.say("");
        self.say(&format!("Rollout {} {}", detail.summary.id, detail.summary.status.words()));
        self.say(&format!(
            "  phases       {} completed, {} skipped",
            count("completed"),
            count("skipped")
        ));
        self.say(&format!("  checkpoints  {filled} of {all} filled, {} readings", tally.readings));
        self.say(&format!(
            "  writes       {times} seen by the deployment, for {} flags",
            written.len()
        ));
        self.say(&format!("  kills        {} survived", tally.kills));
        self.say(&format!("  gaps         {gaps}"));
        self.say(&format!(
            "  time         {} of rollout in {:.1} s",
            span(tally.lasted),
            took.as_secs_f64()
        ));
    }

    /// The breach scenario as the person sees it who is called, and what that person could do.
    pub(super) fn breach(
        &mut self,
        detail: &RolloutDetail,
        tally: &Tally,
        env: &BTreeMap<String, String>,
    ) {
        let id = &detail.summary.id;
        let holds: Vec<_> = detail.summary.holds.iter().map(|hold| hold.words.as_str()).collect();
        self.say("");
        self.say("What the person on call sees");
        self.say(&format!("  {id} is held: {}", holds.join("; ")));
        for incident in &detail.incidents {
            self.say(&format!(
                "  incident {} ({}): {}",
                incident.number,
                incident.state.words(),
                incident.cause
            ));
        }
        if let Some(within) = tally.rolled_back_within {
            self.say(&format!(
                "  from the reading to the safe value read back: {} of rollout time",
                span(within)
            ));
        }
        for flag in detail
            .phases
            .iter()
            .filter(|phase| phase.stage != "pending")
            .flat_map(|phase| &phase.flags)
        {
            let value = env.get(&flag.name).map_or("not set", String::as_str);
            self.say(&format!("  {:<28} {value}", flag.name));
        }
        self.say(&format!("  the app again: {}", tally.values));
        self.say("");
        self.say("What they can do now");
        self.way_out(id, detail);
    }

    /// Where everything is.
    pub(super) fn kept(&mut self, log: &Path, engine: Option<&Path>) {
        self.say("");
        self.say(&format!("The rollout log: {}", log.display()));
        if let Some(engine) = engine {
            self.say(&format!(
                "The engine's state, configuration and messages: {}",
                engine.display()
            ));
        }
    }

    fn way_out(&mut self, id: &str, detail: &RolloutDetail) {
        let incident = detail.incidents.last().map_or(1, |incident: &IncidentView| incident.number);
        let rolled_back = |phase: &&PhaseView| phase.stage == "rolled_back";
        let phase = detail.phases.iter().find(rolled_back).map_or(1, |phase| phase.number);
        let orders = [
            (
                "incident resolve",
                format!("rolloutctl incident resolve {id} {incident} --reason …"),
                "write down what it was",
            ),
            (
                "rollback",
                format!("rolloutctl rollback {id} --all --reason …"),
                "put all flags back at once",
            ),
            ("abort", format!("rolloutctl abort {id} --reason …"), "end the rollout here"),
            ("retry", format!("rolloutctl retry {id} --reason …"), "try the phase again, fixed"),
            (
                "skip",
                format!("rolloutctl skip {id} --phase {phase} --reason …"),
                "go on without it",
            ),
        ];
        // The daemon says what it takes now; what it does not waits for the incident.
        let (now, later): (Vec<_>, Vec<_>) =
            orders.into_iter().partition(|(verb, ..)| detail.allowed.iter().any(|now| now == verb));
        let mut show = |command: &str, meaning: &str| {
            self.say(&format!("  {command:<46}  {meaning}"));
        };
        show(&format!("rolloutctl log {id}"), "read what happened, minute by minute");
        now.iter().for_each(|(_, command, meaning)| show(command, meaning));
        if !later.is_empty() {
            self.say("And once the incident is resolved");
            for (_, command, meaning) in &later {
                self.say(&format!("  {command:<46}  {meaning}"));
            }
        }
    }
}
