//! The rest of a deployment: batches, the audit log, the control plane, declared variables, states.

use convex_emulator::wire::{Request, Response};
use convex_emulator::{AuditAccess, DisabledBy, EnvChange, RunState};
use serde_json::{Value as Json, json};

use crate::bench::{ADMIN, Bench, READER, check_error, json_of};

const HEALTH: &str = "monitoring/dashboard:getSystemHealth";
const AUDIT: &str = "/api/v1/list_audit_log_events";

fn variables() -> Json {
    json!({ "path": "_system/cli/queryEnvironmentVariables", "args": {}, "format": "json" })
}

fn failure(response: &Response) -> String {
    let body = json_of(response);
    assert_eq!(body["status"], "error", "{body}");
    body["errorMessage"].as_str().unwrap().to_owned()
}

#[test]
fn a_batch_answers_each_query_and_fails_as_one() {
    let mut bench = Bench::new("");
    let health = json!({ "path": HEALTH, "args": {}, "format": "json" });
    let missing = json!({ "path": "no:where", "args": {} });
    let answer = json_of(&bench.post("/api/query_batch", &json!({ "queries": [health, missing] })));
    assert_eq!(answer["results"][0]["value"]["status"], "healthy");
    assert_eq!(answer["results"][1]["status"], "error");
    let broken = json!({ "path": "a b", "args": {} });
    let response = bench.post("/api/query_batch", &json!({ "queries": [health, broken] }));
    check_error(&response, 400, "BadConvexFunctionIdentifier");
    check_error(&bench.post("/api/query_batch", &json!({})), 400, "BadJsonBody");
}

#[test]
fn queries_at_a_time_are_answered_until_something_changes() {
    let mut bench = Bench::new("");
    bench.wait(1);
    let ts = json_of(&bench.post("/api/query_ts", &json!({})))["ts"].clone();
    let mut body = variables();
    body["ts"] = ts;
    bench.wait(5);
    let answer = json_of(&bench.post("/api/query_at_ts", &body));
    assert_eq!(answer["value"][0]["name"], "NOTE");
    bench.set("A", Some("1"));
    check_error(&bench.post("/api/query_at_ts", &body), 400, "SnapshotTooOld");
    body["ts"] = json!("////////////");
    check_error(&bench.post("/api/query_at_ts", &body), 400, "BadJsonBody");
}

#[test]
fn an_ad_hoc_query_is_told_that_nothing_can_run_it() {
    let mut bench = Bench::new("");
    let body = |key: &str| {
        json!({
            "adminKey": key,
            "args": {},
            "bundle": { "path": "testQuery.js", "source": "export default query({})" },
            "format": "convex_encoded_json",
        })
    };
    let message = failure(&bench.post("/api/run_test_function", &body("otter|admin")));
    assert!(message.contains("runs no JavaScript"), "{message}");
    check_error(&bench.post("/api/run_test_function", &body("otter|x")), 401, "BadAdminKey");
}

