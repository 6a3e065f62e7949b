//! What a preflight finds: on an emulator, and on deployments that answer exactly what a test says.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use convex_emulator::{
    DeclaredPresence, DeclaredVariable, Fault, FaultKind, InjectedExecutions, RunState,
};
use jiff::{SignedDuration, Timestamp};
use rollout_convex::wire::{Request, Response};
use rollout_convex::{
    Answer, Bar, Convex, ConvexValue, Finding, Needs, Role, Standing, Transport, TransportError,
    Wanted, endpoint_finding,
};
use rollout_core::{Bound, Calls, Comparison, Criterion, FlagChange, HttpGet, Limit, Source, Unit};
use serde_json::json;

use crate::support::{call, deployment, flag};

const WITHIN: Duration = Duration::from_secs(5);
const HEALTH: &str = "monitoring/dashboard:getSystemHealth";

#[expect(clippy::disallowed_methods, reason = "the emulator's clock is the system's as well")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn needs(functions: &[(&str, Role)]) -> Needs {
    let wanted = |(path, role): &(&str, Role)| Wanted {
        path: (*path).into(),
        role: *role,
        pointer: "/sources/health".into(),
    };
    let change = FlagChange { on: "true".into(), safe: "false".into() };
    Needs {
        flags: BTreeMap::from([(flag("ENABLE_A"), change)]),
        functions: functions.iter().map(wanted).collect(),
        ..Needs::default()
    }
}

fn with_health(path: &str) -> Needs {
    let criterion = Criterion {
        name: "status".into(),
        label: "Health Status".into(),
        source: "health".into(),
        pointer: "/status".into(),
        unit: Unit::Text,
        target: None,
        alert: None,
    };
    let source = Source::Function(call(path, "{}"));
    Needs {
        sources: BTreeMap::from([("health".into(), source)]),
        criteria: vec![criterion],
        ..needs(&[(path, Role::Asked)])
    }
}

/// The findings that are not well, as `check standing found`.
fn troubles(findings: &[Finding]) -> Vec<String> {
    let trouble = |finding: &&Finding| finding.standing != Standing::Well;
    for finding in findings.iter().filter(trouble) {
        assert!(finding.advice.as_ref().is_some_and(|advice| !advice.is_empty()), "{finding:?}");
    }
    let shown =
        |finding: &Finding| format!("{} {:?}: {}", finding.check, finding.standing, finding.found);
    findings.iter().filter(trouble).map(shown).collect()
}

#[tokio::test]
async fn a_deployment_that_is_well_has_no_trouble_and_is_not_changed() {
    let (emulator, convex) = deployment("", &[("ENABLE_A", "false")]).await;
    let findings = convex.preflight(&with_health(HEALTH), WITHIN, &now).await;
    assert_eq!(troubles(&findings), Vec::<String>::new());
    let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(
        checks,
        ["reach", "url", "key", "permissions", "state", "clock", "function", "flag", "health"]
    );
    assert!(emulator.writes().is_empty());
    assert!(convex.admission(&with_health(HEALTH), WITHIN, &now).await.bars.is_empty());
}

#[tokio::test]
async fn functions_that_are_missing_or_do_not_fit_bar_a_start_at_their_place() {
    let (_emulator, convex) = deployment("", &[]).await;
    let needs = needs(&[
        ("monitoring/dashboard:getHealth", Role::Asked),
        ("tasks:create", Role::Asked),
        (HEALTH, Role::Creates),
        ("gone:away", Role::Mentioned),
        ("gone:too", Role::Counted),
    ]);
    let bars = convex.admission(&needs, WITHIN, &now).await.bars;
    assert_eq!(
        troubles(&bars),
        [
            "function Fail: there is no function monitoring/dashboard:getHealth on the deployment",
            "function Fail: tasks:create is a public mutation: each time it is asked it may change the app's data",
            "function Fail: monitoring/dashboard:getSystemHealth is an internal query, which cannot create anything",
            "function Fail: there is no function gone:too on the deployment",
        ]
    );
    assert!(bars.iter().all(|finding| finding.pointer.as_deref() == Some("/sources/health")));
    let advice = bars[0].advice.as_deref().unwrap();
    assert!(advice.contains("monitoring/dashboard:getSystemHealth"), "{advice}");
}

