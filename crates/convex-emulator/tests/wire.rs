//! The wire contract, statement by statement, against the core without sockets.

#![expect(clippy::unwrap_used, reason = "the steps of a test may fail it")]

use std::collections::BTreeMap;

use convex_emulator::delivery::{self, Cut, Delivery};
use convex_emulator::wire::{self, Request, Response};
use convex_emulator::{
    Deployment, DeploymentSettings, Fault, FaultKind, RunState, Scenario, WriteOrigin,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

const LIST: &str = "/api/v1/list_environment_variables";
const UPDATE: &str = "/api/v1/update_environment_variables";
const ADMIN: &str = "Convex otter|admin";
const READER: &str = "Convex otter|reader";
const HEALTH: &str = "monitoring/dashboard:getSystemHealth";

/// A deployment with its own time, which a test moves by hand.
struct Bench {
    deployment: Deployment,
    now: Timestamp,
}

impl Bench {
    fn new(scenario: &str) -> Self {
        Self::with(Scenario::parse(scenario).unwrap())
    }

    fn with(scenario: Scenario) -> Self {
        let settings = DeploymentSettings {
            name: "otter".to_owned(),
            admin_key: "otter|admin".to_owned(),
            read_only_key: "otter|reader".to_owned(),
            env: BTreeMap::from([("NOTE".to_owned(), "hello".to_owned())]),
            scenario,
        };
        let now = "2026-08-21T10:00:00Z".parse().unwrap();
        Self { deployment: Deployment::new(settings, now).unwrap(), now }
    }

    fn wait(&mut self, minutes: i64) {
        self.now += SignedDuration::from_mins(minutes);
    }

    fn send(&mut self, request: &Request) -> Response {
        wire::handle(&mut self.deployment, self.now, request)
    }

    fn update(&mut self, changes: Json) -> Response {
        let request = post(UPDATE, ADMIN, &json!({ "changes": changes }));
        self.send(&request)
    }

    fn call(&mut self, endpoint: &str, auth: &str, body: Json) -> Json {
        let response = self.send(&post(endpoint, auth, &body));
        assert_eq!(response.status, 200, "{}", text(&response));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Calls with the full key and returns the value.
    fn value(&mut self, endpoint: &str, path: &str, args: Json) -> Json {
        let body = json!({"path": path, "args": args, "format": "convex_encoded_json"});
        let answer = self.call(endpoint, ADMIN, body);
        assert_eq!(answer["status"], "success", "{answer}");
        answer["value"].clone()
    }

    /// Calls with the given key and returns the error message.
    fn failure(&mut self, endpoint: &str, auth: &str, path: &str, args: Json) -> String {
        let answer = self.call(endpoint, auth, json!({"path": path, "args": args}));
        assert_eq!(answer["status"], "error", "{answer}");
        answer["errorMessage"].as_str().unwrap().to_owned()
    }

    fn rows(&mut self) -> Vec<Json> {
        let value = self.value("/api/query", "_system/cli/queryEnvironmentVariables", json!({}));
        value.as_array().unwrap().clone()
    }
}

fn get(path: &str, auth: &str) -> Request {
    with_auth(Request::new("GET", path), auth)
}

fn post(path: &str, auth: &str, body: &Json) -> Request {
    with_auth(Request::new("POST", path), auth).json(body)
}

fn with_auth(request: Request, auth: &str) -> Request {
    if auth.is_empty() { request } else { request.header("Authorization", auth) }
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

#[track_caller]
fn check_error(response: &Response, status: u16, code: &str) {
    let body: Json = serde_json::from_slice(&response.body).unwrap_or_default();
    assert_eq!((response.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(response.content_type, Some("application/json"));
    assert!(body["message"].is_string(), "{body}");
}

#[test]
fn variables_are_listed_sorted_under_both_paths() {
    let mut bench = Bench::new("");
    bench.update(json!([{"name": "B", "value": "2"}, {"name": "A", "value": ""}]));
    for path in [LIST, "/api/list_environment_variables"] {
        let response = bench.send(&get(path, READER));
        let expected = r#"{"environmentVariables":{"A":"","B":"2","NOTE":"hello"}}"#;
        assert_eq!((response.status, text(&response).as_str()), (200, expected));
    }
}

#[test]
fn a_successful_update_has_an_empty_body_and_no_content_type() {
    let mut bench = Bench::new("");
    let changes = json!([{"name": "A", "value": "1", "later": 1}, {"name": "NOTE"}]);
    assert_eq!(bench.update(changes), Response::empty(200));
    assert_eq!(bench.deployment.env().to_map(), BTreeMap::from([("A".into(), "1".into())]));
    assert_eq!(bench.update(json!([])), Response::empty(200));
    assert_eq!(bench.update(json!([{"name": "NEVER", "value": null}])), Response::empty(200));
    let old = post("/api/update_environment_variables", ADMIN, &json!({"changes": []}));
    assert_eq!(bench.send(&old), Response::empty(200));
}

#[test]
fn an_update_is_all_or_nothing() {
    let mut bench = Bench::new("");
    let before = bench.rows();
    let response = bench.update(json!([
        {"name": "A", "value": "1"}, {"name": "NOTE", "value": null}, {"name": "B-", "value": "2"}
    ]));
    check_error(&response, 400, "EnvironmentVariableNameInvalid");
    assert_eq!(bench.rows(), before);
}

#[test]
fn an_equal_set_rewrites_the_row_with_a_new_creation_time() {
    let mut bench = Bench::new("");
    let before = bench.rows()[0].clone();
    bench.update(json!([{"name": "NOTE", "value": "hello"}]));
    let after = bench.rows()[0].clone();
    assert_eq!((&before["name"], &before["value"]), (&after["name"], &after["value"]));
    assert_ne!(before["_id"], after["_id"]);
    let created = |row: &Json| row["_creationTime"].as_f64().unwrap();
    assert!(created(&after) > created(&before));
    assert!((created(&after) - 1_787_306_400_000.0).abs() < 1.0, "{after}");
}

#[test]
fn a_body_beyond_two_mebibytes_is_a_bad_body() {
    let mut bench = Bench::new("");
    let padded = |bytes: usize| {
        let mut request = post(UPDATE, ADMIN, &json!({"changes": []}));
        request.body.resize(bytes, b' ');
        request
    };
    assert_eq!(bench.send(&padded(2 << 20)), Response::empty(200));
    check_error(&bench.send(&padded((2 << 20) + 1)), 400, "BadJsonBody");
}

#[test]
fn env_endpoints_check_key_then_body_then_permission_then_values() {
    let mut bench = Bench::new("");
    let broken = |auth| with_auth(Request::new("POST", UPDATE), auth).header("content-type", "x");
    let bad_value = json!({"changes": [{"name": "-", "value": ""}]});
    check_error(&bench.send(&broken("Convex otter|wrong")), 401, "BadAdminKey");
    check_error(&bench.send(&broken(READER)), 400, "BadJsonBody");
    check_error(&bench.send(&broken("")), 400, "BadJsonBody");
    check_error(&bench.send(&post(UPDATE, READER, &bad_value)), 403, "OperationNotPermitted");
    check_error(&bench.send(&post(UPDATE, "", &bad_value)), 403, "BadDeployKey");
    check_error(&bench.send(&post(UPDATE, "Bearer jwt", &bad_value)), 403, "BadDeployKey");
    check_error(
        &bench.send(&post(UPDATE, ADMIN, &bad_value)),
        400,
        "EnvironmentVariableNameInvalid",
    );
    check_error(&bench.send(&get(LIST, "")), 403, "BadDeployKey");
    check_error(&bench.send(&get(LIST, "Conv")), 400, "InvalidHeaderFailure");
    check_error(&bench.send(&get(LIST, "Digest abc")), 400, "InvalidAdminKey");
}

#[test]
fn function_endpoints_check_body_then_key() {
    let mut bench = Bench::new("");
    let no_args = json!({"path": HEALTH});
    let fine = json!({"path": HEALTH, "args": {}});
    let wrong = "Convex otter|wrong";
    check_error(&bench.send(&post("/api/function", wrong, &no_args)), 400, "BadJsonBody");
    check_error(&bench.send(&post("/api/function", wrong, &fine)), 401, "BadAdminKey");
    check_error(&bench.send(&post("/api/function", "", &fine)), 403, "BadDeployKey");
    let bad = |path: &str, format: &str| {
        post("/api/function", ADMIN, &json!({"path": path, "args": {}, "format": format}))
    };
    check_error(&bench.send(&bad(HEALTH, "xml")), 400, "BadFormat");
    for path in ["", ":x", "a::b", "/a:b", "a b:c", "a:9"] {
        check_error(&bench.send(&bad(path, "json")), 400, "BadConvexFunctionIdentifier");
    }
    let component = json!({"path": HEALTH, "args": {}, "componentPath": "mail"});
    check_error(&bench.send(&post("/api/query", ADMIN, &component)), 400, "ComponentPathNotFound");
}

#[test]
fn unknown_paths_and_methods_have_empty_bodies() {
    let mut bench = Bench::new("");
    assert_eq!(bench.send(&get("/api/nope", ADMIN)), Response::empty(404));
    let response = bench.send(&get(UPDATE, ADMIN));
    assert_eq!((response.status, response.body.len()), (405, 0));
    assert_eq!(response.headers, [("allow", "POST".to_owned())]);
}

#[test]
fn the_client_header_is_checked() {
    let mut bench = Bench::new("");
    let mut send = |client: &str| bench.send(&get(LIST, ADMIN).header("Convex-Client", client));
    assert_eq!(send("rolloutd-0.1.0").status, 200);
    assert_eq!(send("npm-cli-1.48.0").status, 200);
    check_error(&send("rolloutd"), 400, "InvalidClientVersion");
    let old = send("npm-0.18.9");
    check_error(&old, 400, "ClientVersionUnsupported");
    assert!(old.headers.contains(&("x-convex-deprecation-state", "Unsupported".to_owned())));
}

#[test]
fn keys_are_validated_cheaply() {
    let mut bench = Bench::new("");
    let path = "/api/check_admin_key";
    let full = bench.send(&get(path, ADMIN));
    assert_eq!(text(&full), r#"{"allowedOps":[],"isReadOnly":false,"success":true}"#);
    let reader: Json = serde_json::from_slice(&bench.send(&get(path, READER)).body).unwrap();
    let allowed = reader["allowedOps"].as_array().unwrap();
    assert_eq!(reader["isReadOnly"], true);
    assert!(allowed.contains(&json!("ViewMetrics")), "{reader}");
    assert!(!allowed.contains(&json!("WriteEnvironmentVariables")), "{reader}");
    check_error(&bench.send(&get(path, "Convex otter|wrong")), 401, "BadAdminKey");
    check_error(&bench.send(&get(path, "")), 403, "BadDeployKey");
    bench.deployment.keys_mut().revoke("otter|admin");
    check_error(&bench.send(&get(path, ADMIN)), 401, "BadAdminKey");
}

#[test]
fn identity_needs_no_key() {
    let mut bench = Bench::new("");
    assert_eq!(text(&bench.send(&get("/instance_name", ""))), "otter");
    assert_eq!(text(&bench.send(&get("/version", ""))), "unknown");
    assert_eq!(text(&bench.send(&get("/instance_version", ""))), "unknown");
    assert_eq!(bench.send(&get("/", "")).status, 200);
    let kind = bench.send(&get("/api/v1/deployment_info", READER));
    assert_eq!(text(&kind), r#"{"kind":"selfHosted"}"#);
    let audit = bench.send(&get("/api/v1/list_audit_log_events", ADMIN));
    check_error(&audit, 403, "AuditLogsDisabled");
}

#[test]
fn numbers_arrive_as_floats_and_log_lines_are_left_out() {
    let mut bench = Bench::new("[base]\nerrorRate = 5\nresponseTimeMs = 940");
    let body = json!({"path": HEALTH, "args": {}, "format": "convex_encoded_json"});
    let response = bench.send(&post("/api/function", ADMIN, &body));
    let expected = concat!(
        r#"{"status":"success","value":{"alertCount":0.0,"completionRate":99.7,"errorRate":5.0,"#,
        r#""mode":"direct","responseTimeMs":940.0,"status":"degraded","stuckMessages":0.0,"#,
        r#""stuckWorkflows":0.0}}"#
    );
    assert_eq!(text(&response), expected);
    let alerts = bench.value("/api/query", "monitoring/dashboard:checkAlerts", json!([{}]));
    assert_eq!(alerts.to_string(), r#"{"alerts":[],"checkedAt":1787306400000.0}"#);
}

#[test]
fn special_values_differ_between_the_formats() {
    let mut bench = Bench::new("[base]\nerrorRate = nan\nresponseTimeMs = inf");
    let mut health = |format: Option<&str>| {
        let body = json!({"path": HEALTH, "args": {}, "format": format});
        bench.call("/api/query", ADMIN, body)["value"].clone()
    };
    for format in [Some("convex_encoded_json"), Some("convex_json")] {
        let value = health(format);
        assert_eq!(value["errorRate"], json!({"$float": "AAAAAAAA+H8="}));
        assert_eq!(value["responseTimeMs"], json!({"$float": "AAAAAAAA8H8="}));
    }
    for format in [None, Some("json"), Some("convex_clean_json")] {
        let value = health(format);
        assert_eq!(
            (&value["errorRate"], &value["responseTimeMs"]),
            (&json!("NaN"), &json!("Infinity"))
        );
    }
}

#[test]
fn functions_are_found_in_every_spelling_and_through_every_endpoint() {
    let mut bench = Bench::new("");
    let health = bench.value("/api/function", HEALTH, json!({}));
    let spelled = "monitoring/dashboard.js:getSystemHealth";
    assert_eq!(bench.value("/api/query", spelled, json!([{}])), health);
    let run =
        bench.call("/api/run/monitoring/dashboard/getSystemHealth", READER, json!({"args": {}}));
    assert_eq!(run["value"], health);
    let mut request = get("/api/query", ADMIN);
    request.query = BTreeMap::from([("path".into(), HEALTH.into()), ("args".into(), "{}".into())]);
    let answer: Json = serde_json::from_slice(&bench.send(&request).body).unwrap();
    assert_eq!(answer["value"], health);
    request.query.remove("args");
    check_error(&bench.send(&request), 400, "BadQueryArgs");
    check_error(&bench.send(&post("/api/run/x", ADMIN, &json!({}))), 400, "MissingIdentifier");
}

#[test]
fn function_errors_are_http_200_and_differ_by_text() {
    let mut bench = Bench::new("");
    #[track_caller]
    fn check(bench: &mut Bench, endpoint: &str, auth: &str, path: &str, args: Json, part: &str) {
        let message = bench.failure(endpoint, auth, path, args);
        assert!(message.starts_with("[Request ID: "), "{message}");
        assert!(message.contains(part), "{message}");
    }
    let not_found = "Could not find function for 'a/b:c'";
    check(&mut bench, "/api/function", ADMIN, "a/b:c", json!({}), not_found);
    let not_found = "Could not find public function for 'a/b'";
    check(&mut bench, "/api/query", "", "a/b", json!({}), not_found);
    // Without a key an internal function does not exist.
    let not_found = "Could not find public function for 'monitoring/dashboard:getSystemHealth'";
    check(&mut bench, "/api/query", "", HEALTH, json!({}), not_found);
    let wrong_type = "Trying to execute tasks.js:create as Query, but it is defined as Mutation.";
    check(&mut bench, "/api/query", ADMIN, "tasks:create", json!({}), wrong_type);
    let bad_args = "ArgumentValidationError: ";
    check(&mut bench, "/api/mutation", "", "tasks:create", json!({}), bad_args);
    check(&mut bench, "/api/mutation", "", "tasks:create", json!({"name": 1}), bad_args);
    check(&mut bench, "/api/query", ADMIN, HEALTH, json!({"x": 1}), bad_args);
    check(&mut bench, "/api/query", ADMIN, HEALTH, json!("x"), bad_args);
    let system = "_system/cli/queryEnvironmentVariables";
    check(&mut bench, "/api/function", ADMIN, system, json!({}), "Could not find function for '");
    check(&mut bench, "/api/query", "", system, json!({}), "Could not find public function");
}

#[test]
fn thrown_errors_show_their_reason_and_convex_errors_their_value() {
    let mut bench = Bench::new(&format!(
        "[[change]]\nthrow = {{ function = \"{HEALTH}\", message = \"boom\" }}\n\
         [[change]]\nafter = \"1h\"\nthrow = {{ function = \"{HEALTH}\", message = \"why\", data = {{ n = 5, x = nan }} }}"
    ));
    let body = json!({"path": HEALTH, "args": {}, "format": "convex_encoded_json"});
    let request = post("/api/function", ADMIN, &body).header("convex-request-id", "abc");
    let answer: Json = serde_json::from_slice(&bench.send(&request).body).unwrap();
    let message = answer["errorMessage"].as_str().unwrap();
    let start = "[Request ID: abc] Server Error\nUncaught Error: boom\n    at handler (../convex/";
    assert!(message.starts_with(start), "{message}");
    assert_eq!(answer.get("errorData"), None);
    bench.wait(60);
    let answer = bench.call("/api/function", READER, body);
    let message = answer["errorMessage"].as_str().unwrap();
    assert!(message.contains(" Server Error\nUncaught ConvexError: why\n"), "{message}");
    assert_eq!(answer["errorData"].to_string(), r#"{"n":5.0,"x":{"$float":"AAAAAAAA+H8="}}"#);
}

#[test]
fn a_paused_deployment_runs_no_functions_but_takes_writes() {
    let mut bench = Bench::new("");
    let state = "_system/frontend/deploymentState:deploymentState";
    assert_eq!(bench.value("/api/query", state, json!({})), json!({"state": "running"}));
    bench.deployment.set_run_state(RunState::Paused);
    let message = bench.failure("/api/function", ADMIN, HEALTH, json!({}));
    let text = "Cannot run functions while this deployment is paused.";
    assert!(message.contains(text), "{message}");
    assert_eq!(bench.value("/api/query", state, json!({})), json!({"state": "paused"}));
    assert_eq!(bench.update(json!([{"name": "A", "value": "1"}])), Response::empty(200));
}

#[test]
fn system_queries_describe_the_deployment() {
    let mut bench = Bench::new("");
    let one = "_system/cli/queryEnvironmentVariables:get";
    let value = bench.value("/api/query", one, json!({"name": "NOTE"}));
    assert_eq!(value, json!({"name": "NOTE", "value": "hello"}));
    assert_eq!(bench.value("/api/query", one, json!({"name": "NONE"})), Json::Null);
    let built_in = bench.value("/api/query", one, json!({"name": "CONVEX_CLOUD_URL"}));
    assert!(built_in["value"].as_str().unwrap().contains("otter"), "{built_in}");
    let listed = bench.value("/api/query", "_system/frontend/listEnvironmentVariables", json!({}));
    assert_eq!(listed.as_array().unwrap(), &bench.rows());

    let push = "_system/frontend/deploymentEvents:lastPushEvent";
    let created = |value: Json| value["_creationTime"].as_f64().unwrap();
    let first = created(bench.value("/api/query", push, json!({})));
    bench.wait(1);
    assert_eq!(created(bench.value("/api/query", push, json!({}))).to_bits(), first.to_bits());
    bench.deployment.push(bench.now);
    assert!((created(bench.value("/api/query", push, json!({}))) - first - 60_000.0).abs() < 1.0);

    let spec = bench.value("/api/query", "_system/cli/modules:apiSpec", json!({}));
    let find = |identifier: &str| {
        let mut entries = spec.as_array().unwrap().iter();
        entries.find(|entry| entry["identifier"] == identifier).unwrap().clone()
    };
    let create = find("tasks.js:create");
    assert_eq!(create["functionType"], "Mutation");
    assert_eq!(create["visibility"], json!({"kind": "public"}));
    assert_eq!(create["args"]["value"]["requestKey"]["optional"], true);
    let health = find("monitoring/dashboard.js:getSystemHealth");
    assert_eq!(
        (&health["functionType"], &health["visibility"]["kind"]),
        (&json!("Query"), &json!("internal"))
    );
}

#[test]
fn flags_decide_mode_and_feature_flags_at_once() {
    let mut bench = Bench::new("");
    bench.update(json!([
        {"name": "ENABLE_WORKFLOW", "value": "true"}, {"name": "LOG_PROVIDER_ENABLED", "value": "false"}
    ]));
    let flags = bench.value("/api/query", "monitoring/dashboard:getFeatureFlags", json!({}));
    let expected = json!({
        "ENABLE_RETRY_WITH_BACKOFF": false, "ENABLE_PROMPT_MESSAGE_ID": false,
        "ENABLE_MESSAGE_COMPRESSION": false, "LOG_PROVIDER_ENABLED": false,
        "ENABLE_WORKFLOW": true, "mode": "workflow",
    });
    assert_eq!(flags, expected);
    assert_eq!(bench.value("/api/query", HEALTH, json!({}))["mode"], "workflow");
}

#[test]
fn a_task_is_created_once_per_request_key_and_finishes_by_the_clock() {
    let mut bench = Bench::new("[[task]]\nname = \"import\"\noutcome = \"failed\"");
    let mut create = |name: &str, key: &str| {
        bench.value("/api/mutation", "tasks:create", json!({"name": name, "requestKey": key}))
    };
    let (id, again) = (create("probe", "k"), create("probe", "k"));
    let other = create("import", "k2");
    assert_eq!(id, again);
    assert_ne!(id, other);
    assert_eq!(id.as_str().unwrap().len(), 32);
    let status = |bench: &mut Bench, id: &Json| {
        bench.value("/api/query", "tasks:get", json!({"id": id}))["status"].clone()
    };
    assert_eq!(status(&mut bench, &id), "pending");
    bench.wait(1);
    assert_eq!(status(&mut bench, &id), "success");
    assert_eq!(status(&mut bench, &other), "failed");
    assert_eq!(bench.value("/api/query", "tasks:get", json!({"id": "none"})), Json::Null);
    assert_eq!(bench.deployment.tasks().iter().count(), 2);
}

#[test]
fn a_reader_runs_public_mutations_and_no_internal_ones() {
    let mut bench = Bench::new("");
    let create = json!({"path": "tasks:create", "args": {"name": "probe"}, "format": "json"});
    for endpoint in ["/api/function", "/api/mutation"] {
        assert_eq!(bench.call(endpoint, READER, create.clone())["status"], "success");
    }
    let body = json!({"path": "tasks:clear", "args": {}, "format": "json"});
    for endpoint in ["/api/function", "/api/mutation", "/api/run/tasks/clear"] {
        let request = Request::new("POST", endpoint).header("Authorization", READER).json(&body);
        let response = bench.send(&request);
        let refusal: Json = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            (response.status, &refusal["code"]),
            (403, &json!("OperationNotPermitted")),
            "{endpoint}: {refusal}"
        );
    }
    assert_eq!(bench.deployment.tasks().iter().count(), 2);
    assert_eq!(bench.value("/api/mutation", "tasks:clear", json!({})), json!(2.0));
    assert_eq!(bench.deployment.tasks().iter().count(), 0);
}

#[test]
fn the_breach_scenario_breaches_five_hours_after_the_flag_and_recovers() {
    let mut bench = Bench::with(Scenario::builtin("breach").unwrap());
    let flag = |value: &str| json!([{"name": "ENABLE_MESSAGE_COMPRESSION", "value": value}]);
    let health = |bench: &mut Bench| bench.value("/api/query", HEALTH, json!({}));
    bench.wait(48 * 60);
    assert_eq!(health(&mut bench)["status"], "healthy");
    bench.update(flag("true"));
    for _ in 0..17 {
        bench.wait(15);
        assert_eq!(health(&mut bench)["status"], "healthy");
    }
    bench.wait(44); // T+4h59m
    assert_eq!(health(&mut bench)["status"], "degraded");
    bench.wait(1);
    assert_eq!(health(&mut bench)["errorRate"].as_f64(), Some(7.0));
    let alerts = bench.value("/api/query", "monitoring/dashboard:checkAlerts", json!({}));
    assert_eq!(alerts["alerts"][0]["severity"], "critical");
    bench.update(flag("false"));
    assert_eq!(health(&mut bench)["status"], "healthy");
}

#[test]
fn health_can_be_asked_about_the_past() {
    let mut bench = Bench::with(Scenario::builtin("breach").unwrap());
    let flag = json!([{"name": "ENABLE_MESSAGE_COMPRESSION", "value": "true"}]);
    let before = bench.now.as_millisecond();
    bench.update(flag);
    bench.wait(6 * 60);
    let mut health = |range| bench.value("/api/query", HEALTH, range);
    assert_eq!(health(json!({}))["errorRate"].as_f64(), Some(7.0));
    let past = json!({"from": before, "to": before + 60 * 60 * 1_000});
    assert_eq!(health(past)["status"], "healthy");
    let future = json!({"from": before, "to": before + 900 * 60 * 60 * 1_000});
    assert_eq!(health(future)["errorRate"].as_f64(), Some(7.0));
}

#[test]
fn the_healthy_scenario_stays_within_every_target_for_five_days() {
    let bench = Bench::with(Scenario::builtin("healthy").unwrap());
    let mut rates = std::collections::BTreeSet::new();
    for minute in 0..5 * 24 * 60 {
        let health = bench.deployment.health(bench.now + SignedDuration::from_mins(minute));
        let number = |field: &str| health.fields[field].as_float().unwrap();
        assert!(number("errorRate") < 1.0 && number("completionRate") > 99.0, "{health:?}");
        assert!(number("responseTimeMs") < 5_000.0, "{health:?}");
        assert_eq!((number("stuckWorkflows"), health.alerts.len()), (0.0, 0));
        rates.insert(number("errorRate").to_bits());
    }
    assert!(rates.len() > 1_000, "the noise stands still");
}

#[test]
fn the_strange_scenario_shows_each_oddity_at_its_hour() {
    let mut bench = Bench::with(Scenario::builtin("strange").unwrap());
    let mut hours = Vec::new();
    for _ in 0..14 {
        let body = json!({"path": HEALTH, "args": {}, "format": "convex_encoded_json"});
        hours.push(bench.call("/api/function", ADMIN, body));
        bench.wait(60);
    }
    assert_eq!(hours[1]["value"]["errorRate"], json!({"$float": "AAAAAAAA+H8="}));
    assert_eq!(hours[3]["value"]["completionRate"], Json::Null);
    assert!(hours[3]["value"].as_object().unwrap().contains_key("completionRate"));
    assert!(!hours[5]["value"].as_object().unwrap().contains_key("stuckWorkflows"));
    assert_eq!(hours[7]["value"]["errorRate"], "0.4%");
    assert_eq!(hours[9]["value"]["responseTimeMs"], json!({"$float": "AAAAAAAA8H8="}));
    assert_eq!(hours[11]["value"]["stuckWorkflows"], false);
    assert_eq!(hours[13]["errorData"]["code"], "NO_DATA");
    for even in [0, 2, 4, 6, 8, 10, 12] {
        assert_eq!(hours[even]["value"]["status"], "healthy");
    }
}

#[test]
fn outages_decide_what_becomes_of_a_request() {
    let mut bench = Bench::new(
        "[[outage]]\nat = \"1h\"\nlasts = \"1h\"\nkind = \"status\"\nstatus = 502\n\
         [[outage]]\nat = \"2h\"\nlasts = \"1h\"\nkind = \"reset\"\n\
         [[outage]]\nat = \"3h\"\nlasts = \"1h\"\nkind = \"slow\"\n\
         [[outage]]\nat = \"4h\"\nlasts = \"1h\"\nkind = \"refuse\"",
    );
    let change = post(UPDATE, ADMIN, &json!({"changes": [{"name": "NOTE", "value": "x"}]}));
    let deliver = |bench: &mut Bench| {
        bench.wait(60);
        delivery::deliver(&mut bench.deployment, bench.now, &change)
    };
    let Delivery::Respond { response, .. } = deliver(&mut bench) else { panic!("no response") };
    assert_eq!(response, Response::empty(502));
    assert!(matches!(deliver(&mut bench), Delivery::Cut { cut: Cut::Reset, .. }));
    let Delivery::Cut { wait, cut: Cut::Close } = deliver(&mut bench) else { panic!("not cut") };
    assert!(wait.as_secs() > 60);
    assert!(!delivery::refuses_connections(&bench.deployment, bench.now));
    assert!(matches!(deliver(&mut bench), Delivery::Cut { cut: Cut::Close, .. }));
    assert!(delivery::refuses_connections(&bench.deployment, bench.now));
    assert_eq!(bench.deployment.env().get("NOTE"), Some("hello"));
    let applied = deliver(&mut bench);
    assert!(matches!(applied, Delivery::Respond { response, .. } if response.status == 200));
    let applied: Vec<bool> = bench.deployment.writes().iter().map(|write| write.applied).collect();
    assert_eq!(applied, [false, false, false, false, true]);
    let statuses: Vec<_> =
        bench.deployment.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(502), None, None, None, Some(200)]);
}

#[test]
fn every_write_is_recorded_with_its_origin() {
    let mut bench = Bench::new("");
    let body = json!({"changes": [{"name": "B", "value": "1"}, {"name": "A", "value": null}]});
    let request = post(UPDATE, ADMIN, &body)
        .header("User-Agent", "rolloutd/0.1")
        .header("Convex-Client", "rolloutd-0.1.0")
        .header("convex-request-id", "r1-7");
    bench.send(&request);
    bench.send(&post(UPDATE, READER, &body));
    bench.update(json!([{"name": "-", "value": ""}]));
    bench.deployment.inject(Fault::once(
        "list",
        FaultKind::ForeignEdit { name: "B".to_owned(), value: Some("2".to_owned()) },
    ));
    let read = get(LIST, ADMIN);
    let Delivery::Respond { response, .. } =
        delivery::deliver(&mut bench.deployment, bench.now, &read)
    else {
        panic!("no response")
    };
    // The reader saw the value from before the edit.
    assert!(text(&response).contains(r#""B":"1""#), "{}", text(&response));
    let writes: Vec<_> = bench.deployment.writes().iter().collect();
    assert_eq!(writes[0].changes, [("B".into(), Some("1".into())), ("A".into(), None)]);
    assert_eq!(writes[0].user_agent.as_deref(), Some("rolloutd/0.1"));
    assert_eq!(writes[0].convex_client.as_deref(), Some("rolloutd-0.1.0"));
    assert_eq!(writes[0].request_id.as_deref(), Some("r1-7"));
    assert_eq!(writes[0].at, bench.now);
    let applied: Vec<_> = writes.iter().map(|write| (write.origin, write.applied)).collect();
    let client = |applied| (WriteOrigin::Client, applied);
    assert_eq!(applied, [client(true), client(false), client(false), (WriteOrigin::Foreign, true)]);
}