#[test]
fn the_audit_log_says_who_wrote_what_with_what() {
    let mut bench = Bench::new("");
    check_error(&bench.get(AUDIT, &[]), 403, "AuditLogsDisabled");
    let changes = json!([
        { "name": "A", "value": "1" }, { "name": "NOTE", "value": "2" }, { "name": "GONE" }
    ]);
    let request = Request::new("POST", "/api/v1/update_environment_variables")
        .header("Authorization", ADMIN)
        .header("User-Agent", "rolloutd/0.1")
        .json(&json!({ "changes": changes }));
    assert_eq!(bench.send(&request).status, 200);
    bench.wait(60);
    let removal = EnvChange { name: "A".to_owned(), value: None };
    bench.deployment.edit_as("kim", &[removal], bench.now).unwrap();
    bench.set("1BAD", Some("refused, so it is no event"));
    bench.deployment.set_audit_access(AuditAccess::Enabled);
    let page = json_of(&bench.get(AUDIT, &[("limit", "2")]));
    let row = |event: &Json| {
        let text = |event: &Json| event.as_str().unwrap().to_owned();
        (text(&event["action"]), text(&event["metadata"]["variable_name"]))
    };
    let expected =
        |action: &str, name: &str| (format!("{action}_environment_variable"), name.to_owned());
    assert_eq!(row(&page["items"][0]), expected("create", "A"));
    assert_eq!(row(&page["items"][1]), expected("update", "NOTE"));
    assert_eq!(page["items"][0]["actor"]["kind"], "token");
    assert_eq!(page["items"][0]["clientUserAgent"], "rolloutd/0.1");
    assert_eq!(page["pagination"]["hasMore"], true);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    let page = json_of(&bench.get(AUDIT, &[("limit", "2"), ("cursor", cursor)]));
    assert_eq!(row(&page["items"][0]), expected("delete", "A"));
    assert_eq!(page["items"][0]["actor"]["memberName"], "kim");
    assert_eq!(page["items"][0]["createTime"], bench.now.as_millisecond());
    assert_eq!(page["pagination"], json!({ "hasMore": false, "nextCursor": null }));
    let from = bench.now.as_millisecond().to_string();
    let later = json_of(&bench.get(AUDIT, &[("from", &from)]));
    assert_eq!(later["items"].as_array().unwrap().len(), 1);
    check_error(&bench.get(AUDIT, &[("from", "1000")]), 403, "AuditLogsTooOld");
    check_error(&bench.get(AUDIT, &[("limit", "101")]), 400, "LimitOutOfRange");
}

#[test]
fn the_control_plane_knows_the_key_of_its_one_deployment() {
    let mut bench = Bench::new("");
    let mut ask = |path: &str, key: &str| {
        let request = Request::new("POST", path)
            .header("Authorization", format!("Bearer {key}"))
            .header("Host", "127.0.0.1:4567")
            .json(&json!({ "deployKey": key }));
        bench.send(&request)
    };
    let url = ask("/api/deployment/url_for_key", "prod:otter|admin");
    assert_eq!(json_of(&url), json!("http://127.0.0.1:4567"));
    let team = json_of(&ask("/api/deployment/team_and_project_for_key", "prod:otter|admin"));
    assert_eq!((&team["reference"], &team["isDefault"]), (&Json::Null, &json!(true)));
    let wrong = ask("/api/deployment/url_for_key", "prod:walrus|admin");
    check_error(&wrong, 401, "InvalidDeploymentKey");
}

#[test]
fn declared_variables_take_their_values_only() {
    let mut bench = Bench::new(
        "[[variable]]\nname = \"FLAG\"\nvalues = [\"true\", \"false\"]\npresence = \"required\"\n\
         [[variable]]\nname = \"NOTE\"\npresence = \"required\"",
    );
    check_error(&bench.set("FLAG", Some("maybe")), 400, "InvalidEnvironmentVariable");
    assert_eq!(bench.set("FLAG", Some("true")).status, 200);
    check_error(&bench.set("FLAG", None), 400, "RequiredEnvironmentVariable");
    check_error(&bench.set("NOTE", None), 400, "RequiredEnvironmentVariable");
    let both = json!([{ "name": "OTHER", "value": "1" }, { "name": "FLAG", "value": "on" }]);
    let response = bench.post("/api/v1/update_environment_variables", &json!({ "changes": both }));
    check_error(&response, 400, "InvalidEnvironmentVariable");
    assert_eq!(bench.deployment.env().get("OTHER"), None);
    assert_eq!(bench.set("FLAG", Some("false")).status, 200);
}

