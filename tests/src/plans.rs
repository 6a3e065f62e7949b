//! Owns the plans of the tests: small windows, the guide's own criteria, no people unless a test asks for them.

use std::fmt::Write;

/// One phase of a test's plan.
#[derive(Clone, Copy, Debug)]
pub struct PhaseSpec {
    /// Its flag.
    pub flag: &'static str,
    /// Its window: `3h`.
    pub bake: &'static str,
    /// Its checkpoints.
    pub checkpoints: &'static [&'static str],
}

/// One flag without a window: completes by itself at once.
pub const SMALLEST: &str = "name = \"smallest\"\ndeployment = \"production\"\n\n\
    [[phases]]\nname = \"one\"\nflags = [\"ENABLE_ONE\"]\n";

/// One flag that waits for a person before and for a day afterwards.
pub const GATED: &str = "name = \"gated\"\ndeployment = \"production\"\n\n\
    [[checklist]]\nname = \"runbook\"\ntext = \"Runbook reviewed\"\n\n\
    [[phases]]\nname = \"one\"\nflags = [\"ENABLE_ONE\"]\nbake = \"24h\"\ncheckpoints = [\"24h\"]\n";

/// A plan that checks every ten minutes and asks nobody.
pub fn plan(name: &str, phases: &[PhaseSpec]) -> String {
    let mut text = format!(
        "name = \"{name}\"\ntitle = \"End to end: {name}\"\ndeployment = \"production\"\n\n\
         [watch]\nchecks = [{{ every = \"10m\" }}]\n"
    );
    for (index, phase) in phases.iter().enumerate() {
        let written = write!(
            text,
            "\n[[phases]]\nname = \"phase-{}\"\nflags = [\"{}\"]\nbake = \"{}\"\ncheckpoints = {:?}\n",
            index + 1,
            phase.flag,
            phase.bake,
            phase.checkpoints
        );
        written.expect("a text takes everything");
    }
    text
}
