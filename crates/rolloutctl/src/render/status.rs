//! Owns a rollout in one line.

use rollout_api::RolloutSummary;

/// The state in one or two words, the most urgent first.
pub(crate) fn state(rollout: &RolloutSummary) -> &'static str {
    if rollout.is_ended() {
        rollout.status.words()
    } else if rollout.rolling_back {
        "rolling back"
    } else if rollout.rolled_back {
        "rolled back"
    } else if !rollout.holds.is_empty() {
        "held"
    } else {
        rollout.status.words()
    }
}

/// The phase in short: `2/5 prompt-message-id`.
pub(crate) fn phase(rollout: &RolloutSummary) -> String {
    let brief =
        |phase: &rollout_api::PhaseBrief| format!("{}/{} {}", phase.number, phase.of, phase.name);
    rollout.phase.as_ref().map(brief).unwrap_or_default()
}

/// The rollout in one line: `r1 held, phase 2/5 prompt-message-id: drift: ENABLE_X was changed by somebody else`.
pub(crate) fn line(rollout: &RolloutSummary) -> String {
    let phase = match phase(rollout) {
        phase if phase.is_empty() || rollout.is_ended() => String::new(),
        phase => format!(", phase {phase}"),
    };
    let holds: Vec<&str> = rollout.holds.iter().map(|hold| hold.words.as_str()).collect();
    let why = match holds.is_empty() || rollout.is_ended() {
        true => rollout.headline.clone(),
        false => holds.join("; "),
    };
    let state = state(rollout);
    // `completed: completed` says it twice.
    let line = match why.strip_prefix(state) {
        Some(more) => format!("{} {state}{phase}{more}", rollout.id),
        None => format!("{} {state}{phase}: {why}", rollout.id),
    };
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use rollout_api::{HoldKind, HoldView, RolloutStatus};

    use super::*;
    use crate::render::samples;

    #[test]
    fn one_line_says_what_matters_most() {
        let running = samples::rollout().summary;
        let words = "r1 running, phase 2/5 prompt-message-id: watching, next checkpoint T+6h";
        assert_eq!(line(&running), words);
        let drift = HoldView {
            kind: HoldKind::Drift,
            words: "drift: ENABLE_X was changed by somebody else".into(),
            since: running.created_at.clone(),
            way_out: None,
            drift: None,
        };
        let held = RolloutSummary { holds: vec![drift], ..running.clone() };
        assert_eq!(
            line(&held),
            "r1 held, phase 2/5 prompt-message-id: drift: ENABLE_X was changed by somebody else"
        );
        assert!(
            line(&RolloutSummary { rolled_back: true, ..held.clone() })
                .starts_with("r1 rolled back, phase 2/5")
        );
        assert!(
            line(&RolloutSummary { rolling_back: true, ..held })
                .starts_with("r1 rolling back, phase 2/5")
        );
        let done = RolloutSummary {
            status: RolloutStatus::Completed,
            headline: "all 5 phases done".into(),
            ..running
        };
        assert_eq!(line(&done), "r1 completed: all 5 phases done");
    }
}
