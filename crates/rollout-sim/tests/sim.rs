//! The simulator as part of the usual tests: a small number of fixed seeds, the seeds that failed in the past, and that runs
//! repeat themselves to the byte.

use std::path::Path;

use rollout_sim::{Args, Detail, command, mutants, past_failures, run};

/// Seeds of every run of the tests; `.ci/run` runs fresh ones.
const SEEDS: u64 = 100;

fn args(from: u64, seeds: u64, regressions: bool) -> Args {
    Args {
        seeds,
        from: Some(from),
        jobs: 2,
        seed: None,
        regressions,
        keep_going: false,
        seconds: None,
    }
}

#[test]
fn a_hundred_seeds_and_all_that_ever_failed_are_clean() {
    let mut said = Vec::new();
    let code = command(&args(1, SEEDS, true), &mut said);
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("SEED=1\n"), "the seed comes first: {said}");
    assert_eq!(code, 0, "{said}");
    let expected = format!("{} seeds", SEEDS + past_failures().len() as u64);
    assert!(said.contains(&expected), "all of them ran: {said}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (mut events, mut calls) = (0, 0);
    for seed in 0..25 {
        let (first, second) = (run(seed, Detail::Nothing), run(seed, Detail::Last));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!((first.events, first.steps), (second.events, second.steps), "seed {seed}");
        assert_eq!(first.calls, second.calls, "seed {seed}");
        events += first.events;
        calls += first.calls;
    }
    assert!(events > 1_000, "these runs do something: {events} events");
    assert!(calls > 1_000, "some of them are about calls: {calls} calls");
    assert_ne!(run(1, Detail::Nothing).digest, run(2, Detail::Nothing).digest);
}

#[test]
fn every_mutant_still_fits_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let all = mutants().unwrap();
    assert!(all.len() >= 14, "only {} mutants", all.len());
    for mutant in &all {
        let changed = mutant.apply(&root).unwrap_or_else(|error| panic!("{error}"));
        let as_is = std::fs::read_to_string(root.join(&mutant.file)).unwrap();
        assert_ne!(changed, as_is, "{} changes nothing", mutant.name);
        assert!(mutant.what.ends_with('.'), "{} says its harm in a sentence", mutant.name);
    }
    let names: std::collections::BTreeSet<_> = all.iter().map(|mutant| &mutant.name).collect();
    assert_eq!(names.len(), all.len(), "every mutant has a name of its own");
}
