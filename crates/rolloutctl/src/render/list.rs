//! Owns the list of rollouts.

use rollout_api::RolloutSummary;

use super::status::{phase, state};
use super::table::table;
use super::time::local;
use crate::env::Env;

/// One row per rollout.
pub(crate) fn page(rollouts: &[RolloutSummary], env: &Env) -> String {
    let row = |rollout: &RolloutSummary| {
        let next = rollout.next_check.as_ref().or(rollout.next_deadline.as_ref());
        // The reading that was on its way when it ended brings nothing more.
        let next = next.filter(|_| !rollout.is_ended() || rollout.rolling_back);
        vec![
            rollout.id.clone(),
            rollout.plan.clone(),
            rollout.deployment.clone(),
            state(rollout).to_string(),
            phase(rollout),
            next.map(|at| local(at, &env.zone)).unwrap_or_default(),
        ]
    };
    let rows = rollouts.iter().map(row).collect();
    table(&["ID", "PLAN", "DEPLOYMENT", "STATE", "PHASE", "NEXT"], rows, 0, env)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn an_ended_rollout_has_nothing_next() {
        let mut rollout = samples::rollout().summary;
        rollout.status = rollout_api::RolloutStatus::Aborted;
        let ended = page(&[rollout], &samples::env());
        assert!(ended.contains("aborted") && !ended.contains("12:30"), "{ended}");
    }

    #[test]
    fn a_list_fits_eighty_columns_in_local_time() {
        let page = page(&[samples::rollout().summary], &samples::env());
        insta::assert_snapshot!(page, @r"
        ID  PLAN         DEPLOYMENT  STATE    PHASE                  NEXT
        r1  agent-flags  production  running  2/5 prompt-message-id  2025-12-17 12:30
        ");
    }
}
