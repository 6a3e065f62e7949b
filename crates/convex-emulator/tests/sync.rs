//! The sync websocket with a real client library, and the long polls, on a real socket.

#![expect(clippy::unwrap_used, reason = "the steps of a test may fail it")]

use std::time::Duration;

use convex_emulator::{
    Config, Emulator, EmulatorClock, Fault, FaultKind, InjectedExecutions, RunState, Scenario,
};
use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// No step of these tests takes as long on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);
const VARIABLES: &str = "_system/cli/queryEnvironmentVariables:default";

struct Client {
    socket: WebSocketStream<TcpStream>,
    /// The end of the last transition.
    version: Json,
}

async fn connect(emulator: &Emulator) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(emulator.address()).await.unwrap();
    let url = format!("ws://{}/api/1.48.0/sync", emulator.address());
    Ok(client_async(url, stream).await?.0)
}

impl Client {
    /// Connects, says hello and logs in with `key`.
    async fn new(emulator: &Emulator, key: &str) -> Self {
        let socket = connect(emulator).await.unwrap();
        let version = json!({ "querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA=" });
        let mut client = Self { socket, version };
        client
            .say(json!({
                "type": "Connect",
                "sessionId": "0b0a3c0e-0f4e-4c1e-8b52-6e8d9f1f3c11",
                "connectionCount": 0,
                "lastCloseReason": "InitialConnect",
                "clientTs": emulator.now().as_millisecond(),
            }))
            .await;
        client
            .say(json!({
                "type": "Authenticate",
                "baseVersion": 0,
                "tokenType": "Admin",
                "value": key,
            }))
            .await;
        client
    }

    async fn say(&mut self, message: Json) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn add(&mut self, version: u32, id: u32, path: &str, args: Json) {
        let add = json!({ "type": "Add", "queryId": id, "udfPath": path, "args": [args] });
        self.modify(version, add).await;
    }

    async fn modify(&mut self, version: u32, modification: Json) {
        self.say(json!({
            "type": "ModifyQuerySet",
            "baseVersion": version,
            "newVersion": version + 1,
            "modifications": [modification],
        }))
        .await;
    }

    /// The next message that is not a ping; `None` when the socket was closed.
    async fn hear(&mut self) -> Option<Json> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap();
            match message {
                Some(Ok(Message::Text(text))) => {
                    let message: Json = serde_json::from_str(&text).unwrap();
                    if message["type"] != "Ping" {
                        return Some(message);
                    }
                }
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Close(_))) | None => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The modifications of the next transition, which must go on where the last one ended.
    async fn transition(&mut self) -> Vec<Json> {
        let message = self.hear().await.unwrap();
        assert_eq!(message["type"], "Transition", "{message}");
        assert_eq!(message["startVersion"], self.version);
        assert!(message["clientClockSkew"].is_number() && message["serverTs"].is_number());
        self.version = message["endVersion"].clone();
        message["modifications"].as_array().unwrap().clone()
    }
}

async fn start() -> Emulator {
    let env = [("NOTE".to_owned(), "hello".to_owned())].into();
    Emulator::start(Config { env, ..Config::default() }).await.unwrap()
}

fn names(modification: &Json) -> Vec<&str> {
    let rows = modification["value"].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn variables_are_read_and_then_told_live() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, &emulator.read_only_key()).await;
    assert_eq!(client.transition().await, Vec::<Json>::new());
    assert_eq!(client.version["identity"], 1);
    client.add(0, 7, VARIABLES, json!({})).await;
    let [updated] = client.transition().await.try_into().unwrap();
    assert_eq!((&updated["type"], &updated["queryId"]), (&json!("QueryUpdated"), &json!(7)));
    assert_eq!(names(&updated), ["NOTE"]);
    client.add(1, 8, "_system/cli/queryEnvironmentVariables:get", json!({ "name": "X" })).await;
    let [missing] = client.transition().await.try_into().unwrap();
    assert_eq!(missing["value"], Json::Null);
    // A write of somebody else is told without being asked for.
    emulator.edit("X", Some("true")).unwrap();
    let [all, one] = client.transition().await.try_into().unwrap();
    assert_eq!(names(&all), ["NOTE", "X"]);
    assert_eq!(one["value"], json!({ "name": "X", "value": "true" }));
    client.modify(2, json!({ "type": "Remove", "queryId": 7 })).await;
    assert_eq!(client.transition().await, [json!({ "type": "QueryRemoved", "queryId": 7 })]);
    assert_eq!(client.version["querySet"], 3);
    // Now only the other query is told.
    emulator.edit("X", None).unwrap();
    let [gone] = client.transition().await.try_into().unwrap();
    assert_eq!((&gone["queryId"], &gone["value"]), (&json!(8), &Json::Null));
    let sync: Vec<_> = emulator.requests().into_iter().map(|r| (r.path, r.status)).collect();
    assert_eq!(sync, [("/api/1.48.0/sync".to_owned(), Some(101))]);
    emulator.stop().await;
}

