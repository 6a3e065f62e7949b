//! The adapter over the emulator without sockets, as the simulator uses both; and deployments that are stopped.

use std::collections::BTreeMap;
use std::sync::Mutex;

use convex_emulator::delivery::{self, Delivery};
use convex_emulator::{Deployment, DeploymentSettings, EmulatorClock, RunState, Scenario};
use jiff::Timestamp;
use rollout_convex::wire::{Method, Request, Response};
use rollout_convex::{Convex, Transport, TransportError};
use rollout_core::{
    Effect, FaultClass, Measured, MetricQuery, Observation, Outcome, SourceQuery, Span, Unit,
};

use crate::support::{call, fault, flag, flags_set, key, set};

const KEY: &str = "otter|010123456789abcdef";

struct Simulated {
    deployment: Mutex<Deployment>,
    clock: EmulatorClock,
}

impl Transport for Simulated {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let headers = request.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut headers: BTreeMap<_, _> = headers.collect();
        headers.insert("authorization".into(), format!("Convex {KEY}"));
        let request = convex_emulator::wire::Request {
            method: method.into(),
            path: request.path.into(),
            headers,
            body: request.body.into_bytes(),
            ..Default::default()
        };
        match delivery::deliver(&mut self.deployment.lock().unwrap(), self.clock.now(), &request) {
            Delivery::Respond { response, .. } => {
                Ok(Response { status: response.status, body: response.body, date: None })
            }
            Delivery::FinishAfter { .. } | Delivery::Cut { .. } => {
                Err(TransportError::Lost { cause: "cut".into() })
            }
        }
    }
}

fn stopped(state: RunState) -> Convex<Simulated> {
    let settings = DeploymentSettings {
        name: "otter".into(),
        admin_key: KEY.into(),
        read_only_key: "otter|020123456789abcdef".into(),
        env: BTreeMap::new(),
        scenario: Scenario::default(),
    };
    let clock = EmulatorClock::real();
    let mut deployment = Deployment::new(settings, clock.now()).unwrap();
    deployment.set_run_state(state);
    Convex::over("prod".into(), KEY.into(), Simulated { deployment: Mutex::new(deployment), clock })
}

fn health(paths: &[&str]) -> Effect {
    let metric = || MetricQuery::of("status", "/status", Unit::Text);
    let source = |path: &&str| {
        SourceQuery::once("s", call(path, "{}"), Span::at(Timestamp::UNIX_EPOCH), vec![metric()])
    };
    Effect::Observe(Observation {
        flags: vec![flag("A")],
        sources: paths.iter().map(source).collect(),
        probes: vec![],
        ..Observation::default()
    })
}

#[tokio::test]
async fn the_adapter_needs_no_sockets() {
    let convex = stopped(RunState::Running);
    assert_eq!(convex.perform(key(1), &set(&[("A", "true")])).await, flags_set(&["A"], &[]));
    let Outcome::Observed(reading) =
        convex.perform(key(2), &health(&["monitoring/dashboard:getSystemHealth"])).await
    else {
        panic!("no reading")
    };
    assert_eq!(reading.flags.unwrap().get(&flag("A")), Some(&Some("true".into())));
    assert_eq!(reading.measurements[0].measured, Measured::Text("healthy".into()));
}

#[tokio::test]
async fn a_stopped_deployment_is_named_and_its_flags_still_work() {
    for (state, words) in [
        (RunState::Paused, "paused and runs no functions until a person resumes it"),
        (RunState::Disabled, "disabled and runs no functions until a person raises or removes"),
        (RunState::Suspended, "suspended and runs no functions until Convex lifts that"),
    ] {
        let convex = stopped(state);
        assert_eq!(convex.perform(key(1), &set(&[("A", "false")])).await, flags_set(&["A"], &[]));
        let paths = ["monitoring/dashboard:getSystemHealth", "monitoring/dashboard:checkAlerts"];
        let Outcome::Observed(reading) = convex.perform(key(2), &health(&paths)).await else {
            panic!("no reading")
        };
        assert!(reading.flags.is_ok());
        let expected = format!("deployment prod is {words}");
        for one in reading.measurements {
            assert!(
                matches!(&one.measured, Measured::Failed(reason) if reason.starts_with(&expected)),
                "{one:?}"
            );
        }
        let invoke = Effect::Invoke {
            call: call("tasks:create", r#"{"name":"x"}"#),
            pointer: String::new(),
            bindings: BTreeMap::new(),
        };
        let refused = fault(convex.perform(key(3), &invoke).await);
        assert_eq!(refused.class, FaultClass::Permanent);
        assert!(refused.reason.starts_with(&expected), "{}", refused.reason);
    }
}
