//! What the deployment was sent, to the letter, for the same steps: by Convex's command line, and by our adapter.
//!
//! Everything is equal but for what is listed here, each with its reason; what is on no list fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_convex::Convex;
use rollout_core::{
    Calls, Effect, Expectation, FunctionCall, Known, Observation, Outcome, Probe, ProbeKind, Span,
    SpanEnd,
};
use rollout_e2e::EmulatorProcess;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::adapter::{adapter, effect_key, flag, set};
use crate::stage::Stage;
use crate::transcript::{Act, Key};
use crate::workshop;

/// The two deployments, and how much of what they were sent was looked at.
struct Both {
    by_hand: Stage,
    by_us: Stage,
    convex: Arc<Convex>,
    looked: (usize, usize),
}

#[tokio::test]
async fn requests_are_the_same_to_the_letter() {
    let Some(workshop) = workshop("requests_are_the_same_to_the_letter") else { return };
    // The same app on both, and one without traffic of its own: what is sent is only what is done here.
    let by_us = Stage::set(workshop.clone()).await;
    let convex = Arc::new(adapter(&by_us.emulator));
    let mut both = Both { by_hand: Stage::set(workshop).await, by_us, convex, looked: (0, 0) };
    one_variable(&mut both).await;
    several_variables(&mut both).await;
    functions(&mut both).await;
    reading_variables(&mut both).await;
    following(&mut both).await;
}

async fn one_variable(both: &mut Both) {
    both.type_in("env set ENABLE_A true").await;
    let outcome = set(&both.convex, 1, &[("ENABLE_A", "true")]).await;
    assert!(matches!(outcome, Outcome::FlagsSet { .. }), "{outcome:?}");
    both.must_have_sent_the_same(&["POST /api/update_environment_variables"]).await;
}

async fn several_variables(both: &mut Both) {
    let lines = ["ENABLE_A=false", "ENABLE_B=true", "NOTE=\"hello world\""].map(str::to_owned);
    let file = Act::File { name: "wanted.env".to_owned(), lines: lines.to_vec() };
    both.by_hand.act(&file).await;
    both.type_in("env set --force --from-file wanted.env").await;
    let wanted = [("ENABLE_A", "false"), ("ENABLE_B", "true"), ("NOTE", "hello world")];
    let outcome = set(&both.convex, 2, &wanted).await;
    assert!(matches!(outcome, Outcome::FlagsSet { .. }), "{outcome:?}");
    both.must_have_sent_the_same(&["POST /api/update_environment_variables"]).await;
}

async fn functions(both: &mut Both) {
    both.type_in("run monitoring/dashboard:getFeatureFlags").await;
    let call =
        FunctionCall { path: "monitoring/dashboard:getFeatureFlags".into(), args: "{}".into() };
    let kind = ProbeKind::Function { call, pointer: String::new(), expect: Expectation::Answers };
    let probes = vec![Probe { name: "flags".into(), kind }];
    both.observe(Observation { probes, ..Observation::default() }).await;

    let args = r#"{"name":"probe","requestKey":"once"}"#;
    both.type_in(&format!("run tasks:create {args}")).await;
    let call = FunctionCall { path: "tasks:create".into(), args: args.into() };
    let create = Effect::Invoke { call, pointer: String::new(), bindings: BTreeMap::new() };
    let outcome = both.convex.perform(effect_key(4), &create).await;
    assert!(matches!(outcome, Outcome::Invoked { .. }), "{outcome:?}");
    both.must_have_sent_the_same(&["POST /api/function", "POST /api/function"]).await;
}

/// The command line asks over the websocket, we over HTTP: the question is the same.
async fn reading_variables(both: &mut Both) {
    both.type_in("env list").await;
    // Whoever wants to know when a flag was written last has to ask the same system query.
    let writes = [(flag("ENABLE_A"), Timestamp::UNIX_EPOCH)].into();
    let known = Known { writes, push: None };
    both.observe(Observation { flags: vec![flag("ENABLE_A")], known, ..Observation::default() })
        .await;
    let (theirs, ours) = both.sent().await;
    let theirs: Vec<_> = theirs.iter().filter_map(query_of_a_message).collect();
    let ours: Vec<_> = ours.iter().filter_map(query_of_a_request).collect();
    assert_eq!(theirs, [json!(["_system/cli/queryEnvironmentVariables", {}])]);
    assert!(ours.contains(&theirs[0]), "{ours:?}");
}

