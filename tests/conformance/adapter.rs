//! Two readers and two writers, one truth: the same flags are set by Convex's command line on one deployment and by our
//! adapter on another; what the two saw is compared, and each reads what the other wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollout_convex::{Convex, Target};
use rollout_core::{
    Effect, EffectKey, FlagName, Known, Observation, Outcome, RolloutId, Seq, WritePurpose,
};
use rollout_e2e::EmulatorProcess;
use serde_json::Value;

use crate::EMULATOR;
use crate::stage::Stage;
use crate::transcript::{Act, Key};
use crate::workshop;

type Variables = BTreeMap<String, String>;

/// One step: what is wanted, and how people say so.
struct Step {
    wanted: &'static [(&'static str, &'static str)],
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// `env set NAME VALUE`.
    One,
    /// `env set --force --from-file`.
    File,
}

const STEPS: [Step; 6] = [
    Step { wanted: &[("ENABLE_A", "true")], how: How::One },
    Step {
        wanted: &[("ENABLE_A", "true"), ("ENABLE_B", "false"), ("NOTE", "hello world")],
        how: How::File,
    },
    Step {
        wanted: &[("ENABLE_A", "true"), ("ENABLE_B", "false"), ("NOTE", "hello world")],
        how: How::File,
    },
    Step {
        wanted: &[("ENABLE_A", "false"), ("ENABLE_B", "false"), ("ENABLE_C", "true")],
        how: How::File,
    },
    Step { wanted: &[("ENABLE_B", "TRUE")], how: How::One },
    Step { wanted: &[("ENABLE_C", "")], how: How::One },
];

#[tokio::test]
async fn the_deployment_sees_the_same_from_both() {
    let Some(workshop) = workshop("the_deployment_sees_the_same_from_both") else { return };
    let mut by_hand = Stage::set(workshop).await;
    let by_us = EmulatorProcess::start(EMULATOR, &[]).await;
    let (reader, writer) = (adapter(&by_hand.emulator), adapter(&by_us));
    let mut seen = 0;
    let mut names = BTreeSet::new();
    for (number, step) in (1..).zip(&STEPS) {
        run_command(&mut by_hand, step).await;
        let theirs = batches(&by_hand.new_writes().await);
        assert!(matches!(set(&writer, number, step.wanted).await, Outcome::FlagsSet { .. }));
        let all = by_us.get("writes").await;
        let ours = batches(&all.as_array().unwrap()[seen..]);
        seen = all.as_array().unwrap().len();
        assert_eq!(ours, theirs, "step {number}");

        names.extend(step.wanted.iter().map(|(name, _)| *name));
        let variables = by_hand.emulator.variables().await;
        assert_eq!(by_us.variables().await, variables, "step {number}");
        // What they wrote, we read; a value that was set a moment ago is never an old one.
        assert_eq!(read(&reader, number, &names).await, variables, "step {number}");
    }

    // The one difference: an equal value is written again by the command line, and by us it is not.
    let equal = &STEPS[4];
    run_command(&mut by_hand, equal).await;
    assert_eq!(batches(&by_hand.new_writes().await), [changes(equal.wanted)]);
    let outcome = set(&writer, 99, equal.wanted).await;
    assert!(matches!(outcome, Outcome::FlagsSet { wrote, .. } if wrote.is_empty()));
    assert_eq!(by_us.get("writes").await.as_array().unwrap().len(), seen);
}

