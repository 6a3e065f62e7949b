//! Deployments that run no functions: nothing is turned on there, a window is not passed, and a rollback works.

use convex_emulator::RunState;
use rollout_e2e::{PhaseSpec, Run, Setting, World, plan, verdict_of};

use crate::PROGRAMS;

const PHASE: PhaseSpec =
    PhaseSpec { flag: "ENABLE_ONE", bake: "700h", checkpoints: &["1h", "700h"] };

fn fast() -> Setting {
    Setting { scale: 600, ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_turned_on_while_functions_do_not_run() {
    for (state, words) in [
        (RunState::Paused, "is paused and runs no functions until a person resumes it"),
        (RunState::Suspended, "is suspended and runs no functions until Convex lifts that"),
    ] {
        let world = World::start(PROGRAMS, fast()).await;
        world.emulator.set_run_state(state);
        let mut run = world.begin(&plan("stopped", &[PHASE])).await;
        for _ in 0..3 {
            let reading = run.until("reading_taken").await;
            assert_eq!(verdict_of(&reading), "error", "{}", reading.text);
            assert!(reading.text.contains(words), "{}", reading.text);
        }
        assert_eq!(run.count("baseline_passed"), 0);
        assert!(world.emulator.writes().is_empty(), "{state:?}");
        // Once it runs again, the rollout goes on by itself.
        world.emulator.set_run_state(RunState::Running);
        run.until("bake_started").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_window_is_no_breach_and_a_rollback_goes_through_it() {
    for state in [RunState::Paused, RunState::Disabled, RunState::Suspended] {
        let world = World::start(PROGRAMS, fast()).await;
        let mut run = world.begin(&plan("stopped", &[PHASE])).await;
        run.until("bake_started").await;
        world.emulator.set_run_state(state);
        let held = run.until("held").await;
        assert!(held.text.contains("and runs no functions until"), "{}", held.text);
        assert_eq!(run.count("rollback_started"), 0, "{state:?}; {}", run.last_entries());
        assert_errors(&run);
        assert_eq!(run.phase(1).await.stage, "baking");

        let order = ["rollback", "r1", "--reason", "it is paused, so it is safer off"];
        world.ctl(&order).await;
        run.until("rollback_finished").await;
        assert_eq!(world.emulator.env()["ENABLE_ONE"], "false");
        assert_eq!(run.count("effect_failed"), 0, "{state:?}; {}", run.last_entries());
    }
}

/// The last reading failed and was no breach.
fn assert_errors(run: &Run) {
    let verdicts: Vec<_> = run.of_kind("reading_taken").map(verdict_of).collect();
    assert_eq!(verdicts.last(), Some(&"error"), "{verdicts:?}");
    assert!(!verdicts.contains(&"breach"), "{verdicts:?}");
}