/// Both poll from the beginning, then from where the answer told them to go on.
async fn following(both: &mut Both) {
    both.by_hand.act(&Act::Follow { key: Key::Admin, args: vec!["logs".into()] }).await;
    let convex = Arc::clone(&both.convex);
    let ours = tokio::spawn(async move { convex.follow().await });
    // Nothing is followed that nobody asked about.
    let calls = Calls {
        functions: Vec::new(),
        callers: Vec::new(),
        over: SignedDuration::from_mins(5),
        calls_min: 1,
    };
    #[expect(clippy::disallowed_methods, reason = "the emulator's clock is the real one here")]
    let now = Timestamp::now();
    let span = Span { from: now - calls.over, to: now, end: SpanEnd::Now };
    drop(both.convex.executions(&calls, span, SignedDuration::from_mins(5), None).await);
    // Both have asked once; another execution ends the question that they wait with now.
    until_polled(&both.by_us.emulator, 1).await;
    let executions = r#"[{"function": "tasks:get", "logLines": ["[LOG] 'said'"]}]"#;
    for emulator in [&both.by_us.emulator, &both.by_hand.emulator] {
        emulator.post("executions", executions).await;
        until_polled(emulator, 2).await;
    }
    both.by_hand.act(&Act::Stop { lines: 0 }).await;
    ours.abort();
    both.must_have_sent_the_same(&["GET /api/stream_", "GET /api/stream_"]).await;
}

impl Both {
    async fn type_in(&mut self, line: &str) {
        let args = line.split(' ').map(str::to_owned).collect();
        let said = self.by_hand.act(&Act::Command { key: Key::Admin, args }).await;
        assert!(said.iter().any(|line| line == "exit 0"), "{said:#?}");
    }

    async fn observe(&self, observation: Observation) {
        let outcome = self.convex.perform(effect_key(3), &Effect::Observe(observation)).await;
        let Outcome::Observed(reading) = outcome else { panic!("no reading: {outcome:?}") };
        assert!(reading.flags.is_ok(), "{reading:?}");
    }

    /// What the two deployments were sent since the last look.
    async fn sent(&mut self) -> (Vec<Value>, Vec<Value>) {
        let new = |all: Value, looked: &mut usize| {
            let Value::Array(all) = all else { panic!("no list") };
            let new = all[*looked..].to_vec();
            *looked = all.len();
            new
        };
        let theirs = new(self.by_hand.emulator.get("sent").await, &mut self.looked.0);
        (theirs, new(self.by_us.emulator.get("sent").await, &mut self.looked.1))
    }

    /// Compares what was sent but for the reads around a write, and that it is these requests.
    async fn must_have_sent_the_same(&mut self, expected: &[&str]) {
        let (theirs, ours) = self.sent().await;
        // Before a write the command line reads or does not, by the websocket; we always do, before and after, by HTTP.
        // What both read is compared in `reading_variables`.
        let calls = |all: &[Value]| -> Vec<Value> {
            all.iter().filter(|sent| !is_read(sent)).cloned().collect()
        };
        let (theirs, ours) = (calls(&theirs), calls(&ours));
        assert_eq!(theirs.len(), expected.len(), "{theirs:#?}");
        assert_eq!(ours.len(), expected.len(), "{ours:#?}");
        for ((theirs, ours), expected) in theirs.iter().zip(&ours).zip(expected) {
            let (call, same) = (normal(theirs), normal(ours));
            assert_eq!(same, call);
            let head = format!("{} {}", text(&call, "method"), text(&call, "path"));
            assert!(head.starts_with(expected), "{head}");
            must_be_headers_of_the_same(theirs, ours);
        }
    }
}

/// Reads of variables and of what changed, by either way.
fn is_read(sent: &Value) -> bool {
    let path = text(sent, "path");
    sent["method"] == "MESSAGE"
        || path.ends_with("/sync")
        || path.ends_with("/list_environment_variables")
        || path == "/api/query"
}

