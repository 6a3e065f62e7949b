//! Text of a plan file: a plan that keeps its promises, or errors that all point into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_api::plan;
use rollout_core::Plan;

fuzz_target!(|text: &str| {
    match plan::parse(text) {
        Ok(good) => {
            let phases = good.phases.len();
            assert!((1..=Plan::PHASES_MAX).contains(&phases), "{phases} phases");
            assert!(good.thresholds_are_set() || good.criteria.iter().any(|one| one.is_judged()));
            for phase in &good.phases {
                assert!(!phase.flags.is_empty() && phase.bake <= Plan::BAKE_MAX);
                assert!(
                    phase.checkpoints.is_sorted()
                        && phase.checkpoints.iter().all(|at| *at <= phase.bake)
                );
            }
            let again = plan::parse(text).expect("a plan is good or not");
            assert_eq!(again, good);
        }
        Err(errors) => {
            assert!(errors.count() > 0, "refused without a reason");
            let lines = text.lines().count().max(1) + 1;
            for error in errors.iter() {
                assert!(!error.to_string().is_empty());
                assert!(error.line(text).is_none_or(|line| (1..=lines).contains(&line)), "{error}");
            }
            let problem = errors.to_problem();
            assert!(serde_json::to_string(&problem).is_ok());
        }
    }
});