/// A look changes nothing, so what is no query is not called: by its type where the deployment tells it, by the way it is asked
/// where it does not.
#[tokio::test]
async fn a_source_that_is_no_query_is_not_called() {
    let (emulator, convex) = deployment("", &[]).await;
    let create = call("tasks:create", r#"{"name":"hello"}"#);
    let needs =
        Needs { sources: BTreeMap::from([("task".to_owned(), create.into())]), ..Needs::default() };
    let findings = convex.preflight(&needs, WITHIN, &now).await;
    let said = troubles(&findings);
    let expected = "health Unknown: task was not asked: tasks:create is a public mutation, which may change something, and this look may not";
    assert_eq!(said, [expected]);

    let spec = Fault {
        path_part: "/api/query".into(),
        times: NonZeroU32::new(2),
        kind: FaultKind::Status { status: 400, code: None, message: None },
    };
    emulator.inject(spec);
    let findings = convex.preflight(&needs, WITHIN, &now).await;
    let health = findings.iter().find(|finding| finding.check == "health").unwrap();
    assert_eq!(health.standing, Standing::Fail, "{health:?}");
    assert!(emulator.tasks().is_empty(), "{:?}", emulator.tasks());
}

#[tokio::test]
async fn a_stopped_deployment_is_named_and_bars_nothing() {
    for (state, word) in [
        (RunState::Paused, "paused"),
        (RunState::Disabled, "disabled"),
        (RunState::Suspended, "suspended"),
    ] {
        let (emulator, convex) = deployment("", &[]).await;
        emulator.set_run_state(state);
        let findings = convex.preflight(&with_health(HEALTH), WITHIN, &now).await;
        let troubles = troubles(&findings);
        assert_eq!(troubles.len(), 2, "{troubles:?}");
        assert!(troubles[0].starts_with(&format!("state Fail: {word}")), "{troubles:?}");
        assert!(troubles[1].contains(word), "{troubles:?}");
        assert!(convex.admission(&with_health(HEALTH), WITHIN, &now).await.bars.is_empty());
    }
}

#[tokio::test]
async fn a_deployment_that_hangs_is_given_up_in_time() {
    let (emulator, convex) = deployment("", &[]).await;
    emulator.inject(Fault::always("", FaultKind::Slow { ms: 60_000 }));
    let started = std::time::Instant::now();
    let within = Duration::from_millis(300);
    let findings = convex.preflight(&with_health(HEALTH), within, &now).await;
    assert!(started.elapsed() < WITHIN, "it took {:?}", started.elapsed());
    assert_eq!(findings[0].standing, Standing::Fail, "{:?}", findings[0]);
    assert!(
        findings[1..].iter().all(|finding| finding.standing == Standing::Unknown),
        "{findings:?}"
    );
    assert!(findings.iter().all(|finding| finding.bar == Bar::Nothing));
    assert_eq!(troubles(&findings).len(), findings.len());
}

#[tokio::test]
async fn sources_that_count_executions_are_asked_once() {
    let (emulator, convex) = deployment("", &[]).await;
    let injected = |times, error: Option<&str>| InjectedExecutions {
        times,
        function: "messages:send".into(),
        took_ms: 20.0,
        error: error.map(str::to_owned),
        ..InjectedExecutions::default()
    };
    emulator.inject_executions(&[injected(30, None), injected(10, Some("boom"))]);
    let source = |functions: &[&str]| {
        Source::Executions(Calls {
            functions: functions.iter().map(|name| (*name).into()).collect(),
            callers: vec![],
            over: SignedDuration::from_mins(15),
            calls_min: 20,
        })
    };
    let bound = |comparison, limit| Bound { comparison, limit: Limit::Number(limit) };
    let criterion = |source: &str| Criterion {
        name: source.into(),
        label: "Error Rate".into(),
        source: source.into(),
        pointer: "/errorRate".into(),
        unit: Unit::Percent,
        target: Some(bound(Comparison::Less, 1.0)),
        alert: Some(bound(Comparison::Greater, 5.0)),
    };
    let needs = Needs {
        sources: BTreeMap::from([
            ("few".into(), source(&["messages:other"])),
            ("sends".into(), source(&["messages:send"])),
        ]),
        criteria: vec![criterion("few"), criterion("sends")],
        ..Needs::default()
    };
    let findings = convex.preflight(&needs, WITHIN, &now).await;
    let [few, sends] = troubles(&findings).try_into().unwrap();
    assert!(few.starts_with("health Warn: few") && few.contains("0 calls"), "{few}");
    assert_eq!(sends, "health Fail: sends: Error Rate 25 % (breach)");
}

#[test]
fn an_endpoint_is_judged_as_the_watch_would() {
    let get = HttpGet { endpoint: "status".into(), path: "/".into() };
    let (source, needs) = (Source::Http(get), Needs::default());
    let told = Answer::Told { document: ConvexValue::Number(1.0), basis: None };
    let (missing, failed) = (Answer::Missing("no series".into()), Answer::Failed("refused".into()));
    let standing = |answer| endpoint_finding("up", &source, &needs, answer).standing;
    assert_eq!(
        [&told, &missing, &failed].map(standing),
        [Standing::Well, Standing::Warn, Standing::Fail]
    );
}

/// Validators may have come after the value.
#[tokio::test]
async fn a_safe_value_that_the_app_would_not_take_again_is_found_by_the_dry_step() {
    let (emulator, convex) = deployment("", &[("ENABLE_A", "false")]).await;
    let values = vec!["on".to_owned(), "off".to_owned()];
    let presence = DeclaredPresence::Optional;
    let declared = vec![DeclaredVariable { name: "ENABLE_A".into(), values, presence }];
    emulator.with(|deployment, _| deployment.declare(declared));
    let finding = convex.dry_step(&needs(&[])).await;
    assert_eq!(finding.standing, Standing::Fail, "{finding:?}");
    assert!(finding.found.contains("ENABLE_A"), "{finding:?}");
}

#[tokio::test]
async fn the_dry_step_writes_only_what_is_there() {
    let (emulator, convex) = deployment("", &[("ENABLE_A", "false"), ("ENABLE_B", "true")]).await;
    let change = FlagChange { on: "true".into(), safe: "false".into() };
    let names = ["ENABLE_A", "ENABLE_B", "ENABLE_C"];
    let needs =
        Needs { flags: names.map(|name| (flag(name), change.clone())).into(), ..Needs::default() };
    let before = emulator.env();
    let finding = convex.dry_step(&needs).await;
    assert_eq!(finding.standing, Standing::Well, "{finding:?}");
    assert_eq!(emulator.env(), before);
    let writes = emulator.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].changes, [("ENABLE_A".to_string(), Some("false".to_string()))]);

    emulator.inject(Fault::once("update", FaultKind::status(400, "InvalidEnvironmentVariable")));
    let refused = convex.dry_step(&needs).await;
    assert_eq!(refused.standing, Standing::Fail);
    assert!(refused.found.contains("InvalidEnvironmentVariable"), "{refused:?}");
}

