//! The source `function` against the emulator.

use std::collections::BTreeMap;

use convex_emulator::{Config, Emulator, Fault, FaultKind, Scenario};
use jiff::SignedDuration;
use rollout_convex::{Convex, Target};
use rollout_core::{
    Effect, EffectKey, FunctionCall, Known, MetricQuery, Observation, Outcome, RolloutId, Seq,
    SourceQuery, Unit,
};

use crate::server::nowhere;
use crate::suite::{self, BREACH, Case, PASS, Provider, TIMEOUT, Taken, WARN};

/// The guide's health function on an emulator; each case has its own.
struct Function;

const HEALTH: &str = "monitoring/dashboard:getSystemHealth";

impl Provider for Function {
    const NAME: &'static str = "function";
    const IMPOSSIBLE: &'static [(Case, &'static str)] = &[
        (Case::Past, "the emulator's app answers about the present"),
        (Case::PastUnknown, "the core asks only functions that have $from and $to"),
        (
            Case::Huge,
            "no function of the emulator's app says that much; `deployment/bytes.rs` does",
        ),
    ];

    async fn take(&mut self, case: Case) -> Taken {
        let base = |value: f64| format!("[base]\nerrorRate = {value:?}\n");
        let change = |set: &str| format!("[[change]]\nset = {{ errorRate = {set} }}\n");
        let scenario = match case {
            Case::Warn => base(WARN),
            Case::Breach => base(BREACH),
            Case::Empty => "[[change]]\nnull = [\"errorRate\"]\n".into(),
            Case::NotANumber => change("nan"),
            Case::Infinite => change("inf"),
            Case::Error => {
                format!("[[change]]\nthrow = {{ function = \"{HEALTH}\", message = \"boom\" }}\n")
            }
            _ => base(PASS),
        };
        let scenario = Scenario::parse(&scenario).unwrap();
        let emulator = Emulator::start(Config { scenario, ..Config::default() }).await.unwrap();
        match case {
            Case::Slow => {
                emulator.inject(Fault::once("/api/function", FaultKind::SlowDrop { ms: 60_000 }));
            }
            Case::Garbage => {
                emulator.inject(Fault::once("/api/function", FaultKind::Html { status: 200 }));
            }
            _ => {}
        }
        let key = match case {
            Case::WrongCredential => "happy-otter-123|0123456789abcdef".to_owned(),
            _ => emulator.admin_key(),
        };
        let url = if case == Case::NoConnection { nowhere().await } else { emulator.url() };
        let measured = ask(&url, &key).await;
        let asked = emulator
            .requests()
            .iter()
            .filter(|one| format!("{one:?}").contains("/api/function"))
            .count();
        Taken { measured, requests: Some(asked) }
    }
}

/// Takes one reading of one metric.
async fn ask(url: &str, key: &str) -> rollout_core::Measured {
    let target = Target { name: "prod".into(), url: url.into(), key: key.into(), timeout: TIMEOUT };
    let metric = MetricQuery {
        criterion: "error_rate".into(),
        pointer: "/errorRate".into(),
        unit: Unit::Percent,
        alert: None,
    };
    let call = FunctionCall { path: HEALTH.into(), args: "{}".into() };
    let query = SourceQuery {
        source: "health".into(),
        ask: call.into(),
        span: suite::present(),
        stay: SignedDuration::ZERO,
        cursor: None,
        metrics: vec![metric],
    };
    let observation = Observation {
        flags: vec![],
        known: Known::default(),
        sources: vec![query],
        probes: vec![],
        bindings: BTreeMap::new(),
    };
    let key = EffectKey { rollout: RolloutId::FIRST, seq: Seq::FIRST };
    let convex = Convex::connect(target).unwrap();
    match convex.perform(key, &Effect::Observe(observation)).await {
        Outcome::Observed(mut reading) => reading.measurements.remove(0).measured,
        other => panic!("no reading: {other:?}"),
    }
}

#[tokio::test]
async fn function_passes_the_suite() {
    suite::run(&mut Function).await;
}