#[tokio::test]
async fn failures_and_calls_are_answered() {
    let scenario = Scenario::parse(
        "[[change]]\nthrow = { function = \"tasks:get\", message = \"boom\", data = { code = 1 } }",
    );
    let config = Config { scenario: scenario.unwrap(), ..Config::default() };
    let emulator = Emulator::start(config).await.unwrap();
    let mut client = Client::new(&emulator, &emulator.admin_key()).await;
    client.transition().await;
    client.add(0, 0, "tasks:get", json!({ "id": "x" })).await;
    let [failed] = client.transition().await.try_into().unwrap();
    assert_eq!(
        (&failed["type"], &failed["errorData"]),
        (&json!("QueryFailed"), &json!({ "code": 1.0 }))
    );
    let message = failed["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("[Request ID: ") && message.contains("Uncaught ConvexError: boom"));
    client
        .say(json!({
            "type": "Mutation",
            "requestId": 3,
            "udfPath": "tasks:create",
            "args": [{ "name": "probe" }],
        }))
        .await;
    let answer = client.hear().await.unwrap();
    assert_eq!((&answer["type"], &answer["success"]), (&json!("MutationResponse"), &json!(true)));
    assert_eq!(answer["result"], emulator.tasks()[0].id.as_str());
    assert_eq!(client.transition().await, Vec::<Json>::new());
    assert_eq!(client.version["ts"], answer["ts"]);
    // What ran over the websocket is in the log of executions as any other run.
    let log = emulator.with(|deployment, now| {
        let found = deployment.activity().log().after(0.0, now, |_| true).unwrap();
        let row = |entry: &&convex_emulator::completion::Completion| {
            (entry.identifier.clone(), entry.caller.as_str(), entry.error.is_some())
        };
        found.entries.iter().map(row).collect::<Vec<_>>()
    });
    let row = |name: &str, failed| (name.to_owned(), "SyncWorker", failed);
    assert_eq!(log[..2], [row("tasks:get", true), row("tasks:create", false)]);
    emulator.stop().await;
}

#[tokio::test]
async fn a_wrong_key_is_an_auth_error_and_the_end() {
    let emulator = start().await;
    let mut client = Client::new(&emulator, "happy-otter-123|wrong").await;
    let error = client.hear().await.unwrap();
    assert_eq!(
        error,
        json!({
            "type": "AuthError",
            "error": "The provided admin key was invalid for this instance",
            "baseVersion": 0,
            "authUpdateAttempted": true,
        })
    );
    assert_eq!(client.hear().await, None);
    emulator.stop().await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_and_closed() {
    let emulator = start().await;
    let early =
        json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [] });
    let skips =
        json!({ "type": "ModifyQuerySet", "baseVersion": 4, "newVersion": 5, "modifications": [] });
    let unknown = json!({ "type": "Sing" });
    let again = json!({ "type": "Connect", "clientTs": 0 });
    for (wrong, words) in [
        (skips, "Base version does not match"),
        (unknown, "Received Invalid JSON"),
        (again, "Connect must be the first"),
    ] {
        let mut client = Client::new(&emulator, &emulator.admin_key()).await;
        client.transition().await;
        client.say(wrong).await;
        let error = client.hear().await.unwrap();
        assert_eq!(error["type"], "FatalError");
        assert!(error["error"].as_str().unwrap().contains(words), "{error}");
        assert_eq!(client.hear().await, None);
    }
    let mut socket = connect(&emulator).await.unwrap();
    socket.send(Message::text(early.to_string())).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!() };
    assert!(text.contains("FatalError"), "{text}");
    emulator.stop().await;
}