/// A deployment that answers what a test says, by path; system queries by the last part of their name.
#[derive(Clone)]
struct Canned {
    answers: BTreeMap<&'static str, (u16, String)>,
    date: Option<Timestamp>,
}

impl Canned {
    fn new(answers: &[(&'static str, u16, serde_json::Value)]) -> Self {
        let text = |body: &serde_json::Value| match body {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let answers = answers.iter().map(|(path, status, body)| (*path, (*status, text(body))));
        Self { answers: answers.collect(), date: Some(now()) }
    }

    fn convex(self, key: &str) -> Convex<Self> {
        Convex::over("prod".into(), key.into(), self)
    }
}

impl Transport for Canned {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let asked = match request.path {
            "/api/query" => &request.body,
            path => path,
        };
        let found = self.answers.iter().find(|(part, _)| asked.contains(*part));
        let (status, body) = found.map_or((404, String::new()), |(_, answer)| answer.clone());
        Ok(Response { status, body: body.into_bytes(), date: self.date })
    }
}

fn healthy(operations: &[&str]) -> Vec<(&'static str, u16, serde_json::Value)> {
    let key = json!({"success": true, "allowedOps": operations, "isReadOnly": false});
    let state = json!({"status": "success", "value": {"state": "running"}});
    let function = |path: &str, kind: &str| json!({"identifier": path, "functionType": kind, "visibility": {"kind": "internal"}});
    let spec = json!({"status": "success", "value": [function("m.js:ask", "Query"), function("m.js:act", "Action")]});
    vec![
        ("check_admin_key", 200, key),
        ("instance_name", 200, json!("otter")),
        ("deploymentState", 200, state),
        ("apiSpec", 200, spec),
        ("list_environment_variables", 200, json!({"environmentVariables": {}})),
    ]
}

#[tokio::test]
async fn every_permission_that_is_missing_is_named_with_its_purpose() {
    let calls = Calls {
        functions: vec![],
        callers: vec![],
        over: SignedDuration::from_mins(15),
        calls_min: 20,
    };
    let needs = Needs {
        sources: BTreeMap::from([
            ("app".into(), Source::AppMetrics(calls.clone())),
            ("calls".into(), Source::Executions(calls)),
        ]),
        ..needs(&[("m:ask", Role::Asked), ("m:act", Role::Creates)])
    };
    let convex = Canned::new(&healthy(&["ViewEnvironmentVariables"])).convex("otter|01");
    let bars = convex.admission(&needs, WITHIN, &now).await.bars;
    assert_eq!(
        troubles(&bars),
        [
            "permissions Fail: the key lacks WriteEnvironmentVariables, needed to set flags and put them back",
            "permissions Fail: the key lacks ViewLogs, needed to read the execution stream",
            "permissions Fail: the key lacks ViewMetrics, needed to read the deployment's metrics",
            "permissions Fail: the key lacks RunInternalQueries, needed to call m:ask",
            "permissions Fail: the key lacks RunInternalActions, needed to call m:act",
        ]
    );
    let all = [
        "ViewEnvironmentVariables",
        "WriteEnvironmentVariables",
        "ViewLogs",
        "ViewMetrics",
        "RunInternalQueries",
        "RunInternalActions",
    ];
    let convex = Canned::new(&healthy(&all)).convex("otter|01");
    let findings = convex.preflight(&needs, WITHIN, &now).await;
    let troubles: Vec<_> =
        troubles(&findings).into_iter().filter(|line| line.starts_with("permissions")).collect();
    assert_eq!(
        troubles,
        [
            "permissions Warn: the key lacks ViewData, needed to see whether functions exist, and code being pushed"
        ]
    );
}

#[tokio::test]
async fn url_key_and_clock_are_compared() {
    let line = async |canned: Canned, key: &str, check: &str| {
        let findings = canned.convex(key).preflight(&Needs::default(), WITHIN, &now).await;
        troubles(&findings).into_iter().find(|line| line.starts_with(check))
    };
    let canned = Canned::new(&healthy(&[]));
    assert_eq!(line(canned.clone(), "prod:otter|01", "url").await, None);
    let other = line(canned.clone(), "prod:badger|01", "url").await.unwrap();
    assert_eq!(other, "url Warn: the key names badger, but the deployment at this URL is otter");
    let token = line(canned.clone(), "topsecret", "key").await.unwrap();
    assert!(
        token.starts_with("key Warn: it is a token") && !token.contains("topsecret"),
        "{token}"
    );

    let mut refused = healthy(&[]);
    refused[0] = ("check_admin_key", 401, json!({"code": "BadAdminKey", "message": "no"}));
    let refused = Canned::new(&refused);
    let wrong = line(refused.clone(), "badger|01", "url").await.unwrap();
    assert!(wrong.starts_with("url Fail: the key names badger"), "{wrong}");
    let key = line(refused, "badger|01", "key").await.unwrap();
    assert!(key.starts_with("key Fail: the deployment refused the key (BadAdminKey)"), "{key}");

    for (ahead, expected) in [(3, None), (10, Some("Warn")), (-3_600, Some("Fail"))] {
        let date = now() + SignedDuration::from_secs(ahead);
        let found = line(Canned { date: Some(date), ..canned.clone() }, "otter|01", "clock").await;
        let standing = found.as_deref().map(|line| line.split([' ', ':']).nth(1).unwrap());
        assert_eq!(standing, expected, "{found:?}");
    }
    let silent = line(Canned { date: None, ..canned }, "otter|01", "clock").await.unwrap();
    assert!(silent.starts_with("clock Unknown"), "{silent}");
}
