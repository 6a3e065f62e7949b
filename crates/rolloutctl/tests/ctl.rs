//! The whole program from outside, with its outputs and surroundings passed in. A daemon is either not there, or a few
//! bytes on a real unix socket; the real one is met in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare must fail")]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use jiff::tz::TimeZone;
use rollout_api::Exit;
use rolloutctl::{Env, Io, Screen};
use serde_json::{Value, json};

/// A folder of its own for each test; removed with the value.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rolloutctl-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn socket(&self) -> PathBuf {
        self.0.join("daemon.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Exit code, stdout and stderr of one run.
fn run(socket: &Path, args: &[&str]) -> (Exit, String, String) {
    let env = Env {
        socket: socket.to_path_buf(),
        width: 80,
        rows: None,
        zone: TimeZone::UTC,
        stdout: Screen::Pipe,
        stderr: Screen::Pipe,
    };
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let args = std::iter::once("rolloutctl").chain(args.iter().copied()).map(OsString::from);
    let exit = rolloutctl::run(args, &env, &mut Io::new(&mut out, &mut talk));
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(talk).unwrap())
}

/// Serves each connection with the next of `answers` (start of the request line, response) and hangs up; gives back the
/// whole requests.
fn serve(socket: PathBuf, answers: Vec<(&'static str, String)>) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (expected, answer) in VecDeque::from(answers) {
            let (mut connection, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let lower = line.to_lowercase();
                length = lower
                    .strip_prefix("content-length: ")
                    .map_or(length, |text| text.trim().parse().unwrap());
                request.push_str(&line);
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8(body).unwrap());
            assert!(request.starts_with(expected), "expected {expected}, got {request}");
            connection.write_all(answer.as_bytes()).unwrap();
            asked.push(request);
        }
        asked
    })
}

