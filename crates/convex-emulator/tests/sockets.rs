//! The emulator on a real socket: every fault as a client sees it, and the control endpoints.

#![expect(clippy::unwrap_used, reason = "the steps of a test may fail it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use convex_emulator::{
    Config, Emulator, EmulatorClock, EmulatorError, Fault, FaultKind, Scenario, WriteOrigin,
};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value as Json, json};

const UPDATE: &str = "/api/v1/update_environment_variables";
const LIST: &str = "/api/v1/list_environment_variables";

struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    fn new(emulator: &Emulator) -> Self {
        // Built with the whole workspace, reqwest has TLS without a provider, and asks for one even for plain http.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
        // One attempt per call: what a test sees is what the emulator did.
        let http = http.retry(reqwest::retry::never()).build().unwrap();
        Self { http, url: emulator.url(), key: format!("Convex {}", emulator.admin_key()) }
    }

    fn post(&self, path: &str, body: &Json) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.url));
        request.header("Authorization", &self.key).json(body)
    }

    async fn set(&self, value: &str) -> Result<reqwest::Response, reqwest::Error> {
        self.post(UPDATE, &json!({"changes": [{"name": "FLAG", "value": value}]})).send().await
    }

    async fn list(&self) -> Result<reqwest::Response, reqwest::Error> {
        let request = self.http.get(format!("{}{LIST}", self.url));
        request.header("Authorization", &self.key).send().await
    }

    async fn control(&self, path: &str) -> Json {
        let url = format!("{}/_emulator/{path}", self.url);
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }
}

async fn start() -> (Emulator, Client) {
    let emulator = Emulator::start(Config::default()).await.unwrap();
    let client = Client::new(&emulator);
    (emulator, client)
}

fn flag(emulator: &Emulator) -> Option<String> {
    emulator.env().get("FLAG").cloned()
}

/// Sends bytes over a raw connection and returns what comes back until it ends.
async fn raw(emulator: &Emulator, request: String) -> std::io::Result<Vec<u8>> {
    let address = emulator.address();
    let exchange = move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

fn raw_update(emulator: &Emulator, value: &str) -> String {
    let body = json!({"changes": [{"name": "FLAG", "value": value}]}).to_string();
    format!(
        "POST {UPDATE} HTTP/1.1\r\nhost: x\r\nauthorization: Convex {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        emulator.admin_key(),
        body.len()
    )
}

#[tokio::test]
async fn a_flag_is_set_and_read_back() {
    let (emulator, client) = start().await;
    let response = client.set("true").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().get("content-type"), None);
    assert_eq!(response.text().await.unwrap(), "");
    let listed = client.list().await.unwrap();
    assert_eq!(listed.headers()["content-type"], "application/json");
    let expected = r#"{"environmentVariables":{"FLAG":"true"}}"#;
    assert_eq!(listed.text().await.unwrap(), expected);
    let query = format!("{}/api/query?path=tasks:get&args=%7B%22id%22%3A%22x%22%7D", client.url);
    let answer = client.http.get(query).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, r#"{"status":"success","value":null}"#);
    let requests = emulator.requests();
    let seen: Vec<_> =
        requests.iter().map(|r| (r.method.as_str(), r.path.as_str(), r.status)).collect();
    let expected =
        [("POST", UPDATE, Some(200)), ("GET", LIST, Some(200)), ("GET", "/api/query", Some(200))];
    assert_eq!(seen, expected);
    emulator.stop().await;
}

#[tokio::test]
async fn status_faults_answer_and_change_nothing() {
    let (emulator, client) = start().await;
    let codes = [
        (503, "OptimisticConcurrencyControlFailure"),
        (429, "TooManyConcurrentRequests"),
        (500, "InternalServerError"),
    ];
    for (status, code) in codes {
        emulator.inject(Fault::once("update_env", FaultKind::status(status, code)));
        let response = client.set("true").await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.json::<Json>().await.unwrap()["code"], code);
    }
    emulator.inject(Fault::once("", FaultKind::Html { status: 500 }));
    let html = client.set("true").await.unwrap();
    assert_eq!(
        (html.status().as_u16(), &html.headers()["content-type"]),
        (500, &"text/html".parse().unwrap())
    );
    assert!(html.text().await.unwrap().starts_with("<html>"));
    emulator.inject(Fault::once("", FaultKind::empty(404)));
    let missing = client.set("true").await.unwrap();
    assert_eq!(missing.status().as_u16(), 404);
    assert_eq!(missing.bytes().await.unwrap().len(), 0);
    assert_eq!(flag(&emulator), None);
    assert_eq!(client.set("true").await.unwrap().status(), StatusCode::OK);
    let applied: Vec<bool> = emulator.writes().iter().map(|write| write.applied).collect();
    assert_eq!(applied, [false, false, false, false, false, true]);
}