/// A request without what must differ.
fn normal(sent: &Value) -> Value {
    // The two spellings of the path are one handler (contract 2.2): we try the documented one first, the command line knows
    // the older one only.
    let path = text(sent, "path").replace("/api/v1/", "/api/");
    // Two views of the same log (contract 7.2): we need no log lines of actions that still run.
    let path = path.replace("stream_udf_execution", "stream_function_logs");
    let mut query = sent["query"].clone();
    // The cursors are moments of two deployments; that the first is 0 and the next one an answered one must be the same.
    if let Some(cursor) = query.get_mut("cursor") {
        let number: f64 = cursor.as_str().unwrap().parse().unwrap();
        *cursor = json!(if number == 0.0 { "the beginning" } else { "as answered" });
    }
    let mut body = sent["body"].clone();
    // The deployment sorts a batch itself (contract 2.3), so its order says nothing.
    if let Some(changes) = body.get_mut("changes").and_then(Value::as_array_mut) {
        changes.sort_by_key(|change| change["name"].as_str().unwrap().to_owned());
    }
    let headers = &sent["headers"];
    // Of a request without a body the command line says a type as well; it says nothing there.
    let has_body = sent["bodyBytes"] != 0;
    json!({
        "method": sent["method"],
        "path": path,
        "query": query,
        "body": body,
        "status": sent["status"],
        "authorization": headers["authorization"],
        "content-type": if has_body { headers["content-type"].clone() } else { Value::Null },
        // Each says its own name and version (contract 1.2); the form must be the one that servers accept.
        "convex-client": form_of_client(headers["convex-client"].as_str().unwrap_or_default()),
    })
}

/// `npm-cli-1.48.0` as `NAME-N.N.N`.
fn form_of_client(client: &str) -> String {
    let (name, version) = client.rsplit_once('-').unwrap_or((client, ""));
    let numbers = version.split('.').map(|part| part.parse::<u32>().map_or("?", |_| "N"));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let name = if is_name { "NAME" } else { "?" };
    format!("{name}-{}", numbers.collect::<Vec<_>>().join("."))
}

/// Beyond the compared ones only headers of the libraries, and those that say why.
fn must_be_headers_of_the_same(theirs: &Value, ours: &Value) {
    let names = |sent: &Value| -> BTreeSet<String> {
        sent["headers"].as_object().unwrap().keys().cloned().collect()
    };
    let (theirs, ours) = (names(theirs), names(ours));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>, allowed: &[&str]| {
        let left: Vec<_> =
            one.difference(other).filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(left.is_empty(), "{left:?} of {one:?}, but not of {other:?}");
    };
    only(&theirs, &ours, &THEIRS_ONLY);
    only(&ours, &theirs, &OURS_ONLY);
}

/// The system query that a message of the websocket adds, and its arguments.
fn query_of_a_message(sent: &Value) -> Option<Value> {
    let added = sent["body"]["modifications"].as_array()?.first()?;
    // The websocket takes arguments in the old form, an array of one object (contract 3.1).
    Some(system_query(added["udfPath"].as_str()?, &added["args"][0]))
}

fn query_of_a_request(sent: &Value) -> Option<Value> {
    let is_query = text(sent, "path") == "/api/query";
    is_query.then(|| system_query(text(&sent["body"], "path"), &sent["body"]["args"]))
}

/// A default export may be named or not (contract 3.1).
fn system_query(path: &str, args: &Value) -> Value {
    json!([path.trim_end_matches(":default"), args])
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Waits until so many polls of a stream were answered.
async fn until_polled(emulator: &EmulatorProcess, polls: usize) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let polled = async {
        loop {
            let all = emulator.get("sent").await;
            let all = all.as_array().unwrap().iter();
            if all.filter(|sent| text(sent, "path").starts_with("/api/stream_")).count() >= polls {
                return;
            }
            pace.tick().await;
        }
    };
    timeout(POLLS_MAX, polled).await.expect("the streams should be polled");
}

const POLLS_MAX: Duration = Duration::from_secs(60);
/// What node's own `fetch` adds, and nobody reads; a type where there is no body among it.
const THEIRS_ONLY: [&str; 5] =
    ["accept-encoding", "accept-language", "connection", "content-type", "sec-fetch-mode"];
/// The request id finds our requests in the deployment's logs (contract 1.2).
const OURS_ONLY: [&str; 1] = ["convex-request-id"];