#[tokio::test]
async fn faults_meet_websockets_too_and_stopping_ends_them() {
    let emulator = start().await;
    emulator.inject(Fault::once("sync", FaultKind::status(503, "WorkerOverloaded")));
    let Err(Error::Http(response)) = connect(&emulator).await else { panic!() };
    assert_eq!(response.status(), 503);
    emulator.inject(Fault::once("sync", FaultKind::CutBeforeCommit));
    assert!(connect(&emulator).await.is_err());
    let mut client = Client::new(&emulator, &emulator.admin_key()).await;
    client.transition().await;
    // A paused deployment answers system queries.
    emulator.set_run_state(RunState::Paused);
    client.add(0, 0, "_system/frontend/deploymentState:deploymentState", json!({})).await;
    let [state] = client.transition().await.try_into().unwrap();
    assert_eq!(state["value"], json!({ "state": "paused" }));
    emulator.stop().await;
    let end = tokio::time::timeout(PATIENCE, client.socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

struct Poller {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Poller {
    fn new(emulator: &Emulator) -> Self {
        // Built with the whole workspace, reqwest has TLS without a provider, and asks for one even for plain http.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let http = http.retry(reqwest::retry::never()).build().unwrap();
        let key = format!("Convex {}", emulator.read_only_key());
        Self { http, url: emulator.url(), key }
    }

    fn poll(&self, cursor: f64) -> tokio::task::JoinHandle<(u16, Json)> {
        let url = format!("{}/api/stream_udf_execution?cursor={cursor}", self.url);
        let request = self.http.get(url).header("Authorization", &self.key);
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap())
        })
    }

    async fn json(&self, path: &str) -> Json {
        let request = self.http.get(format!("{}{path}", self.url));
        request.send().await.unwrap().json().await.unwrap()
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_execution_and_with_a_restart() {
    let emulator = start().await;
    let poller = Poller::new(&emulator);
    let waiting = poller.poll(0.0);
    emulator.inject_executions(&[InjectedExecutions::default()]);
    let (status, answer) = waiting.await.unwrap();
    assert_eq!((status, answer["entries"].as_array().unwrap().len()), (200, 1));
    let waiting = poller.poll(answer["newCursor"].as_f64().unwrap());
    // The restart may come before the poll: then the poll waits for a server that is already new.
    let mut restarts = tokio::time::interval(Duration::from_millis(20));
    let mut waiting = waiting;
    let (status, answer) = loop {
        tokio::select! {
            answer = &mut waiting => break answer.unwrap(),
            _ = restarts.tick() => emulator.restart(0.0),
        }
    };
    assert_eq!((status, &answer["code"]), (500, &json!("InternalServerError")));
    emulator.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_traffic_in_emulator_time() {
    let scenario = Scenario::parse(
        "[[traffic]]\nfunction = \"messages:send\"\ntype = \"Mutation\"\nperMinute = 1",
    );
    let clock = EmulatorClock::accelerated(600.0);
    let config = Config { scenario: scenario.unwrap(), clock, ..Config::default() };
    let emulator = Emulator::start(config).await.unwrap();
    let (status, answer) = Poller::new(&emulator).poll(0.0).await.unwrap();
    assert_eq!((status, &answer["entries"][0]["identifier"]), (200, &json!("messages:send")));
    emulator.stop().await;
}

#[tokio::test]
async fn connections_are_kept_counted_and_dated_in_emulator_time() {
    let origin: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let real = EmulatorClock::real().real_origin();
    let clock = EmulatorClock::scaled(real, origin, 1.0);
    let emulator = Emulator::start(Config { clock, ..Config::default() }).await.unwrap();
    let poller = Poller::new(&emulator);
    for _ in 0..5 {
        let version = poller.http.get(format!("{}/version", poller.url)).send().await.unwrap();
        let date = version.headers()["date"].to_str().unwrap().to_owned();
        assert!(date.starts_with("Tue, 01 Jan 2030 00:0") && date.ends_with(" GMT"), "{date}");
        version.bytes().await.unwrap();
    }
    emulator.inject_executions(&[InjectedExecutions::default()]);
    poller.poll(0.0).await.unwrap();
    // What was sent can be compared with what another client sends; keys stay out of it.
    let sent = poller.json("/_emulator/sent").await;
    let last = sent.as_array().unwrap().last().unwrap();
    assert_eq!(last["path"], "/api/stream_udf_execution", "{last}");
    assert_eq!((&last["query"], &last["status"]), (&json!({ "cursor": "0" }), &json!(200)));
    assert_eq!(last["headers"]["authorization"], "Convex happy-otter-123|…");
    // What a connection carried, by what it was for: five questions and a poll, and two looks at the controls.
    let counts = poller.json("/_emulator/connections").await;
    let first = json!({ "requests": 6, "polls": 1, "controls": 2, "client": null });
    assert_eq!(counts, json!({ "accepted": 1, "open": 1, "each": [first] }));
    let other = Poller::new(&emulator);
    let counts = other.json("/_emulator/connections").await;
    let second = json!({ "requests": 0, "polls": 0, "controls": 1, "client": null });
    assert_eq!((&counts["accepted"], &counts["each"][1]), (&json!(2), &second));
    assert_eq!(emulator.connections().accepted, 2);
    emulator.stop().await;
}