fn answer(status: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn summary(seq: u64, status: &str) -> Value {
    json!({
        "id": "r1", "plan": "agent-flags", "title": "Log", "deployment": "production", "url": "http://d", "status": status,
        "headline": "as planned", "phase": { "number": 1, "name": "first", "stage": "baking", "of": 2 }, "holds": [],
        "open_incidents": [], "created_at": "2026-01-01T00:00:00Z", "next_check": null, "next_deadline": null, "seq": seq,
        "rolled_back": false, "rolling_back": false,
    })
}

fn detail(seq: u64, status: &str) -> String {
    let body = json!({
        "summary": summary(seq, status), "digest": "d", "phases": [], "incidents": [], "last_reading": null,
        "waits": [], "allowed": [],
    });
    answer("200 OK", "application/json", &body.to_string())
}

/// A stream with these entries (position and kind) that ends behind them.
fn stream(entries: &[(u64, &str)]) -> String {
    let entry = |(seq, kind): &(u64, &str)| {
        let entry = json!({
            "seq": seq, "at": "2026-01-01T00:00:00Z", "actor": "rolloutd", "note": null, "kind": kind, "phase": 1,
            "text": format!("event {seq}"), "details": {},
        });
        format!("id: {seq}\ndata: {entry}\n\n")
    };
    answer(
        "200 OK",
        "text/event-stream",
        &format!(": hello\n\n{}", entries.iter().map(entry).collect::<String>()),
    )
}

#[test]
fn what_everybody_should_know_is_in_both_outputs_of_status() {
    for (format, notice) in [("text", Some("dark")), ("json", Some("dark")), ("json", None)] {
        let place = Place::new();
        let mut body: Value =
            serde_json::from_str(detail(7, "running").rsplit_once("\r\n\r\n").unwrap().1).unwrap();
        if let Some(notice) = notice {
            body["notice"] = notice.into();
        }
        let answers =
            vec![("GET /v1/rollouts/r1 ", answer("200 OK", "application/json", &body.to_string()))];
        let asked = serve(place.socket(), answers);
        let (exit, out, talk) = run(&place.socket(), &["status", "r1", "--output", format]);
        asked.join().unwrap();
        assert_eq!(exit, Exit::Done, "the exit code is about the rollout");
        if format == "text" {
            assert_eq!((out.lines().count(), talk.as_str()), (1, "dark\n"));
            continue;
        }
        let status: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((status["id"].as_str(), status["notice"].as_str()), (Some("r1"), notice));
        assert_eq!(talk, "");
    }
}

#[test]
fn help_is_data_and_nonsense_is_usage() {
    let place = Place::new();
    let (exit, out, talk) = run(&place.socket(), &["--help"]);
    assert_eq!((exit, talk.as_str()), (Exit::Done, ""));
    assert!(out.contains("lint") && out.contains("Exit codes: 0 done"), "{out}");
    for nonsense in [
        &["hold", "r1"][..],
        &["hold", "42", "--reason", "x"],
        &["status", "r1", "--timeout", "5m"],
        &["status", "r1", "--until", "tomorrow"],
        &["check", "r1", "runbook", "--phase", "1", "--all-phases", "--reason", "x"],
        &["lint"],
    ] {
        let (exit, out, talk) = run(&place.socket(), nonsense);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{nonsense:?}");
        assert!(talk.contains("error:"), "{talk}");
    }
}

#[test]
fn lint_shows_mistakes_as_data_and_counts_them_in_words() {
    let place = Place::new();
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guide.toml");
    let (exit, out, talk) = run(&place.socket(), &["lint", guide]);
    assert_eq!(
        (exit, out, talk.as_str()),
        (
            Exit::Done,
            format!("{guide}: good; 5 phases, 5 flags, 7 criteria, watched for 120h\n"),
            ""
        )
    );
    let wrong = place.file(
        "wrong.toml",
        "name = \"w\"\ndeployment = \"d\"\n[[phases]]\nname = \"p\"\nflag = [\"A\"]\n",
    );
    let (exit, out, talk) = run(&place.socket(), &["lint", &wrong, guide]);
    assert_eq!((exit, talk.as_str()), (Exit::Refused, format!("{wrong}: 1 mistake\n").as_str()));
    assert!(out.contains("did you mean `flags`?") && out.contains("good; 5 phases"), "{out}");
    let (exit, out, _) = run(&place.socket(), &["lint", &wrong, "--output", "json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &found["errors"][0]["line"]), (Exit::Refused, &json!(5)));
    let (exit, _, talk) = run(&place.socket(), &["lint", "/nowhere.toml"]);
    assert_eq!(exit, Exit::Usage);
    assert!(talk.starts_with("failed to read /nowhere.toml: "), "{talk}");
}

#[test]
fn without_a_daemon_there_is_one_line_with_the_way_out() {
    let place = Place::new();
    let socket = place.socket();
    let words = format!("no daemon: there is no socket {}; start it with", socket.display());
    for verb in [
        &["list"][..],
        &["get", "r1"],
        &["status", "r1", "--until", "done"],
        &["hold", "r1", "--reason", "x"],
    ] {
        let (exit, out, talk) = run(&socket, verb);
        assert_eq!(
            (exit, out.as_str(), talk.lines().count()),
            (Exit::Unreachable, "", 1),
            "{verb:?}: {talk}"
        );
        assert!(talk.starts_with(&words), "{talk}");
    }
    drop(UnixListener::bind(&socket).unwrap());
    let (exit, _, talk) = run(&socket, &["list"]);
    assert_eq!(exit, Exit::Unreachable);
    assert!(talk.starts_with("no daemon: nobody listens on"), "{talk}");
}

#[test]
fn a_bad_plan_is_refused_before_anybody_is_asked() {
    let place = Place::new();
    let wrong = place.file("wrong.toml", "name = \"w\"\ndeployment = \"d\"\nphases = 1\n");
    let (exit, out, talk) = run(&place.socket(), &["start", &wrong]);
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert!(talk.contains("wrong.toml:3:10") && talk.contains("nothing was started"), "{talk}");
}

/// A plan without mistakes, and a refusal or an answer to its start.
fn started(place: &Place, answered: String) -> (Exit, String, String) {
    let plan = "name = \"w\"\ndeployment = \"prod\"\n[[phases]]\nname = \"a\"\nflags = [\"A\"]\nbake = \"24h\"\n";
    let file = place.file("plan.toml", plan);
    let server = serve(place.socket(), vec![("POST /v1/rollouts ", answered)]);
    let ended = run(&place.socket(), &["start", &file]);
    server.join().unwrap();
    ended
}

#[test]
fn each_reason_of_a_refused_start_is_said_once() {
    let reason = "there is no function a:b on the deployment";
    let problem = json!({
        "type": "t", "title": "the deployment cannot run this plan", "status": 422, "code": "RO0309",
        "detail": format!("deployment prod cannot run this plan: {reason}"),
        "violations": [{ "pointer": "/deployment", "message": reason, "hint": "deploy it" }],
    });
    let refusal = answer("422 Unprocessable", "application/problem+json", &problem.to_string());
    let (exit, out, talk) = started(&Place::new(), refusal);
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert_eq!(talk.matches("there is no function a:b").count(), 1, "{talk}");
    assert_eq!(talk.matches("deploy it").count(), 1, "{talk}");
    let last = "refused: the deployment cannot run this plan (RO0309); nothing was started";
    assert_eq!(talk.lines().last(), Some(last));
}

#[test]
fn a_start_says_what_it_will_have_to_wait_for() {
    let away = "could not connect to deployment prod: connection refused";
    let body =
        json!({ "answer": "accepted", "rollout": summary(1, "scheduled"), "warnings": [away] });
    let (exit, out, talk) =
        started(&Place::new(), answer("201 Created", "application/json", &body.to_string()));
    assert_eq!((exit, out.as_str()), (Exit::Done, "r1\n"));
    let said = format!("{away}; r1 waits for it, `rolloutctl doctor r1` shows more");
    assert_eq!(talk.lines().last(), Some(said.as_str()));
}

#[test]
fn a_refused_verb_says_why_and_what_is_allowed() {
    let place = Place::new();
    let problem = json!({
        "type": "urn:rolloutd:error:RO0301", "title": "refused now", "status": 409, "code": "RO0301",
        "detail": "phase 1 is not rolled back", "allowed": ["hold", "abort"],
    });
    let refusal = answer("409 Conflict", "application/problem+json", &problem.to_string());
    let server = serve(place.socket(), vec![("POST /v1/rollouts/r1/retry ", refusal)]);
    let (exit, out, talk) = run(&place.socket(), &["retry", "r1", "--reason", "again"]);
    let words = "refused: phase 1 is not rolled back (RO0301)\n  allowed now: hold, abort\n";
    assert_eq!((exit, out.as_str(), talk.as_str()), (Exit::Refused, "", words));
    assert!(server.join().unwrap()[0].ends_with("{\"reason\":\"again\"}"));
}

#[test]
fn a_wait_outlives_the_daemon_and_goes_on_where_it_was() {
    let place = Place::new();
    let server = serve(
        place.socket(),
        vec![
            ("GET /v1/rollouts/r1 ", detail(7, "running")),
            ("GET /v1/rollouts/r1/events ", stream(&[(8, "reading_taken")])),
            ("GET /v1/rollouts/r1 ", detail(8, "running")),
            // The stream has ended: the daemon was restarted. Its first answer is that it is still on its way down.
            ("GET /v1/rollouts/r1/events ", shutting_down()),
            (
                "GET /v1/rollouts/r1/events ",
                stream(&[(8, "reading_taken"), (9, "phase_completed")]),
            ),
            ("GET /v1/rollouts/r1 ", detail(9, "running")),
        ],
    );
    let (exit, out, talk) =
        run(&place.socket(), &["status", "r1", "--until", "phase", "--timeout", "30s"]);
    assert_eq!((exit, out.as_str()), (Exit::Done, "r1 running, phase 1/2 first: as planned\n"));
    assert_eq!(talk, "rolloutd is away; waiting for it to come back\nrolloutd is back\n");
    let asked = server.join().unwrap();
    let resumed = |index: usize| {
        let request = asked[index].to_lowercase();
        request.lines().find_map(|line| line.strip_prefix("last-event-id: ")).map(str::to_string)
    };
    let there = || Some("8@2026-01-01t00:00:00z".to_owned());
    assert_eq!([1, 3, 4].map(resumed), [Some("7".into()), there(), there()]);
}

/// What the daemon says to whoever has read another journal than the one that it has.
fn other_journal() -> String {
    let problem = json!({
        "type": "urn:rolloutd:error:RO0310", "title": "t", "status": 409, "code": "RO0310", "detail": "it ends at entry 2",
    });
    answer("409 Conflict", "application/problem+json", &problem.to_string())
}

#[test]
fn a_restored_journal_is_followed_from_its_first_entry_and_that_is_said() {
    let place = Place::new();
    let server = serve(
        place.socket(),
        vec![
            ("GET /v1/rollouts/r1 ", detail(9, "running")),
            ("GET /v1/rollouts/r1/events ", stream(&[(9, "held")])),
            ("GET /v1/rollouts/r1 ", detail(9, "running")),
            ("GET /v1/rollouts/r1/events ", other_journal()),
            ("GET /v1/rollouts/r1 ", detail(1, "running")),
            (
                "GET /v1/rollouts/r1/events ",
                stream(&[(1, "rollout_created"), (2, "rollout_aborted")]),
            ),
            ("GET /v1/rollouts/r1 ", detail(1, "running")),
            ("GET /v1/rollouts/r1 ", detail(2, "aborted")),
        ],
    );
    let (exit, out, talk) = run(&place.socket(), &["events", "r1", "-f", "--after", "8"]);
    let seqs: Vec<_> = out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((exit, seqs), (Exit::Done, vec!["9", "1", "2"]));
    let said = "the journal of r1 is another one than before, as after a restore; it is shown from its first entry\n";
    assert_eq!(talk, said);
    let asked = server.join().unwrap();
    assert!(asked[5].to_lowercase().contains("last-event-id: 0\r\n"), "{}", asked[5]);

    // A place that was never read is the caller's own mistake.
    let place = Place::new();
    let server = serve(
        place.socket(),
        vec![
            ("GET /v1/rollouts/r1 ", detail(2, "running")),
            ("GET /v1/rollouts/r1/events ", other_journal()),
        ],
    );
    let (exit, out, talk) = run(&place.socket(), &["events", "r1", "-f", "--after", "500"]);
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert_eq!(talk, "refused: it ends at entry 2 (RO0310)\n");
    server.join().unwrap();
}

#[test]
fn a_wait_goes_on_with_a_restored_journal() {
    let place = Place::new();
    let server = serve(
        place.socket(),
        vec![
            ("GET /v1/rollouts/r1 ", detail(7, "running")),
            ("GET /v1/rollouts/r1/events ", stream(&[(8, "reading_taken")])),
            ("GET /v1/rollouts/r1 ", detail(8, "running")),
            ("GET /v1/rollouts/r1/events ", other_journal()),
            ("GET /v1/rollouts/r1 ", detail(3, "running")),
            ("GET /v1/rollouts/r1/events ", stream(&[(4, "phase_completed")])),
            ("GET /v1/rollouts/r1 ", detail(4, "running")),
        ],
    );
    let (exit, _, talk) =
        run(&place.socket(), &["status", "r1", "--until", "phase", "--timeout", "30s"]);
    assert_eq!(exit, Exit::Done);
    assert_eq!(talk, "the journal of r1 is another one than before, as after a restore\n");
    assert!(server.join().unwrap()[5].to_lowercase().contains("last-event-id: 3\r\n"));
}

fn shutting_down() -> String {
    let problem = json!({
        "type": "urn:rolloutd:error:RO0405", "title": "shutting down", "status": 503, "code": "RO0405", "detail": "bye",
    });
    answer("503 Service Unavailable", "application/problem+json", &problem.to_string())
}

#[test]
fn a_wait_ends_at_once_on_an_ended_rollout_and_in_time_on_a_silent_one() {
    let place = Place::new();
    let server = serve(place.socket(), vec![("GET /v1/rollouts/r1 ", detail(9, "aborted"))]);
    let (exit, out, talk) = run(&place.socket(), &["status", "r1", "--until", "done"]);
    assert_eq!((exit, out.as_str()), (Exit::Aborted, "r1 aborted: as planned\n"));
    assert_eq!(talk, "`done` was not reached before that\n");
    server.join().unwrap();

    let place = Place::new();
    // The daemon answers once and goes away for good.
    let server = serve(place.socket(), vec![("GET /v1/rollouts/r1 ", detail(9, "running"))]);
    let (exit, out, talk) =
        run(&place.socket(), &["status", "r1", "--until", "done", "--timeout", "1s"]);
    assert_eq!((exit, out.as_str()), (Exit::TimedOut, "r1 running, phase 1/2 first: as planned\n"));
    assert!(talk.ends_with("the time for reaching `done` is over\n"), "{talk}");
    server.join().unwrap();
}

#[test]
fn events_are_followed_to_the_end_of_the_rollout() {
    let place = Place::new();
    let server = serve(
        place.socket(),
        vec![
            ("GET /v1/rollouts/r1 ", detail(1, "running")),
            (
                "GET /v1/rollouts/r1/events ",
                stream(&[(1, "rollout_created"), (2, "rollout_aborted")]),
            ),
            ("GET /v1/rollouts/r1 ", detail(2, "aborted")),
        ],
    );
    let (exit, out, _) = run(&place.socket(), &["events", "r1", "-f"]);
    let lines = "    1  2026-01-01 00:00  rolloutd    event 1\n    2  2026-01-01 00:00  rolloutd    event 2\n";
    assert_eq!((exit, out.as_str()), (Exit::Done, lines));
    server.join().unwrap();
}

#[test]
fn an_item_ticked_for_some_phases_only_is_partly_done() {
    let place = Place::new();
    let item = |done: bool| {
        json!({ "name": "runbook", "text": "Runbook reviewed", "when": "before", "by_machine": false, "done": done,
            "by": null, "at": null })
    };
    let phase = |number: u8, done: bool| {
        json!({ "number": number, "name": "p", "group": "", "purpose": "", "risk": "Low", "flags": [], "stage": "pending",
            "attempt": 1, "bake": null, "checkpoints": [], "items": [item(done)], "approvals_needed": 0,
            "approved_by": [], "skipped_why": null })
    };
    let rollout = json!({
        "summary": summary(4, "running"), "digest": "d",
        "phases": [phase(1, true), phase(2, false), phase(3, false), phase(4, false)],
        "incidents": [], "last_reading": null, "waits": [], "allowed": [],
    });
    let ticked = json!({ "answer": "accepted", "rollout": summary(5, "running"), "events": [] });
    let problem =
        json!({ "type": "t", "title": "t", "status": 409, "code": "RO0301", "detail": "too late" });
    let server = serve(
        place.socket(),
        vec![
            ("GET /v1/rollouts/r1 ", answer("200 OK", "application/json", &rollout.to_string())),
            (
                "POST /v1/rollouts/r1/check ",
                answer("200 OK", "application/json", &ticked.to_string()),
            ),
            (
                "POST /v1/rollouts/r1/check ",
                answer("200 OK", "application/json", &ticked.to_string()),
            ),
            (
                "POST /v1/rollouts/r1/check ",
                answer("409 Conflict", "application/problem+json", &problem.to_string()),
            ),
        ],
    );
    let (exit, out, talk) =
        run(&place.socket(), &["check", "r1", "runbook", "--all-phases", "--reason", "read it"]);
    assert_eq!((exit, out.as_str()), (Exit::Partial, "r1 running, phase 1/2 first: as planned\n"));
    assert_eq!(talk, "phase 4 was not ticked:\nrefused: too late (RO0301)\n");
    let asked = server.join().unwrap();
    assert!(asked[1].contains("\"phase\":2") && asked[3].contains("\"phase\":4"), "{asked:#?}");
}