#[tokio::test]
async fn the_command_line_reads_what_the_adapter_wrote() {
    let Some(workshop) = workshop("the_command_line_reads_what_the_adapter_wrote") else { return };
    let mut stage = Stage::set(workshop).await;
    let adapter = adapter(&stage.emulator);
    let wanted = [("ENABLE_A", "true"), ("ENABLE_B", "a value with blanks"), ("ENABLE_C", "")];
    assert!(matches!(set(&adapter, 1, &wanted).await, Outcome::FlagsSet { .. }));
    let said = command(&mut stage, &["env", "list"]).await;
    let expected = [
        "1> ENABLE_A=true",
        "1> ENABLE_B=a value with blanks",
        "1> ENABLE_C=",
        "exit 0",
        "saw GET /api/v1/list_environment_variables 200",
        "saw POST /api/v1/update_environment_variables 200",
        "saw GET /api/v1/list_environment_variables 200",
        "saw GET /api/1.48.0/sync 101",
        "wrote ENABLE_A=\"true\" ENABLE_B=\"a value with blanks\" ENABLE_C=\"\"",
    ];
    let said: Vec<_> = said.iter().map(|line| line.split(" by ").next().unwrap()).collect();
    assert_eq!(said, expected);
}

/// Does a step with the command line; its own part of the outcome is looked at elsewhere.
async fn run_command(stage: &mut Stage, step: &Step) {
    let said = match (step.how, step.wanted) {
        (How::One, [(name, value)]) => {
            let assignment = format!("{name}={value}");
            stage.command(Key::Admin, &["env", "set", &assignment].map(str::to_owned)).await
        }
        _ => {
            let lines = step.wanted.iter().map(|(name, value)| format!("{name}=\"{value}\""));
            let lines = lines.collect();
            stage.act(&Act::File { name: "wanted.env".to_owned(), lines }).await;
            let args = ["env", "set", "--force", "--from-file", "wanted.env"].map(str::to_owned);
            stage.command(Key::Admin, &args).await
        }
    };
    assert_eq!(said.last().map(String::as_str), Some("exit 0"), "{said:#?}");
}

async fn command(stage: &mut Stage, args: &[&str]) -> Vec<String> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    stage.act(&Act::Command { key: Key::Admin, args }).await
}

pub(crate) fn adapter(emulator: &EmulatorProcess) -> Convex {
    let target = Target {
        name: "prod".into(),
        url: emulator.url.clone(),
        key: emulator.admin_key.clone().into(),
        timeout: Duration::from_secs(20),
    };
    Convex::connect(target).unwrap()
}

pub(crate) async fn set(convex: &Convex, seq: u64, wanted: &[(&str, &str)]) -> Outcome {
    let changes = wanted.iter().map(|(name, value)| (flag(name), (*value).to_owned())).collect();
    let effect = Effect::SetFlags { changes, purpose: WritePurpose::Enable };
    convex.perform(effect_key(seq), &effect).await
}

async fn read(convex: &Convex, seq: u64, names: &BTreeSet<&str>) -> Variables {
    let flags = names.iter().map(|name| flag(name)).collect();
    let observation = Observation {
        flags,
        sources: Vec::new(),
        probes: Vec::new(),
        bindings: BTreeMap::new(),
        known: Known::default(),
    };
    let outcome = convex.perform(effect_key(seq), &Effect::Observe(observation)).await;
    let Outcome::Observed(reading) = outcome else { panic!("no reading: {outcome:?}") };
    let flags = reading.flags.unwrap().into_iter();
    flags.filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
}

pub(crate) fn effect_key(seq: u64) -> EffectKey {
    EffectKey { rollout: RolloutId::new(42).unwrap(), seq: Seq::new(seq).unwrap() }
}

pub(crate) fn flag(name: &str) -> FlagName {
    FlagName::new(name).unwrap()
}

/// What each write changed. The deployment orders a batch itself, so the order within one says nothing.
fn batches(writes: &[Value]) -> Vec<BTreeMap<String, Value>> {
    let batch = |write: &Value| {
        assert_eq!(write["applied"], true, "{write}");
        let changes = write["changes"].as_array().unwrap().iter();
        changes
            .map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].clone()))
            .collect()
    };
    writes.iter().map(batch).collect()
}

fn changes(wanted: &[(&str, &str)]) -> BTreeMap<String, Value> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}
