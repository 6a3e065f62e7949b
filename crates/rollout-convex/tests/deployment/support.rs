//! Owns what all tests here share: keys of effects, names of flags, an adapter for an emulator.

use std::collections::BTreeMap;
use std::time::Duration;

use convex_emulator::{Config, Emulator, Scenario};
use rollout_convex::{Convex, Target};
use rollout_core::{
    Effect, EffectKey, Fault, FlagName, FunctionCall, Outcome, RolloutId, Seq, WritePurpose,
};

/// Long enough for a slow machine, short enough for a test that waits for it.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(1_500);

/// An adapter for any URL.
pub(crate) fn adapter(url: &str, key: &str) -> Convex {
    let target = Target { name: "prod".into(), url: url.into(), key: key.into(), timeout: TIMEOUT };
    Convex::connect(target).unwrap()
}

/// An emulator with a scenario and variables, and an adapter with its admin key.
pub(crate) async fn deployment(scenario: &str, env: &[(&str, &str)]) -> (Emulator, Convex) {
    let scenario = Scenario::parse(scenario).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let emulator = Emulator::start(Config { scenario, env, ..Config::default() }).await.unwrap();
    let convex = adapter(&emulator.url(), &emulator.admin_key());
    (emulator, convex)
}

pub(crate) fn key(seq: u64) -> EffectKey {
    EffectKey { rollout: RolloutId::new(42).unwrap(), seq: Seq::new(seq).unwrap() }
}

pub(crate) fn flag(name: &str) -> FlagName {
    FlagName::new(name).unwrap()
}

pub(crate) fn call(path: &str, args: &str) -> FunctionCall {
    FunctionCall { path: path.into(), args: args.into() }
}

pub(crate) fn set(changes: &[(&str, &str)]) -> Effect {
    let changes: BTreeMap<_, _> =
        changes.iter().map(|(name, value)| (flag(name), (*value).to_owned())).collect();
    Effect::SetFlags { changes, purpose: WritePurpose::Enable }
}

pub(crate) fn fault(outcome: Outcome) -> Fault {
    match outcome {
        Outcome::Failed { fault, .. } => fault,
        other => panic!("it ended well: {other:?}"),
    }
}

pub(crate) fn flags_set(wrote: &[&str], already: &[&str]) -> Outcome {
    let names = |names: &[&str]| names.iter().map(|name| flag(name)).collect();
    Outcome::FlagsSet { wrote: names(wrote), already: names(already) }
}