#[tokio::test]
async fn a_cut_before_the_commit_applies_nothing_and_sends_nothing() {
    let (emulator, client) = start().await;
    emulator.inject(Fault::always("update_env", FaultKind::CutBeforeCommit));
    let error = client.set("true").await.unwrap_err();
    assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
    assert_eq!(raw(&emulator, raw_update(&emulator, "true")).await.unwrap(), b"");
    assert_eq!(flag(&emulator), None);
    emulator.clear_faults();
    assert_eq!(client.set("true").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_cut_after_the_commit_applies_and_sends_nothing() {
    let (emulator, client) = start().await;
    emulator.inject(Fault::once("update_env", FaultKind::CutAfterCommit));
    assert_eq!(raw(&emulator, raw_update(&emulator, "1")).await.unwrap(), b"");
    assert_eq!(flag(&emulator).as_deref(), Some("1"));
    // The same over a connection that was in use before.
    client.list().await.unwrap().bytes().await.unwrap();
    emulator.inject(Fault::once("update_env", FaultKind::CutAfterCommit));
    assert!(client.set("2").await.is_err());
    assert_eq!(flag(&emulator).as_deref(), Some("2"));
    let writes = emulator.writes();
    assert_eq!(writes.iter().filter(|write| write.applied).count(), 2);
    assert_eq!(emulator.requests().last().unwrap().status, None);
}

#[tokio::test]
async fn slow_answers_arrive_late_and_work() {
    let (emulator, client) = start().await;
    for kind in [FaultKind::Slow { ms: 300 }, FaultKind::SlowApply { ms: 300 }] {
        emulator.inject(Fault::once("update_env", kind));
        let started = Instant::now();
        assert_eq!(client.set("true").await.unwrap().status(), StatusCode::OK);
        assert!(started.elapsed() >= Duration::from_millis(300));
    }
    assert_eq!(emulator.writes().iter().filter(|write| write.applied).count(), 2);
}

#[tokio::test]
async fn a_slow_drop_closes_late_and_applies_nothing() {
    let (emulator, _) = start().await;
    emulator.inject(Fault::once("update_env", FaultKind::SlowDrop { ms: 300 }));
    let started = Instant::now();
    assert_eq!(raw(&emulator, raw_update(&emulator, "true")).await.unwrap(), b"");
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(flag(&emulator), None);
}

#[tokio::test]
async fn a_slow_apply_takes_effect_after_its_client_gave_up() {
    let (emulator, client) = start().await;
    emulator.inject(Fault::once("update_env", FaultKind::SlowApply { ms: 500 }));
    let body = json!({"changes": [{"name": "FLAG", "value": "late"}]});
    let given_up = client.post(UPDATE, &body).timeout(Duration::from_millis(100)).send().await;
    assert!(given_up.unwrap_err().is_timeout());
    assert_eq!(flag(&emulator), None);
    let deadline = Instant::now() + Duration::from_secs(20);
    while flag(&emulator).is_none() {
        assert!(Instant::now() < deadline, "the late write never came");
        client.list().await.unwrap();
    }
    assert_eq!(flag(&emulator).as_deref(), Some("late"));
}

#[tokio::test]
async fn keys_are_revoked_and_restored_in_the_middle() {
    let (emulator, client) = start().await;
    emulator.inject(Fault::once("update_env", FaultKind::RevokeKey));
    assert_eq!(client.list().await.unwrap().status(), StatusCode::OK);
    assert_eq!(client.set("true").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let refused = client.list().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.json::<Json>().await.unwrap()["code"], "BadAdminKey");
    emulator.inject(Fault::once("update_env", FaultKind::RestoreKey));
    assert_eq!(client.set("true").await.unwrap().status(), StatusCode::OK);
    emulator.revoke_key(&emulator.admin_key());
    assert_eq!(client.list().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    emulator.restore_keys();
    assert_eq!(client.list().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_foreign_edit_comes_between_read_and_write() {
    let (emulator, client) = start().await;
    let edit = |value: &str| FaultKind::ForeignEdit {
        name: "FLAG".to_owned(),
        value: Some(value.to_owned()),
    };
    emulator.inject(Fault::once("list_env", edit("theirs")));
    let read = client.list().await.unwrap().text().await.unwrap();
    assert_eq!(read, r#"{"environmentVariables":{}}"#);
    assert_eq!(flag(&emulator).as_deref(), Some("theirs"));
    emulator.inject(Fault::once("update_env", edit("theirs again")));
    client.set("ours").await.unwrap();
    assert_eq!(flag(&emulator).as_deref(), Some("ours"));
    emulator.edit("FLAG", None).unwrap();
    assert_eq!(flag(&emulator), None);
    assert!(emulator.edit("9", Some("x")).is_err());
    let origins: Vec<_> =
        emulator.writes().iter().map(|write| (write.origin, write.applied)).collect();
    let foreign = |applied| (WriteOrigin::Foreign, applied);
    let expected =
        [foreign(true), foreign(true), (WriteOrigin::Client, true), foreign(true), foreign(false)];
    assert_eq!(origins, expected);
}

#[tokio::test]
async fn everything_is_controlled_over_http_without_a_key() {
    let (emulator, client) = start().await;
    let control = |path: &str, body: Json| {
        let url = format!("{}/_emulator/{path}", client.url);
        // As `curl -d` sends it: as a form, says its content type.
        let form = "application/x-www-form-urlencoded";
        let request = client.http.post(url).header("Content-Type", form).body(body.to_string());
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let fault = json!({"match": "update", "times": 1, "kind": {"status": {"status": 429}}});
    assert_eq!(control("faults", fault).await, 200);
    assert_eq!(client.set("true").await.unwrap().status().as_u16(), 429);
    let forever = json!({"match": "", "times": null, "kind": "cut_before_commit"});
    assert_eq!(control("faults", forever).await, 200);
    assert!(client.list().await.is_err());
    assert_eq!(client.control("faults").await.as_array().unwrap().len(), 1);
    let url = format!("{}/_emulator/faults", client.url);
    assert_eq!(client.http.delete(url).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(control("faults", json!({"match": "", "kind": "cutt"})).await, 400);
    assert_eq!(control("env", json!({"FLAG": "x", "GONE": null})).await, 200);
    assert_eq!(control("env", json!({"-": "x"})).await, 400);
    assert_eq!(client.control("env").await, json!({"FLAG": "x"}));
    assert_eq!(control("state", json!({"state": "paused"})).await, 200);
    assert_eq!(control("push", json!({})).await, 200);
    assert_eq!(control("nothing", json!({})).await, 404);

    let writes = client.control("writes").await;
    assert_eq!(writes[0]["applied"], false);
    assert_eq!(writes[0]["changes"], json!([{"name": "FLAG", "value": "true"}]));
    assert_eq!((&writes[1]["origin"], &writes[1]["applied"]), (&json!("foreign"), &json!(true)));
    let requests = client.control("requests").await;
    let statuses: Vec<_> =
        requests.as_array().unwrap().iter().map(|r| r["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(429), None]);
    let at: Timestamp = requests[0]["at"].as_str().unwrap().parse().unwrap();
    assert!(at <= emulator.now());
    assert_eq!(client.control("clock").await["scale"], 1.0);
    assert_eq!(client.control("tasks").await, json!([]));
}

/// Starts an emulator with an outage that begins at once.
async fn in_outage(kind: &str) -> (Emulator, Client) {
    let text = format!("[[outage]]\nat = \"0h\"\nlasts = \"1h\"\nkind = {kind}");
    let scenario = Scenario::parse(&text).unwrap();
    let emulator = Emulator::start(Config { scenario, ..Config::default() }).await.unwrap();
    let client = Client::new(&emulator);
    (emulator, client)
}

#[tokio::test]
async fn outages_look_real() {
    let (emulator, client) = in_outage("\"refuse\"").await;
    assert!(client.list().await.is_err());
    // Closed right after the accept, without a request.
    assert_eq!(raw(&emulator, String::new()).await.unwrap(), b"");

    let (emulator, client) = in_outage("\"reset\"").await;
    assert!(client.list().await.is_err());
    let error = raw(&emulator, raw_update(&emulator, "true")).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(flag(&emulator), None);

    let (emulator, client) = in_outage("\"slow\"").await;
    let waited = client.list();
    assert!(tokio::time::timeout(Duration::from_millis(300), waited).await.is_err());
    let slow = tokio::spawn(async move { client.list().await });
    while emulator.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    // Stopping does not wait for the outage: the open request ends at once.
    let started = Instant::now();
    emulator.stop().await;
    assert!(slow.await.unwrap().is_err());
    assert!(started.elapsed() < Duration::from_secs(10));

    let (_emulator, client) = in_outage("\"status\"\ncode = \"X\"").await;
    let response = client.list().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.json::<Json>().await.unwrap()["code"], "X");
}

#[tokio::test]
async fn an_outage_also_hits_connections_that_were_open_and_ends() {
    // 2 real seconds are 1 emulator hour; the outage lasts from 1 h to 2 h.
    let scenario = Scenario::parse("[[outage]]\nat = \"1h\"\nlasts = \"1h\"\nkind = \"refuse\"");
    let clock = EmulatorClock::accelerated(1800.0);
    let config = Config { scenario: scenario.unwrap(), clock, ..Config::default() };
    let emulator = Emulator::start(config).await.unwrap();
    let client = Client::new(&emulator);
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut before, mut failed, mut after) = (0, 0, 0);
    while after == 0 {
        assert!(Instant::now() < deadline, "{before} {failed} {after}");
        match client.list().await {
            Ok(_) if failed == 0 => before += 1,
            Ok(_) => after += 1,
            Err(_) => failed += 1,
        }
    }
    assert!(before > 0 && failed > 0, "{before} {failed} {after}");
}

#[tokio::test]
async fn stopping_closes_the_port_and_idle_connections() {
    let (emulator, client) = start().await;
    client.list().await.unwrap().bytes().await.unwrap();
    let address = emulator.address();
    let held = TcpStream::connect(address).unwrap();
    held.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while raw_count(&emulator).await < 2 {
        tokio::task::yield_now().await;
    }
    emulator.stop().await;
    assert!(client.list().await.unwrap_err().is_connect());
    let ended = tokio::task::spawn_blocking(move || (&held).read(&mut [0; 1]));
    assert_eq!(ended.await.unwrap().unwrap_or(0), 0);
}

/// Asks for the list over a fresh connection; a later accept means earlier ones were accepted.
async fn raw_count(emulator: &Emulator) -> usize {
    let client = Client::new(emulator);
    client.list().await.unwrap().bytes().await.unwrap();
    emulator.requests().len()
}

#[tokio::test]
async fn stopping_drops_a_request_that_is_held() {
    let (emulator, client) = start().await;
    emulator.inject(Fault::once("update_env", FaultKind::SlowApply { ms: 3_600_000 }));
    let held = tokio::spawn(async move { client.set("late").await });
    // The fault is used up once the request is held.
    let control = Client::new(&emulator);
    while !control.control("faults").await.as_array().unwrap().is_empty() {}
    emulator.stop().await;
    assert!(held.await.unwrap().is_err());
}

#[tokio::test]
async fn wrong_configurations_are_refused() {
    let key = Config { admin_key: "walrus|1".to_owned(), ..Config::default() };
    let error = Emulator::start(key).await.unwrap_err();
    assert!(matches!(error, EmulatorError::Settings(_)), "{error:?}");
    let (emulator, _) = start().await;
    let taken = Config { bind: emulator.address(), ..Config::default() };
    let error = Emulator::start(taken).await.unwrap_err();
    assert!(matches!(error, EmulatorError::Bind { .. }), "{error:?}");
    let mut env = Config::default();
    env.env.insert("9".to_owned(), String::new());
    assert!(Emulator::start(env).await.is_err());
}
