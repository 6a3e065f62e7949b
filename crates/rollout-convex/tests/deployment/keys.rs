//! Keys: what they may do, and that they are never shown.

use std::collections::BTreeMap;

use convex_emulator::{Fault, FaultKind};
use jiff::Timestamp;
use rollout_convex::Operations;
use rollout_core::{
    Effect, Expectation, FaultClass, MetricQuery, Observation, Probe, ProbeKind, SourceQuery, Span,
    Unit,
};
use serde_json::json;

use crate::raw::{RawServer, http, variables};
use crate::support::{adapter, call, deployment, fault, flag, key, set};

#[tokio::test]
async fn a_full_key_a_watcher_and_a_revoked_one() {
    let (emulator, convex) = deployment("", &[]).await;
    let full = convex.check_key().await.unwrap();
    assert_eq!((full.operations.clone(), full.complaint()), (Operations::All, None));

    let watcher = adapter(&emulator.url(), &emulator.read_only_key());
    let report = watcher.check_key().await.unwrap();
    assert!(report.is_read_only);
    assert_eq!(
        report.complaint().unwrap(),
        "the key lacks WriteEnvironmentVariables; use a key that permits it"
    );
    let refused = fault(watcher.perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(
        (refused.class, refused.code.as_deref()),
        (FaultClass::Permanent, Some("OperationNotPermitted"))
    );
    assert!(refused.reason.contains("deployment:env:write"), "{}", refused.reason);
    assert_eq!(emulator.env().len(), 0);

    emulator.inject(Fault::once("check_admin_key", FaultKind::RevokeKey));
    let revoked = convex.check_key().await.unwrap_err();
    assert_eq!(
        (revoked.class, revoked.code.as_deref()),
        (FaultClass::Permanent, Some("BadAdminKey"))
    );
    assert_eq!(emulator.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

const SECRET: &str = "c0ffee00c0ffee00c0ffee";

/// A deployment that says the key in everything it says.
async fn echoing(key: String) -> RawServer {
    let error = move |code: &str, key: &str| {
        json!({"code": code, "message": format!("bad key {key} / {SECRET}")}).to_string()
    };
    let answer = move |_, request: &str| {
        let is = |part: &str| request.contains(part);
        let message = format!("[Request ID: x] Server Error\nUncaught Error: {key}\n");
        let thrown = json!({"status": "error", "errorMessage": message});
        let data = json!({"status": "error", "errorMessage": "Server Error", "errorData": {"k": key, SECRET: SECRET}});
        match () {
            () if is("list_environment") => variables(&[]),
            () if is("update_environment") => http(401, &error(SECRET, &key)),
            () if is("check_admin_key") => http(403, &error("OperationNotPermitted", &key)),
            () if is("m:throws") => http(200, &thrown.to_string()),
            () if is("m:data") => http(560, &data.to_string()),
            () => http(
                200,
                &json!({"status": "success", "value": {"status": key, SECRET: key}}).to_string(),
            ),
        }
    };
    RawServer::start(answer).await
}

/// A reading of functions that throw, throw data, and answer.
fn observe() -> Effect {
    let metric = |pointer: &str| MetricQuery::of("c", pointer, Unit::Text);
    let source = |path: &str| {
        SourceQuery::once(
            path,
            call(path, "{}"),
            Span::at(Timestamp::UNIX_EPOCH),
            ["", "/status", "/nope"].map(metric).into(),
        )
    };
    let probe = ProbeKind::Function {
        call: call("m:ok", "{}"),
        pointer: String::new(),
        expect: Expectation::Answers,
    };
    Effect::Observe(Observation {
        flags: vec![flag("A")],
        sources: ["m:throws", "m:data", "m:ok"].map(source).into(),
        probes: vec![Probe { name: "p".into(), kind: probe }],
        ..Observation::default()
    })
}

fn invoke(path: &str) -> Effect {
    Effect::Invoke { call: call(path, "{}"), pointer: "/status".into(), bindings: BTreeMap::new() }
}

#[tokio::test]
async fn an_echoed_key_is_never_passed_on() {
    let whole = format!("prod:otter|{SECRET}");
    let server = echoing(whole.clone()).await;
    let convex = adapter(&server.url, &whole);
    let mut shown = vec![format!("{convex:?} {:?} {}", convex.warnings(), convex.url())];
    for effect in
        [set(&[("A", "true")]), observe(), invoke("m:throws"), invoke("m:data"), invoke("m:ok")]
    {
        shown.push(format!("{:?}", convex.perform(key(1), &effect).await));
    }
    shown.push(format!("{:?}", convex.check_key().await));
    let shown = shown.join("\n");
    assert!(!shown.contains(SECRET), "the key was shown:\n{shown}");
    assert!(
        shown.matches("[key]").count() >= 8,
        "nothing was echoed, so nothing was tested:\n{shown}"
    );
    let authorized = format!("authorization: Convex {whole}");
    assert!(server.requests().iter().all(|request| request.contains(&authorized)));
}
