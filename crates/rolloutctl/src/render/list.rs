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
    fn a_list_fits_eighty_columns_in_local_time() {
        let page = page(&[samples::rollout().summary], &samples::env());
        insta::assert_snapshot!(page, @r"
        ID  PLAN         DEPLOYMENT  STATE    PHASE                  NEXT
        r1  agent-flags  production  running  2/5 prompt-message-id  2025-12-17 12:30
        ");
    }
}
