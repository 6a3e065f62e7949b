//! Owns the dry step: each flag set to the safe value that it has already, to learn whether the app accepts it.
//!
//! Invariants: sends nothing but values that were read a moment before; creates nothing; one batch, or none.

use crate::convex::Convex;
use crate::error::Stakes;
use crate::flags::Variables;
use crate::transport::Transport;

use super::{Finding, Needs};

const CHECK: &str = "dry step";

/// Performs it.
pub(super) async fn perform<T: Transport>(convex: &Convex<T>, needs: &Needs) -> Finding {
    let before = match convex.list_variables(None).await {
        Ok(before) => before,
        Err(error) => {
            let reason = error.reason(&convex.name);
            return Finding::unknown(CHECK, reason, "nothing was written; run this again");
        }
    };
    let at_safe: Variables = needs
        .flags
        .iter()
        .filter(|(flag, change)| before.get(flag.as_str()) == Some(&change.safe))
        .map(|(flag, change)| (flag.to_string(), change.safe.clone()))
        .collect();
    let others = needs.flags.len() - at_safe.len();
    if at_safe.is_empty() {
        return Finding::unknown(
            CHECK,
            "no flag is set to its safe value, so nothing was written",
            "set each flag to its safe value by hand once; the deployment says whether it is accepted",
        );
    }
    let names: Vec<_> = at_safe.keys().cloned().collect();
    match convex.write_variables(None, at_safe).await {
        Ok(()) if others == 0 => {
            Finding::well(CHECK, format!("the safe values of {} are accepted", names.join(", ")))
        }
        Ok(()) => Finding::well(
            CHECK,
            format!(
                "the safe values of {} are accepted; {others} more not at their safe value were left alone",
                names.join(", ")
            ),
        ),
        Err(error) => Finding::fail(
            CHECK,
            error.fault(Stakes::Write, &convex.name).reason,
            "a rollback needs these values: correct them in the plan, or the validators in convex.config.ts",
        ),
    }
}