#[test]
fn a_stopped_deployment_says_why_and_takes_variables() {
    let mut bench = Bench::new("");
    let body = json!({ "path": HEALTH, "args": {}, "format": "json" });
    let states = [
        (
            RunState::Paused,
            DisabledBy::UsageLimit,
            "Cannot run functions while this deployment is paused",
        ),
        (RunState::Disabled, DisabledBy::FreePlan, "You have exceeded the free plan limits"),
        (RunState::Disabled, DisabledBy::Spending, "You have exceeded your spending limits"),
        (
            RunState::Disabled,
            DisabledBy::UsageLimit,
            "This deployment has been disabled because it exceeded a configured usage limit",
        ),
        (
            RunState::Suspended,
            DisabledBy::UsageLimit,
            "Cannot run functions while this deployment is suspended",
        ),
    ];
    for (state, disabled_by, words) in states {
        bench.deployment.set_disabled_by(disabled_by);
        bench.deployment.set_run_state(state);
        let message = failure(&bench.post("/api/function", &body));
        assert!(message.contains(words), "{message}");
        assert_eq!(bench.set("FLAG", Some("false")).status, 200);
        let query = json!({
            "path": "_system/frontend/deploymentState:deploymentState", "args": {}, "format": "json"
        });
        let answer = json_of(&bench.post("/api/query", &query));
        assert_eq!(answer["value"]["state"], state.as_str());
    }
}

#[test]
fn a_redacting_deployment_keeps_its_reasons_but_not_the_thrown_value() {
    let mut bench = Bench::new(
        "[deployment]\nredact = true\n[[change]]\n\
         throw = { function = \"tasks:get\", message = \"boom\", data = { code = \"E1\" } }",
    );
    let body = json!({ "path": "tasks:get", "args": { "id": "x" }, "format": "json" });
    let answer = json_of(&bench.post("/api/query", &body));
    let message = answer["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("] Server Error") && message.starts_with("[Request ID: "));
    assert_eq!(answer["errorData"], json!({ "code": "E1" }));
    bench.deployment.set_redaction(false);
    assert!(failure(&bench.post("/api/query", &body)).contains("Uncaught ConvexError: boom"));
}

#[test]
fn the_read_only_key_reads_and_cannot_write() {
    let mut bench = Bench::new("");
    let write = Request::new("POST", "/api/update_environment_variables")
        .header("Authorization", READER)
        .json(&json!({ "changes": [] }));
    let response = bench.send(&write);
    check_error(&response, 403, "OperationNotPermitted");
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert!(text.contains("perform this operation (deployment:env:write)."), "{text}");
    let key = json_of(&bench.get("/api/check_admin_key", &[]));
    let allowed: Vec<&str> =
        key["allowedOps"].as_array().unwrap().iter().map(|op| op.as_str().unwrap()).collect();
    for operation in ["ViewLogs", "ViewMetrics", "ViewEnvironmentVariables", "ViewAuditLog"] {
        assert!(allowed.contains(&operation), "{operation}");
    }
    assert_eq!(bench.get("/api/stream_udf_execution", &[("cursor", "0")]).status, 200);
}

#[test]
fn what_a_function_logs_is_answered_and_streamed() {
    let mut bench = Bench::new(
        "[[change]]\nlog = { function = \"tasks:get\", level = \"WARN\", lines = [\"slow\", \"slower\"] }",
    );
    let body = json!({ "path": "tasks:get", "args": { "id": "x" }, "format": "json" });
    let lines = json!(["[WARN] 'slow'", "[WARN] 'slower'"]);
    assert_eq!(json_of(&bench.post("/api/query", &body))["logLines"], lines);
    let wrong = json!({ "path": "tasks:get", "args": {}, "format": "json" });
    assert_eq!(json_of(&bench.post("/api/query", &wrong)).get("logLines"), None);
    bench.deployment.set_redaction(true);
    assert_eq!(json_of(&bench.post("/api/query", &body)).get("logLines"), None);
    let entries = json_of(&bench.get("/api/stream_udf_execution", &[("cursor", "0")]));
    let entries = entries["entries"].as_array().unwrap();
    let logged: Vec<&Json> = entries.iter().map(|entry| &entry["logLines"]).collect();
    assert_eq!(logged, [&lines, &json!([]), &lines]);
}
