//! Owns the doctor's look at the daemon itself: its store, its rollouts, and whether each of them waits for something.

use std::sync::Arc;

use rollout_api::{DoctorSection, FindingView, StoreStatus, StoreWord};
use rollout_core::{Plan, Rollout};
use rollout_engine::{EngineError, EngineStatus, check_free};

use super::deployments::{fail, ok, warn};

/// The findings about a running daemon.
pub(crate) fn section(store: &StoreStatus, engine: &EngineStatus) -> DoctorSection {
    let mut findings = vec![ok("version", env!("CARGO_PKG_VERSION"))];
    findings.push(match (store.state, store.notice()) {
        (StoreWord::Ok, _) => ok("store", "everything is recorded"),
        (StoreWord::Reserve, notice) => fail(
            "store",
            notice.unwrap_or_default(),
            "make room on the disk; it is noticed within a minute",
        ),
        (StoreWord::Failing, notice) => fail(
            "store",
            notice.unwrap_or_default(),
            "look at the disk and at the daemon's journal: docs/errors/RO0210.md",
        ),
    });
    if !store.quarantined.is_empty() {
        let all = store.quarantined_in_words();
        let advice = "see docs/errors/RO0208.md for the flags that they may have left on";
        findings.push(warn(
            "quarantine",
            format!("set aside as damaged, watched by nobody: {all}"),
            advice,
        ));
    }
    let EngineStatus { live, held, ended, stuck, .. } = engine;
    findings.push(match stuck.as_slice() {
        [] => ok("rollouts", format!("{live} live, {held} of them held, {ended} ended; each live one waits for something that will come")),
        stuck => {
            let ids: Vec<_> = stuck.iter().map(ToString::to_string).collect();
            let advice = "put its flags back with `rolloutctl rollback --all`, restart rolloutd, and report this defect";
            fail("rollouts", format!("nothing will wake {}", ids.join(", ")), advice)
        }
    });
    DoctorSection { title: "rolloutd".to_owned(), findings }
}

/// What keeps a plan from being started beside the rollouts that there are: what the engine would refuse.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine refuses for nothing else here")]
pub(crate) fn in_the_way(rollouts: &[Arc<Rollout>], plan: &Plan, url: &str) -> Option<FindingView> {
    const CHECK: &str = "start";
    let refusal = check_free(rollouts, plan, url).err()?;
    if let EngineError::DeploymentBusy { by, .. } = &refusal {
        let advice = format!("wait until {by} has ended, or abort it");
        return Some(warn(CHECK, refusal.to_string(), &advice));
    }
    let advice = match &refusal {
        EngineError::FlagLocked { by, incident, .. } => {
            format!("`rolloutctl incident resolve {by} {incident} --reason …` unlocks it")
        }
        _ => "look at it with `rolloutctl list`".to_owned(),
    };
    Some(fail(CHECK, refusal.to_string(), &advice))
}
